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
from onnxnull.collision.entering import entering
from onnxnull.collision.executables import AtInput, Executable, InLayer, Network, computes_in_16_bits, networks_twin
from onnxnull.collision.merging import FirstCasts
from onnxnull.collision.output_change import all_identical
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.results import Collision, EightBit, Kind, Perturbation, Space
from onnxnull.collision.sizing import TargetPrecision
from onnxnull.collision.strategies import strategy_at
from onnxnull.collision.strategies.strategy import IN_KERNEL, Method, Setting, Strategy
from onnxnull.collision.tensors import LayerInput, PerturbedTensor, cuts, fiber_site, float_input, input_site
from onnxnull.collision.trace import trace
from onnxnull.collision.verify import Trial, compare_all, starts, verify
from onnxnull.collision.yardstick import TOLERANCES, box_in
from onnxnull.errors import Code, ExitCode, OnnxnullError
from onnxnull.frontier import find
from onnxnull.graph.constants import EvaluationError
from onnxnull.graph.floats import float_type
from onnxnull.graph.model import GraphInput, Model
from onnxnull.graph.runnable import check_runnable
from onnxnull.inputs import Preprocessing, from_pixels, pixels
from onnxnull.kernel.project import NotConvergedError
from onnxnull.kernel.rank import Notion
from onnxnull.operators.products import is_integer_arithmetic
from onnxnull.operators.steps import UnknownShapeError
from onnxnull.runtime.agreement import Original
from onnxnull.runtime.canary import check_float32, products_of
from onnxnull.runtime.cut import cut as cut_at
from onnxnull.runtime.precision import Precision, Twin
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.session import Runner

if TYPE_CHECKING:
    from onnxnull.kernel.maps.linear_map import Array

Progress = Callable[[str], None]
"""Called with what comes next."""
_Key = tuple[Precision, Provider]


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
        tolerances: τ, of its scale, what an output may move for a collision to be shown; the usual one where none is given
            (`onnxnull.collision.yardstick.TOLERANCES`).
    """

    precisions: tuple[Precision, ...] = (Precision.FLOAT64, Precision.FLOAT32)
    providers: tuple[Provider, ...] = (Provider.CPU,)
    trace: bool = False
    tolerances: Mapping[Precision, float] = field(default_factory=dict)


class Search:
    """A model prepared for searches.

    Args:
        model: opened at shapes that are known.
        method: which pairs are made; in the kernel if not given.
        progress: called with what comes next.

    Attributes:
        skipped: of all layers, why those that gave no collision did not: injective, or a weight that is not analysed.

    Raises:
        OnnxnullError: the model is too large to be run; `layer` where a walk along a fibre cannot start at the place.
    """

    def __init__(
        self,
        model: Model,
        place: Place,
        execution: Execution,
        *,
        method: Method = IN_KERNEL,
        progress: Progress = lambda _: None,
    ) -> None:
        self.model, self.place = model, place
        self._method, self._progress = method, progress
        self.skipped: list[OnnxnullError] = []
        self._flow = model.flow
        if method.kind is Kind.FIBER and (place.space is Space.PATCHES or place.layer == "all"):
            raise OnnxnullError(Code.LAYER, "a walk along a fibre starts at one tensor", "name an input or one layer")
        check_runnable(self._flow)
        tolerances = {**TOLERANCES, **execution.tolerances}
        if computes_in_16_bits(model):
            tolerances[Precision.NATIVE] = execution.tolerances.get(Precision.NATIVE, tolerances[Precision.FLOAT16])
        self.execution = replace(execution, precisions=self._precisions(execution.precisions), tolerances=tolerances)
        self._twins: dict[_Key, Twin] = {}
        self._at_network: tuple[Strategy, list[AtInput]] | None = None
        self._expected: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] | None = None

    def input(self) -> GraphInput:
        """The input that changes, or that a value inside the network is computed from. Raises as `run` where there is none."""
        if self._method.kind is Kind.FIBER:
            return float_input(self.model, self.place.input)
        return self._described(self._site.where)

    @functools.cached_property
    def _enters(self) -> dict[str, str]:
        """What is judged beside the outputs."""
        return entering(self._flow)

    @functools.cached_property
    def _site(self) -> PerturbedTensor:
        """Where the network is run from: at an input, or for a fibre at what reaches a layer."""
        if self._method.kind is not Kind.FIBER:
            return input_site(find(self._flow), self.place.input)
        if self.place.layer is None:
            return fiber_site(self.input())
        (found,) = cuts(self._flow, self.place.layer, Space.ACTIVATION, self.place.weight)
        return fiber_site(self.input(), found)

    @property
    def _from_network(self) -> bool:
        """Whether the network is run from the tensor on; else a layer alone, and the network behind it."""
        return self.place.space is Space.INPUT or self._method.kind is Kind.FIBER

    def run(self, case: Case, recipe: Recipe, toward: Case | None = None) -> Iterator[Collision]:
        """The collisions from one case: one, or one for every layer; `skipped` says which layers gave none.

        Args:
            toward: the other inputs, where the recipe's pattern is "toward".

        Raises:
            OnnxnullError: `injective` or `not-guaranteed` where there is nothing to find, and what running the model raises.
        """
        try:
            if self._from_network:
                yield self._found(case, recipe, toward)
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
        if self._from_network:
            site = self._site
            if site.inside is None:
                case = Case(source, {**others, site.where: arrays[0]})
            strategy, subjects = self._prepared(case, others)
            if site.inside is None:
                self._check_shapes(arrays, site.shape)
            else:
                self._check_original(arrays, self._start(case), site.where)
            return self._verified(site, strategy, subjects, source, arrays, others, facts)
        ((cut, activation, networks),) = self._cut_out(case)
        start = cut.start(activation, np.random.default_rng(0))
        if activation is None:
            self._check_shapes(arrays, start.shape)
        else:
            self._check_original(arrays, start, cut.view.name)
        site = cut.site(activation, arrays[0])
        subjects_of = self._in_layer(cut, site, networks, case)
        return self._verified(site, self._strategy(site), subjects_of, source, arrays, others, facts)

    def _found(self, case: Case, recipe: Recipe, toward: Case | None) -> Collision:
        strategy, subjects = self._prepared(case, case.arrays)
        site = self._site
        others = {name: array for name, array in case.arrays.items() if name != site.tensor}
        if toward is not None:
            recipe = replace(recipe, toward=self._start(toward), toward_source=toward.source)
        collision = self._pair(site, strategy, self._start(case), recipe, subjects, case, others)
        return collision if site.inside is not None else self._shown(collision, case, subjects)

    def _start(self, case: Case) -> Array:
        """x₀: an input as it is stored, or a value inside as the network computes it."""
        site = self._site
        if site.inside is None:
            return self.stored(site.where, case.arrays[site.where])
        return self._activations(case, [site.inside])[site.inside].astype(np.float64)

    def _shown(self, collision: Collision, case: Case, subjects: Sequence[Executable]) -> Collision:
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

    def _prepared(self, case: Case, feeds: Mapping[str, np.ndarray]) -> tuple[Strategy, list[AtInput]]:
        """The network from the tensor on, sessions made once."""
        site = self._site
        if self._at_network is None:
            strategy = self._strategy(site)
            subjects = []
            for key in self._runs():
                network = self._twin(*key, case)
                casts = strategy.casts() if network.precision is Precision.NATIVE else FirstCasts()
                if site.inside is not None:
                    network = Twin(cut_at(network.proto, site.inside), network.precision, network.lowered)
                subjects.append(AtInput(network, key[1], site, self._enters, strategy.watched, casts))
            self._at_network = strategy, subjects
        strategy, subjects = self._at_network
        others = {name: array for name, array in feeds.items() if name != site.tensor}
        return strategy, [subject.with_other_inputs(others) for subject in subjects]

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
                yield self._pair(site, self._strategy(site), start, here, subjects, case, case.arrays)
            except OnnxnullError as error:
                if self.place.layer != "all" or error.exit_code is not ExitCode.NOTHING:
                    raise
                named = error.seen if repr(cut.view.name) in error.seen else f"{cut.view.name!r}: {error.seen}"
                self.skipped.append(OnnxnullError(error.code, named, error.remedy))

    @staticmethod
    def _key(cut: LayerInput) -> tuple[str, str]:
        return cut.view.name, cut.weight

    def _cut_out(self, case: Case) -> Iterator[tuple[LayerInput, np.ndarray | None, dict[_Key, Network | None]]]:
        """Every wanted layer with its activation, and the networks whose rest runs behind it."""
        notion = Notion.FLOAT32 if self._method.kind is Kind.NEAR_KERNEL else Notion.FLOAT64
        wanted = cuts(self._flow, self._layer_name(), self.place.space, self.place.weight, notion)
        if not wanted:
            seen = f"no weight that was analysed has a kernel at the {notion.value} cut-off"
            raise OnnxnullError(Code.NOT_FOUND, seen, "there is nothing to find")
        computed = [name for cut in wanted for name in cut.computed.values()]
        tensors = list(dict.fromkeys([*(cut.tensor for cut in wanted if cut.tensor is not None), *computed]))
        activations = self._activations(case, tensors)
        products = list(dict.fromkeys(cut.product for cut in wanted if cut.product is not None))
        networks = {
            key: Network(self._twin(*key, case), key[1], case.arrays, products, self._enters) if products else None
            for key in self._runs()
        }
        for number, cut in enumerate(wanted, start=1):
            self._progress(f"layer {number} of {len(wanted)}, {cut.view.name}")
            cut = replace(cut, given={index: activations[name] for index, name in cut.computed.items()})
            yield cut, None if cut.tensor is None else activations[cut.tensor], networks

    def _in_layer(
        self, cut: LayerInput, site: PerturbedTensor, networks: Mapping[_Key, Network | None], case: Case
    ) -> list[InLayer]:
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

    def _activations(self, case: Case, tensors: Sequence[str]) -> dict[str, np.ndarray]:
        """Tensors of the main graph as the network computes them; inputs among them as they are given."""
        doubles = any(described.dtype == "float64" for described in self.model.inputs)
        network = self._twin(Precision.FLOAT64 if doubles else Precision.FLOAT32, Provider.CPU, case)
        computed = [name for name in tensors if name not in case.arrays]
        found = Runner(network, extra_outputs=computed).run(case.arrays, computed) if computed else {}
        kind = np.float64 if network.precision is Precision.FLOAT64 else np.float32
        given = {name: array.astype(kind) if array.dtype.kind == "f" else array for name, array in case.arrays.items()}
        return {name: found[name] if name in found else given[name] for name in tensors}

    def _strategy(self, site: PerturbedTensor) -> Strategy:
        self._progress("finding the kernel")
        return strategy_at(site, self._method, self.model)

    def _pair(
        self,
        site: PerturbedTensor,
        strategy: Strategy,
        start: Array,
        recipe: Recipe,
        subjects: Sequence[Executable],
        case: Case,
        others: Mapping[str, np.ndarray],
    ) -> Collision:
        if not np.all(np.isfinite(start)):
            seen = f"what {site.where!r} starts from holds NaN or Inf, from which no number differs by a length"
            raise OnnxnullError(Code.DATA, seen, "start from another input")
        targets = [
            TargetPrecision(
                str(each.stored(np.zeros(())).dtype), each.unit, self.execution.tolerances[each.precision], each.stored
            )
            for each in sorted(subjects, key=lambda subject: -subject.unit)
        ]
        made = strategy.pair(start, recipe, Setting(targets, others, self._progress))
        parameters = {**recipe.parameters(), **made.parameters}
        facts = Perturbation.measured(recipe.pattern, parameters, start, made.colliding, made.control)
        arrays = start, made.colliding, made.control
        found = self._verified(site, strategy, subjects, case.source, arrays, others, facts)
        return replace(found, caveat=_joined(found.caveat, made.caveat))

    def _verified(
        self,
        site: PerturbedTensor,
        strategy: Strategy,
        subjects: Sequence[Executable],
        source: str,
        arrays: tuple[Array, Array, Array],
        others: Mapping[str, np.ndarray],
        facts: Perturbation,
    ) -> Collision:
        feeds = {**others, site.where: arrays[0]} if site.space is Space.INPUT else others
        remark = self._check_twins(feeds, subjects, arrays[0])
        runs = []
        trial = Trial(strategy.kind, *arrays, box_in(facts.parameters), self.execution.tolerances)
        for subject, start in zip(subjects, starts(subjects, trial), strict=True):
            self._progress(f"running {subject.precision.value}")
            runs.append(verify(subject, trial, start, strategy.check))
        return Collision(
            source=source,
            space=site.space,
            where=site.where,
            weight=site.weight,
            op=site.op,
            readers=strategy.claimed,
            nullity=strategy.nullity,
            kind=strategy.kind,
            perturbation=replace(facts, sigma=strategy.sigma),
            original=arrays[0],
            colliding=arrays[1],
            control=arrays[2],
            others=others,
            runs=tuple(runs),
            caveat=_joined(site.caveat, strategy.caveat, remark),
            steps=strategy.steps(arrays[0], arrays[1]),
        )

    def _precisions(self, asked: tuple[Precision, ...]) -> tuple[Precision, ...]:
        """What runs: a model with integer arithmetic as it is, and one with 16 bits inside also as it is.

        Raises:
            OnnxnullError: `precision` where integer arithmetic is to run at another.
        """
        if all(not is_integer_arithmetic(node) for node in self._flow.nodes):
            also = computes_in_16_bits(self.model) and Precision.NATIVE not in asked
            return (*asked, Precision.NATIVE) if also else asked
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

    def _check_twins(self, feeds: Mapping[str, np.ndarray], subjects: Sequence[Executable], start: Array) -> str | None:
        """Hold what every subject makes of the original against the file itself in onnxruntime, which runs once for an input.

        A weight that was cut out of its network alone has no output of the network to be held against. What stands in for the
        file where onnxruntime does not run it is returned, in words.
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
        return original.remark

    def _check_original(self, arrays: Sequence[Array], start: Array, layer: str) -> None:
        """Whether the tensors fit what reaches a layer, and the first of them is that."""
        self._check_shapes(arrays, start.shape)
        if np.abs(arrays[0] - start).max(initial=0.0) > 1e-3 * np.abs(start).max(initial=0.0):
            raise OnnxnullError(Code.DATA, f"the original is not what reaches {layer!r} from the network's inputs")

    @staticmethod
    def _check_shapes(arrays: Sequence[Array], shape: tuple[int, ...]) -> None:
        for array in arrays:
            if array.shape != shape:
                raise OnnxnullError(Code.DATA, f"an array of shape {array.shape} where the model has {shape}")

    def stored(self, name: str, array: np.ndarray) -> Array:
        """The array as the input's own type stores it."""
        described = self._described(name)
        return np.asarray(array).astype(float_type(described.dtype)).astype(np.float64)

    def _described(self, name: str) -> GraphInput:
        return next(described for described in self.model.inputs if described.name == name)

    def _eight_bit(self, collision: Collision, image: Preprocessing, subjects: Sequence[Executable]) -> EightBit:
        """Round the colliding image to 8 bits a channel and run it again, at the lowest precision, the file as it is last."""
        described = self._described(collision.where)
        exact = pixels(collision.colliding, described, image)
        whole = np.rint(exact)
        subject = max(subjects, key=lambda subject: (subject.unit, subject.precision is Precision.NATIVE))
        before, after = (
            subject.run(subject.stored(x))
            for x in (collision.original, self.stored(collision.where, from_pixels(whole, described, image)))
        )
        return EightBit(float(np.abs(whole - exact).max()), subject.precision.value, compare_all(before, after))


def _joined(*parts: str | None) -> str | None:
    return "; ".join(filter(None, parts)) or None
