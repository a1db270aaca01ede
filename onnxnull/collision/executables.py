"""What runs at one precision on one provider: a network, a layer and the network behind it, or a weight alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from onnxnull.collision.results import Space
from onnxnull.collision.tensors import Cut, Site
from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.constants import Constant
from onnxnull.operators.products import PRODUCTS, product_called
from onnxnull.runtime.convert_floats import floats_of
from onnxnull.runtime.override_tensor import OverridableTwin, with_overrides
from onnxnull.runtime.precision import Precision, Twin, has_integer_arithmetic, twin
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.session import Runner

if TYPE_CHECKING:
    import onnx

    from onnxnull.graph.flow import Flow
    from onnxnull.graph.model import Model
    from onnxnull.graph.node import Node
    from onnxnull.kernel.maps.linear_map import Array

_FLOATS = {1: Precision.FLOAT32, 10: Precision.FLOAT16, 11: Precision.FLOAT64}
"""TensorProto.DataType → precision."""
Feeds = Mapping[str, np.ndarray]
Nudge = Callable[[np.ndarray], np.ndarray]
Seen = tuple[np.ndarray, np.ndarray] | str
"""A layer's activation and output as they were computed, or why they cannot be had."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One run: the outputs by name, what was seen of each reader of the site, and the codes that its quantizer made.

    Attributes:
        entering: other tensors that are judged: what enters the last flat operators.
    """

    outputs: Mapping[str, np.ndarray]
    seen: tuple[Seen, ...]
    codes: np.ndarray | None = None
    entering: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """All that is judged."""
        return {**self.outputs, **self.entering}


class Subject(Protocol):
    """Something that takes the site's tensor.

    Attributes:
        enters: judged tensors that are no outputs → what they enter.
        channels: tensors whose axis of channels is known → that axis.
    """

    precision: Precision
    provider: Provider
    enters: Mapping[str, str]
    channels: Mapping[str, int]

    def stored(self, x: Array) -> np.ndarray:
        """`x` as it goes in: rounded to the precision that executes, or to codes."""

    def run(self, x: np.ndarray) -> Outcome:
        """Run it on `x` as it is stored."""

    def nudged(self, x: np.ndarray, outcome: Outcome, nudge: Nudge) -> Outcome:
        """Run it with what floats read of `x` moved; `outcome` is that of `x`."""

    @property
    def description(self) -> dict[str, Any]:
        """What ran, for evidence."""


class AtInput:
    """A network, at one of its inputs."""

    def __init__(
        self, network: Twin, provider: Provider, site: Site, enters: Mapping[str, str], watched: Sequence[str] = ()
    ) -> None:
        """Make a session; tensors that are `watched` count as outputs of the network."""
        self.network, self.precision, self.provider = network, network.precision, provider
        self._name = site.tensor
        self._others: Feeds = {}
        computed = {name for node in network.proto.graph.node for name in node.output}
        inputs = {value.name for value in network.proto.graph.input}
        self._tensors = [_tensors(layer.view, layer.use.activation) for layer in site.frontier.layers]
        self._codes = None if site.frontier.quantizer is None else site.frontier.quantizer.codes
        wanted = [name for pair in self._tensors for name in pair if name in computed]
        wanted += [] if self._codes is None else [self._codes]
        self._known = computed | inputs
        self._outputs = list(dict.fromkeys([*(value.name for value in network.proto.graph.output), *watched]))
        self.enters: Mapping[str, str] = {n: op for n, op in enters.items() if n in computed and n not in self._outputs}
        self.channels: Mapping[str, int] = {}
        wanted += [*watched, *self.enters]
        self._runner = Runner(network, provider=provider, extra_outputs=list(dict.fromkeys(wanted)))
        self._computed = computed
        self._switched: list[tuple[OverridableTwin, Runner]] = []  # made where it is needed, for all copies

    def with_other_inputs(self, others: Feeds) -> AtInput:
        """The same session; the other inputs get `others`."""
        other = copy.copy(self)
        other._others = others
        return other

    @property
    def description(self) -> dict[str, Any]:
        """What ran, for evidence."""
        return self._runner.description

    def stored(self, x: Array) -> np.ndarray:
        """At the precision that executes."""
        return rounded(x, self.precision)

    def run(self, x: np.ndarray) -> Outcome:
        """Run the network."""
        feeds = {**self._others, self._name: x}
        results = self._runner.run(feeds)
        there = {**{name: rounded(array, self.precision) for name, array in feeds.items()}, **results}
        seen: list[Seen] = []
        for pair in self._tensors:
            missing = next((name for name in pair if name not in self._known), None)
            if not pair:
                seen.append("the product stays inside the node")
            elif missing is not None:
                seen.append("the layer sits in a branch")
            else:
                seen.append((there[pair[0]], there[pair[1]]))
        codes = None if self._codes is None else results[self._codes]
        entering = {name: results[name] for name in self.enters}
        return Outcome({name: results[name] for name in self._outputs}, tuple(seen), codes, entering)

    def nudged(self, x: np.ndarray, outcome: Outcome, nudge: Nudge) -> Outcome:
        """Run it with x moved, or where a quantizer rounds x first, and would hide that, the floats that its layers read."""
        read: dict[str, np.ndarray] = {}
        for pair, seen in zip(self._tensors, outcome.seen, strict=True):
            if not isinstance(seen, str) and pair[0] in self._computed and seen[0].dtype.kind == "f":
                read[pair[0]] = seen[0]
        if self._codes is None or not read:
            return self.run(nudge(x))
        if not self._switched:
            board = with_overrides(self.network, read)
            self._switched.append((board, Runner(board.twin, provider=self.provider, extra_outputs=list(self.enters))))
        board, runner = self._switched[0]
        moved = board.feeds({name: nudge(array) for name, array in read.items()})
        results = runner.run({**self._others, self._name: x, **moved}, [*self._outputs, *self.enters])
        return Outcome({name: results[name] for name in self._outputs}, (), None, {name: results[name] for name in self.enters})


class Network:
    """A network with switches at the outputs of some of its layers, run on one set of inputs."""

    def __init__(
        self, network: Twin, provider: Provider, feeds: Feeds, tensors: Sequence[str], enters: Mapping[str, str]
    ) -> None:
        self._feeds = feeds
        self.outputs = [value.name for value in network.proto.graph.output]
        there = {name for node in network.proto.graph.node for name in node.output}
        found = Runner(network, provider=provider, extra_outputs=tensors).run(feeds, [t for t in tensors if t in there])
        self._board: OverridableTwin = with_overrides(network, found)
        self.enters = {name: op for name, op in enters.items() if name in there}
        self._runner = Runner(self._board.twin, provider=provider, extra_outputs=list(self.enters))

    def rest(self, tensor: str, value: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The outputs with this tensor replaced, and what enters the last flat operators."""
        found = self._runner.run({**self._feeds, **self._board.feeds({tensor: value})}, [*self.outputs, *self.enters])
        return {name: found[name] for name in self.outputs}, {name: found[name] for name in self.enters}


class InLayer:
    """One layer by itself, and the rest of the network behind it."""

    def __init__(
        self, cut: Cut, site: Site, flow: Flow, precision: Precision, provider: Provider, network: Network | None
    ) -> None:
        model = _alone(cut, site, flow)
        self._codes = None if cut.codes is None else _dtype_of(cut)
        self._runner = Runner(model, precision, provider=provider)
        self.precision, self.provider = self._runner.precision, provider
        self._network = None if cut.product is None else network
        self._output = "product" if cut.product is None else cut.product
        self.enters: Mapping[str, str] = {} if self._network is None else self._network.enters
        product = product_called("MatMul") if site.space is Space.MATRIX else PRODUCTS.of(cut.view)
        axis = None if product is None else product.channels
        self.channels: Mapping[str, int] = {} if axis is None else {self._output: axis}

    @property
    def description(self) -> dict[str, Any]:
        """What ran, for evidence."""
        return self._runner.description

    def stored(self, x: Array) -> np.ndarray:
        """At the precision that executes; whole numbers within the range of the codes."""
        if self._codes is None:
            return rounded(x, self.precision)
        info = np.iinfo(self._codes)
        return np.clip(np.rint(x), info.min, info.max).astype(self._codes)

    def run(self, x: np.ndarray) -> Outcome:
        """Run the layer, then what is behind it."""
        (y,) = self._runner.run({"x": x}).values()
        codes = None if self._codes is None else x
        if self._network is None:
            return Outcome({self._output: y}, ((x, y),), codes)
        outputs, entering = self._network.rest(self._output, y)
        return Outcome(outputs, ((x, y),), codes, entering)

    def nudged(self, x: np.ndarray, outcome: Outcome, nudge: Nudge) -> Outcome:
        """Run it with x moved."""
        return self.run(nudge(x))


def networks_twin(model: Model, precision: Precision, provider: Provider) -> Twin:
    """The network's twin. Raises `OnnxnullError` where the provider does not execute the precision that was asked for."""
    made = twin(model, precision, provider=provider)
    if precision is Precision.NATIVE and not has_integer_arithmetic(made.proto):
        kinds = floats_of(made.proto)
        native = next((each for kind, each in _FLOATS.items() if kinds == {kind}), Precision.FLOAT32)
        return networks_twin(model, native, provider)
    if precision is Precision.FLOAT16 and made.precision is not Precision.FLOAT16:
        seen = f"{provider.value} computes float16 in {made.precision.value}"
        raise OnnxnullError(Code.PROVIDER, seen, "leave float16 to a provider that has it (CUDA)")
    return made


def rounded(array: np.ndarray, precision: Precision) -> np.ndarray:
    """Floats as the precision stores them; everything else as it is."""
    types = {Precision.FLOAT64: np.float64, Precision.FLOAT16: np.float16}
    array = np.asarray(array)
    return array.astype(types.get(precision, np.float32)) if array.dtype.kind == "f" else array


def _tensors(view: Node | None, activation: int | None) -> tuple[str, ...]:
    """Names of what the layer reads and of its product; nothing where the node keeps the product to itself."""
    operand = None if view is None or activation is None else view.inputs[activation]
    output = None if view is None else view.outputs[0]
    if view is None or PRODUCTS.of(view) is None or operand is None or output is None:
        return ()
    return (operand.name, output.name)


def _alone(cut: Cut, site: Site, flow: Flow) -> onnx.ModelProto:
    """The layer's node as a model of its own, input "x", everything else stored."""
    import onnx
    import onnx_ir as ir
    from onnx import helper, numpy_helper

    view, use = cut.view, cut.use
    stored = np.asarray(use.constant.array())
    if site.space is Space.MATRIX:
        node = helper.make_node("MatMul", ["x", "w"], ["product"])
        blocks = (use.blocks() * np.asarray(use.scale, dtype=stored.dtype)).astype(stored.dtype)
        initializers = [numpy_helper.from_array(np.ascontiguousarray(blocks), "w")]
    else:
        node = ir.serde.serialize_node(view.node)
        del node.input[:], node.output[:]
        node.output.append("product")
        initializers = []
        for index, operand in enumerate(view.inputs):
            if operand is None:
                node.input.append("")
            elif index == use.activation:
                node.input.append("x")
            else:
                node.input.append(f"constant{index}")
                if index in cut.given:
                    array = np.asarray(cut.given[index])
                else:
                    assert isinstance(operand.constant, Constant), "other layers are taken as a matrix"
                    array = np.ascontiguousarray(operand.constant.array()).reshape(operand.constant.shape)
                initializers.append(numpy_helper.from_array(array, f"constant{index}"))
        layer = PRODUCTS.of(view)
        if site.space is Space.PATCHES and layer is not None and layer.of_patches:
            _read_patches(node, site)
    kind = helper.np_dtype_to_tensor_dtype(stored.dtype if cut.codes is None else _dtype_of(cut))
    product = onnx.ValueInfoProto(name="product")
    if cut.codes is None:
        product = helper.make_tensor_value_info("product", kind, None)
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", kind, list(site.shape))],
        [product],
        initializers,
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in flow.model.opsets.items()]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=max(flow.model.ir_version, 8))
    return model


def _dtype_of(cut: Cut) -> np.dtype[Any]:
    """The type of an activation of codes."""
    operand = None if cut.use.activation is None else cut.view.inputs[cut.use.activation]
    assert operand is not None
    assert operand.dtype is not None, "it is known to be codes"
    return operand.dtype.numpy()


def _read_patches(node: onnx.NodeProto, site: Site) -> None:
    """Conv on unfolded patches: the stride is the kernel, nothing is padded or dilated."""
    from onnx import helper

    (layer,) = site.frontier.layers
    linear_map: Any = layer.use.linear_map(np.zeros(layer.use.shape), site.shape)
    kernel = linear_map.sample.geometry.kernel
    kept = [a for a in node.attribute if a.name == "group"]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.append(helper.make_attribute("kernel_shape", kernel))
    node.attribute.append(helper.make_attribute("strides", kernel))
