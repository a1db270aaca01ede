"""The fibre claim: at one precision, the chosen tensors of two inputs are equal to within what is allowed there.

At float64 that is `WITHIN` of every entry's scale (`onnxnull.fiber.scale`: its own size, or that of a typical entry which the
control moves); at other precisions `ROUNDINGS` unit roundoffs of it: the network's own rounding, which is measured and not
bounded by an analysis. At every precision no entry may move by more than a tenth of what the control moves the tensor.
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
from onnxnull.errors import Code, OnnxnullError
from onnxnull.runtime.precision import Precision, Twin
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.session import Runner

if TYPE_CHECKING:
    from onnxnull.kernel.linear_map import Array

WITHIN = 1e-10
"""At float64, relative to the scale of an entry."""
ROUNDINGS = 1024.0
"""At other precisions, in unit roundoffs of the scale of an entry."""
_LESS = 10.0
"""What is equal moves by so many times less than the control moves the tensor."""
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
        OnnxnullError: `runtime` where two runs of the original differ, one of its outputs holds no finite number, or one of the
            tensors `equal` holds NaN or Inf.
    """
    outcomes = [subject.run(x) for x in (original, colliding, control)]
    check_repeats(outcomes[0], subject.run(original))
    unit = UNIT_ROUNDOFF[subject.precision]
    allowed = WITHIN if subject.precision is Precision.FLOAT64 else ROUNDINGS * unit
    checks = tuple(
        LayerCheck(name, _claim(name, [each.outputs[name] for each in outcomes], allowed), Claim(np.nan, None, None, _REASON))
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


def _claim(name: str, arrays: Sequence[np.ndarray], allowed: float) -> Claim:
    """Of one tensor at the original, at what collides with it, and at the control."""
    from onnxnull.fiber.scale import scales

    before, after, control = arrays
    if before.dtype.kind in "fV" and not np.all(np.isfinite(before.astype(np.float64))):
        raise OnnxnullError(Code.RUNTIME, f"{name!r}, which is to stay equal, holds NaN or Inf", "start from another input")
    change = compare(name, before, after)
    if np.isnan(change.max_abs) or before.shape != control.shape:  # of another shape, or NaN or Inf on one side
        return Claim(change.max_abs, 0.0, np.inf)
    if before.size == 0:
        return Claim(0.0, 0.0, 0.0)
    first, second, third = (array.astype(np.float64).ravel() for array in (before, after, control))
    moved, seen = np.abs(second - first), np.abs(third - first)
    most = float(np.max(seen, where=np.isfinite(seen), initial=0.0)) / _LESS
    bounds = np.minimum(allowed * scales(first, third), most)
    ratios = np.divide(moved, bounds, out=np.where(moved > 0.0, np.inf, 0.0), where=bounds > 0.0)
    worst = int(ratios.argmax())
    return Claim(change.max_abs, float(bounds[worst]), float(ratios[worst]))


def _verdict(checks: Sequence[LayerCheck], outputs: Sequence[Change], *, differ: bool) -> Verdict:
    if not differ or any(check.kernel.holds is not True for check in checks):
        return Verdict.BROKEN
    return Verdict.BITWISE if all(change.bitwise for change in outputs) else Verdict.EQUAL
