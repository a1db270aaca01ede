"""Run a model as it is on a few inputs and look at its outputs: for the rules `broken-run` and `constant-output`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.errors import OnnxnullError

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
    """Run the file as it is on the inputs of the request."""
    from onnxnull.runtime.providers import Provider, choose
    from onnxnull.runtime.session import Runner

    request.progress("running the model")
    try:
        if not request.model.inputs:
            return OutputRuns()
        cases, provider = request.cases, choose(request.settings.provider)
        on_cpu = provider is Provider.CPU
        run = request.original.run if on_cpu else Runner(request.path, provider=provider, limits=request.limits).run
        found = [run(case.arrays) for case in cases]
        return replace(observed(found), stored=_stored(request.flow))
    except OnnxnullError as error:
        return OutputRuns(problem=error)


def observed(found: Sequence[Mapping[str, np.ndarray]]) -> OutputRuns:
    """What the outputs of several runs come to; empty ones are not looked at."""
    arrays = {name: [run[name] for run in found] for name in found[0]}
    full = {name: runs for name, runs in arrays.items() if all(isinstance(run, np.ndarray) and run.size for run in runs)}
    floats = {name: runs for name, runs in full.items() if runs[0].dtype.kind == "f"}
    asked = floats or {name: runs for name, runs in full.items() if runs[0].dtype.kind in "biu"}
    nan = {name: sum(bool(np.isnan(run).any()) for run in runs) for name, runs in floats.items()}
    infinite = {
        name: sum(not np.isfinite(run).any() and not np.isnan(run).any() for run in runs) for name, runs in floats.items()
    }
    same = tuple(name for name, runs in asked.items() if _same(runs))
    return OutputRuns(
        len(found),
        len(asked),
        {name: count for name, count in nan.items() if count},
        {name: count for name, count in infinite.items() if count},
        same if len(found) > 1 else (),
    )


def _same(runs: Sequence[np.ndarray]) -> bool:
    exact = runs[0].dtype.kind == "f"
    return all(np.array_equal(run, runs[0], equal_nan=exact) for run in runs[1:])


def _stored(flow: Flow) -> frozenset[str]:
    outputs = flow.model.graph.outputs
    return frozenset(value.name or "" for value in outputs if flow.operand(value).constant is not None)
