"""What follows for the outputs of a network, and which constant it follows from.

An output *is NaN* where one of its entries must be NaN for every input, *not finite* where all of its entries must be NaN or
infinite, *constant* where each is one number, or NaN, for all inputs of the same shapes, or where it has no entries. It is
constant *but for rounding* where arithmetic that hardly rounds keeps each entry within `_ROUNDING` of itself: a float32 holds
no more than its rounding then. Where that
begins is looked for from the output back: the first node on the way whose operands, but for constants, are not so yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.graph.bodies import subgraphs
from onnxnull.graph.constants import Constant
from onnxnull.graph.flow import Flow
from onnxnull.graph.node import Node
from onnxnull.intervals.domain import Range
from onnxnull.operators.traits import guards
from onnxnull.ranges.propagation import Propagation
from onnxnull.ranges.results import Effect, OutputClaim

if TYPE_CHECKING:
    import onnx_ir as ir


_PROVED = (Effect.NAN, Effect.NOT_FINITE, Effect.CONSTANT)
_AS_BAD = {effect: list(Effect)[: index + 1] for index, effect in enumerate(Effect)}
"""Effect → those that are at least as bad."""


_ROUNDING, _ROUNDED = 2.0**-24, ("FLOAT", "FLOAT16", "BFLOAT16")
"""Of an entry: the unit roundoff of float32; types that hold no more digits."""


def holds(effect: Effect, found: Range) -> bool:
    """Whether it follows from the range of a tensor; of a sequence, from those of its tensors."""
    if found.members is not None:
        each = [holds(effect, member.range) for member in found.members]
        return (effect.is_constant and not each) or (any(each) if effect is Effect.NAN else bool(each) and all(each))
    match effect:
        case Effect.NAN:
            return bool(found.only_nan.any())
        case Effect.NOT_FINITE:
            return bool(found.empty.all())
        case Effect.CONSTANT:
            one_number = (found.lo == found.hi) & ~found.infinite
            return found.sized and bool((found.fixed | one_number).all())
        case Effect.ROUNDING:
            size = np.maximum(np.abs(found.lo), np.abs(found.hi))
            near = ~found.empty & ~found.nan & ~found.infinite & (found.hi - found.lo <= _ROUNDING * size)
            return found.sized and bool((found.fixed | near).all())


def observed_outputs(flow: Flow) -> list[ir.Value]:
    """The outputs that claims are about: those of floats, all where there are none; none of a model without inputs."""
    outputs = list(flow.model.graph.outputs)
    floats = [value for value in outputs if (dtype := _entry_type(flow, value)) is not None and dtype.is_floating_point()]
    return (floats or outputs) if flow.model.inputs else []


def _entry_type(flow: Flow, value: ir.Value) -> ir.DataType | None:
    """Of a tensor, or of what a sequence or an optional holds."""
    import onnx_ir as ir

    kind = flow.type_of(value)
    while kind is not None and (field := kind.WhichOneof("value")) in ("sequence_type", "optional_type"):
        kind = getattr(kind, field).elem_type
    return None if kind is None or not kind.HasField("tensor_type") else ir.DataType(kind.tensor_type.elem_type)


def output_claims(propagation: Propagation) -> tuple[OutputClaim, ...]:
    """The worst that follows of each observed output of which anything does."""
    flow = propagation.flow
    operands = {value: flow.operand(value) for value in observed_outputs(flow)}
    effects: dict[ir.Value, tuple[Effect, Propagation]] = {}
    for value, operand in operands.items():
        found = propagation.of(value)
        effect = Effect.CONSTANT if 0 in (operand.shape or ()) else next((e for e in _PROVED if holds(e, found)), None)
        if effect is not None:
            effects[value] = effect, propagation
    rounded = [v for v in operands if v not in effects and (kind := _entry_type(flow, v)) is not None and kind.name in _ROUNDED]
    if rounded:
        sharp = Propagation(flow, sharp=True)
        effects |= {value: (Effect.ROUNDING, sharp) for value in rounded if holds(Effect.ROUNDING, sharp.of(value))}
    claims = []
    for value, operand in operands.items():
        if value in effects:
            effect, walk = effects[value]
            node, constants = _origin(walk, value, effect)
            claims.append(OutputClaim(operand.name, effect, *node, constants, isinstance(operand.constant, Constant)))
    return tuple(claims)


def _origin(propagation: Propagation, value: ir.Value, effect: Effect) -> tuple[tuple[str, str], tuple[str, ...]]:
    """((node, operator), constants that it reads) at which the effect begins; empty strings where there is no node."""
    views = {view.node: view for view in propagation.flow.nodes}
    seen: set[ir.Value] = set()
    while True:
        seen.add(value)
        producer = value.producer()
        if producer is None or producer not in views:
            return ("", ""), ()
        view = views[producer]
        for body in (body for _, body in subgraphs(producer)):
            inner = [each for each in body.outputs if each not in seen and _shows(propagation, each, effect)]
            if inner:
                value = inner[0]
                break
        else:
            earlier = [
                each for each in producer.inputs if each is not None and each not in seen and _shows(propagation, each, effect)
            ]
            if not earlier:
                return (view.name, view.op_type), constants_of(view)
            value = earlier[0]


def _shows(propagation: Propagation, value: ir.Value, effect: Effect) -> bool:
    """Whether a value that is no stored constant has the effect already, in some entries at least, or a worse one."""
    if isinstance(propagation.flow.operand(value).constant, Constant) or value.producer() is None:
        return False
    found = propagation.of(value)
    some = not effect.is_constant and bool((found.only_nan if effect is Effect.NAN else found.empty).any())
    return some or any(holds(each, found) for each in _AS_BAD[effect])


def constants_of(view: Node) -> tuple[str, ...]:
    """What a node reads that does not depend on the input: operands by name, numbers among its attributes as name=value."""
    operands = [each.name for each in view.inputs if each is not None and isinstance(each.constant, Constant)]
    numbers = [
        f"{name}={attribute.value:g}" for name, attribute in view.node.attributes.items() if attribute.type.name == "FLOAT"
    ]
    return (*operands, *numbers)


def live_nodes(propagation: Propagation) -> set[ir.Node]:
    """The nodes on the way from an input to an output, those in bodies included, but for branches that are never taken."""
    read: list[ir.Value] = list(propagation.flow.model.graph.outputs)
    seen: set[ir.Value] = set()
    live: set[ir.Node] = set()
    while read:
        value = read.pop()
        producer = None if value in seen else value.producer()
        seen.add(value)
        if producer is None or producer in live:
            continue
        live.add(producer)
        read.extend(each for each in producer.inputs if each is not None)
        never = propagation.never_taken(producer)
        read.extend(each for name, body in subgraphs(producer) if name != never for each in body.outputs)
    return live


def _loses(found: Range) -> bool:
    """Whether an entry has no finite number left, in a tensor of a sequence also."""
    return bool(found.empty.any()) or any(_loses(member.range) for member in found.members or ())


def lost_tensors(propagation: Propagation, live: set[ir.Node]) -> Iterator[tuple[Node, int]]:
    """(node, entries): where no entry of a tensor that depends on the input is finite any more, and nothing guards it."""
    for view in propagation.reached:
        if view.node not in live or not view.outputs or any(subgraphs(view.node)) or not constants_of(view):
            continue
        free = [each.value for each in view.inputs if each is not None and not isinstance(each.constant, Constant)]
        before = [propagation.of(value) for value in free]
        if all(bool(found.fixed.all()) for found in before) or any(_loses(found) for found in before):
            continue
        output = view.outputs[0]
        if output is None or not propagation.of(output.value).empty.all():
            continue
        if not any(guards(use.node) for use in output.value.uses()):
            yield view, int(np.prod([size or 1 for size in output.shape or ()], dtype=np.float64))


def odd_nodes(propagation: Propagation, live: set[ir.Node]) -> Iterator[tuple[Node, int, int]]:
    """(node, entries, of how many): where entries become NaN, or ±Inf of a sign that is not known, for every input.

    A mask makes −Inf of what it is added to, and a bound Inf: those are of one sign, and no news.
    """
    for view in propagation.reached:
        if view.node not in live or any(
            each is not None and _loses(propagation.of(each))
            for each in view.node.inputs
            if each is not None and not isinstance(propagation.flow.operand(each).constant, Constant)
        ):
            continue
        for value in view.node.outputs:
            found = propagation.of(value)
            lost = found.empty & (found.nan | (found.pinf & found.ninf))
            if lost.any():
                yield view, int(np.count_nonzero(lost)), lost.size
                break
