"""Rewrites that the graphs prove: small networks in pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from onnxnull.comparison.verdicts import Outcome
from tests.comparison.small_networks import (
    DECOMPOSED,
    ERF,
    FOLDED,
    GELU,
    GELU_CONSTANTS,
    IMAGE,
    KB,
    LN,
    LN_CONSTANTS,
    MICROSOFT,
    NORM,
    B,
    G,
    K,
    Net,
    V,
    W,
    attention,
    compared,
    node,
)

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
    "a scale and a shift in front of a product between reshapes": (
        (
            [node("Mul", "x g", "m"), node("Add", "m b", "a"), node("MatMul", "a w", "p"), node("Relu", "p", "y")],
            {"g": G, "b": B, "w": W},
        ),
        (
            [
                node("Mul", "x g", "m"),
                node("Add", "m b", "a"),
                node("Reshape", "a r", "f"),
                node("Gemm", "f w", "p", transB=1),
                node("Reshape", "p s", "q"),
                node("Relu", "q", "y"),
            ],
            {"g": G, "b": B, "w": W.T.copy(), "r": np.array([-1, 8]), "s": np.array([3, 6, 8])},
        ),
        {"shape": (3, 6, 8)},
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
