"""The document `onnxnull.doctor/1`, which `onnxnull doctor` writes."""

from __future__ import annotations

from typing import Annotated, Literal

from onnxnull.documents.base import Document, about


class DiagnosisEntry(Document):
    """One finding."""

    subject: Annotated[str, about("What was looked at.")]
    state: Annotated[
        Literal["ok", "missing", "broken"], about("missing: optional and not there; broken: needed, or it gives wrong results.")
    ]
    seen: Annotated[str, about("What was seen.")]
    remedy: Annotated[str | None, about("What to do; null where nothing is to be done.")]


class DoctorDocument(Document):
    """What `onnxnull doctor --format json` prints."""

    schema: Annotated[Literal["onnxnull.doctor/1"], about("Name and version of this schema.")]
    findings: Annotated[tuple[DiagnosisEntry, ...], about("What was looked at, in the order in which it matters.")]
