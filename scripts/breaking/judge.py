"""Whether a model is broken, by onnxruntime and by its constants alone: nothing of onnxnull."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort  # here, and not in each child
from onnx import external_data_helper, numpy_helper

RUNS = 8
_PATIENCE = 60.0


def symptom(path: Path) -> str | None:
    """In a few words what is wrong with the model; None where nothing is known to be. In a child: a session may crash."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=lambda: theirs.send(_symptom(path)))
    child.start()
    theirs.close()
    try:
        found: str | None = ours.recv() if ours.poll(_PATIENCE) else "onnxruntime does not end"
    except EOFError:
        found = "onnxruntime crashes"
    child.kill()
    child.join()
    return found


def _symptom(path: Path) -> str | None:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - whatever it says, it does not load
        return "does not load"
    proto = onnx.load(path)
    for tensor in _stored(proto.graph):
        array = numpy_helper.to_array(tensor)
        if array.dtype.kind == "f" and array.ndim >= 2 and min(array.shape) > 1:  # a row is a bias
            if np.isnan(array).any():
                return "a matrix holds NaN"
            if np.isposinf(array).any():
                return "a matrix holds Inf"
            if not array.any():
                return "a matrix is 0"
    read = {name for node in _nodes(proto.graph) for name in node.input}
    if any(given.name not in read for given in proto.graph.input):
        return "nothing reads an input"
    seen: list[list[np.ndarray]] = []
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        feeds = {given.name: _made(rng, given.type, given.shape) for given in session.get_inputs()}
        try:
            seen.append([np.asarray(array, dtype=np.float64) for array in session.run(None, feeds)])
        except Exception:  # noqa: BLE001
            return "does not run"
    for runs in zip(*seen, strict=True):
        if all(np.isnan(one).any() for one in runs):
            return "an output is NaN"
        if all(one.size and not np.isfinite(one).any() for one in runs):  # a class of −Inf may be masked
            return "an output is Inf"
    if all(np.array_equal(one, runs[0]) for runs in zip(*seen, strict=True) for one in runs):
        return "all outputs are constant"
    return None


def _made(rng: np.random.Generator, kind: str, shape: list[int | str | None]) -> np.ndarray:
    """A random input."""
    sizes = [size if isinstance(size, int) else 3 for size in shape]
    if kind == "tensor(bool)":
        return np.asarray(rng.random(sizes) < 0.5)
    if kind.startswith("tensor(int"):
        return np.asarray(rng.integers(0, 2, sizes), dtype=kind[7:-1])
    return np.asarray(rng.standard_normal(sizes)).astype({"tensor(float16)": np.float16}.get(kind, np.float32))


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _graphs(attribute.g)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for one in _graphs(graph):
        yield from one.node


def _stored(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    for one in _graphs(graph):
        yield from (tensor for tensor in one.initializer if not external_data_helper.uses_external_data(tensor))
