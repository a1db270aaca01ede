"""Convolutions as linear maps: against onnxruntime, elementwise, and by the dot test."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from onnxnull.kernel.maps.convolution import Convolution, conv_blocks, transposed, transposed_blocks
from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.maps.linear_map import Array

from .linear_algebra import dot_test, random_geometry


def run_node(op: str, x: Array, weight: Array, **attributes: Any) -> Array:
    """One node in onnxruntime's CPU provider, float32; x without its batch axis."""
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "w"], ["y"], **attributes)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *x.shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(weight.astype(np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: Array = np.asarray(session.run(None, {"x": x[None].astype(np.float32)})[0][0], dtype=np.float64)
    return result


def float32_values(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape).astype(np.float32).astype(np.float64)


def within_float32(got: Array, expected: Array, mass: Array) -> bool:
    """|got − expected| ≤ a few float32 roundings of Σ|x||w|."""
    return bool(np.all(np.abs(got - expected) <= 1e-5 * mass + 1e-30))


@pytest.mark.parametrize("seed", range(40))
def test_convolution_is_onnxruntimes_conv(seed: int) -> None:
    rng = np.random.default_rng(seed)
    geometry = random_geometry(rng)
    p = int(rng.integers(1, 4))
    weight = float32_values(rng, geometry.groups * p, geometry.channels // geometry.groups, *geometry.kernel)
    x = float32_values(rng, *geometry.input_shape)
    expected = run_node(
        "Conv",
        x,
        weight,
        kernel_shape=geometry.kernel,
        strides=geometry.strides,
        dilations=geometry.dilations,
        pads=[*geometry.pads_begin, *geometry.pads_end],
        group=geometry.groups,
    )
    blocks = conv_blocks(weight, geometry.groups)
    convolution = Convolution(geometry, blocks)
    assert convolution.output_shape == expected.shape
    mass = Convolution(geometry, np.abs(blocks)).apply(np.abs(x))
    assert within_float32(convolution.apply(x), expected, mass)
    dot_test(convolution, rng, batch=(2, 3))


@pytest.mark.parametrize("seed", range(40))
def test_transposed_convolution_is_onnxruntimes_conv_transpose(seed: int) -> None:
    rng = np.random.default_rng(1000 + seed)
    while True:
        drawn = random_geometry(rng, largest=6, outputs=False)
        strides, dilations, kernel = drawn.strides, drawn.dilations, drawn.kernel
        # ONNX: output_padding must be smaller than stride or dilation
        extra = tuple(int(rng.integers(0, s)) for s in strides)
        output = [
            s * (n - 1) + e + b - left - right
            for s, n, e, b, left, right in zip(
                strides, drawn.spatial, extra, drawn.extent, drawn.pads_begin, drawn.pads_end, strict=True
            )
        ]
        if min(output) > 0:
            break
    groups, p = drawn.groups, int(rng.integers(1, 4))
    weight = float32_values(rng, drawn.channels, p, *kernel)
    x = float32_values(rng, *drawn.input_shape)
    expected = run_node(
        "ConvTranspose",
        x,
        weight,
        kernel_shape=kernel,
        strides=strides,
        dilations=dilations,
        pads=[*drawn.pads_begin, *drawn.pads_end],
        output_padding=extra,
        group=groups,
    )
    blocks = transposed_blocks(weight, groups)

    def build(values: Array) -> Any:
        return transposed(
            drawn.spatial,
            kernel,
            values,
            strides=strides,
            dilations=dilations,
            pads_begin=drawn.pads_begin,
            pads_end=drawn.pads_end,
            output_padding=extra,
        )

    deconvolution = build(blocks)
    assert deconvolution.input_shape == x.shape
    assert deconvolution.output_shape == expected.shape
    assert within_float32(deconvolution.apply(x), expected, build(np.abs(blocks)).apply(np.abs(x)))
    dot_test(deconvolution, rng)


def test_a_1x1_stride_2_convolution_reads_a_quarter() -> None:
    geometry = ConvGeometry.of((8, 8), (1, 1), channels=3, strides=2)
    matrix = Convolution(geometry, np.ones((1, 3, 2))).dense()
    assert matrix.shape == (192, 32)
    assert np.count_nonzero(matrix.any(axis=1)) == 192 // 4


@pytest.mark.parametrize("seed", range(30))
def test_a_window_is_the_rows_of_its_inputs_and_drops_only_zero_columns(seed: int) -> None:
    rng = np.random.default_rng(2000 + seed)
    geometry = random_geometry(rng, largest=8)
    convolution = Convolution(geometry, rng.standard_normal((geometry.groups, geometry.patch_size, 2)))
    ranges = [(0, geometry.channels)]
    for length in geometry.spatial:
        start, stop = sorted(rng.choice(length + 1, size=2, replace=False).tolist())
        ranges.append((start, stop))
    window = convolution.window(ranges)
    inside = np.zeros(geometry.input_shape, dtype=bool)
    inside[tuple(slice(*r) for r in ranges)] = True
    rows = convolution.dense()[inside.ravel()]
    found = window.dense()
    assert window.outputs <= convolution.outputs
    np.testing.assert_array_equal(found[:, found.any(axis=0)], rows[:, rows.any(axis=0)])


def test_a_window_of_some_channels() -> None:
    rng = np.random.default_rng(5)
    geometry = ConvGeometry.of((6, 5), (3, 3), channels=4, pads=1, groups=2)
    convolution = Convolution(geometry, rng.standard_normal((2, 18, 3)))
    window = convolution.window([(1, 3), (1, 4), (0, 2)])
    whole = np.zeros(geometry.input_shape)
    x = rng.standard_normal(window.input_shape)
    whole[1:3, 1:4, 0:2] = x
    full = convolution.apply(whole)
    assert np.isclose(np.linalg.norm(window.apply(x)), np.linalg.norm(full))
    dot_test(window, rng)


def test_negative_pads_crop() -> None:
    rng = np.random.default_rng(6)
    geometry = ConvGeometry((9, 8), (3, 2), (2, 1), (1, 2), (-2, 1), (-1, -3), 2)
    convolution = Convolution(geometry, rng.standard_normal((1, 12, 3)))
    x = rng.standard_normal((2, 9, 8))
    cropped = np.pad(x, ((0, 0), (0, 0), (1, 0)))[:, 2:8, :6]
    plain = Convolution(ConvGeometry.of((6, 6), (3, 2), channels=2, strides=(2, 1), dilations=(1, 2)), convolution.blocks)
    np.testing.assert_allclose(convolution.apply(x), plain.apply(cropped), atol=1e-12)
    dot_test(convolution, rng)


def test_a_filter_larger_than_the_padded_image_has_no_outputs() -> None:
    geometry = ConvGeometry.of((2, 2), (5, 5), channels=1)
    convolution = Convolution(geometry, np.ones((1, 25, 3)))
    assert convolution.output_shape == (3, 0, 0)
    assert convolution.apply(np.ones((1, 2, 2))).size == 0
    np.testing.assert_array_equal(convolution.adjoint(np.zeros((3, 0, 0))), np.zeros((1, 2, 2)))


def test_wrong_blocks_and_wrong_shapes_are_refused() -> None:
    geometry = ConvGeometry.of((4, 4), (2, 2), channels=2)
    with pytest.raises(ValueError, match="do not fit"):
        Convolution(geometry, np.ones((1, 4, 3)))
    with pytest.raises(ValueError, match="input shape"):
        Convolution(geometry, np.ones((1, 8, 3))).apply(np.ones((4, 4)))
    with pytest.raises(ValueError, match="divide"):
        ConvGeometry.of((4, 4), (2, 2), channels=3, groups=2)
