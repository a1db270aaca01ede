"""Running both models: do collisions of one collide on the other, and do both give one output for one input?"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxnull.collision.cases import random_case
from onnxnull.collision.executables import networks_twin
from onnxnull.collision.output_change import compare
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.results import Change, Collision, Run, Verdict
from onnxnull.collision.search import Execution, Place, Search
from onnxnull.comparison.inputs import Link, inverse, one_sample
from onnxnull.comparison.results import Agreement, CrossedRun, Crossing, OutputPair
from onnxnull.comparison.verdicts import Crossed
from onnxnull.errors import Code, ExitCode, OnnxnullError
from onnxnull.graph.limits import Limits
from onnxnull.graph.model import GraphInput
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


class Subject:
    """One of the two models, ready to run: sessions and searches are made once.

    Args:
        path: of the file.
        inputs: of the model.
        shapes: input → dimensions, where the file leaves them open; an open batch is one sample.
    """

    def __init__(
        self,
        path: str,
        inputs: Sequence[GraphInput],
        shapes: Mapping[str, Sequence[int]],
        running: Running,
        limits: Limits | None,
        progress: Callable[[str], None],
    ) -> None:
        self.path, self.inputs, self.running = path, inputs, running
        whole = {described.name: shape for described in inputs if (shape := one_sample(described)) is not None}
        self._shapes, self._limits, self._progress = {**whole, **shapes}, limits, progress
        self._searches: dict[str | None, Search] = {}

    def search(self, name: str | None = None) -> Search:
        """A search at an input, None for the first one whose collisions are the network's. Raises `OnnxnullError`."""
        if name not in self._searches:
            execution = Execution(self.running.precisions, self.running.providers)
            made = Search(self.path, Place(name), execution, shapes=self._shapes, limits=self._limits, progress=self._progress)
            self._searches[name] = self._searches[made.input().name] = made
        return self._searches[name]

    @functools.cached_property
    def precisions(self) -> tuple[Precision, ...]:
        """What it runs at: as it is, where it computes on integers."""
        native = networks_twin(self.path, Precision.NATIVE, self.running.providers[0], self._limits)
        return (Precision.NATIVE,) if has_integer_arithmetic(native.proto) else self.running.precisions

    def runner(self, precision: Precision, provider: Provider, extra_outputs: Sequence[str] = ()) -> Runner:
        """A session of it. Raises `OnnxnullError`."""
        self._progress(f"preparing {precision.value}")
        made = networks_twin(self.path, precision, provider, self._limits)
        return Runner(made, provider=provider, extra_outputs=extra_outputs)


def crossings(a: Subject, b: Subject, links: Sequence[Link], *, same: bool) -> tuple[Crossing, Crossing]:
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


def _cross(built_on: str, own: Subject, other: Subject, ways: _Ways) -> Crossing:
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
    other: Subject,
    name: str,
    collision: Collision,
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray],
    others: Feeds,
) -> Sequence[Run | _Measured]:
    """The claims on the other model where it has a kernel, else what its outputs do."""
    try:
        return other.search(name).again("carried", arrays, others, collision.perturbation).runs
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
    bitwise = all(change.bitwise for change in run.outputs)
    if (isinstance(run, Run) and run.verdict is not Verdict.BROKEN) or (isinstance(run, _Measured) and bitwise):
        return Crossed.COLLIDES
    pairs = zip(run.outputs, run.control, strict=True)
    return Crossed.NEARLY if all(_LESS * change.max_abs <= other.max_abs for change, other in pairs) else Crossed.SEEN


def agreement(a: Subject, b: Subject, links: Sequence[Link], limit: float | None) -> Agreement:
    """The outputs of both for one random input, beside those of a for another one.

    Args:
        limit: the largest ratio that counts as the same; None where the weights are different anyway.
    """
    unmapped = _unmapped(a, b, links)
    if unmapped is not None:
        return Agreement(reason=unmapped, failed=limit is not None)
    try:
        cases = [_inputs(a.inputs, a.running.seed + number, 1 - number) for number in (0, 1)]
        runner, other = (subject.runner(Precision.FLOAT32, a.running.providers[0]) for subject in (a, b))
        first, second = (runner.run(case) for case in cases)
        feeds = {link.b.name: link.to_b(cases[0][link.a.name]) for link in links}
        shifts = _shifts(a, b, links)
        found = [_outputs(first, second, other.run(feeds))]
        if shifts:  # a constant part of the path is undone, or was folded into a bias: what fits better
            moved = {name: array + shifts.get(name, 0.0) for name, array in feeds.items()}
            found.append(_outputs(first, second, other.run(moved)))
    except OnnxnullError as error:
        return Agreement(reason=_told(error), failed=True)
    told = [each for each in found if not isinstance(each, str)]
    if not told:
        return Agreement(reason=str(found[0]), failed=limit is not None)
    return Agreement(min(told, key=lambda pairs: max((pair.ratio for pair in pairs), default=0.0)), limit)


def _inputs(inputs: Sequence[GraphInput], seed: int, whole: int) -> Feeds:
    """Random floats; integers and booleans are all `whole`, a number that token ids, masks and flags may be."""
    arrays = random_case(inputs, seed, {}).arrays
    return {name: array if array.dtype.kind == "f" else np.full_like(array, whole) for name, array in arrays.items()}


def _outputs(first: Feeds, second: Feeds, theirs: Feeds) -> tuple[OutputPair, ...] | str:
    """All outputs in pairs, by name where all names are the same, else in order; or why they cannot be compared."""
    if len(first) != len(theirs):
        return f"one has {len(first)} outputs, the other {len(theirs)}"
    partners = first if set(first) == set(theirs) else theirs
    pairs = []
    for name, partner in zip(first, partners, strict=True):
        found = _output(name, partner, first[name], second[name], theirs[partner])
        if isinstance(found, str):
            return found
        pairs.append(found)
    return tuple(pairs)


def _shifts(a: Subject, b: Subject, links: Sequence[Link]) -> Mapping[str, np.ndarray]:
    """Input of b → what has to be added to the image of an input of a, so that the first layers read the same numbers.

    With a(x) = L_a·x + t_a and the same for b, it is L_b⁻¹·(Π·t_a − t_b). The constants t are what the layers read of zeros.
    """
    shifts = {}
    for link in links:
        if link.reads is None or all(reads.tensor == i.name for reads, i in zip(link.reads, (link.a, link.b), strict=True)):
            continue
        first, second = (_read_of_zeros(s, reads.tensor) for s, reads in zip((a, b), link.reads, strict=True))
        shift = inverse(link.reads[1].path).apply(link.reads[0].onward.apply(first) - second)
        if np.any(np.abs(shift) > 1e-6):
            shifts[link.b.name] = shift
    return shifts


def _read_of_zeros(subject: Subject, tensor: str) -> np.ndarray:
    """What a tensor of the main graph is where all inputs are zero. Raises `OnnxnullError`."""
    zeros = {name: array * 0 for name, array in random_case(subject.inputs, 0, {}).arrays.items()}
    if tensor in zeros:
        return zeros[tensor]
    runner = subject.runner(Precision.FLOAT32, subject.running.providers[0], [tensor])
    return runner.run(zeros, [tensor])[tensor].astype(np.float64)


def _output(name: str, partner: str, first: np.ndarray, second: np.ndarray, theirs: np.ndarray) -> OutputPair | str:
    """The outputs side by side, or why they cannot be compared."""
    if not (isinstance(first, np.ndarray) and isinstance(theirs, np.ndarray)):
        return f"output {name!r} or {partner!r} is no tensor"
    squeezed = [tuple(size for size in array.shape if size != 1) for array in (first, theirs)]
    if squeezed[0] != squeezed[1] or first.dtype.kind != theirs.dtype.kind or first.dtype.kind not in "fiub":
        return f"output {name!r} is {first.dtype} {first.shape}, {partner!r} is {theirs.dtype} {theirs.shape}"
    wide = first.astype(np.float64)
    if first.size and not (np.isfinite(wide).any() or np.isfinite(theirs.astype(np.float64)).any()):
        return f"output {name!r} holds no finite number in either model"
    apart = compare(name, wide, theirs.astype(np.float64).reshape(first.shape)).max_abs
    spread = compare(name, wide, second.astype(np.float64)).max_abs if second.shape == first.shape else float("nan")
    if not spread > 0.0:  # the other input changes nothing here, or gives no numbers
        spread = float(np.max(np.abs(wide), initial=0.0))
    ratio = 0.0 if apart == 0.0 else apart / spread if spread > 0.0 else float("inf")
    return OutputPair(name, partner, apart, spread, ratio)


def _told(error: OnnxnullError) -> str:
    """Code and what was seen; what to do, where it was not that there is nothing to find."""
    remedy = "" if error.exit_code is ExitCode.NOTHING else f"; {error.remedy}"
    return f"[{error.code.code}] {error.seen}{remedy}"


def _unmapped(a: Subject, b: Subject, links: Sequence[Link]) -> str | None:
    """Why the inputs of one cannot be given to the other; None where they can."""
    if len(a.inputs) != len(b.inputs):
        return f"one has {len(a.inputs)} inputs, the other {len(b.inputs)}"
    for link in links:
        if link.linear is None:
            return f"no way is known from input {link.a.name!r} to input {link.b.name!r}: {link.reason}"
    return None
