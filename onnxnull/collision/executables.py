"""What runs at one precision on one provider: a network, a layer and the network behind it, or a weight alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from onnxnull.collision.merging import Casts, FirstCasts
from onnxnull.collision.results import Space
from onnxnull.collision.tensors import LayerInput, PerturbedTensor
from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.constants import Constant
from onnxnull.graph.floats import is_float, unit_roundoff
from onnxnull.operators.products import PRODUCTS, product_called
from onnxnull.runtime.as_stored import SIXTEEN_BITS, computed_floats_of, stored_twin, stored_twin_of
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

_DOUBLE = 11
"""TensorProto.DataType."""
Feeds = Mapping[str, np.ndarray]
Nudge = Callable[[np.ndarray], np.ndarray]
Seen = tuple[np.ndarray, np.ndarray] | str
"""A layer's activation and output as they were computed, or why they cannot be had."""


@dataclass(frozen=True, slots=True, eq=False)
class RunResult:
    """One run: the outputs by name, what was seen of each reader of the site, and the codes that its quantizer made.

    Attributes:
        entering: other tensors that are judged: what enters the last flat operators.
        casts: what the first casts to 16 bits read, and what they give.
    """

    outputs: Mapping[str, np.ndarray]
    seen: tuple[Seen, ...]
    codes: np.ndarray | None = None
    entering: Mapping[str, np.ndarray] = field(default_factory=dict)
    casts: Casts = ()

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """All that is judged."""
        return {**self.outputs, **self.entering}


class Executable(Protocol):
    """Something that takes the site's tensor.

    Attributes:
        unit: the unit roundoff of what `stored` gives.
        lowered: operators that run as others, or in float32 where the file has 16 bits.
        enters: judged tensors that are no outputs → what they enter.
        channels: tensors whose axis of channels is known → that axis.
    """

    precision: Precision
    provider: Provider
    unit: float
    lowered: Sequence[str]
    enters: Mapping[str, str]
    channels: Mapping[str, int]

    def stored(self, x: Array) -> np.ndarray:
        """`x` as it goes in: rounded to the type of what takes it, or to codes."""

    def run(self, x: np.ndarray) -> RunResult:
        """Run it on `x` as it is stored."""

    def nudged(self, x: np.ndarray, outcome: RunResult, nudge: Nudge) -> RunResult:
        """Run it with what floats read of `x` moved; `outcome` is that of `x`."""

    @property
    def description(self) -> dict[str, Any]:
        """What ran, for evidence."""


class AtInput:
    """A network, at one of its inputs.

    Args:
        watched: tensors that count as outputs of the network.
        casts: to 16 bits, which round the input first.
    """

    lowered: Sequence[str]

    def __init__(
        self,
        network: Twin,
        provider: Provider,
        site: PerturbedTensor,
        enters: Mapping[str, str],
        watched: Sequence[str] = (),
        casts: FirstCasts = FirstCasts(),  # noqa: B008 - frozen
    ) -> None:
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
        wanted += [*watched, *self.enters, *(name for pair in casts.pairs for name in pair if name in computed)]
        self._runner = Runner(network, provider=provider, extra_outputs=list(dict.fromkeys(wanted)))
        self.unit, self.lowered = unit_roundoff(self.stored(np.zeros(())).dtype), self._runner.lowered
        self.casts, self._computed = casts, computed
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
        """As the input's type at this precision stores it."""
        return self._runner.stored(self._name, x)

    def run(self, x: np.ndarray) -> RunResult:
        """Run the network."""
        feeds = {**self._others, self._name: x}
        results = self._runner.run(feeds)
        there = {**{name: self._runner.stored(name, array) for name, array in feeds.items()}, **results}
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
        casts = [(there[operand], there[result]) for operand, result in self.casts.pairs]
        return RunResult({name: results[name] for name in self._outputs}, tuple(seen), codes, entering, casts)

    def nudged(self, x: np.ndarray, outcome: RunResult, nudge: Nudge) -> RunResult:
        """Run it with x moved, or where a quantizer rounds x first, and would hide that, the floats that its layers read.

        Where casts to 16 bits round x first, what they give is moved too: behind them an ulp is one of 16 bits.
        """
        read = {result: seen[1] for (_, result), seen in zip(self.casts.pairs, outcome.casts, strict=True)}
        if self._codes is not None:
            for pair, layer in zip(self._tensors, outcome.seen, strict=True):
                if not isinstance(layer, str) and pair[0] in self._computed and is_float(layer[0]):
                    read[pair[0]] = layer[0]
        if not read:
            return self.run(nudge(x))
        judged = [*self._outputs, *self.enters]
        if not self._switched:
            board = with_overrides(self.network, read)
            self._switched.append((board, Runner(board.twin, provider=self.provider, extra_outputs=judged)))
        board, runner = self._switched[0]
        moved = board.feeds({name: nudge(array) for name, array in read.items()})
        start = nudge(x) if self._codes is None else x
        results = runner.run({**self._others, self._name: start, **moved}, judged)
        return RunResult(
            {name: results[name] for name in self._outputs}, (), None, {name: results[name] for name in self.enters}
        )


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

    lowered: Sequence[str]

    def __init__(
        self,
        cut: LayerInput,
        site: PerturbedTensor,
        flow: Flow,
        precision: Precision,
        provider: Provider,
        network: Network | None,
    ) -> None:
        model = _alone(cut, site, flow)
        self._codes = None if cut.codes is None else _dtype_of(cut)
        made = stored_twin(model, provider) if precision is Precision.NATIVE else model
        self._runner = Runner(made, precision, provider=provider)
        self.unit, self.lowered = unit_roundoff(self.stored(np.zeros(())).dtype), self._runner.lowered
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
        """As the activation's type at this precision stores it; whole numbers within the range of the codes."""
        if self._codes is None:
            return self._runner.stored("x", x)
        info = np.iinfo(self._codes)
        return np.clip(np.rint(x), info.min, info.max).astype(self._codes)

    def run(self, x: np.ndarray) -> RunResult:
        """Run the layer, then what is behind it."""
        (y,) = self._runner.run({"x": x}).values()
        codes = None if self._codes is None else x
        if self._network is None:
            return RunResult({self._output: y}, ((x, y),), codes)
        outputs, entering = self._network.rest(self._output, y)
        return RunResult(outputs, ((x, y),), codes, entering)

    def nudged(self, x: np.ndarray, outcome: RunResult, nudge: Nudge) -> RunResult:
        """Run it with x moved."""
        return self.run(nudge(x))


def networks_twin(model: Model, precision: Precision, provider: Provider) -> Twin:
    """The network's twin. Raises `OnnxnullError` where the provider does not execute the precision that was asked for."""
    if precision is Precision.NATIVE and not runs_as_it_is(model):
        doubles = model.parsed.once(computed_floats_of) == {_DOUBLE}
        return networks_twin(model, Precision.FLOAT64 if doubles else Precision.FLOAT32, provider)
    made = twin(model, precision, provider=provider)
    if made.precision is Precision.NATIVE:
        return model.parsed.once(stored_twin_of, provider)
    if precision is Precision.FLOAT16 and made.precision is not Precision.FLOAT16:
        seen = f"{provider.value} computes float16 in {made.precision.value}"
        raise OnnxnullError(Code.PROVIDER, seen, "leave float16 to a provider that has it (CUDA)")
    return made


def computes_in_16_bits(model: Model) -> bool:
    """Whether a run of the file computes in float16 or bfloat16 somewhere: then no twin at float32 stands for it."""
    return bool(model.parsed.once(computed_floats_of) & SIXTEEN_BITS)


def runs_as_it_is(model: Model) -> bool:
    """Whether the file itself is what runs at `native`: it computes on quantized numbers, or in 16 bits."""
    return has_integer_arithmetic(model.parsed.whole) or computes_in_16_bits(model)


def _tensors(view: Node | None, activation: int | None) -> tuple[str, ...]:
    """Names of what the layer reads and of its product; nothing where the node keeps the product to itself."""
    operand = None if view is None or activation is None else view.inputs[activation]
    output = None if view is None else view.outputs[0]
    if view is None or PRODUCTS.of(view) is None or operand is None or output is None:
        return ()
    return (operand.name, output.name)


def _alone(cut: LayerInput, site: PerturbedTensor, flow: Flow) -> onnx.ModelProto:
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


def _dtype_of(cut: LayerInput) -> np.dtype[Any]:
    """The type of an activation of codes."""
    operand = None if cut.use.activation is None else cut.view.inputs[cut.use.activation]
    assert operand is not None
    assert operand.dtype is not None, "it is known to be codes"
    return operand.dtype.numpy()


def _read_patches(node: onnx.NodeProto, site: PerturbedTensor) -> None:
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
