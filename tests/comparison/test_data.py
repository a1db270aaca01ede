"""What the user's data decide of a model that quantizes activations, and what they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from onnxnull import Running
from onnxnull.comparison.verdicts import Outcome
from tests.comparison.small_networks import Net, W, compared, node

RNG = np.random.default_rng(3)
DATA = [{"x": RNG.standard_normal((1, 6, 8)).astype(np.float32)} for _ in range(16)]
BYTES = [{"x": np.concatenate([[0.0, 255.0], RNG.uniform(0, 255, 46)]).reshape(1, 6, 8).astype(np.float32)} for _ in range(16)]
"""Samples whose dynamic scale is 1."""
PRODUCT: Net = ([node("MatMul", "x w", "y")], {"w": W})
STEP = np.float32(np.abs(W).max() / 127)
CODES = {"codes": np.rint(W / STEP).astype(np.int8), "step": STEP, "w": W}


def boxes(scale: float | None) -> Net:
    """Scores beside boxes in pixels; what enters the scores is quantized."""
    quantizer = [node("QuantizeLinear", "m s z", "q"), node("DequantizeLinear", "q s z", "d")]
    nodes = [
        node("MatMul", "x w", "m"),
        *(quantizer if scale is not None else []),
        node("Sigmoid", "m" if scale is None else "d", "scores"),
        node("Mul", "x big", "boxes"),
        node("Concat", "boxes scores", "y", axis=2),
    ]
    numbers = {} if scale is None else {"s": np.float32(scale), "z": np.array(0, np.int8)}
    return nodes, {"w": W, "big": np.float32(1000), **numbers}


def dynamic(*, scaled: bool = True, twice: bool = False, shown: bool = False) -> Net:
    """DynamicQuantizeLinear, MatMulInteger and a product by both scales, as onnxruntime's quantizer writes them."""
    nodes = [
        node("DynamicQuantizeLinear", "x", "q s z"),
        node("MatMulInteger", "q codes z", "i"),
        node("Cast", "i", "f", to=TensorProto.FLOAT),
        *([node("Mul", "s step", "both")] if scaled else []),
        node("Mul", "f both" if scaled else "f step", "p" if twice or shown else "y"),
    ]
    if twice or shown:
        nodes.append(node("Mul" if twice else "Add", "p s", "y"))
    return nodes, {name: CODES[name] for name in ("codes", "step")}


def with_weight_quantized() -> Net:
    """As `dynamic`; the graph quantizes the weight, too."""
    nodes, _ = dynamic()
    nodes = [node("DynamicQuantizeLinear", "w", "codes step zw"), *nodes]
    nodes[2] = node("MatMulInteger", "q codes z zw", "i")
    return nodes, {"w": W}


def judged(a: Net, b: Net, folder: Path, **how: Any) -> Outcome:
    return compared(a, b, folder, running=Running(), **how).outcome


def test_a_channel_is_not_hidden_by_larger_ones(tmp_path: Path) -> None:
    """Scores that a wrong scale cuts off vanish beside boxes: the whole output has 69 dB, each score less than 0."""
    assert judged(boxes(None), boxes(0.05), tmp_path, data=DATA) is Outcome.QUANTIZED
    found = compared(boxes(None), boxes(1e-4), tmp_path, running=Running(), data=DATA)
    assert found.outcome is Outcome.UNEXPLAINED
    assert found.runs is not None
    assert found.runs.outputs[0].snr is not None
    assert found.runs.outputs[0].snr > 60.0
    assert "dB in a channel" in found.because[0]
    assert judged(boxes(None), boxes(1e-4), tmp_path, data=DATA, min_snr=-20.0) is Outcome.QUANTIZED


@pytest.mark.parametrize(("data", "limit"), [(None, 20.0), (DATA[:15], 20.0), (DATA, 90.0)], ids=["none", "15", "a high limit"])
def test_without_enough_data_nothing_is_known(data: Any, limit: float, tmp_path: Path) -> None:
    assert judged(PRODUCT, dynamic(), tmp_path, data=data, min_snr=limit) is Outcome.UNEXPLAINED


def test_a_weight_that_the_graph_quantizes(tmp_path: Path) -> None:
    assert judged(PRODUCT, with_weight_quantized(), tmp_path, data=DATA) is Outcome.QUANTIZED


@pytest.mark.parametrize(
    ("how", "same"),
    [({}, True), ({"scaled": False}, False), ({"twice": True}, False), ({"shown": True}, False)],
    ids=["once", "forgotten", "twice", "for something else"],
)
def test_a_computed_scale_is_used_once(how: dict[str, bool], same: bool, tmp_path: Path) -> None:
    """On bytes the scale is 1, so that no run on them shows what is done with it."""
    outcome = judged(PRODUCT, dynamic(**how), tmp_path, data=DATA)
    assert (outcome is Outcome.QUANTIZED) is same
    if how.get("shown") is None:
        assert (judged(PRODUCT, dynamic(**how), tmp_path, data=BYTES) is Outcome.QUANTIZED) is same
