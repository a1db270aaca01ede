"""Ranks of weights: numerical at a stated cut-off, and exact over the rationals, each with its certainty and its proof.

Read `decide` first: its table says which method runs when. Matrices are (inputs, outputs).
"""

from __future__ import annotations

from onnxnull.kernel.rank.notion import ExactPolicy, Notion
from onnxnull.kernel.rank.profile import rank, rank_profile
from onnxnull.kernel.rank.proof import Proof
from onnxnull.kernel.rank.result import Certainty, Rank, RankProfile

__all__ = ["Certainty", "ExactPolicy", "Notion", "Proof", "Rank", "RankProfile", "rank", "rank_profile"]
