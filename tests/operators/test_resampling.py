"""Resize and Upsample as linear steps agree with onnxruntime on every mode that they claim to model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from onnxnull.graph.flow import Flow
from onnxnull.kernel.maps.linear_map import LinearMap
from onnxnull.operators.steps import UnknownShapeError, step_of
from tests.helpers import model, opened, run, value

MODES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]


def step(proto: Any, folder: Path) -> LinearMap | None:
    (node,) = Flow(opened(proto, folder)).nodes
    make = step_of(node, 0)
    return None if make is None else make(0)


def resize(shape: tuple[int, ...], constants: dict[str, Any], opset: int = 19, **attributes: Any) -> Any:
    names = ["", "", ""]
    for name in constants:
        names[{"roi": 0, "scales": 1, "sizes": 2}[name]] = name
    while names and not names[-1]:
        names.pop()
    node = helper.make_node("Resize", ["x", *names], ["y"], **attributes)
    return model([node], constants, inputs=[value("x", shape)], opset=opset)


def agrees(proto: Any, shape: tuple[int, ...], folder: Path) -> None:
    linear_map = step(proto, folder)
    assert linear_map is not None
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32)
    (expected,) = run(proto, {"x": x})
    got = linear_map.apply(x)
    assert got.shape == expected.shape
    assert np.allclose(got, expected, atol=2e-5)
    v = rng.standard_normal(expected.shape)
    assert np.vdot(got, v) == pytest.approx(np.vdot(x, linear_map.adjoint(v)), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("mode", ["linear", "cubic", "nearest"])
@pytest.mark.parametrize("coordinates", MODES)
@pytest.mark.parametrize("given", ["scales", "sizes", "down"])
def test_resize(mode: str, coordinates: str, given: str, tmp_path: Path) -> None:
    shape = (1, 2, 7, 5)
    constants: dict[str, Any] = {
        "scales": {"scales": np.array([1, 1, 2, 1.7], np.float32)},
        "sizes": {"sizes": np.array([1, 2, 9, 11])},
        "down": {"scales": np.array([1, 1, 0.5, 0.7], np.float32)},
    }[given]
    agrees(resize(shape, constants, mode=mode, coordinate_transformation_mode=coordinates), shape, tmp_path)


@pytest.mark.parametrize("nearest_mode", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_nearest_modes(nearest_mode: str, tmp_path: Path) -> None:
    constants = {"scales": np.array([1, 1, 3, 0.7], np.float32)}
    agrees(resize((1, 2, 7, 5), constants, mode="nearest", nearest_mode=nearest_mode), (1, 2, 7, 5), tmp_path)


def test_a_neighbour_that_rounding_decides_is_not_guessed(tmp_path: Path) -> None:
    """1.5 / 0.6 − 0.5 is 2, and less than 2 in float32: floor takes another neighbour."""
    constants = {"scales": np.array([1, 1, 3, 0.6], np.float32)}
    with pytest.raises(UnknownShapeError, match="rounding"):
        step(resize((1, 2, 7, 5), constants, mode="nearest", nearest_mode="floor"), tmp_path)


@pytest.mark.parametrize("attributes", [{"exclude_outside": 1}, {"cubic_coeff_a": -0.5}])
def test_cubic_options(attributes: dict[str, Any], tmp_path: Path) -> None:
    constants = {"sizes": np.array([1, 2, 12, 8])}
    agrees(resize((1, 2, 7, 5), constants, mode="cubic", **attributes), (1, 2, 7, 5), tmp_path)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_upsample(mode: str, tmp_path: Path) -> None:
    shape = (1, 2, 4, 3)
    node = helper.make_node("Upsample", ["x", "scales"], ["y"], mode=mode)
    proto = model([node], {"scales": np.array([1, 1, 2, 3], np.float32)}, inputs=[value("x", shape)], opset=9)
    agrees(proto, shape, tmp_path)


@pytest.mark.parametrize("mode", ["linear", "cubic", "nearest"])
@pytest.mark.parametrize("scales", [[1, 1, 1.3, 1], [1, 1, 1.3, 1.4], [1, 1, 1.3, 1.5], [1, 1, 0.9, 1.2]])
def test_where_no_length_changes_it_copies(mode: str, scales: list[float], tmp_path: Path) -> None:
    constants = {"scales": np.array(scales, np.float32)}
    for coordinates in ("half_pixel", "asymmetric", "align_corners"):
        agrees(resize((1, 2, 2, 2), constants, mode=mode, coordinate_transformation_mode=coordinates), (1, 2, 2, 2), tmp_path)


def test_old_operators_copy_too(tmp_path: Path) -> None:
    for opset, op_type in ((9, "Upsample"), (10, "Resize")):
        node = helper.make_node(op_type, ["x", "scales"], ["y"], mode="linear")
        proto = model([node], {"scales": np.array([1, 1, 1.3, 1], np.float32)}, inputs=[value("x", (1, 2, 2, 2))], opset=opset)
        agrees(proto, (1, 2, 2, 2), tmp_path)


def test_a_length_that_float32_decides(tmp_path: Path) -> None:
    """10·1.3 is 13 in float32; shape inference says 12, and what follows would be taken for another shape than it has."""
    constants = {"scales": np.array([1, 1, 1, 1.3], np.float32)}
    proto = resize((1, 1, 1, 10), constants, mode="linear")
    assert run(proto, {"x": np.zeros((1, 1, 1, 10), np.float32)})[0].shape == (1, 1, 1, 13)
    with pytest.raises(UnknownShapeError, match="onnxruntime makes"):
        step(proto, tmp_path)


def test_what_is_not_modelled_is_no_step(tmp_path: Path) -> None:
    down = {"scales": np.array([1, 1, 0.5, 0.5], np.float32)}
    assert step(resize((1, 2, 8, 8), down, mode="linear", antialias=1), tmp_path) is None
    sizes = {"sizes": np.array([1, 2, 4, 6])}
    assert (
        step(resize((1, 2, 8, 8), sizes, mode="linear", keep_aspect_ratio_policy="not_larger", axes=[0, 1, 2, 3]), tmp_path)
        is None
    )
