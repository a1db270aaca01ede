"""NaN, scales that are not positive and attributes that are no numbers are found beside the weights; Inf is unusual at most."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, helper

from onnxnull.analysis.analyze import analyze
from tests.shared import random, save

NAN, INF = float("nan"), float("inf")
W = random(4, 4)


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def codes(scale: float) -> dict[str, np.ndarray]:
    return {"s": np.array(scale, np.float32), "z": np.zeros((), np.uint8)}


QUANTIZED = [
    helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="q"),
    helper.make_node("DequantizeLinear", ["q", "s", "z"], ["h"], name="d"),
]


def then(op: str, *inputs: str) -> list[NodeProto]:
    return [helper.make_node(op, list(inputs), ["h"], name="n")]


@pytest.mark.parametrize(
    ("nodes", "constants", "found"),
    [
        (then("Gemm", "x", "v", "b"), {"v": W, "b": vector(0, -INF, NAN, 1)}, [("b", "n", "NaN", 1), ("b", "n", "Inf", 1)]),
        (then("Gemm", "x", "v", "b"), {"v": W, "b": vector(0, -1, 2, 1)}, []),
        (
            then("LayerNormalization", "x", "g", "b"),
            {"g": vector(1, INF, 1, 1), "b": vector(0, 0, 0, 0)},
            [("g", "n", "NaN or Inf", 1)],
        ),
        (then("Add", "x", "b"), {"b": vector(0, -INF, -INF, 0)}, []),
        (then("Add", "x", "b"), {"b": vector(0, -INF, NAN, 0)}, [("b", "n", "NaN", 1)]),
        (then("Mul", "b", "x"), {"b": vector(NAN)}, [("b", "n", "NaN", 1)]),
        (then("Max", "x", "b"), {"b": vector(-INF)}, []),
        (then("Pow", "x", "b"), {"b": vector(INF)}, [("b", "n", "NaN or Inf", 1)]),
        (then("PRelu", "x", "b"), {"b": vector(1, NAN, INF, 1)}, [("b", "n", "NaN or Inf", 2)]),
        ([helper.make_node("LeakyRelu", ["x"], ["h"], name="n", alpha=NAN)], {}, [("alpha", "n", "NaN", 1)]),
        (
            [helper.make_node("LayerNormalization", ["x", "g"], ["h"], name="n", epsilon=-1.0)],
            {"g": vector(1, 1, 1, 1)},
            [("epsilon", "n", "negative", 1)],
        ),
        (QUANTIZED, codes(0.1), []),
        (QUANTIZED, codes(0), [("s", "q", "no positive scale", 1), ("s", "d", "no positive scale", 1)]),
        (QUANTIZED, codes(-1), [("s", "q", "no positive scale", 1), ("s", "d", "no positive scale", 1)]),
        (QUANTIZED, codes(INF), [("s", "q", "no positive scale", 1), ("s", "d", "no positive scale", 1)]),
    ],
)
def test_constants_beside_a_weight(
    nodes: list[NodeProto], constants: dict[str, np.ndarray], found: list[tuple[str, str, str, int]], tmp_path: Path
) -> None:
    last = helper.make_node("MatMul", ["h", "w"], ["y"], name="mm")
    path = save(tmp_path / "model.onnx", [*nodes, last], {"w": W, **constants}, inputs={"x": (1, 4)})
    report = analyze(path)
    odd = (*report.nonfinite, *report.unusual)
    assert [(each.name, each.node, each.what, each.count) for each in odd] == found
    assert report.complete
    assert "w" in [weight.name for weight in report.weights]
