"""An operator that nobody knows becomes known by what one family registers of it, and by nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from onnxnull.analysis.nonfinite import constant_findings
from onnxnull.frontier.walk import find
from onnxnull.gradient.jacobian import Function
from onnxnull.graph import contrib
from onnxnull.graph.flow import Flow
from onnxnull.graph.node import Node
from onnxnull.intervals.domain import Range, number
from onnxnull.operators import LinearUse, gradients, linear_use, lowering, parameters, products, range_rules
from onnxnull.operators.contraction.weights import matmul
from onnxnull.ranges.propagation import Propagation
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.session import Runner
from tests.helpers import model, only_refusal, only_use, opened, uses, value, weight

NAME, MICROSOFT = "BrandNewProduct", "com.microsoft"
TABLES = (
    linear_use._WEIGHTS,
    lowering._LOWERINGS,
    lowering._ALWAYS,
    gradients._EXPANSIONS,
    range_rules._RULES,
    contrib._RULES,
    parameters._BESIDE,
    products.PRODUCTS,
)
W, B = weight(3, 2), np.array([1.0, np.inf], np.float32)
PROTO = model(
    [helper.make_node(NAME, ["x", "w", "b"], ["h"], domain=MICROSOFT, name="new"), helper.make_node("Exp", ["h"], ["y"])],
    {"w": W, "b": B},
    inputs=[value("x", [4, 3])],
    imports={MICROSOFT: 1},
)


def lowered(site: lowering.Site, emit: lowering.Emitter) -> str:
    return emit.op("MatMul", site.inputs[0], site.inputs[1])


def one(node: Node, of: range_rules.Operands) -> Range:
    return number(1.0)


@pytest.fixture
def family() -> Iterator[None]:
    """x·W, whose bias does nothing."""
    linear_use.holds_weights(NAME, domain=MICROSOFT)(matmul)
    lowering.lowers(NAME, domain=MICROSOFT, always=True)(lowered)
    gradients.through_lowering(NAME, domain=MICROSOFT)
    range_rules.gives(NAME, domain=MICROSOFT)(one)
    contrib.shaped_like("MatMul", NAME, operands=(0, 1))
    parameters.holds_parameters(NAME, inputs=(2,), domain=MICROSOFT)
    products.gives_product(products.Product(-1), NAME, domain=MICROSOFT)
    yield
    for table in TABLES:
        facts: Mapping[tuple[str, str], object] = table
        assert (MICROSOFT, NAME) in facts
        table.pop((MICROSOFT, NAME))


def test_it_is_refused_before(tmp_path: Path) -> None:
    assert "BrandNewProduct is not known" in only_refusal(uses(PROTO, tmp_path)).reason


@pytest.mark.usefixtures("family")
def test_everybody_knows_it_then(tmp_path: Path) -> None:
    flow = Flow(opened(PROTO, tmp_path))
    use: LinearUse = only_use(uses(PROTO, tmp_path))
    assert use.shape == (1, 3, 2)
    (frontier,) = find(flow)
    assert [layer.node for layer in frontier.layers] == ["new"]
    (exponential,) = (node for node in flow.nodes if node.op_type == "Exp")
    assert exponential.inputs[0] is not None
    assert exponential.inputs[0].shape == (4, 2)
    assert float(Propagation(flow).of(exponential.inputs[0].value).hi.max()) == 1.0
    assert [(found.node, found.what) for found in constant_findings(flow).unusual] == [("new", "Inf")]
    x = np.linspace(-1.0, 1.0, 12).reshape(4, 3)
    assert Runner(PROTO, Precision.FLOAT64).lowered == (f"{MICROSOFT}.{NAME}",)
    np.testing.assert_allclose(Runner(PROTO, Precision.FLOAT64).run({"x": x})["y"], np.exp(x @ W), rtol=1e-12)
    function = Function(PROTO, {"x": x}, output="y", input="x")
    np.testing.assert_allclose(function.push(x, np.ones_like(x)), np.exp(x @ W) * (np.ones_like(x) @ W), rtol=1e-12)
