"""The identity that everything stands on: for random inputs, the linear map of a weight gives what onnxruntime computes.

Beside it, for each: the adjoint test, and that the matrix has the shape (g, q, p) that was announced.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper
from onnxruntime.capi import onnxruntime_pybind11_state as pybind11_state

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.flow import Flow
from onnxnull.graph.model import open_model
from onnxnull.graph.node import Node
from onnxnull.operators import LinearUse
from tests.helpers import all_uses, model, only_refusal, only_use, run, shared_model, shared_models, uses, value, weight

node = helper.make_node
SETTINGS = settings(max_examples=60)
QUANTIZED = {"anomaly_int8", "mobilenetv2_int8_dynamic", "mobilenetv2_int8_qlinear", "text_reader_nbits"}


def random(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return rng.standard_normal(shape).astype(np.float32)


def check_map(use: LinearUse, x: NDArray[Any], expected: NDArray[Any], rng: np.random.Generator) -> None:
    """The identity within float32 rounding, ⟨Au, v⟩ = ⟨u, Aᵀv⟩, and the announced shape."""
    matrix = use.matrix()
    assert matrix.shape == use.shape
    linear_map = use.linear_map(matrix, x.shape)
    got = linear_map.apply(x)
    assert got.shape == expected.shape
    mass = use.linear_map(np.abs(matrix), x.shape).apply(np.abs(x.astype(np.float64)))
    # float32 sums of q products, in any order, and what Winograd's transforms add
    bound = (16 + use.shape[1]) * 2.0**-24 * mass + 2e-6 * mass.max(initial=0) + 1e-30
    assert np.all(np.abs(got - expected) <= bound)
    v = rng.standard_normal(got.shape)
    u = rng.standard_normal(x.shape)
    au, atv = linear_map.apply(u), linear_map.adjoint(v)
    scale = np.linalg.norm(au) * np.linalg.norm(v) + np.linalg.norm(u) * np.linalg.norm(atv)
    assert abs(np.vdot(au, v) - np.vdot(u, atv)) <= 1e-12 * scale + 1e-30


def single_node(view: Node, use: LinearUse, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The node alone in float32, without its bias, its activation as the input x."""
    assert use.activation is not None
    proto = ir.serde.serialize_node(view.node)
    del proto.input[:], proto.output[:]
    proto.input.extend(["x", "w"] if use.activation == 0 else ["w", "x"])
    proto.output.append("y")
    constant = np.asarray(use.constant.array()).astype(np.float32)
    return model([proto], {"w": constant}, inputs=[value("x", shape)], opset=max(view.version, 11))


def concrete(view: Node, use: LinearUse) -> tuple[int, ...]:
    """The activation's shape, small numbers where it is unknown or large."""
    operand = view.input(use.activation or 0)
    assert operand is not None
    if view.op_type in ("Conv", "ConvTranspose"):
        kernel = use.constant.shape[2:]
        channels = use.constant.shape[1] * use.groups if view.op_type == "Conv" else use.constant.shape[0]
        known = operand.shape[2:] if operand.shape is not None else (None,) * len(kernel)
        strides = view.attribute("strides", [1] * len(kernel))
        dilations = view.attribute("dilations", [1] * len(kernel))
        small = [(k - 1) * d + 1 + 2 * s for k, s, d in zip(kernel, strides, dilations, strict=True)]
        return (1, channels, *(min(n or m, m) for n, m in zip(known, small, strict=True)))
    assert operand.shape is not None
    return tuple(2 if size is None else size for size in operand.shape)


@pytest.mark.parametrize("path", [pytest.param(p, id=p.stem) for p in shared_models() if p.stem not in QUANTIZED])
def test_every_weight_of_every_float_model(path: Path) -> None:
    rng = np.random.default_rng(zlib.crc32(path.stem.encode()))
    found = all_uses(Flow(open_model(path)))
    for view, use in found:
        assert isinstance(use, LinearUse), view.name
        if view.op_type in ("RNN", "GRU", "LSTM"):
            continue
        shape = concrete(view, use)
        x = random(rng, shape)
        check_map(use, x, run(single_node(view, use, shape), {"x": x})[0], rng)
    assert found or path.stem == "lightgbm"


def test_the_shared_models_are_there_or_this_is_skipped() -> None:
    shared_model("vit_tiny_patch16_224.onnx")


def one(op: str, constant: Any, shape: tuple[int, ...], *, right: bool = True, **attributes: Any) -> onnx.ModelProto:
    names = ["x", "w"] if right else ["w", "x"]
    return model([node(op, names, ["y"], **attributes)], {"w": constant}, inputs=[value("x", shape)])


def check(proto: onnx.ModelProto, folder: Path, seed: int = 0) -> LinearUse:
    rng = np.random.default_rng(seed)
    use = only_use(uses(proto, folder))
    shape = tuple(dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim)
    x = random(rng, shape)
    check_map(use, x, run(proto, {"x": x})[0], rng)
    return use


@st.composite
def convolutions(draw: st.DrawFn, *, transposed: bool) -> onnx.ModelProto:
    axes = draw(st.integers(1, 3))

    def each(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes))

    groups, extra = draw(st.sampled_from([1, 1, 2, 3])), draw(st.integers(1, 3))
    inner = draw(st.sampled_from([1, 2, 3]))
    kernel, strides, dilations = each(1, 3), each(1, 3), each(1, 2)
    spatial = each(1, {1: 12, 2: 7, 3: 5}[axes])
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "group": groups}
    mode = draw(st.sampled_from(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if mode != "NOTSET":
        attributes["auto_pad"] = mode
    else:
        attributes["pads"] = each(0, 2) + each(0, 2)
    if transposed:
        if draw(st.booleans()):
            attributes["output_padding"] = [
                draw(st.integers(0, max(s, d) - 1)) for s, d in zip(strides, dilations, strict=True)
            ]
        if draw(st.integers(0, 3)) == 0:
            attributes.pop("pads", None)
            reach = [s * (n - 1) + (k - 1) * d + 1 for s, n, k, d in zip(strides, spatial, kernel, dilations, strict=True)]
            attributes["output_shape"] = [draw(st.integers(max(1, r - 2), r)) for r in reach]
    elif mode.startswith("SAME"):
        attributes["dilations"] = [1] * axes  # onnxruntime refuses others
    outer = [groups * extra, inner] if not transposed else [groups * inner, extra]
    constant = weight(*outer, *kernel, seed=draw(st.integers(0, 9)))
    op = "ConvTranspose" if transposed else "Conv"
    return one(op, constant, (draw(st.integers(1, 2)), groups * inner, *spatial), **attributes)


_ORT_ERRORS = [e for e in vars(pybind11_state).values() if isinstance(e, type) and issubclass(e, Exception)]


def runs(proto: onnx.ModelProto) -> bool:
    """Whether onnxruntime accepts the node and it gives an output."""
    shape = [dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim]
    try:
        return bool(run(proto, {"x": np.zeros(shape, np.float32)})[0].size)
    except tuple(_ORT_ERRORS):
        return False


@SETTINGS
@given(proto=convolutions(transposed=False))
def test_conv(proto: onnx.ModelProto, tmp_path: Path) -> None:
    assume(runs(proto))
    check(proto, tmp_path)


@SETTINGS
@given(proto=convolutions(transposed=True))
def test_conv_transpose(proto: onnx.ModelProto, tmp_path: Path) -> None:
    assume(runs(proto))
    check(proto, tmp_path)


@pytest.mark.parametrize("auto_pad", ["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("target", [8, 9, 10, 11, 12, 14])
def test_conv_transpose_output_shape(auto_pad: str, target: int, tmp_path: Path) -> None:
    proto = one(
        "ConvTranspose", weight(2, 3, 4), (1, 2, 5), strides=[2], auto_pad=auto_pad, output_shape=[target], output_padding=[1]
    )
    if not runs(proto):
        pytest.skip("onnxruntime refuses this output shape")
    check(proto, tmp_path)


def test_depthwise(tmp_path: Path) -> None:
    assert check(one("Conv", weight(6, 1, 3, 3), (1, 6, 5, 5), group=6, pads=[1, 1, 1, 1]), tmp_path).shape == (6, 9, 1)
    assert check(one("Conv", weight(12, 1, 3), (1, 6, 5), group=6), tmp_path).shape == (6, 3, 2)
    assert check(one("ConvTranspose", weight(6, 1, 3), (1, 6, 5), group=6, strides=[2]), tmp_path).shape == (6, 1, 3)


@pytest.mark.parametrize("constant_a", [False, True])
@pytest.mark.parametrize("alpha", [1.0, -0.5, 0.0])
@pytest.mark.parametrize("flips", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_gemm(constant_a: bool, alpha: float, flips: tuple[int, int], tmp_path: Path) -> None:
    a, b = ((3, 4), (4, 5))
    a, b = a[::-1] if flips[0] else a, b[::-1] if flips[1] else b
    own, other = (a, b) if constant_a else (b, a)
    proto = one("Gemm", weight(*own), other, right=not constant_a, transA=flips[0], transB=flips[1], alpha=alpha)
    assert check(proto, tmp_path).shape == ((1, 4, 3) if constant_a else (1, 4, 5))


@pytest.mark.parametrize(
    ("constant", "activation", "right", "shape"),
    [
        ((4, 5), (3, 4), True, (1, 4, 5)),
        ((4, 5), (4,), True, (1, 4, 5)),
        ((4,), (3, 4), True, (1, 4, 1)),
        ((4,), (4,), True, (1, 4, 1)),
        ((4,), (4, 3), False, (1, 4, 1)),
        ((4,), (2, 4, 3), False, (1, 4, 1)),
        ((4,), (4,), False, (1, 4, 1)),
        ((5, 4), (4, 3), False, (1, 4, 5)),
        ((5, 4), (4,), False, (1, 4, 5)),
        ((4, 5), (2, 3, 4), True, (1, 4, 5)),
        ((4, 5), (2, 6, 3, 4), True, (1, 4, 5)),
        ((5, 4), (2, 4, 3), False, (1, 4, 5)),
        ((2, 4, 5), (2, 3, 4), True, (2, 4, 5)),
        ((2, 5, 4), (2, 4, 3), False, (2, 4, 5)),
        ((2, 4, 5), (3, 4), True, (1, 4, 10)),
        ((2, 4, 5), (4,), True, (1, 4, 10)),
        ((2, 5, 4), (4,), False, (1, 4, 10)),
        ((2, 4, 5), (1, 3, 4), True, (1, 4, 10)),
        ((1, 4, 5), (2, 3, 4), True, (1, 4, 5)),
        ((1, 4, 5), (1, 3, 4), True, (1, 4, 5)),
        ((1, 4, 5), (3, 4), True, (1, 4, 5)),
        ((2, 1, 4, 5), (3, 6, 4), True, (1, 4, 10)),
        ((2, 1, 4, 5), (2, 3, 6, 4), True, (2, 4, 5)),
        ((2, 3, 4, 5), (1, 3, 6, 4), True, (3, 4, 10)),
        ((2, 3, 4, 5), (2, 1, 6, 4), True, (2, 4, 15)),
        ((3, 4, 5), (2, 1, 6, 4), True, (1, 4, 15)),
        ((3, 4, 5), (2, 3, 6, 4), True, (3, 4, 5)),
        ((2, 3, 5, 4), (3, 4, 6), False, (3, 4, 10)),
        ((1, 1), (1, 1), True, (1, 1, 1)),
    ],
)
def test_matmul(
    constant: tuple[int, ...], activation: tuple[int, ...], right: bool, shape: tuple[int, int, int], tmp_path: Path
) -> None:
    assert check(one("MatMul", weight(*constant), activation, right=right), tmp_path).shape == shape


@pytest.mark.parametrize(
    ("equation", "left", "right", "constant_on_the_right", "shape"),
    [
        ("bi,ij->bj", (3, 4), (4, 5), True, (1, 4, 5)),
        ("bi,ij", (3, 4), (4, 5), True, (1, 4, 5)),
        ("ij,bj->bi", (5, 4), (3, 4), False, (1, 4, 5)),
        ("bhi,hij->bhj", (2, 3, 4), (3, 4, 5), True, (3, 4, 5)),
        ("bid,hdk->bhik", (2, 3, 4), (5, 4, 6), True, (1, 4, 30)),
        ("bhik,hkd->bid", (2, 5, 3, 6), (5, 6, 4), True, (1, 30, 4)),
        ("...i,ij->...j", (2, 3, 4), (4, 5), True, (1, 4, 5)),
        ("...i,ij", (2, 3, 4), (4, 5), True, (1, 4, 5)),
        ("...ij,...jk->...ik", (2, 3, 4), (2, 4, 5), True, (2, 4, 5)),
        ("aA,Ab->ab", (3, 4), (4, 5), True, (1, 4, 5)),
        ("Ba,aC", (3, 4), (4, 5), True, (1, 4, 5)),
        ("bii,ij->bj", (2, 4, 4), (4, 5), True, (1, 4, 5)),
        ("bi,iij->bj", (2, 4), (4, 4, 5), True, (1, 4, 5)),
        ("bi,ijk->bj", (3, 4), (4, 5, 6), True, (1, 4, 5)),
        ("bti,ij->bj", (2, 3, 4), (4, 5), True, (1, 12, 5)),
        ("bi,j->bij", (2, 3), (4,), True, (1, 1, 4)),
        ("bij,i->bi", (2, 3, 4), (3,), True, (3, 4, 1)),
        ("bi,i->b", (2, 4), (4,), True, (1, 4, 1)),
        ("bi,ij->", (2, 4), (4, 5), True, None),
        (" b i , i j -> j b ", (3, 4), (4, 5), True, (1, 4, 5)),
    ],
)
def test_einsum(
    equation: str,
    left: tuple[int, ...],
    right: tuple[int, ...],
    constant_on_the_right: bool,
    shape: tuple[int, int, int] | None,
    tmp_path: Path,
) -> None:
    own, other = (right, left) if constant_on_the_right else (left, right)
    proto = one("Einsum", weight(*own), other, right=constant_on_the_right, equation=equation)
    if not runs(proto):
        pytest.skip("onnxruntime does not support this equation")
    use = check(proto, tmp_path)
    assert shape is None or use.shape == shape


@SETTINGS
@given(data=st.data())
def test_random_einsums(data: st.DataObject, tmp_path: Path) -> None:
    letters = "abcD"
    sizes = dict(zip(letters, (2, 3, 4, 5), strict=True))
    terms = [data.draw(st.lists(st.sampled_from(letters), min_size=1, max_size=3, unique=True)) for _ in range(2)]
    everything = sorted({*terms[0], *terms[1]})
    output = data.draw(st.lists(st.sampled_from(everything), max_size=4, unique=True))
    right = data.draw(st.booleans())
    equation = f"{''.join(terms[0])},{''.join(terms[1])}->{''.join(output)}"
    shapes = [tuple(sizes[letter] for letter in term) for term in terms]
    own, other = (shapes[1], shapes[0]) if right else (shapes[0], shapes[1])
    proto = one("Einsum", weight(*own), other, right=right, equation=equation)
    assume(runs(proto) or not output)
    if not uses(proto, tmp_path):  # entry by entry: every label of the constant is in both others, none is summed
        constant, activation = (terms[1], terms[0]) if right else (terms[0], terms[1])
        assert set(activation) <= set(output)
        assert not (set(output) - set(activation)) & set(constant)
        return
    check(proto, tmp_path)


def test_a_scale_by_einsum_is_no_weight(tmp_path: Path) -> None:
    assert uses(one("Einsum", weight(4), (3, 4), equation="bi,i->bi"), tmp_path) == []
    assert uses(one("Einsum", np.float32(2), (3, 4), equation="bi,->bi"), tmp_path) == []


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("RNN", {}),
        ("GRU", {"linear_before_reset": 0}),
        ("GRU", {"linear_before_reset": 1}),
        ("LSTM", {}),
    ],
)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_recurrent_weights(op: str, attributes: dict[str, Any], direction: str, tmp_path: Path) -> None:
    """A kernel vector of W added to x leaves the output as it was; another vector does not."""
    gates, hidden, size, steps = {"RNN": 1, "GRU": 3, "LSTM": 4}[op], 2, 12, 4
    directions = 2 if direction == "bidirectional" else 1
    made = node(op, ["x", "W", "R"], ["y"], hidden_size=hidden, direction=direction, **attributes)
    constants = {"W": weight(directions, gates * hidden, size), "R": weight(directions, gates * hidden, hidden, seed=1)}
    if directions == 2:
        constants["W"][1] = -constants["W"][0]  # so that both directions share a kernel
    proto = model([made], constants, inputs=[value("x", [steps, 1, size])])
    found = [use for _, use in uses(proto, tmp_path)]
    assert all(isinstance(use, LinearUse) for use in found)
    inputs = [use for use in found if isinstance(use, LinearUse) and use.activation == 0]
    states = [use for use in found if isinstance(use, LinearUse) and use.activation is None]
    assert [use.shape for use in inputs] == [(1, size, gates * hidden)] * directions
    split = op == "GRU" and not attributes["linear_before_reset"]
    one_direction = [(1, hidden, 2 * hidden), (1, hidden, hidden)] if split else [(1, hidden, gates * hidden)]
    assert [use.shape for use in states] == one_direction * directions
    assert len({use.signature for use in found if isinstance(use, LinearUse)}) == len(found)
    stacked = np.concatenate([use.matrix()[0] for use in inputs], axis=1)
    kernel = np.linalg.svd(stacked)[0][:, -1].astype(np.float32)
    rng = np.random.default_rng(0)
    x, other = random(rng, (steps, 1, size)), random(rng, (size,))
    before, after = (run(proto, {"x": x + d})[0] for d in (np.float32(0), kernel))
    control = run(proto, {"x": x + other / np.float32(np.linalg.norm(other))})[0]
    assert np.abs(after - before).max() < 2e-6
    assert np.abs(control - before).max() > 1e-2


def refused(proto: onnx.ModelProto, folder: Path) -> Code:
    return only_refusal(uses(proto, folder)).code


def test_refusals(tmp_path: Path) -> None:
    assert refused(one("Conv", weight(6, 2, 3), (1, 4, 5), group=4), tmp_path) is Code.INVALID_MODEL
    assert refused(one("Conv", weight(6, 2, 3), (1, 4, 5), group=0), tmp_path) is Code.INVALID_MODEL
    assert refused(one("Conv", weight(6, 4), (1, 4, 5)), tmp_path) is Code.INVALID_MODEL
    assert refused(one("ConvTranspose", weight(6, 2, 3), (1, 6, 5), group=4), tmp_path) is Code.INVALID_MODEL
    assert refused(one("Conv", weight(1, 4, 5), (6, 4, 3), right=False), tmp_path) is Code.OPERATOR
    assert refused(one("Gemm", weight(4, 5, 1), (3, 4)), tmp_path) is Code.INVALID_MODEL
    assert refused(one("MatMul", np.float32(3), (3, 4)), tmp_path) is Code.INVALID_MODEL
    batched = model([node("MatMul", ["x", "w"], ["y"])], {"w": weight(3, 4, 5)}, inputs=[value("x", None)])
    assert refused(batched, tmp_path) is Code.SHAPE
    batched = model([node("MatMul", ["x", "w"], ["y"])], {"w": weight(3, 4, 5)}, inputs=[value("x", ["n", "m", 4])])
    assert refused(batched, tmp_path) is Code.SHAPE
    lstm = node("LSTM", ["x", "W", "R"], ["y"], hidden_size=2, direction="bidirectional")
    proto = model([lstm], {"W": weight(1, 8, 3), "R": weight(2, 8, 2)}, inputs=[value("x", [4, 1, 3])])
    assert refused(proto, tmp_path) is Code.INVALID_MODEL


@pytest.mark.parametrize(
    ("equation", "shape", "code"),
    [
        ("...i,ij->...j", None, Code.SHAPE),
        ("bi,ij->j", ["n", "m"], Code.SHAPE),
        ("bi,ij,jk->bk", [3, 4], Code.INVALID_MODEL),
        ("bi,ij->bz", [3, 4], Code.INVALID_MODEL),
        ("bti,ij->bj", [3, 4], Code.INVALID_MODEL),
        ("", [3, 4], Code.INVALID_MODEL),
        ("bi,i...j->bj", [3, 4], None),
        ("bi,ijk->bj", [3, 4], Code.INVALID_MODEL),
    ],
)
def test_einsum_refusals(equation: str, shape: list[int | str | None] | None, code: Code | None, tmp_path: Path) -> None:
    made = node("Einsum", ["x", "w"], ["y"], equation=equation)
    found = uses(model([made], {"w": weight(4, 5)}, inputs=[value("x", shape)]), tmp_path)
    if code is None:
        only_use(found)
    else:
        assert only_refusal(found).code is code


@pytest.mark.parametrize("equation", ["b.i,ij->bj", "b...i...,ij->bj", "bi,ij->b->j", "b1,1j->bj", "bi;ij", "bi,ij-j", "->->"])
def test_malformed_equations_break_the_rules(equation: str, tmp_path: Path) -> None:
    # onnx's shape inference never returns from the first of them
    with pytest.raises(OnnxnullError) as caught:
        uses(one("Einsum", weight(4, 5), (3, 4), equation=equation), tmp_path)
    assert caught.value.code is Code.INVALID_MODEL


def test_an_equation_that_is_no_text_breaks_the_rules(tmp_path: Path) -> None:
    proto = one("Einsum", weight(4, 5), (3, 4), equation="bi,ij->bj")
    proto.graph.node[0].attribute[0].s = b"bi,i\xff->bj"
    with pytest.raises(OnnxnullError, match="not UTF-8"):
        uses(proto, tmp_path)


def test_einsum_of_three_operands_is_refused(tmp_path: Path) -> None:
    made = node("Einsum", ["x", "w", "w"], ["y"], equation="bi,ij,jk->bk")
    assert refused(model([made], {"w": weight(4, 4)}, inputs=[value("x", [3, 4])]), tmp_path) is Code.OPERATOR


@pytest.mark.parametrize("op", ["MatMul", "Gemm", "Einsum", "Conv", "ConvTranspose"])
def test_two_constants_make_a_constant_and_no_weight(op: str, tmp_path: Path) -> None:
    shape = (4, 4, 1) if op.startswith("Conv") else (4, 4)
    attributes: dict[str, Any] = {"equation": "ij,jk->ik"} if op == "Einsum" else {}
    nodes = [node(op, ["a", "b"], ["c"], **attributes), node("Add", ["x", "c"], ["y"])]
    constants = {"a": weight(*shape), "b": weight(*shape, seed=1)}
    assert uses(model(nodes, constants, inputs=[value("x", shape)]), tmp_path) == []
    if op in ("Gemm", "Conv"):  # only the bias depends on the input
        nodes = [node(op, ["a", "b", "x"], ["y"])]
        assert uses(model(nodes, constants, inputs=[value("x", [4])]), tmp_path) == []


def test_weights_of_zero_size(tmp_path: Path) -> None:
    cases = (("Conv", (0, 4, 3), (1, 4, 5)), ("ConvTranspose", (4, 0, 3), (1, 4, 5)), ("MatMul", (4, 0), (3, 4)))
    for op, constant, activation in cases:
        use = only_use(uses(one(op, weight(*constant), activation), tmp_path))
        assert use.matrix().shape == use.shape
        assert use.shape[2] == 0


def test_the_kinds_of_table_1(tmp_path: Path) -> None:
    assert only_use(uses(one("Conv", weight(6, 4, 3), (1, 4, 5)), tmp_path)).paper
    assert only_use(uses(one("MatMul", weight(4, 3), (1, 4)), tmp_path)).paper
    assert not only_use(uses(one("ConvTranspose", weight(4, 6, 3), (1, 4, 5)), tmp_path)).paper


def test_blocks_are_not_guessed_from_the_batch_of_one_that_was_assumed(tmp_path: Path) -> None:
    """With a batch of 3 the constant's blocks are apart, with a batch of 1 they share their input."""
    proto = model([node("MatMul", ["x", "W"], ["y"])], {"W": weight(3, 4, 5)}, inputs=[value("x", ["batch", 2, 4])])
    assert only_refusal(uses(proto, tmp_path)).code is Code.SHAPE
    assert only_use(uses(proto, tmp_path, input_shapes={"x": (3, 2, 4)})).shape == (3, 4, 5)
    assert only_use(uses(proto, tmp_path, input_shapes={"x": (1, 2, 4)})).shape == (1, 4, 15)
