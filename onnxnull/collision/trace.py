"""How a difference of two inputs grows on its way through a network (paper, Section 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from onnxnull.collision.output_change import compare
from onnxnull.collision.results import TraceStep
from onnxnull.graph.floats import is_float
from onnxnull.graph.protobuf import reads
from onnxnull.runtime.precision import Twin
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.session import Runner


def trace(network: Twin, provider: Provider, feeds: Sequence[Mapping[str, np.ndarray]]) -> tuple[TraceStep, ...]:
    """The steps from the original to the colliding input, in graph order, with the control's beside them.

    Args:
        feeds: the inputs of the original, the colliding and the control run.
    """
    graph = network.proto.graph
    behind = {value.name for value in graph.input}
    ops: dict[str, str] = {}
    made: dict[str, str] = {}
    for node in graph.node:
        if reads(node) & behind:
            behind.update(name for name in node.output if name)
            op = made.get(node.input[0], node.op_type) if node.op_type == "Cast" else node.op_type  # back to 16 bits
            if node.output[0].startswith(_LOWERED):
                made[node.output[0]] = op
            elif node.output[0]:
                ops[node.output[0]] = op
    runner = Runner(network, provider=provider, extra_outputs=list(ops))
    original, colliding, control = (runner.run(each, list(ops)) for each in feeds)
    steps = []
    for name, op in ops.items():
        before = original[name]
        if not isinstance(before, np.ndarray) or not is_float(before) or before.size == 0:
            continue
        change, other = compare(name, before, colliding[name]), compare(name, before, control[name])
        steps.append(TraceStep(name, op, change.max_abs, change.relative, other.max_abs))
    return tuple(steps)


_LOWERED = "onnxnull/"
