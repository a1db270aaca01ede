"""Integers and shapes with which a node fails, or selects nothing, whatever its input: such a model loads.

Sources: operator specifications of ONNX (Gather since opset 11, GatherND and ScatterND, Reshape since 5, Pad, Conv,
NonMaxSuppression since 10); onnxruntime's CPU provider, which refuses them at the first run and not at the load.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.analysis.results import OddConstant, Unsupported
from onnxnull.errors import Code
from onnxnull.graph.node import Node
from onnxnull.graph.rounds import failing_round
from onnxnull.intervals.domain import Range
from onnxnull.operators.linear_use import is_constant
from onnxnull.operators.lookup import indexed_axis
from onnxnull.operators.steps import constant_value

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxnull.graph.flow import Flow

_LARGEST_TENSOR = 1 << 40
"""Bytes."""
_GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
"""Recurrent operator → gates."""
_OF_SEQUENCES = frozenset({"SequenceAt", "SequenceErase"})
_LAYERS = frozenset({"LayerNormalization", "RMSNormalization"})
_PARAMETERS = {
    "BatchNormalization": (1, 2, 3, 4),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "RMSNormalization": (1,),
}
"""Operator → scales and biases."""
_REPEATED = {"Gemm": 2, "PRelu": 1}
"""Operator → operand that is repeated along the axes in which its length is 1, and fits the result else."""


def misfits(node: Node, range_of: Callable[[ir.Value], Range]) -> Iterator[OddConstant]:
    """Indices beyond the axis or the sequence, shapes that do not fit, tensors that nothing holds, and what selects nothing."""
    yield from _oversized(node)
    if node.domain not in ("", "ai.onnx"):
        return
    yield from _indices(node)
    if node.op_type in ("GatherND", "ScatterND"):
        yield from _tuples(node)
    elif node.op_type == "Reshape":
        yield from _shape(node)
    elif node.op_type == "Pad":
        yield from _cropped(node)
    elif node.op_type == "Conv":
        yield from _kernel(node)
    elif node.op_type in _PARAMETERS:
        yield from _parameters(node)
    elif node.op_type in _REPEATED:
        yield from _repeated(node)
    elif node.op_type in _GATES:
        yield from _recurrent(node)
    elif node.op_type in _OF_SEQUENCES:
        yield from _missing(node, range_of)
    elif node.op_type == "NonMaxSuppression":
        most = np.zeros(1) if node.input(2) is None else constant_value(node, 2)
        if most is not None and most.size == 1 and most.item() <= 0:
            yield OddConstant("max_output_boxes_per_class", node.name, node.op_type, "nothing to select", 1, 1)
        scores, least = node.input(1), constant_value(node, 4)
        if scores is not None and least is not None and least.size == 1:
            found = range_of(scores.value)
            if not found.pinf.any() and bool((found.hi < least.item()).all()):
                yield OddConstant("score_threshold", node.name, node.op_type, "a threshold that no score reaches", 1, 1)


def _oversized(node: Node) -> Iterator[OddConstant]:
    """A tensor that no machine holds."""
    for output in node.outputs:
        if output is None or output.dtype is None or output.shape is None or None in output.shape:
            continue
        if math.prod(size or 0 for size in output.shape) * output.dtype.bitwidth > 8 * _LARGEST_TENSOR:
            yield OddConstant(output.name, node.name, node.op_type, "a tensor of more than a tebibyte", 1, 1)


def _missing(node: Node, range_of: Callable[[ir.Value], Range]) -> Iterator[OddConstant]:
    """A tensor that a sequence does not hold."""
    sequence, place = node.input(0), node.input(1)
    members = None if sequence is None else range_of(sequence.value).members
    if sequence is None or members is None:
        return
    found = constant_value(node, 1)
    beyond = found is not None and found.size == 1 and not -len(members) <= found.item() < len(members)
    if not members or beyond:
        name = sequence.name if place is None else place.name
        yield OddConstant(name, node.name, node.op_type, "an index beyond the sequence", 1, 1)


def failing_rounds(flow: Flow, loop: Node, rounds: tuple[float, float]) -> OddConstant | Unsupported | None:
    """A Loop or a Scan that cannot run as often as it has to, or may not: by the shapes that its rounds hand on.

    Args:
        rounds: the least and the largest number of them.
    """
    found = failing_round(flow, loop, rounds[1])
    if found is None:
        return None
    what = f"round {found.number:,} fails: {found.why}"
    if found.surely and rounds[0] >= found.number:
        return OddConstant("shape", loop.name, loop.op_type, what, 1, 1)
    return Unsupported(loop.name, loop.op_type, Code.SHAPE, f"{what}; whether it comes to that is known only when it runs")


def _parameters(node: Node) -> Iterator[OddConstant]:
    """Scales and biases that are not as long as what they scale; LayerNormalization's may be shorter, and are repeated."""
    source = node.input(0)
    if source is None or source.shape is None or len(source.shape) < 2:
        return
    layer = node.op_type in _LAYERS
    axis = int(node.attribute("axis", -1)) if layer else 1
    if not -len(source.shape) <= axis < len(source.shape) or (node.one_sample and axis % len(source.shape) == 0):
        return
    scaled = source.shape[axis % len(source.shape) :] if layer else source.shape[1:2]
    if None in scaled:
        return
    entries = int(np.prod([size or 0 for size in scaled], dtype=object))
    for index in _PARAMETERS[node.op_type]:
        operand = node.input(index)
        if operand is None or operand.shape is None or None in operand.shape:
            continue
        size = int(np.prod([each or 0 for each in operand.shape], dtype=object))
        if size > entries or (not layer and size != entries):
            yield OddConstant(operand.name, node.name, node.op_type, "a shape of another size", max(size, 1), max(size, 1))


def _recurrent(node: Node) -> Iterator[OddConstant]:
    """Other shapes than W (directions, gates·hidden, inputs), R (..., hidden), B (directions, 2·gates·hidden) (opset 7 on)."""
    hidden, gates = int(node.attribute("hidden_size", 0)), _GATES[node.op_type]
    source = node.input(0)
    inputs = None if source is None or source.shape is None or len(source.shape) != 3 else source.shape[2]
    wanted = ((1, (gates * hidden, inputs)), (2, (gates * hidden, hidden)), (3, (2 * gates * hidden,)))
    for index, lengths in wanted if hidden else ():
        operand = node.input(index)
        if operand is None or operand.shape is None or len(operand.shape) != 1 + len(lengths):
            continue
        if any(None not in (a, b) and a != b for a, b in zip(operand.shape[1:], lengths, strict=True)):
            yield OddConstant(operand.name, node.name, node.op_type, "a shape of another size", 1, 1)


def _repeated(node: Node) -> Iterator[OddConstant]:
    """Lengths of an operand that are neither 1 nor those of what it is added to, or multiplied with."""
    source, operand = node.input(1 if node.op_type == "Gemm" else 0), node.input(_REPEATED[node.op_type])
    if source is None or operand is None or source.shape is None or operand.shape is None:
        return
    target = tuple(source.shape)
    if node.op_type == "Gemm":
        target = target[:1] if node.attribute("transB", 0) else target[1:]
    elif node.one_sample:
        target = (None, *target[1:])
    elif len(operand.shape) > len(target):
        return
    for given, wanted in zip(reversed(operand.shape), reversed(target), strict=False):
        if given not in (None, 1) and wanted is not None and given != wanted:
            yield OddConstant(operand.name, node.name, node.op_type, "a shape of another size", given or 1, given or 1)
            return


def _indices(node: Node) -> Iterator[OddConstant]:
    for index, operand in enumerate(node.inputs):
        along, found = indexed_axis(node, index), constant_value(node, index)
        if operand is None or along is None or found is None:
            continue
        source, axis, length = along
        if length is None or (node.one_sample and axis == 0 and not is_constant(node, source)):
            continue
        beyond = int(np.count_nonzero((found < -length) | (found >= length)))
        if beyond:
            yield OddConstant(operand.name, node.name, node.op_type, "an index beyond the axis", beyond, found.size)


def _tuples(node: Node) -> Iterator[OddConstant]:
    """Rows of the indices that lie outside: (..., k) of them count along the axes from `batch_dims` to that + k."""
    source, indices, found = node.input(0), node.input(1), constant_value(node, 1)
    first = int(node.attribute("batch_dims", 0))
    if source is None or source.shape is None or indices is None or found is None or not found.ndim:
        return
    lengths = list(source.shape[first : first + found.shape[-1]])
    if node.one_sample and first == 0 and not is_constant(node, 0):
        lengths[:1] = [None]
    if len(lengths) != found.shape[-1]:
        return
    outside = [
        np.count_nonzero((f < -size) | (f >= size))
        for f, size in zip(np.moveaxis(found, -1, 0), lengths, strict=True)
        if size is not None
    ]
    if beyond := int(sum(outside)):
        yield OddConstant(indices.name, node.name, node.op_type, "an index beyond the axis", beyond, found.size)


def _cropped(node: Node) -> Iterator[OddConstant]:
    """Negative pads that take more than there is."""
    source, pads = node.input(0), constant_value(node, 1)
    if source is None or source.shape is None or pads is None or node.input(3) is not None:
        return
    rank = len(source.shape)
    if pads.size != 2 * rank:
        return
    left = [
        size + int(before) + int(after)
        for axis, (size, before, after) in enumerate(zip(source.shape, pads.reshape(-1), pads.reshape(-1)[rank:], strict=False))
        if size is not None and not (node.one_sample and axis == 0)
    ]
    if any(size < 0 for size in left):
        operand = node.input(1)
        name = "pads" if operand is None else operand.name
        yield OddConstant(name, node.name, node.op_type, "pads that crop more than there is", pads.size, pads.size)


def _kernel(node: Node) -> Iterator[OddConstant]:
    """A kernel larger than the padded image."""
    source, weight = node.input(0), node.input(1)
    if source is None or weight is None or source.shape is None or weight.shape is None:
        return
    if node.attribute("auto_pad", "NOTSET") not in ("NOTSET", "VALID", b"NOTSET", b"VALID"):
        return
    image, kernel = source.shape[2:], weight.shape[2:]
    pads = list(node.attribute("pads", None) or [0] * 2 * len(kernel))
    steps = list(node.attribute("dilations", None) or [1] * len(kernel))
    for size, width, before, after, step in zip(image, kernel, pads, pads[len(kernel) :], steps, strict=False):
        if size is not None and width is not None and size + before + after < (width - 1) * step + 1:
            yield OddConstant(weight.name, node.name, node.op_type, "a kernel larger than its image", width, width)
            return


def _shape(node: Node) -> Iterator[OddConstant]:
    source, target = node.input(0), node.input(1)
    wanted = constant_value(node, 1)
    if source is None or target is None or source.shape is None or wanted is None or None in source.shape or node.one_sample:
        return
    given = [size or 0 for size in source.shape]
    sizes = [int(size) for size in wanted.reshape(-1)]
    if not node.attribute("allowzero", 0):
        if any(size == 0 and axis >= len(given) for axis, size in enumerate(sizes)):
            return
        sizes = [given[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    entries, stated = int(np.prod(given, dtype=object)), int(np.prod([size for size in sizes if size != -1], dtype=object))
    fits = bool(stated) and entries % stated == 0 if -1 in sizes else stated == entries
    if not fits and (entries or stated):
        yield OddConstant(target.name, node.name, node.op_type, "a shape of another size", len(sizes), len(sizes))
