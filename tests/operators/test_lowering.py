"""Every lowering to double against onnxruntime's own float32 operator, and in float64 against NumPy where that is easy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from onnxnull.errors import OnnxnullError
from onnxnull.operators.lowering import lowering_of
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.session import Runner

Arrays = dict[str, NDArray[Any]]


def one_node(
    op_type: str,
    inputs: list[str],
    constants: Mapping[str, NDArray[Any]],
    *,
    outputs: int = 1,
    opset: int = 17,
    domain: str = "",
    ranks: Mapping[str, int] | None = None,
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one node; inputs that are no constants are float32 inputs of the model with open dimensions."""
    fed = [name for name in inputs if name and name not in constants]
    dims = {name: [None] * (ranks or {}).get(name, 0) for name in fed}
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, dims[n] if n in (ranks or {}) else None) for n in fed]
    names = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op_type, inputs, names, domain=domain, **attributes)
    stored = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph([node], "one", values, [onnx.ValueInfoProto(name=n) for n in names], stored)
    imports = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def check(proto: onnx.ModelProto, feeds: Arrays, *, tolerance: float = 2e-5, lowered: bool = True) -> Arrays:
    """Float32 and the twin agree; the twin's outputs."""
    twin = Runner(proto, Precision.FLOAT64)
    assert bool(twin.lowered) == lowered
    expected = Runner(proto, Precision.FLOAT32).run(feeds)
    got = twin.run(feeds)
    for name, array in expected.items():
        assert got[name].dtype == np.float64
        assert got[name].shape == array.shape
        scale = np.max(np.abs(array), initial=1e-3)
        np.testing.assert_allclose(got[name], array, rtol=0, atol=tolerance * scale)
    return got


def random(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return rng.standard_normal(shape).astype(np.float32)


def padding(rng: np.random.Generator, axes: int, largest: int) -> dict[str, Any]:
    kind = rng.integers(4)
    if kind == 0:
        return {"auto_pad": str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"]))}
    if kind == 1:
        return {}
    return {"pads": [int(p) for p in rng.integers(0, largest + 1, 2 * axes)]}


@pytest.mark.parametrize("seed", range(60))
def test_convolutions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    axes = 1 + seed % 3
    group = int(rng.choice([1, 1, 2, 3]))
    kernel = [int(k) for k in rng.integers(1, 4, axes)]
    channels, filters = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    attributes: dict[str, Any] = {"group": group, **padding(rng, axes, 2)}
    if seed % 5:
        attributes["strides"] = [int(s) for s in rng.integers(1, 4, axes)]
    if seed % 4 and "auto_pad" not in attributes:
        attributes["dilations"] = [int(d) for d in rng.integers(1, 3, axes)]
    constants = {"w": random(rng, group * filters, channels, *kernel)}
    if seed % 2:
        constants["b"] = random(rng, group * filters)
    shape = (int(rng.integers(1, 4)), group * channels, *(int(n) for n in rng.integers(7, 12, axes)))
    check(one_node("Conv", ["x", *constants], constants, **attributes), {"x": random(rng, *shape)})


@pytest.mark.parametrize("seed", range(60))
def test_transposed_convolutions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    axes = 1 + seed % 3
    group = int(rng.choice([1, 1, 2, 3]))
    kernel = [int(k) for k in rng.integers(1, 5, axes)]
    strides = [int(s) for s in rng.integers(1, 4, axes)]
    channels, filters = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    size = [int(n) for n in rng.integers(3, 7, axes)]
    attributes: dict[str, Any] = {"group": group, "strides": strides}
    dilations = [1] * axes
    if seed % 4 == 0:
        dilations = attributes["dilations"] = [int(d) for d in rng.integers(1, 3, axes)]
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    kind = int(rng.integers(4))
    if kind == 0:
        attributes["pads"] = [int(rng.integers(0, e)) for e in extents * 2]
    elif kind == 1:
        attributes["auto_pad"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    elif kind == 2:
        attributes["output_shape"] = [s * (n - 1) + e for s, n, e in zip(strides, size, extents, strict=True)]
        attributes["output_shape"] = [max(1, n - int(rng.integers(0, 3))) for n in attributes["output_shape"]]
        attributes["auto_pad"] = str(rng.choice(["NOTSET", "SAME_UPPER", "SAME_LOWER"]))
    if kind in (0, 3) and seed % 2:
        attributes["output_padding"] = [int(rng.integers(0, s)) for s in strides]
    constants = {"w": random(rng, group * channels, filters, *kernel)}
    if seed % 3:
        constants["b"] = random(rng, group * filters)
    x = random(rng, int(rng.integers(1, 4)), group * channels, *size)
    proto = one_node("ConvTranspose", ["x", *constants], constants, **attributes)
    try:
        Runner(proto, Precision.FLOAT32).run({"x": x})
    except OnnxnullError:
        pytest.skip("onnxruntime does not accept these attributes")
    check(proto, {"x": x})


def test_convolution_by_computed_filters() -> None:
    """The filters come out of the network."""
    rng = np.random.default_rng(0)
    x, w = random(rng, 2, 4, 6, 7), random(rng, 6, 2, 3, 3)
    doubled = helper.make_node("Add", ["w", "w"], ["v"])
    proto = one_node("Conv", ["x", "v"], {"w": w}, group=2, pads=[1, 1, 1, 1])
    del proto.graph.input[1:]
    proto.graph.node.insert(0, doubled)
    check(proto, {"x": x})


def test_convolution_in_double_is_double() -> None:
    rng = np.random.default_rng(1)
    x, w = random(rng, 2, 3, 9, 8), random(rng, 4, 3, 3, 3)
    got = Runner(one_node("Conv", ["x", "w"], {"w": w}), Precision.FLOAT64).run({"x": x})["y0"]
    patches = np.lib.stride_tricks.sliding_window_view(x.astype(float), (3, 3), axis=(2, 3))
    expected = np.einsum("nchwij,mcij->nmhw", patches, w.astype(float))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("seed", range(80))
def test_pools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    axes = 1 + seed % 3
    kernel = [int(k) for k in rng.integers(2, 5, axes)]
    attributes: dict[str, Any] = {"kernel_shape": kernel, **padding(rng, axes, 1)}
    attributes["strides"] = [int(s) for s in rng.integers(1, 4, axes)]
    op_type, opset = ("LpPool", 18) if seed % 8 == 7 else ("AveragePool", 19)
    if op_type == "AveragePool":
        attributes["count_include_pad"] = int(rng.integers(2))
    if "auto_pad" not in attributes and op_type == "AveragePool":
        attributes["ceil_mode"] = int(rng.integers(2))
        if seed % 4 == 0:
            attributes["dilations"] = [int(d) for d in rng.integers(1, 3, axes)]
    x = random(rng, int(rng.integers(1, 3)), 3, *(int(n) for n in rng.integers(8, 13, axes)))
    check(one_node(op_type, ["x"], {}, opset=opset, ranks={"x": 2 + axes}, **attributes), {"x": x})


@pytest.mark.parametrize("op_type", ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
@pytest.mark.parametrize("shape", [(2, 3, 5), (1, 2, 4, 3), (2, 2, 3, 2, 4)])
def test_global_pools(op_type: str, shape: tuple[int, ...]) -> None:
    check(one_node(op_type, ["x"], {}), {"x": random(np.random.default_rng(0), *shape)})


ACTIVATIONS: list[tuple[str, int, str, dict[str, Any]]] = [
    ("Erf", 13, "", {}),
    ("Gelu", 20, "", {}),
    ("Gelu", 20, "", {"approximate": "tanh"}),
    ("Gelu", 17, "com.microsoft", {}),
    ("QuickGelu", 17, "com.microsoft", {"alpha": 1.5}),
    ("FastGelu", 17, "com.microsoft", {}),
    ("LeakyRelu", 13, "", {}),
    ("LeakyRelu", 13, "", {"alpha": 0.3}),
    ("Elu", 13, "", {"alpha": 0.7}),
    ("Celu", 12, "", {"alpha": 0.7}),
    ("Selu", 13, "", {}),
    ("Selu", 13, "", {"alpha": 1.5, "gamma": 1.2}),
    ("HardSigmoid", 13, "", {}),
    ("HardSigmoid", 13, "", {"alpha": 0.3, "beta": 0.4}),
    ("HardSwish", 14, "", {}),
    ("Softplus", 13, "", {}),
    ("Mish", 18, "", {}),
    ("Softsign", 13, "", {}),
    ("ThresholdedRelu", 13, "", {"alpha": 0.5}),
    ("Sinh", 13, "", {}),
    ("Cosh", 13, "", {}),
    ("Tan", 13, "", {}),
    ("Asinh", 13, "", {}),
    ("Atan", 13, "", {}),
]


@pytest.mark.parametrize(("op_type", "opset", "domain", "attributes"), ACTIVATIONS)
def test_activations(op_type: str, opset: int, domain: str, attributes: dict[str, Any]) -> None:
    x = np.concatenate([np.linspace(-8, 8, 301), [0.0, -0.0, 1e-20]]).astype(np.float32)
    check(
        one_node(op_type, ["x"], {}, opset=opset, domain=domain, **attributes),
        {"x": x},
        lowered=op_type != "Celu" or opset < 12 or True,
    )


DOUBLES: list[tuple[str, int, dict[str, Any], Callable[[Any], Any]]] = [
    ("Asin", 13, {}, np.arcsin),
    ("Acos", 13, {}, np.arccos),
    ("Atan", 13, {}, np.arctan),
    ("Asinh", 13, {}, np.arcsinh),
    ("Atanh", 13, {}, np.arctanh),
    ("Acosh", 13, {}, lambda x: np.arccosh(x)),
    ("Sigmoid", 13, {}, lambda x: 1 / (1 + np.exp(-x))),
    ("Tanh", 13, {}, np.tanh),
    ("Softplus", 13, {}, lambda x: np.log1p(np.exp(x))),
    ("Mish", 18, {}, lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    ("Gelu", 20, {}, lambda x: x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))),
    ("Gelu", 20, {"approximate": "tanh"}, lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
    ("HardSwish", 14, {}, lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    ("Softsign", 13, {}, lambda x: x / (1 + np.abs(x))),
    ("Softmax", 13, {}, lambda x: np.exp(x) / np.exp(x).sum()),
]


@pytest.mark.parametrize(("op_type", "opset", "attributes", "function"), DOUBLES)
def test_double_is_double(op_type: str, opset: int, attributes: dict[str, Any], function: Callable[[Any], Any]) -> None:
    """Lowered or not, against NumPy to 1e-14: a kernel that computes in float32 underneath would show."""
    x = np.linspace(1, 50, 301) if op_type == "Acosh" else np.linspace(-0.999, 0.999, 301)
    if op_type not in ("Asin", "Acos", "Atanh", "Acosh"):
        x *= 9
    proto = one_node(op_type, ["x"], {}, opset=opset, ranks={"x": 1}, **attributes)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    got = Runner(proto, Precision.FLOAT64).run({"x": x})["y0"]
    np.testing.assert_allclose(got, function(x), rtol=0, atol=1e-14)


def test_layer_and_batch_normalization_are_double() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 4, 50))
    s = {"s": rng.standard_normal(50), "b": rng.standard_normal(50)}
    proto = one_node("LayerNormalization", ["x", "s", "b"], s, ranks={"x": 3}, epsilon=0.25)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    expected = (x - x.mean(2, keepdims=True)) / np.sqrt(x.var(2, keepdims=True) + 0.25) * s["s"] + s["b"]
    np.testing.assert_allclose(Runner(proto, Precision.FLOAT64).run({"x": x})["y0"], expected, rtol=0, atol=1e-13)
    t = {n: rng.random(4) + 0.5 for n in "sbmv"}
    proto = one_node("BatchNormalization", ["x", *t], t, ranks={"x": 3}, epsilon=0.25)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    c = {n: a.reshape(4, 1) for n, a in t.items()}
    expected = (x - c["m"]) / np.sqrt(c["v"] + 0.25) * c["s"] + c["b"]
    np.testing.assert_allclose(Runner(proto, Precision.FLOAT64).run({"x": x})["y0"], expected, rtol=0, atol=1e-13)


def test_choices() -> None:
    """NonZero, OneHot and Hardmax."""
    x = np.array([[0, 1, 3, 3], [-2, 0, 0, -3]], dtype=np.float32)
    twin = Runner(one_node("NonZero", ["x"], {}, ranks={"x": 2}), Precision.FLOAT64)
    np.testing.assert_array_equal(twin.run({"x": x})["y0"], np.stack(np.nonzero(x)))
    constants: Arrays = {"n": np.array([4], dtype=np.float32), "v": np.array([0.5, 2], dtype=np.float32)}
    check(one_node("OneHot", ["x", "n", "v"], constants, ranks={"x": 2}, axis=1), {"x": x})
    for axis in (0, -1):
        check(one_node("Hardmax", ["x"], {}, ranks={"x": 2}, axis=axis), {"x": x})


def test_prelu_and_clip_and_mean() -> None:
    rng = np.random.default_rng(0)
    x = random(rng, 2, 3, 4)
    check(one_node("PRelu", ["x", "s"], {"s": random(rng, 3, 1)}, opset=13), {"x": x})
    check(one_node("Clip", ["x"], {}, opset=8, min=-0.5, max=0.7), {"x": x}, lowered=False)
    check(one_node("Mean", ["x", "z"], {"z": random(rng, 4)}, opset=13), {"x": x})
    check(one_node("BiasGelu", ["x", "b"], {"b": random(rng, 4)}, domain="com.microsoft"), {"x": x})


def test_erf_has_full_double_accuracy() -> None:
    x = np.concatenate([np.linspace(-7, 7, 40001), [1.0, -1.0, 6.0, 1e-300, 0.0, 50.0, -50.0]])
    proto = one_node("Erf", ["x"], {}, opset=13)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    got = Runner(proto, Precision.FLOAT64).run({"x": x})["y0"]
    error = np.abs(got - np.array([math.erf(v) for v in x]))
    assert error.max() <= 2e-16
    assert np.isnan(Runner(proto, Precision.FLOAT64).run({"x": np.array([np.nan])})["y0"][0])


@pytest.mark.parametrize("shape", [(2, 5, 4), (2, 6, 3, 4)])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_lrn(shape: tuple[int, ...], size: int) -> None:
    if len(shape) == 3 or size % 2 == 0:
        x = random(np.random.default_rng(0), *shape, *(() if len(shape) == 4 else (2,)))
    else:
        x = random(np.random.default_rng(0), *shape)
    proto = one_node("LRN", ["x"], {}, size=size, alpha=0.1, beta=0.6, bias=1.5, ranks={"x": x.ndim})
    if size % 2 == 0:
        got = Runner(proto, Precision.FLOAT64).run({"x": x})["y0"]
        np.testing.assert_allclose(got, lrn(x.astype(float), size), rtol=1e-7)
    else:
        check(proto, {"x": x})


def lrn(x: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    result = np.empty_like(x)
    for c in range(x.shape[1]):
        window = slice(max(0, c - (size - 1) // 2), min(x.shape[1], c + math.ceil((size - 1) / 2) + 1))
        result[:, c] = x[:, c] / (1.5 + 0.1 / size * (x[:, window] ** 2).sum(axis=1)) ** 0.6
    return result


def test_normalizations() -> None:
    rng = np.random.default_rng(0)
    for shape in ((2, 4, 5), (2, 4, 3, 5), (1, 4, 2, 3, 2)):
        x = random(rng, *shape)
        constants = {"s": random(rng, 4), "b": random(rng, 4)}
        check(one_node("InstanceNormalization", ["x", "s", "b"], constants, epsilon=1e-3), {"x": x})
        for opset, size in ((18, 2), (21, 4)):
            constants = {"s": random(rng, size), "b": random(rng, size)}
            proto = one_node("GroupNormalization", ["x", "s", "b"], constants, opset=opset, num_groups=2, ranks={"x": x.ndim})
            twin = Runner(proto, Precision.FLOAT64)
            grouped = x.astype(float).reshape(shape[0], 2, -1)
            normal = (grouped - grouped.mean(2, keepdims=True)) / np.sqrt(grouped.var(2, keepdims=True) + 1e-5)
            s, b = (np.repeat(constants[n], 4 // size).reshape(4, *(1,) * (x.ndim - 2)) for n in "sb")
            np.testing.assert_allclose(twin.run({"x": x})["y0"], normal.reshape(shape) * s + b, rtol=0, atol=1e-6)
    x = random(rng, 2, 4, 3, 5)
    check(one_node("MeanVarianceNormalization", ["x"], {}, opset=13), {"x": x})


MODES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn", "half_pixel_symmetric"]
NEAREST = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


def resize(opset: int, constants: Arrays, **attributes: Any) -> onnx.ModelProto:
    inputs = ["x", "", "scales"] if "scales" in constants else ["x", "", "", "sizes"]
    return one_node("Resize", inputs, constants, opset=opset, ranks={"x": 4}, **attributes)


@pytest.mark.parametrize("coordinates", MODES)
@pytest.mark.parametrize("by", ["scales", "sizes"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize(mode: str, by: str, coordinates: str) -> None:
    if coordinates == "tf_half_pixel_for_nn" and mode != "nearest":
        pytest.skip("for nearest only")
    if coordinates == "half_pixel_symmetric" and mode == "nearest":
        pytest.skip("not lowered")
    rng = np.random.default_rng(0)
    x = random(rng, 2, 3, 6, 5)
    opset = 19 if coordinates == "half_pixel_symmetric" else 13
    for target in ((12, 10), (9, 11), (4, 3), (1, 8)):
        ratio = np.array([1, 1, (target[0] + 0.2) / 6, (target[1] + 0.2) / 5], dtype=np.float32)
        constants: Arrays = {"scales": ratio} if by == "scales" else {"sizes": np.array([2, 3, *target])}
        for variant in range(4 if mode == "nearest" else 2 if mode == "cubic" else 1):
            extra: dict[str, Any] = {"nearest_mode": NEAREST[variant]} if mode == "nearest" else {}
            if mode == "cubic":
                extra = {"cubic_coeff_a": -0.5, "exclude_outside": variant}
            proto = resize(opset, constants, mode=mode, coordinate_transformation_mode=coordinates, **extra)
            check(proto, {"x": x})


COPIES: list[tuple[tuple[int, ...], list[float], bool]] = [
    ((1, 1, 2, 2), [1, 1, 1.3, 1], True),  # ⌊2·1.3⌋ = 2: onnxruntime copies, whatever the scale
    ((1, 1, 2, 2), [1, 1, 1.49, 1.49], True),
    ((1, 1, 3, 5), [1, 1, 1.3, 1.19], True),
    ((1, 1, 1, 4), [1, 1, 1.99, 1.2], True),
    ((1, 1, 2, 2), [1, 1, 1.3, 2], False),  # one length that changes, and both axes are interpolated
    ((1, 1, 2, 2), [1, 1, 1.3, 1.5], False),
    ((1, 1, 2, 10), [1, 1, 1.3, 1.0999999], True),
    ((1, 1, 2, 10), [1, 1, 1.3, 1.1], False),  # 10·1.1 is 11 in float32
    ((1, 1, 3, 3), [1, 1, 0.99, 1.2], False),
]


@pytest.mark.parametrize(("shape", "scales", "same"), COPIES)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("known", [True, False])
def test_resize_copies_where_no_length_changes(
    mode: str, known: bool, shape: tuple[int, ...], scales: list[float], same: bool
) -> None:
    x = random(np.random.default_rng(0), *shape)
    for opset, coordinates in ((13, "half_pixel"), (13, "asymmetric"), (18, "pytorch_half_pixel"), (19, "align_corners")):
        constants = {"scales": np.array(scales, np.float32)}
        proto = resize(opset, constants, mode=mode, coordinate_transformation_mode=coordinates)
        if known:
            proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, shape))
        assert (check(proto, {"x": x})["y0"].shape == shape) is same


@pytest.mark.parametrize(("opset", "op_type"), [(10, "Resize"), (9, "Upsample"), (7, "Upsample")])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_old_resize_copies_too(opset: int, op_type: str, mode: str) -> None:
    scales = np.array([1, 1, 1.3, 1.4], np.float32)
    extra = {"scales": scales.tolist()} if opset == 7 else {}
    constants: Arrays = {} if opset == 7 else {"s": scales}
    proto = one_node(op_type, ["x", *constants], constants, opset=opset, ranks={"x": 4}, mode=mode, **extra)
    check(proto, {"x": random(np.random.default_rng(0), 1, 2, 2, 2)})


@pytest.mark.parametrize("rounding", NEAREST)
@pytest.mark.parametrize("coordinates", MODES[:5])
@pytest.mark.parametrize("steps", [-20, -8, -2, -1, 0, 1, 2, 8, 20])
def test_which_neighbour_is_nearest_close_to_the_middle(coordinates: str, rounding: str, steps: int) -> None:
    """onnxruntime takes what is less than 1e-6 from the middle for the middle."""
    x = random(np.random.default_rng(0), 1, 1, 8, 16)
    for base in (1.25, 1.5, 2.0, 2 / 3):
        scale = np.float32(base) + np.float32(steps) * np.spacing(np.float32(base))
        constants = {"scales": np.array([1, 1, 2, scale], np.float32)}
        check(
            resize(13, constants, mode="nearest", nearest_mode=rounding, coordinate_transformation_mode=coordinates), {"x": x}
        )


def test_resize_interpolates_the_first_axis_of_three() -> None:
    x = random(np.random.default_rng(0), 2, 3, 4)
    proto = one_node(
        "Resize", ["x", "", "scales"], {"scales": np.array([2, 1, 1.5], np.float32)}, ranks={"x": 3}, mode="linear"
    )
    check(proto, {"x": x})


def test_resize_where_sizes_are_computed() -> None:
    x = random(np.random.default_rng(0), 2, 3, 4, 5)
    for mode in ("nearest", "linear"):
        proto = one_node("Resize", ["x", "", "", "sizes"], {"two": np.array([1, 1, 2, 3])}, ranks={"x": 4}, mode=mode)
        del proto.graph.input[1:]
        proto.graph.node.insert(0, helper.make_node("Shape", ["x"], ["shape"]))
        proto.graph.node.insert(1, helper.make_node("Mul", ["shape", "two"], ["sizes"]))
        check(proto, {"x": x})


@pytest.mark.parametrize(("opset", "op_type"), [(10, "Resize"), (9, "Upsample"), (7, "Upsample")])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scale", [2.0, 1.6, 0.5, 0.6])
def test_upsample_of_old_opsets(opset: int, op_type: str, mode: str, scale: float) -> None:
    if opset < 10 and scale < 1:
        pytest.skip("Upsample does not shrink")
    x = random(np.random.default_rng(0), 1, 2, 10, 15)
    scales = np.array([1, 1, scale, scale], dtype=np.float32)
    if opset == 7:
        proto = one_node(op_type, ["x"], {}, opset=7, mode=mode, scales=scales.tolist(), ranks={"x": 4})
    else:
        proto = one_node(op_type, ["x", "s"], {"s": scales}, opset=opset, mode=mode, ranks={"x": 4})
    check(proto, {"x": x})


GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op_type", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("variant", range(6))
def test_recurrent(op_type: str, direction: str, variant: int) -> None:
    rng = np.random.default_rng(variant)
    times, batch, size, hidden = 5, 3, 4, 2
    directions, gates = 2 if direction == "bidirectional" else 1, GATES[op_type]
    constants: Arrays = {
        "w": random(rng, directions, gates * hidden, size),
        "r": random(rng, directions, gates * hidden, hidden),
    }
    inputs = ["x", "w", "r"]
    attributes: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
    if variant >= 1:
        constants["b"] = random(rng, directions, 2 * gates * hidden)
        inputs.append("b")
    if variant >= 2:
        constants["n"] = np.array([5, 2, 4], dtype=np.int32)
        constants["h"] = random(rng, directions, batch, hidden)
        inputs += ["n", "h"]
        if op_type == "LSTM":
            constants["c"] = random(rng, directions, batch, hidden)
            inputs.append("c")
    if variant >= 3 and op_type == "LSTM":
        constants["p"] = random(rng, directions, 3 * hidden)
        inputs.append("p")
    if variant == 4:
        attributes["clip"] = 0.5
    if variant >= 4 and op_type == "GRU":
        attributes["linear_before_reset"] = 1
    if variant == 5:
        names = {"RNN": ["Relu"], "GRU": ["Sigmoid", "Softsign"], "LSTM": ["Sigmoid", "Tanh", "Relu"]}[op_type]
        attributes["activations"] = names * directions
    outputs = 3 if op_type == "LSTM" else 2
    proto = one_node(op_type, inputs, constants, outputs=outputs, **attributes)
    check(proto, {"x": random(rng, times, batch, size)})


def test_the_registry_lists_what_it_finds() -> None:
    assert lowering_of("Conv") is not None
    assert lowering_of("NoSuchOperator") is None
