"""Averages and sums as linear steps: AveragePool (opset 1 to 22), GlobalAveragePool, ReduceMean, ReduceSum and CumSum.

AveragePool: the mean over each window; padding counts in the divisor where count_include_pad is set (opset 7), else only what
lies inside the image does. ceil_mode and dilations (opset 10, 19) are modelled where they change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from onnxnull.graph.node import Node
from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.convolution import Convolution
from onnxnull.kernel.maps.linear_map import Array, LinearMap, Shape
from onnxnull.kernel.maps.primitives import Scale, along_axis
from onnxnull.kernel.numerics.rounding_model import magnitude, roundings
from onnxnull.operators.convolution.weights import convolution_on
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


@dataclass(frozen=True, eq=False)
class AxesSum(LinearMap):
    """The sum over some axes, times `factor`, put into `target`, which differs in axes of one only."""

    shape: Shape
    axes: tuple[int, ...]
    factor: float
    target: Shape

    @property
    def input_shape(self) -> Shape:
        """`shape`."""
        return self.shape

    @property
    def output_shape(self) -> Shape:
        """`target`."""
        return self.target

    def _apply(self, x: Array) -> Array:
        total = x.sum(axis=tuple(axis + 1 for axis in self.axes)) * self.factor
        result: Array = total.reshape(len(x), *self.target)
        return result

    def _adjoint(self, y: Array) -> Array:
        kept = [1 if axis in self.axes else length for axis, length in enumerate(self.shape)]
        return np.broadcast_to(y.reshape(len(y), *kept) * self.factor, (len(y), *self.shape)).copy()


@magnitude.register
def _magnitude(linear_map: AxesSum) -> LinearMap:
    return replace(linear_map, factor=abs(linear_map.factor))


@roundings.register
def _roundings(linear_map: AxesSum) -> int:
    """One addition less than there are terms, and the factor."""
    return int(np.prod([linear_map.shape[axis] for axis in linear_map.axes], dtype=int))


@linear_step("AveragePool")
def average_pool(node: Node, index: int) -> MakeMap | None:
    """A depthwise convolution with one over the window's size, rescaled at the border."""
    kernel = tuple(node.attribute("kernel_shape", ()))
    if index != 0 or not kernel:
        return None

    def make(output: int) -> LinearMap:
        shape = fixed_shape(node, 0)
        pool = _window_sums(node, kernel, shape[1:])
        divisor: Array = np.array(float(np.prod(kernel)))
        if not node.attribute("count_include_pad", 0):
            divisor = _window_sums(node, kernel, (1, *shape[2:])).apply(np.ones((1, *shape[2:])))
        averages = Scale(pool.output_shape, 1.0 / divisor) @ pool
        if (shape[0], *averages.output_shape) != output_shape(node):
            raise UnknownShapeError(f"AveragePool {node.name!r} with ceil_mode is not modelled")
        return Batched(averages, shape[0])

    return make


@linear_step("GlobalAveragePool")
def global_average_pool(node: Node, index: int) -> MakeMap | None:
    """The mean over all spatial axes."""

    def make(output: int) -> LinearMap:
        shape = fixed_shape(node, 0)
        axes = tuple(range(2, len(shape)))
        return AxesSum(shape, axes, 1.0 / np.prod(shape[2:], dtype=float), (*shape[:2], *(1,) * len(axes)))

    return make


@linear_step("ReduceMean", "ReduceSum")
def reduced(node: Node, index: int) -> MakeMap | None:
    """Axes are an attribute before opset 18 (13 for ReduceSum), an operand since; none means all, unless told otherwise."""
    if not only_operand(node, index):
        return None

    def make(output: int) -> LinearMap:
        shape = fixed_shape(node, 0)
        given = constant_value(node, 1)
        listed = [] if given is None else [int(axis) for axis in given.ravel()]
        axes = tuple(axis % len(shape) for axis in listed or node.attribute("axes", None) or ())
        if not axes and not node.attribute("noop_with_empty_axes", 0):
            axes = tuple(range(len(shape)))
        count = np.prod([shape[axis] for axis in axes], dtype=float)
        return AxesSum(shape, axes, 1.0 / count if node.op_type == "ReduceMean" else 1.0, output_shape(node))

    return make


@linear_step("CumSum")
def cumulated(node: Node, index: int) -> MakeMap | None:
    """Sums of what comes before along one axis (opset 11): `exclusive` of the entry itself, or in `reverse`."""
    axis = constant_value(node, 1)
    if index != 0 or axis is None or axis.size != 1:
        return None

    def make(output: int) -> LinearMap:
        shape = fixed_shape(node, 0)
        along = int(axis.ravel()[0]) % max(1, len(shape))
        count = shape[along]
        if count**2 > LARGEST:
            raise UnknownShapeError(f"CumSum {node.name!r} adds up {count} entries")
        terms = np.triu(np.ones((count, count)), int(bool(node.attribute("exclusive", 0))))  # (inputs, outputs)
        return along_axis(shape, along, terms.T if node.attribute("reverse", 0) else terms)

    return make


def _window_sums(node: Node, kernel: Shape, image: Shape) -> Convolution:
    """Sums over the windows of every channel of an image (C, *spatial)."""
    return convolution_on(node, kernel, np.ones((image[0], int(np.prod(kernel)), 1)), image)
