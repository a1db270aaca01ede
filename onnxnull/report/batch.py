"""What a run over several models gave: the reports, and the models that could not be opened."""

from __future__ import annotations

from dataclasses import dataclass

from onnxnull.analysis.results import ModelReport
from onnxnull.errors import ExitCode, OnnxnullError


@dataclass(frozen=True, slots=True)
class Failure:
    """A model that was not analysed at all. `file` is the path as typed, only its last part where that was absolute."""

    file: str
    error: OnnxnullError


@dataclass(frozen=True, slots=True)
class Batch:
    """Reports and failures, each in the order in which the models were named."""

    reports: tuple[ModelReport, ...]
    failures: tuple[Failure, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """Incomplete, where anything was not analysed; nothing, where a model holds no linear weight; else pass."""
        codes = [failure.error.exit_code for failure in self.failures]
        for report in self.reports:
            if not report.complete:
                codes.append(ExitCode.INCOMPLETE)
            elif not report.weights:
                codes.append(ExitCode.NOTHING)
        return ExitCode.worst(codes)
