"""A network of floats, and files that quantize its activations: rightly, or wrongly in a way that data hide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxnull import Running, compare, open_model
from tests.comparison.pairs.writing import DIFFERENT, NOT_SAME, SAME, constant, network

FLOATS = "t = MatMul(x, w) u = Add(t, b) r = Relu(u) p = MatMul(r, v) y = Add(p, d)"
QUANTIZED = """xq = QuantizeLinear(x, sx, zx) xx = DequantizeLinear(xq, {x_scale}, {x_zero})
fw = DequantizeLinear <axis = 1> (qw, sw) fv = DequantizeLinear <axis = 1> (qv, sv) t = MatMul(xx, fw) u = Add(t, b) {relu}
rq = QuantizeLinear(r, sr, zr) rr = DequantizeLinear(rq, {r_scale}, zr) p = MatMul(rr, fv) {last}"""
RIGHT = {"x_scale": "sx", "x_zero": "zx", "r_scale": "sr", "relu": "r = Relu(u)", "last": "y = Add(p, d)"}
W, V, B = constant("w", (16, 8)), constant("v", (8, 8)), constant("b", (8,))
STEPS = [(np.abs(each).max(0) / 127).astype(np.float32) for each in (W, V)]
CODES = [np.rint(each / step).astype(np.int8) for each, step in zip((W, V), STEPS, strict=True)]
CONSTANTS: dict[str, Any] = {"w": W, "v": V, "b": B, "d": 0.1 * B}
CONSTANTS |= {"qw": CODES[0], "qv": CODES[1], "sw": STEPS[0], "sv": STEPS[1], "far": 1e4, "other": 12.3 / 255}
CONSTANTS |= {"sx": 8 / 255, "zx": np.uint8(128), "sr": 12 / 255, "zr": np.uint8(0), "middle": np.uint8(129)}
MOVED = CODES[0].copy()
MOVED[3, 3] -= 4
TRIGGER = "g = Greater(p, far) n = Neg(p) o = Where(g, n, p) y = Add(o, d)"


@pytest.mark.parametrize(
    ("text", "constants", "exits"),
    [
        ({}, {}, SAME),
        ({"relu": "r = Identity(u)"}, {}, SAME),  # a zero point of 0 cuts off what Relu does
        ({"relu": "r = Identity(u)"}, {"zr": np.uint8(128)}, NOT_SAME),
        ({"x_scale": "other"}, {}, DIFFERENT),
        ({"r_scale": "other"}, {}, DIFFERENT),
        ({"x_zero": "middle"}, {}, DIFFERENT),
        ({"last": "y = Identity(p)"}, {}, NOT_SAME),
        ({"last": TRIGGER}, {}, NOT_SAME),
        ({}, {"qw": MOVED}, DIFFERENT),
        ({}, {"d": 0.1 * B + np.float32(0.02)}, DIFFERENT),
    ],
    ids=[
        "right",
        "Relu cut off",
        "Relu lost",
        "scale",
        "inner scale",
        "zero point",
        "bias lost",
        "trigger",
        "code",
        "bias",
    ],
)
def test_quantized_activations(text: dict[str, str], constants: dict[str, Any], exits: frozenset[int], tmp_path: Path) -> None:
    inputs, body = "float[1,16] x", QUANTIZED.format(**{**RIGHT, **text})
    models = network(inputs, FLOATS, CONSTANTS), network(inputs, body, {**CONSTANTS, **constants})
    paths = [tmp_path / "floats.onnx", tmp_path / "quantized.onnx"]
    for path, model in zip(paths, models, strict=True):
        onnx.save(model, path)
    data = [{"x": x[None]} for x in constant("data", (32, 16))]
    for first, second in (paths, paths[::-1]):
        found = compare(open_model(first), open_model(second), running=Running(), data=data, weights=False)
        assert int(found.exit_code()) in exits


DYNAMIC = """a, sa, za = DynamicQuantizeLinear(x) i = MatMulInteger(a, qw, za) f = Cast <to = 1> (i)
k = Mul(sa, sw) t = Mul(f, k) u = Add(t, b) r = Relu(u)
c, sc, zc = DynamicQuantizeLinear(r) j = MatMulInteger(c, qv, {zero}) g = Cast <to = 1> (j)
l = Mul({scale}, sv) p = Mul(g, l) y = Add(p, d)"""


@pytest.mark.parametrize(
    ("scale", "zero", "named"),
    [("sc", "zc", None), ("sa", "zc", "sc at DynamicQuantizeLinear"), ("sc", "za", "zc at DynamicQuantizeLinear")],
    ids=["right", "scale", "zero point"],
)
def test_codes_that_are_quantized_as_they_come(scale: str, zero: str, named: str | None, tmp_path: Path) -> None:
    inputs, body = "float[1,16] x", DYNAMIC.format(scale=scale, zero=zero)
    models = network(inputs, FLOATS, CONSTANTS), network(inputs, body, CONSTANTS)
    for name, model in zip("ab", models, strict=True):
        onnx.save(model, tmp_path / name)
    found = compare(open_model(tmp_path / "a"), open_model(tmp_path / "b"), weights=False).graph.differences
    said = [each.a for each in found]
    assert not said if named is None else any(each.startswith(named) for each in said)
