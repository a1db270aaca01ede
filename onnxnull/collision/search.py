"""The Null-space search (paper, Definition 4) on a real model: build a pair, verify it, hand it over."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.analysis.weights import find_weights
from onnxnull.collision.cases import Case
from onnxnull.collision.claims import Reader
from onnxnull.collision.coordinates import Coordinates
from onnxnull.collision.entering import entering
from onnxnull.collision.executables import AtInput, InLayer, Network, Subject, networks_twin, rounded
from onnxnull.collision.kernel import FrontierKernel, Kernel
from onnxnull.collision.near_kernel import NearKernel
from onnxnull.collision.output_change import all_identical
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.quantized_claims import steps_between, verify_on_grid
from onnxnull.collision.quantizer_search import kind_on_grid, pair_on_grid
from onnxnull.collision.results import Collision, EightBit, Kind, Perturbation, Space
from onnxnull.collision.sizing import Fitted, Target, fitted
from onnxnull.collision.tensors import Cut, Site, cuts, input_site
from onnxnull.collision.trace import trace
from onnxnull.collision.verify import UNIT_ROUNDOFF, Trial, compare_all, starts, verify
from onnxnull.collision.yardstick import TOLERANCES, Box
from onnxnull.errors import Code, ExitCode, OnnxnullError
from onnxnull.frontier import find
from onnxnull.graph.constants import EvaluationError
from onnxnull.graph.model import GraphInput, Model
from onnxnull.graph.runnable import check_runnable
from onnxnull.inputs import Preprocessing, from_pixels, pixels
from onnxnull.kernel.project import NotConvergedError
from onnxnull.kernel.rank import Notion
from onnxnull.operators.products import is_integer_arithmetic
from onnxnull.operators.steps import UnknownShapeError
from onnxnull.runtime.agreement import Original
from onnxnull.runtime.canary import check_float32, products_of
from onnxnull.runtime.precision import Precision, Twin
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.session import Runner

if TYPE_CHECKING:
    from onnxnull.kernel.maps.linear_map import Array

Progress = Callable[[str], None]
"""Called with what comes next."""
_Key = tuple[Precision, Provider]
_STORED = {"float16": np.float16, "float32": np.float32, "float64": np.float64}


@dataclass(frozen=True, slots=True)
class Place:
    """Where inputs are to collide.

    Attributes:
        input: the graph input; None for the first one whose collisions are the network's.
        layer: a layer's node or weight, "all" for every weight with a kernel; None for the input.
        weight: which weight of the layer, where its node holds several.
        patches: whether unfolded patches collide, not whole tensors; None for yes where `layer` is "all".
    """

    input: str | None = None
    layer: str | None = None
    patches: bool | None = None
    weight: str | None = None

    @property
    def space(self) -> Space:
        """The domain that collides."""
        patches = self.layer == "all" if self.patches is None else self.patches
        if patches:
            return Space.PATCHES
        return Space.INPUT if self.layer is None else Space.ACTIVATION


@dataclass(frozen=True, slots=True)
class Execution:
    """How to run: every precision on every provider.

    Attributes:
        tolerances: τ, of its scale, what an output may move for a collision to be shown (`onnxnull.collision.yardstick`).
    """

    precisions: tuple[Precision, ...] = (Precision.FLOAT64, Precision.FLOAT32)
    providers: tuple[Provider, ...] = (Provider.CPU,)
    trace: bool = False
    tolerances: Mapping[Precision, float] = field(default_factory=lambda: dict(TOLERANCES))


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """A site with what every search in it needs. `kernel` is None on the grid of a quantizer."""

    site: Site
    kernel: Kernel | NearKernel | None
    kind: Kind
    sigma: float
    nullity: tuple[int, int] | None
    readers: tuple[Reader, ...]


class Search:
    """A model prepared for searches.

    Args:
        model: opened at shapes that are known.
        near: make near-kernel perturbations, which are no collisions.
        cell: make inputs that the network's quantizer rounds to the same codes.
        progress: called with what comes next.

    Attributes:
        skipped: of all layers, why those that gave no collision did not: injective, or a weight that is not analysed.

    Raises:
        OnnxnullError: the model is too large to be run, or a float32 product is not computed in float32.
    """

    def __init__(
        self,
        model: Model,
        place: Place,
        execution: Execution,
        *,
        near: bool = False,
        cell: bool = False,
        progress: Progress = lambda _: None,
    ) -> None:
        self.model, self.place = model, place
        self._near, self._cell, self._progress = near, cell, progress
        self.skipped: list[OnnxnullError] = []
        self._flow = model.flow
        check_runnable(self._flow)
        self.execution = replace(execution, precisions=self._precisions(execution.precisions))
        self._twins: dict[_Key, Twin] = {}
        self._at_input: tuple[_Prepared, list[AtInput]] | None = None
        self._expected: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] | None = None

    def input(self) -> GraphInput:
        """The input that changes. Raises `OnnxnullError` as `run` where there is none."""
        return self._described(self._site.where)

    @functools.cached_property
    def _enters(self) -> dict[str, str]:
        """What is judged beside the outputs."""
        return entering(self._flow)

    @functools.cached_property
    def _site(self) -> Site:
        """At the input."""
        return input_site(find(self._flow), self.place.input)

    def run(self, case: Case, recipe: Recipe, toward: Case | None = None) -> Iterator[Collision]:
        """The collisions from one case: one, or one for every layer; `skipped` says which layers gave none.

        Args:
            toward: the other inputs, where the recipe's pattern is "toward".

        Raises:
            OnnxnullError: `injective` or `not-guaranteed` where there is nothing to find, and what running the model raises.
        """
        try:
            if self.place.space is Space.INPUT:
                yield self._input(case, recipe, toward)
            else:
                yield from self._layers(case, recipe, toward)
        except (UnknownShapeError, EvaluationError) as error:
            raise OnnxnullError(Code.SHAPE, str(error)) from None
        except NotConvergedError as error:
            raise OnnxnullError(Code.NOT_CONVERGED, str(error)) from None

    def verify_pair(
        self,
        source: str,
        arrays: tuple[Array, Array, Array],
        others: Mapping[str, np.ndarray],
        facts: Perturbation,
    ) -> Collision:
        """Verify a pair that was found before, at this search's place.

        Args:
            arrays: the original, the colliding and the control tensor.
            others: what the network's (other) inputs get.
            facts: how it was made; only handed on, but for σ.

        Raises:
            OnnxnullError: as `run`; `data` where the tensors do not fit the model.
        """
        case = Case(source, others)
        if self.place.space is Space.INPUT:
            prepared, subjects = self._subjects(case, others)
            case = Case(source, {**others, prepared.site.where: arrays[0]})
            self._check_shapes(arrays, prepared.site.shape)
            return self._verified(prepared, subjects, source, arrays, others, facts)
        ((cut, activation, networks),) = self._cut_out(case)
        start = cut.start(activation, np.random.default_rng(0))
        self._check_shapes(arrays, start.shape)
        if activation is not None and np.abs(arrays[0] - start).max(initial=0.0) > 1e-3 * np.abs(start).max(initial=0.0):
            raise OnnxnullError(
                Code.DATA, f"the original is not what reaches layer {cut.view.name!r} from the network's inputs"
            )
        site = cut.site(activation, arrays[0])
        return self._verified(self._prepare(site), self._in_layer(cut, site, networks, case), source, arrays, others, facts)

    def _input(self, case: Case, recipe: Recipe, toward: Case | None) -> Collision:
        prepared, subjects = self._subjects(case, case.arrays)
        name = prepared.site.where
        others = {other: array for other, array in case.arrays.items() if other != name}
        if toward is not None:
            recipe = replace(recipe, toward=self.stored(name, toward.arrays[name]), toward_source=toward.source)
        start = self.stored(name, case.arrays[name])
        return self._shown(self._pair(prepared, start, recipe, subjects, case, others), case, subjects)

    def _shown(self, collision: Collision, case: Case, subjects: Sequence[Subject]) -> Collision:
        """A collision of the network's input with what shows it: the trace, and what 8 bits leave of it."""
        if self.execution.trace:
            self._progress("tracing")
            feeds = [
                {**collision.others, collision.where: x} for x in (collision.original, collision.colliding, collision.control)
            ]
            runs = tuple(
                replace(run, trace=trace(self._twin(*key, case), key[1], feeds))
                for run, key in zip(collision.runs, self._runs(), strict=True)
            )
            collision = replace(collision, runs=runs)
        if case.image is not None:
            collision = replace(collision, eight_bit=self._eight_bit(collision, case.image, subjects))
        return collision

    def _subjects(self, case: Case, feeds: Mapping[str, np.ndarray]) -> tuple[_Prepared, list[AtInput]]:
        """The network at its input, sessions made once."""
        if self._at_input is None:
            prepared = self._prepare(self._site)
            self._at_input = (
                prepared,
                [AtInput(self._twin(*key, case), key[1], prepared.site, self._enters) for key in self._runs()],
            )
        prepared, subjects = self._at_input
        others = {name: array for name, array in feeds.items() if name != prepared.site.where}
        return prepared, [subject.with_other_inputs(others) for subject in subjects]

    def _layers(self, case: Case, recipe: Recipe, toward: Case | None) -> Iterator[Collision]:
        if self.place.layer == "all":
            self.skipped += [
                OnnxnullError(weight.code, f"{weight.node!r} ({weight.op}): {weight.reason}")
                for weight in find_weights(self._flow)[1]
            ]
        other = {}
        if toward is not None:
            other = {self._key(cut): array for cut, array, _ in self._cut_out(toward)}
            recipe = replace(recipe, toward_source=toward.source)
        for cut, activation, networks in self._cut_out(case):
            rng = np.random.default_rng([recipe.seed, 2])
            start = cut.start(activation, rng)
            here = recipe if toward is None else replace(recipe, toward=cut.start(other[self._key(cut)], rng))
            site = cut.site(activation, start)
            try:
                subjects = self._in_layer(cut, site, networks, case)
                yield self._pair(self._prepare(site), start, here, subjects, case, case.arrays)
            except OnnxnullError as error:
                if self.place.layer != "all" or error.exit_code is not ExitCode.NOTHING:
                    raise
                named = error.seen if repr(cut.view.name) in error.seen else f"{cut.view.name!r}: {error.seen}"
                self.skipped.append(OnnxnullError(error.code, named, error.remedy))

    @staticmethod
    def _key(cut: Cut) -> tuple[str, str]:
        return cut.view.name, cut.weight

    def _cut_out(self, case: Case) -> Iterator[tuple[Cut, np.ndarray | None, dict[_Key, Network | None]]]:
        """Every wanted layer with its activation, and the networks whose rest runs behind it."""
        notion = Notion.FLOAT32 if self._near else Notion.FLOAT64
        wanted = cuts(self._flow, self._layer_name(), self.place.space, self.place.weight, notion)
        if not wanted:
            seen = f"no weight that was analysed has a kernel at the {notion.value} cut-off"
            raise OnnxnullError(Code.NOT_FOUND, seen, "there is nothing to find")
        doubles = any(described.dtype == "float64" for described in self.model.inputs)
        native = self._twin(Precision.FLOAT64 if doubles else Precision.FLOAT32, Provider.CPU, case)
        computed = [name for cut in wanted for name in cut.computed.values()]
        tensors = list(dict.fromkeys([*(cut.tensor for cut in wanted if cut.tensor is not None), *computed]))
        activations = activations_of(native, case.arrays, tensors)
        products = list(dict.fromkeys(cut.product for cut in wanted if cut.product is not None))
        networks = {
            key: Network(self._twin(*key, case), key[1], case.arrays, products, self._enters) if products else None
            for key in self._runs()
        }
        for number, cut in enumerate(wanted, start=1):
            self._progress(f"layer {number} of {len(wanted)}, {cut.view.name}")
            cut = replace(cut, given={index: activations[name] for index, name in cut.computed.items()})
            yield cut, None if cut.tensor is None else activations[cut.tensor], networks

    def _in_layer(self, cut: Cut, site: Site, networks: Mapping[_Key, Network | None], case: Case) -> list[InLayer]:
        """The layer at the precisions that the network executes."""
        return [InLayer(cut, site, self._flow, self._twin(*key, case).precision, key[1], networks[key]) for key in self._runs()]

    def _layer_name(self) -> str | None:
        """The layer to cut at; None for all. Patches without a layer are those of the first one."""
        if self.place.layer is not None:
            return None if self.place.layer == "all" else self.place.layer
        layers = [layer for front in find(self._flow) for layer in front.layers]
        if len(layers) != 1:
            seen = f"{len(layers)} layers read the inputs"
            raise OnnxnullError(Code.LAYER, seen, "say whose patches: --layer NAME, or --layer all")
        return layers[0].node

    def _prepare(self, site: Site) -> _Prepared:
        self._progress("finding the kernel")
        if site.frontier.quantizer is not None:
            kind, nullity = kind_on_grid(site, cell=self._cell, near=self._near)
            return _Prepared(site, None, kind, 0.0, nullity, ())
        if self._cell:
            seen = f"no quantizer rounds {site.where!r} before anything else reads it"
            raise OnnxnullError(Code.NOT_FOUND, seen, "leave out --quantizer-cell")
        for layer in site.frontier.layers:
            if not np.all(np.isfinite(layer.use.matrix())):
                raise OnnxnullError(Code.NONFINITE, f"the weight of {layer.node!r} holds NaN or Inf")
        if self._near:
            near = NearKernel.of(site)
            readers = site.readers(patchwise=True, balanced=False)
            readers = tuple(replace(reader, dropped=np.maximum(reader.dropped, near.sigma)) for reader in readers)
            return _Prepared(site, near, Kind.NEAR_KERNEL, near.sigma, None, readers)
        found = site.nullity()
        if found.upper == 0:
            shape = "×".join(map(str, site.shape))
            proof = " (proved)" if found.proved else ""
            layers = " and ".join(repr(layer.node) for layer in site.frontier.layers)
            verb = "is" if len(site.frontier.layers) == 1 else "are together"
            seen = f"{layers} {verb} injective on inputs of shape {shape}{proof}: no two of them collide"
            raise OnnxnullError(Code.INJECTIVE, seen)
        balanced = site.has_balanced_kernel()
        if not balanced:
            below = "only directions below the float64 cut-off are in this kernel, and what follows may amplify what they leave"
            site = replace(site, caveat=_joined(site.caveat, below))
        kernel = site.kernel(balanced=balanced)
        readers = site.readers(patchwise=not isinstance(kernel, FrontierKernel), balanced=balanced)
        return _Prepared(site, kernel, Kind.KERNEL, 0.0, (found.lower, found.upper), readers)

    def _pair(
        self,
        prepared: _Prepared,
        start: Array,
        recipe: Recipe,
        subjects: Sequence[Subject],
        case: Case,
        others: Mapping[str, np.ndarray],
    ) -> Collision:
        if not np.all(np.isfinite(start)):
            seen = f"what {prepared.site.where!r} starts from holds NaN or Inf, from which no number differs by a length"
            raise OnnxnullError(Code.DATA, seen, "start from another input")
        if prepared.kernel is None:
            colliding, beside = pair_on_grid(prepared.site, prepared.kind, start, recipe, self._progress)
        else:
            change, beside, told = self._in_kernel(prepared, prepared.kernel, start, recipe, subjects)
            colliding = start + change
            prepared = replace(prepared, site=replace(prepared.site, caveat=_joined(prepared.site.caveat, told)))
        facts = Perturbation.measured(recipe.pattern, recipe.parameters(), start, colliding, beside)
        return self._verified(prepared, subjects, case.source, (start, colliding, beside), others, facts)

    def _in_kernel(
        self, prepared: _Prepared, kernel: Kernel | NearKernel, start: Array, recipe: Recipe, subjects: Sequence[Subject]
    ) -> tuple[Array, Array, str | None]:
        """(δ, the control, what the reader should know of the size)."""
        plain = Coordinates(prepared.site, kernel)
        if isinstance(kernel, NearKernel):
            found = Fitted(plain.perturbation(start, recipe, self._progress), plain)
        else:
            ways = filter(None, (Coordinates.of(prepared.site, start), plain))
            lowest_first = sorted(subjects, key=lambda subject: -UNIT_ROUNDOFF[subject.precision])
            targets = [
                Target(
                    each.precision.value, UNIT_ROUNDOFF[each.precision], self.execution.tolerances[each.precision], each.stored
                )
                for each in lowest_first
            ]
            box = _box(recipe.parameters())
            found = fitted(ways, recipe, start, prepared.readers, targets, box, self._progress)
        return found.change, found.coordinates.control(start, start + found.change, recipe), found.told

    def _verified(
        self,
        prepared: _Prepared,
        subjects: Sequence[Subject],
        source: str,
        arrays: tuple[Array, Array, Array],
        others: Mapping[str, np.ndarray],
        facts: Perturbation,
    ) -> Collision:
        site, readers, quantizer = prepared.site, prepared.readers, prepared.site.frontier.quantizer
        self._check_twins({**others, site.where: arrays[0]} if site.space is Space.INPUT else others, subjects, arrays[0])
        runs = []
        trial = Trial(prepared.kind, *arrays, box_of(facts), self.execution.tolerances)
        for subject, start in zip(subjects, starts(subjects, arrays[0]), strict=True):
            self._progress(f"running {subject.precision.value}")
            if prepared.kernel is None:
                runs.append(verify_on_grid(subject, site, trial, start))
            else:
                runs.append(verify(subject, readers, trial, start))
        return Collision(
            source=source,
            space=site.space,
            where=site.where,
            weight=site.weight,
            op=site.op,
            readers=tuple(layer.node for layer in site.frontier.layers),
            nullity=prepared.nullity,
            kind=prepared.kind,
            perturbation=replace(facts, sigma=prepared.sigma),
            original=arrays[0],
            colliding=arrays[1],
            control=arrays[2],
            others=others,
            runs=tuple(runs),
            caveat=site.caveat,
            steps=None if quantizer is None else steps_between(quantizer, arrays[0], arrays[1]),
        )

    def _precisions(self, asked: tuple[Precision, ...]) -> tuple[Precision, ...]:
        """What runs: a model with integer arithmetic as it is. Raises OnnxnullError where that is not what was asked for."""
        if all(not is_integer_arithmetic(node) for node in self._flow.nodes):
            return asked
        if asked not in ((Precision.NATIVE,), Execution().precisions):
            others = ", ".join(precision.value for precision in asked if precision is not Precision.NATIVE)
            seen = f"the model computes on quantized numbers, and has no twin at {others}"
            raise OnnxnullError(Code.PRECISION, seen)
        return (Precision.NATIVE,)

    def _runs(self) -> list[_Key]:
        """Every precision on every provider, each once."""
        asked = product(self.execution.providers, self.execution.precisions)
        return list(dict.fromkeys((precision, provider) for provider, precision in asked))

    def _twin(self, precision: Precision, provider: Provider, case: Case) -> Twin:
        """The network, and before its first float32 run on a provider the canary at its own shapes."""
        key = precision, provider
        if key not in self._twins:
            self._progress(f"preparing {precision.value}")
            made = networks_twin(self.model, precision, provider)
            if made.precision in (Precision.FLOAT32, Precision.NATIVE):
                check_float32(provider, products_of(made.proto, [(name, a.shape) for name, a in case.arrays.items()]))
            self._twins[key] = made
        return self._twins[key]

    def _check_twins(self, feeds: Mapping[str, np.ndarray], subjects: Sequence[Subject], start: Array) -> None:
        """Hold what every subject makes of the original against the file itself in onnxruntime, which runs once for an input.

        A weight that was cut out of its network alone has no output of the network to be held against.
        """
        self._progress("checking against the file in onnxruntime")
        original = self.model.parsed.once(Original)
        if self._expected is None or not all_identical(self._expected[0], feeds):
            self._expected = dict(feeds), original.run(feeds)
        expected = self._expected[1]
        for key, subject in zip(self._runs(), subjects, strict=True):
            outputs = subject.run(subject.stored(start)).outputs
            if outputs.keys() >= expected.keys():
                original.check(feeds, expected, {name: outputs[name] for name in expected}, self._twins[key], key[1])

    @staticmethod
    def _check_shapes(arrays: Sequence[Array], shape: tuple[int, ...]) -> None:
        for array in arrays:
            if array.shape != shape:
                raise OnnxnullError(Code.DATA, f"an array of shape {array.shape} where the model has {shape}")

    def stored(self, name: str, array: np.ndarray) -> Array:
        """The array as the input's own type stores it."""
        described = self._described(name)
        return np.asarray(array).astype(_STORED.get(described.dtype, np.float32)).astype(np.float64)

    def _described(self, name: str) -> GraphInput:
        return next(described for described in self.model.inputs if described.name == name)

    def _eight_bit(self, collision: Collision, image: Preprocessing, subjects: Sequence[Subject]) -> EightBit:
        """Round the colliding image to 8 bits a channel and run it again, at the lowest precision."""
        described = self._described(collision.where)
        exact = pixels(collision.colliding, described, image)
        whole = np.rint(exact)
        subject = max(subjects, key=lambda subject: UNIT_ROUNDOFF[subject.precision])
        before, after = (
            subject.run(subject.stored(x))
            for x in (collision.original, self.stored(collision.where, from_pixels(whole, described, image)))
        )
        return EightBit(float(np.abs(whole - exact).max()), subject.precision.value, compare_all(before, after))


def box_of(facts: Perturbation) -> Box:
    """The least and the largest bound of the box that a pair was made in, to the digits that evidence has; None for no box."""
    return _box(facts.parameters)


def _box(parameters: Mapping[str, object]) -> Box:
    found = parameters.get("box")
    if not isinstance(found, list) or len(found) != 2 or not all(isinstance(bound, int | float) for bound in found):
        return None
    low, high = (float(f"{bound:.6g}") for bound in found)
    return low, high


def _joined(*parts: str | None) -> str | None:
    return "; ".join(filter(None, parts)) or None


def activations_of(network: Twin, feeds: Mapping[str, np.ndarray], tensors: Sequence[str]) -> dict[str, np.ndarray]:
    """Tensors of the main graph as the network computes them; inputs among them as they are given."""
    computed = [name for name in tensors if name not in feeds]
    found = Runner(network, extra_outputs=computed).run(feeds, computed) if computed else {}
    return {name: found[name] if name in found else rounded(feeds[name], network.precision) for name in tensors}
