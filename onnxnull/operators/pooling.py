"""Averages and sums as linear steps: AveragePool (opset 1 to 22), GlobalAveragePool, ReduceMean, ReduceSum and CumSum.

AveragePool: the mean over each window; padding counts in the divisor where count_include_pad is set (opset 7), else only what
lies inside the image does. ceil_mode and dilations (opset 10, 19) are modelled where they change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from onnxnull.graph.view import NodeView
from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.convolution import Convolution
from onnxnull.kernel.maps.linear_map import Array, LinearMap, Shape
from onnxnull.kernel.maps.primitives import Scale, along_axis
from onnxnull.kernel.numerics.rounding_model import magnitude, roundings
from onnxnull.operators.convolution import convolution_on, padded_image, windows
from onnxnull.operators.lowering import Emitter, Site, lowers
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
def average_pool(node: NodeView, index: int) -> MakeMap | None:
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
def global_average_pool(node: NodeView, index: int) -> MakeMap | None:
    """The mean over all spatial axes."""

    def make(output: int) -> LinearMap:
        shape = fixed_shape(node, 0)
        axes = tuple(range(2, len(shape)))
        return AxesSum(shape, axes, 1.0 / np.prod(shape[2:], dtype=float), (*shape[:2], *(1,) * len(axes)))

    return make


@linear_step("ReduceMean", "ReduceSum")
def reduced(node: NodeView, index: int) -> MakeMap | None:
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
def cumulated(node: NodeView, index: int) -> MakeMap | None:
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


def _window_sums(node: NodeView, kernel: Shape, image: Shape) -> Convolution:
    """Sums over the windows of every channel of an image (C, *spatial)."""
    return convolution_on(node, kernel, np.ones((image[0], int(np.prod(kernel)), 1)), image)


# To double.


@lowers("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def lowered_global_pool(site: Site, emit: Emitter) -> str:
    """One number per channel, with as many axes as before."""
    x = site.inputs[0]
    flat = emit.reshape(x, (0, 0, -1))
    if site.op_type == "GlobalLpPool":
        pooled = _root(emit, emit.sum(_power(emit, flat, site.attribute("p", 2)), [2]), site.attribute("p", 2))
    else:
        pooled = emit.mean(flat, [2]) if site.op_type == "GlobalAveragePool" else emit.maximum(flat, [2])
    ones = emit.op("Div", emit.shape(x, 2), emit.shape(x, 2))
    return emit.reshape(pooled, emit.concat([emit.shape(x, 0, 2), ones]))


@lowers("AveragePool", "LpPool")
def lowered_pool(site: Site, emit: Emitter) -> str:
    """Sums over windows, axis by axis, over the number of entries that count: those inside the image, or its padding too.

    A window that ceil_mode adds counts no entry beyond the padding, and is dropped where it starts there.
    """
    x, p = site.inputs[0], site.attribute("p", 2)
    kernel = tuple(site.attribute("kernel_shape", ()))
    axes = len(kernel)
    strides = tuple(site.attribute("strides", None) or (1,) * axes)
    dilations = tuple(site.attribute("dilations", None) or (1,) * axes)
    ceil = bool(site.attribute("ceil_mode", 0)) and site.attribute("auto_pad", "NOTSET") == "NOTSET"
    values = x if site.op_type == "AveragePool" else _power(emit, x, p)

    def sums(image: str) -> str:
        if ceil:
            image = emit.pad(image, (0,) * (2 + axes) + (0, 0) + tuple(s - 1 for s in strides))
        for axis in reversed(range(axes)):
            parts = windows(emit, image, 2 + axis, kernel[axis], strides[axis], dilations[axis])
            image = parts[0] if len(parts) == 1 else emit.op("Sum", *parts)
        return image

    pads = tuple(site.attribute("pads", None) or (0,) * (2 * axes))
    stops = None
    if ceil:  # windows start before the end of the image
        ahead = [begin + stride - 1 for begin, stride in zip(pads[:axes], strides, strict=True)]
        stops = emit.op("Div", emit.op("Add", emit.shape(x, 2), emit.integers(*ahead)), emit.integers(*strides))

    def kept(pooled: str) -> str:
        if stops is None:
            return pooled
        return emit.op("Slice", pooled, emit.integers(*(0,) * axes), stops, emit.integers(*range(2, 2 + axes)))

    total = kept(sums(padded_image(site, emit, values, kernel, strides, dilations)))
    if site.op_type == "LpPool":
        return _root(emit, total, p)
    inside = emit.op("Expand", emit.constant(1.0), emit.concat([emit.integers(1, 1), emit.shape(x, 2)]))
    border = 1.0 if site.attribute("count_include_pad", 0) else 0.0
    return emit.div(total, kept(sums(padded_image(site, emit, inside, kernel, strides, dilations, border))))


def _power(emit: Emitter, x: str, p: int) -> str:
    return emit.mul(x, x) if p == 2 else emit.op("Pow", emit.op("Abs", x), emit.constant(float(p)))


def _root(emit: Emitter, x: str, p: int) -> str:
    return emit.op("Sqrt", x) if p == 2 else emit.op("Pow", x, emit.constant(1.0 / p))
