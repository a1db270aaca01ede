"""What replaying an evidence bundle showed: text for people, and JSON, schema `onnxnull.replay/1`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onnxnull.collision.results import Decision, Kind, Run
from onnxnull.documents.base import text_of
from onnxnull.evidence import collision_document
from onnxnull.evidence.replay import UNVERIFIED
from onnxnull.report.words import count, shown

if TYPE_CHECKING:
    from onnxnull.evidence.recorded_run import RecordedRun
    from onnxnull.evidence.replay import Replayed

SCHEMA = "onnxnull.replay/1"


def render_json(bundle: str, replayed: Sequence[Replayed]) -> str:
    """Everything that was measured, the recorded verdicts beside it.

    Args:
        bundle: the folder as typed, only its last part where it is absolute.
    """
    document = {
        "schema": SCHEMA,
        "bundle": bundle,
        "confirmed": all(each.confirmed for each in replayed),
        "collisions": [_entry(each) for each in replayed],
    }
    return text_of(document)


def render_text(replayed: Sequence[Replayed]) -> str:
    """A line for every collision and every run of it, what speaks against it, and how many hold."""
    lines = [line for each in replayed for line in _lines(each)]
    confirmed = sum(each.confirmed for each in replayed)
    lines.append(f"{confirmed:,} of {count(len(replayed), noun(replayed))} confirmed here")
    return "".join(f"{line}\n" for line in lines)


def noun(replayed: Sequence[Replayed]) -> str:
    """What they are: along near-kernel directions, pairs that need not collide."""
    return "pair" if any(each.recorded.kind is Kind.NEAR_KERNEL for each in replayed) else "collision"


def attack_of(each: Replayed) -> str | None:
    """What a bundle says of the attack that its original came from, which is not measured; None where there was none."""
    made = each.recorded.perturbation.parameters
    if "attack" not in made:
        return None
    epsilon, length = made["attack_epsilon"], made["attack_length"]
    return (
        f"the bundle says, and nothing here measures: attack {made['attack']}, within {epsilon:.4g} ({made['norm']}) of an "
        f"input that is not in it, and what collides is {length:.4g} from that"
    )


def _entry(each: Replayed) -> dict[str, Any]:
    return {
        "name": each.name,
        "confirmed": each.confirmed,
        "decision": each.decision.label,
        "objections": list(each.objections),
        "doubts": list(each.doubts),
        "runs": [
            {
                "precision": run.precision,
                "provider": _provider(run),
                "recorded": None if said is None else said.verdict.label,
                "verdict": run.verdict.label,
            }
            for run, said in each.pairs
        ],
        "collision": None if each.collision is None else collision_document.entry(each.collision),
        "unverified": [] if each.collision is None else list(UNVERIFIED),
    }


def _lines(each: Replayed) -> list[str]:
    recorded, facts = each.recorded, each.recorded.perturbation
    lines = [
        f"{shown(each.name)}: {recorded.kind.value} of {shown(recorded.where)} ({recorded.space.value}), "
        f"max |Δ| {facts.linf:.3g}, ‖Δ‖₂ {facts.l2:.4g}, {facts.changed:,} of {facts.entries:,} entries differ"
    ]
    lines += [f"  {_run(run, said)}" for run, said in each.pairs]
    lines += [f"  {said}" for said in [attack_of(each)] if said is not None]
    lines += [f"  NOT CONFIRMED: {shown(objection, 300)}" for objection in each.objections]
    lines += [f"  UNDECIDED: {shown(doubt, 400)}" for doubt in each.doubts]
    if each.decision is Decision.BROKEN and not each.objections:
        lines += [f"  NOT CONFIRMED: it is broken here: {shown(why, 400)}" for why in broken(each)]
    return lines


def broken(each: Replayed) -> list[str]:
    """Why runs of it are broken here."""
    runs = () if each.collision is None else each.collision.runs
    return [f"{run.precision}: {run.why}" for run in runs if run.verdict.decision is Decision.BROKEN]


def _run(run: Run, said: RecordedRun | None) -> str:
    provider = _provider(run).removesuffix("ExecutionProvider")
    change, control = (max((c.max_abs for c in changes), default=0.0) for changes in (run.outputs, run.control))
    before = "not recorded" if said is None else f"recorded {said.verdict.label}"
    there = "" if said is None or said.max_abs is None else f" (recorded {said.max_abs:.3g})"
    kernel = max((check.kernel.value for check in run.layers), default=0.0)
    return (
        f"{run.precision:<8} {provider:<5} {before:<18} here {run.verdict.label:<10} kernel claim {kernel:.2g}, "
        f"outputs max |Δ| {change:.3g}{there}, control {control:.3g}"
    )


def _provider(run: Run) -> str:
    return str(run.session.get("provider"))
