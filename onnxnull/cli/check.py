"""`onnxnull check MODEL...`."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnxnull.cli import options
from onnxnull.errors import OnnxnullError

if TYPE_CHECKING:
    from onnxnull.policy.baseline import Baseline
    from onnxnull.policy.config import Policy
    from onnxnull.policy.results import CheckReport
    from onnxnull.policy.targets import Target

_FORMATS = {"text": "check_text", "json": "check_json", "sarif": "sarif", "junit": "junit", "markdown": "check_markdown"}
"""Format → module of `onnxnull.report`."""


def assignment(text: str) -> tuple[str, str]:
    """NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE")
    return name, value


def limit(text: str) -> tuple[str, float]:
    """RULE=NUMBER."""
    name, value = assignment(text)
    try:
        return name, float(value)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not RULE=NUMBER") from None


def report_file(text: str) -> tuple[str, Path]:
    """FORMAT=FILE."""
    name, value = assignment(text)
    if name not in _FORMATS:
        raise click.BadParameter(f"{name!r} is none of {', '.join(_FORMATS)}")
    return name, Path(value)


def day(text: str) -> date:
    """YYYY-MM-DD."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a day like 2027-01-31") from None


def list_rules(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Callback: print the table of rules and end."""
    if value and not ctx.resilient_parsing:
        from onnxnull.report import check_text

        options.emit(check_text.rules(), None)
        ctx.exit()


@click.command("check")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=click.Path(path_type=str))
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), metavar="FILE", help="Policy [that of this folder].")
@click.option("--no-policy", is_flag=True, help="Use the built-in policy, whatever this folder holds.")
@click.option("--fail-on", type=click.Choice(["error", "warning", "note"]), help="Least severity that fails [error].")
@click.option(
    "--rule",
    "severities",
    type=assignment,
    metavar="RULE=SEVERITY",
    multiple=True,
    callback=options.distinct,
    help="Severity of a rule: error, warning, note or off. Repeatable.",
)
@click.option(
    "--max",
    "maxima",
    type=limit,
    metavar="RULE=NUMBER",
    multiple=True,
    callback=options.distinct,
    help="Limit of kernel-energy, kernel-weights, narrow-weights (shares from 0 to 1) or total-nullity. Repeatable.",
)
@click.option("--baseline", type=click.Path(path_type=Path), metavar="FILE", help="Compare with this baseline.")
@click.option("--write-baseline", is_flag=True, help="Do not compare: make what is checked the new baseline.")
@click.option("--run", is_flag=True, help="Build a collision at each model's input and run it (rule verified-collision).")
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(["float64", "float32", "float16", "native"]),
    multiple=True,
    help="With --run: precision to run at [float64, float32]. Repeatable.",
)
@click.option("--provider", type=click.Choice(["auto", "cuda", "cpu"]), help="With --run: execution provider [auto].")
@click.option("--date", "today", type=day, metavar="YYYY-MM-DD", help="Judge exceptions as of this day [today, UTC].")
@click.option("--format", "fmt", type=click.Choice(list(_FORMATS)), default="text", show_default=True)
@options.output_option
@click.option(
    "--report",
    "reports",
    type=report_file,
    metavar="FORMAT=FILE",
    multiple=True,
    help="Write this report, too. Repeatable.",
)
@click.option("--list-rules", is_flag=True, is_eager=True, expose_value=False, callback=list_rules, help="List the rules.")
@click.option("--exact", is_flag=True, help="Compute the rank over the rationals for all weights, not only where it is cheap.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Models to check side by side.")
@click.option("--time-limit", type=click.FloatRange(min=0), help="Seconds per model; what is not finished then is incomplete.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of real inputs, for kernel-energy and --run.")
@options.preprocessing_options
@options.model_options
@click.pass_context
def command(ctx: click.Context, /, models: tuple[str, ...], fmt: str, output: Path | None, **settings: Any) -> None:
    """May these models ship? MODEL... are files, folders, or patterns such as 'models/**/*.onnx'.

    Exits 0 if they pass, 1 if the policy is violated, 2 if anything could not be checked, 3 if a model holds nothing linear.
    """
    from onnxnull.policy import targets

    policy = _policy(settings)
    _check(settings, policy)
    old = _baseline(policy, writes=settings["write_baseline"])
    found, failures = targets.find(models)
    inputs = (*models, *(target.path for target in found), *map(str, filter(None, (settings["policy_file"], policy.baseline))))
    for file in (output, *(file for _, file in settings["reports"])):
        options.check_output(file, inputs)
    if settings["write_baseline"]:
        options.check_output(policy.baseline, (*models, *(target.path for target in found)))
    report = _run(found, failures, policy, None if settings["write_baseline"] else old, settings)
    for error in (*report.failures, *(error for model in report.models for error in model.problems)):
        click.echo(error, err=True)
    if settings["write_baseline"]:
        _write_baseline(report, policy, old)
    for name, file in settings["reports"]:
        options.emit(_render(report, name, to_terminal=False), file)
    options.emit(_render(report, fmt, to_terminal=output is None and options.is_terminal(sys.stdout)), output)
    ctx.exit(int(report.exit_code))


def _policy(settings: dict[str, Any]) -> Policy:
    from onnxnull.policy import config

    if settings["policy_file"] is not None and settings["no_policy"]:
        raise click.UsageError("--policy and --no-policy exclude each other")
    if settings["no_policy"]:
        policy = config.Policy()
    elif settings["policy_file"] is not None:
        policy = config.load(settings["policy_file"])
    else:
        policy = config.find(Path())
    try:
        return policy.with_flags(
            settings["severities"],
            settings["maxima"],
            settings["fail_on"],
            settings["baseline"],
            run=settings["run"],
            precisions=settings["precisions"],
            provider=settings["provider"],
        )
    except OnnxnullError as error:
        raise click.UsageError(f"{error.seen}; {error.remedy}") from None


def _check(settings: dict[str, Any], policy: Policy) -> None:
    """Options that need each other. Raises `click.UsageError`."""
    if settings["write_baseline"] and policy.baseline is None:
        raise click.UsageError("--write-baseline needs --baseline FILE, or a baseline in the policy")
    if policy.run is None and (settings["precisions"] or settings["provider"]):
        raise click.UsageError("--precision and --provider say how --run runs")
    if settings["data"] is None and "kernel-energy" in policy.limits and policy.severities.get("kernel-energy", "") is not None:
        raise click.UsageError("the rule kernel-energy needs --data FOLDER")


def _baseline(policy: Policy, *, writes: bool) -> Baseline | None:
    """The baseline as it is; one that is about to be written may be missing."""
    from onnxnull.policy import baseline

    if policy.baseline is None or (writes and not policy.baseline.exists()):
        return None
    return baseline.load(policy.baseline)


def _run(
    targets: list[Target], failures: list[OnnxnullError], policy: Policy, old: Baseline | None, settings: dict[str, Any]
) -> CheckReport:
    from dataclasses import replace

    from onnxnull.policy import gate

    preprocessing = options.preprocessing_of(**{name: settings[name] for name in options.PREPROCESSING})
    analysis = gate.Analysis(
        input_shapes=settings["input_shapes"],
        exact=settings["exact"],
        data=None if settings["data"] is None else (settings["data"], preprocessing),
        jobs=0,
        time_limit=settings["time_limit"],
        limits=options.limits_of(settings),
    )
    today = settings["today"] or datetime.now(UTC).date()
    with options.step_reporter() as progress:
        report = gate.check(
            targets, policy, today=today, baseline=old, analysis=analysis, jobs=settings["jobs"], progress=progress
        )
    return replace(report, failures=(*failures, *report.failures))


def _write_baseline(report: CheckReport, policy: Policy, old: Baseline | None) -> None:
    from onnxnull.documents.base import plain, text_of
    from onnxnull.policy import baseline
    from onnxnull.report import json

    assert policy.baseline is not None
    if not report.complete:
        click.echo("the baseline was not written, since not everything could be checked", err=True)
        return
    entries = [plain(json.model(model.report)) for model in report.models]
    options.emit(text_of(baseline.updated(old, entries)), policy.baseline)
    click.echo(f"baseline written: {policy.baseline}", err=True)


def _render(report: CheckReport, fmt: str, *, to_terminal: bool) -> str:
    module = import_module(f"onnxnull.report.{_FORMATS[fmt]}")
    rendered = module.render(report, colour=to_terminal) if fmt == "text" else module.render(report)
    assert isinstance(rendered, str)
    return rendered
