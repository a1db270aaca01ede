"""`onnxnull baseline MODEL...`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import click

from onnxnull.cli import options
from onnxnull.errors import ExitCode


@click.command("baseline")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=click.Path(path_type=str))
@options.output_option
@click.option("--exact", is_flag=True, help="Compute the rank over the rationals for all weights, not only where it is cheap.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Models to analyse side by side.")
@options.model_options
@click.pass_context
def command(ctx: click.Context, /, models: tuple[str, ...], output: Path | None, **settings: Any) -> None:
    """What MODEL... (files, folders or patterns) are now, for `onnxnull check --baseline` to compare with later.

    An analysis report (JSON) of all of them. Nothing is written unless all of them could be analysed completely.
    """
    from onnxnull.documents.base import plain, text_of
    from onnxnull.policy import baseline, gate, targets
    from onnxnull.policy.config import Policy
    from onnxnull.report import json

    found, failures = targets.find(models)
    options.check_output(output, (*models, *(target.path for target in found)))
    analysis = gate.Analysis(
        input_shapes=settings["input_shapes"],
        exact=settings["exact"],
        jobs=0,
        limits=options.limits_of(settings),
    )
    with options.step_reporter() as progress:
        report = gate.check(found, Policy(), today=date.min, analysis=analysis, jobs=settings["jobs"], progress=progress)
    for error in (*failures, *report.failures):
        click.echo(error, err=True)
    for model in report.models:
        for gap in model.report.unsupported:
            click.echo(f"{model.report.model.file}: not analysed: {gap.node} ({gap.op}): {gap.reason}", err=True)
    if failures or not report.complete:
        click.echo("no baseline was written, since not everything could be analysed", err=True)
        ctx.exit(int(ExitCode.INCOMPLETE))
    options.emit(text_of(baseline.updated(None, [plain(json.model(model.report)) for model in report.models])), output)
