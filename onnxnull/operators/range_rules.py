"""What an operator makes of the sets of its operands' entries, behind one registry; the families register in their `ranges.py`.

A rule takes a node and its operands' ranges, and gives those of its outputs: larger sets are always sound, smaller ones never.
An operator without a rule may give anything. What holds for all: a deterministic operator gives the same for the same operands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.graph.constants import Constant
from onnxnull.graph.evaluable import is_random
from onnxnull.graph.node import Node, Operand
from onnxnull.graph.operator_facts import OperatorFacts, operator_of
from onnxnull.intervals.domain import SHARP, Range, anything, collapsed, loosened, reshaped, rounded, simplified
from onnxnull.kernel.budget import Budget, OutOfBudget

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, slots=True)
class Operands:
    """What a rule knows of a node's operands, and what it may spend.

    Attributes:
        find: index → range; None where the operand is left out.
        cost: constant → entries that are looked at to evaluate it.
        budget: of entries that all rules together may look at one by one.
        sharp: whether bounds are those of arithmetic that hardly rounds (`domain.SHARP`), not of what a runtime may compute.
    """

    find: Callable[[int], Range | None]
    cost: Callable[[Constant], float]
    budget: Budget
    sharp: bool = False

    def __call__(self, index: int) -> Range | None:
        """The range of an operand."""
        return self.find(index)

    @property
    def slack(self) -> float:
        """What a sum may lose by rounding, of the sum of its terms' sizes, however many there are: as coarse as bfloat16."""
        return SHARP if self.sharp else 2.0**-7

    def loosened(self, found: Range, relative: float = 1e-3, absolute: float = 1e-5, *, known: bool = False) -> Range:
        """Wider intervals, for what a runtime rounds or approximates; `known` are bounds that arithmetic did not compute."""
        if self.sharp:
            return found if known else loosened(found, SHARP, 0.0)
        return loosened(found, relative, absolute)

    def rounded(self, found: Range, dtype: ir.DataType | None) -> Range:
        """The sets inside an operator, after rounding to a type."""
        return rounded(found, dtype, within=True, sharp=self.sharp)

    def affords(self, entries: float) -> bool:
        """Take that many entries from the budget; False, and nothing taken, where they are not left."""
        try:
            self.budget.spend(entries)
        except OutOfBudget:
            return False
        return True


Rule = Callable[[Node, Operands], Range | Sequence[Range]]

_RULES: OperatorFacts[Rule] = OperatorFacts("range rule")
gives = _RULES.registers
"""Register the rule of these operators."""
_TELLS_ZEROS_APART: OperatorFacts[Callable[[Node, Operands], bool]] = OperatorFacts("note that it tells -0 from 0")
tells_zeros_apart = _TELLS_ZEROS_APART.registers
"""Register whether operands that are equal, −0 and 0, need not give equal results."""
_SHAPED_BY: OperatorFacts[tuple[int, ...]] = OperatorFacts("note on what decides shapes")


def shaped_by_values(*op_types: str, operands: tuple[int, ...] = (1,)) -> None:
    """Register the operands whose values decide the outputs' shapes (of reductions since opset 18, too: operand 1)."""
    _SHAPED_BY.add(operands, *op_types)


def finite_of_finite(*op_types: str, domain: str = "") -> None:
    """Register of these operators that they make finite numbers of finite ones, and nothing else."""
    _RULES.add(_finite_of_finite, *op_types, domain=domain)


def _finite_of_finite(node: Node, of: Operands) -> list[Range]:
    tame = all((each := of(index)) is None or each.tame for index in range(len(node.inputs)))
    return [anything(output_type(node, index), finite=tame) for index in range(len(node.outputs))]


def ranges(node: Node, of: Operands) -> list[Range]:
    """The ranges of a node's outputs, rounded to their types."""
    with np.errstate(all="ignore"):  # bounds overflow, and unbounded ones are multiplied by 0
        return _ranges(node, of)


def _ranges(node: Node, of: Operands) -> list[Range]:
    domain, _ = operator_of(node)
    rule = _RULES.of(node)
    free = [
        index for index, operand in enumerate(node.inputs) if operand is not None and not isinstance(operand.constant, Constant)
    ]
    fixed = _deterministic(node, domain, of, free)
    sized = _sized(node, domain, of, free)
    if rule is not None:
        found = rule(node, of)
        results = [found] if isinstance(found, Range) else list(found)
    else:
        results = []
    for index in range(len(results), len(node.outputs)):
        results.append(anything(output_type(node, index)))
    # what a sequence or an optional gives has the shape of what is in it, which their rules follow
    told = rule is not None and any(word in node.op_type for word in ("Sequence", "Optional"))
    return [
        _finished(result, node.outputs[index], fixed=fixed, sized=sized or (told and result.sized), sharp=of.sharp)
        for index, result in enumerate(results[: len(node.outputs)])
    ]


def _finished(found: Range, output: Operand | None, *, fixed: bool, sized: bool, sharp: bool) -> Range:
    """Rounded, as few sets as tell the entries apart, the shape settled where it is known."""
    dtype, shape = (None, None) if output is None else (output.dtype, output.shape)
    if found.members is not None:
        return replace(collapsed(found), fixed=np.asarray(found.fixed.all() | fixed), members=found.members)
    if 0 in (shape or ()):  # nothing is in it, whatever the input
        return replace(anything(dtype), fixed=np.asarray(True))
    result = simplified(rounded(found, dtype, sharp=sharp))
    if shape is None or not _fits(result.shape, shape):
        result = collapsed(result)
    known = shape is not None and None not in shape
    return replace(result, fixed=result.fixed | fixed, sized=known or fixed or sized)


def _fits(mine: tuple[int, ...], shape: Sequence[int | None]) -> bool:
    """Whether NumPy broadcasts arrays of shape `mine` to a tensor of this shape, as far as that is known."""
    own = shape[len(shape) - len(mine) :]
    return len(mine) <= len(shape) and all(a == 1 or b is None or a == b for a, b in zip(mine, own, strict=True))


def _deterministic(node: Node, domain: str, of: Operands, free: Sequence[int]) -> bool:
    """Whether every operand, and so every output, is the same for all inputs; `free` are the operands that are no constants."""
    known = domain in ("", "com.microsoft") and not is_random(node) and not node.attribute("training_mode", 0)
    if not known or node.op_type == "Dropout" or not node.inputs:
        return False
    if not all(each.sized and bool(each.fixed.all()) for each in (given(of, index) for index in free)):
        return False
    tells = _TELLS_ZEROS_APART.of(node)
    return tells is None or not tells(node, of)


def _sized(node: Node, domain: str, of: Operands, free: Sequence[int]) -> bool:
    """Whether the outputs' shapes follow from shapes alone."""
    if domain not in ("", "ai.onnx.ml") or any(word in node.op_type for word in ("Sequence", "Optional", "String")):
        return False
    deciding = _SHAPED_BY.of(node) or ()
    found = {index: given(of, index) for index in free}
    return all(each.sized and (index not in deciding or bool(each.fixed.all())) for index, each in found.items())


def output_type(node: Node, index: int = 0) -> ir.DataType | None:
    """The type of an output as onnx-ir knows it; None where it is not known."""
    output = node.outputs[index] if index < len(node.outputs) else None
    return None if output is None else output.dtype


def given(of: Operands, index: int) -> Range:
    """The range of an operand that cannot be left out; anything where it is."""
    found = of(index)
    return anything(None) if found is None else found


def rank_of(node: Node, index: int = 0) -> int | None:
    """How many axes an operand has."""
    operand = node.input(index)
    return None if operand is None or operand.shape is None else len(operand.shape)


def along_channels(found: Range, rank: int | None) -> Range:
    """A range (C,) laid along axis 1 of a tensor of that rank; one set where the rank is not known."""
    if found.lo.size == 1:
        return found
    if rank is None or rank < 2:
        return collapsed(found) if rank != 1 else found
    return reshaped(found, (found.lo.size, *(1,) * (rank - 2)))


def axis_length(node: Node, axis: int, index: int = 0) -> int | None:
    """How long an axis of an operand is; None where that is not known, as of the first one where the batch size is open."""
    operand = node.input(index)
    if operand is None or operand.shape is None or not -len(operand.shape) <= axis < len(operand.shape):
        return None
    batch = node.one_sample and axis % len(operand.shape) == 0 and len(operand.shape) > 1
    return None if batch else operand.shape[axis]


def part_along(found: Range, axis: int, rank: int | None) -> int | None:
    """The axis of a range's arrays along axis `axis` of a tensor of that rank; None where one set holds for all of it."""
    if rank is None:
        return None
    own = (axis % rank) - rank + len(found.shape)
    return own if own >= 0 and found.shape[own] > 1 else None
