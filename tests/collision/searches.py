"""Collisions made in a line: what tests of searches share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from onnxnull.analysis.weights import find_weights
from onnxnull.collision.cases import Case
from onnxnull.collision.executables import InLayer
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.results import Collision, Kind, Run, Space
from onnxnull.collision.search import Execution, Place, Search
from onnxnull.collision.strategies.strategy import Method
from onnxnull.collision.tensors import LayerInput, PerturbedTensor, cuts
from onnxnull.evidence import collision_document
from onnxnull.evidence.provenance import model_facts
from onnxnull.graph.flow import Flow
from onnxnull.graph.model import open_model
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.session import Runner
from tests.helpers import model, value
from tests.schemas import conforms


def saved(folder: Path, proto: onnx.ModelProto) -> Path:
    """The model as a file."""
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def collisions(
    path: Path,
    arrays: Mapping[str, Any],
    recipe: Recipe | None = None,
    *,
    place: Place | None = None,
    precisions: Sequence[Precision] = (Precision.FLOAT64, Precision.FLOAT32),
    toward: Mapping[str, Any] | None = None,
    near: bool = False,
) -> list[Collision]:
    """What a search finds from these inputs. As JSON it has to follow its schema."""
    shapes = {name: np.shape(array) for name, array in arrays.items()}
    search = Search(
        open_model(path, input_shapes=shapes),
        place or Place(),
        Execution(tuple(precisions)),
        method=Method(Kind.NEAR_KERNEL if near else Kind.KERNEL),
    )
    other = None if toward is None else Case("toward", toward)
    found = list(search.run(Case("random", arrays), recipe or Recipe(beta=1.0), other))
    conforms(collision_document.render(model_facts(search), [collision_document.entry(each) for each in found]))
    return found


def collision(path: Path, arrays: Mapping[str, Any], recipe: Recipe | None = None, **options: Any) -> Collision:
    """The only one."""
    (found,) = collisions(path, arrays, recipe, **options)
    return found


ROUNDING = {"float64": "rounding", "float32": "rounding"}
"""The verdicts of an ordinary collision."""


def between(lower: float, upper: float) -> tuple[np.ndarray, np.ndarray]:
    """The box of all tensors with entries between these."""
    return np.array(lower), np.array(upper)


def labels(found: Collision) -> dict[str, str]:
    """Precision → verdict."""
    return {run.precision: run.verdict.label for run in found.runs}


def largest_move(run: Run) -> tuple[float, float]:
    """max |Δ| over all outputs: of the colliding input, of the control."""
    return max(change.max_abs for change in run.outputs), max(change.max_abs for change in run.control)


def dense(w: np.ndarray, rows: int = 1, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """x rows×q → MatMul w → y."""
    x = value("x", [rows, len(w)], kind)
    return model(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="mm")], {"w": w}, inputs=[x], outputs=[value("y", None, kind)]
    )


def assert_collides(found: Collision, verdicts: dict[str, str] = ROUNDING, *, times: float = 1e3) -> None:
    """The verdicts, both claims, and outputs that move by rounding only, where the control moves them."""
    assert labels(found) == verdicts
    assert found.holds
    for run in found.runs:
        moved, control = largest_move(run)
        assert all(check.kernel.holds and check.runtime.holds for check in run.layers)
        assert times * moved <= control
    assert np.any(found.colliding != found.original)


@dataclass(frozen=True, eq=False)
class Placed:
    """A layer cut out of a model, with its activation as the model computes it."""

    flow: Flow
    cut: LayerInput
    site: PerturbedTensor
    start: np.ndarray

    def product(self, x: np.ndarray, precision: Precision = Precision.FLOAT64) -> np.ndarray:
        """What the layer by itself makes of `x`."""
        subject = InLayer(self.cut, self.site, self.flow, precision, Provider.CPU, None)
        (found,) = subject.run(x).outputs.values()
        return found


def placed(path: Path, name: str, space: Space, feeds: Mapping[str, Any], weight: str | None = None) -> Placed:
    """The layer `name` of a model at these inputs."""
    flow = Flow(open_model(path, input_shapes={key: np.shape(array) for key, array in feeds.items()}))
    (cut,) = cuts(flow, name, space, weight)
    activation = None
    if cut.tensor is not None:
        given = cut.tensor in feeds
        activation = (
            np.asarray(feeds[cut.tensor])
            if given
            else Runner(open_model(path), extra_outputs=[cut.tensor]).run(feeds, [cut.tensor])[cut.tensor]
        )
    start = cut.start(activation, np.random.default_rng(0))
    return Placed(flow, cut, cut.site(activation, start), start)


def with_kernel(path: Path, shapes: Mapping[str, Sequence[int]] | None = None) -> Iterator[tuple[str, str]]:
    """(node, weight) of every weight that has a kernel at the float64 cut-off, by a plain SVD of every block."""
    for found in find_weights(Flow(open_model(path, input_shapes=shapes)))[0]:
        blocks = np.asarray(found.blocks(), dtype=np.float64)
        g, q, p = blocks.shape
        sigma = np.linalg.svd(blocks, compute_uv=False)
        top = sigma.max(initial=0.0)
        if np.count_nonzero(sigma > top * g * max(q, p) * 2.0**-52) < g * q:
            yield found.node.name, found.name
