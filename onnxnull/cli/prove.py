"""`onnxnull prove MODEL`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click

from onnxnull.cli import options
from onnxnull.errors import Code, ExitCode, OnnxnullError, one_line


@click.command("prove")
@click.argument("model", type=click.Path(path_type=str))
@options.output_option
@click.option("--check", type=click.Path(path_type=Path), metavar="FILE", help="Check the proofs in FILE against MODEL.")
@click.option("--exact", is_flag=True, help="Prove the rank over the rationals for all weights, not only where it is cheap.")
@options.model_options
@click.pass_context
def command(ctx: click.Context, /, model: str, output: Path | None, check: Path | None, exact: bool, **settings: Any) -> None:
    """Proofs of the ranks of every weight of MODEL, as JSON; or, with --check, whether such proofs hold.

    The check shares no code with the solvers. It exits 1 if a proof does not hold, 2 if one is missing; with --exact also where
    that of the rank over the rationals is.
    """
    limits = options.limits_of(settings)
    options.check_output(output, (model,) if check is None else (model, str(check)))
    shapes = settings["input_shapes"]
    work = _prove if check is None else partial(_check, check)
    ctx.exit(work(model, output, exact, shapes, limits))


def _prove(model: str, output: Path | None, exact: bool, shapes: Any, limits: Any) -> int:
    from onnxnull.analysis import proofs
    from onnxnull.analysis.results import caveat
    from onnxnull.kernel.rank import ExactPolicy

    with options.progress_bar() as show:
        document = proofs.collect(
            model,
            input_shapes=shapes,
            exact=ExactPolicy.ALWAYS if exact else ExactPolicy.CHEAP,
            limits=limits,
            progress=lambda done, total, name: show("proving", done, total, name),
        )
    options.emit(json.dumps(document, separators=(",", ":")) + "\n", output)
    claims = [claim for weight in document["weights"] for claim in weight["ranks"].values()]
    proved = sum(claim["proof"] is not None for claim in claims)
    weights = len(document["weights"])
    click.echo(f"{proved:,} of {len(claims):,} ranks of {weights:,} weight{'s' * (weights != 1)} proved", err=True)
    if (told := caveat(document["model"]["overridable"])) is not None:
        click.echo(told, err=True)
    for gap in document["unsupported"]:
        click.echo(f"not analysed: {one_line(gap)}", err=True)
    return int(ExitCode.PASS if proved == len(claims) and not document["unsupported"] else ExitCode.INCOMPLETE)


def _check(file: Path, model: str, output: Path | None, exact: bool, shapes: Any, limits: Any) -> int:
    from onnxnull import strict_json
    from onnxnull.analysis import proofs
    from onnxnull.analysis.results import caveat

    try:
        document = strict_json.loads(file.read_bytes())
    except FileNotFoundError:
        raise OnnxnullError(Code.FILE_NOT_FOUND, f"no such file: {str(file)!r}") from None
    except OSError as error:
        raise OnnxnullError(Code.UNREADABLE, f"{str(file)!r}: {error.strerror}") from None
    except ValueError as error:
        raise OnnxnullError(Code.PROOFS, f"{str(file)!r} is not JSON as onnxnull writes it: {error}") from None
    with options.progress_bar() as show:
        result = proofs.verify(
            model,
            document,
            input_shapes=shapes,
            exact=exact,
            limits=limits,
            progress=lambda done, total, name: show("checking", done, total, name),
        )
    held = sum(not verdict.missing and verdict.failure is None for verdict in result.verdicts)
    lines = [f"{held:,} of {len(result.verdicts):,} ranks: the proof holds" if result.verdicts else "no rank was checked"]
    lines += [f"FAILED: {failure}" for failure in result.failures]
    lines += [f"FAILED: {v.weight} ({v.notion}): {v.failure}" for v in result.verdicts if v.failure]
    lines += [f"not proved: {v.weight} ({v.notion})" for v in result.verdicts if v.missing]
    lines += [f"not analysed: {gap}" for gap in result.gaps]
    lines += filter(None, [caveat(result.overridable)])
    options.emit("".join(f"{one_line(line)}\n" for line in lines), output)
    return int(result.exit_code)
