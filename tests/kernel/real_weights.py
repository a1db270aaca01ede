"""First convolutions of the trained models in <repository>/../shared/models; tests skip where that folder is absent."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from onnxnull.kernel.maps.convolution import Convolution, conv_blocks
from onnxnull.kernel.maps.im2col import ConvGeometry

MODELS = Path(__file__).resolve().parents[3] / "shared" / "models"


def first_convolution(file: str, spatial: tuple[int, ...] | None = None) -> Convolution:
    """The model's first Conv on inputs of the size `spatial`, or of the size that the model states."""
    path = MODELS / file
    if not path.exists():
        pytest.skip(f"{path} is not there")
    model = onnx.load(path)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    constants |= {node.output[0]: node.attribute[0].t for node in model.graph.node if node.op_type == "Constant"}
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    weight = numpy_helper.to_array(constants[node.input[1]])
    if spatial is None:
        sizes = next(v for v in model.graph.input if v.name == node.input[0]).type.tensor_type.shape.dim
        spatial = tuple(dim.dim_value for dim in sizes[2:])
    axes = weight.ndim - 2
    geometry = ConvGeometry.of(
        spatial,
        weight.shape[2:],
        channels=weight.shape[1] * attributes.get("group", 1),
        strides=tuple(attributes.get("strides", [1] * axes)),
        dilations=tuple(attributes.get("dilations", [1] * axes)),
        pads=tuple(attributes.get("pads", [0] * 2 * axes)),
        groups=attributes.get("group", 1),
    )
    return Convolution(geometry, conv_blocks(weight, geometry.groups))
