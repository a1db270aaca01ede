"""`onnxnull replay DIR [MODEL]`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from onnxnull.cli import options
from onnxnull.errors import ExitCode


@click.command("replay")
@click.argument("bundle", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(["float64", "float32", "float16", "native"]),
    multiple=True,
    help="Precision to run at [those of the bundle]. Repeatable.",
)
@click.option(
    "--provider",
    "providers",
    type=click.Choice(["auto", "cuda", "cpu"]),
    multiple=True,
    help="Execution provider [those of the bundle]; auto takes CUDA where it works. Repeatable.",
)
@options.tolerance_option
@click.option("--format", "fmt", type=click.Choice(["text", "json", "html"]), default="text", show_default=True)
@options.output_option
@options.limit_options
@click.pass_context
def command(ctx: click.Context, /, bundle: Path, model: Path | None, fmt: str, output: Path | None, **settings: Any) -> None:
    """Verify the evidence bundle DIR again, here and now, from its arrays and MODEL alone.

    MODEL is found by its hash: where it was, in DIR, or beside it. What counts is measured here. Exits 0 if every collision
    holds as recorded, 1 if one does not, 2 if one is undecided, or the evidence cannot be trusted: a hash differs, or it
    contradicts itself.
    """
    from onnxnull.evidence.replay import replay
    from onnxnull.report import replay as report
    from onnxnull.runtime.precision import Precision

    options.check_output(output, tuple(str(path) for path in (model, bundle / "collision.json") if path is not None))
    with options.step_reporter() as progress:
        found = replay(
            bundle,
            model,
            providers=options.providers_of(settings["providers"]) if settings["providers"] else None,
            precisions=[Precision(name) for name in dict.fromkeys(settings["precisions"])] or None,
            tolerances=options.tolerances_of(settings["tolerances"]),
            limits=options.limits_of(settings),
            progress=progress,
        )
    name = bundle.name if bundle.is_absolute() else str(bundle)
    if fmt == "html":
        from onnxnull.evidence.pictures import for_page
        from onnxnull.report.html import collision as page

        sections = [page.section_of(each, for_page(each.collision) if each.collision else {}) for each in found]
        text = page.render_replay(name, sections, report.noun(found))
    else:
        text = report.render_json(name, found) if fmt == "json" else report.render_text(found)
    options.emit(text, output)
    ctx.exit(int(ExitCode.worst([each.decision.exit_code for each in found])))
