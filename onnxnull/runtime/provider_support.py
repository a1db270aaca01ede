"""Which operators a provider can run on which types: asked of the onnxruntime that is installed, with models of one node."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.runtime.providers import Provider, load, options

if TYPE_CHECKING:
    import onnx

_CONTROL = frozenset({"If", "Loop", "Scan", "SequenceMap"})
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_INSERTED = "Inserted"
"""How the names begin of tensors that onnxruntime casts by itself."""
_REFUSALS = ("NotImplemented", "InvalidGraph")
"""onnxruntime's errors for a node that has no kernel, and for one whose types its definition does not allow."""


def has_kernel(node: onnx.NodeProto, types: tuple[int, ...], version: int, provider: Provider, *, itself: bool = False) -> bool:
    """Whether `provider` (or the CPU, which stands behind every other) computes `node` on inputs of these types.

    Args:
        types: TensorProto.DataType of every input, 0 where one is left out or unknown.
        version: of the opset of the node's domain.
        itself: not by way of float32, to which onnxruntime casts float16 where a kernel is missing.
    """
    if node.op_type in _CONTROL and node.domain in ("", "ai.onnx"):
        return True
    bare = type(node)()
    bare.CopyFrom(node)
    bare.name = ""
    for names, letter in ((bare.input, "i"), (bare.output, "o")):
        for index, name in enumerate(names):
            names[index] = f"{letter}{index}" if name else ""
    return _probe(bare.SerializeToString(deterministic=True), types, version, provider, itself)


@functools.lru_cache(maxsize=4096)
def _probe(node: bytes, types: tuple[int, ...], version: int, provider: Provider, itself: bool) -> bool:
    import tempfile
    from pathlib import Path

    import onnx
    from onnx import helper

    parsed = onnx.NodeProto.FromString(node)
    if parsed.op_type in _GATES and parsed.domain in ("", "ai.onnx") and not itself:
        return _runs_recurrent(parsed.op_type, types[0], version, provider)
    if any(name and not kind for name, kind in zip(parsed.input, types, strict=True)):
        return True  # a type is unknown: the session on the whole model will tell
    inputs = {n: helper.make_tensor_value_info(n, k, None) for n, k in zip(parsed.input, types, strict=True) if n}
    outputs = [onnx.ValueInfoProto(name=name) for name in parsed.output if name]
    graph = helper.make_graph([parsed], "probe", list(inputs.values()), outputs)
    imports = [helper.make_opsetid(parsed.domain, version)]
    if parsed.domain not in ("", "ai.onnx"):
        imports.append(helper.make_opsetid("", 17))
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    chosen = options(1)
    with tempfile.TemporaryDirectory() as folder:
        loaded = Path(folder) / "loaded.onnx"
        if itself:
            chosen.optimized_model_filepath = str(loaded)
        try:
            load().InferenceSession(model.SerializeToString(), chosen, providers=provider.options)
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no common base
            return type(error).__name__ not in _REFUSALS and "Type Error" not in str(error)
        if not itself:
            return True
        made = [name for each in onnx.load(loaded).graph.node for name in each.output]
        return not any(name.startswith(_INSERTED) for name in made)


def _runs_recurrent(op_type: str, kind: int, version: int, provider: Provider) -> bool:
    """RNN, GRU and LSTM are registered for double and throw when they run: so run one."""
    from onnx import helper

    rows = _GATES[op_type]
    dtype = helper.tensor_dtype_to_np_dtype(kind or 1)
    feeds = {n: np.zeros(s, dtype) for n, s in (("x", (1, 1, 1)), ("w", (1, rows, 1)), ("r", (1, rows, 1)))}
    inputs = [helper.make_tensor_value_info(name, kind, array.shape) for name, array in feeds.items()]
    output = helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph([helper.make_node(op_type, list(feeds), ["y"], hidden_size=1)], "probe", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)
    try:
        load().InferenceSession(model.SerializeToString(), options(1), providers=provider.options).run(None, feeds)
    except Exception:  # noqa: BLE001 - onnxruntime's errors have no common base
        return False
    return True
