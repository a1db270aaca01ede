"""Movement of entries: what a constant fills in."""

from __future__ import annotations

from onnxnull.operators.parameters import NAN, accounts_for

accounts_for("Pad", places=lambda node: [(2, NAN)])
