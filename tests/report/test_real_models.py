"""Trained models of many makers, analysed once each: known numbers, what the gate says, and every format of it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import date
from pathlib import Path

import onnx
import pytest

from onnxnull.analysis.results import ModelReport
from onnxnull.errors import ExitCode
from onnxnull.kernel.rank import Certainty, Notion
from onnxnull.policy import gate
from onnxnull.policy.config import Policy
from onnxnull.policy.results import CheckReport, Severity
from onnxnull.policy.targets import Target
from onnxnull.report import Batch
from onnxnull.report import json as report_json
from onnxnull.runtime.loading import Loader
from tests.helpers import shared_models
from tests.schemas import conforms
from tests.shared import shared_file

from .check_reports import valid_and_whole

SHIPPED = sorted((Path(__file__).resolve().parents[2] / "models").glob("*.onnx"))
QUANTIZED = {"QLinearMatMul", "QLinearConv", "ConvInteger", "MatMulInteger", "MatMulNBits"}


def checked(*paths: Path) -> CheckReport:
    """What the gate says of models by the default policy."""
    return gate.check([Target(str(path), path.name) for path in paths], Policy(), today=date(2026, 11, 25))


def is_complete(report: ModelReport, path: Path) -> None:
    """Nothing is left out, every integer weight is found, and its rank over ℚ is proved."""
    assert report.unsupported == ()
    of_integers = [weight for weight in report.weights if weight.quantization is not None]
    expected = [node.name for node in onnx.load(path, load_external_data=False).graph.node if node.op_type in QUANTIZED]
    assert sorted(node.name for weight in of_integers for node in weight.nodes) == sorted(expected)
    for weight in of_integers:
        assert weight.ranks.exact is not None
        assert weight.ranks.exact.certainty is Certainty.EXACT
    conforms(report_json.render(Batch((report,))))


def no_healthy_model_is_blocked(found: CheckReport) -> None:
    """What blocks a trained network by the default policy is only what was not analysed."""
    for model in found.models:
        assert {finding.rule for finding in model.findings if finding.severity is Severity.ERROR} <= {"not-analysed"}
        expected = ExitCode.PASS if model.report.weights else ExitCode.NOTHING
        assert model.exit_code(Severity.ERROR) is (expected if model.complete else ExitCode.INCOMPLETE)


def paper(weights: int, nu: int, mu: int, nullity: int, first: int) -> Callable[[ModelReport, Path], None]:
    """The paper's metrics."""

    def look(report: ModelReport, _: Path) -> None:
        found = report.paper
        assert (found.weights, found.nu, found.mu, found.nullity, found.first_nullity) == (weights, nu, mu, nullity, first)
        assert (found.nu_percent, found.mu_percent) == (100 * nu // weights, 100 * mu // weights)

    return look


def squeezenet(report: ModelReport, path: Path) -> None:
    """It is the row of the paper's table."""
    paper(26, 16, 16, 3392, 0)(report, path)
    with shared_file("reference/table1.csv").open(encoding="utf-8") as file:
        row = next(row for row in csv.DictReader(file) if row["model"] == "SqueezeNet")
    p = report.paper
    found = (p.nu, p.nu_percent, p.mu, p.mu_percent, p.nullity, p.first_nullity)
    assert found == tuple(int(row[k]) for k in ("nu", "nu_percent", "mu", "mu_percent", "nullity", "first_nullity"))


def first_weight(shape: tuple[int, int], float32: int, float64: int) -> Callable[[ModelReport, Path], None]:
    """The ranks of the first weight."""

    def look(report: ModelReport, _: Path) -> None:
        first = report.weights[0].ranks
        assert (first.inputs, first.outputs) == shape
        assert (first.float32.value, first.float64.value) == (float32, float64)
        assert (first.nullity(Notion.FLOAT32), first.nullity(Notion.FLOAT64)) == (shape[0] - float32, shape[0] - float64)

    return look


def silero(report: ModelReport, path: Path) -> None:
    """It has its 36 convolutions inside branches."""
    weights = [weight for weight in report.weights if weight.in_paper]
    assert len(weights) == report.paper.weights == 36
    assert all(weight.op == "Conv" for weight in weights)
    outside = {node.name for node in onnx.load(path, load_external_data=False).graph.node if node.name}
    assert not outside & {node.name for weight in weights for node in weight.nodes}


def mnist_cntk(report: ModelReport, path: Path) -> None:
    """It has a weight behind a constant Reshape."""
    reshaped = {
        name for node in onnx.load(path).graph.node if node.op_type == "Reshape" for name in node.input if "Parameter" in name
    }
    assert [weight.name for weight in report.weights] == ["Parameter5", "Parameter87", "Parameter193"]
    assert reshaped & {weight.name for weight in report.weights} == {"Parameter193"}


KNOWN: dict[str, Callable[[ModelReport, Path], None]] = {
    "fastestdet": first_weight((27, 24), 22, 22),
    "mnist_cntk": mnist_cntk,
    "mobilenetv2_mxnet": paper(54, 18, 18, 5912, 0),
    "resnet18_upto_layer3": first_weight((147, 64), 56, 63),
    "silero_vad_if": silero,
    "squeezenet_fp16": squeezenet,
    "vit_tiny_patch16_224": paper(50, 13, 13, 7488, 576),
    "wakeword_embedding": first_weight((9, 24), 8, 9),
}
"""What is known of a model beforehand, issue 2."""


@pytest.fixture(scope="module")
def loader() -> Iterator[Loader]:
    """The child that loads models, started once for all of them."""
    with Loader() as started:
        yield started


@pytest.mark.parametrize("path", shared_models(), ids=lambda path: path.stem)
def test_a_model(path: Path, loader: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "Loader", lambda: nullcontext(loader))
    found = checked(path)
    (model,) = found.models
    is_complete(model.report, path)
    valid_and_whole(found)
    no_healthy_model_is_blocked(found)
    if known := KNOWN.get(path.stem):
        known(model.report, path)


def test_every_known_model_is_looked_at() -> None:
    if shared_models():
        assert KNOWN.keys() <= {path.stem for path in shared_models()}


def test_several_models_are_one_report() -> None:
    found = checked(*SHIPPED)
    assert len(found.models) == len(SHIPPED) >= 4
    valid_and_whole(found)
    no_healthy_model_is_blocked(found)
