"""The two claims of design §4 for every layer that reads the tensor, held against the runs of one precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxnull.collision.claims import Reader, kernel_claim, runtime_claim
from onnxnull.collision.claims import rounded as with_weights
from onnxnull.collision.executables import Seen, Subject
from onnxnull.collision.results import Claim, Kind, LayerCheck
from onnxnull.collision.verify import UNIT_ROUNDOFF, Checks, Outcomes, Trial
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.operators.products import product_called
from onnxnull.runtime.providers import Provider


def check_layers(readers: Sequence[Reader], subject: Subject, trial: Trial, found: Outcomes) -> Checks:
    """Hold the claims of every layer against the runs.

    Args:
        readers: the layers, in the order of the subject's `Outcome.seen`.
    """
    stored = [subject.stored(x).astype(np.float64) for x in (trial.original, trial.colliding)]
    return Checks(
        tuple(
            LayerCheck(
                reader.node,
                _kernel(subject, reader, trial, stored, found.before.seen[number], found.after.seen[number]),
                _runtime(subject, reader, found.before.seen[number], found.after.seen[number]),
            )
            for number, reader in enumerate(readers)
        )
    )


def _kernel(subject: Subject, reader: Reader, trial: Trial, stored: Sequence[Array], before: Seen, after: Seen) -> Claim:
    """A near-kernel claims nothing that its scale could refuse."""
    tolerance = None if trial.kind is Kind.NEAR_KERNEL else trial.tolerances[subject.precision]
    seen = None if isinstance(before, str) or isinstance(after, str) else (before[0], after[0])
    unit = UNIT_ROUNDOFF[subject.precision]
    return kernel_claim(reader, stored[0], stored[1], unit, tolerance=tolerance, box=trial.box, seen=seen)


def _runtime(subject: Subject, reader: Reader, before: Seen, after: Seen) -> Claim:
    if isinstance(before, str) or isinstance(after, str):
        return Claim(float("nan"), None, None, before if isinstance(before, str) else str(after))
    reason = None
    if subject.provider is Provider.CUDA and (kind := product_called(reader.op)) is not None and kind.may_be_transformed:
        reason = "cuDNN may compute it by Winograd's or Fourier transforms"
    own = with_weights(reader, before[0].dtype)
    return runtime_claim(own, before[0], after[0], before[1], after[1], UNIT_ROUNDOFF[subject.precision], reason)
