"""Perturbations inside a kernel: which direction, how large, and the control beside them.

Every direction is a wish, projected on the kernel; where patches are independent the patterns of kernel vectors already lie in
it. The box (valid pixels, ε) is kept inside the kernel by a convex programme (`boxed`), never by clipping.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from onnxnull.collision.boxed import largest, nearest
from onnxnull.collision.kernel import Kernel
from onnxnull.collision.near_kernel import NearKernel
from onnxnull.collision.tensors import PerturbedTensor, carry_back
from onnxnull.errors import Code, OnnxnullError
from onnxnull.kernel.maps.patches import patches_of
from onnxnull.kernel.nullspace import null_space

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onnxnull.kernel.maps.linear_map import Array

_TRIES = 5
"""Wishes that are tried for a perturbation of a given length."""
Pattern = Literal["random", "repeat", "patches", "betas", "toward"]
PATTERNS: dict[Pattern, str] = {
    "random": "a random direction of the whole kernel",
    "repeat": "one kernel vector of a patch, repeated in every patch (the paper's Fig. 1)",
    "patches": "a different kernel vector in every patch",
    "betas": "one kernel vector, with another factor in every patch",
}


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """What perturbation to make.

    Attributes:
        pattern: the direction; "toward" where another input is given.
        toward: that input; the direction is the projection of its difference to x₀.
        toward_source: the file that it is from.
        seed: of every random choice.
        beta: ‖δ‖₂, and for "toward" the factor on the difference; None for as large as the box allows ("toward": 1).
        epsilon: bound on max |δ|.
        largest: as large as the box allows along the direction, also for "toward".
        box: (lower, upper) for x₀ + δ, each broadcastable to the tensor.
        free: which entries may change; None for all.
    """

    pattern: Pattern = "random"
    toward: Array | None = None
    toward_source: str | None = None
    seed: int = 0
    beta: float | None = None
    epsilon: float | None = None
    largest: bool = False
    box: tuple[Array, Array] | None = None
    free: NDArray[np.bool_] | None = None

    def parameters(self) -> dict[str, Any]:
        """What it was made with, without arrays: for evidence."""
        box = None if self.box is None else [float(np.min(self.box[0])), float(np.max(self.box[1]))]
        return {
            "toward": self.toward_source,
            "seed": self.seed,
            "beta": self.beta,
            "epsilon": self.epsilon,
            "largest": self.largest,
            "box": box,
            "free": None if self.free is None else int(np.count_nonzero(self.free)),
        }


def perturbation(
    site: PerturbedTensor,
    kernel: Kernel | NearKernel,
    start: Array,
    recipe: Recipe,
    progress: Callable[[str], None] = lambda _: None,
) -> Array:
    """δ in the kernel of the site's layers, x₀ + δ in the box, made as the recipe says.

    Raises:
        OnnxnullError: `not-found` where the box, the mask and the wish leave nothing that was found.
        NotConvergedError: the projection did not reach its accuracy.
    """
    if recipe.free is not None:
        kernel = kernel.within(np.broadcast_to(recipe.free, start.shape))
    progress("projecting on the kernel")
    wish = _wish(site, start, recipe)
    direction = kernel.project(wish)
    length = float(np.linalg.norm(direction))
    if not length > 1e-9 * float(np.linalg.norm(wish)):
        raise OnnxnullError(Code.NOT_FOUND, "nothing of the wanted change lies in the kernel")
    lower, upper = bounds(start, recipe)
    bounded = bool(np.all(np.isfinite(lower) & np.isfinite(upper)))
    grow = recipe.largest or (recipe.beta is None and recipe.pattern != "toward" and bounded)
    if grow and not bounded:
        raise OnnxnullError(Code.DATA, "nothing bounds this input, so no perturbation is the largest", "give --box or --beta")
    progress("keeping it inside the box")
    if isinstance(kernel, NearKernel):
        found = _scaled_into(start, direction if grow else _sized(direction, start, recipe), lower, upper, grow=grow)
    elif grow:
        found = largest(kernel, start, direction, lower, upper)
    else:
        found = _sized(direction, start, recipe)
        if np.any(start + found < lower) or np.any(start + found > upper):
            found = _fitted(kernel, start, found, lower, upper, None if recipe.pattern == "toward" else recipe.beta)
    if not np.any(start + found != start):
        if not bounded:
            raise OnnxnullError(Code.NOT_FOUND, "a change of this size is lost in the rounding of the input", "raise --beta")
        raise OnnxnullError(Code.NOT_FOUND, "no collision was found inside the box")
    return found


def _sized(direction: Array, start: Array, recipe: Recipe) -> Array:
    """β times the direction; without β as long as the input, or for "toward" as it is."""
    if recipe.pattern == "toward":
        return direction if recipe.beta is None else recipe.beta * direction
    length = recipe.beta if recipe.beta is not None else float(np.linalg.norm(start)) or 1.0
    return (length / float(np.linalg.norm(direction))) * direction


def _fitted(kernel: Kernel, start: Array, wish: Array, lower: Array, upper: Array, beta: float | None) -> Array:
    """The point of kernel and box nearest to the wish; of length β where that is asked for and the box has room."""
    found = nearest(kernel, start, wish, lower, upper)
    for _ in range(_TRIES):
        length = float(np.linalg.norm(found))
        if beta is None or not 0.0 < length < beta:
            break
        wish = (1.1 * beta / length) * wish
        found = nearest(kernel, start, wish, lower, upper)
    length = float(np.linalg.norm(found))
    return found if beta is None or length <= beta else (beta / length) * found


def _scaled_into(start: Array, change: Array, lower: Array, upper: Array, *, grow: bool) -> Array:
    """The change, by the largest factor (at most 1 unless it may grow) that keeps it in the box."""
    room = np.where(change > 0, upper - start, np.where(change < 0, start - lower, np.inf))
    factor = float(np.min(room / np.where(change == 0, 1.0, np.abs(change)))) * (1 - 2.0**-50)
    return (factor if grow else min(1.0, factor)) * change


def control(kernel: Kernel | NearKernel, start: Array, colliding: Array, recipe: Recipe) -> Array:
    """x₀ and a random direction of the row space, as long as the perturbation, in the same box and the same entries.

    It is fitted by clipping (a control need not stay in the row space, only be seen), so it may be shorter where the box is
    tight.
    """
    rng = np.random.default_rng([recipe.seed, 1])
    noise = rng.standard_normal(start.shape)
    if recipe.free is not None:
        noise = np.where(recipe.free, noise, 0.0)
    seen = noise - kernel.rough(noise)
    if recipe.free is not None:
        seen = np.where(recipe.free, seen, 0.0)
    if not np.any(seen):
        seen = noise
    wanted = float(np.linalg.norm(colliding - start))
    step = wanted / float(np.linalg.norm(seen))
    if recipe.box is None and recipe.epsilon is None:
        unbounded: Array = start + step * seen
        return unbounded
    lower, upper = bounds(start, recipe)

    def at(factor: float) -> Array:
        moved: Array = np.clip(start + factor * step * seen, lower, upper)
        return moved

    def length(factor: float) -> float:
        return float(np.linalg.norm(at(factor) - start))

    high = 1.0
    while length(high) < wanted and high < 2.0**20:
        high *= 2.0
    low = 0.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if length(middle) < wanted else (low, middle)
    return at(high)


def _wish(site: PerturbedTensor, start: Array, recipe: Recipe) -> Array:
    rng = np.random.default_rng([recipe.seed, 0])
    if recipe.pattern == "toward":
        assert recipe.toward is not None
        return recipe.toward - start
    if recipe.pattern == "random":
        return rng.standard_normal(start.shape)
    layer = site.frontier.layers[0]
    assert layer.path is not None, "a site's shapes are known"
    own = layer.use.linear_map(layer.use.matrix(), layer.path.output_shape)
    found = patches_of(own)
    if found is None:
        raise OnnxnullError(Code.DATA, f"{layer.node!r} reads no patches", "use --pattern random")
    patches = found.unfold
    *_, g, count, q = patches.output_shape
    kernel = null_space(found.blocks)
    if kernel.dimension == 0:
        raise OnnxnullError(Code.INJECTIVE, f"the weight of {layer.node!r} has no kernel")
    batch = patches.output_shape[:-3]
    places = (*batch, count)
    if recipe.pattern == "patches":
        vectors = kernel.sample(int(np.prod(places)), rng).reshape(*places, g, q)
    else:
        vectors = np.broadcast_to(kernel.sample(1, rng).reshape(g, q), (*places, g, q))
    if recipe.pattern == "betas":
        vectors = vectors * rng.uniform(-1.0, 1.0, places)[..., None, None]
    return carry_back(layer.path, patches.adjoint(np.moveaxis(vectors, -2, -3)))


def bounds(start: Array, recipe: Recipe) -> tuple[Array, Array]:
    """(lower, upper) for x₀ + δ: in the box, |δ| ≤ ε; floats of single precision, so that rounding to it leaves neither."""
    lower, upper = np.full_like(start, -np.inf), np.full_like(start, np.inf)
    if recipe.box is not None:
        lower, upper = (
            _single(np.broadcast_to(recipe.box[0], start.shape), np.inf),
            _single(np.broadcast_to(recipe.box[1], start.shape), -np.inf),
        )
        beyond = np.maximum(lower - start, start - upper)
        if np.any(beyond > 1e-6 * np.maximum(np.abs(start), 1.0)):
            seen = f"the input leaves the box by up to {beyond.max():.3g}"
            raise OnnxnullError(Code.DATA, seen, "check --range, --mean, --std or --box")
        lower, upper = np.minimum(lower, start), np.maximum(upper, start)  # black and white, rounded to the input's type
    if recipe.epsilon is not None:
        lower = np.maximum(lower, _single(start - recipe.epsilon, np.inf))
        upper = np.minimum(upper, _single(start + recipe.epsilon, -np.inf))
        lower, upper = np.minimum(lower, start), np.maximum(upper, start)
    return lower, upper


def _single(bound: Array, inward: float) -> Array:
    """The nearest float32 on the side of `inward`."""
    with np.errstate(over="ignore"):
        near = bound.astype(np.float32)
    beyond = near.astype(np.float64) < bound if inward > 0 else near.astype(np.float64) > bound
    stepped = np.nextafter(near, np.float32(inward))
    return np.where(beyond, stepped, near).astype(np.float64)
