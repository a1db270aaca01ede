"""The fibre claim: at one precision, the chosen tensors of two inputs are equal to within what is allowed there.

At float64 that is `WITHIN` of the largest entry; at other precisions `ROUNDINGS` unit roundoffs of it: the network's own
rounding, which is measured and not bounded by an analysis.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxnull.collision.compare import compare
from onnxnull.collision.results import Change, Claim, LayerCheck, Run, Verdict
from onnxnull.collision.subjects import Outcome, rounded
from onnxnull.collision.verify import UNIT_ROUNDOFF, check_repeats, compare_all
from onnxnull.runtime.precision import Precision, Twin
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.session import Runner

if TYPE_CHECKING:
    from onnxnull.kernel.linear_map import Array

WITHIN = 1e-10
"""At float64, relative to the largest entry of a tensor."""
ROUNDINGS = 1024.0
"""At other precisions, in unit roundoffs of the largest entry."""
_REASON = "a walk along a fibre sees the network as a whole"


class AtFiber:
    """A network, at one of its inputs, with the tensors that stay equal among its outputs."""

    is_layer = False

    def __init__(self, network: Twin, provider: Provider, name: str, equal: Sequence[str]) -> None:
        self.precision, self.provider = network.precision, provider
        self._name, self._others = name, dict[str, np.ndarray]()
        self._inputs = {value.name for value in network.proto.graph.input}
        self._runner = Runner(network, provider=provider, extra_outputs=equal)

    def beside(self, others: Mapping[str, np.ndarray]) -> AtFiber:
        """The same session; the other inputs get `others`."""
        other = copy.copy(self)
        other._others = {name: array for name, array in others.items() if name in self._inputs}
        return other

    @property
    def description(self) -> dict[str, Any]:
        """What ran, for evidence."""
        return self._runner.description

    def run(self, x: Array) -> Outcome:
        """Run the network; every output counts as one, also those that stay equal."""
        return Outcome(self._runner.run({**self._others, self._name: x}), ())


def verify_fiber(subject: AtFiber, equal: Sequence[str], original: Array, colliding: Array, control: Array) -> Run:
    """Run the three inputs and claim that the tensors `equal` are equal.

    Raises:
        OnnxnullError: `runtime` where two runs of the original differ, or one of its outputs holds no finite number.
    """
    outcomes = [subject.run(x) for x in (original, colliding, control)]
    check_repeats(outcomes[0], subject.run(original))
    unit = UNIT_ROUNDOFF[subject.precision]
    allowed = WITHIN if subject.precision is Precision.FLOAT64 else ROUNDINGS * unit
    checks = tuple(
        LayerCheck(
            name, _claim(outcomes[0].outputs[name], outcomes[1].outputs[name], allowed), Claim(np.nan, None, None, _REASON)
        )
        for name in equal
    )
    outputs, seen = compare_all(outcomes[0], outcomes[1]), compare_all(outcomes[0], outcomes[2])
    differ = not np.array_equal(rounded(original, subject.precision), rounded(colliding, subject.precision))
    return Run(
        precision=subject.precision.value,
        session=subject.description,
        layers=checks,
        outputs=outputs,
        control=seen,
        verdict=_verdict(checks, outputs, differ=differ),
        arrays={name: tuple(o.outputs[name] for o in outcomes) for name in outcomes[0].outputs},  # type: ignore[misc]
    )


def _claim(before: np.ndarray, after: np.ndarray, allowed: float) -> Claim:
    change = compare("", before, after)
    bound = allowed * float(np.abs(before.astype(np.float64)).max(initial=0.0))
    if bound:
        return Claim(change.max_abs, bound, change.max_abs / bound)
    return Claim(change.max_abs, bound, 0.0 if change.max_abs == 0.0 else np.inf)


def _verdict(checks: Sequence[LayerCheck], outputs: Sequence[Change], *, differ: bool) -> Verdict:
    if not differ or any(check.kernel.holds is not True for check in checks):
        return Verdict.BROKEN
    return Verdict.BITWISE if all(change.bitwise for change in outputs) else Verdict.EQUAL
