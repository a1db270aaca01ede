"""No weight is dropped without a word: matrices whose entries a run picks, places, mixes or resizes are analysed or named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import GraphProto, NodeProto, helper

from onnxnull.operators import LinearUse
from tests.helpers import INT64, model, uses, value, weight

node = helper.make_node
W = weight(4, 4)
CONSTANTS: dict[str, Any] = {
    "w": W,
    "v": weight(4, 4, seed=1),
    "bank": weight(2, 4, 4),
    "first": np.array([0]),
    "four": np.array([4]),
    "both": np.array([0, 1]),
    "square": np.array([4, 4]),
    "flat": np.array([8, 4]),
    "pair": np.array([2]),
    "corner": np.array([0, 0]),
    "plain": np.ones(2, np.float32),
    "one": np.float32(1),
}


def steps(text: str) -> list[NodeProto]:
    """Nodes "Op operands > output ; ...", "-" for an operand that is left out; attributes "a=1" are whole numbers."""
    made = []
    for part in text.split(";"):
        left, output = part.split(">")
        operator, *given = left.split()
        attributes: dict[str, Any] = {key: int(number) for key, number in (each.split("=") for each in given if "=" in each)}
        inputs = ["" if each == "-" else each for each in given if "=" not in each]
        made.append(node(operator, inputs, output.split(), **attributes))
    return made


def mapped() -> list[NodeProto]:
    """A SequenceMap over matrices, each of which multiplies x."""
    body: GraphProto = helper.make_graph([node("MatMul", ["x", "e"], ["o"])], "body", [value("e", None)], [value("o", None)])
    last = node("ConcatFromSequence", ["h"], ["y"], axis=0)
    return [node("SequenceConstruct", ["w", "v"], ["s"]), node("SequenceMap", ["s"], ["h"], body=body), last]


FLOATING = "Cast k to=1 > f; "


@pytest.mark.parametrize(
    "nodes",
    [
        steps("Unsqueeze k first > i; GatherND bank i > g; MatMul x g > y"),
        steps("Unsqueeze k first > i; Add i four > e; Reshape bank flat > q; Slice q i e first > g; MatMul x g > y"),
        steps("Cast k to=9 > b; Split bank axis=0 > s t; Where b s t > h; Squeeze h first > g; MatMul x g > y"),
        steps(FLOATING + "Mul w f > a; Sub one f > r; Mul v r > b; Add a b > g; MatMul x g > y"),
        steps("Equal both k > b; Compress bank b axis=0 > h; Squeeze h first > g; MatMul x g > y"),
        steps("Expand k square > i; GatherElements w i axis=1 > g; MatMul x g > y"),
        steps("Expand k square > i; ScatterElements w i v axis=0 > g; MatMul x g > y"),
        steps(FLOATING + "Max w f > g; MatMul x g > y"),
        steps(FLOATING + "Clip w - f > g; MatMul x g > y"),
        steps(
            FLOATING + "Add f one > h; Unsqueeze h first > i; Concat plain i i axis=0 > s; Unsqueeze w both > u;"
            "Resize u - s > r; Squeeze r both > q; Slice q corner square > g; MatMul x g > y"
        ),
        steps("Mul w anything > g; MatMul x g > y"),
        steps("Add w anything > g; MatMul x g > y"),
        mapped(),
    ],
    ids=[
        "tuples",
        "slice",
        "halves",
        "blend",
        "compressed",
        "elements",
        "placed",
        "no-less",
        "no-more",
        "resized",
        "scaled-by-any-rank",
        "shifted-by-any-rank",
        "mapped",
    ],
)
def test_matrices_of_a_run_are_analysed_or_named(nodes: list[NodeProto], tmp_path: Path) -> None:
    inputs = [value("x", [2, 4]), value("k", [], INT64), value("anything", None)]
    found = uses(model(nodes, CONSTANTS, inputs=inputs), tmp_path)
    assert found
    assert all(use.condition or use.index for _, use in found if isinstance(use, LinearUse))


def test_a_table_of_positions_that_is_resized_is_no_weight(tmp_path: Path) -> None:
    """What is added to an activation is one."""
    nodes = steps("Resize table - s > p; Add image p > a; Conv a kernel > y")
    inputs = [value("image", [1, 4, 8, 8]), value("s", [4])]
    found = uses(model(nodes, {"table": weight(1, 4, 2, 2), "kernel": weight(2, 4, 3, 3)}, inputs=inputs), tmp_path)
    assert [isinstance(use, LinearUse) for _, use in found] == [True]
