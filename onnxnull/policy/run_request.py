"""What `check --run` runs of one model, and on which inputs: chosen once, for all rules that look at runs."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.collision.cases import Case, load_cases, quantizer_ranges
from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.entries import MOVING, entry_kind
from onnxnull.graph.runnable import check_runnable
from onnxnull.inputs import random_sample
from onnxnull.operators.lookup import indexed_axis

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxnull.graph.flow import Flow
    from onnxnull.graph.model import GraphInput, Model
    from onnxnull.inputs import Preprocessing
    from onnxnull.kernel.maps.linear_map import Array
    from onnxnull.policy.config import RunSettings

RUNS = 8
"""Different inputs that a model runs on."""


@dataclass(frozen=True, eq=False)
class RunRequest:
    """A model to run, and how. What follows from it (`flow`, `cases`) is made when it is asked for, once.

    Attributes:
        data: a folder of inputs and how images are read; None for random numbers.
    """

    model: Model
    settings: RunSettings
    data: tuple[Path, Preprocessing] | None = None
    progress: Callable[[str], None] = lambda _: None

    @functools.cached_property
    def flow(self) -> Flow:
        """What is known of its values. Raises `OnnxnullError` where it may not be run."""
        check_runnable(self.model.flow)
        return self.model.flow

    @functools.cached_property
    def cases(self) -> tuple[Case, ...]:
        """`RUNS` inputs: the first of the given ones, then what resembles them; without any, random numbers.

        Random floats are standard normal, or in the middle of the range of a quantizer that rounds them first. Integers are
        rows of the tables that they pick from, 0 or 1 where there are none. The first entry of a row of booleans or of 0 and 1
        is 1, so that no mask hides everything.

        Raises:
            OnnxnullError: `data` where there is no input, or one does not fit.
        """
        if self.data is not None:
            return tuple(_given(self.model.inputs, self.data))
        ranges = quantizer_ranges(self.flow)
        return tuple(Case("random", _random(self.flow, seed, ranges)) for seed in range(RUNS))


def _given(inputs: Sequence[GraphInput], data: tuple[Path, Preprocessing]) -> list[Case]:
    """The first inputs of a folder; too few are joined by what has their values in other places, axis by axis."""
    cases = load_cases(data[0], inputs, data[1])[:RUNS]
    if not cases:
        raise OnnxnullError(Code.DATA, f"no input in {str(data[0])!r}")
    found = list(cases)
    while len(found) < RUNS:
        base = cases[len(found) % len(cases)]
        found.append(Case(base.source, {name: _shifted(array, len(found)) for name, array in base.arrays.items()}))
    return found


def _shifted(array: np.ndarray, by: int) -> np.ndarray:
    """The same numbers, moved along the longest axis; what has one entry stays."""
    if array.ndim == 0:
        return array
    axis = int(np.argmax(array.shape))
    return np.roll(array, by, axis=axis)


def _random(flow: Flow, seed: int, ranges: Mapping[str, tuple[Array, Array]]) -> dict[str, np.ndarray]:
    """Random numbers for every input, in its range where it has one."""
    values = {value.name: value for value in flow.model.graph.inputs}
    feeds = {}
    for described in flow.model.inputs:
        array = random_sample(described, seed, *ranges.get(described.name, ())).array
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
            along = indexed_axis(view, index)
            if along is not None:
                found += [] if along[2] is None else [along[2]]
            elif index == 0 and (entry_kind(node) in MOVING or node.op_type == "Cast"):
                pending.extend(node.outputs)
    return min(found, default=None) or None
