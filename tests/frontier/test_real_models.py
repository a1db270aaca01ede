"""The frontiers of trained models: known joint nullities, and kernel vectors that onnxruntime cannot see."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxnull import frontier
from onnxnull.frontier import Frontier
from onnxnull.graph.flow import Flow
from onnxnull.graph.model import open_model
from onnxnull.kernel.rank import Notion
from tests.frontier.judge import moved
from tests.helpers import shared_model

OWN = Path(__file__).resolve().parents[2] / "models"
KNOWN = [  # file, entries of the input, joint nullity
    ("squeezenet_v1.0.onnx", 154_587, 0),
    ("resnet18_upto_layer3.onnx", 150_528, 0),
    ("vit_tiny_patch16_224.onnx", 150_528, 112_896),
    ("ppocr_v2_cls.onnx", 552_960, 184_320),
    ("metaroom_4cnn.onnx", 5_376, 2_240),
    ("digits_vit.onnx", 12_288, 10_752),
    ("digits_segmentation.onnx", 27_648, 13_824),
    ("digits_cnn.onnx", 12_288, 0),
    ("digits_mlp.onnx", 64, 32),
]


def path_of(name: str) -> Path:
    return OWN / name if name.startswith("digits") else shared_model(name)


@functools.cache
def frontier_of(path: Path) -> Frontier:
    (found,) = frontier.find(Flow(open_model(path)))
    return found


@pytest.mark.parametrize(("name", "entries", "nullity"), KNOWN, ids=[name for name, _, _ in KNOWN])
def test_joint_nullity(name: str, entries: int, nullity: int) -> None:
    found = frontier_of(path_of(name))
    assert found.guaranteed
    assert found.entries == entries
    bounds = frontier.joint_nullity(found, Notion.FLOAT64)
    assert (bounds.lower, bounds.upper) == (nullity, nullity)
    assert bounds.proved


@pytest.mark.parametrize("name", [name for name, _, nullity in KNOWN if nullity])
def test_kernel_vectors_reach_no_output(name: str) -> None:
    path = path_of(name)
    found = frontier_of(path)
    rng = np.random.default_rng(0)
    shape = found.layers[0].map().input_shape
    x, wish = rng.standard_normal(shape), 0.1 * rng.standard_normal(shape)
    if name.startswith("ppocr"):
        wish[1:] = 0  # one of its batch of six: the projection takes seconds for each
    change = frontier.JointKernel(found).project(wish)
    control = wish - change
    control *= np.linalg.norm(change) / np.linalg.norm(control)
    proto, feeds = onnx.load(path), {found.input.name: x.astype(np.float32)}
    unseen, seen = (moved(proto, feeds, found.input.name, d) for d in (change, control))
    assert np.linalg.norm(change) > 0.3 * np.linalg.norm(wish)
    assert unseen < 2e-5
    assert seen > 50 * unseen
    assert seen > 1e-4
