"""Run a pair at one precision on one provider, and judge it: the two claims of design §4, and the outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxnull.collision.claims import Reader, kernel_claim, runtime_claim
from onnxnull.collision.claims import rounded as with_weights
from onnxnull.collision.compare import compare
from onnxnull.collision.results import Change, Claim, Kind, LayerCheck, Run, Verdict
from onnxnull.collision.subjects import Outcome, Seen, Subject, rounded
from onnxnull.errors import Code, OnnxnullError
from onnxnull.kernel.linear_map import Array
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.providers import Provider

UNIT_ROUNDOFF = {
    Precision.FLOAT64: 2.0**-53,
    Precision.FLOAT32: 2.0**-24,
    Precision.NATIVE: 2.0**-24,
    Precision.FLOAT16: 2.0**-11,
}
"""Unit roundoffs. What a quantized model computes in floats, it computes in float32."""
_LESS = 10.0
"""A collision moves every output by so many times less than the control, or it is none: rounding was amplified. Outputs that
move by `_OWN_ROUNDING` unit roundoffs of their largest entry at most need not: the control may move little."""
_OWN_ROUNDING = 1024.0
_BY_CUDNN = frozenset({"Conv", "ConvTranspose", "ConvTransposeWithDynamicPads"})


def verify(subject: Subject, readers: Sequence[Reader], kind: Kind, original: Array, colliding: Array, control: Array) -> Run:
    """Run the three inputs and check every claim.

    Args:
        readers: the layers, in the order of the subject's `Outcome.seen`.
        original, colliding, control: float64; the precision rounds them.

    Raises:
        OnnxnullError: `runtime` where two runs of the original differ, or one of its outputs holds no finite number.
    """
    outcomes = [subject.run(x) for x in (original, colliding, control)]
    check_repeats(outcomes[0], subject.run(original))
    stored = [rounded(x, subject.precision).astype(np.float64) for x in (original, colliding)]
    checks = tuple(
        LayerCheck(
            reader.node,
            kernel_claim(reader, stored[0], stored[1], UNIT_ROUNDOFF[subject.precision]),
            _runtime(subject, reader, outcomes[0].seen[number], outcomes[1].seen[number]),
        )
        for number, reader in enumerate(readers)
    )
    outputs, seen = compare_all(outcomes[0], outcomes[1]), compare_all(outcomes[0], outcomes[2])
    differ = not np.array_equal(stored[0], stored[1])
    told = (_products(outcomes[0], outcomes[1]), _products(outcomes[0], outcomes[2])) if subject.is_layer else (outputs, seen)
    return Run(
        precision=subject.precision.value,
        session=subject.description,
        layers=checks,
        outputs=outputs,
        control=seen,
        verdict=verdict_of(kind, checks, outputs, apart=apart(*told, UNIT_ROUNDOFF[subject.precision]), differ=differ),
        arrays={name: tuple(o.outputs[name] for o in outcomes) for name in outcomes[0].outputs},  # type: ignore[misc]
    )


def _runtime(subject: Subject, reader: Reader, before: Seen, after: Seen) -> Claim:
    if isinstance(before, str) or isinstance(after, str):
        return Claim(float("nan"), None, None, before if isinstance(before, str) else str(after))
    reason = None
    if subject.provider is Provider.CUDA and reader.op in _BY_CUDNN:
        reason = "cuDNN may compute it by Winograd's or Fourier transforms"
    own = with_weights(reader, before[0].dtype)
    return runtime_claim(own, before[0], after[0], before[1], after[1], UNIT_ROUNDOFF[subject.precision], reason)


def check_repeats(outcome: Outcome, again: Outcome) -> None:
    """Whether there is something to compare."""
    for name, array in outcome.outputs.items():
        if array.tobytes() != again.outputs[name].tobytes():
            raise OnnxnullError(
                Code.RUNTIME, f"output {name!r} of one input differs from run to run", "take out what is random"
            )
        if array.dtype.kind == "f" and array.size and not np.any(np.isfinite(array)):
            raise OnnxnullError(Code.RUNTIME, f"output {name!r} is NaN or Inf everywhere", "start from another input")


def apart(outputs: Sequence[Change], control: Sequence[Change], unit: float) -> bool:
    """Whether every output that the control moves tells the collision from it, or moves by its own rounding only."""
    for change, other in zip(outputs, control, strict=True):
        little = change.relative is not None and change.relative <= _OWN_ROUNDING * unit
        if not (little or other.max_abs == 0.0 or np.isnan(other.max_abs) or _LESS * change.max_abs <= other.max_abs):
            return False
    return True


def verdict_of(
    kind: Kind,
    checks: Sequence[LayerCheck],
    outputs: Sequence[Change],
    *,
    apart: bool,
    differ: bool,
) -> Verdict:
    """The first that applies; two inputs that are the same at this precision are no collision."""
    if not differ or any(False in (check.kernel.holds, check.runtime.holds) for check in checks):
        return Verdict.BROKEN
    if any(check.kernel.holds is None for check in checks):
        return Verdict.UNDECIDED
    if kind is Kind.NEAR_KERNEL:
        return Verdict.NEAR
    if kind is Kind.QUANTIZER_CELL and not all(change.bitwise for change in outputs):
        return Verdict.BROKEN
    if all(change.bitwise for change in outputs):
        return Verdict.BITWISE
    if not checks or not apart:  # nothing reads the input, and yet it shows
        return Verdict.BROKEN
    return Verdict.ROUNDING if all(check.runtime.holds for check in checks) else Verdict.UNBOUNDED


def _products(before: Outcome, after: Outcome) -> tuple[Change, ...]:
    """The layers' own outputs in two runs."""
    pairs = zip(before.seen, after.seen, strict=True)
    return tuple(compare("product", a[1], b[1]) for a, b in pairs if not isinstance(a, str) and not isinstance(b, str))


def compare_all(before: Outcome, after: Outcome) -> tuple[Change, ...]:
    """Every output of two runs."""
    return tuple(compare(name, before.outputs[name], after.outputs[name]) for name in before.outputs)
