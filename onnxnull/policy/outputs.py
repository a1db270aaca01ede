"""Run a model as it is on a few inputs and look at its outputs: for the rules `broken-run` and `constant-output`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxnull.errors import OnnxnullError
from onnxnull.graph.floats import is_float

if TYPE_CHECKING:
    from onnxnull.graph.flow import Flow
    from onnxnull.policy.run_request import RunRequest


@dataclass(frozen=True, slots=True)
class OutputRuns:
    """What the outputs of floats (of all types where there are none) were in `runs` runs.

    Attributes:
        outputs: how many were looked at.
        nan: output → runs in which it held NaN. infinite: output → runs in which none of its entries was finite.
        constant: outputs that were the same in all runs.
        stored: those of them that the file stores, or makes of what it stores.
        problem: why it could not be found out; then the check is incomplete.
    """

    runs: int = 0
    outputs: int = 0
    nan: Mapping[str, int] | None = None
    infinite: Mapping[str, int] | None = None
    constant: tuple[str, ...] = ()
    stored: frozenset[str] = frozenset()
    problem: OnnxnullError | None = None


def run_outputs(request: RunRequest) -> OutputRuns:
    """Run the file as it is on the inputs of the request; one that computes in 16 bits with every value rounded as it says."""
    from onnxnull.runtime.agreement import Original
    from onnxnull.runtime.as_stored import SIXTEEN_BITS, computed_floats_of, stored_twin_of
    from onnxnull.runtime.providers import Provider, choose
    from onnxnull.runtime.session import Runner

    request.progress("running the model")
    try:
        if not request.model.inputs:
            return OutputRuns()
        cases, provider = request.cases, choose(request.settings.provider)
        parsed = request.model.parsed
        runner: Runner | Original
        if parsed.once(computed_floats_of) & SIXTEEN_BITS:  # onnxruntime would not round to them everywhere
            runner = Runner(parsed.once(stored_twin_of, provider), provider=provider)
        else:
            runner = parsed.once(Original) if provider is Provider.CPU else Runner(request.model, provider=provider)
        found = [runner.run(case.arrays) for case in cases]
        return replace(observed(found), stored=_stored(request.flow))
    except OnnxnullError as error:
        return OutputRuns(problem=error)


def observed(found: Sequence[Mapping[str, Any]]) -> OutputRuns:
    """What the outputs of several runs come to; empty ones are not looked at. A sequence is NaN where one of its tensors is."""
    parts = {name: [list(_arrays(run[name])) for run in found] for name in found[0]}
    full = {name: runs for name, runs in parts.items() if all(any(array.size for array in run) for run in runs)}
    floats = {name: runs for name, runs in full.items() if all(is_float(array) for run in runs for array in run)}
    asked = floats or {name: runs for name, runs in full.items() if all(a.dtype.kind in "biu" for run in runs for a in run)}
    nan = {name: sum(any(np.isnan(array).any() for array in run) for run in runs) for name, runs in floats.items()}
    infinite = {
        name: sum(not any(np.isfinite(a).any() or np.isnan(a).any() for a in run) for run in runs)
        for name, runs in floats.items()
    }
    same = tuple(name for name, runs in asked.items() if all(_same(run, runs[0]) for run in runs))
    return OutputRuns(
        len(found),
        len(asked),
        {name: count for name, count in nan.items() if count},
        {name: count for name, count in infinite.items() if count},
        same if len(found) > 1 else (),
    )


def _arrays(output: Any) -> Iterator[np.ndarray]:
    """The tensors of an output: of a sequence all of its own, of a map its values; none of an optional that is empty."""
    if isinstance(output, np.ndarray):
        yield output
    elif isinstance(output, Mapping):
        yield np.asarray(list(output.values()))
    elif isinstance(output, list):
        for each in output:
            yield from _arrays(each)


def _same(run: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> bool:
    return len(run) == len(other) and all(np.array_equal(a, b, equal_nan=is_float(a)) for a, b in zip(run, other, strict=True))


def _stored(flow: Flow) -> frozenset[str]:
    outputs = flow.model.graph.outputs
    return frozenset(value.name or "" for value in outputs if flow.operand(value).constant is not None)
