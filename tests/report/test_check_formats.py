"""The gate's formats: JSON and SARIF by their schemas, JUnit as XML, Markdown that fits a comment."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from onnxnull.analysis.results import ModelReport
from onnxnull.errors import Code, ExitCode, OnnxnullError
from onnxnull.policy import gate
from onnxnull.policy.config import Policy
from onnxnull.policy.evidence import Evidence
from onnxnull.policy.exceptions import Accepted
from onnxnull.policy.results import CheckReport, ModelVerdict, PolicyUse, Severity, Waiver
from onnxnull.policy.rules import RULES
from onnxnull.policy.targets import Target
from onnxnull.report import check_json, check_markdown, check_text, junit, sarif
from tests.helpers import shared_models

from .batches import HOSTILE, hostile, report, unsupported, weight

SARIF = json.loads((Path(__file__).parent / "schemas" / "sarif-2.1.0-rtm.5.json").read_text(encoding="utf-8"))
OURS = json.loads((resources.files("onnxnull.report") / "schemas" / "check.json").read_text(encoding="utf-8"))
MODELS = Path(__file__).resolve().parents[2] / "models"
COMMENT = 65_536
"""Characters that a comment on a pull request may have at GitHub."""


def gated(*reports: ModelReport, waivers: tuple[Waiver, ...] = (), failures: tuple[OnnxnullError, ...] = ()) -> CheckReport:
    """What the gate says of reports; every model also has a check that could not be made."""
    active = Policy(limits={"total-nullity": 5.0}).active(baseline=False)
    accepted = Accepted(waivers, date(2026, 11, 25))
    problem = OnnxnullError(Code.RUNTIME, "it does not run")
    verdicts = []
    for each in reports:
        problem.file = each.model.file
        findings = gate.judge(Evidence(each, {"total-nullity": 5.0}), active, accepted, each.model.file)
        verdicts.append(ModelVerdict(each, findings, (problem,), (f"of {each.model.file}",)))
    about, told = accepted.of_the_policy(active, [(each.report.model.file, each.findings) for each in verdicts])
    use = PolicyUse("onnxnull.toml", Severity.ERROR, active, None, waivers)
    return CheckReport(use, tuple(verdicts), failures, tuple(about), tuple(told))


def failed(file: str, seen: str = "no such file") -> OnnxnullError:
    error = OnnxnullError(Code.FILE_NOT_FOUND, seen)
    error.file = file
    return error


def problems(document: Any, schema: Any) -> list[str]:
    """What a schema has against a document; SARIF's is of draft 4, ours of 2020-12. Formats are checked, too."""
    validator = jsonschema.validators.validator_for(schema)
    validator.check_schema(schema)
    checker = validator(schema, format_checker=validator.FORMAT_CHECKER)
    return [f"{error.json_path}: {error.message[:200]}" for error in checker.iter_errors(document)]


def valid(found: CheckReport) -> dict[str, Any]:
    """All formats are well-formed; the SARIF run."""
    document = json.loads(sarif.render(found))
    assert problems(document, SARIF) == []
    assert problems(json.loads(check_json.render(found)), OURS) == []
    ET.fromstring(junit.render(found).encode())
    assert len(check_markdown.render(found)) < COMMENT
    (run,) = document["runs"]
    assert isinstance(run, dict)
    return run


@pytest.fixture(scope="module")
def real() -> CheckReport:
    """Every model at hand, those that cannot be analysed included."""
    paths = [*shared_models(), *sorted(MODELS.glob("*.onnx"))]
    return gate.check([Target(str(path), path.name) for path in paths], Policy(), today=date(2026, 11, 25))


def test_every_real_model(real: CheckReport) -> None:
    run = valid(real)
    assert len(run["artifacts"]) == len(real.models) >= 4
    assert len(run["results"]) == len(real.all_findings)
    names = {entry["name"] for result in run["results"] for entry in result["locations"][0]["logicalLocations"]}
    assert {finding.subject.name for finding in real.all_findings} <= names
    places = [
        (result["ruleId"], result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], result["partialFingerprints"])
        for result in run["results"]
    ]
    marks = {(uri, tuple(sorted(prints.items()))) for _, uri, prints in places}
    assert len(marks) == len(places)


def test_no_healthy_model_is_blocked(real: CheckReport) -> None:
    """The default policy on trained networks of many makers: what blocks is only what was not analysed."""
    blocked = {f.rule for model in real.models for f in model.findings if f.severity is Severity.ERROR}
    assert blocked <= {"not-analysed"}
    for model in real.models:
        expected = ExitCode.NOTHING if not model.report.weights else ExitCode.PASS
        assert model.exit_code(Severity.ERROR) is (expected if model.complete else ExitCode.INCOMPLETE)


@pytest.mark.parametrize("name", HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_names(name: str) -> None:
    waiver = Waiver("dead-outputs", name, None, "plain")
    found = gated(
        hostile(name), waivers=(waiver, Waiver("duplicate-outputs", "r", f"no {name}")), failures=(failed(name, name),)
    )
    run = valid(found)
    assert [result["suppressions"][0]["status"] for result in run["results"] if "suppressions" in result] == ["accepted"]
    shown = [check_text.render(found), check_markdown.render(found), junit.render(found)]
    for text in shown:
        assert all(line.isprintable() for line in text.split("\n"))
        assert len(text.splitlines()) == text.count("\n")
    for text in (sarif.render(found), check_json.render(found)):
        assert text.isascii()


def test_a_comment_stays_short_whatever_is_found() -> None:
    names = [HOSTILE["markup"] * 40 + str(i) for i in range(60)]
    many = [
        replace(report(*(weight(name) for name in names[:30]), file=name), unsupported=(unsupported(name),)) for name in names
    ]
    accepted = Waiver("unread-inputs", names[0])
    found = gated(*many, waivers=(accepted,), failures=tuple(failed(name, name) for name in names))
    text = check_markdown.render(found)
    assert len(text) < COMMENT
    assert "more" in text
    first = [line for line in text.splitlines() if re.match(r"\| (error|warning|note) ", line)]
    assert first
    assert all(line.startswith("| error") for line in first)  # the worst come first


def test_nobody_is_called_into_a_discussion() -> None:
    assert "@" not in check_markdown.render(gated(report(weight("@everybody"), file="@a/b.onnx"), failures=(failed("@c"),)))


def test_junit_counts() -> None:
    found = gated(report(weight("w"), unsupported=(unsupported(),)), failures=(failed("absent.onnx"),))
    root = ET.fromstring(junit.render(found))
    model, absent = root
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == (str(len(root.findall(".//testcase"))), "1", "4")
    assert (model.get("name"), absent.get("name")) == ("model.onnx", "absent.onnx")
    cases = {case.get("name"): [child.tag for child in case] for case in model}
    assert cases["not-analysed"] == ["error"]
    assert cases["load-failed"] == ["error"]  # nobody tried to load a report that was made by hand
    assert cases["total-nullity"] == ["failure"]
    assert cases["dead-outputs"] == ["system-out"]
    assert cases["analysis"] == ["error"]
    assert cases["zero-weight"] == []


def test_sarif_says_what_was_on_and_what_was_not() -> None:
    run = valid(gated(report(weight("w"))))
    rules = {rule["id"]: rule["defaultConfiguration"] for rule in run["tool"]["driver"]["rules"]}
    assert list(rules) == list(RULES)
    assert rules["total-nullity"] == {"level": "error", "enabled": True}
    assert rules["kernel-energy"] == {"level": "error", "enabled": False}
    assert all(run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])
    (invocation,) = run["invocations"]
    assert (invocation["executionSuccessful"], invocation["exitCode"]) == (False, 2)


def test_nodes_of_one_name_are_one_location() -> None:
    """SARIF wants unique items, exporters repeat names."""
    told = weight("w")
    run = valid(gated(report(replace(told, nodes=told.nodes * 2))))
    places = [result["locations"][0]["logicalLocations"] for result in run["results"] if result["ruleId"] == "dead-outputs"]
    assert [[(entry["kind"], entry["name"]) for entry in place] for place in places] == [[("weight", "w"), ("node", "/w/Conv")]]


def test_colour_is_for_terminals() -> None:
    found = gated(report(weight("w")))
    assert "\x1b" not in check_text.render(found)
    assert re.sub(r"\x1b\[[0-9;]*m", "", check_text.render(found, colour=True)) == check_text.render(found)
    assert "\x1b[31m" in check_text.render(found, colour=True)


@pytest.mark.parametrize("module", [sarif, check_json, junit, check_markdown, check_text])
def test_nothing_at_all_is_no_pass(module: ModuleType) -> None:
    found = gated()
    assert found.exit_code is ExitCode.INCOMPLETE
    assert module.render(found)
    assert valid(found)["results"] == []
