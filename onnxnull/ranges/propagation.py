"""The walk: what every tensor of a model may hold, node by node, in the bodies of If, Loop and Scan too.

- If: what both branches may give; the branch that a condition surely takes where it is known.
- Loop and Scan: the body is walked once with states that may be anything, so what it gives holds in every round: that is what
  is kept of the values inside. A state is what it was at first where there is no round, what the body gives where there is one,
  else either. Loops of up to `rounds.MOST` rounds are followed round by round, others until their states' sets no longer grow,
  as far as `_VISITS` goes.
- SequenceMap: the body, for each tensor of a sequence of which they are known.
- Inputs are any finite number of their type, initializers what the file holds, also where a caller may replace them.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.graph.bodies import body_of, scanned, subgraphs
from onnxnull.graph.constants import Constant, EvaluationError, operands_of
from onnxnull.graph.flow import Flow
from onnxnull.graph.node import Node
from onnxnull.intervals.domain import LARGEST, Member, Range, anything, collapsed, constant, summary, union
from onnxnull.kernel.budget import Budget
from onnxnull.operators.movement.sequences import sequence_of
from onnxnull.operators.range_rules import Operands, ranges
from onnxnull.ranges.rounds import MOST, counted, either, uncounted

if TYPE_CHECKING:
    import onnx_ir as ir

_FREE, _TIMES = 1 << 25, 16
"""Entries that are looked at one by one: so many, and this many times the bytes of the model."""
_VISITS = 1024
"""Nodes of bodies that are looked at more than once."""


class _Spent(Exception):
    """Bodies were walked often enough."""


class Propagation:
    """The ranges of all values of a model.

    Args:
        sharp: bounds of arithmetic that hardly rounds; else of all that a runtime may compute.

    Attributes:
        reached: nodes in the order in which they were computed, those in bodies before the node that runs them.
    """

    def __init__(self, flow: Flow, *, sharp: bool = False) -> None:
        self.flow, self._sharp = flow, sharp
        self.reached: list[Node] = []
        self._views = {view.node: view for view in flow.nodes}
        self._found: ChainMap[ir.Value, Range] = ChainMap()
        self._visits = 0
        self._constants: dict[bytes, Range] = {}
        self._costs: dict[bytes, float] = {}
        self._budget = Budget(_FREE + _TIMES * flow.model.stored_bytes)
        self._kept_back = self._budget.left / 2
        for value in flow.model.graph.inputs:
            operand = flow.operand(value)
            self._found[value] = anything(operand.dtype, finite=operand.dtype is not None)
        self._walk(flow.model.graph)

    def of(self, value: ir.Value) -> Range:
        """What a value may be."""
        operand = self.flow.operand(value)
        if isinstance(operand.constant, Constant):
            return self._constant(operand.constant)
        found = self._found.get(value)
        return anything(operand.dtype, sized=False) if found is None else found

    def _constant(self, given: Constant) -> Range:
        found = self._constants.get(given.signature)
        if found is None:
            found = self._constants[given.signature] = self._evaluated(given)
        return found

    def _cost(self, given: Constant) -> float:
        """Entries of a constant and of all that it is made of: it is evaluated from what is stored."""
        pending = [given]
        while pending:
            last = pending[-1]
            missing = [each for each in operands_of(last) if each.signature not in self._costs]
            if missing and last.signature not in self._costs:
                pending.extend(missing)
                continue
            pending.pop()
            self._costs[last.signature] = last.size + sum(self._costs[each.signature] for each in operands_of(last))
        return self._costs[given.signature]

    def _evaluated(self, given: Constant) -> Range:
        """The sets of a constant; that of all entries together where there are many; anything, but fixed, if not evaluated."""
        unknown = replace(anything(given.dtype), fixed=np.asarray(True))
        try:
            if not given.size or given.dtype.is_string():
                return unknown
            self._budget.spend(self._cost(given))
            array = given.array()
        except (EvaluationError, ArithmeticError):
            return unknown
        if array.dtype.kind not in "biufV":
            return unknown
        return constant(array) if array.size <= LARGEST else summary(array)

    def _walk(self, graph: ir.Graph) -> None:
        again = len(self._found.maps) > 1
        for node in graph:
            if again:
                self._visits += 1
                if self._visits > _VISITS or self._budget.left < self._kept_back:
                    raise _Spent
            view = self._views[node]
            bodies = [body for _, body in subgraphs(node)]
            if all(output is None or isinstance(output.constant, Constant) for output in view.outputs):
                continue
            if not bodies:
                results = ranges(view, Operands(partial(self._operand, node), self._cost, self._budget, self._sharp))
            elif view.domain in ("", "ai.onnx") and view.op_type == "If" and len(bodies) == 2:
                results = self._branches(view, node)
            elif view.domain in ("", "ai.onnx") and view.op_type in ("Loop", "Scan") and view.version >= 9:
                results = self._rounds(view, bodies[0])
            elif view.domain in ("", "ai.onnx") and view.op_type == "SequenceMap":
                results = self._mapped(view, bodies[0])
            else:
                results = []
                for body in bodies:
                    self._enter(body, {})
            for value, found in zip(node.outputs, results, strict=False):
                self._found[value] = found
            if not again:
                self.reached.append(view)

    def _operand(self, node: ir.Node, index: int) -> Range | None:
        value = node.inputs[index] if index < len(node.inputs) else None
        return None if value is None else self.of(value)

    def _enter(self, body: ir.Graph, known: dict[int, Range]) -> list[Range]:
        """Walk a body whose inputs have these ranges, or any; the ranges of its outputs."""
        for index, value in enumerate(body.inputs):
            self._found[value] = known.get(index, anything(self.flow.operand(value).dtype, sized=False))
        self._walk(body)
        return [self.of(value) for value in body.outputs]

    def _branches(self, view: Node, node: ir.Node) -> list[Range]:
        bodies = dict(subgraphs(node))
        then, other = (self._enter(bodies[name], {}) for name in ("then_branch", "else_branch"))
        never = self.never_taken(node)
        if never is not None:
            return then if never == "else_branch" else other
        condition = self._operand(node, 0) or anything(None)
        settled = bool(condition.fixed.all())
        results = []
        for a, b, output in zip(then, other, view.outputs, strict=False):
            joined = union(a, b)
            fixed = joined.fixed | (settled & bool(a.fixed.all()) & bool(b.fixed.all()))
            known = output is not None and output.shape is not None and None not in output.shape
            results.append(collapsed(replace(joined, fixed=fixed, sized=joined.sized and (settled or known))))
        return results

    def never_taken(self, node: ir.Node) -> str | None:
        """The branch of an If that its condition never takes; None where that is not known."""
        if node.op_type != "If" or node.domain not in ("", "ai.onnx"):
            return None
        condition = collapsed(self._operand(node, 0) or anything(None))
        if condition.lo.min() >= 1:
            return "else_branch"
        return "then_branch" if condition.hi.max() <= 0 else None

    def _rounds(self, view: Node, body: ir.Graph) -> list[Range]:
        scans = view.op_type == "Scan"
        first = 0 if scans else 2
        states = (len(view.inputs) - int(view.attribute("num_scan_inputs", 0))) if scans else len(view.inputs) - 2
        given = self._enter(body, {})[0 if scans else 1 :]
        least, most = self.rounds_of(view)
        before = [self._operand(view.node, first + index) or anything(None) for index in range(states)]
        if most == 0:
            after: list[Range] | None = None
        else:
            after = self._followed(view, body, before, most if least == most else None)
        results = []
        for index, (found, output) in enumerate(zip(given, view.outputs, strict=False)):
            collects = index >= states
            if after is not None and (least == most or not collects):
                found = after[index]
            elif collects:
                found = replace(collapsed(found), sized=False) if scans else anything(None, sized=False)
            if not collects and least == 0:
                found = before[index] if most == 0 else either(before[index], found)
            known = output is not None and output.shape is not None and None not in output.shape
            results.append(replace(found, sized=found.sized or known))
        return results

    def _followed(self, view: Node, body: ir.Graph, initial: Sequence[Range], rounds: float | None) -> list[Range] | None:
        """What the rounds of a loop hand on and collect, followed from the first states; None where that takes too long."""
        counts = view.op_type == "Loop"
        slices = {part.inner: collapsed(self.of(view.node.inputs[part.operand])) for part in scanned(view.node)}  # type: ignore[arg-type]

        def walk(number: int | None, states: Sequence[Range]) -> list[Range]:
            known = dict(enumerate(states, start=2 if counts else 0))
            known |= {index: slices[value] for index, value in enumerate(body.inputs) if value in slices}
            if counts and number is not None:
                known[0] = constant(np.asarray(number))
            return self._enter(body, known)[1 if counts else 0 :]

        self._found = self._found.new_child()
        try:
            if rounds is None or rounds > MOST:
                return None if rounds is not None and counts and not initial else uncounted(walk, initial)
            return counted(walk, initial, int(rounds))
        except _Spent:
            return None
        finally:
            self._found = self._found.parents

    def _mapped(self, view: Node, body: ir.Graph) -> list[Range]:
        """SequenceMap (opset 17): the body for each tensor of the first sequence, and of others of its length."""
        given = self._enter(body, {})
        operands = [self._operand(view.node, index) or anything(None) for index in range(len(view.inputs))]
        count = len(operands[0].members or ())
        if not 0 < count <= MOST:
            return [replace(collapsed(found), sized=False) for found in given]
        rounds = []
        self._found = self._found.new_child()
        try:
            for number in range(count):
                known = {
                    index: each if each.members is None else each.members[number].range
                    for index, each in enumerate(operands)
                    if each.members is None or number < len(each.members)
                }
                rounds.append(self._enter(body, known))
        except _Spent:
            return [replace(collapsed(found), sized=False) for found in given]
        finally:
            self._found = self._found.parents
        return [sequence_of([Member(found, None) for found in column]) for column in zip(*rounds, strict=True)]

    def rounds_of(self, view: Node) -> tuple[float, float]:
        """The least and the largest number of rounds of a Loop or a Scan (opset 9 on), as far as they follow."""
        if view.op_type == "Scan":
            length = _scanned_length(view)
            return (0, math.inf) if length is None else (length, length)
        count, condition = (None if (found := self._operand(view.node, i)) is None else collapsed(found) for i in (0, 1))
        least, most = (math.inf, math.inf) if count is None else (max(0.0, float(count.lo.min())), float(count.hi.max()))
        if condition is not None and bool(condition.hi.max() <= 0):
            return 0, 0
        if condition is not None and not bool(condition.lo.min() >= 1):
            return 0, most
        return (least if self._goes_on(view) else min(least, 1)), most

    def _goes_on(self, view: Node) -> bool:
        """Whether a Loop's body always asks for another round, if it was asked for the first."""
        body = body_of(view.node)
        if body is None or len(body.inputs) < 2 or not body.outputs:
            return False
        value: ir.Value | None = body.outputs[0]
        while value is not None and (made := value.producer()) is not None and made.op_type == "Identity":
            value = made.inputs[0]
        return value is body.inputs[1] or bool(self.of(body.outputs[0]).lo.min() >= 1)


def _scanned_length(view: Node) -> int | None:
    """How many slices a Scan takes of what it scans first."""
    parts = scanned(view.node)
    operand = view.input(parts[0].operand) if parts else None
    shape = None if operand is None else operand.shape
    return None if shape is None or not -len(shape) <= parts[0].axis < len(shape) else shape[parts[0].axis]
