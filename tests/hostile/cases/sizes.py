"""Files with too much of something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from onnxnull.errors import Code
from tests.hostile.case import harmless, refused
from tests.hostile.cases.bodies import field
from tests.hostile.cases.common import FLOAT, W, X, chain, linear, model, node, repeated, value


def graph_of(content: bytes) -> bytes:
    """A model with more in its graph."""
    data: bytes = linear().SerializeToString()
    return data + field(7, content)


@refused(Code.TOO_LARGE)
def four_million_empty_nodes(folder: Path) -> bytes:
    """Eight megabytes of empty nodes, two bytes each."""
    return graph_of(b"\x0a\x00" * 4_000_000)


@refused(Code.TOO_LARGE)
def four_million_empty_tensors(folder: Path) -> bytes:
    """Eight megabytes of empty initializers, two bytes each."""
    return graph_of(b"\x2a\x00" * 4_000_000)


@refused(Code.TOO_LARGE)
def four_million_empty_names(folder: Path) -> bytes:
    """A node of four million inputs without a name."""
    return graph_of(field(1, b"\x0a\x00" * 4_000_000))


@refused(Code.TOO_LARGE)
def more_nodes_than_the_limit(folder: Path) -> onnx.ModelProto:
    """A chain of 50,001 Relus."""
    return chained("Relu", 50_001)


@refused(Code.TOO_LARGE)
def more_nodes_in_bodies(folder: Path) -> onnx.ModelProto:
    """50,001 nodes, a thousand to each body."""
    branch = helper.make_graph([node("Relu", ["x"], [f"b{i}"]) for i in range(1000)], "body", [], [value("b0", None)])
    many = [node("If", ["c"], [f"y{i}"], then_branch=branch, else_branch=branch) for i in range(26)]
    return model(many, inputs=[X, value("c", [], onnx.TensorProto.BOOL)])


def chained(op: str, count: int) -> onnx.ModelProto:
    nodes = [node(op, ["x" if i == 0 else f"v{i}"], [f"v{i + 1}"]) for i in range(count)]
    return model([*nodes, node("MatMul", [f"v{count}", "W"], ["y"])], {"W": W})


@refused(Code.TOO_LARGE)
def a_hundred_thousand_identities(folder: Path) -> onnx.ModelProto:
    """The weight behind a hundred thousand Identities."""
    return chain(repeated("Identity", 100_000), {"a": W})


@refused(Code.TOO_LARGE)
def a_hundred_thousand_additions(folder: Path) -> onnx.ModelProto:
    """The weight behind a hundred thousand Adds."""
    return chain(repeated("Add", 100_000, ["{}", "a"]), {"a": W})


@harmless
def ten_thousand_identities(folder: Path) -> onnx.ModelProto:
    """The weight behind ten thousand Identities: that is allowed."""
    return chain(repeated("Identity", 10_000), {"a": W})


@harmless
def four_thousand_additions(folder: Path) -> onnx.ModelProto:
    """The weight behind four thousand Adds: that is allowed."""
    return chain(repeated("Add", 4_000, ["{}", "a"]), {"a": W})


@harmless
def four_thousand_steps(folder: Path) -> onnx.ModelProto:
    """The weight behind four thousand Negs of the input."""
    return chained("Neg", 4_000)


@harmless
def a_fan_of_two_thousand(folder: Path) -> onnx.ModelProto:
    """Two thousand branches from one value, and one sum of them all."""
    fan = [node("Neg", ["x"], [f"v{i}"]) for i in range(2000)]
    return model([*fan, node("Sum", [f"v{i}" for i in range(2000)], ["s"]), node("MatMul", ["s", "W"], ["y"])], {"W": W})


@harmless
def diamonds_of_the_input(folder: Path) -> onnx.ModelProto:
    """Two hundred Adds of the input to itself: 2²⁰⁰ paths from the input to the weight."""
    nodes = [node("Add", [("x" if i == 0 else f"v{i}")] * 2, [f"v{i + 1}"]) for i in range(200)]
    return model([*nodes, node("MatMul", ["v200", "W"], ["y"])], {"W": W})


@harmless
def one_weight_in_a_thousand_nodes(folder: Path) -> onnx.ModelProto:
    """One weight, multiplied by a thousand nodes."""
    nodes = [node("MatMul", ["x", "W"], [f"y{i}"]) for i in range(1000)]
    return model(nodes, {"W": W}, outputs=[value("y0", None)])


@harmless
def a_thousand_inputs(folder: Path) -> onnx.ModelProto:
    """A thousand inputs, each of them read by the same weight."""
    inputs = [value(f"x{i}", [2, 4]) for i in range(1000)]
    nodes = [node("MatMul", [f"x{i}", "W"], [f"y{i}"]) for i in range(1000)]
    return model(nodes, {"W": W}, inputs=inputs)


@harmless
def a_thousand_weights(folder: Path) -> onnx.ModelProto:
    """A thousand weights of one entry each."""
    nodes = [node("MatMul", ["x", f"w{i}"], [f"y{i}"]) for i in range(1000)]
    constants = {f"w{i}": np.full((1, 1), i + 1, np.float32) for i in range(1000)}
    return model(nodes, constants, inputs=[value("x", [1, 1], FLOAT)])
