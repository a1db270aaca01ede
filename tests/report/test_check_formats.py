"""The gate's formats: JSON and SARIF by their schemas, JUnit as XML, Markdown that fits a comment."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest

from onnxnull.analysis.results import ModelReport
from onnxnull.errors import Code, ExitCode, OnnxnullError
from onnxnull.policy import gate
from onnxnull.policy.config import Policy
from onnxnull.policy.evidence import Evidence
from onnxnull.policy.exceptions import Accepted
from onnxnull.policy.results import CheckReport, ModelVerdict, PolicyUse, Severity, Waiver
from onnxnull.policy.rules import RULES
from onnxnull.report import check_json, check_markdown, check_text, junit, sarif

from .batches import HOSTILE, hostile, report, unsupported, weight
from .check_reports import COMMENT, valid


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
