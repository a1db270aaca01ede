"""Changes that neither the graphs nor the runs may pass: small networks in pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from onnxnull import Running, compare
from onnxnull.comparison.verdicts import Outcome
from onnxnull.errors import ExitCode
from onnxnull.graph.model import open_model
from tests.comparison.small_networks import (
    DECOMPOSED,
    GELU,
    IMAGE,
    LN,
    LN_CONSTANTS,
    MICROSOFT,
    B,
    G,
    K,
    Net,
    V,
    W,
    compared,
    moved,
    node,
    normal,
)
from tests.helpers import model, value

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
    "integers of eight bits wrap": (
        (
            [
                node("Cast", "x", "c", to=TensorProto.INT8),
                node("Mul", "c h", "m"),
                node("Cast", "m", "y", to=TensorProto.FLOAT),
            ],
            {"h": np.array(100, np.int8)},
        ),
        (
            [
                node("Cast", "x", "c", to=TensorProto.INT8),
                node("Cast", "c", "d", to=TensorProto.INT64),
                node("Mul", "d h", "m"),
                node("Cast", "m", "y", to=TensorProto.FLOAT),
            ],
            {"h": np.array(100)},
        ),
        {},
    ),
    "two draws at random are not one": (
        ([node("RandomNormalLike", "x", "a"), node("RandomNormalLike", "x", "b"), node("Sub", "a b", "y")], {}),
        ([node("RandomNormalLike", "x", "a"), node("Sub", "a a", "y")], {}),
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
