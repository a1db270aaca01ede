"""Small models for the command line, written where a test wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from tests.helpers import model

node = helper.make_node


def write(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, Any], inputs: list[onnx.ValueInfoProto]) -> None:
    path.write_bytes(model(nodes, constants, inputs=inputs).SerializeToString())
