"""What enters the last flat operators of a network: tensors that are judged beside its outputs.

A probability of 1, a clipped value and the index of the largest score stay the same while what they are made of changes. So
from every output the way back is followed through operators that move, cast, scale, add or choose entries. Where it meets one
that is flat somewhere (`FLATNESS`), what enters that is judged too, and the way goes on from there: an ArgMax behind a Softmax
shows what enters both. It ends at every other operator. Bodies of If, Loop and Scan are not entered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxnull.operators.flatness import FLATNESS

if TYPE_CHECKING:
    from onnxnull.graph.flow import Flow


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
        flat = None if view is None else FLATNESS.of(view)
        if view is None or flat is None:
            continue
        for operand in view.inputs:
            if operand is None or operand.constant is not None or operand.name not in makers:
                continue
            if flat and (operand.dtype is None or operand.dtype.is_floating_point()):
                found.setdefault(operand.name, view.op_type)
            if operand.name not in met:
                met.add(operand.name)
                waiting.append(operand.name)
    return {name: op for name, op in found.items() if name not in outputs}
