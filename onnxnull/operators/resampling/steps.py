"""Resize (opset 10 to 19) and Upsample (opset 7 to 9) as linear steps: each output entry is a fixed mixture of input entries.

Interpolation is separable: along every axis it is a matrix (inputs, outputs), and so is the whole map their product. Output
position x looks at the coordinate that `coordinate_transformation_mode` says (half_pixel, half_pixel_symmetric,
pytorch_half_pixel, align_corners, asymmetric, tf_half_pixel_for_nn); coordinates beyond the border are clamped. Where no length
changes onnxruntime copies (`lowering.copies`). Resize 10 and Upsample are asymmetric. Not modelled, hence no steps: antialias,
tf_crop_and_resize, keep_aspect_ratio_policy other than stretch, the nearest mode of Resize 10 and Upsample for scales that are
no whole numbers (onnxruntime truncates there).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxnull.graph.node import Node
from onnxnull.kernel.maps.linear_map import Array, LinearMap
from onnxnull.kernel.maps.primitives import Identity, along_axis
from onnxnull.kernel.maps.selection import Selection, identity
from onnxnull.operators.resampling.lowering import TIE, copies, scaled_length
from onnxnull.operators.steps import (
    LARGEST,
    MakeMap,
    UnknownShapeError,
    constant_value,
    fixed_shape,
    linear_step,
    only_operand,
    output_shape,
)

_COORDINATES: dict[str, Callable[[Any, Any, int, int], Any]] = {
    "half_pixel": lambda x, scale, n, m: (x + 0.5) / scale - 0.5,
    "half_pixel_symmetric": lambda x, scale, n, m: n / 2 * (1 - m / (scale * n)) + (x + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda x, scale, n, m: (x + 0.5) / scale - 0.5 if m > 1 else 0 * x,
    "align_corners": lambda x, scale, n, m: x * (n - 1) / (m - 1) if m > 1 else 0 * x,
    "asymmetric": lambda x, scale, n, m: x / scale,
    "tf_half_pixel_for_nn": lambda x, scale, n, m: (x + 0.5) / scale,
}
"""(output positions, scale, inputs, outputs) → the input coordinates that they look at."""
_NEAREST: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - (0.5 + TIE)),
    "round_prefer_ceil": lambda x: np.floor(x + (0.5 + TIE)),
    "floor": np.floor,
    "ceil": np.ceil,
}


@linear_step("Resize", "Upsample")
def resized(node: Node, index: int) -> MakeMap | None:
    """Operand 0; roi, scales and sizes have to be constants."""
    old = node.op_type == "Upsample" or node.version < 11
    mode = {"bilinear": "linear"}.get(str(node.attribute("mode", "nearest")), str(node.attribute("mode", "nearest")))
    coordinates = "asymmetric" if old else str(node.attribute("coordinate_transformation_mode", "half_pixel"))
    rounding = "floor" if old else str(node.attribute("nearest_mode", "round_prefer_floor"))
    if not only_operand(node, index) or mode not in ("nearest", "linear", "cubic") or coordinates not in _COORDINATES:
        return None
    if node.attribute("antialias", 0) or node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        return None
    if rounding not in _NEAREST or (old and mode == "nearest" and not _whole(_scales(node))):
        return None

    def make(output: int) -> LinearMap:
        shape, target = fixed_shape(node, 0), output_shape(node)
        scales = _scales(node)
        if scales is not None and scales.ndim != 1:
            raise UnknownShapeError(f"the scales of Resize {node.name!r} are no vector")
        axes = [int(axis) % len(shape) for axis in node.attribute("axes", None) or range(len(shape))]
        factors = dict(zip(axes, [] if scales is None else scales.tolist(), strict=False))
        made = [
            scaled_length(n, factors[axis]) if axis in factors else m
            for axis, (n, m) in enumerate(zip(shape, target, strict=True))
        ]
        if tuple(made) != tuple(target):
            raise UnknownShapeError(f"onnxruntime makes {made} of Resize {node.name!r}, and the model says {list(target)}")
        if copies(shape, target):
            return identity(shape)
        matrices = {}
        for axis, (n, m) in enumerate(zip(shape, target, strict=True)):
            scale = float(factors.get(axis, m / n))
            if n * m > LARGEST:
                raise UnknownShapeError(f"Resize {node.name!r} makes {m} entries of {n} along an axis")
            if scale != 1.0 or n != m:
                x = _COORDINATES[coordinates](np.arange(m, dtype=np.float64), scale, n, m)
                if mode == "nearest" and _hangs_on_rounding(coordinates, rounding, x, scale, n):
                    raise UnknownShapeError(f"which neighbours Resize {node.name!r} takes depends on the runtime's rounding")
                matrices[axis] = _interpolation(node, mode, rounding, x, n)
        return _selection(shape, target, matrices) if mode == "nearest" else _along_axes(shape, matrices)

    return make


def _hangs_on_rounding(coordinates: str, rounding: str, x: Array, scale: float, inputs: int) -> bool:
    """Whether a coordinate lies so close to where the nearest neighbour changes that float32 arithmetic decides."""
    single = _COORDINATES[coordinates](np.arange(x.size, dtype=np.float32), np.float32(scale), inputs, x.size)
    room = 1e-5 * (1 + np.abs(x))
    return bool(np.any((single != x) & (_NEAREST[rounding](x - room) != _NEAREST[rounding](x + room))))


def _scales(node: Node) -> Array | None:
    """The scales as given; None where sizes are given, of which they are outputs / inputs."""
    if node.op_type == "Upsample" and node.version < 9:
        given = np.asarray(node.attribute("scales", []))
    else:
        found = constant_value(node, 1 if node.op_type == "Upsample" or node.version < 11 else 2)
        given = np.zeros(0) if found is None else found
    return given.astype(np.float64) if given.size else None


def _whole(scales: Array | None) -> bool:
    return scales is not None and bool(np.all(scales == np.round(scales)))


def _interpolation(node: Node, mode: str, rounding: str, x: Array, inputs: int) -> Array:
    """The matrix (inputs, outputs) of one axis for the coordinates `x` (outputs,)."""
    if mode == "nearest":
        taps, weights = np.array([0]), np.ones((1, x.size))
        start = _NEAREST[rounding](x)
    elif mode == "linear":
        x = np.clip(x, 0, inputs - 1)
        start = np.floor(x)
        taps, weights = np.array([0, 1]), np.stack([1 - (x - start), x - start])
    else:
        start = np.floor(x)
        taps = np.array([-1, 0, 1, 2])
        weights = _cubic(np.abs(taps[:, None] - (x - start)), float(node.attribute("cubic_coeff_a", -0.75)))
        if node.attribute("exclude_outside", 0):
            places = start + taps[:, None]
            weights = np.where((places >= 0) & (places < inputs), weights, 0.0)
            weights = weights / weights.sum(axis=0)
    matrix = np.zeros((inputs, x.size))
    for tap, weight in zip(taps, weights, strict=True):
        np.add.at(matrix, (np.clip(start + tap, 0, inputs - 1).astype(int), np.arange(x.size)), weight)
    return matrix


def _cubic(distance: Array, a: float) -> Array:
    """Keys' cubic convolution kernel (1981), which the specification of Resize names."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    result: Array = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
    return result


def _selection(shape: tuple[int, ...], target: tuple[int, ...], matrices: dict[int, Array]) -> Selection:
    """Nearest neighbours only move entries."""
    places = [matrices[axis].argmax(axis=0) if axis in matrices else np.arange(n) for axis, n in enumerate(shape)]
    indices = np.arange(int(np.prod(shape))).reshape(shape)[np.ix_(*places)]
    return Selection(shape, indices.reshape(target), np.ones(()))


def _along_axes(shape: tuple[int, ...], matrices: dict[int, Array]) -> LinearMap:
    """The product of the axes' matrices."""
    result: LinearMap = Identity(shape)
    for number, (axis, matrix) in enumerate(matrices.items()):
        step = along_axis(result.output_shape, axis, matrix)
        result = step @ result if number else step
    return result
