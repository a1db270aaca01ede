"""Proofs of the ranks of all weights of a model: collect them, write them down, check them again.

`collect` uses the solvers in `onnxnull.kernel.rank`; `verify` uses `onnxnull.kernel.proof_check`, which shares no code with
them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from onnxnull.analysis.analyze import Progress
from onnxnull.analysis.weights import Weight, find_weights
from onnxnull.errors import Code, ExitCode, OnnxnullError, errors_of
from onnxnull.graph.constants import EvaluationError
from onnxnull.graph.limits import Limits
from onnxnull.graph.model import Model, open_model
from onnxnull.kernel import proof_check
from onnxnull.kernel.rank import Certainty, ExactPolicy, Notion, rank_profile
from onnxnull.machine import one_blas_thread

SCHEMA = "onnxnull.proofs/1"
T = TypeVar("T")
_Key = tuple[str, tuple[str, ...]]
"""A weight's name and the nodes that read it: careless exporters repeat names."""
_JSON: dict[type, str] = {str: "text", list: "list", dict: "object"}


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
    """Every verdict, and what speaks against the file as a whole (`failures`: no claim; `gaps`: something not proved).

    `overridable`: stored constants that a caller may replace; the proofs are about the stored numbers.
    """

    verdicts: tuple[RankCheck, ...]
    failures: tuple[str, ...]
    gaps: tuple[str, ...]
    overridable: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """Violated where a proof does not hold, incomplete where one is missing, else pass."""
        if self.failures or any(verdict.failure for verdict in self.verdicts):
            return ExitCode.VIOLATED
        return ExitCode.INCOMPLETE if self.gaps or any(verdict.missing for verdict in self.verdicts) else ExitCode.PASS


@one_blas_thread()
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


@one_blas_thread()
def verify(
    path: str | os.PathLike[str],
    document: object,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    exact: bool = False,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Check every proof of `document` against the model at `path`.

    Args:
        document: parsed JSON, of anybody.
        exact: the rank over the rationals has to be proved too; without it only what the document claims of it.

    Raises:
        OnnxnullError: the model cannot be opened, or `document` is no document of proofs.
    """
    model, weights, gaps = _weights_of(path, input_shapes, limits)
    sha256, claimed = _claims(document)
    failures = [] if sha256 == model.sha256 else ["the proofs are about another file (SHA-256 differs)"]
    verdicts: list[RankCheck] = []
    for done, weight in enumerate(weights):
        if progress is not None:
            progress(done, len(weights), weight.name)
        entries = claimed.get(_key(weight))
        if not entries:
            gaps.append(f"weight {weight.name!r} has no proof")
            continue
        try:
            verdicts += _check(weight, entries.pop(0), exact)
        except EvaluationError as error:
            gaps.append(f"weight {weight.name!r}: {error}")
    known = {_key(weight) for weight in weights}
    for name, entries in claimed.items():
        why = "is listed more often than the model has it" if name in known else "is none of the model's"
        failures += [f"weight {name[0]!r}, read by {', '.join(map(repr, name[1])) or 'nothing'}, {why}"] * len(entries)
    return Verification(tuple(verdicts), tuple(failures), tuple(gaps), model.overridable)


def _claims(document: object) -> tuple[object, dict[_Key, list[dict[str, Any]]]]:
    """(the SHA-256 of the model, (weight, nodes) → the ranks claimed of each such weight) as the document says."""

    def get(where: object, key: str, kind: type[T], place: str) -> T:
        found = where.get(key) if isinstance(where, dict) else None
        if not isinstance(found, kind):
            raise OnnxnullError(
                Code.PROOFS, f"this is no document of schema {SCHEMA}: {place}{key!r} is missing or no {_JSON[kind]}"
            )
        return found

    if get(document, "schema", str, "") != SCHEMA:
        raise OnnxnullError(Code.PROOFS, f"its schema is not {SCHEMA}")
    claimed: dict[_Key, list[dict[str, Any]]] = {}
    for number, entry in enumerate(get(document, "weights", list, "")):
        place = f"weights[{number}]."
        nodes = get(entry, "nodes", list, place)
        if not all(isinstance(node, str) for node in nodes):
            raise OnnxnullError(Code.PROOFS, f"this is no document of schema {SCHEMA}: {place}'nodes' holds no names")
        claimed.setdefault((get(entry, "name", str, place), tuple(nodes)), []).append(get(entry, "ranks", dict, place))
    return get(get(document, "model", dict, ""), "sha256", str, "model."), claimed


def _key(weight: Weight) -> _Key:
    return weight.name, tuple(node.name for node, _ in weight.uses)


def _check(weight: Weight, ranks: Mapping[str, Any], exact: bool) -> list[RankCheck]:
    blocks = weight.blocks()
    always = [Notion.FLOAT32, Notion.FLOAT64, *([Notion.EXACT] if exact else [])]
    wanted = dict.fromkeys((notion.value for notion in always), None)
    return [_verdict(weight.name, blocks, notion, claim) for notion, claim in (wanted | dict(ranks)).items()]


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
    except proof_check.ProofError as error:
        return RankCheck(weight, notion, value, False, str(error))
    if (proof["notion"], proof["rank"]) != (notion, value):
        return RankCheck(weight, notion, value, False, "the proof proves something else")
    proved = Certainty.EXACT if notion == Notion.EXACT.value or not np.any(blocks) else Certainty.CERTIFIED
    if claim.get("certainty") != proved.value:
        seen = f"the proof makes it {proved.value!r}, and it is claimed as {claim.get('certainty')!r}"
        return RankCheck(weight, notion, value, False, seen)
    return RankCheck(weight, notion, value, False, None)


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
