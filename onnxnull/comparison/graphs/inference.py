"""What the terms know of a node beyond what the file says: sizes that are constant, and shapes and types that follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.constants import Const
from onnxnull.comparison.graphs.terms import Shape, Term, Value, known
from onnxnull.graph.bodies import subgraphs
from onnxnull.graph.constants import SMALL, Constant, apply
from onnxnull.graph.node import Node
from onnxnull.graph.types import shape_of_type, tensor_type

_FOLDED = frozenset(
    [
        *("Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "Equal", "Greater", "Less", "Not", "And", "Or", "Where", "Cast"),
        *("Gather", "Slice", "Concat", "Squeeze", "Unsqueeze", "Reshape", "ReduceProd", "ReduceSum", "Range", "Identity"),
    ]
)
"""Operators on sizes."""
SMALL_VECTOR = 64


def folded(view: Node, operands: Sequence[Value | None], opsets: Mapping[str, int]) -> Const | None:
    """What a node makes of few numbers that only the terms know to be constant, as sizes are; None where it is not computed."""
    import onnx_ir as ir

    arrays = []
    for operand in operands:
        if isinstance(operand, Term) or (operand is not None and (operand.size > SMALL_VECTOR or operand.kind not in "ib")):
            return None
        arrays.append(None if operand is None else operand.value)
    if view.domain != "" or view.op_type not in _FOLDED or len(view.outputs) != 1 or not operands:
        return None
    found = apply(ir.serde.serialize_node(view.node), opsets, arrays)
    return c.const(found) if found.dtype.kind in "iub" and found.size <= SMALL_VECTOR else None


def with_shapes(view: Node, operands: Sequence[Value | None]) -> Node:
    """The node with the shapes of its outputs, where those of the terms that it reads give what the file does not."""
    import onnx
    import onnx_ir as ir
    from onnx import helper, numpy_helper

    if all(o is None or (known(o.shape) is not None and o.dtype is not None) for o in view.outputs) or view.domain != "":
        return view
    if any(True for _ in subgraphs(view.node)):
        return view
    types, data = {}, {}
    for index, (operand, value) in enumerate(zip(view.inputs, operands, strict=True)):
        if operand is None or value is None:
            continue
        dtype = int(operand.dtype) if operand.dtype is not None else {"f": 1, "i": 7, "b": 9}.get(value.kind, 1)
        types[f"i{index}"] = tensor_type(dtype, value.shape)
        if isinstance(operand.constant, Constant) and operand.constant.size <= SMALL:
            data[f"i{index}"] = numpy_helper.from_array(np.asarray(operand.constant.array()), f"i{index}")
    proto = ir.serde.serialize_node(view.node)
    del proto.input[:], proto.output[:]
    proto.input.extend("" if operand is None else f"i{index}" for index, operand in enumerate(view.inputs))
    proto.output.extend("" if operand is None else f"o{index}" for index, operand in enumerate(view.outputs))
    try:
        schema = onnx.defs.get_schema(view.op_type, view.version, view.domain)
        opsets = [helper.make_opsetid("", view.version)]
        found = onnx.shape_inference.infer_node_outputs(schema, proto, types, data, opset_imports=opsets)
    except Exception:  # noqa: BLE001 - onnx raises several classes; the shape stays unknown, which is no loss
        return view
    outputs = tuple(
        o
        if o is None or f"o{i}" not in found
        else replace(
            o,
            shape=_finer(o.shape, shape_of_type(found[f"o{i}"])),
            dtype=o.dtype or ir.DataType(found[f"o{i}"].tensor_type.elem_type),
        )
        for i, o in enumerate(view.outputs)
    )
    return replace(view, outputs=outputs)


def _finer(a: Shape | None, b: Shape | None) -> Shape | None:
    """What two descriptions of one shape say together."""
    if a is None or b is None or len(a) != len(b):
        return b if a is None else a
    return tuple(one if one is not None else other for one, other in zip(a, b, strict=True))
