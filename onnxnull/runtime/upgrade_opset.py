"""Old operator sets, brought to opset 17: lowerings are written for what came after opset 13.

onnx.version_converter is not used: it does not enter the bodies of control flow and knows no adapter for some operators. What
changed between opset 7 and 17, operator by operator:

1. nothing but more types, or attributes whose default is the old behaviour: copied;
2. attributes became inputs (Clip, Dropout, Pad, ReduceSum, Slice, Split, Squeeze, TopK, Unsqueeze): constants come in;
3. Softmax, LogSoftmax and Hardmax flattened their input at `axis` before opset 13: Flatten and Reshape go around them;
4. Upsample and Resize 10 are Resize with asymmetric coordinates, which onnxruntime rounds down where it enlarges and up where
   it shrinks; Scatter is ScatterElements; RoiAlign shifted no coordinates before opset 16; BatchNormalization's spatial = 1
   became the only way.

An operator that changed and is in none of these classes is refused. Source: ONNX's operator changelog (docs/Changelog.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.protobuf import array_of

if TYPE_CHECKING:
    import onnx

TARGET, LOWERABLE, OLDEST = 17, 13, 7
"""The opset that old models are brought to, the first that lowerings understand, and the first that is read."""

_COMPATIBLE = frozenset(
    [
        "Abs",
        "Add",
        "ArgMax",
        "ArgMin",
        "AveragePool",
        "Cast",
        "Ceil",
        "Compress",
        "Concat",
        "Constant",
        "Conv",
        "ConvTranspose",
        "CumSum",
        "DepthToSpace",
        "DequantizeLinear",
        "Div",
        "Equal",
        "Erf",
        "Exp",
        "Expand",
        "Flatten",
        "Floor",
        "GRU",
        "Gather",
        "GatherElements",
        "GatherND",
        "Gemm",
        "Greater",
        "GreaterOrEqual",
        "Identity",
        "If",
        "IsNaN",
        "LRN",
        "LSTM",
        "LeakyRelu",
        "Less",
        "LessOrEqual",
        "Log",
        "Loop",
        "LpPool",
        "MatMul",
        "Max",
        "MaxPool",
        "MaxUnpool",
        "Mean",
        "MeanVarianceNormalization",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "NonMaxSuppression",
        "NonZero",
        "OneHot",
        "PRelu",
        "Pow",
        "QuantizeLinear",
        "RNN",
        "Reciprocal",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSumSquare",
        "Relu",
        "Reshape",
        "ScatterElements",
        "ScatterND",
        "Shape",
        "Sigmoid",
        "Sign",
        "Size",
        "SpaceToDepth",
        "Sqrt",
        "Sub",
        "Sum",
        "Tanh",
        "Tile",
        "Transpose",
        "Where",
    ]
)


@dataclass(slots=True)
class _Writer:
    """Collects the nodes that replace one old node; `stored` are the small constants of the model, by name."""

    prefix: str
    count: int = 0
    stored: dict[str, np.ndarray] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)

    def name(self) -> str:
        self.count += 1
        return f"{self.prefix}{self.count}"

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        from onnx import helper, numpy_helper

        name = self.name()
        tensor = numpy_helper.from_array(np.asarray(value, dtype=dtype), name)
        self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        return name

    def op(self, op_type: str, inputs: list[str], outputs: list[str] | None = None, **attributes: Any) -> str:
        from onnx import helper

        outputs = outputs or [self.name()]
        self.nodes.append(helper.make_node(op_type, inputs, outputs, **attributes))
        return outputs[0]


_Adapter = Callable[["onnx.NodeProto", dict[str, Any], _Writer], None]


def upgrade_opset(proto: onnx.ModelProto, prefix: str, least: int = LOWERABLE) -> None:
    """Bring the default operator set of `proto` to opset 17, in place, if it is below `least`; floats are float32 or double.

    Raises:
        OnnxnullError: with `no-double-kernel` and the operator's name where that is not possible.
    """
    imported = next((o for o in proto.opset_import if o.domain in ("", "ai.onnx")), None)
    if imported is None or imported.version >= least:
        return
    if imported.version < OLDEST:
        raise OnnxnullError(Code.NO_DOUBLE_KERNEL, f"opset {imported.version}, and onnxruntime runs {OLDEST} and later")
    writer = _Writer(prefix + "opset_")
    _graph(proto.graph, imported.version, writer)
    imported.version = TARGET


def _graph(graph: onnx.GraphProto, version: int, writer: _Writer) -> None:
    import onnx
    from onnx import helper

    nodes: list[onnx.NodeProto] = []
    writer.stored.update((t.name, array_of(t)) for t in graph.initializer if math.prod(t.dims) <= 16)
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].HasField("t") and math.prod(node.attribute[0].t.dims) <= 16:
            writer.stored[node.output[0]] = array_of(node.attribute[0].t)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _graph(attribute.g, version, writer)
        if node.domain not in ("", "ai.onnx") or not _changed(node.op_type, version):
            nodes.append(node)
            continue
        adapter = _ADAPTERS.get(node.op_type)
        if adapter is None:
            raise OnnxnullError(
                Code.NO_DOUBLE_KERNEL, f"{node.op_type} ({node.name!r}) of opset {version} is not brought up to date"
            )
        writer.nodes = []
        adapter(node, {a.name: helper.get_attribute_value(a) for a in node.attribute}, writer)
        nodes.extend(writer.nodes)
    del graph.node[:]
    graph.node.extend(nodes)


def _changed(op_type: str, version: int) -> bool:
    import onnx

    if op_type in _COMPATIBLE:
        return False
    try:
        old = onnx.defs.get_schema(op_type, version, "")
        new = onnx.defs.get_schema(op_type, TARGET, "")
    except onnx.defs.SchemaError:
        return True
    return bool(old.since_version != new.since_version or new.deprecated)


def _axes_to_input(node: onnx.NodeProto, attributes: dict[str, Any], writer: _Writer) -> None:
    inputs = list(node.input)
    axes = attributes.pop("axes", None)
    if axes is not None:
        inputs.append(writer.constant(axes))
    writer.op(node.op_type, inputs, list(node.output), **attributes)


def _split(node: onnx.NodeProto, attributes: dict[str, Any], writer: _Writer) -> None:
    sizes = attributes.pop("split", None)
    inputs = [*node.input, *([] if sizes is None else [writer.constant(sizes)])]
    writer.op("Split", inputs, list(node.output), **attributes)


def _slice(node: onnx.NodeProto, attributes: dict[str, Any], writer: _Writer) -> None:
    if "starts" not in attributes:
        writer.nodes.append(node)
        return
    bounds = [writer.constant(attributes[name]) for name in ("starts", "ends")]
    axes = attributes.get("axes", range(len(attributes["starts"])))
    writer.op("Slice", [node.input[0], *bounds, writer.constant(list(axes))], list(node.output))


def _like(writer: _Writer, value: float, x: str) -> str:
    """A scalar of x's type, whatever that is."""
    return writer.op("CastLike", [writer.constant(value, np.float64), x])


def _pad(node: onnx.NodeProto, attributes: dict[str, Any], writer: _Writer) -> None:
    if len(node.input) > 1:
        writer.nodes.append(node)
        return
    inputs = [node.input[0], writer.constant(attributes["pads"]), _like(writer, attributes.get("value", 0.0), node.input[0])]
    writer.op("Pad", inputs, list(node.output), mode=attributes.get("mode", b"constant"))


def _clip(node: onnx.NodeProto, attributes: dict[str, Any], writer: _Writer) -> None:
    if not attributes:
        writer.nodes.append(node)
        return
    bounds = [_like(writer, attributes[name], node.input[0]) if name in attributes else "" for name in ("min", "max")]
    writer.op("Clip", [node.input[0], *bounds], list(node.output))


def _dropout(node: onnx.NodeProto, attributes: dict[str, Any], writer: _Writer) -> None:
    if len(node.input) > 1:
        writer.nodes.append(node)
    elif len(node.output) > 1 and node.output[1]:
        writer.op("Dropout", [node.input[0]], list(node.output))
    else:
        writer.op("Identity", [node.input[0]], [node.output[0]])


def _batch_normalization(node: onnx.NodeProto, attributes: dict[str, Any], writer: _Writer) -> None:
    if not attributes.pop("spatial", 1) or len([o for o in node.output if o]) > 1:
        raise OnnxnullError(Code.NO_DOUBLE_KERNEL, f"BatchNormalization ({node.name!r}) that trains, or with spatial = 0")
    writer.op("BatchNormalization", list(node.input), [node.output[0]], **attributes)


def _flattened(node: onnx.NodeProto, attributes: dict[str, Any], writer: _Writer) -> None:
    x = node.input[0]
    flat = writer.op(node.op_type, [writer.op("Flatten", [x], axis=attributes.get("axis", 1))], axis=1)
    writer.op("Reshape", [flat, writer.op("Shape", [x])], list(node.output))


def _resize(node: onnx.NodeProto, attributes: dict[str, Any], writer: _Writer) -> None:
    if len(node.input) > 2:
        writer.nodes.append(node)
        return
    if len(node.input) > 1:
        scales = node.input[1]
    else:
        scales = writer.constant(attributes["scales"], np.float32)
    mode = attributes.get("mode", b"nearest")
    factors = np.asarray(attributes.get("scales", writer.stored.get(scales, [])), dtype=np.float64)
    if mode == b"nearest" and not (factors.size and (np.all(factors >= 1) or np.all(factors <= 1))):
        raise OnnxnullError(
            Code.NO_DOUBLE_KERNEL, f"{node.op_type} ({node.name!r}) to nearest by scales that are not known, or up and down"
        )
    writer.op(
        "Resize",
        [node.input[0], "", scales],
        list(node.output),
        mode=mode,
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor" if np.all(factors >= 1) else "ceil",
    )


def _top_k(node: onnx.NodeProto, attributes: dict[str, Any], writer: _Writer) -> None:
    inputs = list(node.input)
    if "k" in attributes:
        inputs.append(writer.constant([attributes.pop("k")]))
    writer.op("TopK", inputs, list(node.output), **attributes)


def _scatter(node: onnx.NodeProto, attributes: dict[str, Any], writer: _Writer) -> None:
    writer.op("ScatterElements", list(node.input), list(node.output), **attributes)


def _roi_align(node: onnx.NodeProto, attributes: dict[str, Any], writer: _Writer) -> None:
    attributes.setdefault("coordinate_transformation_mode", "output_half_pixel")
    writer.op("RoiAlign", list(node.input), list(node.output), **attributes)


_ADAPTERS: dict[str, _Adapter] = {
    "BatchNormalization": _batch_normalization,
    "Clip": _clip,
    "Dropout": _dropout,
    "Hardmax": _flattened,
    "LogSoftmax": _flattened,
    "Pad": _pad,
    "ReduceSum": _axes_to_input,
    "Resize": _resize,
    "RoiAlign": _roi_align,
    "Scatter": _scatter,
    "Slice": _slice,
    "Softmax": _flattened,
    "Split": _split,
    "Squeeze": _axes_to_input,
    "TopK": _top_k,
    "Unsqueeze": _axes_to_input,
    "Upsample": _resize,
}
