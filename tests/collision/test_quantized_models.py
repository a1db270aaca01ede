"""Real quantized networks, ../shared/models: a collision in whole steps where there is one, a proof where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxnull.collision.cases import Case
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.results import Kind
from onnxnull.collision.search import Execution, Place, Search
from onnxnull.collision.strategies.strategy import Method
from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.model import open_model
from tests.collision.searches import collision, labels, largest_move
from tests.shared import shared_model


def smaller(path: Path, share: int, folder: Path) -> Path:
    """A copy of anomaly_int8 with so many times fewer inputs and outputs of its first layer: the first ones, as they are."""
    proto = onnx.load(path)
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value //= share
    for tensor in proto.graph.initializer:
        stored = numpy_helper.to_array(tensor)
        if tensor.name == "encoder.0.0.weight_quantized":
            stored = stored[: len(stored) // share, : stored.shape[1] // share]
        elif tensor.name == "encoder.1.0.weight_quantized" or (tensor.name.startswith("encoder.0.") and stored.size > 1):
            stored = stored[: len(stored) // share]
        tensor.CopyFrom(numpy_helper.from_array(stored, tensor.name))
    onnx.save(proto, folder / path.name)
    return folder / path.name


@pytest.mark.parametrize("share", [4, pytest.param(1, marks=pytest.mark.thorough)])
def test_a_fully_connected_int8_network_collides_in_whole_steps(share: int, tmp_path: Path) -> None:
    path = smaller(shared_model("anomaly_int8.onnx"), share, tmp_path)
    x = np.random.default_rng(0).uniform(1.2, 1.5, (217, 640 // share)).astype(np.float32)
    found = collision(path, {"onnx::Gemm_0": x}, Recipe())
    nullity = 217 * (640 - 128) // share
    assert (found.kind, found.nullity, labels(found)) == (Kind.KERNEL, (nullity, nullity), {"native": "bitwise"})
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    weight = stored["encoder.0.0.weight_quantized"].astype(np.int64) - stored["encoder.0.0.weight_zero_point"]
    scale = stored["onnx::Gemm_0_scale"]
    one, other = (np.clip(np.rint(part.astype(np.float32) / scale), 0, 255) for part in (found.original, found.colliding))
    moved = (other - one).astype(np.int64)
    assert np.count_nonzero(np.any(moved, axis=1)) > 20  # samples
    assert not np.any(moved @ weight)
    assert largest_move(found.runs[0])[1] > 0.1


@pytest.mark.parametrize("name", ["mobilenetv2_int8_qlinear.onnx", "mobilenetv2_int8_dynamic.onnx"])
def test_no_two_images_collide_in_whole_steps_and_cells_are_claimed_apart(name: str) -> None:
    path = shared_model(name)
    (described,) = onnx.load(path, load_external_data=False).graph.input
    x = {described.name: np.random.default_rng(0).uniform(-2, 2, (1, 3, 224, 224)).astype(np.float32)}
    with pytest.raises(OnnxnullError) as refused:
        collision(path, x)
    assert refused.value.code is Code.INJECTIVE
    assert "(proved " in refused.value.seen
    shapes = {described.name: (1, 3, 224, 224)}
    (found,) = Search(open_model(path, input_shapes=shapes), Place(), Execution(), method=Method(Kind.QUANTIZER_CELL)).run(
        Case("random", x), Recipe()
    )
    assert (found.kind, labels(found)) == (Kind.QUANTIZER_CELL, {"native": "bitwise"})
    assert found.perturbation.changed > 140_000
    assert largest_move(found.runs[0])[1] > 0.01
