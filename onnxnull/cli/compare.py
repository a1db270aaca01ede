"""`onnxnull compare A B`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnxnull.cli import options

if TYPE_CHECKING:
    from onnxnull.comparison.crossing import Running
    from onnxnull.comparison.results import Comparison
    from onnxnull.comparison.verdicts import Verdict


@click.command("compare")
@click.argument("first", metavar="A", type=click.Path(path_type=str))
@click.argument("second", metavar="B", type=click.Path(path_type=str))
@click.option(
    "--same-up-to",
    "limit",
    type=click.Choice(["identical", "rounded", "scaled", "quantized"]),
    default="quantized",
    show_default=True,
    help="The loosest verdict on a pair of weights with which the networks still count as the same.",
)
@click.option(
    "--run/--no-run",
    "runs",
    default=True,
    show_default=True,
    help="Run both models: collisions of each on the other, and their outputs for one input.",
)
@options.run_options
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random inputs.")
@click.option("--format", "fmt", type=click.Choice(["text", "json", "markdown"]), default="text", show_default=True)
@options.output_option
@options.model_options
@click.pass_context
def command(ctx: click.Context, /, first: str, second: str, fmt: str, output: Path | None, **settings: Any) -> None:
    """Do the files A and B hold the same network?

    Matches their weights whatever they are called and however they are laid out, and says for each pair whether it is the same
    to the bit, up to rounding, factors or quantisation, or different. Exits 0 if the networks are the same, 1 if they are not,
    2 if something was not compared, 3 if there is nothing to compare.
    """
    from onnxnull.comparison.compare import compare
    from onnxnull.comparison.verdicts import Verdict

    options.check_output(output, (first, second))
    limit = next(verdict for verdict in Verdict if verdict.label == settings["limit"])
    with options.step_reporter() as progress:
        comparison = compare(
            first,
            second,
            input_shapes=settings["input_shapes"],
            running=_running(settings) if settings["runs"] else None,
            limits=options.limits_of(settings),
            progress=progress,
        )
    options.emit(_render(comparison, limit, fmt, to_terminal=output is None and options.is_terminal(sys.stdout)), output)
    ctx.exit(int(comparison.exit_code(limit)))


def _running(settings: dict[str, Any]) -> Running:
    from onnxnull.comparison.crossing import Running
    from onnxnull.runtime.precision import Precision

    precisions = tuple(Precision(name) for name in dict.fromkeys(settings["precisions"]))
    return Running(precisions, options.providers_of(settings["providers"]), settings["seed"])


def _render(comparison: Comparison, limit: Verdict, fmt: str, *, to_terminal: bool) -> str:
    if fmt == "text":
        from onnxnull.report import compare_text

        width = shutil.get_terminal_size().columns if to_terminal else None
        return compare_text.render(comparison, limit, terminal_width=width)
    if fmt == "json":
        from onnxnull.report import compare_json

        return compare_json.render(comparison, limit)
    from onnxnull.report import compare_markdown

    return compare_markdown.render(comparison, limit)
