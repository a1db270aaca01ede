"""Every linear step against onnxruntime: the map gives what the op makes of a difference, and passes the adjoint test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxnull.graph.flow import Flow
from onnxnull.graph.node import as_stored
from onnxnull.kernel.maps.linear_map import LinearMap
from onnxnull.operators.steps import LARGEST, UnknownShapeError, step_of
from onnxnull.runtime.precision import Precision, twin
from onnxnull.runtime.providers import Provider
from tests.helpers import INT64, model, opened, run, value, weight

node = helper.make_node
ints = np.array
C = {name: weight(3, seed=seed) for seed, name in enumerate("abc")} | {"v": np.abs(weight(3, seed=9)) + 0.1}
REVERSED = {"s": ints([-1]), "e": ints([-100]), "x1": ints([3]), "t": ints([-2])}

Case = tuple[onnx.NodeProto, tuple[int, ...], dict[str, Any], int]
"""(node whose input "x" is the image, its shape, constants, opset)."""


def case(
    op: str, image: tuple[int, ...], constants: dict[str, Any] | None = None, /, opset: int = 17, **attributes: Any
) -> Case:
    constants = constants or {}
    outputs = attributes.pop("outputs", 1)
    inputs = attributes.pop("inputs", ["x", *constants])
    return node(op, inputs, [f"y{i}" for i in range(outputs)], name="n", **attributes), image, constants, opset


IMAGE = (2, 3, 6, 5)
CASES: list[Case] = [
    case("Identity", IMAGE),
    case("Identity", IMAGE, opset=1),
    case("Reshape", IMAGE, {"to": ints([0, -1, 5])}),
    case("Reshape", IMAGE, {"to": ints([2, 90])}, opset=5),
    case("Flatten", IMAGE, axis=2),
    case("Flatten", IMAGE, axis=-1, opset=13),
    case("Flatten", IMAGE, opset=1),
    case("Squeeze", (1, 3, 1, 4), {"axes": ints([0, -2])}),
    case("Squeeze", (1, 3, 1, 4)),
    case("Squeeze", (1, 3, 1, 4), opset=11, axes=[0, 2]),
    case("Unsqueeze", (3, 4), {"axes": ints([0, -1])}),
    case("Unsqueeze", (3, 4), opset=11, axes=[0, 3]),
    case("Transpose", IMAGE, perm=[0, 2, 3, 1]),
    case("Transpose", IMAGE),
    case("Slice", IMAGE, REVERSED),
    case("Slice", IMAGE, {"s": ints([0, -4]), "e": ints([2**62, -1]), "x1": ints([2, 3]), "t": ints([2, 1])}),
    case("Slice", IMAGE, {"s": ints([1, 0]), "e": ints([2, 3])}, opset=10),
    case("Slice", IMAGE, opset=1, starts=[1, -3], ends=[100, -1], axes=[2, 3]),
    case("Split", IMAGE, {"k": ints([1, 2])}, outputs=2, axis=1),
    case("Split", IMAGE, opset=18, outputs=3, axis=1, num_outputs=3),
    case("Split", IMAGE, opset=18, outputs=2, axis=3, num_outputs=2),
    case("Split", IMAGE, opset=11, outputs=2, axis=2, split=[4, 2]),
    case("Split", IMAGE, opset=2, outputs=2, axis=2),
    case("Gather", IMAGE, {"i": ints([[2, 0], [-1, 2]])}, axis=1),
    case("Gather", IMAGE, {"i": ints(1)}, axis=-1, opset=11),
    case("GatherND", IMAGE, {"i": ints([[[0, 1]], [[2, -1]]])}, batch_dims=1),
    case("GatherElements", (3, 4), {"i": ints([[0, 2, 1, -1], [0, 0, 0, 1]])}, axis=0),
    case("DepthToSpace", (2, 8, 3, 2), blocksize=2),
    case("DepthToSpace", (2, 8, 3, 2), blocksize=2, mode="CRD"),
    case("SpaceToDepth", (2, 3, 6, 4), blocksize=2),
    case("Expand", (3, 1, 4), {"to": ints([2, 1, 5, 1])}),
    case("Tile", (2, 3), {"r": ints([2, 3])}),
    case("ReverseSequence", (4, 3, 2), {"l": ints([4, 1, 2])}, batch_axis=1, time_axis=0),
    case("Concat", IMAGE, {"k": weight(2, 1, 6, 5)}, axis=1),
    case("Concat", IMAGE, {"k": weight(2, 1, 6, 5)}, inputs=["x", "k", "x"], axis=-3),
    case("Pad", IMAGE, {"p": ints([0, 0, 1, 2, 0, 1, 0, 3]), "k": np.float32(7)}),
    case("Pad", IMAGE, {"p": ints([0, 0, 1, 2, 0, 1, 0, 3])}, opset=11),
    case("Pad", IMAGE, {"p": ints([1, 2, 0, 3]), "k": np.float32(0), "axes": ints([3, -2])}, opset=18),
    case("Pad", IMAGE, {"p": ints([0, 0, 1, 2, 0, 0, 4, 3])}, mode="reflect"),
    case("Pad", IMAGE, {"p": ints([0, 0, 1, 2, 0, 0, 4, 3])}, mode="edge"),
    case("Pad", IMAGE, {"p": ints([0, 0, 1, 2, 0, 0, 4, 3])}, mode="wrap", opset=19),
    case("Pad", IMAGE, opset=2, pads=[0, 0, 1, 2, 0, 0, 0, 3], value=2.0),
    case("Pad", IMAGE, opset=2, pads=[0, 0, 1, 2, 0, 0, 0, 3], mode="reflect"),
    case("Add", IMAGE, {"k": C["a"].reshape(3, 1, 1)}),
    case("Add", (3, 1), {"k": weight(2, 1, 4)}),
    case("Add", IMAGE, inputs=["x", "x"]),
    case("Sub", IMAGE, {"k": C["a"].reshape(3, 1, 1)}, inputs=["k", "x"]),
    case("Sub", IMAGE, {"k": weight(4, 1, 1, 1, 5)}),
    case("Sum", IMAGE, {"k": weight(5)}, inputs=["k", "x", "x"]),
    case("Mul", IMAGE, {"k": C["a"].reshape(3, 1, 1)}),
    case("Mul", (1, 3), {"k": weight(4, 1)}, inputs=["k", "x"]),
    case("Mul", IMAGE, {"k": np.float32(0.25)}, opset=7),
    case("Mul", IMAGE, {"k": weight(5)}, opset=6, broadcast=1),
    case("Div", IMAGE, {"k": C["a"].reshape(3, 1, 1)}),
    case("Neg", IMAGE),
    case("Neg", IMAGE, opset=1),
    case("Cast", IMAGE, to=TensorProto.DOUBLE),
    case("Cast", IMAGE, to=TensorProto.FLOAT),
    case("CastLike", IMAGE, {"k": np.zeros(1)}),
    case("Dropout", IMAGE, outputs=2),
    case("Dropout", IMAGE, {"r": np.float32(0.5), "t": np.array(False)}),
    case("Dropout", IMAGE, opset=7, ratio=0.5),
    case("Dropout", IMAGE, opset=10, ratio=0.5, outputs=2),
    case("BatchNormalization", IMAGE, C, epsilon=1e-3),
    case("BatchNormalization", (4, 3), C),
    case("BatchNormalization", IMAGE, C, opset=9),
    case("BatchNormalization", IMAGE, C, opset=7),
    case("AveragePool", IMAGE, kernel_shape=[2, 3]),
    case("AveragePool", IMAGE, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 2, 1]),
    case("AveragePool", IMAGE, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 2, 1], count_include_pad=1),
    case("AveragePool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    case("AveragePool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER"),
    case("AveragePool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], auto_pad="VALID", opset=7),
    case("AveragePool", IMAGE, kernel_shape=[2, 2], dilations=[2, 3], opset=19),
    case("AveragePool", (2, 3, 6, 5), kernel_shape=[2, 1], strides=[2, 1], ceil_mode=1),
    case("AveragePool", (1, 2, 7), kernel_shape=[3], opset=1),
    case("AveragePool", (1, 2, 4, 4, 4), kernel_shape=[2, 2, 2], pads=[1, 0, 1, 1, 0, 1], opset=10),
    case("GlobalAveragePool", IMAGE),
    case("GlobalAveragePool", (2, 3, 4, 2, 3), opset=1),
    case("ReduceMean", IMAGE, axes=[2, 3]),
    case("ReduceMean", IMAGE, axes=[-1], keepdims=0, opset=11),
    case("ReduceMean", IMAGE, {"axes": ints([1, -1])}, opset=18, keepdims=0),
    case("ReduceMean", IMAGE, opset=18),
    case("ReduceMean", IMAGE, opset=18, noop_with_empty_axes=1),
    case("ReduceSum", IMAGE, {"axes": ints([1])}),
    case("ReduceSum", IMAGE, {"axes": ints([], dtype=np.int64)}),
    case("ReduceSum", IMAGE, {"axes": ints([], dtype=np.int64)}, noop_with_empty_axes=1),
    case("ReduceSum", IMAGE, opset=11, axes=[0, 2], keepdims=0),
    case("ReduceSum", IMAGE, opset=1),
    case("Mean", IMAGE, {"k": weight(3, 1, 5)}, inputs=["k", "x", "x"]),
    case("Mean", IMAGE, {"k": weight(*IMAGE)}, opset=6),
    case("Mean", (3, 1), {"k": weight(2, 1, 4)}, opset=8),
    case("Mean", IMAGE),
    case("CumSum", IMAGE, {"axis": ints(1)}, opset=11),
    case("CumSum", IMAGE, {"axis": ints(-1)}, opset=14, exclusive=1),
    case("CumSum", IMAGE, {"axis": ints([2])}, reverse=1),
    case("CumSum", IMAGE, {"axis": ints(0, dtype=np.int32)}, exclusive=1, reverse=1),
    case("CumSum", (1,), {"axis": ints(0)}, exclusive=1),
    case("Trilu", IMAGE, opset=14),
    case("Trilu", IMAGE, {"k": ints(-1)}, upper=0),
    case("Trilu", (4, 5), {"k": ints(2)}, upper=1),
    case("Trilu", (4, 5), {"k": ints(9)}, upper=1),
    case("Where", IMAGE, {"c": weight(3, 1, 5) > 0, "k": weight(6, 5)}, inputs=["c", "x", "k"], opset=9),
    case("Where", (3, 1), {"c": weight(2, 1, 4) > 0, "k": np.float32(7)}, inputs=["c", "k", "x"], opset=16),
    case("Where", IMAGE, {"c": weight(5) > 0}, inputs=["c", "x", "x"]),
    case("Where", IMAGE, {"c": np.array(False), "k": weight(5)}, inputs=["c", "x", "k"]),
    case("ScatterND", (4, 3), {"i": ints([[2], [0]]), "u": weight(2, 3)}, opset=11),
    case("ScatterND", (4, 3), {"i": ints([[-1, 1], [0, 0], [-1, 1]]), "u": weight(3)}, opset=13),
    case("ScatterND", (4, 3), {"i": ints([[2], [2]]), "u": weight(2, 3)}, opset=16, reduction="add"),
    case("ScatterND", (2, 3), {"i": ints([[2], [-4]]), "d": weight(4, 3)}, inputs=["d", "i", "x"]),
    case("ScatterND", (2, 3), {"i": ints([[2], [0]]), "d": weight(4, 3)}, inputs=["d", "i", "x"], reduction="add"),
    case("ScatterND", (2, 3), {"i": ints([[1], [0]])}, inputs=["x", "i", "x"]),
    case("ScatterElements", (3, 4), {"i": ints([[0, 2, -1], [1, 0, 0]]), "u": weight(2, 3)}, opset=11),
    case("ScatterElements", (3, 4), {"i": ints([[0, -1]]), "u": weight(1, 2)}, axis=1, opset=13),
    case("ScatterElements", (1, 2), {"i": ints([[0, -1]]), "d": weight(3, 4)}, inputs=["d", "i", "x"], axis=-1),
    case("ScatterElements", (3, 4), {"i": ints([[0, 0]]), "u": weight(1, 2)}, axis=1, opset=16, reduction="add"),
    case("Scatter", (3, 4), {"i": ints([[0, 2, 1]]), "u": weight(1, 3)}, opset=9),
    case("Clip", IMAGE),
    case("Clip", IMAGE, opset=6),
    case("Clip", IMAGE, opset=6, min=float(-np.inf), max=float(np.inf)),
    case("Clip", IMAGE, {"a": np.float32(-np.inf)}, opset=11),
    case("Clip", IMAGE, {"b": np.finfo(np.float32).max}, inputs=["x", "", "b"], opset=12),
    case("Clip", IMAGE, {"a": np.finfo(np.float32).min, "b": np.float32(np.inf)}, opset=13),
    case("Einsum", (2, 3, 4), equation="bij->bji", opset=12),
    case("Einsum", (2, 3, 4), equation="...ij -> ...i"),
    case("Einsum", (3, 4, 3), equation="iji->ji"),
    case("Einsum", (3, 4, 3), equation="iji->j"),
    case("Einsum", (3, 3), equation="ii"),
    case("Einsum", (3, 4), equation="ba"),
    case("Einsum", (2, 3, 4), {"k": weight(3)}, equation="bij,i->bji"),
    case("Einsum", (2, 3, 4), {"k": weight(2, 4)}, inputs=["k", "x"], equation="bj,bij->bij"),
]


def made(spec: Case, folder: Path) -> tuple[onnx.ModelProto, list[list[LinearMap]]]:
    """The model of one node, and for each of its outputs the maps from the operands that are x."""
    n, shape, constants, opset = spec
    kinds = {"Cast": TensorProto.DOUBLE if n.attribute and n.attribute[0].i == TensorProto.DOUBLE else TensorProto.FLOAT}
    kind = kinds.get(n.op_type, TensorProto.DOUBLE if n.op_type == "CastLike" else TensorProto.FLOAT)
    outputs = [value(name, None, kind) for name in n.output]
    if n.op_type == "Dropout" and len(outputs) == 2:
        outputs[1] = value("y1", None, TensorProto.BOOL)
    proto = model([n], constants, inputs=[value("x", shape)], outputs=outputs, opset=opset, ir_version=7 if opset < 9 else 9)
    view = Flow(opened(proto, folder)).nodes[-1]
    steps = [step_of(view, i) for i, name in enumerate(n.input) if name == "x"]
    return proto, [[step(number) for step in steps if step is not None] for number in range(len(n.output))]


def label(spec: Case) -> str:
    return f"{spec[0].op_type}-{spec[3]}"


@pytest.mark.parametrize("spec", CASES, ids=label)
def test_step(spec: Case, tmp_path: Path) -> None:
    proto, maps = made(spec, tmp_path)
    reads = list(spec[0].input).count("x")
    rng = np.random.default_rng(0)
    x, d = (rng.standard_normal(spec[1]).astype(np.float32) for _ in range(2))
    try:
        before, after = run(proto, {"x": x}), run(proto, {"x": x + d})
    except Exception as error:
        if spec[3] > 6 and "NOT_IMPLEMENTED" not in str(error):
            raise
        pytest.skip(f"onnxruntime does not run it: {str(error)[:90]}")
    for terms, first, second in zip(maps, before, after, strict=True):
        assert len(terms) == reads
        difference = np.subtract(second, first, dtype=np.float64)
        np.testing.assert_allclose(sum(m.apply(d) for m in terms), difference, atol=3e-5)
        for linear_map in terms:
            u, v = rng.standard_normal(linear_map.input_shape), rng.standard_normal(linear_map.output_shape)
            np.testing.assert_allclose(
                np.vdot(linear_map.apply(u), v), np.vdot(u, linear_map.adjoint(v)), rtol=1e-12, atol=1e-12
            )


@pytest.mark.parametrize("spec", [spec for spec in CASES if spec[3] >= 7], ids=label)
def test_the_float64_twin_is_that_step(spec: Case, tmp_path: Path) -> None:
    """To rounding in double, so that a guarantee can be shown at float64 too."""
    proto, maps = made(spec, tmp_path)
    double = twin(proto, Precision.FLOAT64, provider=Provider.CPU).proto
    x, d = np.random.default_rng(0).standard_normal((2, *spec[1]))
    before, after = run(double, {"x": x}), run(double, {"x": x + d})
    for terms, first, second in zip(maps, before, after, strict=True):
        difference = np.subtract(second, first, dtype=np.float64)
        np.testing.assert_allclose(sum(m.apply(d) for m in terms), difference, atol=1e-12)


@pytest.mark.parametrize(
    "spec",
    [
        case("Add", IMAGE, {"k": C["a"]}, opset=6, broadcast=1, axis=1),
        case("Mul", IMAGE, {"k": C["a"]}, opset=6, broadcast=1, axis=1),
        case("Div", IMAGE, {"k": np.zeros(5, np.float32)}),
        case("Div", IMAGE, {"k": C["a"].reshape(3, 1, 1)}, inputs=["k", "x"]),
        case("Mul", IMAGE, {"k": np.array([1, 2, np.nan, 4, 5], np.float32)}),
        case("Cast", IMAGE, to=INT64),
        case("Dropout", IMAGE, opset=6),
        case("Dropout", IMAGE, {"r": np.float32(0.5), "t": np.array([True])}),
        case("BatchNormalization", IMAGE, C | {"v": -np.ones(3, np.float32)}),
        case("BatchNormalization", IMAGE, C, opset=6),
        case("MaxPool", IMAGE, kernel_shape=[2, 2]),
        case("Relu", IMAGE),
        case("Clip", IMAGE, {"a": np.float32(0)}),
        case("Clip", IMAGE, opset=6, max=6.0),
        case("Clip", IMAGE, {"b": np.float32(3e38)}, inputs=["x", "", "b"]),
        case("Clip", IMAGE, {"a": np.float32(np.nan)}),
        case("ScatterND", (4, 3), {"i": ints([[2], [0]]), "u": weight(2, 3)}, opset=16, reduction="mul"),
        case("ScatterND", (4, 3), {"i": ints([[2], [0]]), "u": weight(2, 3)}, opset=18, reduction="max"),
        case("Einsum", (3, 3), equation="ij,jk->ik", inputs=["x", "x"]),
        case("Where", IMAGE, {"k": weight(5)}, inputs=["x", "k", "k"]),
    ],
    ids=label,
)
def test_no_step(spec: Case, tmp_path: Path) -> None:
    _, maps = made(spec, tmp_path)
    assert maps[0] == []


@pytest.mark.parametrize(
    "spec",
    [
        case("AveragePool", IMAGE, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        case("Reshape", IMAGE, opset=1, shape=[2, -1]),
        case("Expand", (1, 1), {"to": ints([LARGEST, 2])}),
        case("Tile", (1, 4), {"r": ints([LARGEST, 1])}),
        case("Add", (4096, 1), {"k": np.zeros((1, 4097), np.float32)}),
        case("Mul", (4, 3), {"k": weight(2)}),
        case("Reshape", (4, 3), {"to": ints([5, 2])}),
        case("GatherElements", (3, 4), {"i": ints([[7, 2]])}, axis=0),
        case("Gather", (3, 4), {"i": ints([9])}, axis=0),
        case("ScatterND", (4, 3), {"i": ints([[9]]), "u": weight(1, 3)}),
        case("ScatterND", (2, 3), {"i": ints([[2], [2]]), "d": weight(4, 3)}, inputs=["d", "i", "x"]),
        case("CumSum", (1, 5000), {"axis": ints(1)}),
        case("Where", (4, 3), {"c": np.ones(2, bool), "k": weight(3)}, inputs=["c", "x", "k"]),
    ],
    ids=label,
)
def test_maps_that_cannot_be_written_down(spec: Case, tmp_path: Path) -> None:
    """Too large, not modelled, or against the operator's rules: an error that callers expect, and no other."""
    with pytest.raises(UnknownShapeError):
        made(spec, tmp_path)


def test_defaults_are_what_a_file_would_store() -> None:
    """An attribute of floats is float32: beside 1e-5 itself a double session of BatchNormalization differs by 1e-12."""
    assert as_stored(1e-5) == float(np.float32(1e-5)) != 1e-5
    assert (as_stored(1), as_stored(None), as_stored(True), as_stored([1])) == (1, None, True, [1])
