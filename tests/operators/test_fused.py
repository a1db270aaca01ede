"""Fused products, attention and linear models against onnxruntime: the linear map of each weight gives what the node computes.

An operator without a kernel on the CPU is compared with the plain operators that its schema says it stands for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from onnxnull.analysis.analyze import analyze
from onnxnull.analysis.results import ModelReport
from onnxnull.errors import Code
from onnxnull.operators import LinearUse
from tests.helpers import INT64, Found, model, only_refusal, only_use, run, uses, value, weight
from tests.operators.test_against_onnxruntime import check_map, random

MICROSOFT = "com.microsoft"
Array = NDArray[Any]


def node_model(
    op: str,
    inputs: Sequence[str],
    constants: dict[str, Any],
    fed: dict[str, Any],
    *,
    domain: str = MICROSOFT,
    outputs: int = 1,
    opset: int = 17,
    types: Sequence[int] = (),
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one node; `fed` are its inputs (arrays or shapes), outputs are y, y1, ..."""
    names = ["y", *(f"y{i}" for i in range(1, outputs))]
    made = helper.make_node(op, list(inputs), names, domain=domain, **attributes)
    shapes = {name: array.shape if isinstance(array, np.ndarray) else array for name, array in fed.items()}
    kinds = {n: helper.np_dtype_to_tensor_dtype(a.dtype) if isinstance(a, np.ndarray) else 1 for n, a in fed.items()}
    values = [value(name, shape, kinds[name]) for name, shape in shapes.items()]
    results = [value(name, None, kind) for name, kind in zip(names, types, strict=False)]
    return model([made], constants, inputs=values, outputs=results, imports={domain: 1} if domain else {}, opset=opset)


def analysed(proto: onnx.ModelProto, folder: Path) -> ModelReport:
    onnx.save(proto, folder / "model.onnx")
    return analyze(folder / "model.onnx")


def use_of(found: Found) -> list[LinearUse]:
    assert all(isinstance(use, LinearUse) for _, use in found), found
    return [use for _, use in found if isinstance(use, LinearUse)]


def check(proto: onnx.ModelProto, x: Array, folder: Path, expected: Array | None = None, **others: Array) -> LinearUse:
    """The only weight's map on x, against the node's first output or what is expected."""
    use = only_use(uses(proto, folder))
    computed = run(proto, {"x": x, **others})[0] if expected is None else expected
    check_map(use, x, computed, np.random.default_rng(0))
    return use


@pytest.mark.parametrize("op", ["FusedMatMul", "TransposeMatMul"])
@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize(
    ("constant", "activation", "flips", "shape"),
    [
        ((4, 5), (2, 3, 4), (0, 0), (1, 4, 5)),
        ((5, 4), (2, 3, 4), (0, 1), (1, 4, 5)),
        ((4, 5), (2, 4, 3), (1, 0), (1, 4, 5)),
        ((2, 5, 4), (2, 4, 3), (1, 1), (2, 4, 5)),
        ((2, 4, 5), (4, 3), (1, 0), (1, 4, 10)),
        ((4,), (3, 4), (0, 1), (1, 4, 1)),
        ((4, 5), (4,), (1, 0), (1, 4, 5)),
    ],
)
def test_fused_matmul(op: str, right: bool, constant: Any, activation: Any, flips: Any, shape: Any, tmp_path: Path) -> None:
    """`flips`: of the activation and of the constant; on the left, everything is mirrored: (A·B)ᵀ = Bᵀ·Aᵀ."""
    if not right:
        constant, activation = (s if len(s) == 1 else (*s[:-2], s[-1], s[-2]) for s in (constant, activation))
    transposed = {"transA": flips[0], "transB": flips[1]} if right else {"transA": flips[1], "transB": flips[0]}
    names = ["x", "w"] if right else ["w", "x"]
    x = random(np.random.default_rng(1), activation)
    proto = node_model(op, names, {"w": weight(*constant)}, {"x": x}, alpha=-0.5, **transposed)
    use = check(proto, x, tmp_path)
    assert (use.shape, use.scale, use.paper) == (shape, -0.5, True)


@pytest.mark.parametrize("flips", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("batches", [(1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("right", [True, False])
def test_fused_matmul_of_transposed_batches(flips: Any, batches: Any, right: bool, tmp_path: Path) -> None:
    a, b = [2, 3, 4], [2, 4, 5]
    for shape, flip, batch in ((a, flips[0], batches[0]), (b, flips[1], batches[1])):
        shape[1:] = shape[:0:-1] if flip else shape[1:]
        shape[:2] = shape[1::-1] if batch else shape[:2]
    own, other = (b, a) if right else (a, b)
    attributes = dict(zip(("transA", "transB", "transBatchA", "transBatchB"), (*flips, *batches), strict=True))
    x = random(np.random.default_rng(1), tuple(other))
    proto = node_model("FusedMatMul", ["x", "w"] if right else ["w", "x"], {"w": weight(*own)}, {"x": x}, **attributes)
    assert check(proto, x, tmp_path).shape == ((2, 4, 5) if right else (2, 4, 3))


def test_batch_axes_of_a_matrix_cannot_be_exchanged(tmp_path: Path) -> None:
    proto = node_model("FusedMatMul", ["x", "w"], {"w": weight(4, 5)}, {"x": (3, 4)}, transBatchB=1)
    assert only_refusal(uses(proto, tmp_path)).code is Code.INVALID_MODEL


def test_blocks_of_a_fused_matmul_are_not_guessed_from_an_assumed_batch(tmp_path: Path) -> None:
    proto = node_model("FusedMatMul", ["x", "w"], {"w": weight(3, 5, 4)}, {"x": ("batch", 2, 4)}, transB=1)
    assert only_refusal(uses(proto, tmp_path)).code is Code.SHAPE
    assert only_use(uses(proto, tmp_path, input_shapes={"x": (3, 2, 4)})).shape == (3, 4, 5)


def test_operators_that_only_other_providers_run_hold_the_weight_of_what_they_fuse(tmp_path: Path) -> None:
    x, w = random(np.random.default_rng(1), (2, 3, 4)), weight(4, 5)
    plain = run(node_model("MatMul", ["x", "w"], {"w": w}, {"x": x}, domain=""), {"x": x})[0]
    cases = [
        node_model("FusedMatMulActivation", ["x", "w"], {"w": w.T.copy()}, {"x": x}, activation="Relu", transB=1),
        node_model("GemmFastGelu", ["x", "w", "b"], {"w": w, "b": weight(5)}, {"x": x}),
    ]
    for proto in cases:
        assert check(proto, x, tmp_path, plain).shape == (1, 4, 5)
    sparse = node_model("SparseToDenseMatMul", ["x", "w"], {"w": w}, {"x": x[0]}, alpha=2.0)
    check(sparse, x[0], tmp_path, 2 * plain[0])


@pytest.mark.parametrize("flips", [(0, 0), (1, 1)])
def test_fused_gemm(flips: tuple[int, int], tmp_path: Path) -> None:
    x, w = random(np.random.default_rng(1), (4, 3) if flips[0] else (3, 4)), weight(5, 4) if flips[1] else weight(4, 5)
    attributes: dict[str, Any] = {"transA": flips[0], "transB": flips[1], "alpha": -0.5}
    fused = node_model("FusedGemm", ["x", "w"], {"w": w}, {"x": x}, activation="LeakyRelu", activation_alpha=0.5, **attributes)
    computed = run(fused, {"x": x})[0]
    # LeakyRelu is undone by dividing what is negative
    use = check(fused, x, tmp_path, np.where(computed < 0, computed * 2, computed))
    assert (use.shape, use.scale) == ((1, 4, 5), -0.5)


@pytest.mark.parametrize("group", [1, 2])
def test_fused_conv(group: int, tmp_path: Path) -> None:
    x, w = random(np.random.default_rng(1), (2, 4, 6, 7)), weight(6, 4 // group, 3, 2)
    attributes: dict[str, Any] = {"group": group, "strides": [2, 1], "pads": [1, 0, 0, 1]}
    fused = node_model(
        "FusedConv", ["x", "w"], {"w": w}, {"x": x}, activation="LeakyRelu", activation_params=[0.5], **attributes
    )
    computed = run(fused, {"x": x})[0]
    use = check(fused, x, tmp_path, np.where(computed < 0, computed * 2, computed))
    assert (use.shape, use.paper, use.on_images) == ((group, 24 // group, 6 // group), True, True)


@pytest.mark.parametrize("op", ["NhwcConv", "NhwcFusedConv"])
@pytest.mark.parametrize("group", [1, 2])
def test_channels_last(op: str, group: int, tmp_path: Path) -> None:
    """No CPU kernel: against Conv between two transpositions, as onnxruntime's own conversion makes them."""
    x, w = random(np.random.default_rng(1), (2, 4, 6, 7)), weight(6, 4 // group, 3, 2)
    attributes: dict[str, Any] = {"group": group, "strides": [2, 1], "pads": [1, 0, 0, 1], "kernel_shape": [3, 2]}
    plain = run(node_model("Conv", ["x", "w"], {"w": w}, {"x": x}, domain="", **attributes), {"x": x})[0]
    stored = np.ascontiguousarray(w.transpose(0, 2, 3, 1)) if op == "NhwcConv" else w
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    proto = node_model(op, ["x", "w"], {"w": stored}, {"x": last}, **attributes)
    use = check(proto, last, tmp_path, plain.transpose(0, 2, 3, 1))
    nchw = only_use(uses(node_model("Conv", ["x", "w"], {"w": w}, {"x": x}, domain="", **attributes), tmp_path))
    np.testing.assert_array_equal(use.matrix(), nchw.matrix())


def test_transposed_convolution_with_pads_as_input(tmp_path: Path) -> None:
    x, pads = random(np.random.default_rng(1), (2, 4, 5, 6)), np.array([1, 0, 2, 1])
    constants = {"w": weight(4, 3, 3, 2), "p": pads}
    proto = node_model("ConvTransposeWithDynamicPads", ["x", "w", "p"], constants, {"x": x}, strides=[2, 1])
    assert check(proto, x, tmp_path).shape == (1, 4, 18)
    fed = node_model("ConvTransposeWithDynamicPads", ["x", "w", "p"], {"w": weight(4, 3, 3, 2)}, {"x": x, "p": pads})
    assert "pads the network computes" in only_refusal(uses(fed, tmp_path)).reason


def moved(proto: onnx.ModelProto, x: Array, change: Array, **others: Array) -> float:
    before, after = (run(proto, {"x": array, **others})[0] for array in (x, x + change.astype(np.float32)))
    return float(np.abs(after - before).max())


def kernel_vector(matrix: Array) -> Array:
    """A unit vector φ with φᵀW ≈ 0."""
    vector: Array = np.linalg.svd(matrix)[0][:, -1]
    return vector


def test_attention_reads_its_input_through_one_weight(tmp_path: Path) -> None:
    """The kernel of the fused projection is invisible, another direction is not; with a V as wide as the values asked for."""
    x, w = random(np.random.default_rng(1), (2, 3, 24)), weight(24, 20)
    attributes: dict[str, Any] = {"num_heads": 2, "qkv_hidden_sizes": [8, 8, 4]}
    proto = node_model("Attention", ["x", "w", "b"], {"w": w, "b": weight(20)}, {"x": x}, **attributes)
    use = only_use(uses(proto, tmp_path))
    assert (use.shape, use.activation, use.paper) == ((1, 24, 20), 0, True)
    np.testing.assert_allclose(use.linear_map(use.matrix(), x.shape).apply(x), x @ w, rtol=1e-4, atol=1e-4)
    phi = kernel_vector(use.matrix()[0])
    assert moved(proto, x, phi) < 1e-5
    assert moved(proto, x, w[:, 0] / np.linalg.norm(w[:, 0])) > 1e-2


@pytest.mark.parametrize(
    ("op", "inputs", "uses_at"),
    [
        ("PackedAttention", ["x", "w", "b", "i", "i"], {"w": 0}),
        ("DecoderMaskedSelfAttention", ["x", "w", "b", "", "p", "", "i"], {"w": 0}),
        ("LongformerAttention", ["x", "w", "b", "x", "v", "b", "i"], {"w": 0, "v": 0}),
        ("DecoderAttention", ["x", "k", "q", "w", "b", "", "", "", "yes", "no", "no", "no"], {"q": 0, "w": 1}),
        ("DecoderAttention", ["x", "k", "q", "w", "b", "", "", "", "no", "no", "no", "no"], {"q": 0, "w": 0}),
        ("DecoderAttention", ["x", "k", "q", "w", "b", "", "", "", "t", "no", "no", "no"], {"q": None, "w": None}),
        ("GatedRelativePositionBias", ["x", "b", "p", "q", "b", "p"], {"q": 0}),
    ],
)
def test_attention_of_other_providers(op: str, inputs: list[str], uses_at: dict[str, int | None], tmp_path: Path) -> None:
    """None has a CPU kernel: which operand meets which weight, as the schemas say it."""
    stored = {"w": weight(8, 24), "v": weight(8, 24, seed=1), "q": weight(8, 8), "b": weight(24)}
    stored |= {"yes": np.array(True), "no": np.array(False)}
    shapes: dict[str, Any] = {"x": (2, 3, 8), "k": (2, 3, 8), "p": (2, 1, 1, 1), "i": (2,), "t": ()}
    fed = {name: shapes[name] for name in dict.fromkeys(inputs) if name in shapes}
    proto = node_model(op, inputs, {n: a for n, a in stored.items() if n in inputs}, fed, num_heads=1, window=1)
    found = use_of(uses(proto, tmp_path))
    assert {use.constant.root.name: use.activation for use in found if use.constant.root} == uses_at
    for use in found:
        np.testing.assert_array_equal(use.matrix()[0], stored[use.constant.root.name])  # type: ignore[union-attr]


ATTENTION = [  # query heads, key heads, rank of the operands
    (2, 2, 4),
    (4, 2, 4),
    (4, 2, 3),
    (2, 1, 3),
]


@pytest.mark.parametrize(("heads", "shared", "rank"), ATTENTION)
@pytest.mark.parametrize("constant", ["query", "key"])
def test_learned_queries_and_keys(heads: int, shared: int, rank: int, constant: str, tmp_path: Path) -> None:
    """The map gives the scores that onnxruntime shows (output 3, before the softmax), unscaled."""
    size, lengths = 3, {"query": 5, "key": 4, "value": 4}
    arrays = {}
    for number, (name, length) in enumerate(lengths.items()):
        array = weight(1, heads if name == "query" else shared, length, size, seed=number)
        arrays[name] = array if rank == 4 else array.swapaxes(1, 2).reshape(1, length, -1)
    fed = {name: array for name, array in arrays.items() if name != constant}
    numbers: dict[str, Any] = {"q_num_heads": heads, "kv_num_heads": shared} if rank == 3 else {}
    made = helper.make_node("Attention", list(arrays), ["y", "", "", "scores"], scale=1.0, **numbers)
    values = [value(name, array.shape) for name, array in fed.items()]
    outputs = [value("scores", None)]
    proto = model([made], {constant: arrays[constant]}, inputs=values, outputs=outputs, opset=23)
    scores = run(proto, fed)[0]
    quiet = node_model("Attention", list(arrays), {constant: arrays[constant]}, fed, domain="", opset=23, **numbers)
    use = only_use(uses(quiet, tmp_path))
    together = heads // shared
    rows = lengths[constant] * (together if constant == "query" else 1)
    assert (use.shape, use.part, use.paper) == ((shared, size, rows), constant, False)
    assert use.activation == (1 if constant == "query" else 0)
    x = arrays["key" if constant == "query" else "query"]
    got = use.linear_map(use.matrix(), x.shape).apply(x)  # (rows of the activation, blocks, columns)
    grouped = scores.reshape(shared, together, lengths["query"], lengths["key"])
    if constant == "query":
        expected = grouped.transpose(3, 0, 1, 2).reshape(lengths["key"], shared, -1)
    else:
        expected = grouped.reshape(shared, -1, lengths["key"]).transpose(1, 0, 2)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_attention_that_shows_its_keys_has_no_map_of_them(tmp_path: Path) -> None:
    made = helper.make_node("Attention", ["q", "k", "v"], ["y", "present"])
    values = [value("k", [1, 2, 4, 3]), value("v", [1, 2, 4, 3])]
    outputs = [value("y", None), value("present", None)]
    proto = model([made], {"q": weight(1, 2, 5, 3)}, inputs=values, outputs=outputs, opset=23)
    assert only_use(uses(proto, tmp_path)).activation is None
    del proto.graph.output[1]
    assert only_use(uses(proto, tmp_path)).activation == 1


def test_multi_head_attention_with_a_learned_query(tmp_path: Path) -> None:
    """Change every key by a vector that no row of the query meets: the output stays."""
    q, k, v = weight(1, 2, 12), weight(1, 4, 12, seed=1), weight(1, 4, 12, seed=2)
    proto = node_model("MultiHeadAttention", ["q", "x", "v"], {"q": q}, {"x": k, "v": v}, num_heads=2)
    use = only_use(uses(proto, tmp_path))
    assert (use.shape, use.activation) == ((2, 6, 2), 1)
    change = np.concatenate([kernel_vector(block) for block in use.matrix()])
    assert moved(proto, k, change, v=v) < 1e-5
    assert moved(proto, k[:, :1] * np.ones((1, 4, 1), np.float32), np.eye(4, 12)[None], v=v) > 1e-3
    biased = node_model("MultiHeadAttention", ["q", "x", "v", "b"], {"q": q, "b": weight(36)}, {"x": k, "v": v}, num_heads=2)
    assert "adds a bias" in only_refusal(uses(biased, tmp_path)).reason
    packed = node_model("MultiHeadAttention", ["q", "x"], {"q": weight(1, 2, 2, 3, 6)}, {"x": k}, num_heads=2)
    assert "packed" in only_refusal(uses(packed, tmp_path)).reason


def test_other_constants_of_attention(tmp_path: Path) -> None:
    q, k, v = weight(1, 2, 5, 3), weight(1, 2, 4, 3), weight(1, 2, 4, 7)
    value_only = node_model("Attention", ["x", "k", "v"], {"v": v}, {"x": q, "k": k}, domain="", opset=23)
    use = only_use(uses(value_only, tmp_path))
    assert (use.shape, use.activation, use.part) == ((2, 4, 7), None, "value")
    np.testing.assert_array_equal(use.matrix(), v[0])
    both = node_model("Attention", ["x", "k", "v"], {"k": k, "v": v}, {"x": q}, domain="", opset=23)
    assert [use.part for use in use_of(uses(both, tmp_path))] == ["key", "value"]
    constant = node_model("Attention", ["q", "k", "x"], {"q": q, "k": k}, {"x": v}, domain="", opset=23)
    assert "constant weights of V" in only_refusal(uses(constant, tmp_path)).reason
    unknown = node_model("Attention", ["q", "x", "v"], {"q": q}, {"x": None, "v": v}, domain="", opset=23)
    assert only_refusal(uses(unknown, tmp_path)).code is Code.SHAPE
    uneven = node_model("Attention", ["q", "x", "v"], {"q": weight(1, 3, 5, 3)}, {"x": k, "v": v}, domain="", opset=23)
    assert only_refusal(uses(uneven, tmp_path)).code is Code.INVALID_MODEL


def test_experts(tmp_path: Path) -> None:
    """One expert for every token: fc1 undone from the output through an invertible fc2, and kernels of all experts."""
    hidden, inner, experts = 8, 4, 3
    x, fc1 = random(np.random.default_rng(1), (5, hidden)), weight(experts, inner, hidden)
    fc2 = np.stack([np.eye(hidden, inner, dtype=np.float32)] * experts)
    fc1[:, :, -1] = fc1[:, :, 0]  # (1, 0, ..., −1) is in the kernel of every expert
    router = np.full((5, experts), -50, np.float32)
    chosen = np.array([0, 1, 2, 0, 1])
    router[np.arange(5), chosen] = 50
    proto = node_model("MoE", ["x", "r", "a", "", "c"], {"a": fc1, "c": fc2}, {"x": x, "r": router}, activation_type="identity")
    found = use_of(uses(proto, tmp_path))
    assert [(use.part, use.activation, use.shape) for use in found] == [
        *((f"expert {i}", 0, (1, hidden, inner)) for i in range(experts)),
        *((f"expert {i}", None, (1, inner, hidden)) for i in range(experts)),
    ]
    computed = run(proto, {"x": x, "r": router})[0][:, :inner]
    for token, expert in enumerate(chosen):
        use = found[expert]
        np.testing.assert_allclose(use.linear_map(use.matrix(), x.shape).apply(x)[token], computed[token], rtol=1e-4, atol=1e-5)
    mixed = weight(experts, hidden, inner, seed=2)
    both = node_model(
        "MoE", ["x", "r", "a", "", "c"], {"a": fc1, "c": mixed}, {"x": x, "r": router}, activation_type="identity"
    )
    matrices = [use.matrix()[0] for use in use_of(uses(both, tmp_path))]
    expected = [x[token] @ matrices[expert] @ matrices[experts + expert] for token, expert in enumerate(chosen)]
    np.testing.assert_allclose(run(both, {"x": x, "r": router})[0], expected, rtol=1e-4, atol=1e-4)
    assert moved(proto, x, np.eye(hidden)[0] - np.eye(hidden)[-1], r=router) < 1e-5
    assert moved(proto, x, np.eye(hidden)[1], r=router) > 1e-2


@pytest.mark.parametrize("group", [1, 2])
def test_deformed_patches(group: int, tmp_path: Path) -> None:
    """At offsets of zero a deformed convolution is a convolution; at others it has the same matrix and no operator."""
    x, w, offsets = weight(1, 4, 6, 6), weight(6, 4 // group, 3, 3), np.zeros((1, 18, 4, 4), np.float32)
    proto = node_model("DeformConv", ["x", "w", "o"], {"w": w}, {"x": x, "o": offsets}, domain="", opset=22, group=group)
    plain = node_model("Conv", ["x", "w"], {"w": w}, {"x": x}, domain="", group=group)
    use, convolution = (only_use(uses(each, tmp_path)) for each in (proto, plain))
    assert (use.activation, use.on_images, use.groups) == (None, False, group)
    computed = run(proto, {"x": x, "o": offsets})[0]
    np.testing.assert_allclose(convolution.linear_map(use.matrix(), x.shape).apply(x), computed, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("dilation", [1, 2])
def test_causal_convolution(last: int, dilation: int, tmp_path: Path) -> None:
    x = weight(2, 7, 2, 3) if last else weight(2, 6, 7)
    constants = {"w": weight(6, 1, 3)}
    attributes: dict[str, Any] = {"channels_last": last, "dilation": dilation}
    proto = node_model("CausalConvWithState", ["x", "w"], constants, {"x": x}, outputs=2, **attributes)
    assert check(proto, x, tmp_path).shape == (6, 3, 1)
    shown = node_model("CausalConvWithState", ["x", "w"], constants, {"x": x}, outputs=2, types=(1, 1), **attributes)
    assert only_use(uses(shown, tmp_path)).activation is None  # the state shows the input itself
    plain = node_model("CausalConvWithState", ["x", "w"], constants, {"x": weight(2, 6, 7)}, domain="", opset=27, outputs=2)
    assert only_use(uses(plain, tmp_path)).activation == 0


def test_packed_causal_convolution(tmp_path: Path) -> None:
    inputs = ["x", "w", "c", "", "s"]
    proto = node_model("VarlenCausalConvWithState", inputs, {"w": weight(6, 1, 3)}, {"x": (7, 6), "c": (3,), "s": (2, 6, 2)})
    use = only_use(uses(proto, tmp_path))
    assert (use.shape, use.activation) == ((6, 3, 1), None)


def test_convolution_of_words(tmp_path: Path) -> None:
    """tanh of the filters' products with each window of characters, then the maximum."""
    words = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.int32)
    table, w = weight(9, 3), weight(5, 1, 2, 3) / 4
    proto = node_model(
        "WordConvEmbedding", ["s", "w", "b", "t"], {"w": w, "b": np.zeros(5, np.float32), "t": table}, {"s": words}
    )
    use = only_use(uses(proto, tmp_path))
    assert use.shape == (1, 6, 5)
    windows = np.stack([table[words[:, i : i + 2]].reshape(2, -1) for i in range(3)], axis=1)
    np.testing.assert_allclose(np.tanh(windows @ use.matrix()[0]).max(axis=1), run(proto, {"s": words})[0], rtol=0, atol=1e-6)


def test_lstm_with_attention(tmp_path: Path) -> None:
    """A vector that W does not see, zero where the attention's state enters, changes nothing; another does."""
    size, hidden, attended = 12, 2, 5
    shapes = {"w": (1, 8, size + attended), "r": (1, 8, hidden), "q": (1, hidden, 4), "m": (1, 6, 4), "v": (1, 4)}
    constants = {name: weight(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}
    constants["a"] = weight(1, 6 + hidden, attended)
    x, memory = weight(3, 1, size), weight(1, 2, 6)
    inputs = ["x", "w", "r", "", "", "", "", "", "q", "m", "v", "memory", "", "a"]
    proto = node_model("AttnLSTM", inputs, constants, {"x": x, "memory": memory}, hidden_size=hidden)
    found = {use.constant.root.name: use for use in use_of(uses(proto, tmp_path)) if use.constant.root}
    assert {name: use.shape for name, use in found.items()} == {
        "w": (1, size + attended, 8),
        "r": (1, hidden, 8),
        "q": (1, hidden, 4),
        "m": (1, 6, 4),
        "a": (1, 6 + hidden, attended),
    }
    assert all(use.activation is None for use in found.values())
    own = found["w"].matrix()[0][:size]
    assert moved(proto, x, kernel_vector(own), memory=memory) < 1e-6
    assert moved(proto, x, own[:, 0] / np.linalg.norm(own[:, 0]), memory=memory) > 1e-2


@pytest.mark.parametrize("intercepts", [[0.0, 0.0, 0.0], None])
def test_linear_classifier(intercepts: list[float] | None, tmp_path: Path) -> None:
    x, rows = weight(5, 4), weight(3, 4, seed=1)
    attributes: dict[str, Any] = {"coefficients": rows.ravel().tolist(), "classlabels_ints": [0, 1, 2]}
    if intercepts is not None:
        attributes["intercepts"] = intercepts
    proto = node_model("LinearClassifier", ["x"], {}, {"x": x}, domain="ai.onnx.ml", outputs=2, types=(INT64, 1), **attributes)
    # onnxruntime counts the classes by their intercepts
    expected = x @ rows.T if intercepts is None else run(proto, {"x": x})[1]
    use = check(proto, x, tmp_path, expected)
    assert (use.shape, use.paper) == ((1, 4, 3), True)


def test_linear_classifier_of_two_classes_has_one_row(tmp_path: Path) -> None:
    x, rows = weight(5, 4), weight(1, 4, seed=1)
    attributes: dict[str, Any] = {"coefficients": rows.ravel().tolist(), "classlabels_ints": [0, 1], "intercepts": [0.0]}
    proto = node_model("LinearClassifier", ["x"], {}, {"x": x}, domain="ai.onnx.ml", outputs=2, types=(INT64, 1), **attributes)
    check(proto, x, tmp_path, run(proto, {"x": x})[1][:, 1:])


def test_linear_regressor(tmp_path: Path) -> None:
    x, rows = weight(5, 4), weight(2, 4, seed=1)
    coefficients = rows.ravel().tolist()
    proto = node_model("LinearRegressor", ["x"], {}, {"x": x}, domain="ai.onnx.ml", coefficients=coefficients, targets=2)
    use = check(proto, x, tmp_path)
    assert use.constant.root is not None
    assert use.constant.root.name == "LinearRegressor_0.coefficients"
    short = node_model("LinearRegressor", ["x"], {}, {"x": x[:, :3]}, domain="ai.onnx.ml", coefficients=coefficients, targets=2)
    assert only_refusal(uses(short, tmp_path)).code is Code.INVALID_MODEL


def test_support_vector_machines(tmp_path: Path) -> None:
    x, rows = weight(5, 4), weight(3, 4, seed=1)
    common: dict[str, Any] = {"domain": "ai.onnx.ml", "kernel_type": "LINEAR", "kernel_params": [0.0, 0.0, 0.0], "rho": [0.0]}
    classes: dict[str, Any] = {"classlabels_ints": [0, 1, 2], "outputs": 2, "types": (INT64, 1), **common}
    classifier = node_model("SVMClassifier", ["x"], {}, {"x": x}, coefficients=rows.ravel().tolist(), **classes)
    assert check(classifier, x, tmp_path, run(classifier, {"x": x})[1]).shape == (1, 4, 3)
    regressor = node_model("SVMRegressor", ["x"], {}, {"x": x}, coefficients=rows[0].tolist(), n_supports=0, **common)
    assert check(regressor, x, tmp_path).shape == (1, 4, 1)
    vectors: dict[str, Any] = {"support_vectors": rows.ravel().tolist(), "n_supports": 3, "coefficients": [1.0, 2.0, 3.0]}
    machine = node_model("SVMRegressor", ["x"], {}, {"x": x}, **vectors, **common)
    assert "support vectors" in only_refusal(uses(machine, tmp_path)).reason


def test_the_same_coefficients_in_two_nodes_are_two_weights(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("LinearRegressor", ["x"], [name], domain="ai.onnx.ml", coefficients=[1.0, 2.0, 3.0, 4.0], targets=2)
        for name in ("a", "b")
    ]
    proto = model(
        [*nodes, helper.make_node("Add", ["a", "b"], ["y"])],
        inputs=[value("x", [5, 2], TensorProto.FLOAT)],
        imports={"ai.onnx.ml": 1},
    )
    assert len({use.signature for use in use_of(uses(proto, tmp_path))}) == 2


def test_experts_that_hold_the_same_numbers_are_apart(tmp_path: Path) -> None:
    constants = {"a": np.ones((2, 4, 4), np.float32), "c": np.ones((2, 4, 4), np.float32)}
    proto = node_model("MoE", ["x", "r", "a", "", "c"], constants, {"x": (5, 4), "r": (5, 2)})
    report = analysed(proto, tmp_path)
    assert [weight.name for weight in report.weights] == [f"{name} [expert {i}]" for name in "ac" for i in (0, 1)]
    assert report.paper.weights == 4


MALFORMED: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("FusedConv", {"w": weight(4, 3, 2, 2)}, {"x": (1, 3, 6)}, {}),
    ("FusedConv", {"w": weight(4, 3, 2, 2)}, {"x": (1, 3, 6, 6)}, {"strides": [1]}),
    ("NhwcConv", {"w": weight(4, 2, 2, 3)}, {"x": (1, 3, 6, 6)}, {}),
    ("CausalConvWithState", {"w": weight(4, 1, 3)}, {"x": (1, 4)}, {}),
    ("ConvTransposeWithDynamicPads", {"w": weight(4, 3, 2, 2), "p": np.zeros(4, np.int64)}, {"x": (1, 4, 6)}, {}),
]


@pytest.mark.parametrize(("op", "constants", "fed", "attributes"), MALFORMED)
def test_what_does_not_fit_is_listed_in_a_line(op: str, constants: Any, fed: Any, attributes: Any, tmp_path: Path) -> None:
    outputs = 2 if op == "CausalConvWithState" else 1
    proto = node_model(op, ["x", *constants], constants, fed, outputs=outputs, **attributes)
    (found,) = analysed(proto, tmp_path).unsupported
    assert found.code is Code.INVALID_MODEL
    assert found.reason.startswith(f"weight 'w' does not fit what it reads: '{op}_0' (com.microsoft.{op}): ")


@pytest.mark.parametrize(
    ("op", "shape", "fed", "attributes"),
    [
        ("FusedConv", (4, 3, 2, 2), (1, 3, 6, 6), {"pads": [1 << 40, 0, 0, 0]}),
        ("CausalConvWithState", (4, 1, 3), (1, 4, 6), {"dilation": 1 << 40}),
    ],
)
def test_an_image_that_is_too_large_leaves_the_weight(
    op: str, shape: tuple[int, ...], fed: tuple[int, ...], attributes: Any, tmp_path: Path
) -> None:
    outputs = 2 if op == "CausalConvWithState" else 1
    report = analysed(node_model(op, ["x", "w"], {"w": weight(*shape)}, {"x": fed}, outputs=outputs, **attributes), tmp_path)
    (found,) = report.weights
    assert not report.unsupported
    assert found.nodes[0].operator is None


@pytest.mark.parametrize("alpha", [np.nan, np.inf])
def test_a_factor_that_is_no_number(alpha: float, tmp_path: Path) -> None:
    proto = node_model("FusedMatMul", ["x", "w"], {"w": weight(4, 5)}, {"x": (3, 4)}, alpha=alpha)
    report = analysed(proto, tmp_path)
    assert [found.code for found in report.unsupported] == [Code.NONFINITE]
    assert report.frontier[0].reason == "a weight that reads it was not analysed"
