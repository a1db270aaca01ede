"""Stored tensors that lie: dimensions, types, and how much data there is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from onnxnull.errors import Code
from tests.hostile.case import harmless, listed, nothing_linear, refused
from tests.hostile.cases.common import FLOAT, STRING, W, X, linear, model, node, stored, strings, value


def claiming(*dims: int, kind: int = FLOAT, data: bytes = W.tobytes()) -> onnx.TensorProto:
    return onnx.TensorProto(name="W", data_type=kind, dims=dims, raw_data=data)


@listed(Code.CONSTANT)
def dims_that_overflow(folder: Path) -> onnx.ModelProto:
    """2⁴⁰ × 2⁴⁰ entries, 0 of them in 64 bits."""
    return stored(claiming(1 << 40, 1 << 40))


@listed(Code.CONSTANT)
def a_trillion_entries(folder: Path) -> onnx.ModelProto:
    """2⁴⁰ × 1 entries claimed, 12 there."""
    return stored(claiming(1 << 40, 1))


@listed(Code.CONSTANT)
def negative_dims(folder: Path) -> onnx.ModelProto:
    """−4 × −3 entries: the product is right."""
    return stored(claiming(-4, -3))


@harmless
def negative_input(folder: Path) -> onnx.ModelProto:
    """A Slice of an input of −1 × −2⁶³ entries, on which onnx's shape inference ends the process."""
    nodes = [node("Slice", ["x", "s", "e"], ["c"]), node("MatMul", ["c", "W"], ["y"])]
    inputs = [value("x", [-1, -(1 << 63)])]
    return model(nodes, {"s": np.array([0, 0]), "e": np.array([1, 4]), "W": W}, inputs=inputs)


@harmless
def negative_intermediate(folder: Path) -> onnx.ModelProto:
    """A Slice of what a Resize by Inf gives, which onnx's shape inference takes for a negative size."""
    nodes = [
        node("Resize", ["x", "", "z"], ["r"]),
        node("Slice", ["r", "s", "e"], ["c"]),
        node("MatMul", ["c", "W"], ["y"]),
    ]
    constants = {"z": np.array([np.inf, np.inf], np.float32), "s": np.array([0, 0]), "e": np.array([1, 4]), "W": W}
    return model(nodes, constants)


@listed(Code.CONSTANT)
def raw_data_too_short(folder: Path) -> onnx.ModelProto:
    """A byte less than the shape needs."""
    return stored(claiming(4, 3, data=W.tobytes()[:-1]))


@listed(Code.CONSTANT)
def raw_data_too_long(folder: Path) -> onnx.ModelProto:
    """A float more than the shape needs."""
    return stored(claiming(4, 3, data=bytes(52)))


@listed(Code.CONSTANT)
def no_data(folder: Path) -> onnx.ModelProto:
    """Four million entries claimed, none there."""
    return stored(claiming(2048, 2048, data=b""))


@listed(Code.CONSTANT)
def four_bits_too_few(folder: Path) -> onnx.ModelProto:
    """int4: half a byte for each entry, and a byte is missing."""
    return stored(claiming(4, 3, kind=onnx.TensorProto.INT4, data=bytes(5)))


@listed(Code.CONSTANT)
def floats_in_the_field_for_integers(folder: Path) -> onnx.ModelProto:
    """A float tensor whose numbers are in `int64_data`."""
    return stored(onnx.TensorProto(data_type=FLOAT, dims=[4, 3], int64_data=[1] * 12))


@refused(Code.INVALID_MODEL)
def type_that_does_not_exist(folder: Path) -> onnx.ModelProto:
    """Data type 99."""
    return stored(claiming(4, 3, kind=99))


@listed(Code.CONSTANT)
def no_type(folder: Path) -> onnx.ModelProto:
    """No data type at all."""
    return stored(claiming(4, 3, kind=0))


@listed(Code.OPERATOR)
def strings_as_weights(folder: Path) -> onnx.ModelProto:
    """A matrix of strings."""
    return model([node("MatMul", ["x", "W"], ["y"])], {"W": strings(*"abcdefghijkl").reshape(4, 3)})


@listed(Code.OPERATOR)
def complex_weights(folder: Path) -> onnx.ModelProto:
    """A matrix of complex numbers."""
    return model([node("MatMul", ["x", "W"], ["y"])], {"W": W.astype(np.complex64)})


@refused(Code.INVALID_MODEL)
def a_million_dimensions(folder: Path) -> onnx.ModelProto:
    """A million dimensions of one."""
    return stored(claiming(*[1] * 1_000_000, data=bytes(4)))


@nothing_linear
def zero_dimensions(folder: Path) -> onnx.ModelProto:
    """A bias of no entries, and nothing else."""
    return model([node("Add", ["x", "b"], ["y"])], {"b": np.zeros((0,), np.float32)})


@harmless
def zero_size_weight(folder: Path) -> onnx.ModelProto:
    """A weight of 4 × 0 entries."""
    return model([node("MatMul", ["x", "W"], ["y"])], {"W": np.zeros((4, 0), np.float32)})


@listed(Code.INVALID_MODEL)
def zero_size_filters(folder: Path) -> onnx.ModelProto:
    """No filters, of no channels, on an image of no pixels."""
    inputs = [value("x", [1, 0, 0, 0])]
    return model([node("Conv", ["x", "W"], ["y"])], {"W": np.zeros((0, 0, 3, 3), np.float32)}, inputs=inputs)


@listed(Code.INVALID_MODEL)
def filters_without_an_axis(folder: Path) -> onnx.ModelProto:
    """A Conv whose filters are a matrix."""
    return model([node("Conv", ["x", "W"], ["y"])], {"W": W})


@listed(Code.INVALID_MODEL)
def gemm_of_a_cube(folder: Path) -> onnx.ModelProto:
    """A Gemm whose weight has three dimensions."""
    return model([node("Gemm", ["x", "W"], ["y"])], {"W": W.reshape(4, 3, 1)})


@harmless
def weight_that_does_not_fit(folder: Path) -> onnx.ModelProto:
    """The input has 4 entries, the weight 7 rows: it is analysed, and the input is not said to go through it."""
    return model([node("MatMul", ["x", "W"], ["y"])], {"W": np.ones((7, 3), np.float32)})


@harmless
def recurrent_shapes_that_do_not_fit(folder: Path) -> onnx.ModelProto:
    """An LSTM whose input is no sequence."""
    constants = {"w": np.ones((1, 12, 3), np.float32), "r": np.ones((1, 12, 3), np.float32)}
    return model([node("LSTM", ["x", "w", "r"], ["y"], hidden_size=3)], constants, inputs=[X])


@listed(Code.INVALID_MODEL)
def groups_that_do_not_divide(folder: Path) -> onnx.ModelProto:
    """Four filters in minus three groups."""
    constants = {"W": np.ones((4, 3, 1, 1), np.float32)}
    return model([node("Conv", ["x", "W"], ["y"], group=-3)], constants, inputs=[value("x", [1, 3, 4, 4])])


@refused(Code.OPERATOR)
def sparse_initializer(folder: Path) -> onnx.ModelProto:
    """A sparse tensor of 2⁴⁰ × 2⁴⁰ entries, one of them stored."""
    made = model([node("MatMul", ["x", "S"], ["y"])])
    values, indices = (onnx.helper.make_tensor(n, k, [1], [1]) for n, k in (("S", FLOAT), ("i", onnx.TensorProto.INT64)))
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [1 << 40, 1 << 40]))
    return made


@refused(Code.OPERATOR)
def sparse_constant(folder: Path) -> onnx.ModelProto:
    """A Constant node with a sparse value of 2⁴⁰ × 2⁴⁰ entries."""
    values, indices = (onnx.helper.make_tensor(n, k, [1], [1]) for n, k in (("S", FLOAT), ("i", onnx.TensorProto.INT64)))
    sparse = helper.make_sparse_tensor(values, indices, [1 << 40, 1 << 40])
    return model([node("Constant", [], ["W"], sparse_value=sparse), node("MatMul", ["x", "W"], ["y"])])


@listed(Code.CONSTANT)
def strings_that_become_numbers(folder: Path) -> onnx.ModelProto:
    """A Cast of strings, one of them of a million digits."""
    constants = {"a": strings("9" * 1_000_000, *"1234567890a").reshape(4, 3)}
    return model([node("Cast", ["a"], ["W"], to=FLOAT), node("MatMul", ["x", "W"], ["y"])], constants)


@listed(Code.CONSTANT)
def pattern_that_never_ends(folder: Path) -> onnx.ModelProto:
    """A regular expression that takes 2⁶⁰ steps."""
    nodes = [
        node("RegexFullMatch", ["t"], ["m"], pattern="(a+)+$"),
        node("Where", ["m", "a", "a"], ["w"]),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    return model(nodes, {"t": strings("a" * 60 + "!").reshape(1, 1), "a": W}, opset=20)


@harmless
def input_that_is_a_string(folder: Path) -> onnx.ModelProto:
    """The input of a linear layer is declared to hold strings."""
    return linear(inputs=[value("x", [2, 4], STRING)])
