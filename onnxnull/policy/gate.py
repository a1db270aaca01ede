"""`check(...)`: analyse models, look at them by the rules of a policy, and say what that comes to."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from onnxnull.analysis.analyze import analyze_model
from onnxnull.errors import Code, OnnxnullError, errors_of
from onnxnull.graph.model import open_model
from onnxnull.kernel.rank import ExactPolicy, Notion
from onnxnull.policy.baseline import Baseline, BaselineModel, weights_by_key
from onnxnull.policy.config import Policy
from onnxnull.policy.evidence import Evidence
from onnxnull.policy.exceptions import Accepted
from onnxnull.policy.outputs import run_outputs
from onnxnull.policy.results import CheckReport, Finding, ModelVerdict, PolicyUse, Severity
from onnxnull.policy.rules import RULES
from onnxnull.policy.run_request import RunRequest
from onnxnull.policy.targets import Target
from onnxnull.policy.verified import Attempt, attempt
from onnxnull.runtime.loading import Loader

if TYPE_CHECKING:
    from onnxnull.graph.limits import Limits
    from onnxnull.inputs import Preprocessing

Active = Mapping[str, tuple[Severity, float | None]]


@dataclass(frozen=True, slots=True)
class Analysis:
    """How models are analysed: as the arguments of `onnxnull.analyze`."""

    input_shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    exact: bool = False
    data: tuple[Path, Preprocessing] | None = None
    time_limit: float | None = None
    limits: Limits | None = None


def check(
    targets: Sequence[Target],
    policy: Policy,
    *,
    today: date,
    baseline: Baseline | None = None,
    analysis: Analysis | None = None,
    jobs: int = 1,
    progress: Callable[[str], None] = lambda _: None,
) -> CheckReport:
    """Check models by a policy.

    Args:
        today: the day on which exceptions are judged.
        baseline: what models are compared with; None for no comparison.
        jobs: models that are checked side by side, in processes of their own: a script that asks for several needs the usual
            `if __name__ == "__main__":`.
        progress: called with what comes next, or with what is done where there are several jobs.

    Returns:
        The report; a model that cannot be opened is one of its `failures`, and no pass.
    """
    active = policy.active(baseline=baseline is not None)
    accepted = Accepted(policy.waivers, today)
    tasks = [
        _Task(
            target,
            None if baseline is None else baseline.model(target.file, alone=len(targets) == 1),
            f"{target.file} ({number} of {len(targets)})",
            policy,
            active,
            accepted,
            analysis or Analysis(),
        )
        for number, target in enumerate(targets, start=1)
    ]
    if min(jobs, len(tasks)) > 1:
        outcomes = _in_processes(tasks, jobs, progress)
    else:
        with Loader() as loader:
            outcomes = [_one(task, loader, progress) for task in tasks]
    verdicts = tuple(outcome for outcome in outcomes if isinstance(outcome, ModelVerdict))
    checked = [
        (target.path, outcome.findings)
        for target, outcome in zip(targets, outcomes, strict=True)
        if isinstance(outcome, ModelVerdict)
    ]
    about, notes = accepted.of_the_policy(active, checked)
    return CheckReport(
        PolicyUse(policy.source, policy.fail_on, active, None if baseline is None else baseline.file, policy.waivers),
        verdicts,
        tuple(outcome for outcome in outcomes if isinstance(outcome, OnnxnullError)),
        tuple(about),
        (*policy.notes, *notes, *_not_compared(baseline, verdicts, alone=len(targets) == 1)),
    )


def judge(evidence: Evidence, active: Active, accepted: Accepted, path: str) -> tuple[Finding, ...]:
    """What the active rules find in one model, the worst first, then in the order of the table."""
    file = evidence.report.model.file
    findings = [
        finding
        for rule, (severity, _) in active.items()
        for finding in accepted.findings(
            rule, severity, path, file, RULES[rule].check(evidence), incomplete=RULES[rule].incomplete
        )
    ]
    return tuple(sorted(findings, key=lambda finding: -finding.severity.rank))


@dataclass(frozen=True, slots=True)
class _Task:
    """What one model's check needs: all of it can go to another process."""

    target: Target
    was: BaselineModel | None
    label: str
    policy: Policy
    active: Active
    accepted: Accepted
    analysis: Analysis


def _one(task: _Task, loader: Loader, progress: Callable[[str], None] = lambda _: None) -> ModelVerdict | OnnxnullError:
    """One model before the gate; the error where it cannot be opened, or where onnxnull itself fails on it."""
    target = task.target
    try:
        with errors_of(target.file):
            evidence, problems, notes = _look(task, loader, lambda step: progress(f"{task.label}: {step}"))
            findings = judge(evidence, task.active, task.accepted, target.path)
    except OnnxnullError as error:
        return error
    except Exception as error:  # noqa: BLE001 (a bug: other models and every report are still owed; this one is incomplete)
        return _bug(error, target.file)
    return ModelVerdict(evidence.report, findings, problems, notes)


def _problems(file: str, *found: OnnxnullError | None) -> tuple[OnnxnullError, ...]:
    """What kept checks of a file from being made; one reason once."""
    return tuple({str(error): error.about(file) for error in found if error is not None}.values())


def _bug(error: Exception, file: str) -> OnnxnullError:
    """What was not foreseen, with the place where it was raised."""
    (*_, last) = traceback.extract_tb(error.__traceback__)
    return OnnxnullError(
        Code.INTERNAL, f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})", file=file
    )


def _in_processes(tasks: Sequence[_Task], jobs: int, progress: Callable[[str], None]) -> list[ModelVerdict | OnnxnullError]:
    """The outcomes in the order of the tasks, from processes of their own: threads would wait for the interpreter's lock.

    The processes are spawned, since a fork of one that has loaded onnxruntime or BLAS may hang.
    """
    with ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=get_context("spawn"), initializer=_start_loader) as pool:
        futures = {pool.submit(_one_of_several, task): task for task in tasks}
        for done, future in enumerate(as_completed(futures), start=1):
            progress(f"{done} of {len(tasks)} models checked, last {futures[future].target.file}")
        return [_outcome(future, task.target.file) for future, task in futures.items()]


_loader: Loader | None = None
"""Of a process that checks models one after the other: it ends with that process, whose pipes it reads."""


def _start_loader() -> None:
    global _loader  # what an initializer of a pool makes has no other place
    _loader = Loader().__enter__()


def _one_of_several(task: _Task) -> ModelVerdict | OnnxnullError:
    assert _loader is not None
    return _one(task, _loader)


def _outcome(future: Future[ModelVerdict | OnnxnullError], file: str) -> ModelVerdict | OnnxnullError:
    """What a process found; an error where it did not live to say it."""
    try:
        return future.result()
    except BrokenProcessPool:
        seen = "a process that checked a model was ended from outside, mostly for lack of memory"
        return OnnxnullError(Code.TOO_LARGE, seen, "use fewer --jobs", file)


def _look(
    task: _Task, loader: Loader, show: Callable[[str], None]
) -> tuple[Evidence, tuple[OnnxnullError, ...], tuple[str, ...]]:
    """What there is to know of a model, under the name that reports give it; what could not be run, and what came up."""
    target, settings, run = task.target, task.analysis, task.policy.run
    show("opening the model")
    deadline = None if settings.time_limit is None else time.monotonic() + settings.time_limit
    model = open_model(target.path, input_shapes=settings.input_shapes, limits=settings.limits)
    show("loading the model")
    loading = loader.load(model)
    report = analyze_model(
        model,
        exact=ExactPolicy.ALWAYS if settings.exact else ExactPolicy.CHEAP,
        data=settings.data,
        deadline=deadline,
        progress=lambda done, total, name: show(f"weight {done} of {total}, {name}"),
    )
    report = replace(report, model=replace(report.model, file=target.file))
    tried, runs = Attempt(), None
    if run is not None:
        request = RunRequest(model, run, settings.data, show)
        if "verified-collision" in task.active:
            tried = attempt(request)
        if "broken-run" in task.active:
            runs = run_outputs(request)
    problems = _problems(target.file, tried.problem, None if runs is None else runs.problem)
    evidence = Evidence(report, task.policy.limits, task.was, tried.collision, runs, loading)
    return evidence, problems, (tried.note,) if tried.note else ()


def _not_compared(baseline: Baseline | None, verdicts: Sequence[ModelVerdict], alone: bool) -> list[str]:
    """What of the baseline was not looked at: models that were not checked, ranks that were not computed."""
    if baseline is None:
        return []
    notes = []
    met = [(verdict.report, baseline.model(verdict.report.model.file, alone=alone)) for verdict in verdicts]
    missing = [model.file for model in baseline.models if all(model is not was for _, was in met)]
    if missing:
        names = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        notes.append(f"{len(missing):,} of {len(baseline.models):,} models of the baseline were not checked: {names}")
    exact = [
        (was.weights[key].ranks[Notion.EXACT] is not None, weight.ranks.exact is not None)
        for report, was in met
        if was is not None
        for key, weight in weights_by_key(report).items()
        if key in was.weights
    ]
    if ranks := exact.count((True, False)):
        notes.append(f"exact ranks of the baseline that were not computed here, nor compared (see --exact): {ranks:,}")
    if ranks := exact.count((False, True)):
        notes.append(f"exact ranks that the baseline does not hold, so that they were not compared: {ranks:,}")
    return notes
