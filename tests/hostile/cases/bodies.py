"""Nesting: bodies in bodies, functions in functions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import onnx
from onnx import helper

from onnxnull.errors import Code
from tests.hostile.case import harmless, refused
from tests.hostile.cases.common import BOOL, W, X, body, model, node, value

CHOICE = [X, value("c", [], BOOL)]


def nested_ifs(depth: int) -> bytes:
    """A model of `depth` Ifs, each in the branch of the one before: as bytes, since protobuf's library writes no such depth."""
    innermost: bytes = body([node("MatMul", ["x", "W"], ["b"])], "b").SerializeToString()
    other = helper.make_attribute("else_branch", body([node("Identity", ["x"], ["b"])], "b"))
    beside_branch = node("If", ["c"], ["b"]).SerializeToString() + field(5, other.SerializeToString())
    branch = helper.make_attribute("then_branch", body([], "b")).SerializeToString(), onnx.AttributeProto.GRAPH
    beside_graph = field(1, b"then_branch") + b"\xa0\x01" + bytes([branch[1]])  # its name and its type
    beside_node = field(2, b"body") + field(12, value("b", None).SerializeToString())
    before: list[bytes] = []
    size = len(innermost)
    for _ in range(depth):
        for number, rest in ((6, beside_graph), (5, beside_branch), (1, beside_node)):
            head = rest + varint(number << 3 | 2) + varint(size)
            before.append(head)
            size += len(head)
    made = model([], {"W": W}, inputs=CHOICE, outputs=[value("b", None)])
    outer: bytes = made.graph.SerializeToString()
    made.ClearField("graph")
    data: bytes = made.SerializeToString()
    return data + varint(7 << 3 | 2) + varint(len(outer) + size) + outer + b"".join(reversed(before)) + innermost


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def functions(bodies: dict[str, list[onnx.NodeProto]], last: str) -> onnx.ModelProto:
    """A model that calls the function `last` of those given by their nodes, which lead from a to the last output."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    made = [helper.make_function("local", name, ["a"], [each[-1].output[0]], each, opsets) for name, each in bodies.items()]
    return model([call(last, "x", "y")], {"W": W}, functions=made, imports={"local": 1})


def call(name: str, source: str, target: str) -> onnx.NodeProto:
    return node(name, [source], [target], domain="local")


def chained(depth: int, calls: int) -> dict[str, list[onnx.NodeProto]]:
    """Functions each of which calls the one before, several times in a row."""
    names: Sequence[str] = ["a", *(f"b{i}" for i in range(calls))]
    found = {"F0": [node("Relu", ["a"], ["b"])]}
    for i in range(1, depth):
        found[f"F{i}"] = [call(f"F{i - 1}", source, target) for source, target in pairwise(names)]
    return found


@harmless
def twenty_nested_ifs(folder: Path) -> bytes:
    """An If in an If, twenty deep: that is allowed."""
    return nested_ifs(20)


@refused(Code.TOO_LARGE)
def ten_thousand_nested_ifs(folder: Path) -> bytes:
    """An If in an If, ten thousand deep."""
    return nested_ifs(10_000)


@refused(Code.TOO_LARGE)
def nested_types(folder: Path) -> bytes:
    """A sequence of sequences of sequences, ten thousand deep."""
    kind = b""
    for _ in range(10_000):
        kind = field(4, field(1, kind))
    made: bytes = model([], outputs=[value("x", None)]).SerializeToString()
    return made + field(7, field(13, field(1, b"v") + field(2, kind)))


@refused(Code.TOO_LARGE)
def billion_laughs(folder: Path) -> onnx.ModelProto:
    """Functions that call each other ten times each, forty deep: 10⁴⁰ nodes in a few kilobytes."""
    return functions(chained(40, 10), "F39")


@refused(Code.TOO_LARGE)
def laughs_in_branches(folder: Path) -> onnx.ModelProto:
    """The same, the calls in both branches of Ifs."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    made = [helper.make_function("local", "F0", ["a", "c"], ["b"], [node("Relu", ["a"], ["b"])], opsets)]
    for i in range(1, 60):
        branch = body([node(f"F{i - 1}", ["a", "c"], ["t"], domain="local")], "t")
        choose = node("If", ["c"], ["b"], then_branch=branch, else_branch=branch)
        made.append(helper.make_function("local", f"F{i}", ["a", "c"], ["b"], [choose], opsets))
    calls = [node("F59", ["x", "c"], ["y"], domain="local")]
    return model(calls, inputs=CHOICE, functions=made, imports={"local": 1})


@refused(Code.TOO_LARGE)
def functions_five_thousand_deep(folder: Path) -> onnx.ModelProto:
    """Functions each of which calls the one before, five thousand deep."""
    return functions(chained(5000, 1), "F4999")


@refused(Code.INVALID_MODEL)
def function_that_calls_itself(folder: Path) -> onnx.ModelProto:
    """A local function that calls itself."""
    return functions({"F": [call("F", "a", "b")]}, "F")


@refused(Code.INVALID_MODEL)
def functions_that_call_each_other(folder: Path) -> onnx.ModelProto:
    """Three local functions in a ring."""
    return functions({name: [call(other, "a", "b")] for name, other in ("FG", "GH", "HF")}, "F")


@refused(Code.INVALID_MODEL)
def recursion_through_a_branch(folder: Path) -> onnx.ModelProto:
    """A local function that calls itself in the branch of an If."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    again = body([node("F", ["a", "c"], ["t"], domain="local")], "t")
    choose = node("If", ["c"], ["b"], then_branch=again, else_branch=again)
    made = [helper.make_function("local", "F", ["a", "c"], ["b"], [choose], opsets)]
    calls = [node("F", ["x", "c"], ["y"], domain="local")]
    return model(calls, inputs=CHOICE, functions=made, imports={"local": 1})


@refused(Code.INVALID_MODEL)
def recursion_that_nobody_calls(folder: Path) -> onnx.ModelProto:
    """A local function that calls itself, and that the graph does not call."""
    made = functions({"F": [call("F", "a", "b")], "G": [node("Relu", ["a"], ["b"])]}, "G")
    return made


@refused(Code.INVALID_MODEL)
def call_with_too_many_inputs(folder: Path) -> onnx.ModelProto:
    """A local function of one input, called with three."""
    made = functions({"F": [node("Relu", ["a"], ["b"])]}, "F")
    made.graph.node[0].input.extend(["x", "x"])
    return made


@harmless
def function_that_hides_an_operator(folder: Path) -> onnx.ModelProto:
    """A local function named MatMul, in the default domain: the model says what its MatMul is."""
    function = helper.make_function(
        "", "MatMul", ["a", "b"], ["c"], [node("Gemm", ["a", "b"], ["c"])], [helper.make_opsetid("", 17)]
    )
    return model([node("MatMul", ["x", "W"], ["y"])], {"W": W}, functions=[function])
