"""Check proofs of ranks again."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class ProofError(Exception):
    """A proof does not hold; the message says what failed."""


def check(proof: dict[str, Any], blocks: npt.NDArray[np.generic]) -> None:
    """Verify a proof given as its JSON dictionary against the stack (g, q, p); raises ProofError."""
    raise ProofError("not implemented yet")
