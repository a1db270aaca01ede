"""The examination says what it sees, and what is broken decides the exit code."""

from __future__ import annotations

from importlib import metadata

import pytest

from onnxnull import doctor
from onnxnull.errors import Code, OnnxnullError
from onnxnull.runtime import canary
from onnxnull.runtime.providers import Provider
from tests.cli.console import onnxnull
from tests.schemas import conforms


def states(findings: tuple[doctor.Diagnosis, ...]) -> dict[str, str]:
    return {finding.subject: finding.state for finding in findings}


def test_the_cpu_provider_runs_at_every_precision() -> None:
    found = {finding.subject: finding for finding in doctor.examine()}
    cpu = Provider.CPU.value
    assert found["versions"].state == "ok"
    for what in ("float64", "float32", "float16", "canary"):
        assert found[f"{cpu} {what}"].state == "ok"
    assert "Conv" in found[f"{cpu} float64"].seen  # it has no double kernel


def test_both_packages_of_onnxruntime_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "1.0")
    (finding,) = [f for f in doctor._installed() if f.subject == "onnxruntime"]
    assert finding.state == "broken"
    assert finding.remedy is not None
    assert "uninstall" in finding.remedy


def test_a_canary_that_dies_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: object) -> None:
        raise OnnxnullError(Code.TF32, "MatMul is off by 5e-4")

    monkeypatch.setattr(canary, "check_float32", dies)
    assert states(doctor.examine())[f"{Provider.CPU.value} canary"] == "broken"


@pytest.mark.parametrize("fmt", ["text", "json"])
def test_the_command(fmt: str) -> None:
    run = onnxnull("doctor", "--format", fmt)
    assert run.returncode == 0, run.stderr
    if fmt == "json":
        read = conforms(run.stdout)
        assert read["schema"] == "onnxnull.doctor/1"
        assert {"subject", "state", "seen", "remedy"} == set(read["findings"][0])
    else:
        assert "CPUExecutionProvider float64" in run.stdout
