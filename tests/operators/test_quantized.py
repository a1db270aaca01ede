"""Quantized weights: patches times the dequantized matrix is what onnxruntime's own integer kernels compute, node by node."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from onnxnull.errors import Code
from onnxnull.graph.constants import Constant
from onnxnull.graph.flow import Flow
from onnxnull.graph.model import open_model
from onnxnull.graph.node import Node
from onnxnull.graph.quantization import Quantized, quantized_from
from onnxnull.operators import LinearUse
from tests.helpers import all_uses, model, only_refusal, only_use, run, shared_model, uses, value, weight

node = helper.make_node
MICROSOFT = {"com.microsoft": 1}


def codes(shape: tuple[int, ...], dtype: type = np.int8, seed: int = 0) -> NDArray[Any]:
    """Random codes over the whole range of the type."""
    bounds = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(bounds.min, bounds.max + 1, shape).astype(dtype)


def scales(*shape: int, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(0.01, 0.1, shape).astype(np.float32)


# --- every quantized node of the real models --------------------------------------------------------------------------


def alone(view: Node, shape: tuple[int, ...]) -> tuple[onnx.ModelProto, dict[str, NDArray[Any]]]:
    """The node with its own constants on a small random activation; what the network computed besides is a constant here."""
    rng = np.random.default_rng(zlib.crc32(view.name.encode()))
    proto = ir.serde.serialize_node(view.node)
    proto.output[:] = ["y"]
    initializers: dict[str, Any] = {}
    feeds: dict[str, NDArray[Any]] = {}
    inputs = []
    for index, operand in enumerate(view.inputs):
        if operand is None:
            continue
        name = proto.input[index] = f"i{index}"
        if isinstance(operand.constant, Constant):
            initializers[name] = operand.constant.array()
        elif index == 0 and view.op_type == "MatMulNBits":
            feeds[name] = rng.standard_normal(shape).astype(np.float32)
            inputs.append(value(name, shape))
        elif index == 0:
            assert operand.dtype is not None
            feeds[name] = codes(shape, operand.dtype.numpy().type, seed=index)
            inputs.append(value(name, shape, int(operand.dtype)))
        else:
            initializers[name] = np.array(117, dtype=np.uint8)  # a zero point that DynamicQuantizeLinear gives
    output = helper.make_empty_tensor_value_info("y")
    made = model([proto], initializers, inputs=inputs, outputs=[output], opset=17, imports=MICROSOFT)
    return made, feeds | initializers


def small_shape(view: Node, use: LinearUse) -> tuple[int, ...]:
    operand = view.inputs[0]
    assert operand is not None
    if not use.on_images:
        return (*(1,) * (len(operand.shape or (1, 1)) - 2), 3, use.shape[1])
    kernel, strides = use.constant.shape[2:], view.attribute("strides", [1, 1])
    return (1, use.shape[0] * use.constant.shape[1], *(k + 2 * s + 1 for k, s in zip(kernel, strides, strict=True)))


def product(use: LinearUse, values: NDArray[Any]) -> NDArray[np.float64]:
    """What the matrix makes of these values, in double."""
    return np.asarray(use.linear_map(use.matrix(), values.shape).apply(values.astype(np.float64)))


@pytest.mark.parametrize("name", ["mobilenetv2_int8_qlinear", "mobilenetv2_int8_dynamic", "anomaly_int8", "text_reader_nbits"])
def test_every_node_of_the_quantized_models(name: str) -> None:
    found = all_uses(Flow(open_model(shared_model(f"{name}.onnx"))))
    assert len(found) == {"anomaly_int8": 10, "text_reader_nbits": 31}.get(name, 53)
    for view, use in found:
        assert isinstance(use, LinearUse)
        proto, given = alone(view, small_shape(view, use))
        (y,) = run(proto, {i.name: given[i.name] for i in proto.graph.input})
        x = given["i0"].astype(np.float64)
        match view.op_type:
            case "ConvInteger" | "MatMulInteger":
                np.testing.assert_array_equal(y, product(use, x - given["i2"]), view.name)
            case "QLinearConv" | "QLinearMatMul":
                real = product(use, (x - given["i2"]) * given["i1"])
                if "i8" in given:
                    real += (given["i8"] * given["i1"].astype(np.float64) * given["i4"]).reshape(1, -1, 1, 1)
                bounds = np.iinfo(y.dtype)
                expected = np.clip(np.rint(real / given["i6"]) + given["i7"], bounds.min, bounds.max)
                away = np.abs(y.astype(np.float64) - expected)
                assert away.max() <= 1, view.name
                # the runtime rescales in float32: only what lies beside a half may fall to the other side
                half = np.abs(np.abs(real / given["i6"] % 1) - 0.5)
                assert np.all((away == 0) | (half < 1e-3)), view.name
            case _:
                assert view.op_type == "MatMulNBits"
                exact = product(use, x)
                if "i5" in given:
                    exact += given["i5"]
                bound = 2.0**-22 * use.shape[1] * (np.abs(x) @ np.abs(use.matrix()[0]))
                assert np.all(np.abs(y - exact) <= bound), view.name


# --- one node each: the matrix that runs, learnt by feeding it the identity -------------------------------------------


def quantized_use(
    made: onnx.NodeProto, constants: Mapping[str, Any], folder: Path, x: NDArray[Any], opset: int = 21
) -> tuple[LinearUse, NDArray[Any]]:
    """The only weight of a model of one node, and what onnxruntime makes of x."""
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    output = helper.make_empty_tensor_value_info("y")
    inputs = [value("x", x.shape, kind)]
    proto = model([made], constants, inputs=inputs, outputs=[output], opset=opset, imports=MICROSOFT, ir_version=10)
    return only_use(uses(proto, folder)), run(proto, {"x": x})[0]


def contrib(op: str, inputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node of com.microsoft; `-` stands for an input that is left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return node(op, names, ["y"], domain="com.microsoft", **attributes)


def test_matmul_integer_per_column(tmp_path: Path) -> None:
    constants: dict[str, Any] = {"w": codes((6, 4), np.uint8), "zx": np.uint8(0), "zw": codes((4,), np.uint8, seed=3)}
    use, y = quantized_use(node("MatMulInteger", ["x", "w", "zx", "zw"], ["y"]), constants, tmp_path, np.eye(6, dtype=np.uint8))
    np.testing.assert_array_equal(use.blocks()[0], y)
    np.testing.assert_array_equal(y, constants["w"].astype(int) - constants["zw"])


def test_matmul_integer_with_the_constant_on_the_left(tmp_path: Path) -> None:
    constants: dict[str, Any] = {"w": codes((6, 4), np.uint8), "zx": np.uint8(0), "zw": np.uint8(77)}
    use, y = quantized_use(node("MatMulInteger", ["w", "x", "zw", "zx"], ["y"]), constants, tmp_path, np.eye(4, dtype=np.uint8))
    assert use.shape == (1, 4, 6)
    np.testing.assert_array_equal(use.blocks()[0].T, y)


def test_conv_integer_in_groups(tmp_path: Path) -> None:
    constants: dict[str, Any] = {"w": codes((4, 2, 3, 3), np.uint8), "zx": np.uint8(3), "zw": np.uint8(120)}
    x = codes((1, 4, 6, 5), np.uint8, seed=8)
    use, y = quantized_use(
        node("ConvInteger", ["x", "w", "zx", "zw"], ["y"], group=2, pads=[1, 0, 0, 1], strides=[2, 1]), constants, tmp_path, x
    )
    np.testing.assert_array_equal(product(use, x - 3.0), y)


def test_qgemm_per_row_of_a_transposed_b(tmp_path: Path) -> None:
    constants: dict[str, Any] = {"sx": np.float32(0.5), "zx": np.uint8(0)}
    constants |= {"w": codes((3, 6)), "sw": scales(3), "zw": codes((3,), seed=5)}
    use, y = quantized_use(contrib("QGemm", "x sx zx w sw zw", transB=1), constants, tmp_path, np.eye(6, dtype=np.uint8))
    np.testing.assert_allclose(use.blocks()[0] * 0.5, y, rtol=1e-6)
    assert use.shape == (1, 6, 3)


@pytest.mark.parametrize("per_column", [True, False])
def test_matmul_integer_to_float(per_column: bool, tmp_path: Path) -> None:
    constants: dict[str, Any] = {
        **{"w": codes((6, 4)), "sx": np.float32(1), "sw": scales(4) if per_column else np.float32(0.3)},
        **{"zx": np.uint8(0), "zw": codes((4,), seed=2) if per_column else np.int8(-9)},
    }
    use, y = quantized_use(contrib("MatMulIntegerToFloat", "x w sx sw zx zw"), constants, tmp_path, np.eye(6, dtype=np.uint8))
    np.testing.assert_allclose(use.blocks()[0], y, rtol=1e-6)


def test_dynamic_quantize_matmul(tmp_path: Path) -> None:
    constants: dict[str, Any] = {"w": codes((6, 4)), "sw": scales(4), "zw": codes((4,), seed=2)}
    x = np.eye(6, dtype=np.float32) * 255  # quantized with scale 1: exactly
    use, y = quantized_use(contrib("DynamicQuantizeMatMul", "x w sw zw"), constants, tmp_path, x)
    np.testing.assert_allclose(use.blocks()[0] * 255, y, rtol=1e-6)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("zeros", ["default", "packed", "floats"])
@pytest.mark.parametrize("inputs", [64, 40], ids=["whole", "padded"])
def test_matmul_nbits(bits: int, zeros: str, inputs: int, tmp_path: Path) -> None:
    if (bits, zeros) == (8, "floats"):
        pytest.skip("onnxruntime has no such kernel")
    outputs, block = 5, 16
    blocks = -(-inputs // block)
    constants: dict[str, Any] = {
        "w": codes((outputs, blocks, block * bits // 8), np.uint8),
        "s": scales(outputs, blocks),
    }
    if zeros == "packed":
        constants["z"] = codes((outputs, -(-blocks * bits // 8)), np.uint8, seed=4)
    elif zeros == "floats":
        constants["z"] = np.random.default_rng(2).uniform(0, 1 << bits, (outputs, blocks)).astype(np.float32)
    names = "x w s" + (" z" if "z" in constants else "")
    use, y = quantized_use(
        contrib("MatMulNBits", names, K=inputs, N=outputs, bits=bits, block_size=block),
        constants,
        tmp_path,
        np.eye(inputs, dtype=np.float32),
    )
    assert use.shape == (1, inputs, outputs)
    np.testing.assert_allclose(use.blocks()[0], y, rtol=1e-6, atol=1e-6)
    rational = use.rational_blocks()
    assert rational is not None
    np.testing.assert_allclose(rational, use.blocks(), rtol=2.0**-23, atol=1e-30)


def test_matmul_nbits_with_an_order_of_its_inputs(tmp_path: Path) -> None:
    outputs, inputs, block = 3, 32, 16
    order = np.random.default_rng(0).integers(0, 2, inputs).astype(np.int32)
    constants: dict[str, Any] = {"w": codes((outputs, 2, 8), np.uint8), "s": scales(outputs, 2), "g": order}
    use, y = quantized_use(
        contrib("MatMulNBits", "x w s - g", K=inputs, N=outputs, bits=4, block_size=block),
        constants,
        tmp_path,
        np.eye(inputs, dtype=np.float32),
    )
    np.testing.assert_allclose(use.blocks()[0], y, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", [0, 1], ids=["FP4", "NF4"])
def test_matmul_bnb4(kind: int, tmp_path: Path) -> None:
    outputs, inputs = 3, 32
    constants: dict[str, Any] = {"w": codes((outputs * inputs // 2,), np.uint8), "s": scales(outputs * inputs // 16)}
    use, y = quantized_use(
        contrib("MatMulBnb4", "x w s", K=inputs, N=outputs, quant_type=kind, block_size=16),
        constants,
        tmp_path,
        np.eye(inputs, dtype=np.float32),
    )
    np.testing.assert_allclose(use.blocks()[0], y, rtol=1e-6)


def test_dynamic_quantize_lstm(tmp_path: Path) -> None:
    rng, hidden, inputs = np.random.default_rng(0), 3, 4
    constants: dict[str, Any] = {
        **{"w": codes((2, inputs, 4 * hidden)), "r": codes((2, hidden, 4 * hidden), seed=1)},
        **{"sw": scales(2, 4 * hidden), "zw": np.zeros((2, 4 * hidden), np.int8), "sr": scales(2), "zr": np.zeros(2, np.int8)},
    }
    x = rng.standard_normal((2, 1, inputs)).astype(np.float32)
    made = node(
        "DynamicQuantizeLSTM",
        ["x", "w", "r", "", "", "", "", "", "sw", "zw", "sr", "zr"],
        ["y"],
        domain="com.microsoft",
        hidden_size=hidden,
        direction="bidirectional",
    )
    proto = model([made], constants, inputs=[value("x", x.shape)], imports=MICROSOFT)
    (ours,) = run(proto, {"x": x})
    found = [use for _, use in uses(proto, tmp_path)]
    assert [use.part for use in found if isinstance(use, LinearUse)] == ["forward", "reverse"] * 2
    # the same network in floats, with W and R as our blocks say
    blocks = [use.blocks()[0] for use in found if isinstance(use, LinearUse)]
    plain = {"w": np.stack(blocks[:2]).swapaxes(1, 2), "r": np.stack(blocks[2:]).swapaxes(1, 2)}
    same = model(
        [node("LSTM", ["x", "w", "r"], ["y"], hidden_size=hidden, direction="bidirectional")],
        {name: array.astype(np.float32) for name, array in plain.items()},
        inputs=[value("x", x.shape)],
    )
    np.testing.assert_allclose(ours, run(same, {"x": x})[0], atol=0.02)  # the activations are quantized to eight bits


def test_qattention_holds_one_weight(tmp_path: Path) -> None:
    constants: dict[str, Any] = {"w": codes((8, 24)), "b": weight(24), "sx": np.float32(1), "sw": scales(24), "zx": np.uint8(0)}
    made = node("QAttention", ["x", "w", "b", "sx", "sw", "", "zx"], ["y"], domain="com.microsoft", num_heads=2)
    proto = model([made], constants, inputs=[value("x", [1, 3, 8], TensorProto.UINT8)], imports=MICROSOFT)
    use = only_use(uses(proto, tmp_path))
    assert (use.shape, use.integer) == ((1, 8, 24), True)
    np.testing.assert_array_equal(use.blocks()[0], constants["w"].astype(np.float64) * constants["sw"].astype(np.float64))


# --- DequantizeLinear -------------------------------------------------------------------------------------------------

INT4 = np.arange(-8, 8).astype(ml_dtypes.int4).reshape(4, 4)
UINT4 = np.arange(16).astype(ml_dtypes.uint4).reshape(4, 4)
FLOAT8 = weight(4, 4).astype(ml_dtypes.float8_e4m3fn)


@pytest.mark.parametrize(
    ("array", "scale", "zero", "attributes"),
    [
        pytest.param(codes((4, 4)), np.float32(0.1), None, {}, id="int8, tensor"),
        pytest.param(codes((4, 4)), scales(4), codes((4,), seed=2), {"axis": 0}, id="int8, rows"),
        pytest.param(codes((4, 4), np.uint8), scales(4), codes((4,), np.uint8, seed=2), {"axis": -1}, id="uint8, columns"),
        pytest.param(codes((4, 6), np.uint8), scales(4, 3), codes((4, 3), np.uint8), {"axis": 1, "block_size": 2}, id="blocks"),
        pytest.param(codes((4, 4), np.int16), np.float32(0.1), np.int16(-7), {}, id="int16"),
        pytest.param(INT4, scales(4), INT4[0], {"axis": 1}, id="int4"),
        pytest.param(UINT4, np.float32(0.3), UINT4[1, 1], {}, id="uint4"),
        pytest.param(codes((4, 4)), np.float16(0.1), None, {}, id="float16 scale"),
        pytest.param(FLOAT8, np.float32(0.3), None, {}, id="float8"),
    ],
)
def test_dequantize_linear_is_the_runtimes(array: Any, scale: Any, zero: Any, attributes: Any, tmp_path: Path) -> None:
    given = {"w": array, "s": scale} | ({} if zero is None else {"z": zero})
    dequantize = node("DequantizeLinear", list(given), ["d"], **attributes)
    x, d = np.float16 if scale.dtype == np.float16 else np.float32, [4, array.shape[0]]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(x))
    proto = model(
        [dequantize, node("MatMul", ["x", "d"], ["y"])],
        given,
        inputs=[value("x", d, kind)],
        outputs=[value("d", None, kind)],
        opset=21,
        ir_version=10,
    )
    use = only_use(uses(proto, tmp_path))
    np.testing.assert_array_equal(use.blocks()[0], run(proto, {"x": np.zeros(d, x)})[0])
    rational = use.rational_blocks()
    assert rational is not None
    np.testing.assert_allclose(rational[0], use.blocks()[0].astype(np.float64), rtol=2.0**-11 if x == np.float16 else 2.0**-24)


def test_dequantize_linear_of_com_microsoft(tmp_path: Path) -> None:
    made = [
        node("DequantizeLinear", ["w", "s", "z"], ["d"], domain="com.microsoft", axis=0),
        node("Transpose", ["d"], ["t"], perm=[1, 0]),
        node("MatMul", ["x", "t"], ["y"]),
    ]
    constants: dict[str, Any] = {"w": codes((3, 5)), "s": scales(3), "z": codes((3,), seed=7)}
    proto = model(made, constants, inputs=[value("x", [5, 5])], imports=MICROSOFT)
    use = only_use(uses(proto, tmp_path))
    source = quantized_from(use.constant)
    assert source is not None
    assert source.codes.dtype.name == "INT8"
    np.testing.assert_allclose(use.blocks()[0], run(proto, {"x": np.eye(5, dtype=np.float32)})[0], rtol=1e-6)


def test_parts_that_are_put_together(tmp_path: Path) -> None:
    made = [
        node("DequantizeLinear", ["a", "s"], ["p"]),
        node("DequantizeLinear", ["b", "t"], ["q"]),
        node("Concat", ["p", "q"], ["w"], axis=1),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    constants: dict[str, Any] = {"a": codes((4, 2)), "b": codes((4, 3), seed=1), "s": np.float32(0.1), "t": np.float32(0.7)}
    use = only_use(uses(model(made, constants, inputs=[value("x", [2, 4])]), tmp_path))
    found = use.of_quantized(Quantized.integers)
    assert found is not None
    np.testing.assert_array_equal(found[0], np.hstack([constants["a"], constants["b"]]))


def test_a_weight_that_is_more_than_dequantized_has_no_codes(tmp_path: Path) -> None:
    made = [
        node("DequantizeLinear", ["w", "s"], ["d"]),
        node("Mul", ["d", "m"], ["e"]),
        node("MatMul", ["x", "e"], ["y"]),
    ]
    constants: dict[str, Any] = {"w": codes((4, 2)), "s": np.float32(0.1), "m": weight(4, 2)}
    use = only_use(uses(model(made, constants, inputs=[value("x", [2, 4])]), tmp_path))
    assert use.rational_blocks() is None


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_zero_point_that_the_network_computes(tmp_path: Path) -> None:
    made = node("MatMulInteger", ["x", "w", "", "z"], ["y"])
    inputs = [value("x", [2, 4], TensorProto.UINT8), value("z", [], TensorProto.INT8)]
    refused = only_refusal(uses(model([made], {"w": codes((4, 3))}, inputs=inputs), tmp_path))
    assert refused.code is Code.OPERATOR
    assert "'z'" in refused.reason


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"K": 0}, Code.INVALID_MODEL),
        ({"bits": 9}, Code.INVALID_MODEL),
        ({"block_size": 1 << 40}, Code.INVALID_MODEL),
        ({"N": 7}, Code.INVALID_MODEL),
        ({"weight_prepacked": 1}, Code.OPERATOR),
    ],
)
def test_matmul_nbits_that_does_not_fit(changed: dict[str, int], code: Code, tmp_path: Path) -> None:
    attributes: dict[str, Any] = {"K": 32, "N": 3, "bits": 4, "block_size": 16} | changed
    made = node("MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", **attributes)
    constants: dict[str, Any] = {"w": codes((3, 2, 8), np.uint8), "s": scales(3, 2)}
    refused = only_refusal(uses(model([made], constants, inputs=[value("x", [2, 32])], imports=MICROSOFT), tmp_path))
    assert refused.code is code
