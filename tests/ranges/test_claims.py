"""What is proved of outputs is so in onnxruntime, for inputs of several sizes; healthy networks vary and are finite there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxnull.graph.flow import Flow
from onnxnull.nonfinite import ConstantFindings, constant_findings
from onnxnull.results import Effect
from tests.helpers import opened, run

from .networks import BROKEN, HEALTHY, Network

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


@pytest.mark.parametrize("network", BROKEN, ids=lambda network: network.name)
def test_broken(network: Network, tmp_path: Path) -> None:
    found = judged(network, tmp_path)
    assert [claim.effect for claim in found.claims] == ([] if network.effect is None else [network.effect])
    assert (len(found.nonfinite), len(found.unusual)) == (network.nonfinite, network.unusual)
    assert found.claims or found.nonfinite
    if network.effect is not None:
        assert is_so(network.effect, outputs(network))


@pytest.mark.parametrize("network", HEALTHY, ids=lambda network: network.name)
def test_healthy(network: Network, tmp_path: Path) -> None:
    found = judged(network, tmp_path)
    assert (found.claims, found.nonfinite, found.unusual) == ((), (), ())
    arrays = outputs(network)
    assert all(np.isfinite(array).any() for array in arrays)
    assert any(not np.array_equal(array, arrays[0]) for array in arrays)
