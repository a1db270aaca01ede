"""Weights that only a run decides: chosen, scaled, repeated and scanned ones are analysed, others listed, activations neither.

Each case is a small graph with the names of the weights that are found (with "?" where a run decides something about them) and
a word of each reason for what is listed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxnull.analysis.weights import find_weights
from onnxnull.graph.flow import Flow
from tests.helpers import BOOL, FLOAT, INT64, model, opened, run, tensor, value, weight

node = helper.make_node
X = value("x", [2, 4])
I = value("i", [], INT64)
C = value("c", [], BOOL)
W, V = weight(4, 4, seed=1), weight(4, 4, seed=2)
BANK = weight(3, 4, 4, seed=3)
SMALL = {"r": np.array(2), "one": np.array([1]), "zero": np.array([0])}
MEAN = node("ReduceMean", ["x"], ["s"], keepdims=0)


def times(constant: str, x: str = "x", y: str = "y") -> onnx.NodeProto:
    return node("MatMul", [x, constant], [y])


@dataclass
class Graph:
    """Nodes, constants and inputs, and what is to be found."""

    nodes: list[onnx.NodeProto]
    constants: dict[str, Any]
    inputs: list[onnx.ValueInfoProto]
    weights: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    opset: int = 17

    @property
    def proto(self) -> onnx.ModelProto:
        return model(self.nodes, self.constants, inputs=self.inputs, opset=self.opset)


def body(nodes: list[onnx.NodeProto], inputs: list[Any], outputs: list[str], **constants: Any) -> onnx.GraphProto:
    stored = [tensor(name, array) for name, array in constants.items()]
    return helper.make_graph(
        nodes, "body", inputs, [value(name, None, BOOL if name == "on" else FLOAT) for name in outputs], stored
    )


ROUND = [value("n", [], INT64), value("go", [], BOOL)]
GO_ON = node("Identity", ["go"], ["on"])


def loop(nodes: list[onnx.NodeProto], states: dict[str, str], trips: str = "r", scan: list[str] = []) -> onnx.NodeProto:  # noqa: B006
    """A Loop whose states (inner name: initial value) are handed on as name + '2'."""
    inner = body([GO_ON, *nodes], [*ROUND, *(value(name, None) for name in states)], ["on", *(f"{s}2" for s in states), *scan])
    outputs = [f"{s}_end" for s in states] + [f"{s}_all" for s in scan]
    return node("Loop", [trips, "", *states.values()], outputs, name="loop", body=inner)


def scan(nodes: list[onnx.NodeProto], states: dict[str, str], scanned: dict[str, str], **options: Any) -> onnx.NodeProto:
    """A Scan; inner names: outer ones."""
    inner = body(nodes, [value(name, None) for name in (*states, *scanned)], [f"{s}2" for s in states])
    outputs = [f"{s}_end" for s in states]
    return node(
        "Scan", [*states.values(), *scanned.values()], outputs, name="scan", body=inner, num_scan_inputs=len(scanned), **options
    )


def branches(then: str, other: str, condition: str = "c") -> onnx.NodeProto:
    """An If that gives one of two outer values."""
    sides = {
        name: body([node("Identity", [source], [f"{name}_out"])], [], [f"{name}_out"])
        for name, source in (("then_branch", then), ("else_branch", other))
    }
    return node("If", [condition], ["w"], name="choose", **sides)


SLICES = ["B[0]?", "B[1]?", "B[2]?"]

CHOSEN = {
    "gathered by a scalar": Graph([node("Gather", ["B", "i"], ["w"]), times("w")], {"B": BANK}, [X, I], SLICES),
    "gathered by an index of one entry": Graph(
        [node("Gather", ["B", "i"], ["w"]), times("w")], {"B": BANK}, [X, value("i", [1], INT64)], SLICES
    ),
    "gathered along the last axis": Graph(
        [node("Gather", ["B", "i"], ["w"], axis=2), times("w")],
        {"B": BANK[:, :, :2].copy().transpose(1, 0, 2)},
        [X, I],
        ["B[0]?", "B[1]?"],
    ),
    "gathered for each token": Graph(
        [node("Gather", ["B", "i"], ["w"]), times("w")],
        {"B": BANK},
        [value("x", [7, 1, 4]), value("i", [7], INT64)],
        SLICES,
    ),
    "gathered for tokens and top-k": Graph(
        [node("Gather", ["B", "i"], ["w"]), times("w")],
        {"B": BANK},
        [value("x", ["T", 1, 1, 4]), value("i", ["T", 2], INT64)],
        SLICES,
    ),
    "gathered for each token, in an Einsum": Graph(
        [node("Gather", ["B", "i"], ["w"]), node("Einsum", ["x", "w"], ["y"], equation="ti,tio->to")],
        {"B": BANK},
        [value("x", [7, 4]), value("i", [7], INT64)],
        SLICES,
    ),
    "an Einsum that sums over the slices": Graph(
        [node("Gather", ["B", "i"], ["w"]), node("Einsum", ["x", "w"], ["y"], equation="ti,tio->o")],
        {"B": BANK},
        [value("x", [7, 4]), value("i", [7], INT64)],
        listed=["copies or slices"],
    ),
    "gathered, moved and scaled by constants": Graph(
        [
            node("Gather", ["B", "i"], ["g"]),
            node("Squeeze", ["g", "zero"], ["q"]),
            node("Transpose", ["q"], ["t"]),
            node("Mul", ["t", "two"], ["w"]),
            times("w"),
        ],
        {"B": BANK, "zero": np.array([0]), "two": np.float32(2)},
        [X, value("i", [1], INT64)],
        SLICES,
    ),
    "stored flat": Graph(
        [node("Gather", ["B", "i"], ["g"]), node("Reshape", ["g", "shape"], ["w"]), times("w")],
        {"B": BANK.reshape(3, 16), "shape": np.array([4, 4])},
        [X, I],
        SLICES,
    ),
    "two factors that one index picks": Graph(
        [node("Gather", ["A", "i"], ["a"]), node("Gather", ["B", "i"], ["b"]), node("MatMul", ["a", "b"], ["w"]), times("w")],
        {"A": weight(3, 4, 2), "B": weight(3, 2, 4)},
        [X, I],
        ["A[0]?", "A[1]?", "A[2]?"],
    ),
    "two indices": Graph(
        [node("Gather", ["B", "i"], ["b"]), node("Gather", ["b", "j"], ["w"]), times("w")],
        {"B": weight(2, 2, 4, 4)},
        [X, I, value("j", [], INT64)],
        ["B[0][0]?", "B[0][1]?", "B[1][0]?", "B[1][1]?"],
    ),
    "gathered by position": Graph(
        [node("GatherND", ["B", "i"], ["w"]), times("w")], {"B": BANK}, [X, value("i", [1], INT64)], SLICES
    ),
    "filters of a convolution": Graph(
        [node("Gather", ["B", "i"], ["w"]), node("Conv", ["x", "w"], ["y"])],
        {"B": weight(2, 5, 3, 2, 2)},
        [value("x", [1, 3, 6, 6]), I],
        ["B[0]?", "B[1]?"],
    ),
    "both weights of an LSTM": Graph(
        [
            node("Gather", ["A", "i"], ["w"]),
            node("Gather", ["B", "i"], ["v"]),
            node("LSTM", ["x", "w", "v"], ["y"], hidden_size=3),
        ],
        {"A": weight(2, 1, 12, 4), "B": weight(2, 1, 12, 3)},
        [value("x", [5, 2, 4]), I],
        ["A[0] [forward]?", "A[1] [forward]?", "B[0] [forward]?", "B[1] [forward]?"],
    ),
    "quantized, with its scale": Graph(
        [
            node("Gather", ["B", "i"], ["q"]),
            node("Gather", ["S", "i"], ["s"]),
            node("DequantizeLinear", ["q", "s"], ["w"]),
            times("w"),
        ],
        {"B": (10 * BANK).astype(np.int8), "S": np.array([0.1, 0.2, 0.3], dtype=np.float32)},
        [X, I],
        SLICES,
    ),
    "fused experts, split and transposed for each token": Graph(
        [
            node("Gather", ["B", "i"], ["g"]),
            node("Squeeze", ["g", "one"], ["q"]),
            node("Split", ["q"], ["gate", "up"], axis=1),
            node("Transpose", ["gate"], ["w"], perm=[0, 2, 1]),
            times("w", y="a"),
            node("Slice", ["up", "zero", "one", "two"], ["cut"]),
            node("Transpose", ["cut"], ["v"], perm=[0, 2, 1]),
            times("v", y="b"),
        ],
        {"B": weight(2, 6, 4), "zero": np.array([0]), "one": np.array([1]), "two": np.array([2])},
        [value("x", ["T", 1, 4]), value("i", ["T", 1], INT64)],
        ["B[0]?", "B[0]?", "B[1]?", "B[1]?"],
    ),
    "learned queries of an Attention, in a batch": Graph(
        [
            node("Shape", ["x"], ["n"], end=1),
            node("Concat", ["n", "rest"], ["to"], axis=0),
            node("Expand", ["Q", "to"], ["q"]),
            node("Attention", ["q", "x", "x"], ["y"], q_num_heads=2, kv_num_heads=2),
        ],
        {"Q": weight(1, 6, 4), "rest": np.array([6, 4])},
        [value("x", ["N", "T", 4])],
        ["Q [query]?"],
        opset=23,
    ),
    "too many": Graph(
        [node("Gather", ["B", "i"], ["w"]), times("w")],
        {"B": weight(300, 2, 2)},
        [value("x", [2, 2]), I],
        listed=["300 slices"],
    ),
    "Where by one condition": Graph(
        [node("Where", ["c", "W", "V"], ["w"]), times("w")], {"W": W, "V": V}, [X, C], ["V?", "W?"]
    ),
    "If": Graph([branches("W", "V"), times("w")], {"W": W, "V": V}, [X, C], ["V?", "W?"]),
    "If by a constant": Graph([branches("W", "V"), times("w")], {"W": W, "V": V, "c": np.array(False)}, [X], ["V"]),
    "If, or what another layer makes": Graph(
        [times("V", y="h"), branches("W", "h"), times("w")], {"W": W, "V": V}, [value("x", [4, 4]), C], ["V", "W?"]
    ),
    "a weight and its bias, both from one If": Graph(
        [
            branches("W", "V"),
            node("Where", ["c", "u", "v"], ["b"]),
            node("Gemm", ["x", "w", "b"], ["y"]),
        ],
        {"W": W, "V": V, "u": weight(4), "v": weight(4, seed=5)},
        [X, C],
        ["V?", "W?"],
    ),
    "out of a sequence": Graph(
        [node("SequenceConstruct", ["W", "V"], ["q"]), node("SequenceAt", ["q", "i"], ["w"]), times("w")],
        {"W": W, "V": V},
        [X, I],
        ["V[1]?", "W[0]?"],
    ),
    "out of a split sequence": Graph(
        [node("SplitToSequence", ["B"], ["q"], axis=0, keepdims=0), node("SequenceAt", ["q", "i"], ["w"]), times("w")],
        {"B": BANK},
        [X, I],
        SLICES,
    ),
    "a low-rank update that is switched on": Graph(
        [
            node("MatMul", ["A", "B"], ["ab"]),
            node("Add", ["W", "ab"], ["both"]),
            node("Where", ["c", "both", "W"], ["w"]),
            times("w"),
        ],
        {"A": weight(4, 1), "B": weight(1, 4), "W": W},
        [X, C],
        ["W?", "W?"],
    ),
    "normalised in the graph": Graph(
        [
            node("Gather", ["B", "i"], ["g"]),
            node("ReduceL2", ["g"], ["norm"], axes=[0]),
            node("Div", ["g", "norm"], ["w"]),
            times("w"),
        ],
        {"B": BANK},
        [X, I],
        SLICES,
    ),
}

SCALED = {
    "by a number": Graph([MEAN, node("Mul", ["W", "s"], ["w"]), times("w")], {"W": W}, [X], ["W?"]),
    "by a number that was expanded": Graph(
        [MEAN, node("Expand", ["s", "shape"], ["e"]), node("Neg", ["e"], ["f"]), node("Mul", ["f", "W"], ["w"]), times("w")],
        {"W": W, "shape": np.array([4, 4])},
        [X],
        ["W?"],
    ),
    "divided by a number": Graph([MEAN, node("Div", ["W", "s"], ["w"]), times("w")], {"W": W}, [X], ["W?"]),
    "rows": Graph([node("Mul", ["W", "s"], ["w"]), times("w")], {"W": W}, [X, value("s", [4, 1])], ["W?"]),
    "columns, transposed": Graph(
        [node("Mul", ["W", "s"], ["m"]), node("Transpose", ["m"], ["w"]), times("w")], {"W": W}, [X, value("s", [4, 1])], ["W?"]
    ),
    "rows and columns": Graph(
        [node("Mul", ["W", "s"], ["m"]), node("Div", ["m", "t"], ["w"]), times("w")],
        {"W": W},
        [X, value("s", [4, 1]), value("t", [1, 4])],
        ["W?"],
    ),
    "parts of rows": Graph(
        [node("Mul", ["B", "s"], ["m"]), node("Reshape", ["m", "shape"], ["w"]), times("w")],
        {"B": weight(4, 2, 2), "shape": np.array([4, 4])},
        [X, value("s", [4, 2, 1])],
        listed=["single entries"],
    ),
    "a modulated convolution": Graph(
        [
            node("Mul", ["W", "s"], ["m"]),
            node("Mul", ["m", "m"], ["square"]),
            node("ReduceSum", ["square", "axes"], ["sum"]),
            node("Sqrt", ["sum"], ["d"]),
            node("Div", ["m", "d"], ["n"]),
            node("Reshape", ["n", "shape"], ["w"]),
            node("Conv", ["x", "w"], ["y"]),
        ],
        {"W": weight(1, 5, 3, 2, 2), "axes": np.array([2, 3, 4]), "shape": np.array([5, 3, 2, 2])},
        [value("x", [1, 3, 6, 6]), value("s", [1, 1, 3, 1, 1])],
        ["W?"],
    ),
    "dequantized by a scale of the run": Graph(
        [node("DequantizeLinear", ["Q", "s"], ["w"], axis=1), times("w")],
        {"Q": (20 * W).astype(np.int8)},
        [X, value("s", [4])],
        ["Q?"],
    ),
    "a low-rank update that is faded in": Graph(
        [node("MatMul", ["A", "B"], ["ab"]), MEAN, node("Mul", ["ab", "s"], ["m"]), node("Add", ["W", "m"], ["w"]), times("w")],
        {"A": weight(4, 1), "B": weight(1, 4), "W": W},
        [X],
        listed=["scales parts"],
    ),
    "by a row of a table": Graph(
        [node("Gather", ["E", "i"], ["e"]), node("Mul", ["W", "e"], ["w"]), times("w")],
        {"E": weight(9, 4), "W": W},
        [X, value("i", [1], INT64)],
        ["W?"],
    ),
    "a slice, scaled": Graph(
        [node("Gather", ["B", "i"], ["g"]), MEAN, node("Mul", ["g", "s"], ["w"]), times("w")], {"B": BANK}, [X, I], SLICES
    ),
    "a product written as Mul and ReduceSum": Graph(
        [node("Unsqueeze", ["x", "two"], ["u"]), node("Mul", ["u", "W"], ["m"]), node("ReduceSum", ["m", "one"], ["y"])],
        {"W": W, "two": np.array([2]), "one": np.array([1])},
        [X],
        ["W"],
    ),
}

REPEATED = {
    "over a batch": Graph(
        [
            node("Shape", ["x"], ["n"], end=1),
            node("Concat", ["n", "hw"], ["to"], axis=0),
            node("Expand", ["W", "to"], ["w"]),
            times("w"),
        ],
        {"W": W, "hw": np.array([4, 4])},
        [value("x", ["N", "T", 4])],
        ["W?"],
    ),
    "reshaped to what its size leaves open": Graph(
        [node("Reshape", ["W", "to"], ["w"]), times("w")],
        {"W": weight(16)},
        [X, value("to", [2], INT64)],
        listed=["Reshape"],
    ),
    "sliced by bounds of the run": Graph(
        [node("Slice", ["W", "zero", "n", "zero"], ["w"]), node("Gemm", ["x", "w"], ["y"])],
        {"W": W, "zero": np.array([0])},
        [value("x", [2, None]), value("n", [1], INT64)],
        listed=["Slice"],
    ),
    "tiled": Graph([node("Tile", ["W", "n"], ["w"]), times("w")], {"W": W}, [X, value("n", [2], INT64)], listed=["Tile"]),
}

MASKED = {
    "by a computed mask": Graph(
        [node("Where", ["m", "W", "none"], ["w"]), times("w")],
        {"W": W, "none": np.float32(0)},
        [X, value("m", [4, 4], BOOL)],
        listed=["masks"],
    ),
    "by two constants and a mask": Graph(
        [node("Where", ["m", "W", "V"], ["w"]), times("w")], {"W": W, "V": V}, [X, value("m", [4, 4], BOOL)], listed=["masks"]
    ),
    "by booleans": Graph(
        [node("Cast", ["m"], ["f"], to=FLOAT), node("Mul", ["W", "f"], ["w"]), times("w")],
        {"W": W},
        [X, value("m", [4, 4], BOOL)],
        listed=["masks"],
    ),
    "shifted by a number that was expanded": Graph(
        [
            MEAN,
            node("Mul", ["s", "none"], ["o"]),
            node("Expand", ["o", "shape"], ["e"]),
            node("Add", ["W", "e"], ["w"]),
            times("w"),
        ],
        {"W": W, "none": np.float32(0), "shape": np.array([4, 4])},
        [X],
        listed=["shifts"],
    ),
    "scattered": Graph(
        [node("ScatterND", ["none", "j", "W"], ["w"]), times("w")],
        {"W": W, "none": np.zeros((4, 4), np.float32)},
        [X, value("j", [4, 1], INT64)],
        listed=["places"],
    ),
    "shifted by 0 · mean": Graph(
        [MEAN, node("Mul", ["s", "none"], ["o"]), node("Add", ["W", "o"], ["w"]), times("w")],
        {"W": W, "none": np.float32(0)},
        [X],
        listed=["shifts"],
    ),
    "quantized in the graph, scaled": Graph(
        [
            MEAN,
            node("Mul", ["W", "s"], ["m"]),
            node("DynamicQuantizeLinear", ["m"], ["q", "qs", "qz"]),
            node("MatMulInteger", ["codes", "q", "", "qz"], ["y"]),
        ],
        {"W": W},
        [X, value("codes", [2, 4], TensorProto.UINT8)],
        listed=["scales parts"],
    ),
    "quantized by a scale of the run": Graph(
        [node("QuantizeLinear", ["W", "s"], ["q"]), node("DequantizeLinear", ["q", "s"], ["w"]), times("w")],
        {"W": W},
        [X, value("s", [])],
        listed=["dequantized"],
    ),
    "members of a sequence that a loop puts together": Graph(
        [
            node("SequenceEmpty", [], ["q"]),
            loop(
                [MEAN, node("Mul", ["W", "s"], ["m"]), node("SequenceInsert", ["l", "m"], ["l2"])],
                {"l": "q"},
            ),
            node("ConcatFromSequence", ["l_end"], ["w"], axis=1),
            times("w"),
        ],
        SMALL | {"W": W},
        [X],
        listed=["changes it"],
    ),
    "transposed by an Einsum": Graph(
        [MEAN, node("Add", ["W", "s"], ["a"]), node("Einsum", ["a"], ["w"], equation="ij->ji"), times("w")],
        {"W": W},
        [X],
        listed=["shifts"],
    ),
    "signs": Graph(
        [MEAN, node("Add", ["W", "s"], ["a"]), node("Sign", ["a"], ["w"]), times("w")], {"W": W}, [X], listed=["shifts"]
    ),
    "shifted behind an If": Graph(
        [branches("W", "V"), MEAN, node("Add", ["w", "s"], ["u"]), times("u")], {"W": W, "V": V}, [X, C], listed=["shifts"]
    ),
    "an embedding added to a weight": Graph(
        [node("Gather", ["E", "i"], ["e"]), node("Add", ["W", "e"], ["w"]), times("w")],
        {"E": weight(9, 4), "W": W},
        [X, value("i", [1], INT64)],
        listed=["shifts"],
    ),
    "clipped": Graph(
        [MEAN, node("Min", ["W", "s"], ["w"]), times("w")],
        {"W": W},
        [X],
        listed=["bounds"],
    ),
    "drawn": Graph(
        [node("RandomNormalLike", ["x"], ["d"]), node("Transpose", ["d"], ["w"]), times("w")],
        {},
        [X],
        listed=["RandomNormalLike"],
    ),
}

LOOPS = {
    "scanned": Graph([scan([times("w", "h", "h2")], {"h": "x"}, {"w": "B"})], {"B": BANK}, [X], SLICES),
    "scanned backwards along the last axis": Graph(
        [scan([times("w", "h", "h2")], {"h": "x"}, {"w": "B"}, scan_input_axes=[2], scan_input_directions=[1])],
        {"B": np.ascontiguousarray(BANK.transpose(1, 2, 0))},
        [X],
        SLICES,
    ),
    "several weights a step": Graph(
        [
            scan(
                [node("Gemm", ["h", "w", "b"], ["g"], transB=1), node("Relu", ["g"], ["a"]), times("v", "a", "h2")],
                {"h": "x"},
                {"w": "A", "b": "biases", "v": "B"},
            )
        ],
        {"A": weight(2, 5, 4), "biases": weight(2, 5), "B": weight(2, 5, 4)},
        [X],
        ["A[0]?", "A[1]?", "B[0]?", "B[1]?"],
    ),
    "convolutions in a scan": Graph(
        [scan([node("Conv", ["h", "w"], ["h2"], pads=[1, 1, 1, 1])], {"h": "x"}, {"w": "B"})],
        {"B": weight(2, 3, 3, 3, 3)},
        [value("x", [1, 3, 5, 5])],
        ["B[0]?", "B[1]?"],
    ),
    "gathered by the round": Graph(
        [loop([node("Gather", ["B", "n"], ["w"]), times("w", "h", "h2")], {"h": "x"})],
        SMALL | {"B": BANK},
        [X],
        ["B[0]?", "B[1]?"],  # two rounds: the third slice is not used
    ),
    "sliced by the round, as jax exports layers": Graph(
        [
            loop(
                [
                    node("Unsqueeze", ["n", "zero"], ["start"]),
                    node("Add", ["start", "one"], ["stop"]),
                    node("Slice", ["B", "start", "stop", "zero"], ["cut"]),
                    node("Squeeze", ["cut", "zero"], ["w"]),
                    times("w", "h", "h2"),
                ],
                {"h": "x"},
                trips="three",
            )
        ],
        SMALL | {"B": BANK, "three": np.array(3)},
        [X],
        SLICES,
    ),
    "by a round that the caller counts": Graph(
        [loop([node("Gather", ["B", "n"], ["w"]), times("w", "h", "h2")], {"h": "x"}, trips="rounds")],
        {"B": BANK},
        [X, value("rounds", [], INT64)],
        SLICES,
    ),
    "gathered by a state that counts": Graph(
        [
            loop(
                [node("Gather", ["B", "k"], ["w"]), times("w", "h", "h2"), node("Add", ["k", "step"], ["k2"])],
                {"k": "start", "h": "x"},
            )
        ],
        SMALL | {"B": BANK, "start": np.array(2), "step": np.array(-1)},
        [X],
        ["B[1]?", "B[2]?"],
    ),
    "gathered by a state that another rule changes": Graph(
        [
            loop(
                [
                    node("Reshape", ["k", "one"], ["j"]),
                    node("Gather", ["B", "j"], ["w"]),
                    times("w", "h", "h2"),
                    node("Mul", ["k", "k"], ["k2"]),
                ],
                {"k": "start", "h": "x"},
            )
        ],
        SMALL | {"B": BANK, "start": np.array(1)},
        [X],
        SLICES,
    ),
    "carried unchanged": Graph(
        [loop([node("Identity", ["w"], ["w2"]), times("w", "h", "h2")], {"w": "W", "h": "x"})], SMALL | {"W": W}, [X], ["W"]
    ),
    "carried out of a loop": Graph(
        [loop([node("Identity", ["w"], ["w2"]), node("Relu", ["h"], ["h2"])], {"w": "W", "h": "x"}), times("w_end", "h_end")],
        SMALL | {"W": W},
        [X],
        ["W"],
    ),
    "carried and captured": Graph([loop([times("W", "h", "h2")], {"h": "x"})], SMALL | {"W": W}, [X], ["W"]),
    "carried and changed": Graph(
        [loop([node("Mul", ["w", "tenth"], ["w2"]), times("w", "h", "h2")], {"w": "W", "h": "x"})],
        SMALL | {"W": W, "tenth": np.float32(0.1)},
        [X],
        listed=["changes it"],
    ),
    "grown by a loop, multiplied behind it": Graph(
        [loop([MEAN, node("Add", ["w", "s"], ["w2"])], {"w": "W"}), times("w_end")],
        SMALL | {"W": W},
        [X],
        listed=["changes it"],
    ),
    "stacked by a loop": Graph(
        [
            loop([MEAN, node("Mul", ["W", "s"], ["k"]), node("Identity", ["h"], ["h2"])], {"h": "x"}, scan=["k"]),
            times("k_all"),
        ],
        SMALL | {"W": W},
        [X],
        listed=["stacks"],
    ),
    "a loop in a scan": Graph(
        [
            scan(
                [loop([times("w", "g", "g2")], {"g": "h"}), node("Identity", ["g_end"], ["h2"])],
                {"h": "x"},
                {"w": "B"},
            )
        ],
        SMALL | {"B": BANK},
        [X],
        SLICES,
    ),
    "an If in a scan": Graph(
        [scan([branches("v", "V"), times("w", "h", "h2")], {"h": "x"}, {"v": "B"})],
        {"B": BANK, "V": V},
        [X, C],
        [*SLICES, "V?"],
    ),
    "a learned state that attention reads first": Graph(
        [
            loop(
                [times("s", "x", "q"), node("Transpose", ["x"], ["t"]), times("x", "t", "k"), node("Add", ["s", "k"], ["s2"])],
                {"s": "W"},
                scan=["q"],
            )
        ],
        SMALL | {"W": W},
        [value("x", [4, 4])],
        ["W?"],
    ),
}

HEALTHY = {
    "attention": Graph(
        [
            times("W", y="q"),
            times("V", y="k"),
            node("Transpose", ["k"], ["t"]),
            node("MatMul", ["q", "t"], ["scores"]),
            node("Softmax", ["scores"], ["p"]),
            times("x", "p"),
        ],
        {"W": W, "V": V},
        [X],
        ["V", "W"],
    ),
    "rotary embeddings": Graph(
        [
            times("W", y="q"),
            node("Slice", ["cos", "zero", "T", "zero"], ["c"]),
            node("Mul", ["q", "c"], ["r"]),
            node("Transpose", ["r"], ["t"]),
            node("MatMul", ["q", "t"], ["y"]),
        ],
        {"W": W, "cos": weight(9, 4), "zero": np.array([0])},
        [X, value("T", [1], INT64)],
        ["W"],
    ),
    "positions, sliced and added": Graph(
        [
            node("Slice", ["P", "zero", "T", "zero"], ["p"]),
            node("Add", ["x", "p"], ["h"]),
            node("Transpose", ["h"], ["t"]),
            node("MatMul", ["h", "t"], ["y"]),
        ],
        {"P": weight(9, 4), "zero": np.array([0])},
        [X, value("T", [1], INT64)],
    ),
    "relative positions behind a projection": Graph(
        [
            node("Slice", ["P", "zero", "T", "zero"], ["p"]),
            times("W", "p", "k"),
            node("Transpose", ["k"], ["t"]),
            node("MatMul", ["x", "t"], ["y"]),
        ],
        {"P": weight(9, 4), "W": W, "zero": np.array([0])},
        [X, value("T", [1], INT64)],
        ["W"],
    ),
    "an embedding and its tied transpose": Graph(
        [
            node("Gather", ["E", "i"], ["h"]),
            node("Transpose", ["E"], ["t"]),
            node("LayerNormalization", ["h", "gain"], ["n"]),
            times("t", "n"),
        ],
        {"E": weight(9, 4), "gain": weight(4)},
        [value("i", [2, 5], INT64)],
        ["E"],
    ),
    "two embeddings multiplied": Graph(
        [
            node("Gather", ["E", "i"], ["a"]),
            node("Gather", ["F", "i"], ["b"]),
            node("Transpose", ["b"], ["t"]),
            times("t", "a"),
        ],
        {"E": weight(9, 4), "F": weight(9, 4)},
        [value("i", [5], INT64)],
    ),
    "one token, through a projection": Graph(
        [node("Gather", ["E", "i"], ["e"]), times("W", "e", "k"), node("Transpose", ["k"], ["t"]), times("t")],
        {"E": weight(9, 4), "W": W},
        [X, value("i", [1], INT64)],
        ["W"],
    ),
    "a hypernetwork": Graph(
        [times("G", y="g"), node("Reshape", ["g", "shape"], ["w"]), times("w", "z")],
        {"G": weight(4, 8), "shape": np.array([4, 4])},
        [X, value("z", [3, 4])],
        ["G"],
    ),
    "a residual on a hypernetwork": Graph(
        [times("G", y="g"), node("Reshape", ["g", "shape"], ["a"]), node("Add", ["W", "a"], ["w"]), times("w", "z")],
        {"G": weight(4, 8), "shape": np.array([4, 4]), "W": W},
        [X, value("z", [3, 4])],
        ["G"],
    ),
    "learned queries in a batch": Graph(
        [
            node("Shape", ["x"], ["n"], end=1),
            node("Concat", ["n", "rest"], ["to"], axis=0),
            node("Expand", ["Q", "to"], ["e"]),
            times("W", "e", "q"),
            node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
            node("MatMul", ["q", "t"], ["y"]),
        ],
        {"Q": weight(1, 6, 4), "rest": np.array([6, 4]), "W": W},
        [value("x", ["N", "T", 4])],
        ["W"],
    ),
    "a class token before the patches": Graph(
        [
            node("Shape", ["x"], ["n"], end=1),
            node("Concat", ["n", "rest"], ["to"], axis=0),
            node("Expand", ["K", "to"], ["e"]),
            node("Concat", ["e", "x"], ["h"], axis=1),
            node("Transpose", ["h"], ["t"], perm=[0, 2, 1]),
            node("MatMul", ["h", "t"], ["y"]),
        ],
        {"K": weight(1, 1, 4), "rest": np.array([1, 4])},
        [value("x", ["N", "T", 4])],
    ),
    "an adjacency matrix with loops": Graph(
        [times("W", y="h"), node("Add", ["A", "eye"], ["a"]), node("MatMul", ["a", "h"], ["y"])],
        {"W": W, "eye": np.eye(2, dtype=np.float32)},
        [X, value("A", [2, 2])],
        ["W"],
    ),
    "a layer scale": Graph(
        [node("Mul", ["x", "gain"], ["h"]), node("Transpose", ["h"], ["t"]), node("MatMul", ["h", "t"], ["y"])],
        {"gain": weight(4)},
        [X],
    ),
    "a scale for each token": Graph(
        [
            node("ReduceMean", ["x"], ["m"], axes=[1]),
            node("Mul", ["m", "gain"], ["h"]),
            node("Transpose", ["h"], ["t"]),
            node("MatMul", ["h", "t"], ["y"]),
        ],
        {"gain": weight(4)},
        [X],
    ),
    "linear attention from zeros": Graph(
        [
            loop(
                [times("s", "x", "q"), node("Transpose", ["x"], ["t"]), times("x", "t", "k"), node("Add", ["s", "k"], ["s2"])],
                {"s": "none"},
                scan=["q"],
            )
        ],
        SMALL | {"none": np.zeros((4, 4), np.float32)},
        [value("x", [4, 4])],
    ),
    "a recurrent net from a learned state": Graph(
        [
            scan(
                [times("W", "h", "a"), times("V", "s", "b"), node("Add", ["a", "b"], ["d"]), node("Tanh", ["d"], ["h2"])],
                {"h": "start"},
                {"s": "x"},
            )
        ],
        {"W": W, "V": V, "start": weight(1, 4)},
        [value("x", [5, 1, 4])],
        ["V", "W"],
    ),
    "keys and values that are cached": Graph(
        [
            times("W", y="k"),
            node("ScatterND", ["cache", "j", "k"], ["keys"]),
            node("Transpose", ["keys"], ["t"]),
            node("MatMul", ["x", "t"], ["y"]),
        ],
        {"W": W, "cache": np.zeros((9, 4), np.float32)},
        [X, value("j", [2, 1], INT64)],
        ["W"],
    ),
    "noise added to an activation": Graph(
        [
            node("RandomNormalLike", ["x"], ["e"]),
            node("Add", ["x", "e"], ["h"]),
            node("Transpose", ["h"], ["t"]),
            node("MatMul", ["h", "t"], ["y"]),
        ],
        {},
        [X],
    ),
    "a mask of scores": Graph(
        [
            node("Transpose", ["x"], ["t"]),
            node("MatMul", ["x", "t"], ["s"]),
            node("Where", ["m", "s", "low"], ["n"]),
            node("MatMul", ["n", "x"], ["y"]),
        ],
        {"low": np.float32(-1e9)},
        [X, value("m", [2, 2], BOOL)],
    ),
}

GRAPHS = {
    f"{group}: {name}": graph
    for group, graphs in {
        "chosen": CHOSEN,
        "scaled": SCALED,
        "repeated": REPEATED,
        "masked": MASKED,
        "loops": LOOPS,
        "healthy": HEALTHY,
    }.items()
    for name, graph in graphs.items()
}


@pytest.mark.parametrize("name", GRAPHS)
def test_what_is_found(name: str, tmp_path: Path) -> None:
    graph = GRAPHS[name]
    weights, unsupported = find_weights(Flow(opened(graph.proto, tmp_path)))
    found = sorted(w.name + ("?" if any(use.condition for _, use in w.uses) else "") for w in weights)
    assert found == sorted(graph.weights)
    assert len(unsupported) == len(graph.listed), unsupported
    for listed, word in zip(unsupported, graph.listed, strict=True):
        assert word in listed.reason


@pytest.mark.parametrize("domain", ["com.microsoft", "org.example"])
@pytest.mark.parametrize("op", ["GatherND", "Trilu", "Pad", "ExpandDims"])
def test_a_name_says_nothing_in_another_domain(op: str, domain: str, tmp_path: Path) -> None:
    """onnxruntime's operators move the entries of a bank of weights; what one of that name does elsewhere is not known."""
    nodes = [node(op, ["B", "i"], ["w"], domain=domain), times("w")]
    given = [X, value("i", [1], INT64)]
    proto = model(nodes, {"B": BANK}, inputs=given, imports={domain: 1})
    weights, unsupported = find_weights(Flow(opened(proto, tmp_path)))
    assert not weights
    (listed,) = unsupported
    expected = f"op {op} selects" if domain == "com.microsoft" else f"operator {domain}.{op} is not known"
    assert expected in listed.reason


def session_choices(graph: Graph) -> list[dict[str, Any]]:
    """Feeds of the index or the condition, one per slice or branch, in the order of the weights."""
    names = {i.name for i in graph.inputs}
    shape = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in graph.inputs}
    if "c" in names:
        return [{"c": np.array(False)}, {"c": np.array(True)}]
    return [{"i": np.full(shape["i"], number)} for number in range(len(graph.weights))]


@pytest.mark.parametrize(
    "name",
    [
        "gathered by a scalar",
        "gathered by an index of one entry",
        "gathered along the last axis",
        "gathered for each token",
        "gathered, moved and scaled by constants",
        "stored flat",
        "two factors that one index picks",
        "gathered by position",
        "filters of a convolution",
        "quantized, with its scale",
        "Where by one condition",
        "If",
        "out of a sequence",
        "out of a split sequence",
        "a low-rank update that is switched on",
        "normalised in the graph",
    ],
)
def test_a_slice_is_what_the_session_multiplies_by(name: str, tmp_path: Path) -> None:
    graph = CHOSEN[name]
    weights, _ = find_weights(Flow(opened(graph.proto, tmp_path)))
    by_index = sorted(weights, key=lambda w: w.use.index)  # Where and If: the second branch comes first
    x = np.random.default_rng(7).standard_normal([d.dim_value for d in graph.inputs[0].type.tensor_type.shape.dim])
    x = x.astype(np.float32)
    for feed, found in zip(session_choices(graph), by_index, strict=True):
        assert found.use.activation == 0
        expected = found.use.linear_map(found.use.matrix(), x.shape).apply(x.astype(np.float64))
        (y,) = run(graph.proto, {"x": x} | feed)
        np.testing.assert_allclose(y, expected.reshape(y.shape), rtol=2e-5, atol=2e-5)


def test_each_token_meets_its_slice_in_an_einsum(tmp_path: Path) -> None:
    graph = CHOSEN["gathered for each token, in an Einsum"]
    weights, _ = find_weights(Flow(opened(graph.proto, tmp_path)))
    x, picked = weight(7, 4, seed=8), np.arange(7) % 3
    (y,) = run(graph.proto, {"x": x, "i": picked})
    expected = np.stack([row @ weights[slice_].blocks()[0] for row, slice_ in zip(x, picked, strict=True)])
    np.testing.assert_allclose(y, expected, rtol=2e-5, atol=2e-5)


FACTORS: dict[str, dict[str, Any]] = {
    "by a number": {},
    "divided by a number": {},
    "rows": {"s": weight(4, 1, seed=11)},
    "columns, transposed": {"s": weight(4, 1, seed=12)},
    "rows and columns": {"s": weight(4, 1, seed=13), "t": weight(1, 4, seed=14)},
    "dequantized by a scale of the run": {"s": np.abs(weight(4, seed=15))},
}


@pytest.mark.parametrize("name", FACTORS)
def test_a_scaled_weight_sees_as_much_as_the_session_shows(name: str, tmp_path: Path) -> None:
    # of rank 3, so that a wrong claim of full rank would show
    graph = SCALED[name]
    rng = np.random.default_rng(5)
    deficient = rng.integers(-3, 4, (4, 3)) @ rng.integers(-3, 4, (3, 4))
    stored = {k: deficient.astype(v.dtype) if np.ndim(v) == 2 else v for k, v in graph.constants.items()}
    changed = Graph(graph.nodes, stored, graph.inputs, graph.weights)
    (found,) = find_weights(Flow(opened(changed.proto, tmp_path)))[0]
    (rank,) = {int(np.linalg.matrix_rank(block.astype(np.float64))) for block in found.blocks()}
    x = np.ones((2, 4), np.float32)
    columns = []
    for row in np.eye(4, dtype=np.float32) + 1:
        x[:] = row
        mean = x.mean() if name.endswith("number") else 1.0
        factor = mean if name == "by a number" else 1 / mean
        (y,) = run(changed.proto, {"x": x} | FACTORS[name])
        columns.append(y[0] / factor)
    executed = np.linalg.matrix_rank(np.stack(columns).astype(np.float64), tol=1e-3)
    assert (rank, executed) == (3, 3)


def test_slices_of_a_scan_are_what_the_session_multiplies_by(tmp_path: Path) -> None:
    graph = LOOPS["scanned"]
    weights, _ = find_weights(Flow(opened(graph.proto, tmp_path)))
    x = weight(2, 4, seed=9)
    expected = x.astype(np.float64)
    for found in weights:
        expected = expected @ found.blocks()[0]
    (y,) = run(graph.proto, {"x": x})
    np.testing.assert_allclose(y, expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["sliced by the round, as jax exports layers", "gathered by the round"])
def test_slices_of_a_loop_are_what_the_session_multiplies_by(name: str, tmp_path: Path) -> None:
    graph = LOOPS[name]
    weights, _ = find_weights(Flow(opened(graph.proto, tmp_path)))
    x = weight(2, 4, seed=9)
    expected = x.astype(np.float64)
    for found in weights:
        expected = expected @ found.blocks()[0]
    (y,) = run(graph.proto, {"x": x})
    np.testing.assert_allclose(y, expected, rtol=1e-4)


@pytest.mark.parametrize("seed", range(60))
def test_a_scaled_weight_that_is_analysed_has_its_rank(seed: int, tmp_path: Path) -> None:
    # a constant is moved and scaled at random; where it is analysed, the session multiplies by a matrix of the reported rank
    rng = np.random.default_rng(seed)
    stored = np.einsum("ar,br,cr->abc", *(rng.integers(-3, 4, (n, 2)) for n in (4, 2, 3))).astype(np.float32)
    nodes, inputs, feeds, constants = [], [], {}, {"W": stored}
    shape, name = list(stored.shape), "W"
    for step in range(int(rng.integers(1, 5))):
        after = f"w{step}"
        match rng.integers(3):
            case 0:
                perm = [int(axis) for axis in rng.permutation(len(shape))]
                nodes.append(node("Transpose", [name], [after], perm=perm))
                shape = [shape[axis] for axis in perm]
            case 1:
                cut = int(rng.integers(1, len(shape))) if len(shape) > 1 else 1
                shape = (
                    [int(np.prod(shape[:cut])), *shape[cut:]] if rng.integers(2) else [*shape[:cut], int(np.prod(shape[cut:]))]
                )
                constants[f"to{step}"] = np.array(shape)
                nodes.append(node("Reshape", [name, f"to{step}"], [after]))
            case _:
                factor = [dim if rng.integers(3) == 0 else 1 for dim in shape]
                factor[int(np.argmax(shape))] = 1  # of the constant's own size it would be an activation
                inputs.append(value(f"f{step}", factor))
                feeds[f"f{step}"] = rng.uniform(0.5, 2, factor).astype(np.float32)
                nodes.append(node(str(rng.choice(["Mul", "Div"])), [name, f"f{step}"], [after]))
        name = after
    rows = int(rng.choice([2, 3, 4, 6, 8, 12]))
    constants["last"] = np.array([rows, stored.size // rows])
    nodes += [node("Reshape", [name, "last"], ["w"]), times("w")]
    proto = model(nodes, constants, inputs=[value("x", [rows, rows]), *inputs])
    weights, unsupported = find_weights(Flow(opened(proto, tmp_path)))
    assert len(weights) + len(unsupported) == 1
    if weights:
        (y,) = run(proto, {"x": np.eye(rows, dtype=np.float32)} | feeds)
        executed = np.linalg.matrix_rank(y.astype(np.float64), tol=1e-4)
        assert np.linalg.matrix_rank(weights[0].blocks()[0].astype(np.float64)) == executed
    else:
        assert "single entries" in unsupported[0].reason
