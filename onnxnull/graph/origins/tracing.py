"""Trace the origin of every value that only a run decides, through nodes, branches and loops, once per model.

Rules, in the order in which they apply to a node:
1. What control flow hands in and out: a branch gives one of two values, a loop slices of what it scans and the round's number.
2. An index or a condition of one entry is tried out: Gather by such an index gives as many constants as there are slices.
3. A node of constants and alternatives gives what it gives for each of them, evaluated when that is needed.
4. A constant times something smaller is that constant, scaled. Selected, placed, masked or shifted it is `Unresolved`.
5. Everything else is an activation: in particular every product, normalization and function of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from onnxnull.graph.bodies import State, body_of, is_batched_scan, scanned, states, subgraphs, unchanged
from onnxnull.graph.constants import Blocked, Constant, EvaluationError, known
from onnxnull.graph.origins import slicing, transfer
from onnxnull.graph.origins.operands import Held
from onnxnull.graph.origins.values import Alternatives, Candidate, FirstRound, Origin, Unresolved, is_fill, one_of, whole

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxnull.graph.flow import Flow
    from onnxnull.graph.node import Node

_MOST_PASSES = 8
_CHANGED = "a loop starts with it and changes it"


def trace(flow: Flow) -> Mapping[ir.Value, Origin]:
    """The origin of every value that has one."""
    tracer = _Tracer(flow)
    for _ in range(_MOST_PASSES):
        tracer.follow(flow.model.graph)
        if not tracer.revised:
            break
    return tracer.origins


class _Tracer:
    """One value after another, in the order of the graph.

    What a loop hands on to its next round is not known when its body is entered: it is taken for changed entries of constants
    where it starts as some, and for an activation elsewhere; where the body shows that this is wrong, all is traced again.
    """

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.views = {view.node: view for view in flow.nodes}
        self.origins: dict[ir.Value, Origin] = {}
        self.members: dict[ir.Value, tuple[Constant, ...]] = {}
        self.carries: dict[ir.Value, bool] = {}
        self.revised = False

    def follow(self, graph: ir.Graph) -> None:
        """Trace a graph and the bodies in it."""
        if graph is self.flow.model.graph:
            self.revised = False
            self.origins.clear()
        for node in graph:
            view = self.views[node]
            bodies = [body for _, body in subgraphs(node)]
            if not bodies:
                self._node(view)
                continue
            self._enter(view)
            for body in bodies:
                self.follow(body)
            self._leave(view, bodies)

    def held(self, value: ir.Value | None) -> Held:
        """What a value is known to hold; None for an activation, and where there is no value."""
        if value is None:
            return None
        operand = self.flow.operand(value)
        return operand.constant if operand.constant is not None else self.origins.get(value)

    def _node(self, view: Node) -> None:
        held = tuple(self.held(value) for value in view.node.inputs)
        slicing.note_members(view, held, self.members)
        if all(isinstance(self.flow.operand(value).constant, Constant) for value in view.node.outputs if value.name):
            return
        for index, value in enumerate(view.node.outputs):
            if value.name and self.flow.operand(value).constant is None:
                at = self.members.get(view.node.inputs[0]) if view.node.inputs and view.node.inputs[0] is not None else None
                self._set(value, transfer.origin(self.flow, view, held, index, at))

    def _set(self, value: ir.Value, origin: Held) -> None:
        match origin:
            case Alternatives() | Unresolved():
                self.origins[value] = origin
            case Constant():
                self.origins[value] = whole(origin)
            case Blocked():
                self.origins[value] = Unresolved(origin.reason)

    def _enter(self, view: Node) -> None:
        node = view.node
        body = body_of(node)
        if is_batched_scan(node, view.version):
            for inner, value in zip(() if body is None else body.inputs, node.inputs[1:], strict=False):
                if self.held(value) is not None:
                    self._set(inner, Unresolved("op Scan of opset 8 cuts it into batches"))
            return
        if node.op_type == "SequenceMap" and node.domain in ("", "ai.onnx"):
            for inner, value in zip(next(graph for _, graph in subgraphs(node)).inputs, node.inputs, strict=False):
                members = None if value is None else self.members.get(value)
                self._set(inner, self.held(value) if members is None else slicing.one_of_members(members, node))
        trips = self.held(node.inputs[0]) if node.op_type == "Loop" and node.inputs else None
        for state in states(node):
            initial = self.held(node.inputs[state.operand])
            if self.flow.operand(state.inner).constant is not None:
                continue
            if unchanged(state):
                self._set(state.inner, initial)
            elif (counted := self._counted(state, initial, trips, node)) is not None:
                self._set(state.inner, counted)
            elif self.carries.setdefault(state.inner, initial is not None):
                self._set(state.inner, Unresolved(_CHANGED))
            elif isinstance(initial, Constant) and not is_fill(initial):
                self._set(state.inner, Alternatives((Candidate(initial, when=((FirstRound(state.inner), 0),)),)))
            elif isinstance(initial, Alternatives | Unresolved):
                self._set(state.inner, initial)
        for part in scanned(node):
            whole_value = self.held(node.inputs[part.operand])
            self._set(part.inner, slicing.slices(self.flow, whole_value, part.axis, node))
        if node.op_type == "Loop" and body is not None and body.inputs:
            self._set(body.inputs[0], _rounds(trips, node))

    def _counted(self, state: State, initial: Held, trips: Held, node: ir.Node) -> Alternatives | None:
        """A state that counts the rounds of a loop, a constant more in each: the numbers that it may be."""
        added = state.after.producer()
        rounds = _rounds(trips, node)
        if added is None or added.op_type != "Add" or not isinstance(initial, Constant) or rounds is None:
            return None
        steps = [self.held(value) for value in added.inputs if value is not state.inner]
        if len(steps) != 1 or not isinstance(steps[0], Constant) or initial.size != 1 or steps[0].size != 1:
            return None
        if not initial.dtype.is_integer():
            return None
        try:
            start, step = initial.array(), steps[0].array().reshape(())
            numbers = [known(start + round_ * step, "count") for round_ in range(len(rounds.cases))]
        except EvaluationError:
            return None
        return Alternatives(tuple(replace(case, constant=n) for case, n in zip(rounds.cases, numbers, strict=True)))

    def _leave(self, view: Node, bodies: list[ir.Graph]) -> None:
        node = view.node
        if node.op_type == "If" and node.domain in ("", "ai.onnx"):
            for index, value in enumerate(node.outputs):
                if self.flow.operand(value).constant is None:
                    sides = [dict(subgraphs(node)).get(name) for name in ("else_branch", "then_branch")]
                    given = [self.held(s.outputs[index]) for s in sides if s is not None and index < len(s.outputs)]
                    self._set(value, slicing.one_of_values(given, node.inputs[0]))
            return
        done = set()
        for state in () if is_batched_scan(node, view.version) else states(node):
            done.add(state.output)
            after = self.held(state.after)
            value = node.outputs[state.output]
            counted = isinstance(self.origins.get(state.inner), Alternatives) and state.inner not in self.carries
            if self.flow.operand(state.inner).constant is None and not unchanged(state) and not counted:
                expected = after is not None and not _is_first_value(after, state.inner)
                if self.carries.get(state.inner) != expected:
                    self.carries[state.inner], self.revised = expected, True
            if self.flow.operand(value).constant is None:
                self._set(value, after if after is None or unchanged(state) else Unresolved(_CHANGED))
        for index, value in enumerate(node.outputs):
            if index in done or not value.name or self.flow.operand(value).constant is not None:
                continue
            offset = len(bodies[0].outputs) - len(node.outputs) if bodies else 0
            inside = bodies[0].outputs[offset + index] if bodies and 0 <= offset + index < len(bodies[0].outputs) else None
            if self.held(inside) is not None:
                self._set(value, Unresolved(f"op {node.op_type} stacks it"))


def _is_first_value(after: Held, inner: ir.Value) -> bool:
    """Whether all that is handed on is what the loop started with, perhaps."""
    return isinstance(after, Alternatives) and all(FirstRound(inner) in dict(case.when) for case in after.cases)


def _rounds(trips: Held, node: ir.Node) -> Alternatives | None:
    """The numbers of the rounds, where a constant says how many there are."""
    if not isinstance(trips, Constant) or trips.size != 1:
        return None
    try:
        count = int(trips.array().reshape(()))
        return one_of(count, node, ()) if count > 0 else None
    except EvaluationError:
        return None
