"""`onnxnull collide MODEL`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnxnull.cli import options
from onnxnull.errors import Code, ExitCode, OnnxnullError, errors_of
from onnxnull.machine import one_blas_thread

if TYPE_CHECKING:
    from onnxnull.collision.cases import Case
    from onnxnull.collision.perturb import Recipe
    from onnxnull.collision.results import Collision
    from onnxnull.collision.search import Search
    from onnxnull.collision.strategies.strategy import Method
    from onnxnull.graph.model import GraphInput
    from onnxnull.inputs import Preprocessing

Found = Callable[[Sequence[str] | None, dict[str, Any], Callable[[str], None]], tuple[ExitCode, str]]
"""(labels, settings, progress) → what came of a search, and the report."""
_PATTERNS = ["random", "repeat", "patches", "betas"]


@click.command("collide")
@click.argument("model", type=click.Path(path_type=str))
@click.option(
    "--input",
    "inputs",
    type=click.Path(path_type=Path),
    multiple=True,
    help="What to start from: an image, an .npy array, an .npz with an array for every input, or a folder. Repeatable.",
)
@click.option("--random", "random_seed", type=click.IntRange(min=0), metavar="SEED", help="Start from random numbers instead.")
@click.option("--input-name", help="Which graph input to change [the first whose collisions are the network's].")
@click.option("--layer", metavar="NAME|all", help="Collide in front of this layer (a node or a weight), or of every one.")
@click.option(
    "--space",
    type=click.Choice(["tensors", "patches"]),
    help="Whole tensors, or the unfolded patches of a layer, the paper's domain [tensors; patches for --layer all].",
)
@click.option(
    "--pattern",
    type=click.Choice(_PATTERNS),
    help="Direction [random]: random, in the whole kernel; repeat, one kernel vector in every patch; patches, another in every "
    "patch; betas, one vector with another factor in every patch.",
)
@click.option("--toward", type=click.Path(path_type=Path), help="Toward this other input, as far as the kernel goes.")
@click.option("--beta", type=options.POSITIVE, metavar="B", help="Size: ‖Δ‖₂; with --toward the share of the way [1].")
@click.option("--epsilon", type=options.POSITIVE, metavar="E", help="Bound on max |Δ|.")
@click.option("--max", "largest", is_flag=True, help="As large as is found in the box [where there is one and no --beta].")
@click.option(
    "--box", metavar="LOW,HIGH|none", help="Bounds of every entry, in the model's units [valid pixels, for images only]."
)
@click.option("--region", metavar="TOP,LEFT,HEIGHT,WIDTH", help="Change only this rectangle.")
@click.option("--mask", type=click.Path(path_type=Path), help="Change only where this image is bright, or this .npy is not 0.")
@click.option(
    "--method",
    type=click.Choice(["kernel", "fiber"]),
    default="kernel",
    show_default=True,
    help="kernel: what the first layers cannot see; fiber: a walk along inputs with the same logits, by gradients.",
)
@click.option("--equal", multiple=True, metavar="TENSOR", help="With --method fiber: what stays equal [logits, or outputs].")
@click.option("--time-limit", type=options.POSITIVE, metavar="SECONDS", help="With --method fiber: of one walk [1200].")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the perturbation.")
@click.option("--near-kernel", is_flag=True, help="Directions that vanish at the float32 cut-off only; they are no collisions.")
@click.option("--quantizer-cell", is_flag=True, help="Inputs that the network's quantizer rounds to the same codes.")
@options.run_options
@options.tolerance_option
@click.option("--trace", is_flag=True, help="Show how the difference grows from layer to layer.")
@click.option("--labels", type=click.Path(path_type=Path), help="Names of the classes, one a line.")
@click.option("--format", "fmt", type=click.Choice(["text", "json", "html"]), default="text", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Write an evidence bundle here.")
@click.option("--force", is_flag=True, help="Replace an evidence bundle that is there.")
@options.preprocessing_options
@options.model_options
@click.pass_context
def command(ctx: click.Context, /, model: str, fmt: str, output: Path | None, force: bool, **settings: Any) -> None:
    """Build two inputs that MODEL maps to the same output, run both, and keep the evidence.

    Exits 0 if every collision holds, 1 if one is broken, 2 if one is undecided, 3 if there is nothing to find.
    """
    _check(settings)
    _given_box(settings["box"])
    searched(ctx, model, output, force, settings, partial(_collide, model, fmt, output, force))


def searched(ctx: click.Context, model: str, output: Path | None, force: bool, settings: dict[str, Any], search: Found) -> None:
    """What `collide` and `attack` have in common: labels and the folder are looked at first, the report comes last."""
    ctx.with_resource(one_blas_thread())
    labels = read_labels(settings["labels"])
    if output is not None:
        from onnxnull.evidence import write_bundle

        write_bundle.check(output, force=force)
    with options.step_reporter() as progress, errors_of(model):
        code, text = search(labels, settings, progress)
    options.emit(text, None)
    ctx.exit(int(code))


def _collide(
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
    from onnxnull.evidence.pictures import for_page
    from onnxnull.evidence.provenance import model_facts
    from onnxnull.report import collision_text
    from onnxnull.report.html import collision as page

    preprocessing = options.preprocessing_of(**{name: settings[name] for name in options.PREPROCESSING})
    without: list[OnnxnullError] = []
    search, work = prepare(model, preprocessing, settings, progress, without)
    many = search.place.layer == "all"
    codes, texts, entries, sections = [], [], [], []
    keeper: Any = nullcontext() if output is None else write_bundle.Bundle(output, search, preprocessing, labels, force=force)
    with keeper as kept:
        for found in work:
            codes.append(found.decision.exit_code)
            if kept is not None:
                kept.add(found)
            if fmt == "json":
                entries.append(collision_document.entry(found, labels))
            elif fmt == "html":
                pictures = for_page(found, search.model.inputs, preprocessing, labels)
                sections.append(page.section(found, pictures, labels))
            else:
                texts.append(collision_text.row(found) if many else collision_text.render(found, labels))
                texts.append(collision_text.trace_table(found))
    for error in (*(each.about(model) for each in search.skipped), *without):
        click.echo(error, err=True)
    # a layer without a collision among others that have one is no outcome of its own
    codes += [error.exit_code for error in search.skipped if not codes or error.exit_code is not ExitCode.NOTHING]
    codes += [error.exit_code for error in without]
    if fmt == "json":
        return ExitCode.worst(codes), collision_document.render(model_facts(search, preprocessing), entries)
    if fmt == "html":
        shown = str(output) if output is not None and sections else None
        missing = [str(error) for error in (*search.skipped, *without)]
        return ExitCode.worst(codes), page.render(model_facts(search, preprocessing), sections, shown, missing)
    if output is not None and texts:
        texts.append(options.verify_again(output, model))
    return ExitCode.worst(codes), "".join(texts)


def prepare(
    model: str,
    preprocessing: Preprocessing,
    settings: dict[str, Any],
    progress: Callable[[str], None],
    without: list[OnnxnullError],
) -> tuple[Search, Iterator[Collision]]:
    """The search, and what it finds when it is asked; why a case has no collision goes to `without`."""
    from onnxnull.collision import cases
    from onnxnull.collision.perturb import Recipe
    from onnxnull.collision.search import Execution, Place, Search
    from onnxnull.graph.model import open_model
    from onnxnull.runtime.precision import Precision

    precisions = tuple(Precision(name) for name in dict.fromkeys(settings["precisions"]))
    tolerances = options.tolerances_of(settings["tolerances"])
    execution = Execution(precisions, options.providers_of(settings["providers"]), settings["trace"], tolerances)
    progress("opening the model")
    opened = open_model(model, input_shapes=settings["input_shapes"], limits=options.limits_of(settings))
    progress("reading the inputs")
    inputs = opened.inputs
    found: list[Case] = [case for path in settings["inputs"] for case in cases.load_cases(path, inputs, preprocessing)]
    boxes = _boxes(settings, inputs, preprocessing)
    seed = settings["random_seed"]
    drawn = [] if seed is None else [cases.random_case(inputs, seed, boxes)]
    opened = opened.completed([*found, *drawn][0].arrays)
    if drawn:
        found.append(cases.random_case(inputs, seed, {**cases.quantizer_ranges(opened.flow), **boxes}))
    patches = None if settings["space"] is None else settings["space"] == "patches"
    place = Place(settings["input_name"], settings["layer"], patches)
    search = Search(opened, place, execution, method=_method(settings), progress=progress)
    toward = None
    if settings["toward"] is not None:
        toward = options.only("--toward", settings["toward"], cases.load_cases(settings["toward"], inputs, preprocessing))
    recipe = Recipe(
        pattern="toward" if toward is not None else settings["pattern"] or "random",
        seed=settings["seed"],
        beta=settings["beta"],
        epsilon=settings["epsilon"],
        largest=settings["largest"],
    )

    def work() -> Iterator[Collision]:
        for case in found:
            with errors_of(f"{model}, {case.source}", without):  # what was found before is shown and kept all the same
                yield from search.run(case, _in_place(recipe, search, boxes, case, settings), toward)

    return search, work()


def _method(settings: dict[str, Any]) -> Method:
    from onnxnull.collision.results import Kind
    from onnxnull.collision.strategies.strategy import Method

    if settings["method"] == "fiber":
        return Method(Kind.FIBER, tuple(settings["equal"]), settings["time_limit"] or 1200.0)
    if settings["near_kernel"]:
        return Method(Kind.NEAR_KERNEL)
    return Method(Kind.QUANTIZER_CELL if settings["quantizer_cell"] else Kind.KERNEL)


def _in_place(recipe: Recipe, search: Search, boxes: Mapping[str, Any], case: Case, settings: dict[str, Any]) -> Recipe:
    """The recipe with the box and the mask of what changes. The inside of a network has a box where --box says it."""
    from onnxnull.collision import cases
    from onnxnull.collision.results import Space

    if search.place.space is not Space.INPUT:
        return replace(recipe, box=_given_box(settings["box"]))
    name = search.input().name
    shape, free = case.arrays[name].shape, None
    if settings["mask"] is not None:
        free = cases.read_mask(settings["mask"], shape, settings["layout"])
    elif settings["region"] is not None:
        top, left, height, width = _four(settings["region"])
        free = cases.region(shape, settings["layout"], (top, left), (height, width))
    return replace(recipe, box=boxes.get(name), free=free)


def _check(settings: dict[str, Any]) -> None:
    """Options that do not go together. Raises `click.UsageError`."""

    def refuse(why: str, *names: str) -> None:
        if all(settings[name] not in (None, (), False) for name in names):
            raise click.UsageError(why)

    if not settings["inputs"] and settings["random_seed"] is None:
        raise click.UsageError("there is nothing to start from: give --input FILE or --random SEED")
    refuse("--beta and --max both say how large it is", "beta", "largest")
    refuse("--region and --mask both say where", "region", "mask")
    refuse("--input-name and --layer both say where", "input_name", "layer")
    refuse("--near-kernel and --quantizer-cell are two kinds of claims", "near_kernel", "quantizer_cell")
    refuse("--quantizer-cell is about the network's input, not a layer's", "quantizer_cell", "layer")
    if settings["method"] == "fiber":
        refuse("--near-kernel is of kernels: it does not go with --method fiber", "near_kernel")
        refuse("--quantizer-cell is of quantizers: it does not go with --method fiber", "quantizer_cell")
        refuse("--max is of kernels: a walk goes as far as it finds a way", "largest")
        if settings["layer"] == "all" or settings["space"] == "patches":
            raise click.UsageError("a walk along a fibre starts at one tensor: name an input or one layer")
        if settings["pattern"] not in (None, "random"):
            raise click.UsageError("kernels have patterns: walk toward a file, or at random")
    else:
        refuse("--equal says what a walk along a fibre keeps: it goes with --method fiber", "equal")
        refuse("--time-limit is of a walk along a fibre: it goes with --method fiber", "time_limit")
    refuse("--pattern and --toward both say which direction", "pattern", "toward")
    if settings["layer"] is not None or settings["space"] == "patches":
        refuse("--region is in pixels of the input, not of a layer", "region")
        refuse("--mask is in pixels of the input, not of a layer", "mask")
        refuse("--trace follows the network's input, not a layer's", "trace")


def _boxes(settings: dict[str, Any], inputs: Sequence[GraphInput], preprocessing: Preprocessing) -> dict[str, Any]:
    """Input → (lower, upper): what --box says, or the valid pixels where inputs are images or how they are made is given."""
    from onnxnull.collision import cases

    if settings["box"] is not None:
        given = _given_box(settings["box"])
        return {} if given is None else {described.name: given for described in inputs}
    images = any(path.suffix.lower() not in (".npy", ".npz") for path in settings["inputs"])
    if not images and all(settings[name] is None for name in ("preset", "mean", "std", "value_range")):
        return {}
    found = {described.name: cases.pixel_box(described, preprocessing) for described in inputs}
    return {name: box for name, box in found.items() if box is not None}


def _given_box(text: str | None) -> Any:
    """What --box says; None for no box."""
    import numpy as np

    if text is None or text == "none":
        return None
    bounds = options.numbers(text, finite=False)
    if len(bounds) != 2 or not bounds[0] < bounds[1]:
        raise click.BadParameter(f"{text!r} is not LOW,HIGH", param_hint="'--box'")
    return np.float64(bounds[0]), np.float64(bounds[1])


def _four(text: str) -> tuple[int, int, int, int]:
    try:
        top, left, height, width = (int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not TOP,LEFT,HEIGHT,WIDTH", param_hint="'--region'") from None
    return top, left, height, width


def read_labels(path: Path | None) -> list[str] | None:
    """Names of the classes, one a line of the file. Raises `OnnxnullError`."""
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OnnxnullError(Code.DATA, f"{str(path)!r}: {error}", "give a text file with one label a line") from None
