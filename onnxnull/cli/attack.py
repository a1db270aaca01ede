"""`onnxnull attack MODEL`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnxnull.cli import options
from onnxnull.errors import Code, ExitCode, OnnxnullError, errors_of

if TYPE_CHECKING:
    import numpy as np

    from onnxnull.attack import Attacked, AttackSearch
    from onnxnull.graph.model import GraphInput
    from onnxnull.inputs import Preprocessing


def fraction(text: str) -> float:
    """A positive number, or a fraction such as 8/255."""
    try:
        found = float(Fraction(text.strip()))
    except (ValueError, ZeroDivisionError, OverflowError):
        found = 0.0
    if not 0.0 < found < float("inf"):
        raise click.BadParameter(f"{text!r} is not a number above 0, nor a fraction of two such as 8/255")
    return found


FRACTION = click.types.FuncParamType(fraction)


@click.command("attack")
@click.argument("model", type=click.Path(path_type=str))
@click.option(
    "--input",
    "inputs",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="What to attack: an image, an .npy array, an .npz with an array for every input, or a folder. Repeatable.",
)
@click.option("--attack", "method", type=click.Choice(["pgd", "asma"]), default="pgd", show_default=True, help="How.")
@click.option("--adversarial", type=click.Path(path_type=Path), help="An example made elsewhere of the one --input, instead.")
@click.option("--norm", type=click.Choice(["linf", "l2"]), default="linf", show_default=True, help="What ε bounds.")
@click.option(
    "--epsilon",
    type=FRACTION,
    default="8/255",
    show_default=True,
    metavar="E",
    help="How far, where 1 is from black to white (for inputs that are no images, in the model's units).",
)
@click.option("--steps", type=click.IntRange(min=1), help="At most [40; ASMA 200].")
@click.option("--step-size", type=FRACTION, metavar="S", help="PGD: length of a step, as ε [2.5 ε over the steps].")
@click.option("--no-random-start", is_flag=True, help="PGD: start at the input itself.")
@click.option("--target", type=click.IntRange(min=0), metavar="CLASS", help="PGD: the class that is wanted [any other].")
@click.option("--target-mask", type=click.Path(path_type=Path), help="ASMA: the mask, an image (bright is label 1) or .npy.")
@click.option("--scores", metavar="TENSOR", help="The class scores [the first output, or the logits behind its softmax].")
@click.option("--input-name", help="Which graph input to change [the first whose collisions are the network's].")
@click.option("--count", type=click.IntRange(min=1), default=5, show_default=True, help="Colliding examples of each.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of everything random.")
@options.run_options
@options.tolerance_option
@click.option("--labels", type=click.Path(path_type=Path), help="Names of the classes, one a line.")
@click.option("--format", "fmt", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Write an evidence bundle here.")
@click.option("--force", is_flag=True, help="Replace an evidence bundle that is there.")
@click.option("--figures", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Draw a picture of each here.")
@options.preprocessing_options
@options.model_options
@click.pass_context
def command(ctx: click.Context, /, model: str, fmt: str, output: Path | None, force: bool, **settings: Any) -> None:
    """Find adversarial examples of MODEL, and for each others that collide with it: the same output, within the same ε.

    Exits 0 if every collision holds, 1 if one is broken, 2 if one is undecided, 3 if an attack fails or nothing collides.
    """
    _check(settings)
    from onnxnull.cli.collide import searched

    searched(ctx, model, output, force, settings, partial(_attack, model, fmt, output, force))


def _attack(
    model: str,
    fmt: str,
    output: Path | None,
    force: bool,
    labels: Sequence[str] | None,
    settings: dict[str, Any],
    progress: Callable[[str], None],
) -> tuple[ExitCode, str]:
    """What came of it, and the report."""
    from contextlib import nullcontext

    from onnxnull.evidence import collision_document, write_bundle
    from onnxnull.evidence.provenance import model_facts
    from onnxnull.report import attack_text

    preprocessing = options.preprocessing_of(**{name: settings[name] for name in options.PREPROCESSING})
    without: list[OnnxnullError] = []
    search, described, work = _prepare(model, preprocessing, settings, progress, without)
    codes, texts, entries = [], [], []
    keeper: Any = (
        nullcontext() if output is None else write_bundle.Bundle(output, search.search, preprocessing, labels, force=force)
    )
    with keeper as kept:
        for number, found in enumerate(work, start=1):
            for collision in found.collisions:
                codes.append(collision.decision.exit_code)
                entries.append(collision_document.entry(collision, labels))
                if kept is not None:
                    kept.add(collision)
            texts.append(attack_text.render(found, labels))
            if settings["figures"] is not None:
                _draw(settings["figures"], number, found, described, preprocessing, labels)
    for error in without:
        click.echo(error, err=True)
    codes += [error.exit_code for error in without]
    if fmt == "json":
        return ExitCode.worst(codes), collision_document.render(model_facts(search.search, preprocessing), entries)
    if output is not None and texts:
        texts.append(options.verify_again(output, model))
    return ExitCode.worst(codes), "".join(texts)


def _prepare(
    model: str,
    preprocessing: Preprocessing,
    settings: dict[str, Any],
    progress: Callable[[str], None],
    without: list[OnnxnullError],
) -> tuple[AttackSearch, GraphInput, Iterator[Attacked]]:
    """The search, the input that it changes, and what it finds when it is asked; why it fails goes to `without`."""
    from onnxnull.attack import Asma, AttackSearch, Norm, Pgd
    from onnxnull.collision import cases
    from onnxnull.collision.search import Execution
    from onnxnull.graph.model import open_model
    from onnxnull.runtime.precision import Precision

    precisions = tuple(Precision(name) for name in dict.fromkeys(settings["precisions"]))
    tolerances = options.tolerances_of(settings["tolerances"])
    execution = Execution(precisions, options.providers_of(settings["providers"]), tolerances=tolerances)
    progress("opening the model")
    opened = open_model(model, input_shapes=settings["input_shapes"], limits=options.limits_of(settings))
    progress("reading the inputs")
    inputs = opened.inputs
    found = [case for path in settings["inputs"] for case in cases.load_cases(path, inputs, preprocessing)]
    given = None
    if settings["adversarial"] is not None:
        if len(found) != 1:
            raise OnnxnullError(Code.DATA, f"--adversarial is one example, of {len(found)} inputs", "give its own --input")
        path = settings["adversarial"]
        given = options.only("--adversarial", path, cases.load_cases(path, inputs, preprocessing))
    search = AttackSearch(
        opened.completed(found[0].arrays),
        execution,
        scores=settings["scores"],
        input=settings["input_name"],
        progress=progress,
    )
    described = search.input()
    pgd = {"size": settings["step_size"], "target": settings["target"], "random_start": not settings["no_random_start"]}
    attack: Pgd | Asma | None = None
    if given is None:
        attack = Pgd(settings["steps"] or 40, **pgd) if settings["method"] == "pgd" else Asma(settings["steps"] or 200)
    wanted = None if settings["target_mask"] is None else _mask(settings["target_mask"])

    def work() -> Iterator[Attacked]:
        for case in found:
            with errors_of(f"{model}, {case.source}", without):  # what was found before is shown and kept all the same
                yield search.run(
                    case,
                    cases.pixel_box(described, preprocessing) if case.image is not None else None,
                    attack=attack,
                    norm=Norm(settings["norm"]),
                    epsilon=settings["epsilon"],
                    target=wanted,
                    adversarial=given,
                    count=settings["count"],
                    seed=settings["seed"],
                )

    return search, described, work()


def _check(settings: dict[str, Any]) -> None:
    """Options that do not go together. Raises `click.UsageError`."""
    asma = settings["method"] == "asma"
    if asma is not (settings["target_mask"] is not None):
        raise click.UsageError("--attack asma and --target-mask FILE go together")
    for name in ("step_size", "no_random_start", "target"):
        if settings[name] not in (None, False) and (asma or settings["adversarial"] is not None):
            raise click.UsageError(f"--{name.replace('_', '-')} is of PGD")
    if settings["adversarial"] is not None and (asma or settings["steps"] is not None):
        raise click.UsageError("--adversarial is attacked already: it goes with neither --attack asma nor --steps")


def _mask(path: Path) -> np.ndarray:
    """Labels (height, width): of an .npy as they are, of an image 1 where it is bright."""
    import numpy as np

    from onnxnull.inputs import ARRAYS

    try:
        if path.suffix.lower() in ARRAYS:
            found = np.asarray(np.load(path, allow_pickle=False))
        else:
            from PIL import Image

            with Image.open(path) as image:
                found = (np.asarray(image.convert("L")) >= 128).astype(np.int64)
    except Exception as error:  # noqa: BLE001 - NumPy and Pillow raise a dozen classes on a damaged file
        raise OnnxnullError(Code.DATA, f"{path.name!r}: {str(error) or type(error).__name__}") from None
    if found.ndim != 2 or found.dtype.kind not in "biu":
        raise OnnxnullError(Code.DATA, f"{path.name!r} holds no labels (height, width)", "give whole numbers")
    return found.astype(np.int64)


def _draw(
    folder: Path,
    number: int,
    found: Attacked,
    described: GraphInput,
    preprocessing: Preprocessing,
    labels: Sequence[str] | None,
) -> None:
    from onnxnull.attack.pictures import draw

    try:
        folder.mkdir(parents=True, exist_ok=True)
        draw(folder / f"{number:03}-attack.png", found, described, preprocessing, labels)
    except OSError as error:
        raise OnnxnullError(Code.OUTPUT, f"{str(folder)!r}: {error.strerror}") from None
