"""Look for false guarantees of the input frontier: `python -m scripts.explore_guarantees`, from the root of the repository.

Each case is a random small network: a few steps, most of them linear, layers with weights that read what comes out, and
something behind. Where the frontier guarantees that a change in the joint kernel reaches no output, changes of several sizes
are made from that kernel and run in onnxruntime, in float32 and, where a kernel exists, by the float64 twin: an output that
moves beyond rounding is a false guarantee. The bounds of the joint nullity are compared with the singular values of the
dense map. Case N is the same on every machine: `--start N --cases 1` runs it alone. Exits 1 if a case failed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxnull import frontier
from onnxnull.errors import OnnxnullError
from onnxnull.frontier import Frontier
from onnxnull.graph.flow import Flow
from onnxnull.graph.model import open_model
from onnxnull.kernel.project import NotConvergedError
from onnxnull.kernel.rank import Notion
from onnxnull.operators.steps import UnknownShapeError
from onnxnull.runtime.precision import Precision, twin
from onnxnull.runtime.providers import Provider
from scripts.random_networks import network

SIZES = (1.0, 1e3)
"""Lengths of the changes, relative to the input."""
CLEAR = 1e-9
"""Singular values are far above it or far below: weights are random, and no column is smaller than a thousandth."""
FLOAT32, FLOAT64 = 3e-5, 1e-10
"""How far an output may move, relative to its largest entry and the size of the change: rounding, with room."""


def outcome(seed: int, folder: Path) -> str:
    """What became of a case: `guaranteed`, `injective`, `not guaranteed`, `not mapped`, `not run`, or `FALSE ...`."""
    proto = network(seed)
    path = folder / "model.onnx"
    onnx.save(proto, path)
    found = frontier.find(Flow(open_model(path)))[0]
    if not found.guaranteed:
        return "not guaranteed"
    try:
        directions = kernel_vectors(found, seed)
    except UnknownShapeError:
        return "not mapped"
    if isinstance(directions, str):
        return directions
    precisions: dict[str, tuple[onnx.ModelProto, type[np.floating[Any]], float]] = {"float32": (proto, np.float32, FLOAT32)}
    try:
        doubled = twin(proto, Precision.FLOAT64, provider=Provider.CPU).proto
        precisions["float64"] = (doubled, np.float64, FLOAT64)
    except OnnxnullError:
        pass
    for name, (model, dtype, tolerance) in precisions.items():
        moved = movement(model, directions, dtype, seed)
        if moved is None:
            return "not run"
        if moved > tolerance:
            return f"FALSE guarantee: an output moves by {moved:.1e} in {name}"
    return "guaranteed" if len(directions) else "injective"


def kernel_vectors(found: Frontier, seed: int) -> NDArray[np.float64] | str:
    """Vectors of the joint kernel, by the projector and by the singular vectors of the dense map; or what is wrong."""
    rng = np.random.default_rng(seed)
    shape = tuple(d for d in found.input.shape or () if d is not None)
    bounds = {notion: frontier.joint_nullity(found, notion) for notion in (Notion.FLOAT64, Notion.EXACT)}
    spans = [_span(one.map().dense()) for one in found.layers]
    left, sigma, _ = np.linalg.svd(np.hstack([np.zeros((found.entries or 0, 1)), *spans]))
    rank = int(np.count_nonzero(sigma > CLEAR))
    dense = len(left) - rank
    for notion, one in bounds.items():
        # over ℚ the rounded weights of an interpolation may tell apart what those of the formula do not
        if one.lower > dense or (notion is Notion.FLOAT64 and dense > one.upper):
            return f"FALSE bounds: {notion.value} nullity in [{one.lower}, {one.upper}], dense {dense}"
    if bounds[Notion.FLOAT64].upper == 0:
        return np.zeros((0, *shape))
    try:
        projected = [frontier.JointKernel(found).project(rng.standard_normal(shape)) for _ in range(2)]
    except NotConvergedError as error:
        projected = [error.projection.vector]
    if bounds[Notion.FLOAT64].lower > 0 and not any(vector.any() for vector in projected):
        return "FALSE bounds: a kernel of which the projector finds nothing"
    kernel = left[:, rank:] @ rng.standard_normal((dense, 1))
    made = [vector for vector in (*projected, kernel.reshape(shape)) if np.linalg.norm(vector) > 1e-6]
    return np.array([vector / np.linalg.norm(vector) for vector in made]).reshape(-1, *shape)


def _span(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal columns of the span of a layer's map (inputs, outputs): every layer counts, however small its weights."""
    left, sigma, _ = np.linalg.svd(matrix, full_matrices=False)
    return left[:, sigma > CLEAR * sigma.max(initial=0.0)]


def movement(proto: onnx.ModelProto, directions: NDArray[np.float64], dtype: type[np.floating[Any]], seed: int) -> float | None:
    """The largest move of an output's entry by changes along the directions, relative; None where it does not run."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        start = np.random.default_rng([seed, 1]).standard_normal(directions.shape[1:])
        before = session.run(None, {"x": start.astype(dtype)})[0].astype(np.float64)
        largest = 0.0
        for length in SIZES:
            for direction in directions:
                change = length * np.linalg.norm(start) * direction
                after = session.run(None, {"x": (start + change).astype(dtype)})[0].astype(np.float64)
                scale = max(1.0, float(np.abs(before).max(initial=0.0))) * length
                largest = max(largest, float(np.abs(after - before).max(initial=0.0)) / scale)
    except Exception:  # noqa: BLE001 - onnxruntime raises what it likes; the case is counted as not run
        return None
    return largest


def main() -> int:
    """Exit code 0, or 1 if a case failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000, help="how many [1000]")
    parser.add_argument("--start", type=int, default=0, help="number of the first one [0]")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    began, ends, failed = time.monotonic(), Counter[str](), 0
    with tempfile.TemporaryDirectory(prefix="onnxnull-explore-") as name:
        for seed in range(options.start, options.start + options.cases):
            result = outcome(seed, Path(name))
            ends[result.partition(":")[0]] += 1
            if result.startswith("FALSE"):
                failed += 1
                print(f"case {seed}: {result}", flush=True)
    print(", ".join(f"{count} {end}" for end, count in ends.most_common()), f"({time.monotonic() - began:.0f} s)")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
