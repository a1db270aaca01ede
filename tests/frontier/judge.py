"""onnxruntime as the judge of a frontier: what its map says, what its kernel vectors do to the outputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxnull import frontier
from onnxnull.frontier import Frontier
from onnxnull.graph.flow import Flow
from onnxnull.kernel.rank import Notion
from tests.helpers import opened, run


def frontiers(proto: onnx.ModelProto, folder: Path) -> dict[str, Frontier]:
    """The frontier of every input, by name."""
    return {found.input.name: found for found in frontier.find(Flow(opened(proto, folder)))}


def only_frontier(proto: onnx.ModelProto, folder: Path) -> Frontier:
    """The frontier of the only input."""
    (found,) = frontiers(proto, folder).values()
    return found


def nullity(found: Frontier) -> tuple[int, int]:
    """Bounds of the joint nullity at the float64 cut-off."""
    bounds = frontier.joint_nullity(found, Notion.FLOAT64)
    return bounds.lower, bounds.upper


def dense_nullity(found: Frontier) -> int:
    """By the singular values of the stacked matrix, for random weights, whose gap is wide."""
    if not found.layers:
        assert found.entries is not None
        return found.entries
    matrix = found.map().dense()
    sigma = np.linalg.svd(matrix, compute_uv=False)
    return len(matrix) - int(np.count_nonzero(sigma > 1e-9 * max(1e-300, sigma.max(initial=0.0))))


def moved(proto: onnx.ModelProto, feeds: Mapping[str, NDArray[Any]], name: str, change: NDArray[np.float64]) -> float:
    """The largest move of any output when `change` is added to one input, relative to the largest entry of any output."""
    shifted = dict(feeds) | {name: (feeds[name].astype(np.float64) + change).astype(feeds[name].dtype)}
    before, after = run(proto, feeds), run(proto, shifted)
    scale = max(float(np.abs(array).max(initial=0.0)) for array in before)
    pairs = zip(before, after, strict=True)
    return max(float(np.abs(b.astype(float) - a.astype(float)).max(initial=0.0)) for a, b in pairs) / max(scale, 1e-300)


def kernel_is_invisible(
    proto: onnx.ModelProto, found: Frontier, feeds: Mapping[str, NDArray[Any]], *, seed: int = 0, tolerance: float = 2e-5
) -> None:
    """A projected wish moves no output by more than float32's rounding; a random change of its norm moves some clearly."""
    rng = np.random.default_rng(seed)
    name = found.input.name
    wish = rng.standard_normal(feeds[name].shape)
    change = frontier.JointKernel(found).project(wish)
    length = float(np.linalg.norm(change))
    if dense_nullity(found) == 0:
        assert length <= 1e-6 * np.linalg.norm(wish)
        return
    np.testing.assert_allclose(np.vdot(change, wish), length**2, rtol=1e-9)  # it is a projection
    assert length > 1e-3 * np.linalg.norm(wish)
    assert moved(proto, feeds, name, change) <= tolerance
    control = wish - change
    if np.linalg.norm(control) > 1e-9 * np.linalg.norm(wish):
        assert moved(proto, feeds, name, control * length / np.linalg.norm(control)) > 20 * tolerance
