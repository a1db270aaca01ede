"""Run a model as it is on a few inputs and look at its outputs: for the rules `broken-run` and `constant-output`."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.errors import Code, OnnxnullError

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxnull.graph.flow import Flow
    from onnxnull.graph.limits import Limits
    from onnxnull.graph.model import GraphInput
    from onnxnull.inputs import Preprocessing
    from onnxnull.policy.config import RunSettings

RUNS = 8
"""Different inputs that a model runs on."""
_MOVES_INDICES = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})


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


def run_outputs(
    path: str,
    settings: RunSettings,
    *,
    data: tuple[Path, Preprocessing] | None,
    input_shapes: Mapping[str, Sequence[int]],
    limits: Limits | None,
    progress: Callable[[str], None],
) -> OutputRuns:
    """Run on the first of the given inputs, and on what resembles them until there are `RUNS`; without any, on random numbers.

    Random floats are standard normal; integers are rows of the tables that they pick from, 0 or 1 where there are none; the
    first entry of a row of booleans or of 0 and 1 is 1, so that no mask hides everything.
    """
    from onnxnull.graph.flow import Flow
    from onnxnull.graph.model import open_model
    from onnxnull.graph.runnable import check_runnable
    from onnxnull.runtime.providers import choose
    from onnxnull.runtime.session import Runner

    progress("running the model")
    try:
        model = open_model(path, input_shapes=dict(input_shapes), limits=limits)
        if not model.inputs:
            return OutputRuns()
        flow = Flow(model)
        check_runnable(flow)
        feeds = _given(model.inputs, data) if data is not None else [_random(flow, seed) for seed in range(RUNS)]
        runner = Runner(path, provider=choose(settings.provider), limits=limits)
        found = [runner.run(each) for each in feeds]
    except OnnxnullError as error:
        return OutputRuns(problem=error)
    return replace(observed(found), stored=_stored(flow))


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


def _given(inputs: Sequence[GraphInput], data: tuple[Path, Preprocessing]) -> list[dict[str, np.ndarray]]:
    """The first inputs of a folder; too few are joined by what has their values in other places, axis by axis."""
    from onnxnull.collision.cases import load_cases

    cases = [dict(case.arrays) for case in load_cases(data[0], inputs, data[1])][:RUNS]
    if not cases:
        raise OnnxnullError(Code.DATA, f"no input in {str(data[0])!r}")
    feeds = list(cases)
    while len(feeds) < RUNS:
        base = cases[len(feeds) % len(cases)]
        feeds.append({name: _shifted(array, len(feeds)) for name, array in base.items()})
    return feeds


def _shifted(array: np.ndarray, by: int) -> np.ndarray:
    """The same numbers, moved along the longest axis; what has one entry stays."""
    if array.ndim == 0:
        return array
    axis = int(np.argmax(array.shape))
    return np.roll(array, by, axis=axis)


def _random(flow: Flow, seed: int) -> dict[str, np.ndarray]:
    """Random numbers for every input."""
    from onnxnull.inputs import random_sample

    values = {value.name: value for value in flow.model.graph.inputs}
    feeds = {}
    for described in flow.model.inputs:
        array = random_sample(described, seed).array
        if array.dtype.kind != "f":
            rng = np.random.default_rng([seed, zlib.crc32(described.name.encode())])
            rows = None if array.dtype.kind == "b" else _rows(flow, values[described.name])
            array = rng.integers(0, rows or 2, array.shape).astype(array.dtype)
            if rows is None and array.ndim:
                array[..., 0] = 1
        feeds[described.name] = array
    return feeds


def _rows(flow: Flow, value: ir.Value) -> int | None:
    """How many rows the tables have that an integer input picks from; None where it picks from none."""
    views = {view.node: view for view in flow.nodes}
    pending, seen, found = [value], set[object](), []
    while pending:
        each = pending.pop()
        for node, index in each.uses():
            view = views.get(node)
            if view is None or (node, index) in seen:
                continue
            seen.add((node, index))
            if node.op_type in _MOVES_INDICES and index == 0:
                pending.extend(node.outputs)
            elif node.op_type == "Gather" and index == 1:
                table = view.input(0)
                axis = int(view.attribute("axis", 0))
                size = None if table is None or table.shape is None or not table.shape else table.shape[axis]
                found += [] if size is None else [size]
            elif node.op_type == "EmbedLayerNormalization" and index in (0, 1):
                table = view.input(2 if index == 0 else 4)
                size = None if table is None or not table.shape else table.shape[0]
                found += [] if size is None else [size]
    return min(found, default=None) or None
