"""Rewrites in threes: two files of one function, and a third that is nearly the first one and another function.

onnxruntime itself says which is which: on drawn inputs the first two agree, and the third does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto

from onnxnull import Comparison, compare, open_model
from onnxnull.comparison.verdicts import Outcome
from onnxnull.errors import ExitCode
from tests.comparison.small_networks import MICROSOFT, Net, moved, node, normal
from tests.helpers import model, value

PROVED = (Outcome.IDENTICAL, Outcome.SAME_GRAPH)


class Three(NamedTuple):
    """Two nets that are the same, one that is not, the shape of `x`, and the versions of the opset."""

    a: Net
    b: Net
    near: Net
    shape: Sequence[int | str] = (2, 4, 6)
    opsets: tuple[int, int, int] = (20, 20, 20)
    axes: int = 3


W, K, B = normal(6, 6), normal(4, 4, 3, 3), normal(4)
TABLE = np.arange(4, dtype=np.int64)
LSTM = {"lw": normal(1, 12, 6, size=0.5), "lr": normal(1, 12, 3, size=0.5), "lb": normal(1, 24, size=0.5)}
ONE, HALF = np.array([1]), np.float32(0.5)


def compared(first: Path, second: Path) -> Comparison:
    return compare(open_model(first), open_model(second), weights=False)


def sized(index: int, rest: Sequence[int]) -> Net:
    """Reshape to one dimension of x and `rest`, as torch writes it down."""
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s i", "d"),
        node("Unsqueeze", "d zero", "u"),
        node("Concat", "u rest", "t", axis=0),
        node("Relu", "x", "r"),
        node("Reshape", "r t", "y"),
    ]
    return nodes, {"i": np.array(index), "zero": np.array([0]), "rest": np.array(rest)}


def grouped(rows: int, columns: int) -> Net:
    """Softmax between two Reshapes, as the version converter writes that of opset 11 down."""
    nodes = [node("Reshape", "x s", "f"), node("Softmax", "f", "p", axis=1), node("Reshape", "p t", "y")]
    return nodes, {"s": np.array([rows, columns]), "t": np.array([2, 4, 6])}


def moved_attention(inner: Sequence[int], joined: Sequence[int], turned: Sequence[int]) -> Net:
    """A Transpose with the axes in front of it joined, as torch's exporter writes attention down."""
    nodes = [
        node("Reshape", "x a", "r"),
        node("Transpose", "r", "t", perm=[0, 2, 1, 3]),
        node("Reshape", "t b", "j"),
        node("Transpose", "j", "jt", perm=[0, 2, 1]),
        node("Reshape", "jt c", "y"),
    ]
    return nodes, {"a": np.array(inner), "b": np.array(joined), "c": np.array(turned)}


def from_zeros(start: float) -> Net:
    """An LSTM whose initial state is written down."""
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s one", "n"),
        node("Concat", "one n three", "d", axis=0),
        node("Expand", "start d", "h"),
        node("LSTM", "x lw lr lb - h h", "all last -", hidden_size=3),
        node("Squeeze", "all one", "y"),
    ]
    return nodes, {**LSTM, "one": ONE, "three": np.array([3]), "start": np.float32(start)}


def with_token(*, order: int) -> Net:
    """A constant in front, in the layout that optimisers choose."""
    token = normal(2, 6, 1) if order == 2 else TOKEN.transpose(0, 2, 1).copy()
    return [node("Concat", "k x", "c", axis=2), node("Transpose", "c", "y", perm=[0, 2, 1])], {"k": token}


TOKEN = normal(2, 1, 6)
CUBE = [node("Sqrt", "p", "s"), node("Mul", "s s", "s2"), node("Mul", "s2 s", "y")]
THREES: dict[str, Three] = {
    "a cube of a root": Three(
        ([node("Abs", "x", "p"), *CUBE], {}),
        ([node("Abs", "x", "p"), node("Sqrt", "p", "s"), node("Pow", "s e", "y")], {"e": np.float32(3)}),
        ([node("Abs", "x", "p"), node("Sqrt", "p", "s"), node("Mul", "p p", "q"), node("Mul", "q s", "y")], {}),
    ),
    "sums of tensors in two layouts": Three(
        (
            [
                node("Transpose", "x", "t", perm=[0, 2, 1]),
                node("Transpose", "t", "u", perm=[0, 2, 1]),
                node("MatMul", "u w", "m"),
                node("Tanh", "x", "h"),
                node("Add", "m h", "y"),
            ],
            {"w": W},
        ),
        (
            [
                node("MatMul", "x w", "m"),
                node("Transpose", "m", "mt", perm=[0, 2, 1]),
                node("Transpose", "x", "t", perm=[0, 2, 1]),
                node("Tanh", "t", "h"),
                node("Add", "mt h", "s"),
                node("Transpose", "s", "y", perm=[0, 2, 1]),
            ],
            {"w": W},
        ),
        (
            [
                node("MatMul", "x w", "m"),
                node("Reshape", "m turned", "mt"),
                node("Transpose", "x", "t", perm=[0, 2, 1]),
                node("Tanh", "t", "h"),
                node("Add", "mt h", "s"),
                node("Transpose", "s", "y", perm=[0, 2, 1]),
            ],
            {"w": W, "turned": np.array([2, 6, 4])},
        ),
    ),
    "a constant beside what is transposed": Three(
        ([node("Transpose", "x", "t", perm=[0, 2, 1]), node("Concat", "k t", "y", axis=1)], {"k": TOKEN}),
        with_token(order=1),
        with_token(order=2),
        (2, 6, 4),
    ),
    "a Concat of sums of constants": Three(
        ([node("Add", "k z", "c"), node("Concat", "c x", "y", axis=1)], {"k": TOKEN[:1], "z": np.zeros((2, 1, 1), np.float32)}),
        ([node("Concat", "k x", "y", axis=1)], {"k": np.concatenate([TOKEN[:1], TOKEN[:1]])}),
        ([node("Concat", "k x", "y", axis=1)], {"k": TOKEN}),
    ),
    "Softmax between reshapes": Three(
        ([node("Softmax", "x", "y", axis=2)], {}), grouped(8, 6), grouped(2, 24), opsets=(13, 13, 13)
    ),
    "a Transpose of joined axes": Three(
        (
            [node("Reshape", "x a", "r"), node("Transpose", "r", "y", perm=[0, 2, 3, 1])],
            {"a": np.array([2, 4, 3, 2])},
        ),
        moved_attention([2, 4, 3, 2], [6, 4, 2], [2, 3, 2, 4]),
        moved_attention([2, 4, 3, 2], [2, 12, 2], [2, 3, 2, 4]),
    ),
    "a size that a run decides": Three(
        sized(0, [6, -1]),
        ([node("Relu", "x", "r"), node("Reshape", "r t", "y")], {"t": np.array([0, 6, -1])}),
        sized(1, [6, -1]),
        ("n", "m", 6),
    ),
    "what is left over, written out": Three(
        ([node("Reshape", "x t", "r"), node("Relu", "r", "y")], {"t": np.array([0, 1, -1, 6])}),
        ([node("Unsqueeze", "x one", "r"), node("Relu", "r", "y")], {"one": ONE}),
        ([node("Unsqueeze", "x two", "r"), node("Relu", "r", "y")], {"two": np.array([2])}),
        ("n", "m", 6),
    ),
    "keepdims of a mean of sizes that are open": Three(
        ([node("ReduceMean", "x one", "m", keepdims=0), node("Unsqueeze", "m one", "y")], {"one": ONE}),
        ([node("ReduceMean", "x one", "y", keepdims=1)], {"one": ONE}),
        ([node("ReduceMean", "x one", "m", keepdims=0), node("Unsqueeze", "m two", "y")], {"one": ONE, "two": np.array([2])}),
        ("n", "m", 6),
    ),
    "an LSTM that starts from zeros": Three(
        from_zeros(0.0),
        ([node("LSTM", "x lw lr lb", "all last -", hidden_size=3), node("Squeeze", "all one", "y")], {**LSTM, "one": ONE}),
        from_zeros(0.5),
        ("m", "n", 6),
    ),
    "FusedMatMul behind which sizes are read": Three(
        (
            [node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "t x", "m"), node("Reshape", "m s", "y")],
            {"s": np.array([0, 36])},
        ),
        (
            [node("FusedMatMul", "x x", "m", domain=MICROSOFT, transA=1), node("Flatten", "m", "y")],
            {},
        ),
        (
            [node("FusedMatMul", "x x", "m", domain=MICROSOFT, transA=1, alpha=1.5), node("Flatten", "m", "y")],
            {},
        ),
    ),
}


def write(net: Net, path: Path, shape: Sequence[int | str], opset: int, kind: int = TensorProto.FLOAT) -> None:
    """A file of these nodes."""
    proto = model(net[0], net[1], inputs=[value("x", list(shape), kind)], imports={MICROSOFT: 1})
    proto.opset_import[0].version = opset
    path.write_bytes(proto.SerializeToString())


def ran(path: Path, x: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return np.asarray(ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0])


@pytest.mark.parametrize("name", THREES)
def test_what_is_the_same_and_what_is_nearly(name: str, tmp_path: Path) -> None:
    three = THREES[name]
    a, b, near = (tmp_path / f"{part}.onnx" for part in ("a", "b", "near"))
    for net, path, opset in zip((three.a, three.b, three.near), (a, b, near), three.opsets, strict=True):
        write(net, path, three.shape, opset)
    sizes = [size if isinstance(size, int) else {"n": 2, "m": 5}[size] for size in three.shape]
    x = np.random.default_rng(1).standard_normal(sizes)
    outputs = [ran(path, x.astype(np.float32)) for path in (a, b, near)]
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-4, atol=1e-5)
    assert outputs[2].shape != outputs[0].shape or np.max(np.abs(outputs[2] - outputs[0])) > 1e-3
    for first, second in ((a, b), (b, a)):
        assert compared(first, second).outcome in PROVED
    for first, second in ((a, near), (near, a), (b, near)):
        assert compared(first, second).exit_code() is not ExitCode.PASS


def quantized(scale: float, zero: int, *, relu: bool = False) -> Net:
    """MatMul, a quantizer of 8 bits, and what reads it."""
    nodes = [node("MatMul", "x w", "m")]
    source = "m"
    if relu:
        nodes.append(node("Relu", "m", "r"))
        source = "r"
    nodes += [
        node("QuantizeLinear", f"{source} s z", "q"),
        node("DequantizeLinear", "q s z", "d"),
        node("MatMul", "d v", "y"),
    ]
    return nodes, {"w": W, "v": W.T.copy(), "s": np.float32(scale), "z": np.uint8(zero)}


def floats(*activation: onnx.NodeProto) -> Net:
    last = activation[-1].output[0] if activation else "m"
    return [node("MatMul", "x w", "m"), *activation, node("MatMul", f"{last} v", "y")], {
        **{"w": W, "v": W.T.copy()},
        **{"low": np.float32(0), "six": np.float32(6)},
    }


RELU, CLIP = node("Relu", "m", "r"), node("Clip", "m low six", "r")
SWALLOWED: list[tuple[str, Net, Net, bool]] = [
    ("a Relu that a zero point swallowed", floats(RELU), quantized(0.1, 0), True),
    ("a Relu in front of it", floats(RELU), quantized(0.1, 0, relu=True), True),
    ("a range that begins at 0 where nothing is negative in the data", floats(), quantized(0.1, 0), True),
    ("a Clip that the range swallowed", floats(CLIP), quantized(6 / 255, 0), True),
    ("no Relu", floats(), quantized(0.1, 128), True),
    ("a Relu that got lost", floats(RELU), quantized(0.1, 128), False),
    ("a Clip that got lost", floats(CLIP), quantized(20 / 255, 0), False),
]


@pytest.mark.parametrize(("a", "b", "explained"), [case[1:] for case in SWALLOWED], ids=[case[0] for case in SWALLOWED])
def test_what_a_quantizer_cuts_off(a: Net, b: Net, explained: bool, tmp_path: Path) -> None:
    """Either way round; without data nothing passes."""
    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    write(a, first, (2, 4, 6), 20)
    write(b, second, (2, 4, 6), 20)
    for one, other in ((first, second), (second, first)):
        found = compared(one, other)
        assert found.graph is not None
        assert (found.graph.proved, found.exit_code()) == (explained, ExitCode.INCOMPLETE)


CODES = np.random.default_rng(3).integers(-100, 100, (9, 5)).astype(np.int8)


@pytest.mark.parametrize(
    ("off", "step", "outcome"),
    [
        (0.0, 0.03, Outcome.SAME_GRAPH),
        (0.01, 0.03, Outcome.QUANTIZED),
        (0.02, 0.03, Outcome.DIFFERENT),
        (0.0, 0.031, Outcome.DIFFERENT),
    ],
)
def test_rows_of_codes(off: float, step: float, outcome: Outcome, tmp_path: Path) -> None:
    """Rows that are picked from codes, and scaled then: half a step is the quantizer's; another scale is another table."""
    table = (CODES.astype(np.float32) - 3) * np.float32(0.03)
    table[2, 2] += np.float32(off)
    constants = {"t": CODES, "s": np.float32(step), "z": np.int8(3)}
    write(([node("Gather", "t x", "y")], {"t": table}), tmp_path / "a.onnx", (1, 7), 20, TensorProto.INT64)
    picked = [node("Gather", "t x", "g"), node("Squeeze", "g z0", "q"), node("DequantizeLinear", "q s z", "d")]
    back = [node("Unsqueeze", "d z0", "y")]
    write((picked + back, {**constants, "z0": np.array([0])}), tmp_path / "b.onnx", (1, 7), 20, TensorProto.INT64)
    assert compared(tmp_path / "a.onnx", tmp_path / "b.onnx").outcome is outcome


@pytest.mark.parametrize("changed", [False, True])
def test_what_onnxruntime_blocks(changed: bool, tmp_path: Path) -> None:
    """Its offline files, whatever this machine's blocks are: 5 channels do not fill them."""
    weights: dict[str, Any] = {"k": normal(5, 3, 3, 3), "b": normal(5), "v": normal(2, 5, 1, 1), "t": np.float32(3)}
    nodes = [
        node("Conv", "x k b", "c", pads=[1, 1, 1, 1]),
        node("HardSigmoid", "c", "h"),
        node("Mul", "c h", "m"),
        node("Conv", "m v", "y"),
    ]
    write((nodes, weights), tmp_path / "a.onnx", (1, 3, 9, 9), 20)
    source = tmp_path / "a.onnx"
    if changed:
        source = tmp_path / "changed.onnx"
        write((nodes, {**weights, "v": moved(weights["v"], 3, 0.01)}), source, (1, 3, 9, 9), 20)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    options.optimized_model_filepath = str(tmp_path / "b.onnx")
    ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    found = compared(tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert (found.outcome is Outcome.SAME_GRAPH) is not changed
    assert found.exit_code() is (ExitCode.PASS if not changed else found.exit_code())
