"""Policies: what is read from where, and that nothing in them is passed over in silence."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from onnxnull.errors import Code, OnnxnullError
from onnxnull.policy import config
from onnxnull.policy.config import Policy, RunSettings
from onnxnull.policy.results import Severity, Waiver
from onnxnull.policy.rules import RULES

WHOLE = """
fail-on = "warning"
baseline = "models/baseline.json"

[rules]
dead-outputs = "error"
rank-deficient = "off"
total-nullity = { max = 500 }
kernel-energy = { severity = "warning", max = 0.25 }
verified-collision = { precision = ["float32"], provider = "cpu" }

[[exceptions]]
rule = "dead-outputs"
model = "stft*.onnx"
weight = "basis"
reason = "the sine of frequency 0"
expires = 2027-01-31

[[exceptions]]
rule = "input-collisions"
input = "image"
reason = "by design"
expires = "2027-02-28"

[[exceptions]]
rule = "total-nullity"
reason = "for ever"
"""


def test_everything_at_once(tmp_path: Path) -> None:
    (tmp_path / "onnxnull.toml").write_text(WHOLE)
    assert config.find(tmp_path) == Policy(
        source="onnxnull.toml",
        fail_on=Severity.WARNING,
        severities={"dead-outputs": Severity.ERROR, "rank-deficient": None, "kernel-energy": Severity.WARNING},
        limits={"total-nullity": 500, "kernel-energy": 0.25},
        waivers=(
            Waiver("dead-outputs", "the sine of frequency 0", "stft*.onnx", "basis", expires=date(2027, 1, 31)),
            Waiver("input-collisions", "by design", input="image", expires=date(2027, 2, 28)),
            Waiver("total-nullity", "for ever"),
        ),
        baseline=tmp_path / "models" / "baseline.json",
        run=RunSettings(("float32",), "cpu"),
    )


def test_where_a_policy_comes_from(tmp_path: Path) -> None:
    assert config.find(tmp_path) == Policy()
    project = tmp_path / "pyproject.toml"
    project.write_text("[tool.ruff]\nline-length = 100\n")
    assert config.find(tmp_path) == Policy()
    project.write_text("[tool.onnxnull]\nfail-on = 'note'\n")
    assert config.find(tmp_path) == config.load(project) == Policy("pyproject.toml", Severity.NOTE)
    (tmp_path / "onnxnull.toml").write_text("fail-on = 'warning'\n")
    found = config.find(tmp_path)
    assert (found.source, found.fail_on) == ("onnxnull.toml", Severity.WARNING)
    assert found.notes == ("onnxnull.toml is used, [tool.onnxnull] in pyproject.toml is not",)


def exception(**changes: str | None) -> str:
    entry = {"rule": '"dead-outputs"', "reason": '"known"', **changes}
    return "[[exceptions]]\n" + "".join(f"{key} = {value}\n" for key, value in entry.items() if value is not None)


@pytest.mark.parametrize(
    ("text", "seen", "remedy"),
    [
        ("fail-on = 'erorr'", "fail-on is 'erorr'", "one of note, warning, error"),
        ("fail_on = 'error'", "unknown key 'fail_on'", "did you mean 'fail-on'?"),
        ("baseline = 3", "baseline is not a text", ""),
        ("rules = 3", "rules is not a table", ""),
        ("rules.dead-output = 'off'", "unknown rule 'dead-output'", "did you mean 'dead-outputs'?"),
        ("rules.zzz = 'off'", "unknown rule 'zzz'", "known: not-analysed"),
        ("rules.dead-outputs = 'fatal'", "the severity of 'dead-outputs' is 'fatal'", "error, off"),
        ("rules.dead-outputs = 3", "rules.dead-outputs is not a table", ""),
        ("rules.dead-outputs = {max = 3}", "unknown key 'max' in rules.dead-outputs", "known: severity"),
        ("rules.dead-outputs = {serverity = 'off'}", "unknown key 'serverity'", "did you mean 'severity'?"),
        ("rules.total-nullity = 'error'", "'total-nullity' has a severity and no limit", "max = "),
        ("rules.total-nullity.max = -1", "the limit of 'total-nullity' is -1", "from 0 to inf"),
        ("rules.kernel-energy.max = 50", "the limit of 'kernel-energy' is 50", "from 0 to 1"),
        ("rules.kernel-energy.max = nan", "the limit of 'kernel-energy' is nan", "from 0 to 1"),
        ("rules.kernel-energy.max = true", "the limit of 'kernel-energy' is True", "from 0 to 1"),
        ("rules.kernel-energy.max = '0.5'", "the limit of 'kernel-energy' is '0.5'", "from 0 to 1"),
        ("rules.not-analysed = 'warning'", "'not-analysed' cannot be made 'warning'", "incomplete is never a pass"),
        ("rules.verified-collision.precision = 'float8'", "the precision is 'float8'", "float64"),
        ("rules.verified-collision.precision = []", "the precision is []", "float64"),
        ("rules.verified-collision.provider = 'tpu'", "the provider is 'tpu'", "auto, cuda, cpu"),
        ("exceptions = 3", "exceptions is not a list of tables", ""),
        ("exceptions = [3]", "exception 1 is not a table", ""),
        (exception(rule=None), "exception 1 names no rule", "dead-outputs"),
        (exception(rule='"dead"'), "unknown rule 'dead'", ""),
        (exception(reason=None), "exception 1 (dead-outputs) has no reason", "reason = "),
        (exception(reason='"  "'), "reason is not a text", ""),
        (exception(model='"."'), "model is '.'", "name a file"),
        (exception(weight="3"), "weight is not a text", ""),
        (exception(input='"x"'), "this rule is not about one input", "leave input out"),
        (exception(layer='"x"'), "unknown key 'layer' in exception 1", "known: rule, model"),
        (exception(expires='"soon"'), "expires is 'soon'", "write a day"),
        (exception(expires="2027"), "expires is 2027", "write a day"),
        (exception(expires="2027-01-31T12:00:00"), "expires is datetime", "write a day"),
        (exception(rule='"unused-exception"'), "this rule cannot be silenced", ""),
        (exception(rule='"not-analysed"'), "this rule cannot be silenced", ""),
        ("this is no TOML", "is not TOML", ""),
        ("[rules", "is not TOML", ""),
        ("fail-on = 'error'\nfail-on = 'error'", "is not TOML", ""),
    ],
)
def test_what_is_not_understood_is_an_error(text: str, seen: str, remedy: str, tmp_path: Path) -> None:
    (tmp_path / "onnxnull.toml").write_text(text)
    with pytest.raises(OnnxnullError) as caught:
        config.find(tmp_path)
    assert caught.value.code is Code.POLICY
    assert seen in caught.value.seen
    assert remedy in caught.value.remedy
    assert "onnxnull.toml" in caught.value.seen


@pytest.mark.parametrize(
    ("name", "code"), [("absent.toml", Code.FILE_NOT_FOUND), (".", Code.UNREADABLE), ("pyproject.toml", Code.POLICY)]
)
def test_a_policy_that_is_asked_for_and_not_there(name: str, code: Code, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\n")
    with pytest.raises(OnnxnullError) as caught:
        config.load(tmp_path / name)
    assert caught.value.code is code
    assert str(tmp_path) not in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "onnxnull.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(OnnxnullError, match="is not TOML"):
        config.find(tmp_path)


def test_what_is_active() -> None:
    needs = {rule.id for rule in RULES.values() if rule.needs}
    assert set(Policy().active(baseline=False)) == set(RULES) - needs
    assert set(Policy().active(baseline=True)) - set(Policy().active(baseline=False)) == {"regression", "baseline-mismatch"}
    flags = Policy().with_flags(
        {"dead-outputs": "off", "regression": "note"}, {"total-nullity": 7.0}, "note", Path("b"), run=True
    )
    active = flags.active(baseline=True)
    assert active["total-nullity"] == (Severity.ERROR, 7.0)
    assert active["regression"] == (Severity.NOTE, None)
    assert "verified-collision" in active
    assert "dead-outputs" not in active
    assert (flags.fail_on, flags.baseline, flags.run) == (Severity.NOTE, Path("b"), RunSettings())


def test_flags_go_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "onnxnull.toml").write_text(WHOLE)
    policy = config.find(tmp_path).with_flags({"dead-outputs": "note"}, {"total-nullity": 9.0}, None, None, provider="cuda")
    assert policy.severities["dead-outputs"] is Severity.NOTE
    assert policy.limits == {"total-nullity": 9.0, "kernel-energy": 0.25}
    assert (policy.fail_on, policy.run) == (Severity.WARNING, RunSettings(("float32",), "cuda"))
    assert policy.baseline == tmp_path / "models" / "baseline.json"


def test_defaults_block_only_what_no_healthy_network_shows() -> None:
    """The default policy is a decision; whoever changes it changes this list."""
    errors = [rule.id for rule in RULES.values() if rule.severity is Severity.ERROR and not rule.needs]
    assert errors == [
        "not-analysed",
        "nonfinite-weight",
        "nonfinite-constant",
        "broken-output",
        "load-refused",
        "load-unknown",
        "load-failed",
        "zero-weight",
        "unread-network-input",
        "expired-exception",
    ]
