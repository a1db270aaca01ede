"""`onnxnull compare A B`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnxnull.cli import options

if TYPE_CHECKING:
    from onnxnull.comparison.carried_collisions import Running
    from onnxnull.comparison.results import Comparison
    from onnxnull.comparison.runs.samples import Feeds
    from onnxnull.comparison.verdicts import Outcome
    from onnxnull.graph.model import GraphInput
    from onnxnull.inputs import Preprocessing


@click.command("compare")
@click.argument("first", metavar="A", type=click.Path(path_type=str))
@click.argument("second", metavar="B", type=click.Path(path_type=str))
@click.option(
    "--same-up-to",
    "limit",
    type=click.Choice(["identical", "same-graph", "rounded", "quantized", "agrees"]),
    default="quantized",
    show_default=True,
    help="The loosest outcome with which the files still count as the same.",
)
@click.option(
    "--run/--no-run",
    "runs",
    default=True,
    show_default=True,
    help="Run both models: their outputs, and collisions of each on the other.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of inputs, images or .npy/.npz arrays, to run both on [16 are drawn].",
)
@click.option("--input", "file", type=click.Path(path_type=Path), help="One such file, beside or instead of --data.")
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1),
    default=0.9,
    show_default=True,
    help="With quantized activations: least share of --data (of pixels) with the same largest entry of each output.",
)
@click.option(
    "--min-snr",
    type=float,
    default=20.0,
    show_default=True,
    help="With quantized activations: least signal-to-noise ratio of each output on --data, in dB.",
)
@click.option("--allow-input-map", metavar="NAME:MAP", help="A change of an input that may be needed, as the report prints it.")
@click.option(
    "--weights/--no-weights",
    default=True,
    show_default=True,
    help="List weights in pairs, with ranks and kernels, and carry collisions over; this takes longest.",
)
@click.option("--all", "every", is_flag=True, help="Show pairs of weights that are the same too.")
@options.run_options
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random inputs.")
@click.option("--format", "fmt", type=click.Choice(["text", "json", "markdown"]), default="text", show_default=True)
@options.output_option
@options.preprocessing_options
@options.model_options
@click.pass_context
def command(ctx: click.Context, /, first: str, second: str, fmt: str, output: Path | None, **settings: Any) -> None:
    """Do the files A and B hold the same network?

    Matches both graphs from their inputs on, whatever things are called and however they are written, and runs both where the
    graphs do not settle it. Exits 0 if the files are the same up to --same-up-to, 1 if they are not, 2 if that is not known.
    """
    from onnxnull.comparison.compare import compare
    from onnxnull.comparison.verdicts import Outcome
    from onnxnull.graph.model import open_model

    options.check_output(output, (first, second))
    limit = next(outcome for outcome in Outcome if outcome.label == settings["limit"])
    preprocessing = {name: settings[name] for name in ("value_range", "channels", "layout", "std", "mean", "size")}
    with options.step_reporter() as progress:
        a, b = (open_model(path, limits=options.limits_of(settings)) for path in (first, second))
        comparison = compare(
            a,
            b,
            input_shapes=settings["input_shapes"],
            running=_running(settings) if settings["runs"] else None,
            data=_data(a.inputs, settings, options.preprocessing_of(settings["preset"], **preprocessing)),
            min_agreement=settings["min_agreement"],
            min_snr=settings["min_snr"],
            allowed_map=settings["allow_input_map"],
            weights=settings["weights"],
            progress=progress,
        )
    to_terminal = output is None and options.is_terminal(sys.stdout)
    options.emit(_render(comparison, limit, fmt, to_terminal=to_terminal, every=settings["every"]), output)
    ctx.exit(int(comparison.exit_code(limit)))


def _data(inputs: Sequence[GraphInput], settings: dict[str, Any], preprocessing: Preprocessing) -> list[Feeds] | None:
    """The user's inputs; None where there are none."""
    from onnxnull.collision.cases import load_cases

    paths = [path for path in (settings["data"], settings["file"]) if path is not None]
    if not paths:
        return None
    return [case.arrays for path in paths for case in load_cases(path, inputs, preprocessing)]


def _running(settings: dict[str, Any]) -> Running:
    from onnxnull.comparison.carried_collisions import Running
    from onnxnull.runtime.precision import Precision

    precisions = tuple(Precision(name) for name in dict.fromkeys(settings["precisions"]))
    return Running(precisions, options.providers_of(settings["providers"]), settings["seed"])


def _render(comparison: Comparison, limit: Outcome, fmt: str, *, to_terminal: bool, every: bool) -> str:
    if fmt == "text":
        from onnxnull.report import compare_text

        width = shutil.get_terminal_size().columns if to_terminal else None
        return compare_text.render(comparison, limit, terminal_width=width, every=every)
    if fmt == "json":
        from onnxnull.report import compare_json

        return compare_json.render(comparison, limit)
    from onnxnull.report import compare_markdown

    return compare_markdown.render(comparison, limit)
