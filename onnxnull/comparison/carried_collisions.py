"""Collisions of one model on the other: do they collide there too?"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxnull.collision.cases import random_case
from onnxnull.collision.executables import computes_in_16_bits, networks_twin
from onnxnull.collision.output_change import compare
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.results import Change, Collision, Decision, Run
from onnxnull.collision.search import Execution, Place, Search
from onnxnull.comparison.input_links import Link, one_sample
from onnxnull.comparison.results import CrossedRun, Crossing
from onnxnull.comparison.verdicts import Crossed
from onnxnull.errors import Code, ExitCode, OnnxnullError
from onnxnull.graph.model import Model
from onnxnull.runtime.precision import Precision, has_integer_arithmetic
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.session import Runner

_LESS = 10.0
"""An output that moves by so many times less than for the control is nearly as it was."""
_NO_KERNEL = (Code.INJECTIVE, Code.NOT_GUARANTEED)
"""Where the other model has no kernel to check a claim of, what its outputs do is measured all the same."""
Feeds = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Running:
    """How to run the two models.

    Attributes:
        seed: of the random inputs.
    """

    precisions: tuple[Precision, ...] = (Precision.FLOAT64, Precision.FLOAT32)
    providers: tuple[Provider, ...] = (Provider.CPU,)
    seed: int = 0


class SearchedModel:
    """One of the two models, ready to run: sessions and searches are made once.

    Args:
        model: an open batch is one sample.
    """

    def __init__(
        self,
        model: Model,
        running: Running,
        progress: Callable[[str], None],
    ) -> None:
        self.inputs, self.running, self._progress = model.inputs, running, progress
        self._model = model.at({each.name: shape for each in model.inputs if (shape := one_sample(each)) is not None})
        self._searches: dict[str | None, Search] = {}

    def search(self, name: str | None = None) -> Search:
        """A search at an input, None for the first one whose collisions are the network's. Raises `OnnxnullError`."""
        if name not in self._searches:
            execution = Execution(self.running.precisions, self.running.providers)
            made = Search(self._model, Place(name), execution, progress=self._progress)
            self._searches[name] = self._searches[made.input().name] = made
        return self._searches[name]

    @functools.cached_property
    def precisions(self) -> tuple[Precision, ...]:
        """What it runs at: as it is, where it computes on integers; also as it is, where it computes in 16 bits."""
        if has_integer_arithmetic(self._model.parsed.whole):
            return (Precision.NATIVE,)
        also = (Precision.NATIVE,) if computes_in_16_bits(self._model) else ()
        return tuple(dict.fromkeys([*self.running.precisions, *also]))

    def runner(self, precision: Precision, provider: Provider, extra_outputs: Sequence[str] = ()) -> Runner:
        """A session of it. Raises `OnnxnullError`."""
        self._progress(f"preparing {precision.value}")
        made = networks_twin(self._model, precision, provider)
        return Runner(made, provider=provider, extra_outputs=extra_outputs)


def crossings(a: SearchedModel, b: SearchedModel, links: Sequence[Link], *, same: bool) -> tuple[Crossing, Crossing]:
    """A collision of each model on the other.

    Args:
        same: whether the weights are the same, so that it is a failure if the inputs of one cannot be given to the other.
    """
    unmapped = _unmapped(a, b, links)
    if unmapped is not None:
        return Crossing("a", reason=unmapped, failed=same), Crossing("b", reason=unmapped, failed=same)
    return (
        _cross("a", a, b, {link.a.name: (link.b.name, link.to_b) for link in links}),
        _cross("b", b, a, {link.b.name: (link.a.name, link.to_a) for link in links}),
    )


_Ways = Mapping[str, tuple[str, Callable[[np.ndarray], np.ndarray]]]
"""Input of the model that a collision is built on → input of the other, and how to get there."""


def _cross(built_on: str, own: SearchedModel, other: SearchedModel, ways: _Ways) -> Crossing:
    try:
        search = own.search()
        where = search.input().name
        case = random_case(search.model.inputs, own.running.seed, {})
        (collision,) = search.run(case, Recipe(seed=own.running.seed))
        there, way = ways[where]
        arrays = way(collision.original), way(collision.colliding), way(collision.control)
        others = {ways[name][0]: ways[name][1](array) for name, array in collision.others.items()}
        runs = _on_other(other, there, collision, arrays, others)
    except OnnxnullError as error:
        return Crossing(built_on, reason=_told(error), failed=error.exit_code is not ExitCode.NOTHING)
    own_verdicts = {run.precision: run.verdict.label for run in collision.runs}
    return Crossing(
        built_on,
        tuple(
            CrossedRun(
                run.precision,
                own_verdicts.get(run.precision, collision.runs[-1].verdict.label),
                _crossed(run),
                run.outputs,
                run.control,
            )
            for run in runs
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """A run of which only the outputs were looked at."""

    precision: str
    outputs: tuple[Change, ...]
    control: tuple[Change, ...]


def _on_other(
    other: SearchedModel,
    name: str,
    collision: Collision,
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray],
    others: Feeds,
) -> Sequence[Run | _Measured]:
    """The claims on the other model where it has a kernel, else what its outputs do."""
    try:
        return other.search(name).verify_pair("carried", arrays, others, collision.perturbation).runs
    except OnnxnullError as error:
        if error.code not in _NO_KERNEL:
            raise
    measured: dict[str, _Measured] = {}
    for provider in other.running.providers:
        for precision in other.precisions:
            runner = other.runner(precision, provider)
            first, second, third = (runner.run({**others, name: x}) for x in arrays)
            tensors = [output for output, array in first.items() if isinstance(array, np.ndarray)]
            outputs, control = (
                tuple(compare(output, first[output], moved[output]) for output in tensors) for moved in (second, third)
            )
            measured[f"{runner.precision.value} {provider.value}"] = _Measured(runner.precision.value, outputs, control)
    return list(measured.values())


def _crossed(run: Run | _Measured) -> Crossed:
    if isinstance(run, Run) and run.verdict.decision is not Decision.BROKEN:
        return Crossed.COLLIDES if run.verdict.decision is Decision.HOLDS else Crossed.UNDECIDED
    if isinstance(run, _Measured) and all(change.bitwise for change in run.outputs):
        return Crossed.COLLIDES
    pairs = zip(run.outputs, run.control, strict=True)
    return Crossed.NEARLY if all(_LESS * change.max_abs <= other.max_abs for change, other in pairs) else Crossed.SEEN


def _told(error: OnnxnullError) -> str:
    """Code and what was seen; what to do, where it was not that there is nothing to find."""
    remedy = "" if error.exit_code is ExitCode.NOTHING else f"; {error.remedy}"
    return f"[{error.code.code}] {error.seen}{remedy}"


def _unmapped(a: SearchedModel, b: SearchedModel, links: Sequence[Link]) -> str | None:
    """Why the inputs of one cannot be given to the other; None where they can."""
    if len(a.inputs) != len(b.inputs):
        return f"one has {len(a.inputs)} inputs, the other {len(b.inputs)}"
    for link in links:
        if link.linear is None:
            return f"no way is known from input {link.a.name!r} to input {link.b.name!r}: {link.reason}"
    return None
