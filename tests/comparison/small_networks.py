"""Small networks that are written in several ways, for tests of `compare` on pairs of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from onnxnull import compare
from onnxnull.comparison.results import Comparison
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
    a: Net,
    b: Net,
    folder: Path,
    *,
    shape: Sequence[int] = (1, 6, 8),
    others: Sequence[onnx.ValueInfoProto] = (),
    opsets: Sequence[int] = (20, 20),
    **how: Any,
) -> Comparison:
    """What is said of two networks of x, and of other inputs."""
    for name, (nodes, constants), opset in (("a.onnx", a, opsets[0]), ("b.onnx", b, opsets[1])):
        proto = model(nodes, constants, inputs=[value("x", list(shape)), *others], imports={MICROSOFT: 1})
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


def moved(array: np.ndarray, place: int, by: float) -> np.ndarray:
    changed = array.copy()
    changed.flat[place] += np.float32(by)
    return changed
