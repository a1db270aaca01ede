"""Pairs of small networks, and what `compare` says of them: traps for a lazy comparison, and one network in two ways.

Whoever wrote them had not read how `compare` works.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from onnxnull import Running, compare, open_model
from onnxnull.comparison.verdicts import Outcome
from onnxnull.graph.limits import Limits
from tests.comparison.pairs import attributes, constants, control, files, folded, fused, nearly, norms, operators, places
from tests.comparison.pairs.writing import ROWS, Pair, changed, network

TRAPS = [pair for module in (attributes, constants, control, fused, nearly, norms, places) for pair in module.PAIRS]
ALIKE = [pair for module in (files, folded, operators) for pair in module.PAIRS]


def name_of(pair: Pair) -> str:
    return pair.name


def exit_code(pair: Pair, folder: Path, running: Running | None) -> int:
    paths = folder / "a.onnx", folder / "b.onnx"
    for path, model in zip(paths, (pair.first, pair.second), strict=True):
        onnx.save(model, path)
    first, second = map(open_model, paths)
    return int(compare(first, second, running=running, weights=False).exit_code())


def is_near(a: NDArray[Any], b: NDArray[Any]) -> bool:
    if a.dtype.kind != "f" or a.shape != b.shape:
        return np.array_equal(a, b)
    return np.allclose(a, b, rtol=1e-5, atol=1e-8, equal_nan=True)


@pytest.mark.parametrize("pair", TRAPS, ids=name_of)
def test_trap(pair: Pair, tmp_path: Path) -> None:
    first, second = pair.outputs()
    alike = len(first) == len(second) and all(map(is_near, first, second))
    assert not alike, "onnxruntime does not tell them apart: this is no trap"
    found = exit_code(pair, tmp_path, None)
    if found != 1:  # the graphs do not settle it
        found = exit_code(pair, tmp_path, Running())
    assert found in pair.exits


@pytest.mark.parametrize("pair", ALIKE, ids=name_of)
def test_one_network(pair: Pair, tmp_path: Path) -> None:
    assert exit_code(pair, tmp_path, Running()) in pair.exits


def test_constants_past_the_limit_are_told_apart(tmp_path: Path) -> None:
    written = network(ROWS, "y = MatMul(x, w)", {"w": (8, 8)})
    again = network(ROWS, "t = Identity(x) y = MatMul(t, w)", {"w": (8, 8)})
    other = network(ROWS, "y = MatMul(x, w)", {"w": changed("w", (8, 8), (2, 3), 1e-3)})
    paths = [tmp_path / f"{i}.onnx" for i in range(3)]
    for path, model in zip(paths, (written, again, other), strict=True):
        onnx.save(model, path)
    models = [open_model(path, limits=Limits(constant_bytes=100)) for path in paths]
    assert compare(models[0], models[1], weights=False).outcome is Outcome.SAME_GRAPH
    assert compare(models[0], models[2], weights=False).outcome is Outcome.UNEXPLAINED
