"""The linear weights of a node: what a family registers of the operators that hold some.

A family registers, per operator, a function that lists the linear weights a node of it holds: `LinearUse`, or a `Refusal`
where it holds one that is not analysed. It also registers the operators that were reviewed and hold none (`reviewed.py`: those
of no family). What is on neither side is refused as soon as it has a constant of two or more dimensions: a weight is never
dropped without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from onnxnull.errors import Code
from onnxnull.graph.constants import Blocked, Constant
from onnxnull.graph.node import Node, Operand
from onnxnull.graph.operator_facts import OperatorFacts, operator_of
from onnxnull.graph.quantization import InexactError, Quantized, moved, quantized_from
from onnxnull.graph.types import Shape
from onnxnull.kernel.maps.linear_map import LinearMap


@dataclass(frozen=True, slots=True)
class LinearUse:
    """A constant that a node applies as a matrix to another of its inputs.

    The matrix is block-diagonal: `blocks` of shape (g, q, p), rows are inputs, columns outputs; one patch (one row of the
    activation) meets one block.

    Attributes:
        constant: the weight's constant.
        activation: index of the node input that the matrix acts on; None where it is the node's own state.
        shape: (g, q, p).
        arrange: array of the constant → blocks (g, q, p), same dtype; equal arrangements have equal func and args.
        linear_map: (blocks, shape of the activation) → the node as a linear map from that tensor to the node's first
            output, without the constant terms (bias).
        paper: whether Table 1 of the paper counts it: weights of Conv and of fully connected layers.
        scale: factor that the node puts on the product (Gemm's alpha).
        part: which part of the constant, where a node holds several ("forward", "zr").
        groups: the node's `group` attribute, for reports.
        on_images: whether patches may overlap or leave gaps, as a convolution's do: the whole input has a kernel of its own.
        integer: whether the node multiplies by the integers of a quantized constant, and not by what they are as floats.
        index: which slice of a stored constant it is, where a run chooses among them: "[3]".
        condition: what only a run decides about the matrix, in words ("chosen at run time"); empty where it is always this one.
    """

    constant: Constant
    activation: int | None
    shape: tuple[int, int, int]
    arrange: partial[np.ndarray]
    linear_map: Callable[[np.ndarray, tuple[int, ...]], LinearMap]
    paper: bool
    scale: float = 1.0
    part: str = ""
    groups: int = 1
    on_images: bool = False
    integer: bool = False
    index: str = ""
    condition: str = ""

    def matrix(self) -> np.ndarray:
        """What the node multiplies by: the blocks in float64, times `scale`."""
        return self.scale * self.blocks().astype(np.float64)

    def blocks(self) -> np.ndarray:
        """The matrix that runs, (g, q, p), without `scale`, in the dtype of the constant. Raises `EvaluationError`.

        Where the node multiplies by integers: S∘(Wq − Z) in float64, exactly.
        """
        return self._arranged(moved(self.constant, Quantized.rational) if self.integer else self.constant.array())

    def rational_blocks(self) -> np.ndarray | None:
        """S∘(Wq − Z) of a quantized weight in float64, (g, q, p), exactly; None for others. Raises `EvaluationError`.

        None also where doubles do not hold it, and floats run anyway.
        """
        try:
            return self.of_quantized(Quantized.rational)
        except InexactError:
            if self.integer:
                raise
            return None

    def of_quantized(self, value: Callable[[Quantized], np.ndarray]) -> np.ndarray | None:
        """`value` of a quantized weight (scales, say) arranged as the matrix is (g, q, p); None for others."""
        return self._arranged(moved(self.constant, value)) if quantized_from(self.constant) is not None else None

    def _arranged(self, array: np.ndarray) -> np.ndarray:
        blocks: np.ndarray = self.arrange(array)
        return blocks

    @property
    def signature(self) -> tuple[object, ...]:
        """Equal for two uses of the same matrix: same constant, same steps, same arrangement."""
        return (self.constant.signature, self.arrange.func.__qualname__, self.arrange.args, self.scale)


class Refusal(Exception):
    """A weight, or what may be one, that is not analysed, and why."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(f"{code.code}: {reason}")
        self.code = code
        self.reason = reason


Uses = Callable[[Node], Iterable[LinearUse]]

_NUMBERS = ("TENSOR", "TENSORS", "SPARSE_TENSOR", "SPARSE_TENSORS", "FLOATS")
_NO_NUMBERS = ("STRING", "COMPLEX64", "COMPLEX128")
_WEIGHTS: OperatorFacts[Uses] = OperatorFacts("reader of weights")
BatchAxes = Callable[[Node, int, int], Iterable[int]]
"""Node, index of an operand and its rank → axes."""
_BATCHES: OperatorFacts[BatchAxes] = OperatorFacts("function of batch axes")
_POSITIONS: OperatorFacts[bool] = OperatorFacts("note on positions")
holds_weights = _WEIGHTS.registers
"""Register the function that lists the linear weights of a node of these operators."""
batches = _BATCHES.registers
"""Register the axes of an operand along which these operators hold products of their own."""
reads_positions = partial(_POSITIONS.add, True)
"""Note that operands of these operators say where others are read: one that a run decides is no matrix."""


def holds_no_weight(op_types: str, domain: str = "") -> None:
    """Register operators that were reviewed and hold no linear weight: names, separated by spaces."""
    _WEIGHTS.add(_none, *op_types.split(), domain=domain)


def _none(node: Node) -> tuple[LinearUse, ...]:
    return ()


def handled_operators() -> frozenset[tuple[str, str]]:
    """(domain, op type) of every operator whose weights a family reads, or refuses."""
    return frozenset(operator for operator, uses in _WEIGHTS.items() if uses is not _none)


def reviewed_operators() -> frozenset[tuple[str, str]]:
    """(domain, op type) of every operator that was reviewed and holds no linear weight."""
    return frozenset(_WEIGHTS) - handled_operators()


def linear_uses(node: Node) -> Iterator[LinearUse | Refusal]:
    """The linear weights of a node and what it holds that may be one; nothing for a node of constants only."""
    from onnxnull.operators.run_time import run_time_uses

    if node.outputs and all(o is None or isinstance(o.constant, Constant) for o in node.outputs):
        return
    yield from run_time_uses(node, list(stored_uses(node)))


def stored_uses(node: Node) -> Iterator[LinearUse | Refusal]:
    """The same of the operands that are constants."""
    function = _WEIGHTS.of(node)
    try:
        if function is not None:
            yield from function(node)
        else:
            yield from _of_unknown_operator(node)
    except Refusal as refusal:
        yield refusal


def is_of_positions(node: Node) -> bool:
    """Whether `reads_positions` was said of the operator."""
    return operator_of(node) in _POSITIONS


def batch_axes(node: Node, index: int, rank: int) -> frozenset[int]:
    """Axes of operand `index`, of this rank, along which the node holds products of their own; none where nothing is known."""
    function = _BATCHES.of(node)
    return frozenset() if function is None else frozenset(function(node, index, rank))


def constant_at(node: Node, index: int) -> Constant | None:
    """The constant at an input; None where it is left out or depends on the model's inputs. Raises `Refusal`."""
    operand = node.input(index)
    if operand is None or operand.constant is None:
        return None
    if isinstance(operand.constant, Blocked):
        raise Refusal(Code.CONSTANT, f"constant {operand.constant.name!r} was not evaluated: {operand.constant.reason}")
    if operand.constant.dtype.name in _NO_NUMBERS:
        raise Refusal(Code.OPERATOR, f"constant {operand.name!r} has type {operand.constant.dtype.name}")
    return operand.constant


def shape_at(node: Node, index: int) -> Shape | None:
    """The shape of an input as far as it is known."""
    operand = node.input(index)
    return None if operand is None else operand.shape


def is_constant(node: Node, index: int) -> bool:
    """Whether an input does not depend on the model's inputs, evaluated or not."""
    operand = node.input(index)
    return operand is not None and operand.constant is not None


def shows_only_first_output(node: Node) -> bool:
    """Whether nobody reads the node's other outputs, which may show what the first hides of its inputs."""
    others = [output for output in node.outputs[1:] if output is not None]
    return not any(output.value.is_graph_output() or list(output.value.uses()) for output in others)


def refuse_constant_operands(
    node: Node, reason: str, *, least_rank: int = 2, operands: slice = slice(None)
) -> Iterator[Refusal]:
    """A refusal if any of these inputs is a constant of at least `least_rank` dimensions (or of unknown shape)."""
    names = [o.name for o in node.inputs[operands] if o is not None and _may_be_weight(o, least_rank)]
    if names:
        yield Refusal(Code.OPERATOR, f"{reason} (constant {', '.join(map(repr, names))})")


def _may_be_weight(operand: Operand, least_rank: int) -> bool:
    constant = operand.constant
    return isinstance(constant, Blocked) or (constant is not None and len(constant.shape) >= least_rank and constant.size > 1)


def _of_unknown_operator(node: Node) -> Iterator[Refusal]:
    """An operator that nobody has reviewed: any constant of it may be a weight, stored flat or as an attribute too."""
    name = f"{node.domain or 'ai.onnx'}.{node.op_type}"
    yield from refuse_constant_operands(node, f"operator {name} is not known", least_rank=1)
    numbers = [a.name for a in node.node.attributes.values() if a.type.name in _NUMBERS]
    if numbers:
        yield Refusal(Code.OPERATOR, f"operator {name} is not known (attribute {', '.join(map(repr, numbers))})")
