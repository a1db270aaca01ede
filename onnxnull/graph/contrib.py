"""Output shapes of com.microsoft operators, which onnx has no schema for, by the ONNX operator whose shape rule they share.

Source: contrib operator schemas of onnxruntime 1.31. An operator that is not in the table, or runs on channels-last tensors,
keeps an unknown shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxnull.graph.types import Shape, shape_of_type, tensor_type

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from onnxnull.graph.view import Operand

DOMAIN = "com.microsoft"
_OPSET = 17
_FLOAT = 1


@dataclass(frozen=True, slots=True)
class _Like:
    """The shape of output 0 is that of `op` on these operands; its type is that of operand `typed` (None: float32)."""

    op: str
    operands: tuple[int, ...] = (0,)
    typed: int | None = 0


_RULES = {
    "BiasGelu": _Like("Identity"),
    "DynamicQuantizeMatMul": _Like("MatMul", (0, 1), None),
    "FastGelu": _Like("Identity"),
    "FusedConv": _Like("Conv", (0, 1)),
    "FusedGemm": _Like("Gemm", (0, 1)),
    "Gelu": _Like("Identity"),
    "MatMulIntegerToFloat": _Like("MatMul", (0, 1), None),
    "QGemm": _Like("Gemm", (0, 3), 8),
    "QLinearAdd": _Like("Add", (0, 3)),
    "QLinearAveragePool": _Like("AveragePool"),
    "QLinearConv": _Like("Conv", (0, 3), 7),
    "QLinearGlobalAveragePool": _Like("GlobalAveragePool"),
    "QLinearLeakyRelu": _Like("Identity"),
    "QLinearMul": _Like("Mul", (0, 3)),
    "QLinearReduceMean": _Like("ReduceMean"),
    "QLinearSigmoid": _Like("Identity"),
    "QLinearSoftmax": _Like("Identity"),
    "QuantizeLinear": _Like("Identity", (0,), 2),
    "QuickGelu": _Like("Identity"),
    "SkipLayerNormalization": _Like("Identity"),
    "SkipSimplifiedLayerNormalization": _Like("Identity"),
}


def output_type(node: ir.Node, inputs: tuple[Operand | None, ...]) -> onnx.TypeProto | None:
    """The type of output 0; None where it is not known."""
    rule = _RULES.get(node.op_type)
    if rule is None or ("channels_last" in node.attributes and node.attributes["channels_last"].as_int()):
        return _of_packed_product(node, inputs) if node.op_type == "MatMulNBits" else None
    shapes = [inputs[i].shape if i < len(inputs) and inputs[i] is not None else None for i in rule.operands]  # type: ignore[union-attr]
    if any(shape is None for shape in shapes):
        return None
    shape = _inferred(node, rule.op, shapes)
    typed = None if rule.typed is None or rule.typed >= len(inputs) else inputs[rule.typed]
    if typed is not None and typed.dtype is None:
        return None
    return None if shape is None else tensor_type(_FLOAT if typed is None else int(typed.dtype or 0), shape)


def _of_packed_product(node: ir.Node, inputs: tuple[Operand | None, ...]) -> onnx.TypeProto | None:
    """MatMulNBits: (..., K) becomes (..., N) in the type of A."""
    a = inputs[0] if inputs else None
    if a is None or a.dtype is None or not a.shape or "N" not in node.attributes:
        return None
    return tensor_type(int(a.dtype), (*a.shape[:-1], node.attributes["N"].as_int()))


def _inferred(node: ir.Node, op: str, shapes: list[Shape | None]) -> Shape | None:
    """The shape that ONNX infers for float tensors of these shapes, under the node's attributes."""
    import onnx
    import onnx_ir as ir

    schema = onnx.defs.get_schema(op, _OPSET, "")
    proto = ir.serde.serialize_node(node)
    kept = [attribute for attribute in proto.attribute if attribute.name in schema.attributes]
    named = onnx.helper.make_node(op, [f"i{i}" for i in range(len(shapes))], ["o"])
    named.attribute.extend(kept)
    types = {f"i{i}": tensor_type(_FLOAT, shape) for i, shape in enumerate(shapes)}
    try:
        inferred = onnx.shape_inference.infer_node_outputs(schema, named, types)
    except Exception:  # noqa: BLE001 - onnx raises several classes; the shape stays unknown, which is no loss
        return None
    return shape_of_type(inferred["o"]) if "o" in inferred else None
