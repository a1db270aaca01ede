"""The search behind a quantizer: what there is to find, and a pair with its control."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnxnull.collision.perturb import Recipe
from onnxnull.collision.quantizer_grid import Grid, control_on_grid, inside_cells, kernel_steps
from onnxnull.collision.results import Kind, Space
from onnxnull.collision.tensors import Site
from onnxnull.errors import Code, OnnxnullError
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.operators.steps import UnknownShapeError

CELL = "what its quantizer itself hides: --quantizer-cell"


def kind_on_grid(site: Site, *, cell: bool, near: bool) -> tuple[Kind, tuple[int, int] | None]:
    """What is claimed of a pair at this site, and the bounds of the kernel lattice's rank; None inside cells.

    Raises:
        UnknownShapeError: a shape on the way to the quantizer is not known.
        OnnxnullError: `injective` where only what the quantizer hides is left, `data` where floats are asked for.
    """
    quantizer = site.frontier.quantizer
    assert quantizer is not None
    if near and site.space is not Space.INPUT:
        raise OnnxnullError(Code.NOT_FOUND, f"{site.where!r} multiplies whole numbers, and near-kernels are of floats")
    if near:
        raise OnnxnullError(Code.DATA, f"{quantizer.node!r} rounds the input, and near-kernels are of floats", CELL)
    if site.frontier.input.dtype != "float32":
        raise OnnxnullError(Code.DATA, f"the quantizer of a {site.frontier.input.dtype} input is not analysed", "use float32")
    if quantizer.path is None:
        raise UnknownShapeError(f"a shape between the input and {quantizer.node!r} is not known, or too large")
    if cell:
        return Kind.QUANTIZER_CELL, None
    found = site.nullity()
    if found.upper > 0:
        return Kind.KERNEL, (found.lower, found.upper)
    layers = " and ".join(repr(layer.node) for layer in site.frontier.layers)
    verb = "is" if len(site.frontier.layers) == 1 else "are together"
    proof = " (proved)" if found.proved else ""
    if site.space is not Space.INPUT:
        shape = "×".join(map(str, site.shape))
        raise OnnxnullError(
            Code.INJECTIVE, f"{layers} {verb} injective on codes of shape {shape}{proof}: no two of them collide"
        )
    seen = (
        f"{layers} {verb} injective in whole steps of the quantizer {quantizer.node!r} on inputs of shape "
        f"{'×'.join(map(str, site.shape))}{proof}: no two of them collide there"
    )
    raise OnnxnullError(Code.INJECTIVE, seen, f"{CELL}; look further inside: --layer NAME or --layer all")


def pair_on_grid(site: Site, kind: Kind, start: Array, recipe: Recipe, progress: Callable[[str], None]) -> tuple[Array, Array]:
    """The colliding input and the control. Raises OnnxnullError `not-found` where the search found none."""
    quantizer = site.frontier.quantizer
    assert quantizer is not None
    grid = Grid.of(quantizer, start, recipe)
    if kind is Kind.QUANTIZER_CELL:
        colliding = inside_cells(grid, recipe)
    else:
        colliding = grid.moved(kernel_steps(site.frontier, grid, recipe, progress))
    progress("making the control")
    return colliding, control_on_grid(grid, float(np.linalg.norm(colliding - start)), recipe)
