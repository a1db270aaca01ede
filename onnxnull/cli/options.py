"""Options and output that several commands share."""

from __future__ import annotations

import errno
import math
import os
import shlex
import stat
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeVar

import click

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.limits import Limits

if TYPE_CHECKING:
    from onnxnull.inputs import Preprocessing
    from onnxnull.runtime.precision import Precision
    from onnxnull.runtime.providers import Provider

T = TypeVar("T")


def input_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """NAME:D0,D1,... → (name, dimensions); NAME: alone is a scalar."""
    name, colon, dims = text.rpartition(":")
    try:
        shape = tuple(int(dim) for dim in dims.split(",")) if dims else ()
    except ValueError:
        shape = (-1,)
    if not colon or not name or any(dim < 0 for dim in shape):
        raise click.BadParameter(f"{text!r} is not NAME:D0,D1,... with whole numbers")
    return name, shape


def distinct(ctx: click.Context, param: click.Parameter, value: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """Callback of a repeatable option (name, value): a dictionary, where no name may come twice."""
    found = dict(value)
    if len(found) < len(value):
        raise click.BadParameter("the same name is given twice", ctx, param)
    return found


def limit_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a model file may ask of this machine."""
    for option in (
        click.option(
            "--max-constant-bytes",
            type=click.IntRange(min=1),
            default=Limits().constant_bytes,
            show_default=True,
            help="Largest constant, stored or evaluated.",
        ),
        click.option(
            "--max-amplification",
            type=click.IntRange(min=1),
            default=Limits().amplification,
            show_default=True,
            help="Bytes that evaluating constants may make for each stored one.",
        ),
        click.option("--max-nodes", type=click.IntRange(min=1), default=Limits().nodes, show_default=True, help="Most nodes."),
        click.option("--allow-hard-links", is_flag=True, help="Accept external data files with several hard links."),
    ):
        function = option(function)
    return function


def model_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of every command that opens a model."""
    shapes = click.option(
        "--input-shape",
        "input_shapes",
        type=input_shape,
        metavar="NAME:D0,D1,...",
        multiple=True,
        callback=distinct,
        help="Fix the shape of an input that the file leaves open. Repeatable.",
    )
    return shapes(limit_options(function))


def numbers(text: str, finite: bool = True) -> tuple[float, ...]:
    """A,B,... → numbers, none of them NaN."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = (math.nan,)
    if any(math.isnan(number) or (finite and math.isinf(number)) for number in found):
        raise click.BadParameter(f"{text!r} is not a list of{' finite' if finite else ''} numbers")
    return found


def positive(text: str) -> float:
    """A finite number above 0."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0.0 < found < 1e150:
        raise click.BadParameter(f"{text!r} is not a number above 0")
    return found


POSITIVE = click.types.FuncParamType(positive)


def image_size(text: str) -> tuple[int, int]:
    """N or HEIGHTxWIDTH → (height, width)."""
    try:
        sides = tuple(int(side) for side in text.split("x"))
    except ValueError:
        sides = ()
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise click.BadParameter(f"{text!r} is not N or HEIGHTxWIDTH")
    return sides[0], sides[-1]


def preprocessing_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How image files become inputs."""
    for option in (
        click.option(
            "--range", "value_range", type=numbers, metavar="LOW,HIGH", help="What black and white become first [0,1]."
        ),
        click.option("--channels", type=click.Choice(["rgb", "bgr"]), help="Order of the colours [rgb]."),
        click.option("--layout", type=click.Choice(["nchw", "nhwc"]), help="Order of the axes [found from the input's shape]."),
        click.option("--std", type=numbers, metavar="S[,S,S]", help="Divide by this, per channel [1]."),
        click.option("--mean", type=numbers, metavar="M[,M,M]", help="Subtract this, per channel [0]."),
        click.option("--size", type=image_size, metavar="N|HxW", help="Scale and crop images to this [the input's size]."),
        click.option(
            "--preset",
            type=click.Choice(["imagenet", "half", "caffe"]),
            help="Common preprocessing; the options above adjust it.",
        ),
    ):
        function = option(function)
    return function


def tolerance(text: str) -> tuple[str, float]:
    """PRECISION=TAU → (precision, τ), 0 < τ ≤ 1."""
    name, _, share = text.partition("=")
    try:
        found = float(share)
    except ValueError:
        found = 0.0
    if name not in ("float64", "float32", "float16", "native") or not 0.0 < found <= 1.0:
        raise click.BadParameter(f"{text!r} is not PRECISION=TAU with a TAU above 0 and up to 1, such as float32=1e-4")
    return name, found


tolerance_option = click.option(
    "--tolerance",
    "tolerances",
    type=click.types.FuncParamType(tolerance),
    multiple=True,
    metavar="PRECISION=TAU",
    help="How far an output may move, as a share of what other inputs do, for a collision to be shown "
    "[float64=1e-9, float32=1e-3, float16=5e-2, native=1e-3 or float16's where the file has 16 bits inside]. Repeatable.",
)


def tolerances_of(given: Sequence[tuple[str, float]]) -> dict[Precision, float]:
    """τ of the precisions that were given one."""
    from onnxnull.runtime.precision import Precision

    return {Precision(name): share for name, share in given}


def run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Which providers and precisions run the model."""
    for option in (
        click.option(
            "--precision",
            "precisions",
            type=click.Choice(["float64", "float32", "float16", "native"]),
            multiple=True,
            default=("float64", "float32"),
            show_default=True,
            help="Precision to run at; a quantized model runs as it is, one with 16 bits inside also as it is. Repeatable.",
        ),
        click.option(
            "--provider",
            "providers",
            type=click.Choice(["auto", "cuda", "cpu"]),
            multiple=True,
            default=("auto",),
            show_default=True,
            help="Execution provider; auto takes CUDA where it works. Repeatable.",
        ),
    ):
        function = option(function)
    return function


def providers_of(requests: tuple[Literal["auto", "cuda", "cpu"], ...]) -> tuple[Provider, ...]:
    """The providers that run. Raises `OnnxnullError` where CUDA is asked for and does not work."""
    from onnxnull.runtime.providers import choose

    return tuple(dict.fromkeys(choose(request) for request in requests))


PREPROCESSING = ("preset", "size", "mean", "std", "layout", "channels", "value_range")
"""The settings that `preprocessing_options` gives and `preprocessing_of` takes."""


def preprocessing_of(preset: str | None, **settings: Any) -> Preprocessing:
    """The preprocessing that the options of `preprocessing_options` say."""
    from dataclasses import replace

    from onnxnull.inputs import PRESETS, Preprocessing

    given = {name: value for name, value in settings.items() if value is not None}
    if len(given.get("value_range", (0, 1))) != 2:
        raise click.BadParameter("two numbers are needed", param_hint="'--range'")
    if 0.0 in given.get("std", ()):
        raise click.BadParameter("nothing can be divided by 0", param_hint="'--std'")
    return replace(PRESETS[preset] if preset else Preprocessing(), **given)


def output_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`-o FILE`."""
    return click.option(
        "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the report here, not to stdout."
    )(function)


def limits_of(settings: Mapping[str, Any]) -> Limits:
    """The limits that the options of `limit_options` say."""
    return Limits(
        constant_bytes=settings["max_constant_bytes"],
        amplification=settings["max_amplification"],
        nodes=settings["max_nodes"],
        allow_hard_links=settings["allow_hard_links"],
    )


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person reads it; a stream that was closed before we started is None."""
    return stream is not None and stream.isatty()


def progress_bar() -> AbstractContextManager[Callable[[str, int, int, str], None]]:
    """A progress bar on stderr where that is a terminal; shown only for work that takes longer than a second.

    The context gives `show(label, done, total, name of the next one)`.
    """
    if not is_terminal(sys.stderr):
        return nullcontext(lambda *_: None)
    from onnxnull.cli.progress import Bar

    return Bar()


def step_reporter() -> AbstractContextManager[Callable[[str], None]]:
    """Says on stderr what is being done, for work that takes longer than a second.

    The context gives `show(what comes next)`. On a terminal the line is replaced and goes in the end; elsewhere, in a log
    say, there is a line every few seconds.
    """
    from onnxnull.cli.progress import StepLine

    return StepLine(terminal=is_terminal(sys.stderr))


def check_output(output: Path | None, models: tuple[str, ...]) -> None:
    """Find out before the work whether `emit` can write to `output`.

    Raises:
        click.BadParameter: `output` is one of the models.
        OnnxnullError: the folder cannot be written to.
    """
    if output is None:
        return
    if output.exists() and any(os.path.exists(model) and output.samefile(model) for model in models):
        raise click.BadParameter(f"{str(output)!r} is the model itself", param_hint="'-o' / '--output'")
    if _is_device(output):
        return
    folder = output.resolve().parent
    if not folder.is_dir():
        raise OnnxnullError(Code.OUTPUT, f"{str(output)!r}: its folder does not exist")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OnnxnullError(Code.OUTPUT, f"{str(output)!r}: its folder is not writable")


def only(option: str, path: Path, found: Sequence[T]) -> T:
    """The one example that a path holds. Raises `OnnxnullError` (`data`) where it holds several."""
    if len(found) != 1:
        seen = f"{option} is one example, and {str(path)!r} holds {len(found):,}"
        raise OnnxnullError(Code.DATA, seen, "name a file of one sample")
    return found[0]


def verify_again(bundle: Path, model: str) -> str:
    """The line that says where evidence is, and the command that verifies it, as a shell reads it."""
    command = f"onnxnull replay {shlex.quote(str(bundle))} {shlex.quote(model)}"
    return f"evidence: {bundle}; verify it again with: {command}\n"


def emit(text: str, output: Path | None) -> None:
    """Write a report to stdout, or to `output` in one step: an old file is replaced whole or left alone.

    Raises:
        OnnxnullError: it cannot be written.
    """
    if output is not None:
        emit_bytes(text.encode("utf-8", "surrogateescape"), output)
        return
    try:
        _print(text)
    except OSError as error:
        raise OnnxnullError(Code.OUTPUT, f"stdout: {error.strerror}", "check where it leads") from None


def emit_bytes(data: bytes, output: Path) -> None:
    """Write a file as `emit` does. Raises `OnnxnullError`."""
    try:
        if _is_device(output):
            output.write_bytes(data)
        else:
            _replace(output.resolve(), data)
    except OSError as error:
        raise OnnxnullError(Code.OUTPUT, f"{str(output)!r}: {error.strerror}") from None


def _is_device(output: Path) -> bool:
    """/dev/null, a pipe: what is written to, never replaced."""
    return output.exists() and not output.is_file()


def _print(text: str) -> None:
    if sys.stdout is None:
        raise OSError(errno.EBADF, "it is closed")
    try:
        # names of files may be any bytes, and are written as they are
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries again when it exits, and complains
        raise


def _replace(output: Path, data: bytes) -> None:
    if output.exists():
        mode = stat.S_IMODE(output.stat().st_mode)
    else:
        umask = os.umask(0)
        os.umask(umask)
        mode = 0o666 & ~umask
    handle, name = tempfile.mkstemp(dir=output.parent, prefix=".onnxnull-")
    partial = Path(name)
    try:
        with open(handle, "wb") as file:
            file.write(data)
        partial.chmod(mode)  # mkstemp's files are private
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
