"""Options and output that several commands share."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.limits import Limits

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class InputShape(click.ParamType):
    """NAME:D0,D1,... → (name, dimensions)."""

    name = "NAME:D0,D1,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, tuple[int, ...]]:
        """Parse one option value."""
        if isinstance(value, tuple):
            return value
        name, colon, dims = str(value).rpartition(":")
        try:
            shape = tuple(int(dim) for dim in dims.split(",")) if dims else ()
        except ValueError:
            shape = (-1,)
        if not colon or not name or any(dim < 0 for dim in shape):
            self.fail(f"{value!r} is not NAME:D0,D1,... with whole numbers", param, ctx)
        return name, shape


def model_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of every command that opens a model."""
    for option in (
        click.option(
            "--max-constant-bytes",
            type=click.IntRange(min=1),
            default=Limits().constant_bytes,
            show_default=True,
            help="Largest tensor that evaluating constants may produce.",
        ),
        click.option("--max-nodes", type=click.IntRange(min=1), default=Limits().nodes, show_default=True, help="Most nodes."),
        click.option("--allow-hard-links", is_flag=True, help="Accept external data files with several hard links."),
        click.option(
            "--input-shape",
            "input_shapes",
            type=InputShape(),
            multiple=True,
            help="Fix the shape of an input that the file leaves open. Repeatable.",
        ),
    ):
        function = option(function)
    return function


def output_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`-o FILE`."""
    return click.option(
        "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the report here, not to stdout."
    )(function)


def limits_of(max_constant_bytes: int, max_nodes: int, allow_hard_links: bool) -> Limits:
    """The limits that the options of `model_options` say."""
    return Limits(constant_bytes=max_constant_bytes, nodes=max_nodes, allow_hard_links=allow_hard_links)


def emit(text: str, output: Path | None) -> None:
    """Write a report to stdout, or to `output` in one step: an old file is replaced whole or left alone.

    Raises:
        OnnxnullError: the file cannot be written.
    """
    if output is None:
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    partial: str | None = None
    try:
        handle, partial = tempfile.mkstemp(dir=output.absolute().parent, prefix=f".{output.name}.")
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        Path(partial).chmod(0o666 & ~umask)  # mkstemp's files are private
        Path(partial).replace(output)
    except OSError as error:
        if partial is not None:
            Path(partial).unlink(missing_ok=True)
        raise OnnxnullError(Code.OUTPUT, f"{str(output)!r}: {error.strerror}") from None
