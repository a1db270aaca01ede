"""Files of bfloat16: what the graphs say, and what a provider without kernels for it can show."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto

from onnxnull import Running, compare
from onnxnull.comparison.verdicts import Outcome
from onnxnull.graph.model import open_model
from tests.comparison.small_networks import FOLDED, IMAGE, KB, NORM, K, moved, node
from tests.helpers import model, value

PLAIN = [node("Conv", "x k b", "c"), node("BatchNormalization", "c s t m v", "d"), node("Relu", "d", "y")]
MERGED = [node("Conv", "x k b", "d"), node("Clip", "d zero", "y")]
SEPARATE, ONE = {"k": K, "b": KB, **NORM}, {**FOLDED, "zero": np.float32(0)}


def narrowed(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], *, opset: int = 22) -> onnx.ModelProto:
    """Constants in bfloat16, Casts at both ends."""
    renamed = {"x": "x16", "y": "y16"}
    inner = []
    for each in nodes:
        copy = onnx.NodeProto.FromString(each.SerializeToString())
        copy.input[:], copy.output[:] = ([renamed.get(name, name) for name in names] for names in (each.input, each.output))
        inner.append(copy)
    ends = [node("Cast", "x", "x16", to=TensorProto.BFLOAT16), node("Cast", "y16", "y", to=TensorProto.FLOAT)]
    stored = {name: np.asarray(array).astype(ml_dtypes.bfloat16) for name, array in constants.items()}
    return model([ends[0], *inner, ends[1]], stored, inputs=[value("x", list(IMAGE))], opset=opset, ir_version=10)


def wide(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> onnx.ModelProto:
    return model(nodes, constants, inputs=[value("x", list(IMAGE))])


@pytest.mark.parametrize(
    ("a", "b", "outcome"),
    [
        (wide(PLAIN, SEPARATE), narrowed(PLAIN, SEPARATE), Outcome.ROUNDED),
        (wide(MERGED, ONE), narrowed(PLAIN, SEPARATE), Outcome.ROUNDED),
        (narrowed(MERGED, ONE), narrowed(PLAIN, SEPARATE), Outcome.ROUNDED),
        (
            narrowed(PLAIN, SEPARATE),
            narrowed([*PLAIN[:2], node("Identity", "d", "e"), node("Relu", "e", "y")], SEPARATE),
            Outcome.SAME_GRAPH,
        ),
        (narrowed(PLAIN, SEPARATE), narrowed(PLAIN, {**SEPARATE, "k": moved(K, 1, 0.5)}), Outcome.DIFFERENT),
        (wide(PLAIN, SEPARATE), narrowed(PLAIN, {**SEPARATE, "k": moved(K, 1, 0.5)}), Outcome.DIFFERENT),
    ],
    ids=[
        "converted",
        "converted, then merged",
        "merged in either order",
        "the same",
        "another weight",
        "converted with another weight",
    ],
)
def test_bfloat16(a: onnx.ModelProto, b: onnx.ModelProto, outcome: Outcome, tmp_path: Path) -> None:
    """The run computes in float32 what the provider cannot in bfloat16, and says so."""
    for name, proto in (("a", a), ("b", b)):
        (tmp_path / name).write_bytes(proto.SerializeToString())
    models = [open_model(tmp_path / name) for name in "ab"]
    assert compare(*models, weights=False).outcome is outcome
    found = compare(*models, weights=False, running=Running())
    assert found.outcome is outcome, found.because
    assert outcome is Outcome.DIFFERENT or "float32" in found.because[-1]


def test_bfloat16_that_the_operator_never_had(tmp_path: Path) -> None:
    """Conv takes it since opset 22: onnxruntime refuses the file, and nothing is said."""
    (tmp_path / "a").write_bytes(wide(PLAIN, SEPARATE).SerializeToString())
    (tmp_path / "b").write_bytes(narrowed(PLAIN, SEPARATE, opset=20).SerializeToString())
    found = compare(*(open_model(tmp_path / name) for name in "ab"), weights=False, running=Running())
    assert found.outcome is Outcome.UNEXPLAINED
