"""What enters operators near the outputs that hide small changes (ArgMax, Softmax, Clip): judged beside the outputs.

A probability of 1, a clipped value and the index of the largest score stay the same while what they are made of changes. So
from every output the way back is followed through operators that move, cast, scale, add or choose entries. Where it meets one
that is flat somewhere (`FLATNESS`), what enters that is judged too, and the way goes on from there; it ends at every other
operator. An If, Loop or Scan with such an operator in a body counts as one: what its node and its bodies read of the main graph
is judged.

What is made of flat operators alone is no more than what enters these: of an ArgMax behind a Softmax the logits are judged. A
probability of 1 − 1e-12 has no digits left to show how far other inputs move it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from onnxnull.graph.bodies import captured, subgraphs
from onnxnull.operators.flatness import FLATNESS

if TYPE_CHECKING:
    from onnxnull.graph.flow import Flow
    from onnxnull.graph.node import Node, Operand


def entering(flow: Flow) -> dict[str, str]:
    """Tensor of the main graph → the flat operator that it enters, from the outputs backward.

    Only floats (or tensors of unknown type) that a node makes: a graph input is what is changed, not what comes of it.
    """
    makers = {
        output.name: view
        for view in flow.nodes
        if view.node.graph is flow.model.graph
        for output in view.outputs
        if output is not None and output.name
    }
    outputs = [value.name for value in flow.model.graph.outputs if value.name]
    found: dict[str, str] = {}
    waiting, met = list(reversed(outputs)), set(outputs)
    while waiting:
        view = makers.get(waiting.pop())
        flat = None if view is None else _flat_inside(view) or FLATNESS.of(view)
        if view is None or flat is None:
            continue
        for operand in _read(flow, view):
            if operand.constant is not None or operand.name not in makers:
                continue
            if flat and (operand.dtype is None or operand.dtype.is_floating_point()):
                found.setdefault(operand.name, view.op_type)
            if operand.name not in met:
                met.add(operand.name)
                waiting.append(operand.name)
    beyond = set(outputs) | _made_of(found, flow)
    return {name: op for name, op in found.items() if name not in beyond}


def _made_of(judged: Mapping[str, str], flow: Flow) -> set[str]:
    """Tensors of the main graph that come, through operators that keep entries, of flat ones alone that read what is judged."""
    made: set[str] = set()
    for view in flow.nodes:
        flat = FLATNESS.of(view)
        if flat is None or view.node.graph is not flow.model.graph or _flat_inside(view):
            continue
        read = [operand.name for operand in _read(flow, view) if operand.constant is None]
        if read and all((flat and name in judged) or name in made for name in read):
            made.update(output.name for output in view.outputs if output is not None)
    return made


def _flat_inside(view: Node) -> bool:
    """Whether a body of it, however deep, holds a flat operator."""
    return any(FLATNESS.of(node) for _, body in subgraphs(view.node) for node in body.all_nodes())


def _read(flow: Flow, view: Node) -> Iterator[Operand]:
    """What it reads, and what its bodies read of the graphs around them."""
    yield from (operand for operand in view.inputs if operand is not None)
    for _, body in subgraphs(view.node):
        yield from map(flow.operand, captured(body))
