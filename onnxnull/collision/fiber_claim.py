"""The fibre claim: at one precision, the chosen tensors of two inputs are equal to within what is allowed there.

A fibre is reached by steps, not by a formula. So every entry may move by `TIMES` its noise, as everywhere
(`onnxnull.collision.yardstick`), and by `WITHIN` of its scale beside it. What depends on the input through these tensors
alone is judged too, with τ of its scale in the place of `WITHIN`, since it may amplify. Other outputs may differ.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxnull.collision.executables import Nudge, Outcome, rounded
from onnxnull.collision.output_change import compare
from onnxnull.collision.results import Claim, LayerCheck, Run
from onnxnull.collision.verify import Outcomes, Start, Trial, outcomes, run_of
from onnxnull.collision.yardstick import TIMES, change
from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.protobuf import reads
from onnxnull.runtime.precision import Twin
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.session import Runner

if TYPE_CHECKING:
    import onnx

    from onnxnull.kernel.maps.linear_map import Array

WITHIN = 1e-10
"""Of the scale of an entry."""
_REASON = "a walk along a fibre sees the network as a whole"


class AtFiber:
    """A network, at one of its inputs, with the tensors that stay equal among its outputs."""

    def __init__(
        self, network: Twin, provider: Provider, name: str, equal: Sequence[str], enters: Mapping[str, str] | None = None
    ) -> None:
        self.precision, self.provider = network.precision, provider
        self._name, self._others = name, dict[str, np.ndarray]()
        self._inputs = {value.name for value in network.proto.graph.input}
        computed = {output for node in network.proto.graph.node for output in node.output}
        outputs = {value.name for value in network.proto.graph.output}
        judged = {each: op for each, op in (enters or {}).items() if each in computed - outputs - set(equal)}
        self.enters: Mapping[str, str] = judged
        self.channels: Mapping[str, int] = {}
        self._runner = Runner(network, provider=provider, extra_outputs=[*equal, *self.enters])
        self.claimed = frozenset(equal) | _behind(network.proto, name, frozenset(equal))

    def with_other_inputs(self, others: Mapping[str, np.ndarray]) -> AtFiber:
        """The same session; the other inputs get `others`."""
        other = copy.copy(self)
        other._others = {name: array for name, array in others.items() if name in self._inputs}
        return other

    @property
    def description(self) -> dict[str, Any]:
        """What ran, for evidence."""
        return self._runner.description

    def stored(self, x: Array) -> np.ndarray:
        """At the precision that executes."""
        return rounded(x, self.precision)

    def run(self, x: np.ndarray) -> Outcome:
        """Run the network; those that stay equal count as outputs."""
        found = self._runner.run({**self._others, self._name: x})
        outputs = {name: array for name, array in found.items() if name not in self.enters}
        return Outcome(outputs, (), None, {name: found[name] for name in self.enters})

    def nudged(self, x: np.ndarray, outcome: Outcome, nudge: Nudge) -> Outcome:
        """Run it with x moved."""
        return self.run(nudge(x))


def verify_fiber(subject: AtFiber, equal: Sequence[str], trial: Trial, start: Start) -> Run:
    """Run the three inputs and claim that the tensors `equal` are equal.

    Raises:
        OnnxnullError: `runtime` where one of the tensors `equal` holds NaN or Inf.
    """
    found = outcomes(subject, trial, start)
    checks = tuple(LayerCheck(name, _claim(name, found), Claim(np.nan, None, None, _REASON)) for name in equal)
    tolerance = trial.tolerances[subject.precision]
    slack = {name: WITHIN if name in equal else tolerance for name in subject.claimed}
    return run_of(subject, trial, checks, found, claimed=subject.claimed.__contains__, slack=slack)


def _claim(name: str, found: Outcomes) -> Claim:
    """Of one tensor at the original, and at what collides with it."""
    before, after = (outcome.outputs[name] for outcome in found.pair)
    if before.dtype.kind in "fV" and not np.all(np.isfinite(before.astype(np.float64))):
        raise OnnxnullError(Code.RUNTIME, f"{name!r}, which is to stay equal, holds NaN or Inf", "start from another input")
    moved = compare(name, before, after)
    if np.isnan(moved.max_abs) or name not in found.yardsticks:  # of another shape, no floats, or NaN or Inf on one side
        return Claim(moved.max_abs, 0.0, 0.0 if moved.bitwise else np.inf)
    if before.size == 0:
        return Claim(0.0, 0.0, 0.0)
    yardstick = found.yardsticks[name]
    far, bounds = change(before, after).ravel(), (TIMES * yardstick.noise + WITHIN * yardstick.scale).ravel()
    ratios = np.divide(far, bounds, out=np.where(far > 0.0, np.inf, 0.0), where=bounds > 0.0)
    worst = int(ratios.argmax())
    return Claim(moved.max_abs, float(bounds[worst]), float(ratios[worst]))


def _behind(proto: onnx.ModelProto, name: str, equal: frozenset[str]) -> frozenset[str]:
    """Tensors of the main graph that depend on the input `name` through the tensors `equal` alone."""
    past, through = {name}, set(equal)
    for node in proto.graph.node:
        operands = reads(node)
        outputs = {output for output in node.output if output} - equal
        if operands & past:
            past |= outputs
        elif operands & through:
            through |= outputs
    return frozenset(through)
