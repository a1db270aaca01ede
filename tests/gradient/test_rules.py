"""Every gradient rule against central differences of the model itself in float64, and forward mode as its transpose."""

from __future__ import annotations

import numpy as np
import pytest

from onnxnull.errors import Code, OnnxnullError
from onnxnull.gradient import vjp
from onnxnull.gradient.jacobian import Function
from onnxnull.operators.gradients import differentiable_operators
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.session import Runner
from tests.gradient.cases import CASES, OneNode

_BUILT_IN = {("", "SimplifiedLayerNormalization"), ("", "OneHot")}
"""onnxruntime's own operator, which no model may name without a trick; and one whose operand is made of integers."""


def slope(runner: Runner, feeds: dict[str, np.ndarray], name: str, direction: np.ndarray, output: str) -> np.ndarray:
    """Central differences of fourth order."""
    h = 2.0**-9

    def at(step: float) -> np.ndarray:
        return runner.run({**feeds, name: feeds[name] + step * h * direction})[output]

    found: np.ndarray = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h)
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_rule(case: OneNode) -> None:
    proto, feeds = case.proto(), case.feeds()
    plain = Runner(proto, Precision.FLOAT64, threads=1)
    output = f"y{case.used}"
    rng = np.random.default_rng(3)
    for name in case.shapes:
        function = Function(proto, feeds, output=output, input=name, threads=1)
        x = feeds[name]
        tangent = rng.uniform(0.2, 1.0, x.shape) / x.size
        pushed = function.push(x, tangent)
        expected = slope(plain, feeds, name, tangent, output)
        scale = max(np.abs(expected).max(), 1e-3)
        np.testing.assert_allclose(pushed, expected, rtol=0, atol=1e-7 * scale)
        cotangent = rng.standard_normal(pushed.shape)
        value, pulled = function.pull(x, cotangent)
        np.testing.assert_allclose(value, plain.run(feeds)[output], rtol=0, atol=1e-12 * max(1.0, np.abs(value).max()))
        assert np.vdot(pushed, cotangent) == pytest.approx(np.vdot(tangent, pulled), rel=1e-10, abs=1e-13)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_rule_with_open_shapes(case: OneNode) -> None:
    """Where shapes are not known, they are computed in the graph; or the error says that they are needed."""
    feeds, output = case.feeds(), f"y{case.used}"
    name = next(iter(case.shapes))
    closed = Function(case.proto(), feeds, output=output, input=name, threads=1)
    cotangent = np.random.default_rng(5).standard_normal(closed.value(feeds[name]).shape)
    if case.id in NEEDS_SHAPES:
        with pytest.raises(OnnxnullError, match=r"not known") as caught:
            vjp(case.proto(open_shapes=True), [output], [name])
        assert caught.value.code is Code.NO_GRADIENT
        return
    derivative = vjp(case.proto(open_shapes=True), [output], [name])
    runner = Runner(derivative.proto, Precision.FLOAT64, threads=1)
    given = {**feeds, derivative.seeds[output]: cotangent}
    found = runner.run({n: given[n] for n in runner.inputs})[derivative.results[name]]
    np.testing.assert_allclose(
        found, closed.pull(feeds[name], cotangent)[1], rtol=0, atol=1e-12 * max(1.0, np.abs(found).max())
    )


NEEDS_SHAPES = {
    *("Conv-same-upper", "Conv-same-lower", "ConvTranspose-same", "ConvTranspose-wanted"),
    *("Tile", "DepthToSpace-dcr", "DepthToSpace-crd", "Pad-reflect", "Pad-edge", "Pad-wrap"),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_float32_is_the_same_gradient(case: OneNode) -> None:
    feeds, output = case.feeds(), f"y{case.used}"
    name = next(iter(case.shapes))
    double, single = (
        Function(case.proto(), feeds, output=output, input=name, precision=p, threads=1)
        for p in (Precision.FLOAT64, Precision.FLOAT32)
    )
    cotangent = np.random.default_rng(7).standard_normal(double.value(feeds[name]).shape)
    exact, rounded = double.pull(feeds[name], cotangent)[1], single.pull(feeds[name], cotangent)[1]
    np.testing.assert_allclose(rounded, exact, rtol=0, atol=2e-5 * max(1.0, np.abs(exact).max()))


def test_every_rule_has_a_case() -> None:
    assert differentiable_operators() - {(case.domain, case.op_type) for case in CASES} == _BUILT_IN
