"""`onnxnull analyze MODEL...`."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnxnull.cli import options
from onnxnull.errors import Code, OnnxnullError, one_line

if TYPE_CHECKING:
    from onnxnull.analysis.results import ModelReport, WeightReport
    from onnxnull.report import Batch

_SORT = {
    "graph": "the order of the graph",
    "nullity": "largest nullity first",
    "share": "largest share of the inputs in the kernel first",
    "deficiency": "furthest below full rank first",
    "size": "most entries first",
}

_FORMATS = ["text", "json", "csv", "markdown", "html"]


@click.command("analyze")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=click.Path(path_type=str))
@click.option("--format", "fmt", type=click.Choice(_FORMATS), default="text", show_default=True)
@options.output_option
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.png|FILE.svg",
    help="Draw the nullities and the singular values of one model here.",
)
@click.option(
    "--sort",
    type=click.Choice(list(_SORT)),
    default="graph",
    show_default=True,
    help=f"Order of the weights. {'; '.join(f'{name}: {order}' for name, order in _SORT.items())}.",
)
@click.option("--exact", is_flag=True, help="Compute the rank over the rationals for all weights, not only where it is cheap.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Weights to analyse side by side [as many as processors that it may use and memory for them].",
)
@click.option(
    "--time-limit", type=click.FloatRange(min=0), help="Seconds per model; what is not finished then is listed, exit 2."
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of real inputs, images or .npy/.npz arrays: what share of their energy the network cannot see.",
)
@options.preprocessing_options
@options.model_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    models: tuple[str, ...],
    fmt: str,
    output: Path | None,
    plot: Path | None,
    sort: str,
    **settings: Any,
) -> None:
    """Kernels of every linear weight of MODEL..., and the paper's metrics.

    One model: a row per weight. Several: the paper's Table 1, a row per model (JSON holds everything either way).
    """
    options.check_output(output, models)
    if plot is not None:
        _check_plot(plot, models, output)
    batch = _analyze(models, settings, spectra=fmt == "html" or plot is not None)
    for failure in batch.failures:
        click.echo(failure.error, err=True)
    ordered = dataclasses.replace(batch, reports=tuple(_sorted(report, sort) for report in batch.reports))
    options.emit(_render(ordered, fmt, to_terminal=output is None and options.is_terminal(sys.stdout)), output)
    for report in ordered.reports:
        if plot is not None:
            _draw(report, plot)
        if report.complete and not report.weights:
            click.echo(OnnxnullError(Code.NOTHING_LINEAR, Code.NOTHING_LINEAR.meaning, file=report.model.file), err=True)
    ctx.exit(int(batch.exit_code))


def _check_plot(plot: Path, models: tuple[str, ...], output: Path | None) -> None:
    """Find out before the work whether the picture can be drawn there. Raises `click.UsageError` and `OnnxnullError`."""
    if plot.suffix.lower() not in (".png", ".svg"):
        raise click.BadParameter(f"{str(plot)!r} ends neither in .png nor in .svg", param_hint="'--plot'")
    if len(models) != 1:
        raise click.UsageError("--plot draws one model; --format html shows several")
    if output is not None and plot.resolve() == output.resolve():
        raise click.UsageError("--plot and --output name the same file")
    options.check_output(plot, models)


def _analyze(models: tuple[str, ...], settings: dict[str, Any], *, spectra: bool) -> Batch:
    from onnxnull.analysis.analyze import analyze
    from onnxnull.kernel.rank import ExactPolicy
    from onnxnull.report import Batch, Failure

    shapes = settings["input_shapes"]
    limits = options.limits_of(settings)
    exact = ExactPolicy.ALWAYS if settings["exact"] else ExactPolicy.CHEAP
    preprocessing = options.preprocessing_of(**{name: settings[name] for name in options.PREPROCESSING})
    reports, failures = [], []
    with options.progress_bar() as show:
        for number, path in enumerate(models, start=1):
            label = Path(path).name + (f" ({number}/{len(models)})" if len(models) > 1 else "")

            def progress(done: int, total: int, name: str, label: str = label) -> None:
                show(label, done, total, name)

            try:
                reports.append(
                    analyze(
                        path,
                        input_shapes=shapes,
                        exact=exact,
                        data=None if settings["data"] is None else (settings["data"], preprocessing),
                        spectra=spectra,
                        jobs=settings["jobs"] or 0,
                        time_limit=settings["time_limit"],
                        limits=limits,
                        progress=progress,
                    )
                )
            except OnnxnullError as error:
                failures.append(Failure((Path(path).name or path) if Path(path).is_absolute() else path, error))
    return Batch(tuple(reports), tuple(failures))


def _draw(report: ModelReport, plot: Path) -> None:
    if not report.weights:
        click.echo(f"{one_line(report.model.file)}: no weight was analysed, so {str(plot)!r} is not drawn", err=True)
        return
    from onnxnull.report.plot import render

    options.emit_bytes(render(report, plot.suffix.lower().removeprefix(".")), plot)


def _sorted(report: ModelReport, sort: str) -> ModelReport:
    from onnxnull.kernel.rank import Notion

    def badness(weight: WeightReport) -> float:
        nullity = weight.ranks.nullity(Notion.FLOAT64) or 0
        if sort == "nullity":
            return nullity
        if sort == "share":
            return nullity / max(1, weight.inputs)
        if sort == "deficiency":
            return min(weight.inputs, weight.outputs) - weight.ranks.float64.value
        return weight.inputs * weight.outputs

    if sort == "graph":
        return report
    return dataclasses.replace(report, weights=tuple(sorted(report.weights, key=badness, reverse=True)))


def _render(batch: Batch, fmt: str, *, to_terminal: bool) -> str:
    if fmt == "text":
        from onnxnull.report import text

        return text.render(batch, terminal_width=shutil.get_terminal_size().columns if to_terminal else None)
    from importlib import import_module

    rendered = import_module(f"onnxnull.report.{fmt}").render(batch)
    assert isinstance(rendered, str)
    return rendered
