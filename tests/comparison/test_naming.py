"""Differences name the node of either file and its attribute or tensor, whatever was folded into what behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxnull.comparison.verdicts import Outcome
from tests.comparison.small_networks import DECOMPOSED, IMAGE, KB, LN_CONSTANTS, NORM, B, G, K, Net, W, compared, moved, node


def called(name: str, op: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    made = node(op, inputs, output, **attributes)
    made.name = name
    return made


def convolutional(*, prefix: str = "", epsilon: float = 1e-5, pads: tuple[int, ...] = (1, 1, 1, 1), **other: np.ndarray) -> Net:
    """Conv, BatchNormalization, Transpose, Relu, MaxPool, Reshape, a product: most of it is folded or moved when it is read."""
    nodes = [
        called(f"{prefix}stem", "Conv", "x k b", "c", pads=pads),
        called(f"{prefix}norm", "BatchNormalization", "c s t m v", "d", epsilon=epsilon),
        called(f"{prefix}turn", "Transpose", "d", "e", perm=[0, 1, 3, 2]),
        called(f"{prefix}relu", "Relu", "e", "r"),
        called(f"{prefix}pool", "MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
        called(f"{prefix}flat", "Reshape", "p f", "g"),
        called(f"{prefix}20_MatMul", "MatMul", "g w", "h"),
        called(f"{prefix}last", "Sigmoid", "h", "y"),
    ]
    head = np.linspace(-1, 1, 27, dtype=np.float32).reshape(9, 3)
    return nodes, {"k": K, "b": KB, **NORM, "f": np.array([1, 4, 9]), "w": head, **other}


def normalised(epsilon: float) -> Net:
    return [called("ln", "LayerNormalization", "x g b", "y", epsilon=epsilon)], {"g": G, "b": B}


def slope(**given: float) -> Net:
    return [called("leaky", "LeakyRelu", "x", "y", **given)], {}


CASES: dict[str, tuple[Net, Net, tuple[int, ...], list[tuple[str, str, str]]]] = {
    "an attribute of a folded convolution": (
        convolutional(),
        convolutional(prefix="b_", pads=(0, 1, 2, 1)),
        IMAGE,
        [("attribute", "Conv 'stem': pads [1, 1, 1, 1]", "Conv 'b_stem': pads [0, 1, 2, 1]")],
    ),
    "its weight": (
        convolutional(),
        convolutional(prefix="b_", k=moved(K, 1, 0.5)),
        IMAGE,
        [("constant", "k at Conv 'stem'", "k at Conv 'b_stem'")],
    ),
    "the scale that was folded into it": (
        convolutional(),
        convolutional(prefix="b_", s=moved(NORM["s"], 1, 0.5)),
        IMAGE,
        [("constant", "s at BatchNormalization 'norm'", "s at BatchNormalization 'b_norm'")],
    ),
    "the epsilon that was": (
        convolutional(),
        convolutional(prefix="b_", epsilon=1e-2),
        IMAGE,
        [("attribute", "BatchNormalization 'norm': epsilon 1e-05", "BatchNormalization 'b_norm': epsilon 0.01")],
    ),
    "a product behind a Reshape": (
        convolutional(),
        convolutional(prefix="b_", w=np.linspace(-1, 2, 27, dtype=np.float32).reshape(9, 3)),
        IMAGE,
        [("constant", "w at MatMul '20_MatMul'", "w at MatMul 'b_20_MatMul'")],
    ),
    "an epsilon": (
        normalised(1e-5),
        normalised(1e-3),
        (1, 6, 8),
        [("attribute", "LayerNormalization 'ln': epsilon 1e-05", "LayerNormalization 'ln': epsilon 0.001")],
    ),
    "an epsilon that is stored in one of them": (
        normalised(1e-5),
        (DECOMPOSED, {**LN_CONSTANTS, "eps": np.float32(1e-3)}),
        (1, 6, 8),
        [("constant", "LayerNormalization 'ln': epsilon 1e-05", "eps at Add 'Add_4'")],
    ),
    "a default": (
        slope(),
        slope(alpha=0.5),
        (1, 6, 8),
        [("attribute", "LeakyRelu 'leaky': alpha 0.01", "LeakyRelu 'leaky': alpha 0.5")],
    ),
    "two attributes": (
        ([called("pool", "MaxPool", "x", "y", kernel_shape=[3, 3], ceil_mode=1, strides=[2, 2])], {}),
        ([called("pool", "MaxPool", "x", "y", kernel_shape=[2, 2], strides=[2, 2])], {}),
        IMAGE,
        [
            ("attribute", "MaxPool 'pool': ceil_mode 1", "MaxPool 'pool': ceil_mode 0"),
            ("attribute", "MaxPool 'pool': kernel_shape [3, 3]", "MaxPool 'pool': kernel_shape [2, 2]"),
        ],
    ),
    "a slice of a fused weight": (
        ([called("qkv", "MatMul", "x w", "m"), called("cut", "Split", "m n", "p q", axis=-1), node("Mul", "p q", "y")], {}),
        ([called("q", "MatMul", "x w", "p"), called("k", "MatMul", "x v", "q"), node("Mul", "p q", "y")], {}),
        (1, 6, 8),
        [("constant", "w at MatMul 'qkv'", "v at MatMul 'k'")],
    ),
}
CASES["a slice of a fused weight"][0][1].update({"w": np.concatenate([W, W.T], 1), "n": np.array([8, 8])})
CASES["a slice of a fused weight"][1][1].update({"w": W, "v": moved(W.T, 3, 0.5)})


@pytest.mark.parametrize("name", CASES)
def test_where_two_graphs_differ(name: str, tmp_path: Path) -> None:
    first, second, shape, expected = CASES[name]
    found = compared(first, second, tmp_path, shape=shape)
    assert found.outcome is Outcome.DIFFERENT, found.because
    assert sorted({(d.what, d.a, d.b) for d in found.graph.differences}) == expected
    assert len(found.because) == len(expected)  # each place is named once, in words
    assert all(a in said and b in said for said, (_, a, b) in zip(sorted(found.because), expected, strict=True))
