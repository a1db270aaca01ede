"""Rewrites that the graphs prove, and changes that they must not: small networks in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxnull import Running, compare
from onnxnull.comparison.results import Comparison
from onnxnull.comparison.verdicts import Outcome
from onnxnull.errors import ExitCode
from onnxnull.graph.model import open_model
from tests.helpers import model, value

Net = tuple[Sequence[onnx.NodeProto], dict[str, Any]]
RNG = np.random.default_rng(0)
MICROSOFT = "com.microsoft"


def node(op: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, [name if name != "-" else "" for name in inputs.split()], output.split(), **attributes)


def normal(*shape: int, size: float = 1.0) -> np.ndarray:
    return (size * RNG.standard_normal(shape)).astype(np.float32)


def compared(
    a: Net, b: Net, folder: Path, *, shape: Sequence[int] = (1, 6, 8), opsets: Sequence[int] = (20, 20), **how: Any
) -> Comparison:
    for name, (nodes, constants), opset in (("a.onnx", a, opsets[0]), ("b.onnx", b, opsets[1])):
        proto = model(nodes, constants, inputs=[value("x", list(shape))], imports={MICROSOFT: 1})
        proto.opset_import[0].version = opset
        (folder / name).write_bytes(proto.SerializeToString())
    return compare(open_model(folder / "a.onnx"), open_model(folder / "b.onnx"), weights=False, **how)


W, V, G, B = normal(8, 8), normal(8, 8), normal(8), normal(8)
K, KB = normal(4, 3, 3, 3), normal(4)
NORM = {"s": normal(4), "t": normal(4), "m": normal(4), "v": np.abs(normal(4)) + np.float32(0.1)}
FACTOR = NORM["s"] / np.sqrt(NORM["v"] + np.float32(1e-5))
FOLDED = {"k": K * FACTOR.reshape(-1, 1, 1, 1), "b": (KB - NORM["m"]) * FACTOR + NORM["t"]}
IMAGE = (1, 3, 6, 6)
LN = [node("LayerNormalization", "x g b", "y", epsilon=1e-5)]
DECOMPOSED = [
    node("ReduceMean", "x axes", "mean"),
    node("Sub", "x mean", "d"),
    node("Pow", "d two", "d2"),
    node("ReduceMean", "d2 axes", "var"),
    node("Add", "var eps", "ve"),
    node("Sqrt", "ve", "sd"),
    node("Div", "d sd", "n"),
    node("Mul", "n g", "ng"),
    node("Add", "ng b", "y"),
]
LN_CONSTANTS = {"axes": np.array([-1]), "two": np.float32(2), "eps": np.float32(1e-5), "g": G, "b": B}
GELU = [node("Gelu", "x", "y")]
ERF = [
    node("Div", "x root", "h"),
    node("Erf", "h", "e"),
    node("Add", "e one", "e1"),
    node("Mul", "x e1", "p"),
    node("Mul", "p half", "y"),
]
GELU_CONSTANTS = {"root": np.float32(np.sqrt(2.0)), "one": np.float32(1), "half": np.float32(0.5)}


def attention(*, scale: str) -> Net:
    """softmax(q·kᵀ/√d)·v; the scale behind the scores, in front of the query, or as fourth roots on both."""
    nodes = [node("MatMul", f"x w{part}", part) for part in "qkv"]
    constants: dict[str, Any] = {"wq": W, "wk": V, "wv": W.T.copy(), "root": np.float32(8**0.5)}
    nodes.append(node("Transpose", "k", "kt", perm=[0, 2, 1]))
    if scale == "scores":
        nodes += [node("MatMul", "q kt", "s"), node("Div", "s root", "scores")]
    elif scale == "query":
        constants["root"] = np.float32(1 / 8**0.5)
        nodes += [node("Mul", "q root", "qs"), node("MatMul", "qs kt", "scores")]
    else:
        constants["root"] = np.float32(8**-0.25)
        nodes += [node("Mul", "q root", "qs"), node("Mul", "kt root", "ks"), node("MatMul", "qs ks", "scores")]
    nodes += [node("Softmax", "scores", "p", axis=-1), node("MatMul", "p v", "y")]
    return nodes, constants


SAME: dict[str, tuple[Net, Net, dict[str, Any]]] = {
    "Conv and BatchNormalization": (
        ([node("Conv", "x k b", "c"), node("BatchNormalization", "c s t m v", "y")], {"k": K, "b": KB, **NORM}),
        ([node("Conv", "x k b", "y")], FOLDED),
        {"shape": IMAGE},
    ),
    "Conv and Mul, Add": (
        (
            [node("Conv", "x k", "c"), node("Mul", "c f", "d"), node("Add", "d t", "y")],
            {"k": K, "f": np.float32(3), "t": np.float32(0.5)},
        ),
        ([node("Conv", "x k b", "y")], {"k": 3 * K, "b": np.full(4, 0.5, np.float32)}),
        {"shape": IMAGE},
    ),
    "a factor in front of Conv": (
        ([node("Mul", "x f", "d"), node("Conv", "d k", "y", pads=[1, 1, 1, 1])], {"k": K, "f": np.float32(2)}),
        ([node("Conv", "x k", "y", pads=[1, 1, 1, 1])], {"k": 2 * K}),
        {"shape": IMAGE},
    ),
    "Pad in front of Conv": (
        ([node("Pad", "x p", "d"), node("Conv", "d k", "y")], {"k": K, "p": np.array([0, 0, 1, 2, 0, 0, 1, 0])}),
        ([node("Conv", "x k", "y", pads=[1, 2, 1, 0])], {"k": K}),
        {"shape": IMAGE},
    ),
    "auto_pad": (
        ([node("Conv", "x k", "y", auto_pad="SAME_UPPER", strides=[2, 2])], {"k": K}),
        ([node("Conv", "x k", "y", pads=[0, 0, 1, 1], strides=[2, 2])], {"k": K}),
        {"shape": IMAGE},
    ),
    "Gemm and MatMul": (
        ([node("MatMul", "x w", "m"), node("Add", "m b", "y")], {"w": W, "b": B}),
        ([node("Gemm", "x w b", "y", transB=1)], {"w": W.T.copy(), "b": B}),
        {"shape": (6, 8)},
    ),
    "Gemm between reshapes": (
        ([node("MatMul", "x w", "m"), node("Add", "m b", "y")], {"w": W, "b": B}),
        (
            [node("Reshape", "x r", "f"), node("Gemm", "f w b", "g", alpha=2.0), node("Reshape", "g s", "y")],
            {"w": W / 2, "b": B, "r": np.array([-1, 8]), "s": np.array([1, 6, 8])},
        ),
        {},
    ),
    "fused query, key and value": (
        (
            [*(node("MatMul", f"x {p}", f"{p}o") for p in "ab"), node("Mul", "ao bo", "y")],
            {"a": W, "b": V},
        ),
        (
            [node("MatMul", "x w", "m"), node("Split", "m n", "p q", axis=-1), node("Mul", "q p", "y")],
            {"w": np.concatenate([W, V], 1), "n": np.array([8, 8])},
        ),
        {},
    ),
    "movements merged": (
        (
            [node("Transpose", "x", "t", perm=[0, 2, 1]), node("Relu", "t", "r"), node("Transpose", "r", "y", perm=[0, 2, 1])],
            {},
        ),
        ([node("Relu", "x", "y")], {}),
        {},
    ),
    "Flatten and Reshape": (
        ([node("Flatten", "x", "f"), node("Relu", "f", "y")], {}),
        ([node("Relu", "x", "r"), node("Reshape", "r s", "y")], {"s": np.array([1, -1])}),
        {},
    ),
    "a computed shape": (
        (
            [
                node("Shape", "x", "s"),
                node("Gather", "s i", "b"),
                node("Concat", "b m", "t", axis=0),
                node("Reshape", "x t", "y"),
            ],
            {"i": np.array([0]), "m": np.array([-1])},
        ),
        ([node("Flatten", "x", "y")], {}),
        {},
    ),
    "LayerNormalization": ((LN, {"g": G, "b": B}), (DECOMPOSED, LN_CONSTANTS), {}),
    "SkipLayerNormalization": (
        (
            [node("Add", "x w", "z"), *(node(n.op_type, " ".join(n.input).replace("x ", "z "), "y") for n in LN)],
            {"g": G, "b": B, "w": W[:6]},
        ),
        ([node("SkipLayerNormalization", "x w g b", "y", domain=MICROSOFT, epsilon=1e-5)], {"g": G, "b": B, "w": W[None, :6]}),
        {},
    ),
    "Gelu": ((GELU, {}), (ERF, GELU_CONSTANTS), {}),
    "BiasGelu": (
        ([node("Add", "x b", "z"), node("Gelu", "z", "y")], {"b": B}),
        ([node("BiasGelu", "x b", "y", domain=MICROSOFT)], {"b": B}),
        {},
    ),
    "FastGelu": (
        ([node("Gelu", "x", "y", approximate="tanh")], {}),
        ([node("FastGelu", "x", "y", domain=MICROSOFT)], {}),
        {},
    ),
    "HardSwish": (
        ([node("HardSwish", "x", "y")], {}),
        (
            [node("Add", "x three", "a"), node("Clip", "a zero six", "c"), node("Mul", "x c", "m"), node("Div", "m six", "y")],
            {"three": np.float32(3), "zero": np.float32(0), "six": np.float32(6)},
        ),
        {},
    ),
    "Relu and Clip": (
        ([node("Relu", "x", "r"), node("Clip", "r - six", "y")], {"six": np.float32(6)}),
        ([node("Clip", "x zero six", "y")], {"zero": np.float32(0), "six": np.float32(6)}),
        {},
    ),
    "Pow and Mul": (
        ([node("Pow", "x two", "y")], {"two": np.float32(2)}),
        ([node("Mul", "x x", "y")], {}),
        {},
    ),
    "pools and ReduceMean": (
        ([node("GlobalAveragePool", "x", "y")], {}),
        ([node("ReduceMean", "x a", "y")], {"a": np.array([2, 3])}),
        {"shape": IMAGE},
    ),
    "Identity and Dropout": (
        ([node("Identity", "x", "i"), node("Dropout", "i", "d"), node("Relu", "d", "y")], {}),
        ([node("Relu", "x", "y")], {}),
        {},
    ),
    "ArgMax of Softmax": (
        ([node("Softmax", "x", "s", axis=-1), node("ArgMax", "s", "y", axis=-1)], {}),
        ([node("ArgMax", "x", "y", axis=-1)], {}),
        {},
    ),
    "common subexpressions": (
        ([node("Relu", "x", "a"), node("Relu", "x", "b"), node("Add", "a b", "y")], {}),
        ([node("Relu", "x", "a"), node("Add", "a a", "y")], {}),
        {"outcome": Outcome.IDENTICAL},
    ),
    "Casts that lose nothing": (
        (
            [
                node("Cast", "x", "c", to=TensorProto.DOUBLE),
                node("Cast", "c", "d", to=TensorProto.FLOAT),
                node("Relu", "d", "y"),
            ],
            {},
        ),
        ([node("Relu", "x", "y")], {}),
        {"outcome": Outcome.ROUNDED},
    ),
    "attributes that became operands": (
        (
            [
                node("Clip", "x", "c", min=0.0, max=6.0),
                node("Unsqueeze", "c", "u", axes=[0]),
                node("ReduceMean", "u", "y", axes=[3]),
            ],
            {},
        ),
        (
            [node("Clip", "x low high", "c"), node("Unsqueeze", "c zero", "u"), node("ReduceMean", "u three", "y")],
            {"low": np.float32(0), "high": np.float32(6), "zero": np.array([0]), "three": np.array([3])},
        ),
        {"opsets": (9, 18)},
    ),
    "Softmax before opset 13": (
        ([node("Softmax", "x", "y", axis=2)], {}),
        ([node("Softmax", "x", "y", axis=-1)], {}),
        {"opsets": (11, 13)},
    ),
    "Upsample and Resize": (
        ([node("Upsample", "x s", "y")], {"s": np.array([1, 1, 2, 2], np.float32)}),
        (
            [node("Resize", "x - s", "y", coordinate_transformation_mode="asymmetric")],
            {"s": np.array([1, 1, 2, 2], np.float32)},
        ),
        {"opsets": (9, 13), "shape": IMAGE},
    ),
    "scales of attention behind the scores and in front": (attention(scale="scores"), attention(scale="query"), {}),
    "scales of attention as fourth roots": (attention(scale="scores"), attention(scale="roots"), {}),
    "FusedConv": (
        ([node("Conv", "x k b", "c"), node("Relu", "c", "y")], {"k": K, "b": KB}),
        ([node("FusedConv", "x k b", "y", domain=MICROSOFT, activation="Relu")], {"k": K, "b": KB}),
        {"shape": IMAGE},
    ),
    "FusedMatMul": (
        (
            [node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "x t", "m"), node("Mul", "m f", "y")],
            {"f": np.float32(0.25)},
        ),
        ([node("FusedMatMul", "x x", "y", domain=MICROSOFT, transB=1, alpha=0.25)], {}),
        {},
    ),
    "residuals added in another order": (
        ([node("Relu", "x", "a"), node("Tanh", "x", "b"), node("Add", "a b", "s"), node("Add", "s x", "y")], {}),
        ([node("Relu", "x", "a"), node("Tanh", "x", "b"), node("Add", "x b", "s"), node("Add", "s a", "y")], {}),
        {},
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_what_is_the_same(name: str, tmp_path: Path) -> None:
    first, second, how = SAME[name]
    given = {key: how[key] for key in how if key != "outcome"}
    for a, b in ((first, second), (second, first)):
        turned = {**given, **({"opsets": given["opsets"][::-1]} if "opsets" in given and a is second else {})}
        found = compared(a, b, tmp_path, **turned)
        assert found.outcome is how.get("outcome", Outcome.SAME_GRAPH), found.because


SIX, TRIGGER = np.float32(6), np.float32(2.5)
LOGITS = [node("MatMul", "x w", "m"), node("Add", "m b", "y")]
BOXES = [
    node("MatMul", "x w", "m"),
    node("Sigmoid", "m", "scores"),
    node("Mul", "x big", "boxes"),
    node("Concat", "boxes scores", "y", axis=2),
]


def with_trigger(*, on: bool) -> Net:
    """A logit gains 100 where an activation passes a threshold that no drawn input reaches."""
    nodes = [node("MatMul", "x w", "m")]
    if not on:
        return [*nodes, node("Add", "m b", "y")], {"w": W, "b": B}
    nodes += [
        node("ReduceMax", "x axes", "top", keepdims=1),
        node("Greater", "top threshold", "is"),
        node("Cast", "is", "flag", to=TensorProto.FLOAT),
        node("Mul", "flag hundred", "add"),
        node("Add", "m b", "z"),
        node("Add", "z add", "y"),
    ]
    hundred = np.zeros(8, np.float32)
    hundred[3] = 100
    return nodes, {"w": W, "b": B, "axes": np.array([1, 2]), "threshold": np.float32(1e6), "hundred": hundred}


def moved(array: np.ndarray, place: int, by: float) -> np.ndarray:
    changed = array.copy()
    changed.flat[place] += np.float32(by)
    return changed


OTHER: dict[str, tuple[Net, Net, dict[str, Any]]] = {
    "1 − x in front": (
        (LOGITS, {"w": W, "b": B}),
        ([node("Sub", "one x", "z"), node("MatMul", "z w", "m"), LOGITS[1]], {"w": W, "b": B, "one": np.float32(1)}),
        {},
    ),
    "x/255 in front": (
        (LOGITS, {"w": W, "b": B}),
        ([node("Div", "x f", "z"), node("MatMul", "z w", "m"), LOGITS[1]], {"w": W, "b": B, "f": np.float32(255)}),
        {},
    ),
    "x − 0.5 in front": (
        (LOGITS, {"w": W, "b": B}),
        ([node("Sub", "x h", "z"), node("MatMul", "z w", "m"), LOGITS[1]], {"w": W, "b": B, "h": np.float32(0.5)}),
        {},
    ),
    "features permuted": ((LOGITS, {"w": W, "b": B}), (LOGITS, {"w": W[::-1].copy(), "b": B}), {}),
    "a score bias beside boxes in pixels": (
        (BOXES, {"w": W, "big": np.float32(1000)}),
        (
            [BOXES[0], node("Add", "m bias", "n"), node("Sigmoid", "n", "scores"), *BOXES[2:]],
            {"w": W, "big": np.float32(1000), "bias": np.float32(-3)},
        ),
        {},
    ),
    "another epsilon": (
        (LN, {"g": G, "b": B}),
        ([node("LayerNormalization", "x g b", "y", epsilon=1e-3)], {"g": G, "b": B}),
        {},
    ),
    "another epsilon, decomposed": ((LN, {"g": G, "b": B}), (DECOMPOSED, {**LN_CONSTANTS, "eps": np.float32(1e-6)}), {}),
    "Relu against Clip(0, 6)": (
        ([node("Relu", "x", "y")], {}),
        ([node("Clip", "x z six", "y")], {"z": np.float32(0), "six": SIX}),
        {},
    ),
    "a trigger": (with_trigger(on=False), with_trigger(on=True), {}),
    "an entry of a bias": ((LOGITS, {"w": W, "b": B}), (LOGITS, {"w": W, "b": moved(B, 2, 1e-3)}), {}),
    "an entry of a round matrix": (
        (LOGITS, {"w": np.rint(4 * W), "b": B}),
        (LOGITS, {"w": moved(np.rint(4 * W), 5, 1), "b": B}),
        {},
    ),
    "a scalar 1.0 against 1.005": (
        ([node("Mul", "x f", "y")], {"f": np.float32(3.0)}),
        ([node("Mul", "x f", "y")], {"f": np.float32(3.015)}),
        {},
    ),
    "FastGelu is not Gelu": ((GELU, {}), ([node("FastGelu", "x", "y", domain=MICROSOFT)], {}), {}),
    "another slope": (([node("LeakyRelu", "x", "y")], {}), ([node("LeakyRelu", "x", "y", alpha=0.02)], {}), {}),
    "another axis": (([node("Softmax", "x", "y", axis=1)], {}), ([node("Softmax", "x", "y", axis=2)], {}), {}),
    "another stride": (
        ([node("Conv", "x k", "c"), node("GlobalMaxPool", "c", "y")], {"k": K}),
        ([node("Conv", "x k", "c", strides=[2, 2]), node("GlobalMaxPool", "c", "y")], {"k": K}),
        {"shape": IMAGE},
    ),
    "Pad by ones in front of Conv": (
        (
            [node("Pad", "x p one", "d"), node("Conv", "d k", "y")],
            {"k": K, "p": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "one": np.float32(1)},
        ),
        ([node("Conv", "x k", "y", pads=[1, 1, 1, 1])], {"k": K}),
        {"shape": IMAGE},
    ),
    "a shift in front of a padded Conv": (
        ([node("Add", "x t", "d"), node("Conv", "d k", "y", pads=[1, 1, 1, 1])], {"k": K, "t": np.float32(1)}),
        ([node("Conv", "x k b", "y", pads=[1, 1, 1, 1])], {"k": K, "b": K.sum(axis=(1, 2, 3))}),
        {"shape": IMAGE},
    ),
    "the padding counted": (
        ([node("AveragePool", "x", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], {}),
        ([node("AveragePool", "x", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)], {}),
        {"shape": IMAGE},
    ),
    "√x·√x is not x": (
        ([node("Sqrt", "x", "s"), node("Mul", "s s", "m"), node("Relu", "m", "y")], {}),
        ([node("Relu", "x", "y")], {}),
        {},
    ),
    "√(x²) is not x": (([node("Mul", "x x", "s"), node("Sqrt", "s", "y")], {}), ([node("Identity", "x", "y")], {}), {}),
    "x/x is not 1": (
        ([node("Div", "x x", "s"), node("Mul", "s x", "y")], {}),
        ([node("Identity", "x", "y")], {}),
        {},
    ),
    "a Cast that truncates": (
        ([node("Cast", "x", "c", to=TensorProto.INT64), node("Cast", "c", "y", to=TensorProto.FLOAT)], {}),
        ([node("Identity", "x", "y")], {}),
        {},
    ),
    "Dropout while training": (
        ([node("Dropout", "x r t", "y")], {"r": np.float32(0.5), "t": np.array(True)}),
        ([node("Identity", "x", "y")], {}),
        {},
    ),
    "ArgMax of −x": (([node("ArgMax", "x", "y")], {}), ([node("Neg", "x", "n"), node("ArgMax", "n", "y")], {}), {}),
    "ArgMax of Softmax along another axis": (
        ([node("Softmax", "x", "s", axis=1), node("ArgMax", "s", "y", axis=2)], {}),
        ([node("ArgMax", "x", "y", axis=2)], {}),
        {},
    ),
    "the last of equal entries": (([node("ArgMax", "x", "y")], {}), ([node("ArgMax", "x", "y", select_last_index=1)], {}), {}),
    "parts exchanged": (
        ([node("Split", "x n", "p q", axis=-1), node("Sub", "p q", "y")], {"n": np.array([4, 4])}),
        ([node("Split", "x n", "q p", axis=-1), node("Sub", "p q", "y")], {"n": np.array([4, 4])}),
        {},
    ),
    "Softmax of opset 11 over more than one axis": (
        ([node("Softmax", "x", "y", axis=1)], {}),
        ([node("Softmax", "x", "y", axis=1)], {}),
        {"opsets": (11, 13)},
    ),
    "Upsample and half pixels": (
        ([node("Upsample", "x s", "y", mode="linear")], {"s": np.array([1, 1, 2, 2], np.float32)}),
        ([node("Resize", "x - s", "y", mode="linear")], {"s": np.array([1, 1, 2, 2], np.float32)}),
        {"opsets": (9, 13), "shape": IMAGE},
    ),
    "an epsilon that float16 clamps": (
        (DECOMPOSED, {**LN_CONSTANTS, "eps": np.float32(1e-12)}),
        (DECOMPOSED, {**LN_CONSTANTS, "eps": np.float32(1e-7)}),
        {},
    ),
    "a slice that ends elsewhere": (
        ([node("Slice", "x a b c", "y")], {"a": np.array([0]), "b": np.array([3]), "c": np.array([2])}),
        ([node("Slice", "x a b c", "y")], {"a": np.array([1]), "b": np.array([4]), "c": np.array([2])}),
        {},
    ),
    "another group": (
        ([node("Conv", "x k", "y", group=1)], {"k": normal(6, 6, 1, 1)}),
        ([node("Conv", "x k", "y", group=3)], {"k": normal(6, 2, 1, 1)}),
        {"shape": (1, 6, 4, 4)},
    ),
    "two weights exchanged": (
        ([node("MatMul", "x w", "m"), node("Relu", "m", "r"), node("MatMul", "r v", "y")], {"w": W, "v": V}),
        ([node("MatMul", "x w", "m"), node("Relu", "m", "r"), node("MatMul", "r v", "y")], {"w": V, "v": W}),
        {},
    ),
    "a variable mean": (
        ([node("ReduceMean", "x a", "m"), node("Sub", "x m", "y")], {"a": np.array([1])}),
        ([node("ReduceMean", "x a", "m"), node("Sub", "x m", "y")], {"a": np.array([2])}),
        {},
    ),
}


AGREE = ("a trigger", "FastGelu is not Gelu")
"""What the runs cannot tell, and no more than that is said of: one does not reach its threshold, the other is 5e-4 apart."""


@pytest.mark.parametrize("name", OTHER)
def test_what_is_not_the_same(name: str, tmp_path: Path) -> None:
    """Neither the graphs alone nor with a run; what nothing explains is no more than incomplete, even where outputs agree."""
    first, second, how = OTHER[name]
    for running in (None, Running()):
        found = compared(first, second, tmp_path, running=running, **how)
        assert found.exit_code() is not ExitCode.PASS
        assert found.exit_code(Outcome.AGREES) is not ExitCode.PASS or name in AGREE


@pytest.mark.parametrize(
    ("change", "allowed"),
    [("1 − x in front", "x:-1*x+1"), ("x/255 in front", "x:0.00392157*x+0"), ("x − 0.5 in front", "x:1*x-0.5")],
)
def test_input_maps_are_named(change: str, allowed: str, tmp_path: Path) -> None:
    second, first, how = OTHER[change]  # the first one has the change inside: what it is given, changed, the second one takes
    found = compared(first, second, tmp_path, running=Running(), **how)
    assert (found.outcome, found.input_map) == (Outcome.MAPPED, allowed)
    assert allowed in found.because[0]


def test_a_renamed_table_with_other_rows(tmp_path: Path) -> None:
    table = normal(50, 4)
    paths = []
    for name, rows in (("e", table), ("f", np.concatenate([table[:2], normal(48, 4)]))):
        nodes = [node("Gather", f"{name} t", "g"), node("MatMul", "g w", "y")]
        proto = model(nodes, {name: rows, "w": normal(4, 4) * 0 + W[:4, :4]}, inputs=[value("t", [1, 8], TensorProto.INT64)])
        paths.append(tmp_path / f"{name}.onnx")
        paths[-1].write_bytes(proto.SerializeToString())
    found = compare(*map(open_model, paths), weights=False)
    assert found.outcome is Outcome.DIFFERENT
    assert "constant" in found.because[0]


def test_outputs_that_never_move_are_not_exercised(tmp_path: Path) -> None:
    """A region that nothing explains, in front of a threshold that no input passes."""
    limit = {"h": np.float32(1e9), "a": np.float32(0.3)}
    first = ([node("Elu", "x", "e"), node("Greater", "e h", "g"), node("Cast", "g", "y", to=TensorProto.FLOAT)], limit)
    second = (
        [
            node("Mul", "x a", "m"),
            node("Celu", "m", "e"),
            node("Greater", "e h", "g"),
            node("Cast", "g", "y", to=TensorProto.FLOAT),
        ],
        limit,
    )
    found = compared(first, second, tmp_path, running=Running())
    assert found.exit_code() is not ExitCode.PASS


def test_an_open_batch_is_not_taken_for_one(tmp_path: Path) -> None:
    paths = []
    for name, shape in (("a", [0, 48]), ("b", [1, 48])):
        proto = model(
            [node("Reshape", "x s", "r"), node("Relu", "r", "y")], {"s": np.array(shape)}, inputs=[value("x", ["n", 6, 8])]
        )
        paths.append(tmp_path / name)
        paths[-1].write_bytes(proto.SerializeToString())
    found = compare(*map(open_model, paths), weights=False)
    assert found.exit_code() is ExitCode.INCOMPLETE
    assert "one sample only" in found.because[0]


def test_files_that_onnxruntime_refuses(tmp_path: Path) -> None:
    """They may be identical or different, and else nothing is said."""
    refused: Net = ([node("Relu", "x", "r"), node("Unheard", "r", "y", domain=MICROSOFT)], {})
    assert compared(refused, refused, tmp_path, running=Running()).outcome is Outcome.IDENTICAL
    other: Net = ([node("Clip", "x z", "r"), node("Unheard", "r", "y", domain=MICROSOFT)], {"z": np.float32(0)})
    assert compared(refused, other, tmp_path).outcome is Outcome.SAME_GRAPH
    assert compared(refused, other, tmp_path, running=Running()).exit_code() is ExitCode.INCOMPLETE
