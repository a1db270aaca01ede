"""Holds the kernel claim and the runtime claim (`claims`) of every layer against the runs of one precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxnull.collision.claims import Reader, kernel_claim, runtime_claim
from onnxnull.collision.claims import rounded as with_weights
from onnxnull.collision.executables import Executable, Seen
from onnxnull.collision.merging import before_layers
from onnxnull.collision.results import Claim, Kind, LayerCheck
from onnxnull.collision.verify import Checks, Outcomes, Trial, accumulator
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.operators.products import product_called
from onnxnull.runtime.providers import Provider


def check_layers(readers: Sequence[Reader], subject: Executable, trial: Trial, found: Outcomes) -> Checks:
    """Hold the claims of every layer against the runs.

    Args:
        readers: the layers, in the order of the subject's `Outcome.seen`.
    """
    stored = [subject.stored(x).astype(np.float64) for x in (trial.original, trial.colliding)]
    seen = list(zip(found.before.seen, found.after.seen, strict=True))
    claims = tuple(
        LayerCheck(
            reader.node,
            _kernel(subject, reader, trial, stored, before, after),
            _runtime(subject, reader, before, after),
        )
        for reader, (before, after) in zip(readers, seen, strict=True)
    )
    return Checks(claims, merged=before_layers(readers, stored, seen, subject.unit))


def _kernel(subject: Executable, reader: Reader, trial: Trial, stored: Sequence[Array], before: Seen, after: Seen) -> Claim:
    """A near-kernel claims nothing that its scale could refuse."""
    tolerance = None if trial.kind is Kind.NEAR_KERNEL else trial.tolerances[subject.precision]
    seen = None if isinstance(before, str) or isinstance(after, str) else (before[0], after[0])
    return kernel_claim(reader, stored[0], stored[1], subject.unit, tolerance=tolerance, box=trial.box, seen=seen)


def _runtime(subject: Executable, reader: Reader, before: Seen, after: Seen) -> Claim:
    if isinstance(before, str) or isinstance(after, str):
        return Claim(float("nan"), None, None, before if isinstance(before, str) else str(after))
    reason = None
    if subject.provider is Provider.CUDA and (kind := product_called(reader.op)) is not None and kind.may_be_transformed:
        reason = "cuDNN may compute it by Winograd's or Fourier transforms"
    own = with_weights(reader, before[0].dtype)
    unit = accumulator(subject, reader.op, before[1].dtype)
    return runtime_claim(own, before[0], after[0], before[1], after[1], unit, reason)
