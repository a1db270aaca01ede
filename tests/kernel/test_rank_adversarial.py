"""500 adversarial matrices: nothing proved is wrong, and nearly everything that can be proved is."""

from __future__ import annotations

import json
from collections import Counter

from onnxnull.kernel.proof_check import check
from onnxnull.kernel.rank import ExactPolicy, Notion, rank_profile
from tests.kernel.adversarial import matrices
from tests.kernel.exact_truth import Truth, assemble


def test_no_proof_is_wrong_and_nearly_all_ranks_with_a_gap_are_proved() -> None:
    proved, clear = Counter[Notion](), Counter[Notion]()
    for number, (kind, matrix) in enumerate(matrices(500)):
        truth = Truth(assemble(matrix if matrix.ndim == 3 else matrix[None]))
        profile = rank_profile(matrix, exact=ExactPolicy.ALWAYS)
        for notion in Notion:
            rank, expected = profile.rank(notion), truth.rank(notion.value)
            where = f"matrix {number} ({kind}, {matrix.dtype}, {matrix.shape}), {notion}: {rank}, truly {expected}"
            assert rank is not None, where
            assert rank.lower <= expected <= rank.upper, where
            if rank.certainty.is_proved:
                assert rank.lower == rank.value == rank.upper == expected, where
                assert rank.proof is not None, where
                check(json.loads(json.dumps(rank.proof.to_json())), matrix)
            if truth.gap(notion.value, 10):
                clear[notion] += 1
                proved[notion] += rank.certainty.is_proved
                assert rank.value == expected, where
        if kind in ("integers", "integer_types"):
            assert profile.exact is not None
            assert profile.exact.certainty.is_proved, f"matrix {number} ({kind})"
    for notion in Notion:
        assert clear[notion] > 400
        assert proved[notion] >= 0.95 * clear[notion]
