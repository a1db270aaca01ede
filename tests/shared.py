"""What tests of several rooms need: the models shared between projects, and tiny models written for one test."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxnull import ModelReport, analyze
from onnxnull.kernel.rank import ExactPolicy

FOLDER = Path(__file__).parents[1].parent / "shared"


def shared_model(name: str) -> Path:
    """A real model of ../shared/models; skips the test where it is absent."""
    return shared_file(f"models/{name}")


def shared_file(name: str) -> Path:
    """A file of ../shared; skips the test where it is absent."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{path} is absent")
    return path


@functools.cache
def report_of(path: Path) -> ModelReport:
    """The analysis of a real model without exact ranks, made once in each process."""
    return analyze(path, exact=ExactPolicy.NEVER)


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, np.ndarray | onnx.TensorProto],
    *,
    inputs: Mapping[str, Sequence[int | str | None]] | None = None,
    output: str = "y",
    dtype: int = TensorProto.FLOAT,
    opset: int = 17,
) -> Path:
    """Write a model of `nodes` with initializers; `inputs` defaults to x of unknown rank."""
    values = inputs or {"x": (None, None)}
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, dtype, list(shape)) for name, shape in values.items()],
        [helper.make_tensor_value_info(output, dtype, None)],
        [t if isinstance(t, onnx.TensorProto) else numpy_helper.from_array(t, name) for name, t in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def matmul(path: Path, weight: np.ndarray | onnx.TensorProto, **kwargs: int) -> Path:
    """x · w → y."""
    return save(path, [helper.make_node("MatMul", ["x", "w"], ["y"], name="mm")], {"w": weight}, **kwargs)  # type: ignore[arg-type]


def random(*shape: int, seed: int = 0, dtype: type = np.float32) -> np.ndarray:
    """Normal numbers: of full rank with probability one."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)
