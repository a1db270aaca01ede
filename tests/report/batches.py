"""Reports with hand-made numbers and names that nobody would choose."""

from __future__ import annotations

from dataclasses import replace

from onnxnull.analysis.results import (
    FrontierReport,
    FullSummary,
    KernelShare,
    ModelInfo,
    ModelReport,
    OperatorReport,
    PaperSummary,
    Unsupported,
    WeightNode,
    WeightReport,
)
from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.model import GraphInput
from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.rank import Certainty, Rank, RankProfile
from onnxnull.report import Batch, Failure

HOSTILE = {
    "escape": "a\x1b[31mred\x1b]0;title\x07",
    "c1": "a\x9b31mb",
    "newline": "a\nb\r\nc\td",
    "bidi": "a\u202eb\u2028c",
    "surrogate": "a\udcffb",
    "markup": "[red]|*_`<b>&lt;[/nonsense] #1 $x$ \\|",
    "long": "n" * 10_000,
}


def rank(value: int, certainty: Certainty = Certainty.CERTIFIED) -> Rank:
    return Rank(value, certainty, value, value)


def profile(inputs: int, outputs: int, float32: int, float64: int, exact: int | None = None) -> RankProfile:
    over_q = None if exact is None else rank(exact, Certainty.EXACT)
    return RankProfile(inputs, outputs, rank(float32), rank(float64), over_q, 1.23456789, 0.000123456789)


def weight(name: str, ranks: RankProfile | None = None, *, stacked: RankProfile | None = None, groups: int = 1) -> WeightReport:
    node = WeightNode(f"/{name}/Conv", "Conv", groups, None)
    return WeightReport(name, "Conv", "float32", ranks or profile(27, 8, 7, 8), stacked, 1, 2, 3, (node,), in_paper=True)


def report(*weights: WeightReport, file: str = "model.onnx", unsupported: tuple[Unsupported, ...] = ()) -> ModelReport:
    inputs = (GraphInput("image", "float32", (None, 3, 224, 224)), GraphInput("free", "float32", None))
    info = ModelInfo(file, "ab" * 32, "maker 1.0", 9, {"com.acme": 1, "": 17}, inputs)
    n = len(weights)
    first = 20 if weights else None
    return ModelReport(
        info, PaperSummary(n, n, n, 100, 100, 20 * n, first), FullSummary(n, n, 19 * n, None), weights, (), unsupported
    )


def unsupported(name: str = "node") -> Unsupported:
    return Unsupported(name, "QLinearConv", Code.OPERATOR, f"quantized weights are not analysed yet (constant {name!r})")


def failure(file: str = "absent.onnx") -> Failure:
    return Failure(file, OnnxnullError(Code.FILE_NOT_FOUND, "no such file"))


def operator() -> OperatorReport:
    return OperatorReport((3, 8, 8), 5, Bounds(7, 9, proved=False), Bounds(0, 0, proved=True))


def frontier(name: str, *, nullity: Bounds | None = None, reason: str | None = None) -> FrontierReport:
    shares = (KernelShare(f"{name}.npy", 0.123456789),)
    return FrontierReport(name, 192, (f"/{name}/Conv",), (name,), reason is None, reason, nullity, shares)


def hostile(name: str) -> ModelReport:
    """A report in which every string that a file decides is `name`."""
    told = report(weight(name), weight("plain"), file=name, unsupported=(replace(unsupported(name), op=name, reason=name),))
    first = replace(told.weights[0], op=name, nodes=(WeightNode(name, name, 1, None),))
    info = replace(told.model, producer=name, opset={name: 1}, inputs=(GraphInput(name, "float32", (1, 2)),))
    reads = (frontier(name, nullity=Bounds(1, 2, proved=True)), frontier(name, reason=name), frontier(name))
    return replace(told, model=info, weights=(first, told.weights[1]), frontier=reads)


def batch(*reports: ModelReport, failures: tuple[Failure, ...] = ()) -> Batch:
    return Batch(reports, failures)
