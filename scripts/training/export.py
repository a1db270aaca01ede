"""ONNX files: standard domain only, readable initializer names, nothing of the machine that wrote them."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import ModelProto
from torch import nn

from scripts.training.recipes import Recipe

OPSET = 18


def export(network: nn.Module, recipe: Recipe, path: Path) -> None:
    """Write the network to `path`, its input "image" with a dynamic first dimension "batch"."""
    image = torch.zeros(2, *recipe.input_shape)
    program = torch.onnx.export(
        network,
        (image,),
        input_names=["image"],
        output_names=[recipe.output],
        opset_version=OPSET,
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        verbose=False,
    )
    assert program is not None
    model = anonymous(program.model_proto, recipe.name)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def anonymous(model: ModelProto, name: str) -> ModelProto:
    """The same model without source lines, module traces and exporter versions; nodes named by op and order."""
    model.producer_name, model.producer_version, model.doc_string = "onnxnull", "", ""
    model.graph.name, model.graph.doc_string = name, ""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    for index, node in enumerate(model.graph.node):
        node.name, node.doc_string = f"{index:02d}_{node.op_type}", ""
        del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
    if any(node.domain for node in model.graph.node) or model.functions:
        raise ValueError(f"{name}: an operator outside the standard domain was exported")
    return onnx.shape_inference.infer_shapes(model)
