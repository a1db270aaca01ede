"""Is float32 really float32 here? A provider that rounds the operands of products to TF32 is found out by 1 + 2⁻¹².

TF32 has ten bits of fraction, so 1 + 2⁻¹² becomes 1. Operands of that value go through Conv and MatMul at the model's own
shapes, since libraries choose their algorithm by shape; each filter has one entry that is not zero, so that no order of
summation, nor Winograd's transforms, hide the difference of 2⁻¹¹ between the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.errors import Code, OnnxnullError
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.session import Runner

if TYPE_CHECKING:
    import onnx

SEEN = np.float32(1 + 2.0**-12)
_TOLERANCE = 2.0**-14


@dataclass(frozen=True, slots=True)
class CanaryShape:
    """A product at the shapes of a model: Conv of x (N, C, *spatial) with w (M, C/group, *k), or MatMul of x with w (q, p)."""

    op_type: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    strides: tuple[int, ...] = ()
    group: int = 1
    dilations: tuple[int, ...] = ()


def check_float32(where: Runner | Provider, shapes: Iterable[CanaryShape]) -> None:
    """Run the canary at each of these shapes (`products_of` lists a model's).

    Raises:
        OnnxnullError: with code `tf32` if a product comes out as it would from rounded operands.
    """
    provider = where.provider if isinstance(where, Runner) else where
    for product in dict.fromkeys(shapes):
        worst = float(np.max(np.abs(_run(product, provider).astype(np.float64) - float(SEEN) ** 2)))
        if not worst <= _TOLERANCE:
            seen = f"{product.op_type} of {product.x} by {product.w} is off by {worst:.1e} on {provider.value}"
            raise OnnxnullError(Code.TF32, seen)


def products_of(proto: onnx.ModelProto, feeds: Sequence[tuple[str, tuple[int, ...]]] = ()) -> tuple[CanaryShape, ...]:
    """The distinct products of the main graph with stored weights, at the shapes of inputs `feeds` (name, shape).

    A dimension that stays unknown is taken as 1, or as what the filter spans.
    """
    import onnx

    from onnxnull.runtime.types import enter, infer

    given = dict(feeds)
    typed = onnx.ModelProto()
    typed.CopyFrom(proto)
    for value in typed.graph.input:
        if value.name in given:
            kind = value.type.tensor_type.elem_type
            value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, kind, list(given[value.name])))
    infer(typed)
    scope = enter(typed.graph, None)
    found: dict[CanaryShape, None] = {}
    for node in typed.graph.node:
        if node.op_type not in ("Conv", "MatMul", "Gemm") or scope.tensor(node.input[1]) is None:
            continue
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        shape, weight = scope.type_of(node.input[0])[1], scope.type_of(node.input[1])[1]
        if weight is None or any(not n for n in weight):
            continue
        w = tuple(n for n in weight if n)
        if node.op_type == "Conv":
            group = int(attributes.get("group", 1))
            dilations = tuple(attributes.get("dilations", (1,) * len(w[2:])))
            spans = [(k - 1) * d + 1 for k, d in zip(w[2:], dilations, strict=True)]
            known = (shape or (None,) * len(w))[2:]
            spatial = (max(n or span, span) for n, span in zip(known, spans, strict=True))
            x = (1 if not shape else shape[0] or 1, w[1] * group, *spatial)
            found[CanaryShape("Conv", x, w, tuple(attributes.get("strides", (1,) * len(spans))), group, dilations)] = None
        elif len(w) == 2:
            q, p = w[::-1] if attributes.get("transB", 0) else w
            lead = shape[:-1] if shape and not attributes.get("transA", 0) else (1,)
            found[CanaryShape("MatMul", (*(n or 1 for n in lead), q), (q, p))] = None
    return tuple(found)


def _run(product: CanaryShape, provider: Provider) -> np.ndarray:
    from onnx import TensorProto, helper, numpy_helper

    w = np.zeros(product.w, dtype=np.float32)
    if product.op_type == "Conv":
        outputs, rows = product.w[0], w.reshape(product.w[0], -1)
        rows[np.arange(outputs), np.arange(outputs) % rows.shape[1]] = SEEN
        node = helper.make_node("Conv", ["x", "w"], ["y"], strides=list(product.strides), group=product.group)
        if product.dilations:
            node.attribute.append(helper.make_attribute("dilations", product.dilations))
    else:
        w[np.arange(product.w[1]) % product.w[0], np.arange(product.w[1])] = SEEN
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(product.x))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "canary", [x], [y], [numpy_helper.from_array(w, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return Runner(model, Precision.FLOAT32, provider=provider).run({"x": np.full(product.x, SEEN)})["y"]
