"""The linear part of a derivative's model, split off: the same products, and nothing is computed twice at one point."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxnull.gradient import Function
from onnxnull.graph.model import open_model
from onnxnull.runtime.precision import Precision
from tests.gradient.cases import CASES, OneNode

MODELS = Path(__file__).parents[2] / "models"


@pytest.mark.parametrize("case", CASES[::3], ids=lambda case: case.id)
def test_products_at_a_point(case: OneNode) -> None:
    feeds, name = case.feeds(), next(iter(case.shapes))
    function = Function(case.proto(), feeds, output=f"y{case.used}", input=name, threads=1)
    x = feeds[name]
    rng = np.random.default_rng(1)
    cotangent, tangent = rng.standard_normal(function.value(x).shape), rng.standard_normal(x.shape)
    np.testing.assert_array_equal(function.pull_at(x, cotangent), function.pull(x, cotangent)[1])
    np.testing.assert_array_equal(function.push_at(x, tangent), function.push(x, tangent))


@pytest.mark.parametrize("precision", [Precision.FLOAT64, Precision.FLOAT32])
def test_another_point_is_another_jacobian(precision: Precision) -> None:
    rng = np.random.default_rng(0)
    points = [rng.uniform(0, 1, (1, 3, 64, 64)) for _ in range(2)]
    function = Function(open_model(MODELS / "digits_cnn.onnx"), {"image": points[0]}, precision=precision, threads=1)
    cotangents = rng.standard_normal((2, 1, 10))
    for x in (*points, points[0]):
        for cotangent in cotangents:
            np.testing.assert_array_equal(function.pull_at(x, cotangent), function.pull(x, cotangent)[1])
