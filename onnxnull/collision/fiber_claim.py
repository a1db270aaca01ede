"""The fibre claim: at one precision, the chosen tensors of two inputs are equal to within what is allowed there.

A fibre is reached by steps, not by a formula. So every entry may move by `TIMES` its noise, as everywhere
(`onnxnull.collision.yardstick`), and by `WITHIN` of its scale beside it. What depends on the input through these tensors
alone is judged too, with τ of its scale in the place of `WITHIN`, since it may amplify. Other outputs may differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.collision.executables import AtInput, Executable
from onnxnull.collision.merging import in_casts
from onnxnull.collision.output_change import compare
from onnxnull.collision.results import Claim, LayerCheck
from onnxnull.collision.verify import Checks, Outcomes, Trial
from onnxnull.collision.yardstick import TIMES, change
from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.protobuf import reads

if TYPE_CHECKING:
    import onnx

WITHIN = 1e-10
"""Of the scale of an entry."""
_REASON = "a walk along a fibre sees the network as a whole"


def check_fiber(equal: Sequence[str], tensor: str, subject: Executable, trial: Trial, found: Outcomes) -> Checks:
    """Claim that the tensors `equal` of a network are, where `tensor` changes.

    Raises:
        OnnxnullError: `runtime` where one of the tensors `equal` holds NaN or Inf.
    """
    assert isinstance(subject, AtInput), "a fibre is of a network"
    claims = tuple(LayerCheck(name, _claim(name, found), Claim(np.nan, None, None, _REASON)) for name in equal)
    staying = frozenset(equal) | _behind(subject.network.proto, tensor, frozenset(equal))
    tolerance = trial.tolerances[subject.precision]
    merged = in_casts(found.before.casts, found.after.casts, sealed=subject.casts.seal(staying))
    return Checks(claims, staying, {name: WITHIN if name in equal else tolerance for name in staying}, merged)


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
