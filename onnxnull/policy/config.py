"""The policy: built in, from `onnxnull.toml` or `[tool.onnxnull]` of pyproject.toml in the current folder, and from flags.

Nothing in a policy is ignored: an unknown key or rule, a severity that is none, a limit out of range, an exception without a
reason is an error that names it.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path, PurePath
from typing import Any, Literal

from onnxnull.errors import Code, OnnxnullError, one_line
from onnxnull.policy.results import Severity, Waiver
from onnxnull.policy.rules import RULES, Rule

OFF = "off"
_TOML: dict[type, str] = {str: "text", dict: "table", list: "list of tables ([[...]])"}
PRECISIONS = ("float64", "float32", "float16", "native")
PROVIDERS = ("auto", "cuda", "cpu")


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How `verified-collision` runs models."""

    precisions: tuple[str, ...] = ("float64", "float32")
    provider: Literal["auto", "cuda", "cpu"] = "auto"


@dataclass(frozen=True, slots=True)
class Policy:
    """What findings matter how much.

    Attributes:
        source: the file, its last part where it was absolute; "" for the built-in policy.
        fail_on: the least severity that blocks a release.
        severities: rule → severity, where it is not the rule's own; None for off.
        limits: rule → limit.
        baseline: file of the baseline.
        run: how models run for `verified-collision` and `broken-run`; None where they do not.
        notes: what was seen when the policy was looked for.
    """

    source: str = ""
    fail_on: Severity = Severity.ERROR
    severities: Mapping[str, Severity | None] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    waivers: tuple[Waiver, ...] = ()
    baseline: Path | None = None
    run: RunSettings | None = None
    notes: tuple[str, ...] = ()

    def severity(self, rule: Rule) -> Severity | None:
        """Of an active rule; None where it is off."""
        return self.severities.get(rule.id, rule.severity)

    def active(self, *, baseline: bool) -> dict[str, tuple[Severity, float | None]]:
        """The rules that are looked at → (severity, limit); `baseline`: whether there is one to compare with."""
        there = {
            "": True,
            "baseline": baseline,
            "run": self.run is not None,
        }
        found = {}
        for rule in RULES.values():
            severity, limit = self.severity(rule), self.limits.get(rule.id)
            if severity is not None and there.get(rule.needs, limit is not None):
                found[rule.id] = (severity, limit)
        return found

    def with_flags(
        self,
        severities: Mapping[str, str],
        limits: Mapping[str, float],
        fail_on: str | None,
        baseline: Path | None,
        *,
        run: bool = False,
        precisions: Sequence[str] = (),
        provider: str | None = None,
    ) -> Policy:
        """The policy with what the command line says. Raises as `load`."""
        say = _Say("the command line")
        runs = self.run or (RunSettings() if run else None)
        if runs is not None:
            wanted = {"precision": list(precisions or runs.precisions), "provider": provider or runs.provider}
            runs = say.run(wanted)
        merged = replace(
            self,
            severities={
                **self.severities,
                **{say.rule(name).id: say.severity(name, text) for name, text in severities.items()},
            },
            limits={**self.limits, **{name: say.limit(say.rule(name), number) for name, number in limits.items()}},
            fail_on=self.fail_on if fail_on is None else Severity(fail_on),
            baseline=baseline or self.baseline,
            run=runs,
        )
        say.complete(merged)
        return merged


def find(folder: Path) -> Policy:
    """The policy of a folder: `onnxnull.toml`, else `[tool.onnxnull]` of pyproject.toml, else built in. Raises as `load`."""
    own, project = folder / "onnxnull.toml", folder / "pyproject.toml"
    table = _parse(project).get("tool", {}) if project.is_file() else {}
    in_project = isinstance(table, dict) and "onnxnull" in table
    if own.is_file():
        found = load(own)
        notes = ("onnxnull.toml is used, [tool.onnxnull] in pyproject.toml is not",) if in_project else ()
        return replace(found, source=own.name, notes=notes)
    if in_project:
        return _policy(table["onnxnull"], _Say("pyproject.toml"), folder, "pyproject.toml")
    return Policy()


def load(path: Path) -> Policy:
    """The policy in a file; of a pyproject.toml its [tool.onnxnull].

    Raises:
        OnnxnullError: `policy` where anything in it is not understood, `file-not-found`, `unreadable`.
    """
    document = _parse(path)
    name = path.name if path.is_absolute() else str(path)
    if path.name == "pyproject.toml":
        tool = document.get("tool")
        if not isinstance(tool, dict) or "onnxnull" not in tool:
            raise _Say(name).error("it has no [tool.onnxnull]")
        document = tool["onnxnull"]
    return _policy(document, _Say(name), path.parent, name)


def _parse(path: Path) -> dict[str, Any]:
    name = path.name if path.is_absolute() else str(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OnnxnullError(Code.FILE_NOT_FOUND, f"no policy at {name!r}") from None
    except OSError as error:
        raise OnnxnullError(Code.UNREADABLE, f"{name!r}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise OnnxnullError(Code.POLICY, f"{name!r} is not TOML: {one_line(error)}") from None


def _policy(table: Any, say: _Say, folder: Path, source: str) -> Policy:
    say.keys(table, ("fail-on", "baseline", "rules", "exceptions"), "")
    severities: dict[str, Severity | None] = {}
    limits: dict[str, float] = {}
    run = None
    rules = say.typed(table, "rules", dict, {})
    for name, setting in rules.items():
        rule = say.rule(name)
        if isinstance(setting, str):
            setting = {"severity": setting}
        extra = {"limit": ("max",), "run": ("precision", "provider")}.get(rule.needs, ())
        say.keys(setting, ("severity", *extra), f"rules.{name}")
        if "severity" in setting:
            severities[name] = say.severity(name, setting["severity"])
        if "max" in setting:
            limits[name] = say.limit(rule, setting["max"])
        if rule.needs == "run":
            run = run or say.run(setting)
    fail_on = say.choice(table.get("fail-on", "error"), [s.value for s in Severity], "fail-on")
    baseline = say.typed(table, "baseline", str, None)
    exceptions = say.typed(table, "exceptions", list, [])
    policy = Policy(
        source,
        Severity(fail_on),
        severities,
        limits,
        tuple(say.waiver(entry, number) for number, entry in enumerate(exceptions, start=1)),
        None if baseline is None else folder / baseline,
        run,
    )
    say.complete(policy)
    return policy


@dataclass(frozen=True, slots=True)
class _Say:
    """Reads values and says what is wrong with them, and where."""

    where: str

    def error(self, what: str, remedy: str | None = None) -> OnnxnullError:
        return OnnxnullError(Code.POLICY, f"{self.where}: {what}", remedy)

    def keys(self, table: Any, known: Iterable[str], place: str) -> None:
        if not isinstance(table, dict):
            raise self.error(f"{place or 'the policy'} is not a table")
        for key in table:
            if key not in known:
                raise self.error(f"unknown key {key!r}{f' in {place}' if place else ''}", _suggestion(key, known))

    def typed(self, table: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
        found = table.get(key, default)
        if found is not default and not isinstance(found, kind):
            raise self.error(f"{key} is not a {_TOML[kind]}")
        return found

    def choice(self, found: Any, known: Iterable[str], place: str) -> str:
        if not isinstance(found, str) or found not in known:
            raise self.error(f"{place} is {found!r}", f"one of {', '.join(known)}")
        return found

    def rule(self, name: Any) -> Rule:
        if name not in RULES:
            raise self.error(f"unknown rule {name!r}", _suggestion(str(name), RULES))
        return RULES[name]

    def severity(self, name: str, found: Any) -> Severity | None:
        text = self.choice(found, [*(s.value for s in Severity), OFF], f"the severity of {name!r}")
        severity = None if text == OFF else Severity(text)
        if RULES[name].firm and severity is not RULES[name].severity:
            raise self.error(f"{name!r} cannot be made {text!r}", "incomplete is never a pass")
        return severity

    def limit(self, rule: Rule, found: Any) -> float:
        if rule.largest is None:
            raise self.error(f"{rule.id!r} has no limit", "set its severity")
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= rule.largest:
            raise self.error(f"the limit of {rule.id!r} is {found!r}", f"give a number from 0 to {rule.largest:g}")
        return found

    def run(self, setting: Mapping[str, Any]) -> RunSettings | None:
        if setting.get("severity") == OFF:
            return None
        default = RunSettings()
        precisions = setting.get("precision", list(default.precisions))
        precisions = [precisions] if isinstance(precisions, str) else precisions
        if not isinstance(precisions, list) or not precisions:
            raise self.error(f"the precision is {precisions!r}", f"one or more of {', '.join(PRECISIONS)}")
        names = tuple(dict.fromkeys(self.choice(name, PRECISIONS, "the precision") for name in precisions))
        provider = self.choice(setting.get("provider", default.provider), PROVIDERS, "the provider")
        return RunSettings(names, provider)  # type: ignore[arg-type]

    def waiver(self, entry: Any, number: int) -> Waiver:
        place = f"exception {number}"
        self.keys(entry, ("rule", "model", "weight", "input", "reason", "expires"), place)
        if "rule" not in entry:
            raise self.error(f"{place} names no rule", f"one of {', '.join(RULES)}")
        rule = self.rule(entry["rule"])
        place = f"{place} ({rule.id})"
        if (rule.firm and not rule.dated) or "exception" in rule.subjects:
            raise self.error(f"{place}: this rule cannot be silenced", rule.remedy)
        for key in ("model", "weight", "input", "reason"):
            if key in entry and (not isinstance(entry[key], str) or not entry[key].strip()):
                raise self.error(f"{place}: {key} is not a text")
        for key in ("weight", "input"):
            if key in entry and key not in rule.subjects:
                raise self.error(f"{place}: this rule is not about one {key}", f"leave {key} out")
        if "model" in entry and not PurePath(entry["model"]).parts:
            raise self.error(f"{place}: model is {entry['model']!r}", "name a file, or a pattern for files")
        if "reason" not in entry:
            raise self.error(f"{place} has no reason", 'say why this is accepted: reason = "..."')
        if rule.dated and "expires" not in entry:
            raise self.error(f"{place} has no last day, and this rule needs one", "write a day: expires = 2027-01-31")
        return Waiver(
            rule.id, entry["reason"], entry.get("model"), entry.get("weight"), entry.get("input"), self.day(entry, place)
        )

    def day(self, entry: Mapping[str, Any], place: str) -> date | None:
        found = entry.get("expires")
        if isinstance(found, str):
            try:
                found = date.fromisoformat(found)
            except ValueError:
                found = entry
        if found is not None and (not isinstance(found, date) or isinstance(found, datetime)):
            raise self.error(f"{place}: expires is {entry['expires']!r}", "write a day: expires = 2027-01-31")
        return found

    def complete(self, policy: Policy) -> None:
        """What a rule needs is there."""
        for name, severity in policy.severities.items():
            if RULES[name].needs == "limit" and severity is not None and name not in policy.limits:
                raise self.error(f"{name!r} has a severity and no limit", "give the limit: max = ... or --max")


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
