"""What the gate found, as JUnit XML: a suite a model, a case a rule. What blocks is a failure, what is missing an error.

There is no one schema of JUnit XML; elements and attributes are those that Jenkins, GitLab and GitHub's reporters read.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from onnxnull.errors import OnnxnullError
from onnxnull.policy.results import CheckReport, Finding, ModelVerdict, Severity
from onnxnull.policy.rules import RULES
from onnxnull.report import check_words
from onnxnull.report.words import printable


def render(report: CheckReport) -> str:
    """The report as XML text. No times: it is byte-identical from run to run."""
    root = ET.Element("testsuites", name="onnxnull check")
    fail_on = report.policy.fail_on
    for model in report.models:
        _model(root, model, tuple(report.policy.rules), fail_on)
    for error in report.failures:
        suite = _suite(root, error.file or "")
        _error(_case(suite, error.file or "", "analysis"), error)
    if report.policy.waivers or report.findings:
        suite = _suite(root, "the policy")
        for rule in ("expired-exception", "unused-exception"):
            if rule in report.policy.rules:
                _rule(suite, "the policy", rule, [f for f in report.findings if f.rule == rule], fail_on)
    for element in (*root, root):
        for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
            element.set(name, str(sum(1 for _ in element.iter(tag))))
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _model(root: ET.Element, model: ModelVerdict, rules: tuple[str, ...], fail_on: Severity) -> None:
    file = model.report.model.file
    suite = _suite(root, file)
    analysis = _case(suite, file, "analysis")
    for error in model.problems:
        _error(analysis, error)
    if model.complete and not model.report.weights:
        ET.SubElement(analysis, "skipped", message="the model holds no linear weight")
    for rule in rules:
        if rule not in ("expired-exception", "unused-exception"):
            _rule(suite, file, rule, [finding for finding in model.findings if finding.rule == rule], fail_on)


def _rule(suite: ET.Element, file: str, rule: str, findings: list[Finding], fail_on: Severity) -> None:
    case = _case(suite, file, rule)
    blocking = [f for f in findings if f.waiver is None and f.severity.rank >= fail_on.rank]
    if blocking:
        lines = [_line(finding) for finding in blocking]
        # one of a kind a case: some readers take the first only
        tag = "error" if RULES[rule].incomplete else "failure"
        ET.SubElement(case, tag, type=rule, message=lines[0]).text = "\n".join(lines)
    rest = [_line(finding) for finding in findings if finding not in blocking]
    if rest:
        ET.SubElement(case, "system-out").text = "\n".join(rest)


def _line(finding: Finding) -> str:
    text = f"{finding.severity.value}: {check_words.title(finding)}: {check_words.message(finding)}"
    return text if finding.waiver is None else f"{text} ({check_words.accepted(finding.waiver)})"


def _suite(root: ET.Element, name: str) -> ET.Element:
    return ET.SubElement(root, "testsuite", name=printable(name))


def _case(suite: ET.Element, file: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=printable(file), name=name)


def _error(case: ET.Element, error: OnnxnullError) -> None:
    text = f"{printable(error.seen)}; {printable(error.remedy)}"
    ET.SubElement(case, "error", type=error.code.code, message=text)
