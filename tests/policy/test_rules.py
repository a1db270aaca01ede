"""Every rule by a table: what violates it, what passes, an exception that silences it, and the same one expired."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from onnxnull.analysis.results import (
    KernelShare,
    ModelReport,
    OddConstant,
    OperatorReport,
    Unsupported,
    WeightNode,
    WeightReport,
)
from onnxnull.documents.base import plain, text_of
from onnxnull.errors import Code, ExitCode, OnnxnullError
from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.rank import Certainty, Rank
from onnxnull.policy.baseline import SCHEMA, BaselineModel, parse
from onnxnull.policy.config import Policy
from onnxnull.policy.evidence import Evidence
from onnxnull.policy.exceptions import Accepted
from onnxnull.policy.gate import judge
from onnxnull.policy.outputs import OutputRuns
from onnxnull.policy.results import Finding, Severity
from onnxnull.policy.rules import RULES
from onnxnull.ranges.results import Effect, OutputClaim
from onnxnull.report.json import model as model_json
from onnxnull.runtime.loading import Loading, LoadOutcome
from tests.report import batches

from .gates import LOADS, TODAY, clean, gate, model, policy, reading

DOCS = Path(__file__).resolve().parents[2] / "docs" / "rules"


@dataclass(frozen=True)
class Case:
    """Evidence that violates a rule and evidence that just does not.

    `subject` is whom the finding names; `settings` what a policy has to say for the rule to be looked at.
    """

    violating: Evidence
    passing: Evidence
    subject: tuple[str, str] = ("weight", "w")
    settings: Mapping[str, float | str] = field(default_factory=dict)
    says: str = ""


def on(violating: ModelReport, passing: ModelReport, **limits: float) -> tuple[Evidence, Evidence]:
    known = {name.replace("_", "-"): limit for name, limit in limits.items()}
    return Evidence(violating, known), Evidence(passing, known)


def weights(violating: WeightReport, passing: WeightReport, says: str) -> Case:
    return Case(*on(model(violating), model(passing)), says=says)


def unread(report: ModelReport) -> ModelReport:
    """The report of a network of which no output depends on its weights."""
    return replace(report, unread_nodes=tuple(node.name for weight in report.weights for node in weight.nodes))


def base(report: ModelReport) -> BaselineModel:
    """The report as the baseline that it would be."""
    document = json.loads(text_of({"schema": SCHEMA, "models": [plain(model_json(report))], "errors": []}))
    return parse("base.json", document).models[0]


def against(old: BaselineModel | None, new: ModelReport, passing: ModelReport, says: str, **changes: Any) -> Case:
    return Case(Evidence(new, baseline=old), Evidence(passing, baseline=base(model())), says=says, **changes)


def unsupported(code: Code) -> ModelReport:
    return model(unsupported=(Unsupported("mm", "MatMul", code, "a reason"),))


def claimed(effect: Effect, *, outputs: int, stored: bool = False) -> ModelReport:
    return model(claims=(OutputClaim("y", effect, "mul", "Mul", ("c",), stored),), outputs=outputs)


def operator(lower: int, upper: int) -> tuple[WeightNode, ...]:
    found = OperatorReport((3, 8, 8), 0, Bounds(lower, upper, proved=True), None)
    return (WeightNode("/w/Conv", "Conv", 1, found),)


def grouped(groups: int) -> tuple[WeightNode, ...]:
    return (WeightNode("/w/Conv", "Conv", groups, None),)


def shares(*numbers: float | None) -> ModelReport:
    return model(front=reading(96, 96, shares=tuple(KernelShare(f"{i}.png", share) for i, share in enumerate(numbers))))


def collided() -> Any:
    run = SimpleNamespace(
        precision="float64",
        session={"provider": "CPUExecutionProvider"},
        verdict=SimpleNamespace(label="rounding"),
        outputs=(SimpleNamespace(max_abs=1e-15),),
    )
    return SimpleNamespace(
        runs=(run,),
        perturbation=SimpleNamespace(linf=0.5, l2=3.0),
        source="random",
        where="image",
        readers=("/image/Conv",),
    )


ZERO = clean(ranks=batches.profile(27, 8, 0, 0, 0), dead_outputs=8, unread_inputs=27)
DEPTHWISE = clean(ranks=batches.profile(27, 8, 7, 7, 7), dead_outputs=1)
OPEN = Rank(8, Certainty.AMBIGUOUS, 7, 8)
INCOMPLETE = {"not-analysed", "nonfinite-weight", "load-unknown", "load-failed"}
DATED = {"load-unknown"}
FIRM = {*INCOMPLETE, "nonfinite-constant", "broken-output", "load-refused"} - DATED
OF_THE_POLICY = {"expired-exception", "unused-exception"}

CASES: dict[str, list[Case]] = {
    "not-analysed": [Case(*on(unsupported(Code.OPERATOR), model()), ("node", "mm"), says="[unsupported-operator] a reason")],
    "nonfinite-weight": [Case(*on(unsupported(Code.NONFINITE), unsupported(Code.TIME)), ("node", "mm"), says="a reason")],
    "nonfinite-constant": [
        Case(
            *on(model(nonfinite=(OddConstant("b", "mm", "Gemm", "NaN", 2, 8),)), model()),
            ("node", "mm"),
            says="Gemm: NaN in 2 of 8 entries of 'b'",
        )
    ],
    "broken-output": [
        Case(
            *on(claimed(Effect.NAN, outputs=2), model()),
            ("output", "y"),
            says="it is NaN for every input, in one entry at least",
        ),
        Case(
            *on(claimed(Effect.NOT_FINITE, outputs=2), claimed(Effect.CONSTANT, outputs=2)),
            ("output", "y"),
            says="it is NaN or Inf for every input, in every entry: that begins at node 'mul' (Mul), which reads c",
        ),
        Case(*on(claimed(Effect.CONSTANT, outputs=1), model()), ("output", "y"), says="it is the same for every input"),
    ],
    "broken-run": [
        Case(
            Evidence(model(), runs=OutputRuns(8, 2, {"y": 3})),
            Evidence(model(), runs=OutputRuns(8, 2)),
            ("output", "y"),
            {"provider": "cpu"},
            "NaN in an entry at least in 3 of 8 runs",
        ),
        Case(
            Evidence(model(), runs=OutputRuns(8, 2, {}, {"y": 8})),
            Evidence(model(), runs=OutputRuns(8, 2, constant=("y",))),
            ("output", "y"),
            {"provider": "cpu"},
            "no finite number in any entry in 8 of 8 runs",
        ),
        Case(
            Evidence(model(), runs=OutputRuns(8, 1, constant=("y",))),
            Evidence(model()),
            ("output", "y"),
            {"provider": "cpu"},
            "the same in 8 runs",
        ),
    ],
    "constant-output": [
        Case(
            Evidence(model(), runs=OutputRuns(8, 2, constant=("y",))),
            Evidence(model(), runs=OutputRuns(8, 2, constant=("y",), stored=frozenset({"y"}))),
            ("output", "y"),
            says="the same in 8 runs",
        ),
        Case(
            *on(claimed(Effect.CONSTANT, outputs=2), claimed(Effect.CONSTANT, outputs=2, stored=True)),
            ("output", "y"),
            says="it is the same for every input",
        ),
    ],
    "unusual-constant": [
        Case(
            *on(model(unusual=(OddConstant("b", "mm", "Gemm", "Inf", 2, 8),)), model()),
            ("node", "mm"),
            says="Gemm: Inf in 2 of 8 entries of 'b'",
        )
    ],
    **{
        f"load-{outcome.value}": [
            Case(
                Evidence(model(), loading=Loading(outcome, "why")),
                Evidence(model(), loading=LOADS),
                ("model", "models/net.onnx"),
                says="why",
            )
        ]
        for outcome in (LoadOutcome.REFUSED, LoadOutcome.UNKNOWN, LoadOutcome.FAILED)
    },
    "overridable-constants": [
        Case(
            *on(replace(model(), model=replace(model().model, overridable=("w", "b", "c", "d"))), model()),
            ("model", "models/net.onnx"),
            says="a caller may replace stored constants that are inputs as well ('w', 'b', 'c' and 1 more)",
        )
    ],
    "zero-weight": [
        weights(ZERO, DEPTHWISE, says="all of its 27×8 entries are 0"),
        Case(*on(model(ZERO), unread(model(ZERO))), says="all of its 27×8 entries are 0"),
    ],
    "unread-weight": [Case(*on(unread(model(ZERO)), model(ZERO)), says="no output depends on it")],
    "unread-network-input": [
        Case(
            *on(
                model(front=reading(192, 192, nodes=(), weights=())),
                model(front=reading(192, 192, nodes=(), weights=(), sized=True)),
            ),
            ("input", "image"),
            says="no output depends on it",
        )
    ],
    "regression": [
        against(base(model()), model(clean(ranks=batches.profile(27, 8, 7, 8, 8))), model(), "rank 8 → 7 (float32)"),
        against(
            base(model()),
            model(clean(ranks=batches.profile(27, 8, 6, 7, 7))),
            model(),
            "rank 8 → 6 (float32); rank 8 → 7 (float64, exact)",
        ),
        against(base(model()), model(clean(dead_outputs=1)), model(clean(nodes=operator(0, 9))), "dead outputs 0 → 1"),
        against(base(model()), model(clean(duplicate_outputs=2)), model(), "duplicate outputs 0 → 2"),
        against(base(model()), model(clean(nearly_dead_outputs=1)), model(), "nearly dead outputs 0 → 1"),
        against(
            base(model()), model(clean(unread_inputs=3)), model(clean(unread_inputs=3, nodes=grouped(8))), "unread inputs 0 → 3"
        ),
        against(
            base(model(clean(nodes=operator(0, 0)))),
            model(clean(nodes=operator(0, 9))),
            model(clean(ranks=batches.profile(27, 8, 8, 8))),  # not computed over ℚ: nothing to compare
            "input nullity 0 → 0..9",
        ),
        against(base(model(clean(nodes=operator(0, 0)))), model(), model(), "input nullity 0 → not known"),
        against(
            base(model(clean(nodes=operator(1, 1) * 2))),
            model(clean(nodes=operator(1, 2) * 3)),
            model(),
            "input nullity 1 → 1..2",
        ),
        against(base(model()), model(front=reading(1, 2)), model(), "0 → 1..2 dimensions", subject=("input", "image")),
        against(
            base(model()),
            model(front=reading(guaranteed=False, reason="a Cast reads it", input_nullity=None)),
            model(),
            "is not known: a Cast reads it",
            subject=("input", "image"),
        ),
    ],
    "baseline-mismatch": [
        against(None, model(), model(), "does not know this model", subject=("model", "models/net.onnx")),
        against(base(model(clean("v"), clean())), model(), model(), "in the baseline and not here", subject=("weight", "v")),
        against(base(model(clean("v"))), model(clean("v"), clean()), model(), "does not know this weight"),
        against(
            base(model()),
            model(clean(ranks=batches.profile(27, 9, 9, 9, 9))),
            model(),
            "27×8 in the baseline, 27×9 here",
        ),
        against(
            base(model()), model(frontier=(reading(), reading(input="x"))), model(), "does not know", subject=("input", "x")
        ),
    ],
    "verified-collision": [
        Case(
            Evidence(model(), collision=collided()),
            Evidence(model()),
            ("input", "image"),
            {"provider": "cpu"},
            "collide: float64 on CPUExecutionProvider (rounding)",
        )
    ],
    "dead-outputs": [weights(DEPTHWISE, ZERO, says="dead outputs: 1 of 8")],
    "duplicate-outputs": [weights(clean(duplicate_outputs=2), clean(), says="duplicate outputs: 2 of 8")],
    "nearly-dead-outputs": [weights(clean(nearly_dead_outputs=1), clean(), says="nearly dead outputs: 1 of 8")],
    "unread-inputs": [
        weights(clean(unread_inputs=4), ZERO, says="unread inputs: 4 of 27"),
        weights(clean(unread_inputs=4, nodes=grouped(4)), clean(unread_inputs=4, nodes=grouped(8)), says="unread inputs: 4"),
    ],
    "rank-deficient": [
        weights(clean(ranks=batches.profile(27, 8, 7, 7, 8)), DEPTHWISE, says="rank 7 at the float64 cut-off, where 8 is"),
        weights(
            clean(ranks=batches.profile(8, 27, 7, 7, 7)),
            clean(ranks=batches.profile(8, 27, 7, 7, 7), unread_inputs=1),
            says="rank 7",
        ),
    ],
    "ambiguous-rank": [
        weights(
            clean(ranks=replace(batches.profile(27, 8, 8, 8), float64=OPEN)),
            clean(ranks=replace(batches.profile(27, 8, 8, 8), float64=replace(OPEN, certainty=Certainty.NUMERICAL))),
            says="rank between 7 and 8 at the float64 cut-off",
        )
    ],
    "input-collisions": [
        Case(
            *on(model(front=reading(48, 96)), model(front=reading(0, 96))),
            ("input", "image"),
            says="ignores 48 to 96 of 192 dimensions (25 %)",
        )
    ],
    "kernel-energy": [
        Case(
            *on(shares(0.2, 0.500001), shares(0.5), kernel_energy=0.5),
            ("input", "image"),
            {"max": 0.5},
            "1 of 2 given inputs it ignores more than 0.5: up to 0.500001",
        ),
        Case(
            *on(shares(0.2, None), shares(0.2), kernel_energy=0.5),
            ("input", "image"),
            {"max": 0.5},
            "for 1 of 2 given inputs the share was not found",
        ),
        Case(
            *on(model(front=reading(guaranteed=False, reason="a Cast")), shares(0.0), kernel_energy=0.5),
            ("input", "image"),
            {"max": 0.5},
            "not measured: a Cast",
        ),
    ],
    "kernel-weights": [
        Case(
            *on(model(), replace(model(), paper=replace(model().paper, weights=100, nu=29)), kernel_weights=0.29),
            ("model", "models/net.onnx"),
            {"max": 0.29},
            "1 of 1 weights (100 %) have a kernel",
        )
    ],
    "narrow-weights": [
        Case(
            *on(model(), replace(model(), paper=replace(model().paper, mu=0)), narrow_weights=0),
            ("model", "models/net.onnx"),
            {"max": 0},
            "fewer outputs than inputs",
        )
    ],
    "total-nullity": [
        Case(
            *on(model(clean("v"), clean()), model(), total_nullity=20),
            ("model", "models/net.onnx"),
            {"max": 20},
            "Σ nullity is 40, more than 20",
        )
    ],
    "rank-depends-on-cutoff": [
        weights(
            clean(ranks=batches.profile(27, 8, 7, 8)),
            clean(ranks=batches.profile(27, 8, 7, 7)),
            says="rank 7 at the float32 cut-off, 8 at the float64 cut-off, of 8",
        )
    ],
    "input-undecided": [
        Case(
            *on(model(front=reading(guaranteed=False, reason="a Cast", input_nullity=None)), model()),
            ("input", "image"),
            says="a Cast",
        ),
        Case(*on(model(front=reading(0, 9)), model(front=reading(9, 9))), ("input", "image"), says="ignores 0 to 9"),
        Case(
            *on(model(front=reading(input_nullity=Bounds(0, 0, proved=False))), model(front=reading(1, 9))),
            ("input", "image"),
            says="which is no proof",
        ),
        Case(
            *on(model(front=reading(input_nullity=None, reason="an open shape")), model()),
            ("input", "image"),
            says="an open shape",
        ),
    ],
}
TABLE = [pytest.param(rule, case, id=f"{rule}-{i}") for rule, cases in CASES.items() for i, case in enumerate(cases)]


def of(rule: str, findings: tuple[Finding, ...]) -> list[Finding]:
    return [finding for finding in findings if finding.rule == rule]


def judged(rule: str, evidence: Evidence, text: str, folder: Path) -> tuple[list[Finding], list[Finding], ExitCode]:
    """(findings of the rule, findings about the policy, exit code) where only this rule can block."""
    others = "".join(
        f"rules.{other.id} = 'off'\n" for other in RULES.values() if not other.firm and other.id not in {rule, *OF_THE_POLICY}
    )
    needs = RULES[rule].needs == "baseline"
    report = gate(evidence, policy(f"{others}{text}", folder), baseline=needs)
    return of(rule, report.all_findings), list(report.findings), report.exit_code


def settings(rule: str, case: Case, severity: str = "error") -> str:
    own = {} if RULES[rule].firm else {"severity": severity}
    return "".join(f"rules.{rule}.{key} = {value!r}\n" for key, value in {**case.settings, **own}.items())


def exception(rule: str, case: Case, expires: str) -> str:
    kind, name = case.subject
    named = f"{kind} = '{name}'\n" if kind in ("weight", "input") else ""
    return f"[[exceptions]]\nrule = '{rule}'\nmodel = 'net.onnx'\n{named}reason = 'known'\nexpires = {expires}\n"


def test_every_rule_is_in_the_table() -> None:
    assert set(CASES) | OF_THE_POLICY == set(RULES)
    assert {rule.id for rule in RULES.values() if rule.firm and not rule.dated} == FIRM
    assert {rule.id for rule in RULES.values() if rule.dated} == DATED
    assert {rule.id for rule in RULES.values() if rule.incomplete} == INCOMPLETE


@pytest.mark.parametrize(("rule", "case"), TABLE)
def test_violating(rule: str, case: Case, tmp_path: Path) -> None:
    found, _, code = judged(rule, case.violating, settings(rule, case), tmp_path)
    assert [(each.subject.kind, each.subject.name) for each in found] == [case.subject]
    assert found[0].severity is Severity.ERROR
    assert case.says in found[0].message
    assert case.subject[0] in RULES[rule].subjects
    assert code is (ExitCode.INCOMPLETE if rule in INCOMPLETE else ExitCode.VIOLATED)


@pytest.mark.parametrize(("rule", "case"), TABLE)
def test_passing(rule: str, case: Case, tmp_path: Path) -> None:
    found, _, code = judged(rule, case.passing, settings(rule, case), tmp_path)
    assert found == []
    assert code is (ExitCode.INCOMPLETE if not case.passing.report.complete else ExitCode.PASS)


@pytest.mark.parametrize(("rule", "case"), TABLE)
def test_silenced(rule: str, case: Case, tmp_path: Path) -> None:
    """The last day still counts. What nobody measured cannot be silenced."""
    text = settings(rule, case) + exception(rule, case, "2026-11-25")
    if rule in FIRM:
        with pytest.raises(OnnxnullError, match="cannot be silenced"):
            judged(rule, case.violating, text, tmp_path)
        return
    found, about, code = judged(rule, case.violating, text, tmp_path)
    assert [each.waiver is not None for each in found] == [True]
    assert (about, code) == ([], ExitCode.PASS)


@pytest.mark.parametrize(("rule", "case"), [param for param in TABLE if param.values[0] not in FIRM])
def test_expired(rule: str, case: Case, tmp_path: Path) -> None:
    """The finding is back, whatever its severity, and the exception is told of as an error."""
    text = settings(rule, case, "note") + exception(rule, case, "2026-11-24")
    found, about, code = judged(rule, case.violating, text, tmp_path)
    assert [(each.waiver, each.expired is not None) for each in found] == [(None, True)]
    assert [each.rule for each in about] == ["expired-exception"]
    assert code is (ExitCode.INCOMPLETE if rule in INCOMPLETE else ExitCode.VIOLATED)


@pytest.mark.parametrize(("rule", "case"), [param for param in TABLE if param.values[0] not in FIRM])
def test_an_exception_for_what_passes_is_unused(rule: str, case: Case, tmp_path: Path) -> None:
    text = f"rules.unused-exception = 'error'\n{settings(rule, case)}{exception(rule, case, '2099-01-01')}"
    found, about, code = judged(rule, case.passing, text, tmp_path)
    assert (found, [each.rule for each in about], code) == ([], ["unused-exception"], ExitCode.VIOLATED)


@pytest.mark.parametrize(("rule", "case"), [param for param in TABLE if param.values[0] not in FIRM | DATED])
@pytest.mark.parametrize("severity", ["note", "warning", "off"])
def test_softened(rule: str, case: Case, severity: str, tmp_path: Path) -> None:
    found, _, code = judged(rule, case.violating, settings(rule, case, severity), tmp_path)
    assert [each.severity.value for each in found] == ([] if severity == "off" else [severity])
    assert code is ExitCode.PASS


def test_what_is_unknown_here_is_accepted_until_a_day_only(tmp_path: Path) -> None:
    text = "[[exceptions]]\nrule = 'load-unknown'\nreason = 'it runs elsewhere'\n"
    with pytest.raises(OnnxnullError, match="has no last day, and this rule needs one"):
        policy(text, tmp_path)


def test_an_exception_for_what_is_unknown_accepts_nothing_else(tmp_path: Path) -> None:
    text = "[[exceptions]]\nrule = 'load-unknown'\nreason = 'it runs elsewhere'\nexpires = 2099-01-01\n"
    for outcome, code in ((LoadOutcome.REFUSED, ExitCode.VIOLATED), (LoadOutcome.FAILED, ExitCode.INCOMPLETE)):
        report = gate(Evidence(model(), loading=Loading(outcome, "why")), policy(text, tmp_path))
        assert report.exit_code is code


def test_a_model_that_nobody_tried_to_load_is_no_pass() -> None:
    findings = judge(Evidence(model()), Policy().active(baseline=False), Accepted((), TODAY), "models/net.onnx")
    assert [(finding.rule, finding.incomplete) for finding in findings] == [("load-failed", True)]


@pytest.mark.parametrize("rule", sorted(FIRM | DATED))
@pytest.mark.parametrize("severity", ["note", "warning", "off"])
def test_incomplete_is_never_a_pass(rule: str, severity: str, tmp_path: Path) -> None:
    with pytest.raises(OnnxnullError, match="incomplete is never a pass"):
        policy(f"rules.{rule} = '{severity}'", tmp_path)


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_every_rule_has_a_page(rule: Any) -> None:
    """Which says what it means in the words of the table, why it matters, how to fix it and how to silence it."""
    text = (DOCS / f"{rule.id}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# `{rule.id}`: {rule.title}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        "What it means",
        "Why it matters",
        "How to fix it",
        "How to silence it",
    ]
    assert all(len(section.split()) > 8 for section in re.split(r"^## .*$", text, flags=re.MULTILINE)[1:])
    assert f"`{rule.severity.value}`" in text


def test_pages_are_of_rules() -> None:
    assert {path.stem for path in DOCS.glob("*.md")} == set(RULES)


def test_two_weights_of_one_name_have_two_fingerprints(tmp_path: Path) -> None:
    evidence = Evidence(model(clean(dead_outputs=1), clean(dead_outputs=1)))
    marks = [f.fingerprint for f in of("dead-outputs", gate(evidence, policy("", tmp_path)).all_findings)]
    assert len(set(marks)) == 2


def test_fingerprints_do_not_feel_numbers(tmp_path: Path) -> None:
    def marks(dead: int) -> list[str]:
        found = gate(Evidence(model(clean(dead_outputs=dead))), policy("", tmp_path)).all_findings
        return [finding.fingerprint for finding in found]

    assert marks(1) == marks(2) != []


@pytest.mark.parametrize(
    ("pattern", "accepted"),
    [("R [reverse]", [True, False]), ("R *", [True, False]), ("*", [True, True]), ("x", [False, False])],
)
def test_only_the_named_weight_is_accepted(pattern: str, accepted: list[bool], tmp_path: Path) -> None:
    text = f"[[exceptions]]\nrule = 'dead-outputs'\nweight = '{pattern}'\nreason = 'r'\n"
    evidence = Evidence(model(clean("R [reverse]", dead_outputs=1), clean("w", dead_outputs=1)))
    report = gate(evidence, policy(text, tmp_path))
    assert [each.waiver is not None for each in of("dead-outputs", report.all_findings)] == accepted


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("net.onnx", True),
        ("models/net.onnx", True),
        ("models/*.onnx", True),
        ("*.onnx", True),
        ("other/*.onnx", False),
        ("et.onnx", False),
    ],
)
def test_models_are_matched_from_the_right(pattern: str, fits: bool, tmp_path: Path) -> None:
    text = f"[[exceptions]]\nrule = 'dead-outputs'\nmodel = '{pattern}'\nreason = 'r'\n"
    report = gate(Evidence(model(clean(dead_outputs=1))), policy(text, tmp_path))
    assert [each.waiver is not None for each in of("dead-outputs", report.all_findings)] == [fits]
    assert bool(report.notes) is not fits  # that it was not looked at is told


def test_an_exception_that_was_renewed_by_another_one(tmp_path: Path) -> None:
    entry = "[[exceptions]]\nrule = 'dead-outputs'\nweight = 'w'\nreason = 'r'\nexpires = "
    report = gate(Evidence(model(clean(dead_outputs=1))), policy(f"{entry}2026-11-01\n{entry}2026-12-01\n", tmp_path))
    (found,) = of("dead-outputs", report.all_findings)
    assert found.waiver is not None
    assert [(each.rule, each.message) for each in report.findings] == [
        ("unused-exception", "it expired on 2026-11-01, and another one accepts what it did")
    ]
    report = gate(Evidence(model(clean(dead_outputs=1))), policy(f"{entry}2026-12-01\n{entry}2026-12-02\n", tmp_path))
    assert report.findings == ()
