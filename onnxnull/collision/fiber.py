"""Collisions of the whole network, whatever its first layer: two inputs, or two values inside it, on one fibre of its logits.

What stays equal is g: tensors that are named, or by default the network's outputs, and behind a Softmax or LogSoftmax its
operand (the logits), since probabilities near 0 and 1 hide changes. `fiber_claim` says how equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxnull.collision.cases import Case
from onnxnull.collision.entering import entering
from onnxnull.collision.fiber_claim import AtFiber, verify_fiber
from onnxnull.collision.invariant_tensors import default_equal, joined
from onnxnull.collision.perturb import Recipe, bounds
from onnxnull.collision.results import Collision, Kind, Perturbation, Space
from onnxnull.collision.search import Execution, Place, Progress, Search, activations_of, box_of
from onnxnull.collision.tensors import cuts
from onnxnull.collision.verify import Trial, starts
from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.model import GraphInput, Model
from onnxnull.runtime.cut import cut
from onnxnull.runtime.precision import Precision, Twin
from onnxnull.runtime.providers import Provider

if TYPE_CHECKING:
    from onnxnull.fiber.walk import Reached
    from onnxnull.kernel.maps.linear_map import Array

_MOST, _BYTES = 8192, 4 << 30
"""Numbers that may stay equal, and bytes of their Jacobian."""


class FiberSearch(Search):
    """A model prepared for walks along its fibres.

    Args:
        place: an input, or one layer: then what reaches it changes, and the rest of the network runs behind it.
        equal: tensors that stay equal; empty for what `default_equal` finds.
        time_limit: seconds of one walk.

    Raises:
        OnnxnullError: as `Search`; `data` where there is no such tensor, or too many numbers would have to stay equal.
    """

    def __init__(
        self,
        model: Model,
        place: Place,
        execution: Execution,
        *,
        equal: Sequence[str] = (),
        time_limit: float | None = None,
        progress: Progress = lambda _: None,
    ) -> None:
        super().__init__(model, place, execution, progress=progress)
        if place.space is Space.PATCHES or place.layer == "all":
            raise OnnxnullError(Code.LAYER, "a walk along a fibre starts at one tensor", "name an input or one layer")
        self._time_limit = time_limit
        self._source = model.parsed.whole
        self._tensor: str | None = None
        self._weight, self._op = "", ""
        if place.layer is not None:
            (found,) = cuts(self._flow, place.layer, Space.ACTIVATION, place.weight)
            if found.tensor is None or found.space is not Space.ACTIVATION:
                raise OnnxnullError(
                    Code.LAYER, f"what reaches {place.layer!r} cannot be cut out: {found.caveat}", "name another"
                )
            self._tensor, self._layer = found.tensor, found.view.name
            self._weight, self._op = found.weight, found.view.op_type
            self._source = cut(self._source, found.tensor)
        self._equal: tuple[str, ...] = tuple(dict.fromkeys(equal))
        self._caveat: str | None = None
        if not equal:
            self._equal, self._caveat = default_equal(self._source)
        self._subjects_made: list[AtFiber] | None = None

    def input(self) -> GraphInput:
        """The input that changes. Raises `OnnxnullError` where there is none."""
        floats = [each for each in self.model.inputs if each.dtype.startswith("float")]
        chosen = [each for each in floats if self.place.input in (None, each.name)]
        if not chosen:
            raise OnnxnullError(Code.DATA, f"the model has no floating-point input {self.place.input or ''!r}")
        return chosen[0]

    def run(self, case: Case, recipe: Recipe, toward: Case | None = None) -> Iterator[Collision]:
        """The collision that a walk from this case ends at.

        Args:
            toward: the inputs to walk toward, where the recipe's pattern is "toward".

        Raises:
            OnnxnullError: `not-found` where no step was found, `no-gradient`, and what running the model raises.
        """
        start, name = self._start(case)
        others = {other: array for other, array in case.arrays.items() if other != name}
        if toward is not None:
            recipe = replace(recipe, toward=self._start(toward)[0], toward_source=toward.source)
        self._progress("differentiating the model")
        lower, upper = bounds(start, recipe)
        if recipe.free is not None:
            free = np.broadcast_to(recipe.free, start.shape)
            lower, upper = np.where(free, lower, start), np.where(free, upper, start)
        wish = _wish(start, recipe, lower, upper)
        found = self._walked(start, name, others, wish, lower, upper)
        moved = found.point - start
        if not np.any(moved):
            seen = f"no step along the fibre was found: {found.stop.meaning}"
            raise OnnxnullError(Code.NOT_FOUND, seen, "walk toward something else, or raise --time-limit")
        beside = _control(start, wish, float(np.linalg.norm(moved)))
        facts = Perturbation.measured(recipe.pattern, recipe.parameters() | _parameters(found), start, found.point, beside)
        subjects = self._at(case, others, name)
        collision = self._judged(subjects, case.source, (start, found.point, beside), others, facts, name)
        yield self._shown(collision, case, subjects) if self._tensor is None else collision

    def verify_pair(
        self, source: str, arrays: tuple[Array, Array, Array], others: Mapping[str, np.ndarray], facts: Perturbation
    ) -> Collision:
        """Verify a pair that was found before. Raises `OnnxnullError` as `run`; `data` where the tensors do not fit."""
        name = self.input().name if self._tensor is None else self._tensor
        case = Case(source, others if self._tensor is not None else {**others, name: arrays[0]})
        if self._tensor is not None:
            start, _ = self._start(case)
            self._check_shapes(arrays, start.shape)
            if np.abs(arrays[0] - start).max(initial=0.0) > 1e-3 * np.abs(start).max(initial=0.0):
                raise OnnxnullError(Code.DATA, f"the original is not what reaches {self._layer!r} from the network's inputs")
        return self._judged(self._at(case, others, name), source, arrays, others, facts, name)

    def _start(self, case: Case) -> tuple[Array, str]:
        """x₀ and its tensor's name: an input as it is stored, or a value inside as the network computes it."""
        if self._tensor is None:
            name = self.input().name
            return self.stored(name, case.arrays[name]), name
        doubles = any(described.dtype == "float64" for described in self.model.inputs)
        native = self._twin(Precision.FLOAT64 if doubles else Precision.FLOAT32, Provider.CPU, case)
        return activations_of(native, case.arrays, [self._tensor])[self._tensor].astype(np.float64), self._tensor

    def _walked(
        self, start: Array, name: str, others: Mapping[str, np.ndarray], wish: Array, lower: Array, upper: Array
    ) -> Reached:
        from onnxnull.fiber import Fiber, walk
        from onnxnull.gradient import Function

        model, output = joined(self._source, self._equal)
        feeds = {**others, name: start}
        exact, quick = (
            Function(model, feeds, output=output, input=name, precision=precision)
            for precision in (Precision.FLOAT64, Precision.FLOAT32)
        )
        fiber = Fiber.through(exact, quick, start, lower, upper)
        most = min(_MOST, _BYTES // (4 * start.size))
        if fiber.rows > most:
            seen = f"{', '.join(map(repr, self._equal))} hold {fiber.rows:,} numbers, and {most:,} can stay equal here"
            raise OnnxnullError(Code.DATA, seen, "name other tensors with --equal")
        if not np.all(np.isfinite(fiber.value)):
            raise OnnxnullError(Code.RUNTIME, "what is to stay equal holds NaN or Inf", "start from another input")
        return walk(fiber, wish, time_limit=self._time_limit, progress=self._progress)

    def _at(self, case: Case, others: Mapping[str, np.ndarray], name: str) -> list[AtFiber]:
        """The network at every precision, sessions made once."""
        if self._subjects_made is None:
            made = []
            for key in self._runs():
                network = self._twin(*key, case)
                if self._tensor is not None:
                    network = Twin(cut(network.proto, self._tensor), network.precision, network.lowered)
                made.append(AtFiber(network, key[1], name, self._equal, entering(self._flow)))
            self._subjects_made = made
        return [subject.with_other_inputs(others) for subject in self._subjects_made]

    def _judged(
        self,
        subjects: Sequence[AtFiber],
        source: str,
        arrays: tuple[Array, Array, Array],
        others: Mapping[str, np.ndarray],
        facts: Perturbation,
        name: str,
    ) -> Collision:
        self._check_twins(others if self._tensor is not None else {**others, name: arrays[0]}, subjects, arrays[0])
        runs = []
        trial = Trial(Kind.FIBER, *arrays, box_of(facts), self.execution.tolerances)
        for subject, start in zip(subjects, starts(subjects, arrays[0]), strict=True):
            self._progress(f"running {subject.precision.value}")
            runs.append(verify_fiber(subject, self._equal, trial, start))
        return Collision(
            source=source,
            space=Space.INPUT if self._tensor is None else Space.ACTIVATION,
            where=name if self._tensor is None else self._layer,
            weight=self._weight,
            op=self._op,
            readers=self._equal,
            nullity=None,
            kind=Kind.FIBER,
            perturbation=facts,
            original=arrays[0],
            colliding=arrays[1],
            control=arrays[2],
            others=others,
            runs=tuple(runs),
            caveat=self._caveat,
        )


def _wish(start: Array, recipe: Recipe, lower: Array, upper: Array) -> Array:
    """The point to walk toward: another input, or a random point of the box."""
    if recipe.pattern not in ("toward", "random"):
        raise OnnxnullError(Code.DATA, f"pattern {recipe.pattern!r} is of kernels", "walk toward an input, or at random")
    if recipe.pattern == "toward":
        assert recipe.toward is not None
        if recipe.toward.shape != start.shape:
            raise OnnxnullError(Code.DATA, f"an input of shape {recipe.toward.shape} where the model has {start.shape}")
        wish = start + (1.0 if recipe.beta is None else recipe.beta) * (recipe.toward - start)
    else:
        noise = np.random.default_rng([recipe.seed, 0])
        direction = noise.standard_normal(start.shape)
        bounded = np.isfinite(lower) & np.isfinite(upper)
        length = recipe.beta or float(np.linalg.norm(start)) or 1.0
        wish = start + length / float(np.linalg.norm(direction)) * direction
        if recipe.beta is None:
            share = noise.random(start.shape)
            wish = np.where(
                bounded, share * np.where(bounded, lower, 0.0) + (1.0 - share) * np.where(bounded, upper, 0.0), wish
            )
    clipped: Array = np.clip(wish, lower, upper)
    return clipped


def _control(start: Array, wish: Array, length: float) -> Array:
    """As far from x₀ as what collides, straight toward the wish: within the same box, and not along the fibre."""
    way = wish - start
    beside: Array = start + min(1.0, length / float(np.linalg.norm(way))) * way
    return beside


def _parameters(found: Reached) -> dict[str, Any]:
    return {
        "method": "fiber",
        "stop": found.stop.label,
        "share": found.share,
        "residual": found.residual,
        "rank": found.rank,
        "rows": found.rows,
        "steps": found.steps,
    }
