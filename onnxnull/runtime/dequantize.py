"""Stored weights that a model dequantizes, written as the floats that it multiplies by: what a twin in double starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxnull.graph.protobuf import graphs
from onnxnull.graph.quantization import dequantized

if TYPE_CHECKING:
    import onnx


def store_dequantized(proto: onnx.ModelProto) -> None:
    """Replace every DequantizeLinear of initializers of its own graph by its result, in place.

    onnxruntime has no DequantizeLinear with a scale in double. The products are rounded to float32, as it rounds them; a result
    in another type than the scale's (`output_dtype`) is left alone.
    """
    from onnx import numpy_helper

    for graph in graphs(proto.graph):
        stored = {tensor.name: tensor for tensor in graph.initializer}
        kept = []
        for node in graph.node:
            names = [name for name in node.input if name]
            given = {attribute.name: attribute.i for attribute in node.attribute}
            plain = node.op_type == "DequantizeLinear" and node.domain in ("", "ai.onnx") and not given.get("output_dtype")
            if not (plain and len(names) == len(node.input) and all(name in stored for name in names)):
                kept.append(node)
                continue
            arrays = [numpy_helper.to_array(stored[name]) for name in names]
            function = (True, True, len(arrays) > 2), given.get("axis", 1), given.get("block_size", 0), arrays[1].dtype
            graph.initializer.append(
                numpy_helper.from_array(np.ascontiguousarray(dequantized(*function, *arrays)), node.output[0])
            )
        if len(kept) < len(graph.node):
            copies = [type(node).FromString(node.SerializeToString()) for node in kept]
            del graph.node[:]
            graph.node.extend(copies)
