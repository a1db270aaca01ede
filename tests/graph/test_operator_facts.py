"""A table of facts about operators holds one fact for each, whoever registers it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_ir as ir
import pytest

from onnxnull.graph.operator_facts import OperatorFacts
from onnxnull.operators.gradients import differentiates, expands, through_lowering
from onnxnull.operators.linear_use import batches, holds_weights
from onnxnull.operators.lookup import looks_up
from onnxnull.operators.lowering import lowers
from onnxnull.operators.range_rules import finite_of_finite, gives
from onnxnull.operators.steps import linear_step

NOTHING: Any = None


def test_a_domain_of_onnx_has_two_names() -> None:
    facts: OperatorFacts[int] = OperatorFacts("number")
    facts.add(1, "Conv", "Gemm")
    facts.add(2, "Conv", domain="com.microsoft")
    nodes = [ir.Node(domain, "Conv", []) for domain in ("", "ai.onnx", "com.microsoft", "com.other")]
    assert [facts.of(node) for node in nodes] == [1, 1, 2, None]


def test_a_second_fact_of_an_operator_is_refused_and_the_first_one_stays() -> None:
    facts: OperatorFacts[int] = OperatorFacts("number")
    facts.add(1, "Conv")
    with pytest.raises(ValueError, match=r"a second number of ai\.onnx\.Conv"):
        facts.add(1, "Conv")
    assert facts == {("", "Conv"): 1}


@pytest.mark.parametrize(
    ("register", "operator"),
    [
        (lambda: holds_weights("Conv")(NOTHING), "Conv"),
        (lambda: batches("MatMul")(NOTHING), "MatMul"),
        (lambda: looks_up("Gather")(NOTHING), "Gather"),
        (lambda: linear_step("Add")(NOTHING), "Add"),
        (lambda: lowers("Erf")(NOTHING), "Erf"),
        (lambda: gives("Relu")(NOTHING), "Relu"),
        (lambda: finite_of_finite("Relu"), "Relu"),
        (lambda: differentiates("Relu")(NOTHING), "Relu"),
        (lambda: expands("FastGelu", domain="com.microsoft")(NOTHING), "FastGelu"),
        (lambda: through_lowering("Mish"), "Mish"),
    ],
)
def test_every_kind_of_fact_refuses_a_second_registration(register: Callable[[], object], operator: str) -> None:
    with pytest.raises(ValueError, match=rf"a second .*\.{operator}"):
        register()
