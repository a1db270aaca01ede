"""Perturbations in the kernel of the layers that read a tensor (paper, Definition 4), and in their near-kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.collision.claims import Reader
from onnxnull.collision.coordinates import Coordinates
from onnxnull.collision.kernel import FrontierKernel, Kernel
from onnxnull.collision.layer_checks import check_layers
from onnxnull.collision.merging import FirstCasts
from onnxnull.collision.near_kernel import NearKernel
from onnxnull.collision.results import Kind, Space
from onnxnull.collision.sizing import fitted
from onnxnull.collision.strategies.on_grid import CELL, on_grid
from onnxnull.collision.strategies.strategy import MadePair, Method, Setting, Strategy, injective
from onnxnull.collision.tensors import PerturbedTensor
from onnxnull.collision.yardstick import box_in
from onnxnull.errors import Code, OnnxnullError
from onnxnull.kernel.rank import Notion

if TYPE_CHECKING:
    from onnxnull.collision.executables import Executable
    from onnxnull.collision.perturb import Recipe
    from onnxnull.collision.verify import Checks, Outcomes, Trial
    from onnxnull.graph.model import Model
    from onnxnull.kernel.maps.linear_map import Array


def in_kernel(site: PerturbedTensor, method: Method, model: Model) -> Strategy:
    """The strategy in the kernel of floats, or of whole steps where a quantizer rounds the tensor first.

    Raises:
        OnnxnullError: `injective` where there is no kernel, `nonfinite` where a weight holds NaN or Inf.
        UnknownShapeError, EvaluationError: as `PerturbedTensor.nullity`.
    """
    if site.frontier.quantizer is not None:
        return on_grid(site)
    _check_finite(site)
    found = site.nullity()
    if found.upper == 0:
        shape = "×".join(map(str, site.shape))
        proof = f" (proved {Notion.FLOAT64.words})" if found.proved else ""
        raise OnnxnullError(Code.INJECTIVE, f"{injective(site)} on inputs of shape {shape}{proof}: no two of them collide")
    balanced = site.has_balanced_kernel()
    below = "only directions below the float64 cut-off are in this kernel, and what follows may amplify what they leave"
    kernel = site.kernel(balanced=balanced)
    readers = site.readers(patchwise=not isinstance(kernel, FrontierKernel), balanced=balanced)
    return InKernel(site, readers, kernel, (found.lower, found.upper), None if balanced else below)


def in_near_kernel(site: PerturbedTensor, method: Method, model: Model) -> Strategy:
    """The strategy between the float64 and the float32 cut-off: pairs that are no collisions.

    Raises:
        OnnxnullError: `not-found` where there is none; `data` behind a quantizer, and as `NearKernel.of`.
    """
    quantizer = site.frontier.quantizer
    if quantizer is not None and site.space is not Space.INPUT:
        raise OnnxnullError(Code.NOT_FOUND, f"{site.where!r} multiplies whole numbers, and near-kernels are of floats")
    if quantizer is not None:
        raise OnnxnullError(Code.DATA, f"{quantizer.node!r} rounds the input, and near-kernels are of floats", CELL)
    _check_finite(site)
    near = NearKernel.of(site)
    readers = site.readers(patchwise=True, balanced=False)
    readers = tuple(replace(reader, dropped=np.maximum(reader.dropped, near.sigma)) for reader in readers)
    return InNearKernel(site, readers, near)


@dataclass(frozen=True, slots=True, eq=False)
class _Readers:
    """Claims of every layer that reads the tensor."""

    site: PerturbedTensor
    readers: tuple[Reader, ...]

    @property
    def claimed(self) -> tuple[str, ...]:
        """The layers."""
        return tuple(reader.node for reader in self.readers)

    def check(self, subject: Executable, trial: Trial, found: Outcomes) -> Checks:
        """The two claims of every layer."""
        return check_layers(self.readers, subject, trial, found)

    def casts(self) -> FirstCasts:
        """None."""
        return FirstCasts()

    def steps(self, original: Array, colliding: Array) -> None:
        """None: floats have no steps."""


@dataclass(frozen=True, slots=True, eq=False)
class InKernel(_Readers):
    """Kernel vectors of a size at which the claims can hold (`sizing`)."""

    kernel: Kernel
    nullity: tuple[int, int]
    caveat: str | None
    kind = Kind.KERNEL
    sigma = 0.0
    watched = ()

    def pair(self, start: Array, recipe: Recipe, setting: Setting) -> MadePair:
        """In the coordinates of the features' own sizes where that can hold. Raises as `fitted`."""
        plain = Coordinates(self.site, self.kernel)
        ways = filter(None, (Coordinates.of(self.site, start), plain))
        box = box_in(recipe.parameters())
        found = fitted(ways, recipe, start, self.readers, setting.targets, box, setting.progress)
        colliding = start + found.change
        return MadePair(colliding, found.coordinates.control(start, colliding, recipe), found.told)


@dataclass(frozen=True, slots=True, eq=False)
class InNearKernel(_Readers):
    """Directions with singular values between the float64 and the float32 cut-off, as long as was asked for."""

    near: NearKernel
    kind = Kind.NEAR_KERNEL
    nullity = None
    caveat = None
    watched = ()

    @property
    def sigma(self) -> float:
        """The largest of these singular values."""
        return self.near.sigma

    def pair(self, start: Array, recipe: Recipe, setting: Setting) -> MadePair:
        """As it is made, whatever its size."""
        here = Coordinates(self.site, self.near)
        colliding = start + here.perturbation(start, recipe, setting.progress)
        return MadePair(colliding, here.control(start, colliding, recipe))


def _check_finite(site: PerturbedTensor) -> None:
    for layer in site.frontier.layers:
        if not np.all(np.isfinite(layer.use.matrix())):
            raise OnnxnullError(Code.NONFINITE, f"the weight of {layer.node!r} holds NaN or Inf")
