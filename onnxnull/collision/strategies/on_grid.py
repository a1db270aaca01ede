"""Perturbations in whole steps of the quantizer that rounds a tensor first: in the kernel lattice, or inside its cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.collision import quantizer_grid
from onnxnull.collision.merging import FirstCasts
from onnxnull.collision.quantized_claims import check_on_grid, steps_between
from onnxnull.collision.quantizer_grid import Grid, control_on_grid, kernel_steps
from onnxnull.collision.results import Kind, Space, Steps
from onnxnull.collision.strategies.strategy import MadePair, Method, Setting, Strategy, injective
from onnxnull.collision.tensors import PerturbedTensor
from onnxnull.errors import Code, OnnxnullError
from onnxnull.frontier import Quantizer
from onnxnull.kernel.rank import Notion
from onnxnull.operators.steps import UnknownShapeError

if TYPE_CHECKING:
    from onnxnull.collision.executables import Executable
    from onnxnull.collision.perturb import Recipe
    from onnxnull.collision.verify import Checks, Outcomes, Trial
    from onnxnull.graph.model import Model
    from onnxnull.kernel.maps.linear_map import Array

CELL = "what its quantizer itself hides: --quantizer-cell"


def on_grid(site: PerturbedTensor) -> Strategy:
    """The strategy in the kernel lattice.

    Raises:
        OnnxnullError: `injective` where only what the quantizer hides is left, `data` for an input of other floats.
        UnknownShapeError: a shape on the way to the quantizer is not known.
    """
    quantizer = _quantizer(site)
    found = site.nullity()
    if found.upper > 0:
        return OnGrid(site, Kind.KERNEL, (found.lower, found.upper))
    proof, shape = f" (proved {Notion.EXACT.words})" if found.proved else "", "×".join(map(str, site.shape))
    if site.space is not Space.INPUT:
        raise OnnxnullError(Code.INJECTIVE, f"{injective(site)} on codes of shape {shape}{proof}: no two of them collide")
    seen = (
        f"{injective(site)} in whole steps of the quantizer {quantizer.node!r} on inputs of shape {shape}{proof}: "
        "no two of them collide there"
    )
    raise OnnxnullError(Code.INJECTIVE, seen, f"{CELL}; look further inside: --layer NAME or --layer all")


def inside_cells(site: PerturbedTensor, method: Method, model: Model) -> Strategy:
    """The strategy inside the cells. Raises as `on_grid`; `not-found` where no quantizer rounds the tensor first."""
    if site.frontier.quantizer is None:
        seen = f"no quantizer rounds {site.where!r} before anything else reads it"
        raise OnnxnullError(Code.NOT_FOUND, seen, "leave out --quantizer-cell")
    _quantizer(site)
    return OnGrid(site, Kind.QUANTIZER_CELL, None)


@dataclass(frozen=True, slots=True, eq=False)
class OnGrid:
    """Steps of the quantizer that the layers do not see, or moves inside its cells."""

    site: PerturbedTensor
    kind: Kind
    nullity: tuple[int, int] | None
    sigma = 0.0
    watched = ()
    caveat = None

    @property
    def claimed(self) -> tuple[str, ...]:
        """The layers."""
        return tuple(layer.node for layer in self.site.frontier.layers)

    def pair(self, start: Array, recipe: Recipe, setting: Setting) -> MadePair:
        """Steps, or a move inside the cells. Raises `OnnxnullError` `not-found` where the search found none."""
        grid = Grid.of(_quantizer(self.site), start, recipe)
        if self.kind is Kind.QUANTIZER_CELL:
            colliding = quantizer_grid.inside_cells(grid, recipe)
        else:
            colliding = grid.moved(kernel_steps(self.site.frontier, grid, recipe, setting.progress))
        setting.progress("making the control")
        return MadePair(colliding, control_on_grid(grid, float(np.linalg.norm(colliding - start)), recipe))

    def check(self, subject: Executable, trial: Trial, found: Outcomes) -> Checks:
        """The claims in whole numbers."""
        return check_on_grid(self.site.frontier, subject, trial, found)

    def casts(self) -> FirstCasts:
        """None."""
        return FirstCasts()

    def steps(self, original: Array, colliding: Array) -> Steps:
        """In steps."""
        return steps_between(_quantizer(self.site), original, colliding)


def _quantizer(site: PerturbedTensor) -> Quantizer:
    quantizer = site.frontier.quantizer
    assert quantizer is not None
    if site.frontier.input.dtype != "float32":
        raise OnnxnullError(Code.DATA, f"the quantizer of a {site.frontier.input.dtype} input is not analysed", "use float32")
    if quantizer.path is None:
        raise UnknownShapeError(f"a shape between the input and {quantizer.node!r} is not known, or too large")
    return quantizer
