"""Types and shapes of tensors: what a file declares, and ONNX's types as protobufs, made, read and merged."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

Shape = tuple[int | None, ...]
"""A tensor's dimensions; None where a dimension is unknown."""


def dtype_name(dtype: ir.DataType | None) -> str:
    """NumPy's name of an ONNX data type: "float32" for FLOAT, "bfloat16" for BFLOAT16."""
    if dtype is None:
        return "unknown"
    return {"FLOAT": "float32", "DOUBLE": "float64"}.get(dtype.name, dtype.name.lower())


def shape_of(value: ir.Value) -> Shape | None:
    """The shape that the file declares for `value`."""
    if value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) and dim >= 0 else None for dim in value.shape)


def declared_type(value: ir.Value) -> onnx.TypeProto | None:
    """The type that the file declares for `value`; None where it declares none."""
    import onnx_ir as ir

    return None if value.type is None else ir.serde.serialize_value(value).type


def without_shape(kind: onnx.TypeProto) -> onnx.TypeProto:
    """The type of tensors of any shape, or of sequences of such."""
    import onnx

    found = onnx.TypeProto()
    found.CopyFrom(kind)
    inner = found
    while (field := inner.WhichOneof("value")) in ("sequence_type", "optional_type"):
        inner = getattr(inner, field).elem_type
    if field in ("tensor_type", "sparse_tensor_type"):
        getattr(inner, field).ClearField("shape")
    return found


def tensor_type(elem_type: int, shape: Shape | None) -> onnx.TypeProto:
    """The type of a tensor; None for an open dimension, or for a shape of unknown rank."""
    from onnx import helper

    return helper.make_tensor_type_proto(elem_type, shape)


def with_shape(kind: onnx.TypeProto, shape: Shape | None) -> onnx.TypeProto:
    """The type of tensors of this shape; of anything else, with shapes left open."""
    return tensor_type(kind.tensor_type.elem_type, shape) if kind.HasField("tensor_type") else without_shape(kind)


def shape_of_type(kind: onnx.TypeProto) -> Shape | None:
    """The shape that a type says; None where it does not say the rank, and of what is no tensor."""
    if not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None for dim in kind.tensor_type.shape.dim
    )


def common_shape(one: Shape | None, other: Shape | None) -> Shape | None:
    """What two shapes agree on: axes in which they differ are open, and so is the rank."""
    if one is None or other is None or len(one) != len(other):
        return None
    return tuple(a if a == b else None for a, b in zip(one, other, strict=True))


def merged(inferred: onnx.TypeProto, declared: onnx.TypeProto | None) -> onnx.TypeProto:
    """The inferred type; what it leaves open is taken from the declared one where the ranks agree."""
    if not inferred.HasField("tensor_type") or declared is None:
        return inferred
    mine, theirs = shape_of_type(inferred), shape_of_type(declared)
    if theirs is None or (mine is not None and len(mine) != len(theirs)):
        return inferred
    if mine is not None:
        theirs = tuple(b if a is None else a for a, b in zip(mine, theirs, strict=True))
    elem_type = inferred.tensor_type.elem_type or declared.tensor_type.elem_type
    return tensor_type(elem_type, theirs)


def open_negative(kind: onnx.TypeProto) -> bool:
    """Make negative dimensions open, in place; whether there was one. onnx's inference of a Slice ends the process on one."""
    found = False
    match kind.WhichOneof("value"):
        case "tensor_type" | "sparse_tensor_type" as field:
            for dim in getattr(kind, field).shape.dim:
                if dim.HasField("dim_value") and dim.dim_value < 0:
                    dim.ClearField("dim_value")
                    found = True
        case "sequence_type" | "optional_type" as field:
            found = open_negative(getattr(kind, field).elem_type)
        case "map_type":
            found = open_negative(kind.map_type.value_type)
    return found
