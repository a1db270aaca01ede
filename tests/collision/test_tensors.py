"""Where inputs are made to collide: names, and that a layer cut out of its network computes what the network computes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper

from onnxnull import frontier
from onnxnull.collision.results import Space
from onnxnull.collision.tensors import carry_back, cuts, input_site
from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.flow import Flow
from onnxnull.kernel.maps.selection import NOTHING, Selection, identity
from onnxnull.runtime.precision import Precision
from tests.collision.searches import Placed, placed, saved
from tests.helpers import BOOL, model, opened, run, value, weight

node = helper.make_node
SETTINGS = settings(max_examples=40)


def two_layers() -> onnx.ModelProto:
    """x 1×6 → MatMul "first" by "a" → Relu → MatMul "second" by "b"; z is a second input, read by a Relu only."""
    nodes = [
        node("MatMul", ["x", "a"], ["h"], name="first"),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "b"], ["s"], name="second"),
        node("Relu", ["z"], ["u"]),
        node("Add", ["s", "u"], ["y"]),
    ]
    inputs = [value("z", [1, 2]), value("x", [1, 6])]
    return model(nodes, {"a": weight(6, 4), "b": weight(4, 2, seed=1)}, inputs=inputs)


def test_the_first_guaranteed_input_is_taken_unless_one_is_named(tmp_path: Path) -> None:
    fronts = frontier.find(Flow(opened(two_layers(), tmp_path)))
    assert [front.input.name for front in fronts] == ["z", "x"]
    site = input_site(fronts, None)
    assert (site.where, site.space, site.shape) == ("x", Space.INPUT, (1, 6))
    assert [reader.node for reader in site.readers(patchwise=True)] == ["first"]
    assert (site.nullity().lower, site.nullity().upper) == (2, 2)
    with pytest.raises(OnnxnullError) as refused:
        input_site(fronts, "z")
    assert refused.value.code is Code.NOT_GUARANTEED


def test_an_unknown_input_is_told_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(OnnxnullError) as refused:
        input_site(frontier.find(Flow(opened(two_layers(), tmp_path))), "w")
    assert refused.value.code is Code.DATA
    assert "'x'" in str(refused.value)


@pytest.mark.parametrize("name", ["second", "b"])
def test_a_layer_is_found_by_its_node_and_by_its_weight(name: str, tmp_path: Path) -> None:
    (cut,) = cuts(Flow(opened(two_layers(), tmp_path)), name, Space.ACTIVATION)
    assert (cut.view.name, cut.weight, cut.tensor, cut.product, cut.space) == ("second", "b", "r", "s", Space.ACTIVATION)


def test_all_layers_are_those_with_a_kernel(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", ["x", "a"], ["h"], name="wide"),
        node("MatMul", ["h", "b"], ["i"], name="square"),
        node("MatMul", ["i", "c"], ["y"], name="deficient"),
    ]
    deficient = np.round(weight(4, 4, seed=2) * 16)
    deficient[3] = deficient[0] + deficient[1]
    proto = model(nodes, {"a": weight(6, 4), "b": weight(4, 4, seed=1), "c": deficient}, inputs=[value("x", [1, 6])])
    found = cuts(Flow(opened(proto, tmp_path)), None, Space.PATCHES)
    assert [cut.view.name for cut in found] == ["wide", "deficient"]


@pytest.mark.parametrize(("name", "part"), [("third", None), ("", None), ("second", "a")])
def test_an_unknown_layer_is_told_with_known_ones(name: str, part: str | None, tmp_path: Path) -> None:
    with pytest.raises(OnnxnullError) as refused:
        cuts(Flow(opened(two_layers(), tmp_path)), name, Space.ACTIVATION, part)
    assert refused.value.code is Code.LAYER
    assert "'first'" in str(refused.value)


def test_a_weight_that_is_not_finite_has_no_kernel_to_speak_of(tmp_path: Path) -> None:
    broken = weight(6, 4)
    broken[0, 0] = np.nan
    proto = model([node("MatMul", ["x", "a"], ["y"], name="mm")], {"a": broken}, inputs=[value("x", [1, 6])])
    with pytest.raises(OnnxnullError) as refused:
        cuts(Flow(opened(proto, tmp_path)), None, Space.PATCHES)
    assert refused.value.code is Code.NONFINITE


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[onnx.ModelProto, tuple[int, ...]]:
    """A Conv with any attributes, in one to three dimensions, and its input's shape."""
    axes = draw(st.integers(1, 3))

    def each(low: int, high: int, count: int = axes) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=count, max_size=count))

    groups, channels, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    kernel, strides, dilations, sizes = each(1, 3), each(1, 3), each(1, 2), each(1, 6)
    attributes: dict[str, Any] = {"strides": strides, "dilations": dilations, "group": groups}
    if draw(st.booleans()):
        attributes["kernel_shape"] = kernel
    padding = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    pads = [0] * axes
    if padding == "NOTSET":
        attributes["pads"] = begins_and_ends = each(0, 2, 2 * axes)
        pads = [a + b for a, b in zip(begins_and_ends[:axes], begins_and_ends[axes:], strict=True)]
    else:
        attributes["auto_pad"] = padding
        if padding.startswith("SAME"):
            attributes["dilations"] = dilations = [1] * axes
    if not padding.startswith("SAME"):
        assume(all((k - 1) * d + 1 <= n + p for k, d, n, p in zip(kernel, dilations, sizes, pads, strict=True)))
    shape = (draw(st.integers(1, 2)), groups * channels, *sizes)
    constants = {"w": weight(groups * outputs, channels, *kernel), "b": weight(groups * outputs, seed=1)}
    conv = node("Conv", ["x", "w", *(["b"] if draw(st.booleans()) else [])], ["y"], name="conv", **attributes)
    return model([conv], constants, inputs=[value("x", shape)]), shape


@SETTINGS
@given(convolutions())
def test_the_patches_of_a_convolution_give_what_the_convolution_gives(
    tmp_path: Path, made: tuple[onnx.ModelProto, tuple[int, ...]]
) -> None:
    """The same node with stride = kernel, no padding, no dilation, on the patches side by side; in onnxruntime, float32."""
    proto, shape = made
    x = weight(*shape, seed=2)
    (expected,) = run(proto, {"x": x})
    found = placed(saved(tmp_path, proto), "conv", Space.PATCHES, {"x": x})
    product = found.product(found.start, Precision.FLOAT32)
    kernel = found.cut.use.constant.shape[2:]
    assert found.start.shape == (*shape[:2], *(n * k for n, k in zip(expected.shape[2:], kernel, strict=True)))
    np.testing.assert_allclose(product, expected, rtol=1e-5, atol=2e-5)
    assert_kernel(found, patchwise(found, math.prod(expected.shape) // expected.shape[1]))


def patchwise(found: Placed, patches: int) -> int:
    """The dimension of the kernel, patch by patch."""
    blocks = found.cut.use.blocks().astype(np.float64)
    g, q, _ = blocks.shape
    hidden: int = patches * (g * q - sum(int(np.linalg.matrix_rank(block)) for block in blocks))
    return hidden


def assert_kernel(found: Placed, dimension: int) -> None:
    """It is so large, and what a projection gives is hidden from the layer, what it takes away is not."""
    assert (found.site.nullity().lower, found.site.nullity().upper) == (dimension, dimension)
    wish = np.random.default_rng(99).standard_normal(found.start.shape)
    change = found.site.kernel().project(wish)
    before, after, control = (found.product(found.start + delta) for delta in (0.0, change, wish - change))
    assert np.abs(after - before).max(initial=0.0) <= 1e-12
    assert (np.linalg.norm(change) > 1e-6 * np.linalg.norm(wish)) == (dimension > 0)
    if wish.size <= 100:  # the trace of a projection is the dimension of its image
        basis = np.eye(wish.size).reshape(-1, *wish.shape)
        trace = sum(float(np.vdot(unit, found.site.kernel().project(unit))) for unit in basis)
        np.testing.assert_allclose(trace, dimension, atol=1e-9)
    assert dimension == found.start.size or np.abs(control - before).max() > 1e-6


Layer = tuple[onnx.NodeProto, dict[str, Any], tuple[int, ...]]
LAYERS: dict[str, Layer] = {
    "ConvTranspose": (
        node(
            "ConvTranspose", ["x", "w", "b"], ["y"], strides=[2, 1], pads=[1, 0, 0, 1], dilations=[1, 2], output_padding=[1, 0]
        ),
        {"w": weight(6, 1, 3, 2), "b": weight(1)},
        (2, 6, 4, 3),
    ),
    "ConvTranspose, grouped": (
        node("ConvTranspose", ["x", "w"], ["y"], strides=[2], group=3, output_shape=[9]),
        {"w": weight(12, 1, 3)},
        (1, 12, 4),
    ),
    "Gemm": (node("Gemm", ["x", "w", "b"], ["y"]), {"w": weight(6, 4), "b": weight(4)}, (3, 6)),
    "Gemm, transposed, scaled": (
        node("Gemm", ["x", "w", "b"], ["y"], transB=1, alpha=0.3, beta=2.5),
        {"w": weight(4, 6), "b": weight(1, 4)},
        (3, 6),
    ),
    "Gemm, activation transposed": (node("Gemm", ["x", "w"], ["y"], transA=1, transB=1), {"w": weight(4, 6)}, (6, 3)),
    "Gemm, weight first": (node("Gemm", ["w", "x"], ["y"], alpha=2.0), {"w": weight(4, 6)}, (6, 3)),
    "MatMul": (node("MatMul", ["x", "w"], ["y"]), {"w": weight(6, 4)}, (2, 3, 6)),
    "MatMul, one vector": (node("MatMul", ["x", "w"], ["y"]), {"w": weight(6, 4)}, (6,)),
    "MatMul, weight first": (node("MatMul", ["w", "x"], ["y"]), {"w": weight(4, 6)}, (2, 6, 3)),
    "MatMul, batched": (node("MatMul", ["x", "w"], ["y"]), {"w": weight(2, 6, 4)}, (2, 3, 6)),
    "MatMul, batched and broadcast": (node("MatMul", ["x", "w"], ["y"]), {"w": weight(2, 1, 6, 4)}, (2, 3, 5, 6)),
    "Einsum": (node("Einsum", ["x", "w"], ["y"], equation="bij,jk->bik"), {"w": weight(6, 4)}, (2, 3, 6)),
    "Einsum, weight first": (node("Einsum", ["w", "x"], ["y"], equation="kj,bji->kib"), {"w": weight(4, 6)}, (2, 6, 3)),
    "Einsum, heads": (node("Einsum", ["x", "w"], ["y"], equation="bthd,hde->bhte"), {"w": weight(2, 5, 3)}, (1, 4, 2, 5)),
}


@pytest.mark.parametrize("space", [Space.ACTIVATION, Space.PATCHES])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_by_itself_gives_what_it_gives_in_its_network(name: str, space: Space, tmp_path: Path) -> None:
    layer, constants, shape = LAYERS[name]
    layer.name = "layer"
    x = weight(*shape, seed=2)
    proto = model([layer], constants, inputs=[value("x", shape)])
    (expected,) = run(proto, {"x": x})
    found = placed(saved(tmp_path, proto), "layer", space, {"x": x})
    assert found.site.space is space
    np.testing.assert_array_equal(found.start, x)
    np.testing.assert_allclose(found.product(found.start, Precision.FLOAT32), expected, rtol=1e-5, atol=2e-5)
    if space is Space.PATCHES:
        g, q, _ = found.cut.use.shape
        dimension = patchwise(found, math.prod(shape) // (g * q))
    else:
        dense = found.site.frontier.map().dense()  # inputs are rows
        dimension = len(dense) - int(np.linalg.matrix_rank(dense))
    assert_kernel(found, dimension)


def recurrent(op: str, gates: int, **attributes: Any) -> onnx.ModelProto:
    """x 5×1×7 → a recurrent layer of 3 hidden units, named "layer"."""
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    constants = {"W": weight(directions, gates * 3, 7), "R": weight(directions, gates * 3, 3, seed=1)}
    return model(
        [node(op, ["x", "W", "R"], ["y"], name="layer", hidden_size=3, **attributes)], constants, inputs=[value("x", [5, 1, 7])]
    )


RECURRENT = {
    "LSTM W": (recurrent("LSTM", 4), "W [forward]", "rows of the network's own activation"),
    "LSTM R": (recurrent("LSTM", 4), "R [forward]", "random rows"),
    "LSTM, backward W": (
        recurrent("LSTM", 4, direction="bidirectional"),
        "W [reverse]",
        "rows of the network's own activation",
    ),
    "GRU W": (recurrent("GRU", 3), "W [forward]", "rows of the network's own activation"),
    "GRU R, hidden gate": (recurrent("GRU", 3), "R [forward h]", "random rows"),
    "RNN W": (recurrent("RNN", 1), "W [forward]", "rows of the network's own activation"),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_weights_are_cut_out_as_matrices(name: str, tmp_path: Path) -> None:
    proto, part, rows = RECURRENT[name]
    x = weight(5, 1, 7, seed=3)
    found = placed(saved(tmp_path, proto), "layer", Space.ACTIVATION, {"x": x}, part)
    assert found.site.space is Space.MATRIX
    assert found.cut.product is None
    assert found.site.caveat is not None
    assert "keeps the product to itself" in found.site.caveat
    assert rows in found.site.caveat
    if "own activation" in rows:
        np.testing.assert_array_equal(found.start.reshape(-1, 7), x.reshape(-1, 7))
    (block,) = found.cut.use.blocks().astype(np.float64)
    np.testing.assert_allclose(found.product(found.start)[0], found.start[0] @ block, rtol=1e-12, atol=1e-12)
    assert_kernel(found, patchwise(found, found.start.shape[1]))


def test_a_layer_in_a_branch_is_cut_out_as_a_matrix_on_random_rows(tmp_path: Path) -> None:
    def branch(name: str) -> onnx.GraphProto:
        return helper.make_graph(
            [node("MatMul", ["x", name], [f"{name}y"], name=f"{name}mm")], name, [], [value(f"{name}y", None)]
        )

    inputs = [value("x", [2, 6]), value("c", [], BOOL)]
    choice = node("If", ["c"], ["y"], then_branch=branch("a"), else_branch=branch("b"))
    proto = model([choice], {"a": weight(6, 4), "b": weight(6, 5)}, inputs=inputs)
    found = placed(saved(tmp_path, proto), "a", Space.ACTIVATION, {"x": weight(2, 6), "c": np.array(True)})
    assert (found.site.space, found.cut.tensor) == (Space.MATRIX, None)
    assert found.site.caveat == "it sits in a branch: the weight alone, on random rows"
    np.testing.assert_allclose(found.product(found.start)[0], found.start[0] @ weight(6, 4).astype(np.float64), rtol=1e-12)
    assert_kernel(found, patchwise(found, found.start.shape[1]))


def biased(shape: tuple[int, ...], groups: int) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """A Conv of kernel 1 whose bias is an input."""
    conv = node("Conv", ["x", "w", "b"], ["y"], name="layer", group=groups)
    w = weight(groups, shape[1] // groups, *(1 for _ in shape[2:]))
    proto = model([conv], {"w": w}, inputs=[value("x", shape), value("b", [groups])])
    return proto, {"x": weight(*shape, seed=1), "b": weight(groups, seed=2)}


@pytest.mark.parametrize(
    ("shape", "groups"),
    [((1, 4, 4), 1), ((1, 4, 6), 1), ((1, 4, 6), 2), pytest.param((1, 4, 4), 2)],
)
def test_a_bias_that_is_no_constant_leaves_the_weight_alone(shape: tuple[int, ...], groups: int, tmp_path: Path) -> None:
    proto, feeds = biased(shape, groups)
    found = placed(saved(tmp_path, proto), "layer", Space.ACTIVATION, feeds)
    assert found.site.space is Space.MATRIX
    assert found.site.caveat is not None
    assert "bias is no constant" in found.site.caveat
    blocks = found.cut.use.blocks().astype(np.float64)
    np.testing.assert_allclose(found.product(found.start), found.start @ blocks, rtol=1e-12, atol=1e-12)
    assert_kernel(found, patchwise(found, found.start.shape[1]))


def test_rows_of_a_layer_taken_as_a_matrix_are_the_networks_own(tmp_path: Path) -> None:
    """The pixels of an image are the rows of a 1×1 convolution's inputs."""
    proto, feeds = biased((1, 4, 6), 1)
    found = placed(saved(tmp_path, proto), "layer", Space.ACTIVATION, feeds)
    assert found.site.caveat is not None
    assert "the network's own activation" in found.site.caveat
    assert np.array_equal(
        found.start[0], feeds["x"].reshape(4, -1).T if feeds["x"].ndim == 3 else feeds["x"][0].reshape(4, -1).T
    )


def test_a_change_behind_a_selection_is_carried_back() -> None:
    """Through movement and scaling: the change of the input that makes it. Padding and factors of 0 have none."""
    path = Selection((5,), np.array([[3, NOTHING], [0, 4]]), np.array([[2.0, 1.0], [-0.5, 0.0]]))
    back = carry_back(path, np.array([[6.0, 7.0], [8.0, 9.0]]))
    np.testing.assert_array_equal(back, [-16.0, 0.0, 0.0, 3.0, 0.0])
    np.testing.assert_array_equal(path.apply(back), [[6.0, 0.0], [8.0, 0.0]])
    np.testing.assert_array_equal(carry_back(identity((2, 2)), np.eye(2)), np.eye(2))
