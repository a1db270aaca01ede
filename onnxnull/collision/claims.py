"""The two claims of a collision, per linear layer that reads the perturbed tensor (design §4).

The *kernel claim* is about numbers as stored: A(L(x₁ − x₀)), A the layer, L the path to it, is no more than representing x₁
costs. The *runtime claim* is about what ran: the layer's outputs differ by no more than A(a₁ − a₀) and the rounding of two
evaluations. In both, the left sides are exact up to a radius that counts against the claim (`kernel/error_free.py`). γ_n =
n·u/(1 − n·u) (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., §3.1). Blocks are (g, q, p): rows inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import DTypeLike, NDArray

from onnxnull.collision.channel_scale import channel_scale
from onnxnull.collision.results import Claim
from onnxnull.collision.yardstick import DROWNED, Box
from onnxnull.graph.floats import unit_roundoff
from onnxnull.kernel.maps.linear_map import Array, LinearMap
from onnxnull.kernel.maps.primitives import Identity
from onnxnull.kernel.numerics.enclosures import Near, enclose, through
from onnxnull.kernel.numerics.error_free import two_difference
from onnxnull.kernel.numerics.rounding import UNIT, gamma
from onnxnull.kernel.numerics.rounding_model import magnitude, nonzero_terms, powers_of_two, roundings
from onnxnull.kernel.rank import Notion

Activations = tuple[NDArray[np.generic], NDArray[np.generic]]
"""a₀ and a₁, as they were computed."""
_LOOSE = 2.0**-30
"""More than all relative errors that evaluating a bound in double arithmetic commits: γ of fewer than 2²² roundings."""
_TINY = float(np.finfo(np.float64).tiny)
_FORMATS = {
    2.0**-8: (2.0**-126, 2.0**-134),
    2.0**-11: (2.0**-14, 2.0**-25),
    2.0**-24: (2.0**-126, 2.0**-150),
    2.0**-53: (2.0**-1022, 2.0**-1074),
}
"""u of bfloat16, float16, float32, float64 → smallest normal number, the most that rounding to a subnormal one costs (float64's
half is no double: the whole is taken)."""


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """A linear layer that reads the perturbed tensor.

    Attributes:
        node: name of the node.
        op: its operator.
        blocks: (g, q, p) float64, what the node multiplies by, `scale` included.
        make: blocks → the layer as a linear map from its own activation tensor to the node's output; linear in the blocks,
            each entry of its matrix one of theirs, or zero.
        path: from the perturbed tensor to the layer's activation.
        dropped: of every column w what the kernel's vectors φ may leave of it, |φᵀw| ≤ dropped·‖φ‖₂: singular values that the
            kernel ignores, and the rounding of a projection. Broadcastable to the blocks.
        spread: the same for a projection that takes the tensor as a whole, |φᵀw| ≤ q·spread·max |φ|; 0 where patches are
            projected one by one.
        scale: the factor that the node puts on the product (Gemm's alpha), one rounding more unless it is 1.
    """

    node: str
    op: str
    blocks: Array
    make: Callable[[Array], LinearMap]
    path: LinearMap
    dropped: Array | float = 0.0
    scale: float = 1.0
    spread: Array | float = 0.0


def rounded(reader: Reader, dtype: DTypeLike) -> Reader:
    """The reader with the node's weights rounded to a coarser type, as a session at that precision multiplies by.

    The scale is kept in double. It is divided out first, which gives back weights of up to 29 bits; those of a float64 Gemm
    with alpha ≠ ±2ᵏ may be rounded the other way where they lie within 2⁻⁵² of the middle of two numbers.
    """
    scale = reader.scale or 1.0
    with np.errstate(over="ignore", under="ignore"):
        weights = (reader.blocks / scale).astype(dtype).astype(np.float64)
        return replace(reader, blocks=weights * scale)


def kernel_claim(
    reader: Reader,
    x0: Array,
    x1: Array,
    precision_u: float,
    *,
    tolerance: float | None = None,
    box: Box = None,
    seen: Activations | None = None,
) -> Claim:
    """Whether r = |A(L(x₁ − x₀))| is, entry by entry, at most what representing x₁ costs.

    x₀, x₁: the perturbed tensor, float64 holding numbers of the type that takes it, u = `precision_u`: 2⁻⁵³, 2⁻²⁴, 2⁻¹¹, 2⁻⁸.
    r counts in full what is not known of it: the radius of the product; of a path that is not pure movement, the
    errors of evaluating it; half an ulp of every weight where Gemm's alpha was multiplied into it. An entry of x with x₁ = x₀,
    or that no weight other than 0 reads, is allowed nothing. Of the others are allowed, rounded down,

    - u·|A||L||x₁| and η·|A||L|·1: x₁ was rounded, to a subnormal number with an error of up to η;
    - γ_{n+s}·|A||L||x₁ − x₀| in double: the difference was made in double arithmetic against a layer of n terms per output
      and a path of s roundings (0 where it moves and scales by powers of two);
    - dropped·√t·‖patch of L(x₁ − x₀)‖₂: what the kernel ignores and its projection leaves, t patches to an output (more
      than 1 where transposed filters overlap);
    - spread·max |L||x₁ − x₀| for every entry that an output reads: such a projection is accurate to the length of the whole
      difference, not of every patch;
    - underflow in making the difference: n + s + 1 of the smallest normal doubles.

    L is the map `path` as its float64 factors define it. With a `tolerance` τ the claim is refused (no ratio, a reason) where

    - what it allows, at an entry with r > 0, is above τ of the channel's own scale (`channel_scale`): the size of x₁ drowns it;
    - the activations (a₀, a₁) of `seen`, as they were computed, move the layer by more than that, |A(a₁ − a₀)|: what was
      rounded on the way to the layer is no part of L, and the claim does not speak of what arrived.

    No channel refuses it whose weights are all below the float64 cut-off beside the layer's others (1e-30 beside 1): at that
    notion it is none, and what follows is measured.

    Args:
        box: bounds of the inputs, which the inputs that measure the scale keep.

    Raises:
        ValueError: another u.
    """
    if precision_u not in _FORMATS:
        raise ValueError(f"the unit roundoff is that of a float type, got {precision_u}")
    _, subnormal = _FORMATS[precision_u]
    x0, x1 = np.asarray(x0, dtype=np.float64), np.asarray(x1, dtype=np.float64)
    high, low = two_difference(x1, x0)
    if not _finite(reader.blocks, x0, x1, high):
        return _NOT_FINITE
    layer = reader.make(reader.blocks)
    size, on_the_way = magnitude(layer), magnitude(reader.path)
    image = through(reader.path, Near(high, low, np.zeros_like(high)))
    if not image.finite:
        return _NOT_FINITE
    n, s = roundings(layer), roundings(reader.path)
    moved = high != 0
    read_rows = np.any(reader.blocks != 0, axis=2, keepdims=True)
    with np.errstate(over="ignore", under="ignore"):
        residual = _residual(reader, size, image)
        each = np.where(moved, precision_u * np.abs(x1) + subnormal, 0.0) + gamma(n + s) * np.abs(high)
        allowed = size.apply(on_the_way.apply(each))
        allowed = allowed + (n + s + 1) * _TINY * (size.apply(on_the_way.apply(moved.astype(np.float64))) > 0)
        if np.any(reader.spread):
            read = size.adjoint(np.ones(size.output_shape)) > 0
            longest = float(on_the_way.apply(np.abs(high)).max(where=read, initial=0.0))
            spread = reader.make(read_rows * np.broadcast_to(np.asarray(reader.spread), reader.blocks.shape))
            allowed = allowed + spread.apply(np.full(spread.input_shape, longest))
        if np.any(reader.dropped):
            squares = reader.make(read_rows * np.broadcast_to(np.asarray(reader.dropped) ** 2, reader.blocks.shape))
            allowed = allowed + math.sqrt(_overlap(n, reader.blocks)) * np.sqrt(squares.apply(image.high**2))
    claim = _compared(residual, allowed * (1 - _LOOSE))
    if tolerance is None or not claim.holds:
        return claim
    arrived = None if seen is None else _arrived(reader, size, image, seen)
    if claim.value == 0.0 and arrived is None:
        return claim
    most = np.where(_alive(reader), tolerance * channel_scale(reader, x0, box), np.inf)
    return _refused(claim, np.where(residual > 0, allowed, 0.0), arrived, most, tolerance)


def _alive(reader: Reader) -> NDArray[np.bool_]:
    """The entries of the layer's output that a column reaches which the float64 cut-off does not take for zero."""
    g, q, p = reader.blocks.shape
    length = np.linalg.norm(reader.blocks, axis=1, keepdims=True)
    cutoff = float(length.max(initial=0.0)) * g * max(q, p) * Notion.FLOAT64.eps  # σ_max is no less than the longest column
    layer = reader.make(np.broadcast_to((length > cutoff).astype(np.float64), reader.blocks.shape))
    return np.asarray(layer.apply(np.ones(layer.input_shape)) > 0.0)


def _arrived(
    reader: Reader, size: LinearMap, image: Near, seen: tuple[NDArray[np.generic], NDArray[np.generic]]
) -> Array | None:
    """|A(a₁ − a₀)|, rounded up; None where that is A(L(x₁ − x₀)), since nothing was rounded on the way."""
    a0, a1 = (np.asarray(part).astype(np.float64) for part in seen)
    if a0.shape != image.high.shape or not _finite(a0, a1):
        return None
    high, low = two_difference(a1, a0)
    if np.array_equal(high, image.high) and np.array_equal(low, image.low):
        return None
    return _residual(reader, size, Near(high, low, np.zeros_like(high)))


def drowned(reader: Reader, seen: Activations, tolerance: float) -> str | None:
    """Why a claim in whole numbers does not speak of what arrived at a layer of floats behind it; None where it does.

    The codes of both inputs are explained to the last unit; what dequantising them rounded moves the layer by |A(a₁ − a₀)|,
    which is no more than τ of its scale, or the claim is refused.
    """
    a0 = np.asarray(seen[0]).astype(np.float64)
    reader = replace(reader, path=Identity(a0.shape))
    layer = reader.make(reader.blocks)
    nothing = Near(np.zeros_like(a0), np.zeros_like(a0), np.zeros_like(a0))
    arrived = _arrived(reader, magnitude(layer), nothing, seen)
    if arrived is None:
        return None
    zero = np.zeros(layer.output_shape)
    return _refused(Claim(0.0, 0.0, 0.0), zero, arrived, tolerance * channel_scale(reader, a0), tolerance).reason


def _refused(claim: Claim, allowed: Array, arrived: Array | None, most: Array, tolerance: float) -> Claim:
    """The claim, refused where what it allows, or what arrives at the layer, is above τ of the scale."""
    share = f"{tolerance:g} of what other inputs move this layer by: {DROWNED}"
    if np.any(allowed > most):
        worst = int(np.argmax(allowed - most))
        reason = f"representing the colliding input may cost {allowed.flat[worst]:.2g}, above {most.flat[worst]:.2g} = {share}"
        if most.flat[worst] == 0.0:
            reason = "no input near the original moves this layer, so nothing measures the claim: start from another input"
        return Claim(claim.value, float(allowed.flat[worst]), None, reason)
    if arrived is not None and np.any(arrived > most):
        worst = int(np.argmax(arrived - most))
        reason = f"rounding on the way moves the layer by {arrived.flat[worst]:.2g}, above {most.flat[worst]:.2g} = {share}"
        return Claim(claim.value, claim.bound, None, reason)
    return claim


def runtime_claim(
    reader: Reader,
    a0: NDArray[np.generic],
    a1: NDArray[np.generic],
    y0: NDArray[np.generic],
    y1: NDArray[np.generic],
    accumulator_u: float,
    bounded: str | None = None,
) -> Claim:
    """Whether the node's outputs moved, entry by entry, by no more than its activations and rounding explain.

    a₀, a₁: the activations as computed; y₀, y₁: the node's outputs as computed; u =
    `accumulator_u`. For *any* pair of activations, and sums in any order with or without fused multiplications,

        |y₁ − y₀| ≤ |A(a₁ − a₀)| + γ_m·(|A|(|a₀| + |a₁|) + 2|b|) + stored + underflow,

    m = n + 1, one more where the node scales. A bias b need not be known: y₀ = A·a₀ + b up to the same errors, so that
    |b| ≤ (|y₀ − A·a₀| + γ_m·|A||a₀| + stored + underflow)/(1 − γ_m), A·a₀ in double with its own γ. Stored: outputs of a type
    coarser than the accumulator, u′·|y| and half a subnormal each. Underflow: each of the 2n + 2 operations of an evaluation
    may flush to zero (and the scale comes after), weights and activations that are subnormal may read as zero. The bound is
    rounded up, by less than one part in 2²⁹.

    `bounded`: why no bound applies to how the provider computes the node; None where it does. There is none either
    where γ_m is 1 or more. Numbers that are not finite break the claim, bounded or not. Raises ValueError for another u.
    """
    if accumulator_u not in _FORMATS:
        raise ValueError(f"the unit roundoff is that of a float type, got {accumulator_u}")
    a, b, out0, out1 = (np.asarray(part).astype(np.float64) for part in (a0, a1, y0, y1))
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.abs(out1 - out0)
    change = two_difference(b, a)
    if not _finite(reader.blocks, a, b, out0, out1, moved, *change):
        return _NOT_FINITE
    layer = reader.make(reader.blocks)
    if out0.shape != layer.output_shape or out1.shape != layer.output_shape:
        raise ValueError(f"{reader.node!r} gives {layer.output_shape}, not {out0.shape} and {out1.shape}")
    n = roundings(layer)
    m = n + 1 + (reader.scale != 1.0)
    value = float(moved.max(initial=0.0))
    if bounded is not None:
        return Claim(value, None, None, bounded)
    if 2 * m * accumulator_u >= 1:
        return Claim(value, None, None, f"sums of {n} terms at a unit roundoff of {accumulator_u:g} may lose every digit")
    gamma_m = m * accumulator_u / (1 - m * accumulator_u)
    size = magnitude(layer)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        image = _residual(reader, size, Near(*change, np.zeros_like(a)))
        both = np.abs(np.stack([a, b]))
        sums, lost = size.apply(both), _lost(reader, size, both, n, accumulator_u)
        stored = [_stored(np.asarray(y), accumulator_u) for y in (y0, y1)]
        # A·a₀ − y₀ in double, alpha multiplied into the weights, against the true one
        double = gamma(n + 4) * (sums[0] + np.abs(out0)) + (2 * n + 2) * _TINY
        bias = np.abs(out0 - layer.apply(a)) + double + gamma_m * sums[0] + lost[0] + stored[0]
        bias = bias / (1 - gamma_m)
        bound = image + gamma_m * (sums[0] + sums[1] + 2 * bias) + lost[0] + lost[1] + stored[0] + stored[1]
    return _compared(moved, bound * (1 + _LOOSE))


def _residual(reader: Reader, size: LinearMap, change: Near) -> Array:
    """|A·change|, rounded up."""
    centre, radius = enclose(reader.make, reader.blocks, (change.high, change.low))
    residual = np.abs(centre) + radius
    if change.radius.any():
        residual = residual + size.apply(change.radius) * (1 + _LOOSE)
    if not powers_of_two(np.array(reader.scale)):  # the product of alpha and a weight was rounded once
        residual = residual + UNIT * (1 + _LOOSE) * size.apply(np.abs(change.high) + np.abs(change.low))
    result: Array = residual * (1 + 2.0**-50)
    return result


def _lost(reader: Reader, size: LinearMap, values: Array, n: int, accumulator_u: float) -> Array:
    """What underflow may take from the evaluations at activations ±`values` (k, *shape) if the hardware flushes to zero.

    Twice over: later roundings enlarge it by a factor of at most 1 + γ_m < 2.
    """
    tiny, _ = _FORMATS[accumulator_u]
    total = np.full((len(values), *size.output_shape), (2 * n + 2) * tiny * max(1.0, abs(reader.scale)))
    weights = np.abs(reader.blocks)
    scale = abs(reader.scale) * (1 + _LOOSE)
    small = (weights > 0) & (weights < tiny * max(1.0, scale))
    if small.any():
        total = total + magnitude(reader.make(np.where(small, weights, 0.0))).apply(values)
    faint = np.where(values * min(1.0, scale) < tiny, values, 0.0)
    if faint.any():
        total = total + size.apply(faint)
    return 2 * total


def _stored(y: NDArray[np.generic], accumulator_u: float) -> Array | float:
    """What rounding to the output's type costs, where it is coarser than the accumulator's."""
    unit = unit_roundoff(y.dtype)
    if unit <= accumulator_u:
        return 0.0
    _, subnormal = _FORMATS[unit]
    result: Array = unit * np.abs(y.astype(np.float64)) + subnormal
    return result


def _overlap(n: int, blocks: Array) -> int:
    """How many patches meet in an output of n terms."""
    return max(1, n // max(1, nonzero_terms(blocks)))


_NOT_FINITE = Claim(math.nan, None, math.inf, "a number is not finite")


def _finite(*parts: Array) -> bool:
    return all(bool(np.all(np.isfinite(part))) for part in parts)


def _compared(values: Array, bounds: Array) -> Claim:
    """The claim that values ≤ bounds; 0/0 = 0, x/0 = ∞. A number that overflowed, a bound too, breaks it."""
    if values.size == 0:
        return Claim(0.0, 0.0, 0.0)
    if not _finite(values, bounds):
        return _NOT_FINITE
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        ratios = np.where(values == 0, 0.0, values / bounds)
    worst = int(np.argmax(ratios))
    return Claim(float(values.max()), float(bounds.flat[worst]), float(ratios.flat[worst]))
