"""A twin is what its file computes, or the first node that is not is named; rounding alone is no reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.model import open_model
from onnxnull.operators import lowering
from onnxnull.operators.lowering import Emitter, Site
from onnxnull.runtime.agreement import Original
from onnxnull.runtime.precision import Precision, twin
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.session import Runner
from tests.helpers import FLOAT, INT64, model, value, weight


def held(
    proto: onnx.ModelProto, x: np.ndarray, folder: Path, precision: Precision = Precision.FLOAT64, off: float = 0.0
) -> None:
    """Check the twin of a model at x; `off` is added to its outputs."""
    path = folder / "model.onnx"
    onnx.save(proto, path)
    network = twin(open_model(path), precision, provider=Provider.CPU)
    original = Original(open_model(path).parsed)
    outputs = {name: array + off for name, array in Runner(network).run({"x": x}).items()}
    original.check({"x": x}, original.run({"x": x}), outputs, network, Provider.CPU)


def chain(*nodes: Any, **constants: Any) -> onnx.ModelProto:
    """Nodes (op, more inputs, attributes) one after the other, from x to the last."""
    made, at = [], "x"
    for number, (op, more, attributes) in enumerate(nodes):
        made.append(helper.make_node(op, [at, *more], [f"t{number}"], name=f"node{number}", **attributes))
        at = f"t{number}"
    arrays = {name: np.asarray(array, dtype=np.float32) for name, array in constants.items()}
    outputs = [value(at, None, INT64 if nodes[-1][0] == "ArgMax" else FLOAT)]
    return model(made, arrays, inputs=[value("x", (2, 8))], outputs=outputs)


def wrong(site: Site, emit: Emitter) -> str:
    """1.5 times too much."""
    return emit.mul(emit.op("Tanh", site.inputs[0]), 1.5)


LAYERS: tuple[Any, ...] = ("MatMul", ["w"], {}), ("Softplus", [], {}), ("MatMul", ["w"], {})


def test_a_twin_that_agrees(tmp_path: Path) -> None:
    x = weight(2, 8, seed=1)
    held(chain(*LAYERS, w=weight(8, 8)), x, tmp_path)
    for precision in (Precision.FLOAT32, Precision.FLOAT16, Precision.NATIVE):
        held(chain(*LAYERS, w=weight(8, 8)), x, tmp_path, precision)


def test_the_first_node_that_parts_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lowering._LOWERINGS, ("", "Softplus"), wrong)
    with pytest.raises(OnnxnullError, match=r"Softplus \(node 'node1'\)") as raised:
        held(chain(*LAYERS, w=weight(8, 8)), weight(2, 8, seed=1), tmp_path)
    assert raised.value.code is Code.TWIN


def test_a_mask_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven of eight entries are −10³⁰, and the eighth is wrong."""
    monkeypatch.setitem(lowering._LOWERINGS, ("", "Softplus"), wrong)
    mask = np.where(np.arange(8) == 3, 0.0, -1e30)
    with pytest.raises(OnnxnullError, match="Softplus"):
        held(chain(LAYERS[0], LAYERS[1], ("Add", ["m"], {}), w=weight(8, 8), m=mask), weight(2, 8, seed=1), tmp_path)


def test_a_mask_lends_its_rounding_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ulp of 10³⁰ is 10²³: that of a masked entry is no noise of the others in the same tensor."""

    def wrong_where_small(site: Site, emit: Emitter) -> str:
        x = site.inputs[0]
        return emit.where_negative(emit.sub(x, 1e20), emit.mul(emit.op("Tanh", x), 1.5), x)

    monkeypatch.setitem(lowering._LOWERINGS, ("", "Softplus"), wrong_where_small)
    mask = np.where(np.arange(8) % 2 == 0, 0.0, 1e30)
    nodes: list[Any] = [("Add", ["m"], {}), ("Softplus", [], {}), ("Neg", [], {})]
    with pytest.raises(OnnxnullError, match="Softplus"):
        held(chain(*nodes, m=mask), weight(2, 8, seed=1), tmp_path)


@pytest.mark.parametrize(
    "nodes",
    [
        [("Add", ["big"], {}), ("Sub", ["big"], {})],  # at float32 nothing of x is left
        [("MatMul", ["w"], {}), ("Mul", ["big"], {}), ("Sin", [], {})],  # chaos
        [("Sub", ["x"], {}), ("Softplus", [], {})],
        [("Sub", ["big"], {}), ("Sigmoid", [], {})],  # saturated: float32 stops long before 0
        [("Mul", ["big"], {}), ("Sigmoid", [], {}), ("Tanh", [], {})],
        [("MatMul", ["centre"], {}), ("Mul", ["big"], {}), ("Softplus", [], {})],
    ],
)
def test_rounding_that_the_network_amplifies_is_no_reason(nodes: Any, tmp_path: Path) -> None:
    constants = {"big": 1e9, "w": weight(8, 8), "centre": np.eye(8) - 1 / 8}
    held(chain(*nodes, **constants), np.full((2, 8), 3.7, np.float32) + weight(2, 8, seed=1) * 1e-3, tmp_path)


def test_a_part_that_was_run_by_itself(tmp_path: Path) -> None:
    with pytest.raises(OnnxnullError, match="run by itself"):
        held(chain(*LAYERS, w=weight(8, 8)), weight(2, 8, seed=1), tmp_path, off=0.1)


def test_whole_numbers_at_a_tie(tmp_path: Path) -> None:
    """What ArgMax says of equal scores is no reason; that it looks along another axis would be."""
    held(chain(("Sub", ["x"], {}), ("ArgMax", [], {"axis": 1})), weight(2, 8, seed=1), tmp_path)
    held(chain(("MatMul", ["w"], {}), ("ArgMax", [], {"axis": 1}), w=np.ones((8, 8))), weight(2, 8, seed=1), tmp_path)


def test_a_file_of_doubles_that_onnxruntime_has_no_kernel_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conv has none: it is held against the same file at float32."""
    kind = onnx.TensorProto.DOUBLE
    nodes = [helper.make_node("Conv", ["x", "w"], ["h"], name="stem"), helper.make_node("Softplus", ["h"], ["y"])]
    weights = {"w": weight(3, 2, 2, 2).astype(np.float64)}
    proto = model(nodes, weights, inputs=[value("x", (1, 2, 4, 4), kind)], outputs=[value("y", None, kind)])
    x = weight(1, 2, 4, 4).astype(np.float64)
    held(proto, x, tmp_path)
    monkeypatch.setitem(lowering._LOWERINGS, ("", "Softplus"), wrong)
    with pytest.raises(OnnxnullError, match="Softplus"):
        held(proto, x, tmp_path)


def test_a_random_network_is_left_to_the_check_of_repeats(tmp_path: Path) -> None:
    held(chain(("RandomNormalLike", [], {})), weight(2, 8, seed=1), tmp_path)
