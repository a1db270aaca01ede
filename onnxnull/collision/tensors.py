"""Where inputs are made to collide: at a graph input, or in front of one layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from onnxnull.analysis.weights import Weight, find_weights, op_name
from onnxnull.collision.claims import Reader
from onnxnull.collision.kernel import Kernel, kernel_of
from onnxnull.collision.results import Space
from onnxnull.errors import Code, OnnxnullError
from onnxnull.frontier.nullity import joint_nullity
from onnxnull.frontier.quantizer import RANGES, Quantizer
from onnxnull.frontier.walk import Frontier, Layer
from onnxnull.graph.constants import Constant
from onnxnull.graph.flow import Flow
from onnxnull.graph.model import GraphInput, Model
from onnxnull.graph.node import Node
from onnxnull.graph.types import dtype_name
from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.contraction import Contraction, ContractionMap
from onnxnull.kernel.maps.convolution import Convolution, TransposedConvolution
from onnxnull.kernel.maps.im2col import ConvGeometry, Im2col
from onnxnull.kernel.maps.linear_map import Array, LinearMap, Shape
from onnxnull.kernel.maps.patches import patches_of
from onnxnull.kernel.maps.primitives import Identity
from onnxnull.kernel.maps.selection import Selection, identity
from onnxnull.kernel.patch_projection import spectral_norm
from onnxnull.kernel.rank import Notion, rank
from onnxnull.kernel.span import column_span
from onnxnull.operators import LinearUse
from onnxnull.operators.products import PRODUCTS

_CONDITION = 8.0
"""How much a projection through conjugate gradients may enlarge rounding; a heuristic: 1.4 was seen on small padded images."""
_ROWS = 16
"""Random rows that stand for a layer that cannot be cut out of its network."""


@dataclass(frozen=True, slots=True, eq=False)
class PerturbedTensor:
    """A tensor, and the layers that read it.

    Attributes:
        where: name of the input or of the layer's node.
        weight: the layer's weight; "" for an input.
        op: of the layer; "" for an input.
        frontier: the layers, as if the tensor were an input.
        caveat: what the reader should know of this place.
        inside: the tensor in the main graph, where the network runs on from there; None for an input, or a layer alone.
    """

    space: Space
    where: str
    weight: str
    op: str
    frontier: Frontier
    caveat: str | None = None
    inside: str | None = None

    @property
    def tensor(self) -> str:
        """The tensor by its name in the graph that runs."""
        return self.where if self.inside is None else self.inside

    def kernel(self, *, balanced: bool = True) -> Kernel:
        """What the layers cannot see. Raises `UnknownShapeError`, `EvaluationError`.

        Args:
            balanced: of the layers with every output at one scale, so that a collision leaves small outputs alone too (what
                follows may amplify them). That is a part of the kernel at the float64 cut-off.
        """
        frontier = self._balanced() if balanced else self.frontier
        return kernel_of(frontier, patchwise=self.space in (Space.PATCHES, Space.MATRIX))

    def has_balanced_kernel(self) -> bool:
        """Whether something is left of the kernel once every output counts at its own scale. Raises as `kernel` does."""
        pairs = []
        for layer in self.frontier.layers:
            assert layer.path is not None, "a site's shapes are known"
            blocks = layer.use.matrix()
            pairs.append((blocks, blocks / _scales(blocks, layer.use.linear_map(blocks, layer.path.output_shape))))
        if all(rank(one, Notion.FLOAT64).lower == rank(other, Notion.FLOAT64).lower for one, other in pairs):
            return True
        return joint_nullity(self._balanced(), Notion.FLOAT64).upper > 0

    def _balanced(self) -> Frontier:
        layers = [
            replace(layer, use=replace(layer.use, linear_map=partial(_balanced_map, layer.use.linear_map)))
            for layer in self.frontier.layers
        ]
        return replace(self.frontier, layers=tuple(layers))

    def nullity(self) -> Bounds:
        """The kernel's dimension at the float64 cut-off, over ℚ on the grid of a quantizer. Raises as `kernel` does."""
        if self.frontier.quantizer is not None:
            return joint_nullity(self.frontier, Notion.EXACT)
        if self.space in (Space.INPUT, Space.ACTIVATION):
            return joint_nullity(self.frontier, Notion.FLOAT64)
        (layer,) = self.frontier.layers
        patches = patches_of(layer.use.linear_map(layer.use.matrix(), self.shape))
        assert patches is not None, "these operators have patches"
        *_, g, _, q = patches.unfold.output_shape
        found = rank(layer.use.blocks(), Notion.FLOAT64)
        count = patches.unfold.outputs // (g * q)
        return Bounds(count * (g * q - found.upper), count * (g * q - found.lower), found.certainty.is_proved)

    @property
    def shape(self) -> Shape:
        """Of the tensor."""
        shape = self.frontier.input.shape
        assert shape is not None
        return tuple(int(d) for d in shape if d is not None)

    def readers(self, *, patchwise: bool, balanced: bool = True) -> tuple[Reader, ...]:
        """The layers for the claims. Raises `UnknownShapeError`, `EvaluationError`.

        Args:
            patchwise: whether perturbations were projected patch by patch.
            balanced: whether they are of the balanced kernel.
        """
        return tuple(_reader(layer, self.space is Space.INPUT, patchwise, balanced) for layer in self.frontier.layers)


@dataclass(frozen=True, slots=True, eq=False)
class LayerInput:
    """A layer whose inputs may be made to collide, before its activation is known.

    Attributes:
        tensor: what its activation is called in the main graph; None where it cannot be had.
        product: what its output is called there; None where only the weight is cut out.
        codes: the least and the largest code of an activation of whole numbers; None for floats.
        given: operands that the network computes, a zero point say: index → value, once it has run.
    """

    weight: str
    view: Node
    use: LinearUse
    space: Space
    tensor: str | None
    product: str | None
    caveat: str | None
    codes: tuple[int, int] | None = None
    given: Mapping[int, np.ndarray] = field(default_factory=dict)

    @property
    def computed(self) -> dict[int, str]:
        """The operands of a layer of whole numbers that the network computes beside the activation: index → tensor."""
        others = {i: o for i, o in enumerate(self.view.inputs) if o is not None and i != self.use.activation}
        return {i: o.name for i, o in others.items() if self.codes is not None and not isinstance(o.constant, Constant)}

    def start(self, activation: np.ndarray | None, rng: np.random.Generator) -> Array:
        """x₀ of the site: the activation, its patches, or rows of the weight's inputs."""
        if self.space is Space.MATRIX:
            g, q, p = self.use.shape
            if activation is not None and activation.size:
                rows = patches_of(self.use.linear_map(np.zeros((g, q, p)), activation.shape))
                assert rows is not None, "layers have patches"
                return np.moveaxis(rows.unfold.apply(activation), -3, 0).reshape(g, -1, q)
            return rng.standard_normal((g, _ROWS, q)).astype(np.float32).astype(np.float64)
        assert activation is not None
        x = activation.astype(np.float64)
        if self.space is Space.PATCHES and (geometry := self.geometry(x.shape)) is not None:
            zero = 0.0 if self.codes is None else self._zero_point()  # what codes are padded with
            patches = Im2col(geometry).apply(x - zero)
            x = Im2col(unfolded(geometry)).adjoint(patches) + zero
        return x

    def _zero_point(self) -> float:
        """Of the activation of QLinearConv or ConvInteger."""
        operand = self.view.input(2)
        value = self.given.get(2)
        if value is None and operand is not None and isinstance(operand.constant, Constant):
            value = operand.constant.array()
        return 0.0 if value is None else float(np.asarray(value).ravel()[0])

    def geometry(self, shape: Shape) -> ConvGeometry | None:
        """The convolution's geometry on an activation of this shape; None where it is none."""
        g, q, p = self.use.shape
        linear_map = self.use.linear_map(np.zeros((g, q, p)), shape)
        sample = linear_map.sample if isinstance(linear_map, Batched) else None
        return sample.geometry if isinstance(sample, Convolution) else None

    def site(self, activation: np.ndarray | None, start: Array) -> PerturbedTensor:
        """The site for this activation, x₀ being `start`."""
        use = self.use
        if self.space is Space.MATRIX:
            contraction = Contraction((0, 1, 2), (0, 3, 1), (0, 3, 2))
            use = replace(use, linear_map=partial(_product_map, contraction), activation=0, on_images=False)
        elif self.space is Space.PATCHES and activation is not None and (found := self.geometry(activation.shape)) is not None:
            use = replace(use, linear_map=partial(_unfolded_map, unfolded(found)))
        name, path = self.view.name, identity(start.shape)
        described = GraphInput(name, dtype_name(use.constant.dtype), start.shape)
        layer = Layer(name, use, path, self.view, self.codes is not None)
        quantizer = None
        if self.codes is not None and self.tensor is not None:  # codes are on the grid of the whole numbers
            quantizer = Quantizer(self.tensor, 1.0, 0, *self.codes, path, self.tensor)
        frontier = Frontier(described, (layer,), None, start.size, quantizer)
        return PerturbedTensor(self.space, name, self.weight, op_name(self.view), frontier, self.caveat)


def input_site(fronts: Sequence[Frontier], name: str | None) -> PerturbedTensor:
    """The site at the input `name`, or at the first one that has a guaranteed frontier.

    Raises:
        OnnxnullError: `data` for an unknown name, `not-guaranteed` where no collision at an input is one of the network.
    """
    chosen = [front for front in fronts if name is None or front.input.name == name]
    if not chosen:
        known = ", ".join(repr(front.input.name) for front in fronts)
        raise OnnxnullError(Code.DATA, f"the model has no input {name!r}", f"its inputs are {known}")
    good = [front for front in chosen if front.guaranteed]
    if not good:
        raise OnnxnullError(Code.NOT_GUARANTEED, "; ".join(front.obstacle or "" for front in chosen))
    return PerturbedTensor(Space.INPUT, good[0].input.name, "", "", good[0])


def fiber_site(described: GraphInput, cut: LayerInput | None = None) -> PerturbedTensor:
    """The tensor that changes along a fibre: an input, or what reaches a layer.

    Raises:
        OnnxnullError: `layer` where what reaches the layer cannot be cut out.
    """
    nobody = Frontier(described, (), None, None)
    if cut is None:
        return PerturbedTensor(Space.INPUT, described.name, "", "", nobody)
    if cut.tensor is None or cut.space is not Space.ACTIVATION:
        raise OnnxnullError(Code.LAYER, f"what reaches {cut.view.name!r} cannot be cut out: {cut.caveat}", "name another")
    return PerturbedTensor(Space.ACTIVATION, cut.view.name, cut.weight, cut.view.op_type, nobody, inside=cut.tensor)


def float_input(model: Model, name: str | None) -> GraphInput:
    """The input `name`, or the first one of floats. Raises `OnnxnullError` `data` where there is none."""
    floats = [each for each in model.inputs if each.dtype.startswith("float") and name in (None, each.name)]
    if not floats:
        raise OnnxnullError(Code.DATA, f"the model has no floating-point input {name or ''!r}")
    return floats[0]


def cuts(
    flow: Flow, name: str | None, space: Space, weight: str | None = None, notion: Notion = Notion.FLOAT64
) -> list[LayerInput]:
    """The layer `name` (a node or a weight), or for None every weight that has a kernel in this notion.

    Args:
        weight: which one, where the node holds several.

    Raises:
        OnnxnullError: `layer` where no weight has that name.
    """
    weights, _ = find_weights(flow)
    if name is None:
        return [_cut(flow, found, *found.uses[0], space) for found in weights if _has_kernel(found, notion)]
    for found in weights:
        for view, use in found.uses:
            if name in (found.name, view.name) and weight in (None, found.name):
                return [_cut(flow, found, view, use, space)]
    some = ", ".join(repr(found.node.name) for found in weights[:5])
    seen = f"the model has no linear layer {name!r}" + (f" with a weight {weight!r}" if weight else "")
    raise OnnxnullError(Code.LAYER, seen, f"`onnxnull analyze` lists them: {some}, ...")


def unfolded(geometry: ConvGeometry) -> ConvGeometry:
    """The geometry of the same filters on an image of patches laid side by side."""
    sides = tuple(n * k for n, k in zip(geometry.output_spatial, geometry.kernel, strict=True))
    return ConvGeometry.of(sides, geometry.kernel, channels=geometry.channels, strides=geometry.kernel, groups=geometry.groups)


def carry_back(path: LinearMap, change: Array) -> Array:
    """A change of the input that makes `change` at the end of the path where that can be, or the adjoint's where not."""
    if not isinstance(path, Selection):
        return path.adjoint(change)
    factors = np.broadcast_to(path.factors, path.indices.shape)
    read = (path.indices >= 0) & (factors != 0.0)
    flat = np.zeros(path.inputs)
    flat[path.indices[read]] = change[read] / factors[read]
    return flat.reshape(path.input_shape)


def _cut(flow: Flow, weight: Weight, view: Node, use: LinearUse, space: Space) -> LayerInput:
    if use.condition:
        why = f"its weight is {use.condition}: the weight alone, on random rows"
        return LayerInput(weight.name, view, use, Space.MATRIX, None, None, why)
    operand = view.inputs[use.activation] if use.activation is not None else None
    inside = view.node.graph is not flow.model.graph
    tensor = None if operand is None or inside else operand.name
    others = [o for index, o in enumerate(view.inputs) if o is not None and index != use.activation]
    codes = RANGES.get(operand.dtype.name) if operand is not None and operand.dtype is not None else None
    product = view.outputs[0]
    kind = PRODUCTS.of(view)
    if kind is not None and kind.of_codes and tensor is not None and codes is not None and product is not None:
        return LayerInput(weight.name, view, use, space, tensor, product.name, _read_elsewhere(view, use), codes)
    if kind is None or kind.of_codes:
        why = f"{op_name(view)} keeps the product to itself"
    elif tensor is None:
        why = "it sits in a branch"
    elif not all(isinstance(o.constant, Constant) for o in others):
        why = "its bias is no constant"
    else:
        output = view.outputs[0]
        assert output is not None, "a product has an output"
        return LayerInput(weight.name, view, use, space, tensor, output.name, _read_elsewhere(view, use))
    rows = "random rows" if tensor is None else "rows of the network's own activation"
    return LayerInput(weight.name, view, use, Space.MATRIX, tensor, None, f"{why}: the weight alone, on {rows}")


def _read_elsewhere(view: Node, use: LinearUse) -> str | None:
    """Who else reads the activation; such a collision of the layer need not be one of the network's later values."""
    assert use.activation is not None
    operand = view.inputs[use.activation]
    assert operand is not None
    others = [node.name or node.op_type for node, _ in operand.value.uses() if node is not view.node]
    if not others:
        return None
    some = ", ".join(map(repr, dict.fromkeys(map(str, others[:3])))) + (", ..." if len(others) > 3 else "")
    return f"{some} read the same activation and keep the original: this is a collision of the layer, not of the network"


def _has_kernel(weight: Weight, notion: Notion) -> bool:
    blocks = weight.blocks()
    if blocks.dtype.kind not in "fiuV" or not np.isfinite(blocks.astype(np.float64)).all():
        raise OnnxnullError(Code.NONFINITE, f"weight {weight.name!r} is no matrix of finite numbers")
    g, q, _ = blocks.shape
    kernel: bool = rank(blocks, notion).lower < g * q
    return kernel


def _reader(layer: Layer, at_input: bool, patchwise: bool, balanced: bool) -> Reader:
    assert layer.path is not None, "a site's shapes are known"
    path = layer.path if at_input else Identity(layer.path.input_shape)
    blocks, shape = layer.use.matrix(), layer.path.output_shape
    op = "" if layer.view is None else layer.view.op_type
    make = partial(_swapped, layer.use, shape)
    scales = _scales(blocks, make(blocks)) if balanced else np.ones((len(blocks), 1, blocks.shape[2]))
    dropped, spread = _left(blocks, scales)
    return Reader(layer.node, op, blocks, make, path, dropped, layer.use.scale, 0.0 if patchwise else spread)


def _swapped(use: LinearUse, shape: Shape, blocks: Array) -> LinearMap:
    return use.linear_map(blocks, shape)


def _left(blocks: Array, scales: Array) -> tuple[Array, Array]:
    """(dropped, spread) of `Reader`, (g, 1, p): what a projection on the kernel of the scaled columns leaves of every column.

    It ignores singular values at or below the float64 cut-off, and rounds: √q·u·‖W‖ of a unit vector, which is also how well
    those singular values are known; all of it relative to the column's scale.
    """
    matrix = blocks / scales
    g, q, _ = matrix.shape
    top = spectral_norm(matrix)
    small = column_span(matrix).dropped
    return (small + math.sqrt(g * q) * 2.0**-53 * top) * scales, 2.0**-53 * _CONDITION * top * scales


def _scales(blocks: Array, linear_map: LinearMap) -> Array:
    """The power of two above the largest entry of every output's columns, (g, 1, p); 1 for a dead output.

    A transposed filter adds its taps up in one output, so they have one scale.
    """
    largest = np.abs(blocks).max(axis=1, keepdims=True, initial=0.0)
    sample = linear_map.sample if isinstance(linear_map, Batched) else linear_map
    if isinstance(sample, TransposedConvolution):
        taps = math.prod(sample.geometry.kernel)
        largest = largest.reshape(len(blocks), 1, -1, taps)
        largest = np.broadcast_to(largest.max(axis=3, keepdims=True), largest.shape).reshape(len(blocks), 1, -1)
    scales: Array = np.where(largest > 0.0, np.ldexp(1.0, np.frexp(largest)[1]), 1.0)
    return scales


def _balanced_map(make: Callable[[Array, Shape], LinearMap], blocks: Array, activation: Shape) -> LinearMap:
    return make(blocks / _scales(blocks, make(blocks, activation)), activation)


def _unfolded_map(geometry: ConvGeometry, blocks: Array, activation: Shape) -> LinearMap:
    return Batched(Convolution(geometry, blocks), activation[0])


def _product_map(contraction: Contraction, blocks: Array, activation: Shape) -> LinearMap:
    return ContractionMap(contraction, blocks.shape, blocks, activation)
