"""Regions that no rewrite explains, run alone as functions: on what enters them in the network, and on wide inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.comparison.graphs.matching import Region
from onnxnull.comparison.graphs.reading import Reading
from onnxnull.comparison.graphs.terms import Term
from onnxnull.comparison.runs.both import told
from onnxnull.comparison.runs.outputs import TensorPair, judge
from onnxnull.comparison.runs.samples import Feeds
from onnxnull.errors import OnnxnullError
from onnxnull.graph.model import Model
from onnxnull.graph.protobuf import reads
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.session import Runner

if TYPE_CHECKING:
    import onnx

_WIDE = (1e4, -1e4)


@dataclass(frozen=True, slots=True)
class RegionRun:
    """A region as a function.

    Attributes:
        a, b: the tensors that it ends in.
        inputs: the tensors of a that it starts from.
        judged: on recorded inputs, and on wide ones; None where it could not be run, with the reason.
    """

    a: str
    b: str
    inputs: tuple[str, ...]
    recorded: TensorPair | None = None
    wide: TensorPair | None = None
    reason: str | None = None


def tensor_of(reading: Reading, term: object) -> str | None:
    """A tensor of the main graph that is this term."""
    return next((name for name, value in reading.values.items() if value is term and name), None)


def run_regions(
    a: Model, b: Model, readings: tuple[Reading, Reading], regions: Sequence[Region], feeds: Sequence[Feeds]
) -> tuple[RegionRun, ...]:
    """Run each region on both sides.

    Args:
        feeds: inputs of a, on which what enters a region is recorded.
    """
    return tuple(_run(a, b, readings, region, feeds) for region in regions)


def _run(a: Model, b: Model, readings: tuple[Reading, Reading], region: Region, feeds: Sequence[Feeds]) -> RegionRun:
    ends = [tensor_of(reading, value) for reading, value in zip(readings, (region.a, region.b), strict=True)]
    starts = [[tensor_of(reading, pair[i]) for pair in region.inputs] for i, reading in enumerate(readings)]
    names = tuple(name or "?" for name in starts[0])
    shown = [
        end or (value.op if isinstance(value, Term) else "constant")
        for end, value in zip(ends, (region.a, region.b), strict=True)
    ]
    if None in ends or None in starts[0] or None in starts[1] or not region.inputs:
        return RegionRun(shown[0], shown[1], names, reason="it does not begin and end at tensors of both graphs")
    try:
        return _measured(a, b, shown, [[name or "" for name in side] for side in starts], feeds)
    except OnnxnullError as error:
        return RegionRun(shown[0], shown[1], names, reason=told(error))


def _measured(a: Model, b: Model, ends: Sequence[str], starts: Sequence[list[str]], feeds: Sequence[Feeds]) -> RegionRun:
    graph_inputs = {i.name for i in a.inputs}
    extra = [name for name in starts[0] if name not in graph_inputs]
    recorder = Runner(a, Precision.NATIVE, extra_outputs=extra)
    recorded = []
    for given in feeds:
        found = recorder.run(given, extra) if extra else {}
        recorded.append({name: given[name] if name in graph_inputs else found[name] for name in starts[0]})
    runners = [
        Runner(_between(model, names, end, recorded[0], starts[0]), Precision.NATIVE)
        for model, names, end in zip((a, b), starts, ends, strict=True)
    ]
    rng = np.random.default_rng(0)
    widened = [{name: wide(rng, x, number) for name, x in recorded[number % len(recorded)].items()} for number in range(6)]
    judged = []
    for inputs in (recorded, widened):
        outs: list[list[np.ndarray]] = [[], []]
        for given in inputs:
            outs[0].append(runners[0].run(given)[ends[0]])
            outs[1].append(runners[1].run(dict(zip(starts[1], given.values(), strict=True)))[ends[1]])
        judged.append(judge(ends[0], ends[1], outs[0], outs[1]))
    return RegionRun(ends[0], ends[1], tuple(starts[0]), judged[0], judged[1])


def wide(rng: np.random.Generator, x: np.ndarray, number: int) -> np.ndarray:
    """Sizes up to 1e4 of both signs, zeros, ties, and numbers around 0; indices stay."""
    if x.dtype.kind != "f":
        return x
    kinds = (
        lambda: rng.uniform(-1e4, 1e4, x.shape),
        lambda: rng.uniform(-10.0, 10.0, x.shape),
        lambda: np.zeros(x.shape),
        lambda: rng.integers(-2, 3, x.shape).astype(float),
        lambda: np.full(x.shape, _WIDE[0]),
        lambda: rng.uniform(-1e-3, 1e-3, x.shape),
    )
    return kinds[number % len(kinds)]().astype(x.dtype)


def _between(
    model: Model, starts: Sequence[str], end: str, like: Mapping[str, np.ndarray], order: Sequence[str]
) -> onnx.ModelProto:
    """The part of a model that computes one tensor from others."""
    import onnx
    from onnx import helper

    from onnxnull.runtime.cut import needed_nodes

    proto = model.parsed.whole
    graph = proto.graph
    needed = {end}
    stop = set(starts)
    nodes: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if needed & (set(node.output) - stop):
            nodes += needed_nodes([node], set(node.output))
            needed |= reads(node)
    kept = nodes[::-1]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    for node in copies:
        for index, name in enumerate(node.output):
            if name in stop:
                node.output[index] = f"{name}/unused"
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(like[other].dtype), [None] * like[other].ndim)
        for name, other in zip(starts, order, strict=True)
    ]
    made = helper.make_graph(
        copies,
        "region",
        inputs,
        [onnx.ValueInfoProto(name=end)],
        [tensor for tensor in graph.initializer if tensor.name in needed - stop],
    )
    result = helper.make_model(made, opset_imports=proto.opset_import, ir_version=max(proto.ir_version, 8))
    return result
