"""Collisions of the whole network, whatever its first layer: two inputs, or two values inside it, on one fibre of its logits.

What stays equal is g: tensors that are named, or by default the network's outputs, and behind a Softmax or LogSoftmax its
operand (the logits), since probabilities near 0 and 1 hide changes. `fiber_claim` says how equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxnull.collision.fiber_claim import check_fiber
from onnxnull.collision.invariant_tensors import default_equal, joined
from onnxnull.collision.merging import FirstCasts, first_casts
from onnxnull.collision.perturb import Recipe, bounds
from onnxnull.collision.results import Kind
from onnxnull.collision.strategies.strategy import MadePair, Method, Setting
from onnxnull.collision.tensors import PerturbedTensor
from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.model import Model
from onnxnull.runtime.cut import cut
from onnxnull.runtime.precision import Precision

if TYPE_CHECKING:
    import onnx

    from onnxnull.collision.executables import Executable
    from onnxnull.collision.verify import Checks, Outcomes, Trial
    from onnxnull.fiber.walk import Reached
    from onnxnull.kernel.maps.linear_map import Array

_MOST, _BYTES = 8192, 4 << 30
"""Numbers that may stay equal, and bytes of their Jacobian."""


def along_fiber(site: PerturbedTensor, method: Method, model: Model) -> AlongFiber:
    """The strategy along the fibre through x₀.

    Raises:
        OnnxnullError: `data` where nothing is named that stays equal, and the model has no floating-point output.
    """
    network = model.parsed.whole if site.inside is None else cut(model.parsed.whole, site.inside)
    equal, caveat = (tuple(dict.fromkeys(method.equal)), None) if method.equal else default_equal(network)
    return AlongFiber(site.tensor, network, equal, caveat, method.time_limit)


@dataclass(frozen=True, slots=True, eq=False)
class AlongFiber:
    """A walk along {x : g(x) = g(x₀)}.

    Attributes:
        network: from the tensor on.
        time_limit: seconds of one walk.
    """

    tensor: str
    network: onnx.ModelProto
    claimed: tuple[str, ...]
    caveat: str | None
    time_limit: float | None
    kind = Kind.FIBER
    nullity = None
    sigma = 0.0

    @property
    def watched(self) -> tuple[str, ...]:
        """What stays equal."""
        return self.claimed

    def pair(self, start: Array, recipe: Recipe, setting: Setting) -> MadePair:
        """Where a walk ends, and a point as far away straight toward its aim.

        Raises:
            OnnxnullError: `not-found` where no step was found, `no-gradient`, `data` where too much would have to stay equal.
        """
        setting.progress("differentiating the model")
        lower, upper = bounds(start, recipe)
        if recipe.free is not None:
            free = np.broadcast_to(recipe.free, start.shape)
            lower, upper = np.where(free, lower, start), np.where(free, upper, start)
        wish = _wish(start, recipe, lower, upper)
        found = self._walked(start, wish, lower, upper, setting)
        moved = found.point - start
        if not np.any(moved):
            seen = f"no step along the fibre was found: {found.stop.meaning}"
            raise OnnxnullError(Code.NOT_FOUND, seen, "walk toward something else, or raise --time-limit")
        beside = _control(start, wish, float(np.linalg.norm(moved)))
        return MadePair(found.point, beside, parameters=_parameters(found))

    def check(self, subject: Executable, trial: Trial, found: Outcomes) -> Checks:
        """The fibre claim."""
        return check_fiber(self.claimed, self.tensor, subject, trial, found)

    def casts(self) -> FirstCasts:
        """Those that the tensor meets first."""
        return first_casts(self.network, self.tensor)

    def steps(self, original: Array, colliding: Array) -> None:
        """None: floats have no steps."""

    def _walked(self, start: Array, wish: Array, lower: Array, upper: Array, setting: Setting) -> Reached:
        from onnxnull.fiber import Fiber, walk
        from onnxnull.gradient import Function

        model, output = joined(self.network, self.claimed)
        feeds: Mapping[str, np.ndarray] = {**setting.others, self.tensor: start}
        exact, quick = (
            Function(model, feeds, output=output, input=self.tensor, precision=precision)
            for precision in (Precision.FLOAT64, Precision.FLOAT32)
        )
        fiber = Fiber.through(exact, quick, start, lower, upper)
        most = min(_MOST, _BYTES // (4 * start.size))
        if fiber.rows > most:
            seen = f"{', '.join(map(repr, self.claimed))} hold {fiber.rows:,} numbers, and {most:,} can stay equal here"
            raise OnnxnullError(Code.DATA, seen, "name other tensors with --equal")
        if not np.all(np.isfinite(fiber.value)):
            raise OnnxnullError(Code.RUNTIME, "what is to stay equal holds NaN or Inf", "start from another input")
        return walk(fiber, wish, time_limit=self.time_limit, progress=setting.progress)


def _wish(start: Array, recipe: Recipe, lower: Array, upper: Array) -> Array:
    """The point to walk toward: another input, or a random point of the box."""
    if recipe.pattern not in ("toward", "random"):
        raise OnnxnullError(Code.DATA, f"pattern {recipe.pattern!r} is of kernels", "walk toward an input, or at random")
    if recipe.pattern == "toward":
        assert recipe.toward is not None
        if recipe.toward.shape != start.shape:
            raise OnnxnullError(Code.DATA, f"an input of shape {recipe.toward.shape} where the model has {start.shape}")
        wish = start + (1.0 if recipe.beta is None else recipe.beta) * (recipe.toward - start)
    else:
        noise = np.random.default_rng([recipe.seed, 0])
        direction = noise.standard_normal(start.shape)
        bounded = np.isfinite(lower) & np.isfinite(upper)
        length = recipe.beta or float(np.linalg.norm(start)) or 1.0
        wish = start + length / float(np.linalg.norm(direction)) * direction
        if recipe.beta is None:
            share = noise.random(start.shape)
            wish = np.where(
                bounded, share * np.where(bounded, lower, 0.0) + (1.0 - share) * np.where(bounded, upper, 0.0), wish
            )
    clipped: Array = np.clip(wish, lower, upper)
    return clipped


def _control(start: Array, wish: Array, length: float) -> Array:
    """As far from x₀ as what collides, straight toward the wish: within the same box, and not along the fibre."""
    way = wish - start
    beside: Array = start + min(1.0, length / float(np.linalg.norm(way))) * way
    return beside


def _parameters(found: Reached) -> dict[str, Any]:
    return {
        "method": "fiber",
        "stop": found.stop.label,
        "share": found.share,
        "residual": found.residual,
        "rank": found.rank,
        "rows": found.rows,
        "steps": found.steps,
    }
