"""Proofs of the ranks of all weights of a model: collect them, write them down, check them again.

`collect` uses the solvers in `onnxnull.kernel.rank`; `verify` uses `onnxnull.kernel.proof_check`, which shares no code with
them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxnull.analysis.analyze import Progress
from onnxnull.analysis.weights import Weight, find_weights
from onnxnull.errors import Code, ExitCode, OnnxnullError, errors_of
from onnxnull.graph.constants import EvaluationError
from onnxnull.graph.limits import Limits
from onnxnull.graph.model import Model, open_model
from onnxnull.kernel import proof_check
from onnxnull.kernel.rank import ExactPolicy, Notion, rank_profile

SCHEMA = "onnxnull.proofs/1"


@dataclass(frozen=True, slots=True)
class RankCheck:
    """What checking one rank of one weight gave. `failure` is None where the proof holds; `missing` where there is none."""

    weight: str
    notion: str
    rank: int | None
    missing: bool
    failure: str | None


@dataclass(frozen=True, slots=True)
class Verification:
    """Every verdict, and what speaks against the file as a whole (`failures`: no claim; `gaps`: something not proved)."""

    verdicts: tuple[RankCheck, ...]
    failures: tuple[str, ...]
    gaps: tuple[str, ...]

    @property
    def exit_code(self) -> ExitCode:
        """Violated where a proof does not hold, incomplete where one is missing, else pass."""
        if self.failures or any(verdict.failure for verdict in self.verdicts):
            return ExitCode.VIOLATED
        return ExitCode.INCOMPLETE if self.gaps or any(verdict.missing for verdict in self.verdicts) else ExitCode.PASS


def collect(
    path: str | os.PathLike[str],
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    exact: ExactPolicy = ExactPolicy.CHEAP,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The proofs of every weight of the model at `path`, as a JSON document of schema `onnxnull.proofs/1`.

    A rank that was computed and not proved is listed with its certainty and no proof.

    Raises:
        OnnxnullError: the model cannot be opened, or holds no linear weight.
    """
    model, weights, gaps = _weights_of(path, input_shapes, limits)
    entries = []
    for done, weight in enumerate(weights):
        if progress is not None:
            progress(done, len(weights), weight.name)
        try:
            profile = rank_profile(weight.blocks(), exact=exact)
        except (EvaluationError, ValueError) as error:
            gaps.append(f"weight {weight.name!r}: {error}")
            continue
        ranks = {}
        for notion in Notion:
            found = profile.rank(notion)
            if found is not None:
                proof = found.proof.to_json() if found.proof is not None and found.certainty.is_proved else None
                ranks[notion.value] = {"value": found.value, "certainty": found.certainty.value, "proof": proof}
        entries.append({"name": weight.name, "nodes": [node.name for node, _ in weight.uses], "ranks": ranks})
    return {
        "schema": SCHEMA,
        "model": {"file": model.file, "sha256": model.sha256, "overridable": list(model.overridable)},
        "weights": entries,
        "unsupported": gaps,
    }


def verify(
    path: str | os.PathLike[str],
    document: Mapping[str, Any],
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Check every proof of `document` against the model at `path`.

    Raises:
        OnnxnullError: the model cannot be opened, or `document` is no document of proofs.
    """
    model, weights, gaps = _weights_of(path, input_shapes, limits)
    claimed: dict[tuple[str, tuple[str, ...]], list[dict[str, Any]]] = {}
    try:
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r}")
        for entry in document["weights"]:
            claimed.setdefault((entry["name"], tuple(entry["nodes"])), []).append(dict(entry["ranks"]))
        same_file = document["model"]["sha256"] == model.sha256
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OnnxnullError(Code.PROOFS, f"not a document of schema {SCHEMA}: {error!r}") from None
    failures = [] if same_file else ["the proofs are about another file (SHA-256 differs)"]
    verdicts: list[RankCheck] = []
    for done, weight in enumerate(weights):
        if progress is not None:
            progress(done, len(weights), weight.name)
        entries = claimed.get((weight.name, tuple(node.name for node, _ in weight.uses)))
        if not entries:
            gaps.append(f"weight {weight.name!r} has no proof")
            continue
        try:
            verdicts += _check(weight, entries.pop(0))
        except EvaluationError as error:
            gaps.append(f"weight {weight.name!r}: {error}")
    failures += [f"the model has no weight {name!r}" for (name, _), entries in claimed.items() for _ in entries]
    return Verification(tuple(verdicts), tuple(failures), tuple(gaps))


def _check(weight: Weight, ranks: Mapping[str, Any]) -> list[RankCheck]:
    blocks = weight.blocks()
    always = {Notion.FLOAT32.value: None, Notion.FLOAT64.value: None}  # the rank over ℚ need not be claimed
    return [_verdict(weight.name, blocks, notion, claim) for notion, claim in (always | dict(ranks)).items()]


def _verdict(weight: str, blocks: np.ndarray, notion: str, claim: object) -> RankCheck:
    if claim is None:
        return RankCheck(weight, notion, None, True, None)
    value = claim.get("value") if isinstance(claim, dict) else None
    if notion not in {known.value for known in Notion} or not isinstance(claim, dict) or type(value) is not int:
        return RankCheck(weight, notion, None, False, "the claim is malformed")
    proof = claim.get("proof")
    if proof is None:
        return RankCheck(weight, notion, value, True, None)
    try:
        proof_check.check(proof, blocks)
        proves = (proof["notion"], proof["rank"]) == (notion, value)
        return RankCheck(weight, notion, value, False, None if proves else "the proof proves something else")
    except proof_check.ProofError as error:
        return RankCheck(weight, notion, value, False, str(error))


def _weights_of(
    path: str | os.PathLike[str], input_shapes: Mapping[str, Sequence[int]] | None, limits: Limits | None
) -> tuple[Model, list[Weight], list[str]]:
    """The model, its weights, and in words what of it is not supported."""
    model = open_model(path, input_shapes=input_shapes, limits=limits)
    with errors_of(path):
        weights, unsupported = find_weights(model.flow)
        if not weights and not unsupported:
            raise OnnxnullError(Code.NOTHING_LINEAR, Code.NOTHING_LINEAR.meaning)
    return model, weights, [f"{u.node} ({u.op}): {u.reason}" for u in unsupported]
