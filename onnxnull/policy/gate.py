"""`check(...)`: analyse models, look at them by the rules of a policy, and say what that comes to."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from onnxnull.analysis.analyze import analyze_model
from onnxnull.errors import Code, OnnxnullError, errors_of
from onnxnull.graph.model import open_model
from onnxnull.kernel.rank import ExactPolicy, Notion
from onnxnull.machine import one_blas_thread, usable_processors
from onnxnull.policy.baseline import Baseline, BaselineModel, weights_by_key
from onnxnull.policy.config import Policy
from onnxnull.policy.evidence import Evidence
from onnxnull.policy.exceptions import Accepted
from onnxnull.policy.outputs import OutputRuns, run_outputs
from onnxnull.policy.results import CheckReport, Finding, ModelVerdict, PolicyUse, Severity
from onnxnull.policy.rules import RULES
from onnxnull.policy.run_request import RunRequest
from onnxnull.policy.targets import Target
from onnxnull.policy.verified import Attempt, attempt
from onnxnull.runtime.loading import Loader
from onnxnull.workers import Unfinished, run_tasks

if TYPE_CHECKING:
    from onnxnull.graph.limits import Limits
    from onnxnull.inputs import Preprocessing

T = TypeVar("T")
Active = Mapping[str, tuple[Severity, float | None]]


@dataclass(frozen=True, slots=True)
class Analysis:
    """How models are analysed: as the arguments of `onnxnull.analyze`."""

    input_shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    exact: bool = False
    data: tuple[Path, Preprocessing] | None = None
    jobs: int | None = None
    time_limit: float | None = None
    limits: Limits | None = None


@one_blas_thread()
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
    shared = analysis or Analysis()
    if shared.jobs == 0 and min(jobs, len(targets)) > 1:
        shared = replace(shared, jobs=max(1, usable_processors() // min(jobs, len(targets))))
    tasks = [
        _Task(
            target,
            None if baseline is None else baseline.model(target.file, alone=len(targets) == 1),
            f"{target.file} ({number} of {len(targets)})",
            policy,
            active,
            accepted,
            shared,
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
    """What was not foreseen, with the place where it was raised (a worker notes it)."""
    (*_, last) = traceback.extract_tb(error.__traceback__)
    noted: list[str] = getattr(error, "__notes__", [])
    place = noted[0] if noted else f"{Path(last.filename).name}:{last.lineno}"
    return OnnxnullError(Code.INTERNAL, f"{type(error).__name__}: {error} ({place})", file=file)


def _in_processes(tasks: Sequence[_Task], jobs: int, progress: Callable[[str], None]) -> list[ModelVerdict | OnnxnullError]:
    """The outcomes in the order of the tasks, from processes of their own: threads would wait for the interpreter's lock.

    The processes are spawned, since a fork of one that has loaded onnxruntime or CUDA may hang.
    """
    done: list[int] = []

    def tell(index: int) -> None:
        done.append(index)
        progress(f"{len(done)} of {len(tasks)} models checked, last {tasks[index].target.file}")

    found = run_tasks([partial(_one_of_several, task) for task in tasks], jobs=jobs, progress=tell, spawn=True)
    return [
        _ended(task.target.file) if isinstance(result, Unfinished) else result.value
        for task, result in zip(tasks, found, strict=True)
    ]


_loader: Loader | None = None
"""Of a process that checks models one after the other: it ends with that process, whose pipes it reads."""


def _one_of_several(task: _Task) -> ModelVerdict | OnnxnullError:
    global _loader  # what one task leaves to the next has no other place
    if _loader is None:
        _loader = Loader().__enter__()
    return _one(task, _loader)


def _ended(file: str) -> OnnxnullError:
    """A process did not live to say what it found."""
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
    loading = loader.load(model, deadline)
    report = analyze_model(
        model,
        exact=ExactPolicy.ALWAYS if settings.exact else ExactPolicy.CHEAP,
        data=settings.data,
        jobs=settings.jobs,
        deadline=deadline,
        progress=lambda done, total, name: show(f"weight {done} of {total}, {name}"),
    )
    report = replace(report, model=replace(report.model, file=target.file))
    tried, runs = Attempt(), None
    if run is not None:
        request = RunRequest(model, run, settings.data, show)
        if "verified-collision" in task.active:
            late = Attempt(problem=OnnxnullError(Code.TIME, "no collision was verified within the time limit"))
            tried = _in_time(partial(attempt, request), deadline, late)
        if "broken-run" in task.active:
            late_run = OutputRuns(problem=OnnxnullError(Code.TIME, "the model was not run within the time limit"))
            runs = _in_time(partial(run_outputs, request), deadline, late_run)
    problems = _problems(target.file, tried.problem, None if runs is None else runs.problem)
    evidence = Evidence(report, task.policy.limits, task.was, tried.collision, runs, loading)
    return evidence, problems, (tried.note,) if tried.note else ()


def _in_time(task: Callable[[], T], deadline: float | None, late: T) -> T:
    """What the task finds, in a process that ends at the deadline; `late` if that comes first."""
    (found,) = run_tasks([task], jobs=None if deadline is None else 1, deadline=deadline)
    return late if isinstance(found, Unfinished) else found.value


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
