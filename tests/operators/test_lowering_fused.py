"""Lowerings of fused products and of attention, against onnxruntime's float32 kernels, or NumPy where the CPU has none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxnull.errors import Code, OnnxnullError
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.session import Runner
from tests.helpers import weight
from tests.operators.test_lowering import check, one_node

MICROSOFT = "com.microsoft"


@pytest.mark.parametrize("flips", [(0, 0, 0, 0), (1, 1, 0, 0), (0, 0, 1, 1), (1, 1, 1, 1), (0, 1, 1, 0)])
def test_fused_matmul(flips: tuple[int, int, int, int]) -> None:
    a, b = [2, 3, 4], [2, 4, 5]
    for shape, flip, batch in ((a, *flips[::2]), (b, *flips[1::2])):
        shape[1:] = shape[:0:-1] if flip else shape[1:]
        shape[:2] = shape[1::-1] if batch else shape[:2]
    attributes: dict[str, Any] = dict(zip(("transA", "transB", "transBatchA", "transBatchB"), flips, strict=True))
    proto = one_node("FusedMatMul", ["x", "w"], {"w": weight(*b)}, domain=MICROSOFT, ranks={"x": 3}, alpha=-0.5, **attributes)
    x = weight(*a)
    got = check(proto, {"x": x}, lowered=bool(Runner(proto, Precision.FLOAT64).lowered))
    assert np.isfinite(got["y0"]).all()


@pytest.mark.parametrize(
    ("name", "alpha", "beta"),
    [("Relu", None, None), ("Tanh", None, None), ("LeakyRelu", 0.3, None), ("HardSigmoid", 0.3, 0.4), ("Sigmoid", None, None)],
)
def test_fused_gemm(name: str, alpha: float | None, beta: float | None) -> None:
    given = {"activation_alpha": alpha, "activation_beta": beta}
    attributes: dict[str, Any] = {key: number for key, number in given.items() if number is not None}
    constants = {"w": weight(5, 4), "b": weight(5)}
    proto = one_node(
        "FusedGemm", ["x", "w", "b"], constants, domain=MICROSOFT, activation=name, transB=1, alpha=0.5, beta=2.0, **attributes
    )
    check(proto, {"x": weight(3, 4)})


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("Relu", []), ("LeakyRelu", [0.3]), ("Clip", [-0.5, 0.7]), ("HardSigmoid", [0.3, 0.4])],
)
@pytest.mark.parametrize("residual", [False, True])
def test_fused_conv(name: str, parameters: list[float], residual: bool) -> None:
    attributes: dict[str, Any] = {"activation_params": parameters} if parameters else {}
    constants = {"w": weight(6, 2, 3, 3), "b": weight(6)} | ({"z": weight(1, 6, 5, 5)} if residual else {})
    proto = one_node(
        "FusedConv", ["x", *constants], constants, domain=MICROSOFT, activation=name, group=2, pads=[1] * 4, **attributes
    )
    check(proto, {"x": weight(1, 4, 5, 5)})


def test_transposed_convolution_with_pads_as_input() -> None:
    constants = {"w": weight(4, 3, 3, 2), "p": np.array([1, 0, 2, 1]), "b": weight(3)}
    proto = one_node("ConvTransposeWithDynamicPads", ["x", *constants], constants, domain=MICROSOFT, strides=[2, 1])
    check(proto, {"x": weight(2, 4, 5, 6)})


def test_operators_without_a_cpu_kernel_run_in_double() -> None:
    x, w, b = weight(3, 4), weight(4, 5), weight(5)
    proto = one_node("GemmFastGelu", ["x", "w", "b"], {"w": w, "b": b}, domain=MICROSOFT)
    v = x.astype(np.float64) @ w + b
    expected = v / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (v + 0.044715 * v**3)))
    np.testing.assert_allclose(Runner(proto, Precision.FLOAT64).run({"x": x})["y0"], expected, rtol=1e-12)
    image, filters = weight(2, 4, 6, 7), weight(6, 2, 3, 2)
    attributes: dict[str, Any] = {"group": 2, "strides": [2, 1], "pads": [1, 0, 0, 1]}
    conv = Runner(one_node("Conv", ["x", "w"], {"w": filters}, **attributes), Precision.FLOAT64).run({"x": image})["y0"]
    last = np.ascontiguousarray(image.transpose(0, 2, 3, 1))
    for op, stored in (("NhwcConv", filters.transpose(0, 2, 3, 1)), ("NhwcFusedConv", filters)):
        proto = one_node(op, ["x", "w"], {"w": np.ascontiguousarray(stored)}, domain=MICROSOFT, ranks={"x": 4}, **attributes)
        np.testing.assert_array_equal(Runner(proto, Precision.FLOAT64).run({"x": last})["y0"], conv.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("unidirectional", [0, 1])
@pytest.mark.parametrize("mask", [None, (2, 5), (2, 5, 5)])
def test_attention(unidirectional: int, mask: tuple[int, ...] | None) -> None:
    constants: dict[str, Any] = {"w": weight(8, 20), "b": weight(20)}
    inputs = ["x", "w", "b"]
    if mask is not None:
        constants["m"] = (np.random.default_rng(0).random(mask) < 0.7).astype(np.int32)
        inputs.append("m")
    attributes: dict[str, Any] = {"num_heads": 2, "qkv_hidden_sizes": [8, 8, 4], "unidirectional": unidirectional}
    check(one_node("Attention", inputs, constants, domain=MICROSOFT, **attributes), {"x": weight(2, 5, 8)})


def test_attention_with_a_bias_of_its_scores() -> None:
    constants = {"w": weight(8, 24), "b": weight(24), "a": weight(1, 2, 5, 5)}
    inputs = ["x", "w", "b", "", "", "a"]
    check(one_node("Attention", inputs, constants, domain=MICROSOFT, num_heads=2, scale=0.3), {"x": weight(2, 5, 8)})


@pytest.mark.parametrize("biased", [False, True])
def test_multi_head_attention(biased: bool) -> None:
    inputs = ["x", "k", "v", *(["b"] if biased else [""]), "m"]
    constants: dict[str, Any] = {"k": weight(2, 4, 8, seed=1), "v": weight(2, 4, 6, seed=2), "x": weight(2, 5, 8)}
    constants |= {"b": weight(22)} if biased else {}
    constants["m"] = np.array([[1, 1, 0, 1], [1, 0, 1, 1]], np.int32)
    fed = constants.pop("v")
    proto = one_node("MultiHeadAttention", inputs, constants, domain=MICROSOFT, num_heads=2, ranks={"v": 3})
    if biased:  # the sizes must be known
        proto.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 6
    check(proto, {"v": fed})


@pytest.mark.parametrize("op", ["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"])
def test_normalization_of_a_sum(op: str) -> None:
    constants = {"s": weight(2, 3, 8, seed=1), "g": weight(8), "b": weight(8, seed=2), "c": weight(8, seed=3)}
    inputs = ["x", "s", "g", "b", "c"] if op == "SkipLayerNormalization" else ["x", "s", "g", "b"]
    stored = {name: constants[name] for name in inputs[1:]}
    proto = one_node(op, inputs, stored, domain=MICROSOFT, epsilon=1e-5)
    check(proto, {"x": weight(2, 3, 8)}, lowered=bool(Runner(proto, Precision.FLOAT64).lowered))
    shown = one_node(op, inputs, stored, outputs=4, domain=MICROSOFT, epsilon=1e-5)
    shown.graph.node[0].output[1] = shown.graph.node[0].output[2] = ""
    del shown.graph.output[1:3]
    check(shown, {"x": weight(2, 3, 8)}, lowered=bool(Runner(shown, Precision.FLOAT64).lowered))


def test_linear_regressor() -> None:
    coefficients = [float(number) for number in weight(8)]
    proto = one_node(
        "LinearRegressor",
        ["x"],
        {},
        domain="ai.onnx.ml",
        targets=2,
        coefficients=coefficients,
        intercepts=[1.0, 2.0],
        ranks={"x": 2},
    )
    check(proto, {"x": weight(3, 4)})


def test_what_attention_cannot_be_lowered_says_which_case() -> None:
    constants: dict[str, Any] = {"w": weight(8, 24), "b": weight(24), "m": np.array([3, 4], np.int32)}
    proto = one_node("Attention", ["x", "w", "b", "m"], constants, domain=MICROSOFT, num_heads=2)
    with pytest.raises(OnnxnullError, match="a mask of 1 axes") as caught:
        Runner(proto, Precision.FLOAT64)
    assert caught.value.code is Code.NO_DOUBLE_KERNEL
