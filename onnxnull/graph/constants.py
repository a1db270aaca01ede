"""Constants and what becomes of them: a weight may be stored in many ways and reach its node through any chain of ops.

A `Constant` knows its type and shape from the start and computes its array when asked, with `onnx.reference` as the
evaluator. Every size is known and checked before anything is allocated. What cannot be evaluated is `Blocked`, with the
reason: it is a constant all the same, and a weight behind it must be reported, not forgotten.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxnull.errors import OnnxnullError, one_line
from onnxnull.graph import external, validity
from onnxnull.graph.evaluation import Evaluation
from onnxnull.kernel.budget import OutOfBudget

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

SMALL = 4096
"""Constants of up to this many elements are evaluated on sight: they are shapes, axes and scales that decide other shapes."""


_FIRST_EVALUATED = {"QuantizeLinear": 19}
"""Ops that the evaluator has only since this opset, which does the same on the inputs that earlier ones allow."""


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A tensor as the file stores it: initializer, Constant node or attribute; in the file or beside it."""

    name: str
    tensor: ir.TensorProtocol

    def array(self) -> np.ndarray:
        """The values, read-only; memory-mapped where they lie in an external file."""
        import onnx_ir as ir

        if isinstance(self.tensor, ir.ExternalTensor):
            return external.read(self.tensor)
        return self.tensor.numpy()


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One op applied to constants; gives the output number `output`.

    Attributes:
        work: what evaluating it costs (`evaluable.work`).
        evaluation: what that is taken from each time, with a memory of what came out.
    """

    node: onnx.NodeProto
    opsets: Mapping[str, int]
    inputs: tuple[Constant | None, ...]
    output: int
    work: float
    evaluation: Evaluation


@dataclass(frozen=True, slots=True, eq=False)
class Derived:
    """What a function of ours makes of other constants; `function` has no other state than its arguments."""

    function: partial[np.ndarray]
    inputs: tuple[Constant, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A value that does not depend on the model's inputs.

    Attributes:
        dtype: onnx-ir data type.
        shape: dimensions.
        source: where the values come from: stored, computed by an op or a function, or known (a folded `Shape`, say).
        signature: equal for two constants that are the same stored tensors put through the same steps.
        root: the largest stored tensor behind it; None for constants made of shapes and attributes alone.
    """

    dtype: ir.DataType
    shape: tuple[int, ...]
    source: Stored | Step | Derived | np.ndarray
    signature: bytes
    root: Stored | None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the evaluated array; strings count a pointer each."""
        if self.dtype.is_string():
            return 8 * self.size
        return math.ceil(self.size * self.dtype.bitwidth / 8)

    def array(self) -> np.ndarray:
        """The values, read-only.

        Raises:
            EvaluationError: the evaluator failed, or gave another shape than inference had promised.
        """
        return evaluate(self)


@dataclass(frozen=True, slots=True)
class Blocked:
    """A value that depends on constants only, and yet was not evaluated.

    Attributes:
        reason: why, in words.
        name: of the constant or of the node's output.
    """

    name: str
    reason: str


class EvaluationError(Exception):
    """A chain of ops over constants could not be evaluated; the message says at which op and why."""


def stored(name: str, tensor: ir.TensorProtocol, most_bytes: int) -> Constant | Blocked:
    """The constant that `tensor` is; `Blocked` where its stored bytes do not fit its shape, or are more than `most_bytes`."""
    shape = tuple(dim if isinstance(dim, int) else -1 for dim in tensor.shape)
    if any(dim < 0 for dim in shape) or math.prod(shape) >= 1 << 62:
        return Blocked(name, f"its shape {shape} is no shape of a tensor")
    if tensor.dtype.name == "UNDEFINED":
        return Blocked(name, "its data type is undefined")
    found = _misfit(tensor)
    if found is not None:
        return Blocked(name, found)
    source = Stored(name, tensor)
    constant = Constant(tensor.dtype, shape, source, _digest(b"stored", str(id(tensor)).encode()), source)
    if constant.nbytes > most_bytes:
        return Blocked(name, f"it has {constant.nbytes} bytes; the limit is {most_bytes} (--max-constant-bytes)")
    return constant


def known(array: np.ndarray, label: str) -> Constant:
    """A constant whose small array is known already."""
    import onnx_ir as ir

    array = np.asarray(array, order="C")  # ascontiguousarray would give a scalar an axis
    signature = _digest(b"known", str(array.dtype).encode(), str(array.shape).encode(), array.tobytes(), label.encode())
    return Constant(ir.DataType.from_numpy(array.dtype), array.shape, array, signature, None)


def settled(constant: Constant) -> Constant:
    """The same constant, evaluated now: what builds on it need not start from its operands. Raises `EvaluationError`."""
    return replace(constant, source=evaluate(constant))


def computed(step: Step, dtype: ir.DataType, shape: tuple[int, ...]) -> Constant:
    """The constant that an op makes of others. `Identity` gives its operand."""
    node, inputs = step.node, step.inputs
    if node.op_type == "Identity" and node.domain in ("", "ai.onnx") and inputs[0] is not None:
        return inputs[0]
    roots = [c.root for c in inputs if c is not None and c.root is not None]
    root = max(roots, key=lambda r: r.tensor.size, default=None)
    attributes = b"".join(sorted(a.SerializeToString(deterministic=True) for a in node.attribute))
    parts = (b"" if c is None else c.signature for c in inputs)
    signature = _digest(node.domain.encode(), node.op_type.encode(), attributes, str(step.output).encode(), *parts)
    return Constant(dtype, shape, step, signature, root)


def derived(
    function: partial[np.ndarray], inputs: tuple[Constant, ...], dtype: ir.DataType, shape: tuple[int, ...]
) -> Constant:
    """The constant that `function` makes of the arrays of `inputs`; the first input with a stored tensor is its root."""
    root = next((c.root for c in inputs if c.root is not None), None)
    label = f"{function.func.__qualname__}{function.args}{sorted(function.keywords.items())}"
    signature = _digest(b"derived", label.encode(), *(c.signature for c in inputs))
    return Constant(dtype, shape, Derived(function, inputs), signature, root)


def evaluate(constant: Constant) -> np.ndarray:
    """The values of `constant`: its steps in order, each intermediate dropped once nothing needs it any more.

    It starts from what is stored, or from what an earlier evaluation gave and is still remembered.
    """
    results: dict[bytes, np.ndarray] = {}
    pending = [each for each in steps_in_order(constant, partial(_recalled, results)) if each.signature not in results]
    last_use = {c.signature: i for i, step in enumerate(pending) for c in operands_of(step)}
    for i, item in enumerate(pending):
        results[item.signature] = array = _value(item, results)
        if isinstance(item.source, Step):
            item.source.evaluation.remember(item.signature, array)
        for operand in operands_of(item):
            if last_use[operand.signature] == i:
                results.pop(operand.signature, None)
    return results[constant.signature]


def run(step: Step) -> np.ndarray:
    """The output of one op, whose shape nothing has promised. Raises `EvaluationError`."""
    return applied(step, [None if c is None else evaluate(c) for c in step.inputs])


def _misfit(tensor: ir.TensorProtocol) -> str | None:
    """Why a tensor in the file is none; None where its data is as long as its shape needs.

    onnx-ir reads a tensor without any data as zeros, and one of four bits with too few as if the rest were there. Numbers in
    fields of their own are counted when they are read.
    """
    import onnx

    proto = getattr(tensor, "raw", None)
    if not isinstance(proto, onnx.TensorProto) or math.prod(proto.dims) == 0:
        return None
    if not any(len(getattr(proto, name)) for name in validity.DATA_FIELDS):
        return "the file holds no data for it"
    if proto.HasField("raw_data") and not tensor.dtype.is_string() and len(proto.raw_data) != tensor.nbytes:
        return f"the file holds {len(proto.raw_data)} bytes for it, and its shape needs {tensor.nbytes}"
    return None


def operands_of(constant: Constant) -> list[Constant]:
    """The constants that a constant is made of directly."""
    source = constant.source
    return [c for c in source.inputs if c is not None] if isinstance(source, Step | Derived) else []


def _recalled(results: dict[bytes, np.ndarray], constant: Constant) -> bool:
    """Whether the values of a constant are remembered: then they are put into `results`."""
    found = constant.source.evaluation.recall(constant.signature) if isinstance(constant.source, Step) else None
    if found is not None:
        results[constant.signature] = found
    return found is not None


def steps_in_order(constant: Constant, known: Callable[[Constant], bool] = lambda _: False) -> list[Constant]:
    """The constants that `constant` is made of and itself, operands first; without recursion: chains can be long.

    What lies behind a constant that is `known` is left out.
    """
    order: list[Constant] = []
    seen: set[bytes] = set()
    stack: list[tuple[Constant, bool]] = [(constant, False)]
    while stack:
        item, expanded = stack.pop()
        if expanded:
            order.append(item)
        elif item.signature not in seen:
            seen.add(item.signature)
            stack.append((item, True))
            if not known(item):
                stack.extend((operand, False) for operand in operands_of(item))
    return order


def _value(constant: Constant, results: Mapping[bytes, np.ndarray]) -> np.ndarray:
    source = constant.source
    if isinstance(source, np.ndarray):
        return source
    if isinstance(source, Step):
        array = applied(source, [None if c is None else results[c.signature] for c in source.inputs])
    else:
        try:
            if isinstance(source, Stored):
                array = source.array()
            else:
                array = source.function(*(results[c.signature] for c in source.inputs))
        except (MemoryError, OnnxnullError):  # of a file that is not the one that was checked nothing is said
            raise
        except Exception as error:
            raise EvaluationError(f"{_described(source)}: {one_line(error)}") from error
    if array.shape != constant.shape:
        raise EvaluationError(f"a constant of shape {array.shape} where {constant.shape} was inferred")
    return array


def applied(step: Step, arrays: Sequence[np.ndarray | None]) -> np.ndarray:
    """The output of a step on these arrays, paid for. Raises `EvaluationError`."""
    op = step.node.op_type
    try:
        step.evaluation.budget.spend(step.work)
    except OutOfBudget:
        why = "evaluating constants takes more work than a model of this size may ask for (--max-amplification)"
        raise EvaluationError(f"op {op}: {why}") from None
    try:
        # An Inf or NaN among floats is found in what comes out; integers divided by 0 give numbers like others.
        integers = all(array is None or array.dtype.kind in "iu" for array in arrays)
        with np.errstate(all="ignore", divide="raise" if integers else "ignore"):
            return apply(step.node, step.opsets, arrays, step.output)
    except MemoryError:
        raise
    except Exception as error:
        raise EvaluationError(f"op {op}: {one_line(error)}") from error


def _described(source: Stored | Derived) -> str:
    match source:
        case Stored(name=name):
            return f"stored tensor {name!r}"
        case Derived(function=function):
            return function.func.__name__.replace("_", " ")


def apply(op: onnx.NodeProto, opsets: Mapping[str, int], inputs: Sequence[np.ndarray | None], output: int = 0) -> np.ndarray:
    """Output number `output` of one op on these arrays, by the reference evaluator; names in `op` do not matter.

    Raises whatever the evaluator raises.
    """
    import onnx

    node = onnx.NodeProto()
    node.CopyFrom(op)
    del node.input[:], node.output[:]
    node.name = ""
    node.input.extend("" if a is None else f"x{i}" for i, a in enumerate(inputs))
    node.output.extend(f"y{i}" for i in range(len(op.output)))
    versions = dict(opsets)
    if op.op_type in _FIRST_EVALUATED and op.domain in ("", "ai.onnx"):
        versions[""] = max(versions.get("", 1), _FIRST_EVALUATED[op.op_type])
    evaluator = _evaluator(node.SerializeToString(deterministic=True), tuple(sorted(versions.items())), output)
    results: list[Any] = evaluator.run(None, {f"x{i}": a for i, a in enumerate(inputs) if a is not None})
    return np.asarray(results[0])


@functools.lru_cache(maxsize=64)
def _evaluator(node: bytes, opsets: tuple[tuple[str, int], ...], output: int) -> Any:
    """A reference evaluator of one node, whose inputs are named x0, x1, ... and whose outputs y0, y1, ..."""
    import onnx
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    parsed = onnx.NodeProto.FromString(node)
    graph = helper.make_graph(
        [parsed],
        "constant",
        [helper.make_empty_tensor_value_info(name) for name in parsed.input if name],
        [helper.make_empty_tensor_value_info(f"y{output}")],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets]
    return ReferenceEvaluator(helper.make_model(graph, opset_imports=imports))


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()
