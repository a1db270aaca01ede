"""What several tests need: the models in ../shared, small models built in memory, and onnxruntime on the CPU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from onnxnull.graph.flow import Flow
from onnxnull.graph.model import Model, open_model
from onnxnull.graph.node import Node
from onnxnull.operators import LinearUse, Refusal, linear_uses

SHARED = Path(__file__).resolve().parents[2] / "shared" / "models"
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL

Found = list[tuple[Node, LinearUse | Refusal]]


def shared_models() -> list[Path]:
    """The trained models in the shared folder, in order; empty where the folder is absent."""
    return sorted(SHARED.glob("*.onnx"))


def shared_model(name: str) -> Path:
    """One of them; skips the test where it is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is absent: the trained models are not part of this repository")
    return path


def value(name: str, shape: Sequence[int | str | None] | None, kind: int = FLOAT) -> onnx.ValueInfoProto:
    """A graph input or output."""
    return helper.make_tensor_value_info(name, kind, shape)


def tensor(name: str, array: Any) -> onnx.TensorProto:
    """An initializer."""
    return numpy_helper.from_array(np.asarray(array), name)


def weight(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Random float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def model(
    nodes: Iterable[onnx.NodeProto],
    initializers: Mapping[str, Any] | None = None,
    *,
    inputs: Sequence[onnx.ValueInfoProto] = (),
    outputs: Sequence[onnx.ValueInfoProto] = (),
    opset: int = 17,
    imports: Mapping[str, int] | None = None,
    ir_version: int = 8,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """A model; without `outputs`, the last node's first output is the only one, of an undeclared shape."""
    nodes = list(nodes)
    graph = helper.make_graph(
        nodes,
        "graph",
        list(inputs),
        list(outputs) or [value(nodes[-1].output[0], None)],
        [tensor(name, array) for name, array in (initializers or {}).items()],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in ({"": opset} | dict(imports or {})).items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, functions=list(functions))


def opened(proto: onnx.ModelProto, folder: Path, **options: Any) -> Model:
    """The model, written to `folder` and opened."""
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return open_model(path, **options)


def uses(proto: onnx.ModelProto, folder: Path, **options: Any) -> Found:
    """What `linear_uses` finds in the model."""
    return all_uses(Flow(opened(proto, folder, **options)))


def all_uses(flow: Flow) -> Found:
    """What `linear_uses` finds, node by node."""
    return [(node, found) for node in flow.nodes for found in linear_uses(node)]


def only_use(found: Found) -> LinearUse:
    """The only weight found."""
    assert len(found) == 1, found
    use = found[0][1]
    assert isinstance(use, LinearUse), use
    return use


def only_refusal(found: Found) -> Refusal:
    """The only refusal found."""
    assert len(found) == 1, found
    refusal = found[0][1]
    assert isinstance(refusal, Refusal), refusal
    return refusal


def run(proto: onnx.ModelProto, feeds: Mapping[str, Any], *, optimize: bool = False) -> list[NDArray[Any]]:
    """The outputs that onnxruntime's CPU provider gives, one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(array) for array in session.run(None, dict(feeds))]
