"""`collide --layer` on fused layers: it works, or says in one line why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from tests.helpers import model, value, weight

MICROSOFT = "com.microsoft"
W, B = weight(16, 12), weight(12)
LAYERS: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[int, ...]]] = {
    "FusedMatMul": ({"alpha": 0.5}, {"w": W}, (1, 5, 16)),
    "FusedGemm": ({"activation": "Relu"}, {"w": W, "b": B}, (5, 16)),
    "FusedConv": ({"activation": "Relu", "strides": [2, 2]}, {"w": weight(4, 3, 2, 2), "b": weight(4)}, (1, 3, 6, 6)),
    "Attention": ({"num_heads": 1}, {"w": W, "b": B}, (1, 5, 16)),
    "NhwcConv": ({"strides": [2, 2]}, {"w": weight(4, 2, 2, 3)}, (1, 6, 6, 3)),
    "CausalConvWithState": ({"channels_last": 1}, {"w": weight(6, 1, 3)}, (1, 8, 6)),
}


def written(op: str, here: Path) -> str:
    """Relu in front, so that the layer is not read from the input."""
    attributes, constants, shape = LAYERS[op]
    outputs = ["h", "unread"] if op == "CausalConvWithState" else ["h"]
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node(op, ["r", *constants], outputs, domain=MICROSOFT, name="layer", **attributes),
        helper.make_node("Identity", ["h"], ["y"]),
    ]
    onnx.save(model(nodes, constants, inputs=[value("x", shape)], imports={MICROSOFT: 1}), here / "fused.onnx")
    return "fused.onnx"


@pytest.mark.parametrize("op", ["FusedMatMul", "FusedGemm", "FusedConv", "Attention"])
def test_a_fused_layer_collides(op: str, here: Path, collide: Any) -> None:
    code, out, err = collide(written(op, here), "--random", 0, "--layer", "layer", "--provider", "cpu")
    assert (code, err) == (0, "")
    assert out.count("on CPUExecutionProvider: rounding") == 2
    kept = f"com.microsoft.{op} keeps the product to itself: the weight alone, on rows of the network's own activation"
    assert (kept in out) == (op != "FusedMatMul")  # whose product is its output


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        ("CausalConvWithState", "error[no-double-kernel]: com.microsoft.CausalConvWithState (node 'layer')"),
        ("NhwcConv", "Could not find an implementation for NhwcConv"),  # at float32; float64 is lowered
    ],
)
def test_what_cannot_run_says_so_in_a_line(op: str, reason: str, here: Path, collide: Any) -> None:
    code, _, err = collide(written(op, here), "--random", 0, "--layer", "layer", "--provider", "cpu")
    assert (code, len(err.splitlines())) == (2, 1)
    assert reason in err
    assert "Traceback" not in err
