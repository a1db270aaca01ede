"""onnxruntime's fused attention with masks and biases, against the same written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from onnxnull import Running
from onnxnull.comparison.verdicts import Outcome
from tests.comparison.small_networks import MICROSOFT, Net, compared, node, normal
from tests.helpers import value

WEIGHT, BIAS = normal(8, 24), normal(24)
PARTS = {
    f"{what}{part}": array[..., 8 * i : 8 * i + 8].copy()
    for i, part in enumerate("qkv")
    for what, array in (("w", WEIGHT), ("b", BIAS))
}
FILTER = -10000.0


def fused(op: str, *, mask: bool = True, added: bool = False, filtered: float = FILTER, causal: int = 0) -> Net:
    """Attention, or three products and MultiHeadAttention."""
    how = {"domain": MICROSOFT, "num_heads": 2, "mask_filter_value": filtered, "unidirectional": causal}
    nodes = [node("Cast", "mask", "integers", to=TensorProto.INT32)] if mask else []
    ends = f"{'integers' if mask else '-'} {{}}{'bias' if added else '-'}"
    if op == "Attention":
        return [*nodes, node(op, "x w b " + ends.format("- "), "y", **how)], {"w": WEIGHT, "b": BIAS}
    nodes += [node("MatMul", f"x w{part}", part) for part in "qkv"]
    return [*nodes, node(op, "q k v b " + ends.format(""), "y", **how)], {
        **{k: a for k, a in PARTS.items() if k[0] == "w"},
        "b": BIAS,
    }


def written_out(*, mask: bool = True, added: bool = False, axes: tuple[int, ...] = (1, 2)) -> Net:
    """Two heads of four; (1 − mask)·filter and the bias are added to the scores."""
    nodes, last = [], "scores"
    for part in "qkv":
        nodes += [
            node("MatMul", f"x w{part}", f"{part}0"),
            node("Add", f"{part}0 b{part}", f"{part}1"),
            node("Reshape", f"{part}1 heads", f"{part}2"),
            node("Transpose", f"{part}2", f"{part}3", perm=[0, 2, 3, 1] if part == "k" else [0, 2, 1, 3]),
        ]
    nodes += [node("MatMul", "q3 k3", "product"), node("Div", "product root", "scores")]
    if added:
        nodes.append(node("Add", f"{last} bias", "biased"))
        last = "biased"
    if mask:
        nodes += [
            node("Unsqueeze", "mask axes", "m0"),
            node("Cast", "m0", "m1", to=TensorProto.FLOAT),
            node("Sub", "one m1", "m2"),
            node("Mul", "m2 filter", "m3"),
            node("Add", f"{last} m3", "masked"),
        ]
        last = "masked"
    nodes += [
        node("Softmax", last, "p", axis=-1),
        node("MatMul", "p v3", "mixed"),
        node("Transpose", "mixed", "turned", perm=[0, 2, 1, 3]),
        node("Reshape", "turned whole", "y"),
    ]
    numbers = {"one": np.float32(1), "filter": np.float32(FILTER), "root": np.float32(2), "axes": np.array(axes)}
    return nodes, {**PARTS, **numbers, "heads": np.array([1, 6, 2, 4]), "whole": np.array([1, 6, 8])}


ROWS, SQUARE = value("mask", [1, 6], TensorProto.BOOL), value("mask", [1, 6, 6], TensorProto.BOOL)
ADDED = value("bias", [1, 2, 6, 6])
FUSED = ("Attention", "MultiHeadAttention")


@pytest.mark.parametrize("op", FUSED)
@pytest.mark.parametrize(
    ("others", "how", "axes"),
    [
        ((ROWS,), {}, (1, 2)),
        ((SQUARE,), {}, (1,)),
        ((ADDED,), {"mask": False, "added": True}, ()),
        ((ROWS, ADDED), {"added": True}, (1, 2)),
    ],
    ids=["keys", "queries and keys", "bias", "keys and bias"],
)
def test_masks_of_booleans_and_biases(
    op: str, others: tuple[onnx.ValueInfoProto, ...], how: dict[str, bool], axes: tuple[int, ...], tmp_path: Path
) -> None:
    """The graphs prove it; both ran, too."""
    found = compared(fused(op, **how), written_out(**how, axes=axes), tmp_path, others=others, running=Running())
    assert (found.outcome, found.graph.proved) == (Outcome.SAME_GRAPH, True), found.because


@pytest.mark.parametrize("op", FUSED)
def test_masks_of_integers_agree_where_they_are_0_or_1(op: str, tmp_path: Path) -> None:
    """(1 − 2)·filter is no mask."""
    mask = [value("mask", [1, 6], TensorProto.INT64)]
    assert compared(fused(op), written_out(), tmp_path, others=mask, running=Running()).outcome is Outcome.AGREES


@pytest.mark.parametrize("op", FUSED)
@pytest.mark.parametrize(
    "how", [{"mask": False}, {"filtered": -1.0}, {"mask": False, "causal": 1}], ids=["left out", "another filter", "causal"]
)
def test_other_masks(op: str, how: dict[str, Any], tmp_path: Path) -> None:
    for running in (None, Running()):
        found = compared(fused(op, **how), written_out(), tmp_path, others=[ROWS], running=running)
        assert not found.outcome.within(Outcome.AGREES), found.because
