"""What is proved of outputs is so in onnxruntime, for inputs of several sizes; healthy networks vary and are finite there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxnull.analysis.nonfinite import ConstantFindings, constant_findings
from onnxnull.errors import Code
from onnxnull.graph.flow import Flow
from onnxnull.ranges.results import Effect
from tests.helpers import opened, run

from .fresh_networks import FRESH_BROKEN, FRESH_HEALTHY, FRESH_MISFITS
from .further_networks import FURTHER_BROKEN, FURTHER_HEALTHY, MISFITS
from .looped_networks import FAILING, LOOPED_HEALTHY, MAY_FAIL
from .lost_networks import LOST_BROKEN, LOST_HEALTHY, LOST_MISFITS, OPEN_BATCH, unreachable
from .networks import BROKEN, FLOAT, HEALTHY, Network, n
from .rounded_networks import ROUNDED_BROKEN, ROUNDED_HEALTHY
from .sequence_networks import SEQUENCES_BROKEN, SEQUENCES_HEALTHY, SEQUENCES_MISFITS

SEEDS = range(6)


def judged(network: Network, folder: Path) -> ConstantFindings:
    """What is said of the network's constants."""
    return constant_findings(Flow(opened(network.proto(), folder)))


def outputs(network: Network) -> list[np.ndarray]:
    """Its first output for several inputs."""
    return [run(network.proto(), network.feeds(seed))[0] for seed in SEEDS]


def is_so(effect: Effect, found: list[np.ndarray]) -> bool:
    """Whether the runs show it."""
    match effect:
        case Effect.NAN:
            return bool(np.all([np.isnan(array) for array in found], axis=0).any())
        case Effect.NOT_FINITE:
            return not any(np.isfinite(array).any() for array in found)
        case Effect.CONSTANT:
            return all(np.array_equal(array, found[0], equal_nan=True) for array in found)
        case Effect.ROUNDING:
            return all(np.allclose(array, found[0], rtol=1e-6) for array in found)


ALL_BROKEN = [*BROKEN, *FURTHER_BROKEN, *LOST_BROKEN, *ROUNDED_BROKEN, *SEQUENCES_BROKEN, *FRESH_BROKEN]
ALL_HEALTHY = [*HEALTHY, *FURTHER_HEALTHY, *LOST_HEALTHY, *ROUNDED_HEALTHY, *LOOPED_HEALTHY, *SEQUENCES_HEALTHY, *FRESH_HEALTHY]


@pytest.mark.parametrize("network", ALL_BROKEN, ids=lambda network: network.name)
def test_broken(network: Network, tmp_path: Path) -> None:
    found = judged(network, tmp_path)
    assert [claim.effect for claim in found.claims] == ([] if network.effect is None else [network.effect])
    assert (len(found.nonfinite), len(found.unusual)) == (network.nonfinite, network.unusual)
    assert found.claims or found.nonfinite
    if network.effect is not None:
        assert is_so(network.effect, outputs(network))


@pytest.mark.parametrize("network", ALL_HEALTHY, ids=lambda network: network.name)
def test_healthy(network: Network, tmp_path: Path) -> None:
    found = judged(network, tmp_path)
    assert (found.claims, found.nonfinite, found.unusual, found.undecided) == ((), (), (), ())
    arrays = outputs(network)
    assert all(np.isfinite(array).any() for array in arrays)
    assert any(not np.array_equal(array, arrays[0]) for array in arrays)


@pytest.mark.parametrize(
    "network", [*MISFITS, *LOST_MISFITS, *FAILING, *SEQUENCES_MISFITS, *FRESH_MISFITS], ids=lambda network: network.name
)
def test_misfit(network: Network, tmp_path: Path) -> None:
    found = judged(network, tmp_path)
    assert len(found.nonfinite) == 1
    with pytest.raises(Exception, match="ONNXRuntimeError"):
        outputs(network)


@pytest.mark.parametrize("network", MAY_FAIL, ids=lambda network: network.name)
def test_a_round_that_fails_if_there_is_one(network: Network, tmp_path: Path) -> None:
    found = judged(network, tmp_path)
    assert (found.nonfinite, [open_.code for open_ in found.undecided]) == ((), [Code.SHAPE])


def test_the_sign_of_a_zero_varies(tmp_path: Path) -> None:
    """−0 and 0 are one number for intervals, and 1 divided by them is not."""
    network = Network("sign", [n("Mul", "x z"), n("Div", "o h", "d"), n("Sign", "d", "y")], {"z": 0.0, "o": 1.0})
    assert judged(network, tmp_path).claims == ()
    found = outputs(network)
    assert any(not np.array_equal(array, found[0]) for array in found)


@pytest.mark.parametrize(("most", "findings"), [(None, 1), (0, 1), (5, 0)], ids=["left-out", "zero", "five"])
def test_no_box_is_ever_selected(most: int | None, findings: int, tmp_path: Path) -> None:
    nodes = [n("NonMaxSuppression", "b x" if most is None else "b x m", "y")]
    constants = {"b": np.array([[[0, 0, 1, 1], [2, 2, 3, 3]]], np.float32)} | ({} if most is None else {"m": np.array(most)})
    network = Network("boxes", nodes, constants, inputs={"x": (FLOAT, (1, 1, 2))})
    assert len(judged(network, tmp_path).nonfinite) == findings
    assert all(len(array) == 0 for array in outputs(network)) == bool(findings)


def test_nodes_on_which_no_output_depends(tmp_path: Path) -> None:
    nodes = [n("MatMul", "x z", "aside"), n("MatMul", "x w", "y")]
    found = judged(Network("aside", nodes, {"z": np.zeros((4, 4)), "w": np.eye(4)}), tmp_path)
    assert found.unread == ("MatMul_aside",)


@pytest.mark.parametrize(("threshold", "findings"), [(2.0, 1), (0.0, 0)])
def test_a_threshold_that_no_score_reaches(threshold: float, findings: int, tmp_path: Path) -> None:
    network = unreachable(threshold)
    assert len(judged(network, tmp_path).nonfinite) == findings
    assert all(len(array) == 0 for array in outputs(network)) == bool(findings)


@pytest.mark.parametrize("network", OPEN_BATCH, ids=lambda network: network.name)
def test_a_batch_axis_that_moved_is_no_axis_of_length_one(network: Network, tmp_path: Path) -> None:
    found = judged(network, tmp_path)
    assert (found.claims, found.nonfinite) == ((), ())
    proto = network.proto()
    arrays = [run(proto, {"x": np.random.default_rng(seed).standard_normal((3, 4)).astype(np.float32)})[0] for seed in SEEDS]
    assert any(not np.array_equal(array, arrays[0]) for array in arrays)


@pytest.mark.parametrize(("size", "claims"), [(1, [Effect.CONSTANT]), (None, [])])
def test_softmax_over_a_batch_of_one_is_constant_and_over_an_open_batch_not(
    size: int | None, claims: list[Effect], tmp_path: Path
) -> None:
    network = Network("batch", [n("Softmax", "x", "y", axis=0)], inputs={"x": (FLOAT, (size, 4))})  # type: ignore[dict-item]
    assert [claim.effect for claim in judged(network, tmp_path).claims] == claims


def test_an_output_without_entries_is_constant(tmp_path: Path) -> None:
    nodes = [n("Slice", "x a a a", "y")]
    found = judged(Network("empty", nodes, {"a": np.array([0])}), tmp_path)
    assert [claim.effect for claim in found.claims] == [Effect.CONSTANT]
