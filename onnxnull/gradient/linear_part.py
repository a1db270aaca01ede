"""A model that is linear in some of its inputs, in two: what depends on the point alone, and the linear rest.

At one point the first part runs once, the second as often as there are directions: a row of a Jacobian costs no forward run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.graph.protobuf import reads
from onnxnull.runtime.cut import prune
from onnxnull.runtime.precision import Precision, Twin, twin
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.session import Runner
from onnxnull.runtime.types import enter, infer

if TYPE_CHECKING:
    import onnx


class Linear:
    """The linear part of a model, whose other inputs are fixed from time to time.

    Args:
        proto: a model in double, as `reverse` leaves it.
        seeds: the inputs that it is linear in.
        result: the output that is asked for.
    """

    def __init__(
        self,
        proto: onnx.ModelProto,
        seeds: Sequence[str],
        result: str,
        *,
        precision: Precision,
        provider: Provider,
        threads: int,
    ) -> None:
        whole = twin(proto, precision, provider=provider)
        first, second = _divided(whole.proto, set(seeds), result)
        self._result, self._seeds = result, tuple(seeds)
        self._before, self._after = (
            Runner(Twin(part, whole.precision, whole.lowered), provider=provider, threads=threads) if part is not None else None
            for part in (first, second)
        )
        self._captured: dict[str, np.ndarray] = {}

    def fix(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Run the part that is not linear, at a new point."""
        self._captured = dict(feeds)
        if self._before is not None:
            self._captured |= self._before.run({name: feeds[name] for name in self._before.inputs})

    def run(self, seeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """The result for these seeds, at the point that was fixed."""
        assert self._after is not None, "it is always there"
        given = {**self._captured, **seeds}
        return self._after.run({name: given[name] for name in self._after.inputs}, [self._result])[self._result]


def _divided(proto: onnx.ModelProto, seeds: set[str], result: str) -> tuple[onnx.ModelProto | None, onnx.ModelProto]:
    """(what the linear part reads of the rest, None where it reads inputs only; the linear part)."""
    import onnx
    from onnx import helper

    typed = onnx.ModelProto()
    typed.CopyFrom(proto)
    infer(typed)
    scope = enter(typed.graph, None)
    linear = set(seeds)
    for node in proto.graph.node:
        if reads(node) & linear:
            linear.update(name for name in node.output if name)
    nodes = [node for node in proto.graph.node if linear.intersection(node.output)]
    stored = {tensor.name for tensor in proto.graph.initializer}
    made = {name for node in nodes for name in node.output}
    read = {name for node in nodes for name in reads(node)} - made - stored
    if result not in made:  # it is zero whatever the seeds are
        nodes, read = list(proto.graph.node), {value.name for value in proto.graph.input}
    computed = {name for node in proto.graph.node for name in node.output}
    outside = sorted(read & computed)
    second = onnx.ModelProto()
    second.CopyFrom(proto)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del second.graph.node[:]
    second.graph.node.extend(copies)
    for name in outside:
        kind, shape = scope.type_of(name)
        second.graph.input.append(helper.make_tensor_value_info(name, kind, None if shape is None else list(shape)))
    prune(second, [result])
    if not outside:
        return None, second
    first = onnx.ModelProto()
    first.CopyFrom(proto)
    del first.graph.output[:]
    first.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outside)
    prune(first, outside)
    return first, second
