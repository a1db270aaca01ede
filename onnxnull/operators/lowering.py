"""Lowerings: how to compute an operator in float64 where onnxruntime has no double kernel for it.

A lowering is registered per operator, in the file of its family: given a node (`Site`) it emits nodes that compute the same
function in real arithmetic, from operators that have double kernels, and returns the names of what stands for its outputs.
Lowerings are written for opset 13 and later and assume neither static shapes nor a batch of one: what they need of a shape
that is not known is computed in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxnull.graph.node import as_stored
from onnxnull.graph.operator_facts import OperatorFacts
from onnxnull.graph.types import Shape

if TYPE_CHECKING:
    import onnx

LAST = np.iinfo(np.int64).max
"""The end of an axis, for Slice."""


class NotLowerableError(Exception):
    """This node cannot be lowered; the message says which case of it is missing."""


@dataclass(frozen=True, slots=True)
class Site:
    """A node to be lowered.

    Attributes:
        version: of the opset of its domain.
        inputs: names, "" where an input is left out.
        outputs: names, "" where nobody asked for an output.
        attributes: by name, as Python types.
        shapes: of the inputs, as far as they are known whatever the batch; None where not even the rank is.
        constants: the inputs that are stored in the file; floats in float64.
    """

    op_type: str
    domain: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    shapes: tuple[Shape | None, ...]
    constants: tuple[np.ndarray | None, ...]

    def attribute(self, name: str, default: Any) -> Any:
        """The attribute's value; `default`, as ONNX stores it, where the node leaves it out."""
        return self.attributes.get(name, as_stored(default))

    def input(self, index: int) -> str | None:
        """The name of an input; None where it is left out."""
        return (self.inputs[index] or None) if index < len(self.inputs) else None

    def constant(self, index: int) -> np.ndarray | None:
        """The array of a stored input."""
        return self.constants[index] if index < len(self.constants) else None

    def shape(self, index: int) -> Shape | None:
        """The shape of an input as far as it is known."""
        constant = self.constant(index)
        if constant is not None:
            return constant.shape
        return self.shapes[index] if index < len(self.shapes) else None

    def rank(self, index: int = 0) -> int:
        """Number of dimensions of an input. Raises `NotLowerableError` where it is unknown."""
        shape = self.shape(index)
        if shape is None:
            raise NotLowerableError(f"the rank of {self.inputs[index]!r} is not known")
        return len(shape)


@dataclass(slots=True)
class Emitter:
    """Collects the nodes and constants that lowerings make; constants are folded where they meet constants only.

    Attributes:
        version: of the default opset of the model.
        prefix: of every new name; no name of the model starts with it.
        constants: what was made here, by name.
        stored: the constants among the inputs of the node at hand, by name.
    """

    version: int
    prefix: str
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    stored: Mapping[str, np.ndarray] = field(default_factory=dict)
    _count: int = 0
    _large: list[str] = field(default_factory=list)
    _shared: dict[tuple[str, tuple[int, ...], bytes], str] = field(default_factory=dict)

    def begin(self, site: Site) -> None:
        """Start with the next node: what is emitted from here on is collected anew, its stored inputs are known."""
        self.nodes = []
        self.stored = {n: a for n, a in zip(site.inputs, site.constants, strict=True) if n and a is not None}

    def name(self, hint: str) -> str:
        """A fresh name."""
        self._count += 1
        return f"{self.prefix}{hint}_{self._count}"

    def constant(self, value: Any) -> str:
        """The name of a constant: floats become float64, integers int64, booleans stay; other arrays as they are."""
        array = np.asarray(value)
        if array.dtype.kind in "fV" and array.dtype != np.float32:
            array = array.astype(np.float64)
        elif array.dtype.kind == "i":
            array = array.astype(np.int64)
        key = (str(array.dtype), array.shape, array.tobytes()) if array.size <= 64 else None
        if key is not None and key in self._shared:
            return self._shared[key]
        name = self.name("constant")
        self.constants[name] = array
        if key is not None:
            self._shared[key] = name
        else:
            self._large.append(name)
        return name

    def forget(self, needed: Collection[str]) -> None:
        """Drop the large constants made since the last call that are not needed."""
        for name in self._large:
            if name not in needed:
                self.constants.pop(name, None)
        self._large.clear()

    def op(self, op_type: str, *inputs: str | None, **attributes: Any) -> str:
        """Emit a node with one output and return that output's name."""
        return self.ops(op_type, *inputs, outputs=1, **attributes)[0]

    def ops(self, op_type: str, *inputs: str | None, outputs: int, **attributes: Any) -> list[str]:
        """Emit a node with several outputs and return their names."""
        from onnx import helper

        names = [self.name(op_type) for _ in range(outputs)]
        self.nodes.append(helper.make_node(op_type, [i or "" for i in inputs], names, **attributes))
        return names

    # Arithmetic: operands are names or numbers.

    def operand(self, value: str | float | np.ndarray) -> str:
        """The name of an operand: itself, or of the constant that it is."""
        return value if isinstance(value, str) else self.constant(np.asarray(value, dtype=np.float64))

    def add(self, a: str | float | np.ndarray, b: str | float | np.ndarray) -> str:
        """a + b."""
        return self.op("Add", self.operand(a), self.operand(b))

    def sub(self, a: str | float | np.ndarray, b: str | float | np.ndarray) -> str:
        """a − b."""
        return self.op("Sub", self.operand(a), self.operand(b))

    def mul(self, a: str | float | np.ndarray, b: str | float | np.ndarray) -> str:
        """a · b, entry by entry."""
        return self.op("Mul", self.operand(a), self.operand(b))

    def div(self, a: str | float | np.ndarray, b: str | float | np.ndarray) -> str:
        """a / b."""
        return self.op("Div", self.operand(a), self.operand(b))

    def where_negative(self, x: str, negative: str, otherwise: str) -> str:
        """`negative` where x < 0, else `otherwise`."""
        return self.op("Where", self.op("Less", x, self.operand(0.0)), negative, otherwise)

    # Shapes: all int64.

    def integers(self, *values: int) -> str:
        """A vector of integers."""
        return self.constant(np.array(values, dtype=np.int64))

    def shape(self, x: str, start: int = 0, stop: int | None = None) -> str:
        """The dimensions of x from `start` to `stop`, as a vector."""
        whole = self.op("Shape", x)
        if start == 0 and stop is None:
            return whole
        return self.op("Slice", whole, self.integers(start), self.integers(LAST if stop is None else stop), self.integers(0))

    def concat(self, parts: Sequence[str], axis: int = 0) -> str:
        """Parts one after the other; a single part is itself."""
        return parts[0] if len(parts) == 1 else self.op("Concat", *parts, axis=axis)

    # Movement: folded where x is a constant.

    def known(self, x: str) -> np.ndarray | None:
        """The array of a constant; None where x depends on the model's inputs."""
        return self.constants[x] if x in self.constants else self.stored.get(x)

    def reshape(self, x: str, shape: Sequence[int] | str) -> str:
        """x in another shape: numbers (0 copies a dimension, −1 takes what is left) or a vector in the graph."""
        array = self.known(x)
        if not isinstance(shape, str) and array is not None:
            return self.constant(array.reshape([array.shape[i] if n == 0 else n for i, n in enumerate(shape)]))
        return self.op("Reshape", x, shape if isinstance(shape, str) else self.integers(*shape))

    def transpose(self, x: str, axes: Sequence[int]) -> str:
        """Axis i of the result is axis `axes[i]` of x."""
        array = self.known(x)
        if array is not None:
            return self.constant(np.ascontiguousarray(array.transpose(axes)))
        return x if list(axes) == list(range(len(axes))) else self.op("Transpose", x, perm=list(axes))

    def slice(
        self,
        x: str,
        axis: int,
        start: int | str = 0,
        stop: int | str = LAST,
        step: int = 1,
    ) -> str:
        """Entries `start`, `start + step`, ... before `stop` along one axis; bounds are numbers or vectors of one entry."""
        array = self.known(x)
        if array is not None and isinstance(start, int) and isinstance(stop, int):
            index = [slice(None)] * array.ndim
            index[axis] = slice(start, None if abs(stop) >= LAST else stop, step)
            return self.constant(np.ascontiguousarray(array[tuple(index)]))
        bounds = [b if isinstance(b, str) else self.integers(b) for b in (start, stop)]
        return self.op("Slice", x, *bounds, self.integers(axis), self.integers(step))

    def pad(self, x: str, pads: Sequence[int] | str, value: float = 0.0) -> str:
        """x with a border: as many entries as `pads` says (all begins, then all ends; negative removes)."""
        if not isinstance(pads, str):
            if not any(pads):
                return x
            pads = self.integers(*pads)
        return self.op("Pad", x, pads, self.operand(value))

    def mean(self, x: str, axes: Sequence[int], *, keepdims: bool = True) -> str:
        """The mean over some axes."""
        return self._reduce("ReduceMean", x, axes, keepdims)

    def maximum(self, x: str, axes: Sequence[int], *, keepdims: bool = True) -> str:
        """The maximum over some axes."""
        return self._reduce("ReduceMax", x, axes, keepdims)

    def sum(self, x: str, axes: Sequence[int], *, keepdims: bool = True) -> str:
        """The sum over some axes."""
        return self.op("ReduceSum", x, self.integers(*axes), keepdims=int(keepdims))

    def _reduce(self, op_type: str, x: str, axes: Sequence[int], keepdims: bool) -> str:
        if self.version < 18:
            return self.op(op_type, x, axes=list(axes), keepdims=int(keepdims))
        return self.op(op_type, x, self.integers(*axes), keepdims=int(keepdims))


Lowering = Callable[[Site, Emitter], str | Sequence[str]]

_LOWERINGS: OperatorFacts[Lowering] = OperatorFacts("lowering")
_ALWAYS: OperatorFacts[bool] = OperatorFacts("note that it is always lowered")


def lowers(*op_types: str, domain: str = "", always: bool = False) -> Callable[[Lowering], Lowering]:
    """Register the lowering of these operators.

    Args:
        always: onnxruntime has no double kernel and does not say so, since it takes the operator apart by itself, with
            constants that are rounded to float32.
    """

    def register(function: Lowering) -> Lowering:
        _LOWERINGS.add(function, *op_types, domain=domain)
        if always:
            _ALWAYS.add(True, *op_types, domain=domain)
        return function

    return register


def lowering_of(op_type: str, domain: str = "") -> Lowering | None:
    """The lowering of an operator; None where there is none."""
    return _LOWERINGS.get((domain, op_type))


def always_lowered(op_type: str, domain: str = "") -> bool:
    """Whether the lowering is to be used even where onnxruntime accepts the operator."""
    return (domain, op_type) in _ALWAYS
