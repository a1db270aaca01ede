"""Exceptions of the policy: which findings they accept, which have expired, which match nothing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import PurePath

from onnxnull.policy.results import Finding, Found, Severity, Subject, Waiver, fingerprint


@dataclass(frozen=True, slots=True)
class Accepted:
    """Judges what rules found by the exceptions of a policy on a day."""

    waivers: Sequence[Waiver]
    today: date

    def findings(
        self, rule: str, severity: Severity, path: str, file: str, found: Iterable[Found], *, incomplete: bool = False
    ) -> list[Finding]:
        """What a rule found in the model at `path`, shown as `file`, each with the exception that accepts it."""
        findings, seen = [], Counter[Subject]()
        for each in found:
            fitting = [waiver for waiver in self.waivers if _fits(waiver, path, rule, each.subject)]
            waiver = next((w for w in fitting if not w.expired(self.today)), None)
            expired = next(iter(fitting), None) if waiver is None else None
            mark = fingerprint(rule, file, each.subject, seen[each.subject])
            seen[each.subject] += 1
            findings.append(Finding(rule, severity, each.subject, each.message, each.facts, mark, waiver, expired, incomplete))
        return findings

    def of_the_policy(
        self, rules: Mapping[str, tuple[Severity, float | None]], checked: Sequence[tuple[str, Sequence[Finding]]]
    ) -> tuple[list[Finding], list[str]]:
        """Findings about the exceptions themselves, and what should be known of those that could not be judged.

        Args:
            checked: for each model that was checked its path and what was found in it.
        """
        about, notes = [], []
        for number, waiver in enumerate(self.waivers, start=1):
            matched = [f for path, findings in checked for f in findings if _fits(waiver, path, f.rule, f.subject)]
            what = None
            if matched and waiver.expired(self.today):
                what = "expired-exception", f"it expired on {waiver.expires}: {waiver.reason}"
                if all(finding.waiver is not None for finding in matched):
                    what = "unused-exception", f"it expired on {waiver.expires}, and another one accepts what it did"
            elif not matched and waiver.rule not in rules:
                notes.append(f"exception {number} was not looked at: its rule {waiver.rule!r} was not checked")
            elif not matched and not any(_model_fits(waiver, path) for path, _ in checked):
                notes.append(f"exception {number} was not looked at: no model that was checked is {waiver.model!r}")
            elif not matched:
                where = " of ".join(filter(None, (waiver.weight or waiver.input, waiver.model))) or "any model"
                what = "unused-exception", f"nothing of {waiver.rule!r} was found in {where}: {waiver.reason}"
            if what is not None and what[0] in rules:
                rule, message = what
                subject = Subject("exception", f"{number} ({waiver.rule})")
                about.append(Finding(rule, rules[rule][0], subject, message, {}, fingerprint(rule, "", subject)))
        return about, notes


def _fits(waiver: Waiver, path: str, rule: str, subject: Subject) -> bool:
    return waiver.rule == rule and _model_fits(waiver, path) and _subject_fits(waiver, subject)


def _model_fits(waiver: Waiver, path: str) -> bool:
    """The pattern is compared with the end of the whole path, so that it does not matter where the command runs."""
    return waiver.model is None or PurePath(os.path.abspath(path)).match(waiver.model)


def _subject_fits(waiver: Waiver, subject: Subject) -> bool:
    for kind, pattern in (("weight", waiver.weight), ("input", waiver.input)):
        # names may hold brackets, which patterns mean otherwise: "R [reverse]" is itself first of all
        if pattern is not None and (
            subject.kind != kind or not (subject.name == pattern or fnmatchcase(subject.name, pattern))
        ):
            return False
    return True
