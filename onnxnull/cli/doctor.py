"""`onnxnull doctor`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from onnxnull.cli import options
from onnxnull.errors import ExitCode


@click.command("doctor")
@click.option("--format", "fmt", type=click.Choice(["text", "json"]), default="text", show_default=True)
@options.output_option
@click.pass_context
def command(ctx: click.Context, /, fmt: str, output: Path | None) -> None:
    """What is installed, which providers work at which precisions, and what to do about the rest.

    Exits 2 if something that onnxnull needs is broken.
    """
    from onnxnull.doctor import examine

    findings = examine()
    if fmt == "json":
        from onnxnull.documents.base import encode
        from onnxnull.documents.doctor import DiagnosisEntry, DoctorDocument

        entries = tuple(DiagnosisEntry(**asdict(finding)) for finding in findings)
        options.emit(encode(DoctorDocument(schema="onnxnull.doctor/1", findings=entries)), output)
    else:
        width = max(len(finding.subject) for finding in findings)
        lines = [
            f"{finding.state:<8}{finding.subject:<{width}}  {finding.seen}{f'; {finding.remedy}' if finding.remedy else ''}"
            for finding in findings
        ]
        options.emit("".join(f"{line}\n" for line in lines), output)
    ctx.exit(int(ExitCode.INCOMPLETE if any(finding.state == "broken" for finding in findings) else ExitCode.PASS))
