"""`onnxnull schema NAME`."""

from __future__ import annotations

from pathlib import Path

import click

from onnxnull.cli import options
from onnxnull.documents import schemas


@click.command("schema")
@click.argument("name", metavar="NAME", type=click.Choice(schemas.names()))
@options.output_option
def command(name: str, output: Path | None) -> None:
    """The JSON Schema (draft 2020-12) of what a command writes as JSON: every field, its type, its unit."""
    options.emit(schemas.text(name), output)


command.epilog = f"NAME is one of: {', '.join(schemas.names())}."
