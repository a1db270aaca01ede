"""The yardstick of a run: how far rounding moves every output (its noise), and how far other inputs do (its scale).

1. *Noise*: the largest change over `NOISE_RUNS` runs each of x₀ and x₁ with every entry moved by one ulp, up or down at random
   (an entry that nothing reads changes nothing, however large it is; where a quantizer rounds the input first, what layers of
   floats read behind it is moved); the distance of both to the next higher precision that runs, at float64 2⁻²⁹ times that of
   float32; and 4 ulps of the largest entry that moves.
2. *Scale*: how far an entry is spread over x₀ and `SCALE_RUNS` inputs x₀ + t·|x₀|, t random in [−1, 1] entry by entry, in the
   box where there is one. Neither the control has a part in it, which grows with ‖Δ‖, nor |y|, which may be an offset or a mask
   of −10³⁰.

Both are pooled over *channels*: the noise is the largest of the channel, the scale the (lower) median of those of its entries
that move. An array of rank 0 to 2 has a channel for every entry. In one of higher rank every axis but the first (samples) may
be that of the channels, since (N, C, H, W), (N, H, W, C), (N, T, C) and (N, C, L) all occur. So an entry is pooled over the
others with its index along such an axis (and its sample). Of the noises that the axes give the least counts. Its scale is how
far it is spread itself, but no less than the least and no more than the largest of the medians that the axes give; where
nothing moves along axis 1 it is 0, and along another axis (the rows of a black border) that axis does not count. So a large
channel lends a small one nothing, whichever axis is theirs, and one that moves little by chance has the scale of the others.
Of a layer's own product the axis is known, and the only one.

Random moves come from `SEED` alone: runs of one pair agree to the byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from onnxnull.documents.base import digits
from onnxnull.graph.floats import is_float
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.runtime.precision import Precision

NOISE_RUNS, SCALE_RUNS, SEED = 4, 4, 0
TIMES = 16.0
"""An output that moves by more than so many times its noise breaks the collision."""
TOLERANCES: Mapping[Precision, float] = {
    Precision.FLOAT64: 1e-9,
    Precision.FLOAT32: 1e-3,
    Precision.NATIVE: 1e-3,
    Precision.FLOAT16: 5e-2,
}
"""τ: of its scale, what an output may move for a collision to be shown. `native` where the file computes in 16 bits: as
float16."""
DROWNED = "rounding drowns what is claimed; make the change smaller (--beta), or ask for a higher precision alone"
_LEAST_ULPS = 4.0
_BELOW_FLOAT32 = 2.0**-29
"""u of float64 / u of float32."""
Box = tuple[float, float] | None
Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Yardstick:
    """Of one tensor, entry by entry: arrays of its shape, float64.

    Attributes:
        noise: of its channel; inf for an entry that a run gave as NaN or Inf, and for all where one gave another shape.
        scale: of its channel; 0 where nothing of it moves.
    """

    noise: Array
    scale: Array


def box_in(parameters: Mapping[str, object]) -> Box:
    """The least and the largest bound of the box that a pair was made in, to the digits that evidence has; None for no box."""
    found = parameters.get("box")
    if not isinstance(found, list) or len(found) != 2 or not all(isinstance(bound, int | float) for bound in found):
        return None
    low, high = map(digits, found)
    return low, high


def one_ulp(x: np.ndarray, which: int, run: int) -> np.ndarray:
    """Floats moved to a neighbour, up or down at random; other numbers as they are.

    Args:
        x: as the precision stores it.
        which: 0 for x₀, 1 for x₁.
    """
    if not is_float(x):
        return x
    up = np.random.default_rng([SEED, 5, which, run]).random(x.shape) < 0.5
    with np.errstate(over="ignore", under="ignore"):
        moved = np.nextafter(x, np.where(up, np.inf, -np.inf).astype(x.dtype))
    return np.where(np.isfinite(moved), moved, x)


def nearby(x: Array, run: int, box: Box) -> Array:
    """x₀ + t·|x₀|, clipped to the box."""
    t = np.random.default_rng([SEED, 6, run]).uniform(-1.0, 1.0, x.shape)
    other: Array = x + t * np.abs(x)
    return other if box is None else np.clip(other, np.minimum(box[0], x), np.maximum(box[1], x))


def distances(runs: Mapping[Precision, Tensors]) -> dict[Precision, dict[str, Array]]:
    """For every precision, how far each float tensor is from the same at the next higher one; of float64 see above.

    A file that computes in 16 bits somewhere (`native`) comes below float32, or float64 alone.
    """
    order = [each for each in (Precision.FLOAT64, Precision.FLOAT32, Precision.FLOAT16) if each in runs]
    wide = [each for each in order if each is not Precision.FLOAT16]
    found: dict[Precision, dict[str, Array]] = {each: {} for each in runs}
    native = [(wide[-1], Precision.NATIVE)] if wide and Precision.NATIVE in runs else []
    for higher, lower in [*pairwise(order), *native]:
        for name, array in runs[lower].items():
            other = runs[higher].get(name)
            if other is not None and is_float(array) and is_float(other) and array.shape == other.shape:
                found[lower][name] = change(other, array)
    if order[:2] == [Precision.FLOAT64, Precision.FLOAT32]:
        found[Precision.FLOAT64] = {
            name: np.where(np.isfinite(far), _BELOW_FLOAT32 * far, 0.0)  # beyond the range of float32
            for name, far in found[Precision.FLOAT32].items()
        }
    return found


def yardsticks(
    before: Tensors,
    noisy: Iterator[tuple[int, Tensors]],
    others: Iterator[Tensors],
    after: Tensors,
    far: Mapping[str, Array],
    axes: Mapping[str, int],
) -> dict[str, Yardstick]:
    """The yardstick of every float tensor.

    Args:
        before, after: the tensors of x₀ and of x₁.
        noisy: those of the runs with every entry moved by an ulp, each with 0 for x₀ or 1 for x₁.
        others: those of the inputs nearby.
        far: as `distances` gives it for this precision, the larger of x₀'s and x₁'s.
        axes: tensor → the axis of its channels, where it is known.
    """
    names = [name for name, array in before.items() if is_float(array)]
    noise = {name: np.array(np.broadcast_to(far.get(name, 0.0), before[name].shape)) for name in names}
    for which, tensors in noisy:
        for name in names:
            moved = change((before, after)[which][name], tensors[name])
            if moved.shape == noise[name].shape:
                np.maximum(noise[name], moved, out=noise[name])
            else:
                noise[name][...] = np.inf
    low = {name: _finite(before[name]) for name in names}
    high = {name: low[name].copy() for name in names}
    for tensors in others:
        for name in names:
            if tensors[name].shape == before[name].shape:
                entries = _finite(tensors[name])
                low[name], high[name] = np.fmin(low[name], entries), np.fmax(high[name], entries)
    return {name: _pooled_both(before[name], noise[name], high[name] - low[name], axes.get(name)) for name in names}


def change(before: np.ndarray, after: np.ndarray) -> Array:
    """|after − before|, float64; 0 between equal infinities and NaNs, inf where only one side is finite. Other shapes: inf."""
    if before.shape != after.shape:
        return np.array(np.inf)
    with np.errstate(invalid="ignore", over="ignore"):
        first, second = before.astype(np.float64), after.astype(np.float64)
        same = (first == second) | (np.isnan(first) & np.isnan(second))
        moved: Array = np.where(same, 0.0, np.abs(second - first))
    moved[np.isnan(moved)] = np.inf
    return moved


def _pooled_both(before: np.ndarray, noise: Array, spread: Array, axis: int | None) -> Yardstick:
    spread = np.where(np.isfinite(spread), spread, 0.0)
    least = _LEAST_ULPS * _ulps(before)
    moving = (noise > 0.0) | (spread > 0.0)
    lent = np.where(np.isfinite(noise), np.maximum(noise, np.where(moving, least, 0.0)), 0.0)
    pools = list(_pools(lent, lambda rows: rows.max(axis=-1, initial=0.0), axis))
    pooled = pools[0] if len(pools) == 1 else np.minimum.reduce(np.broadcast_arrays(*pools))
    noise = np.maximum(pooled, np.where(np.isfinite(noise), least, np.inf))
    first, *rest = _pools(spread, _median_of_moving, axis)
    low = high = np.broadcast_to(first, before.shape)
    for medians in rest:
        low, high = np.minimum(low, np.where(medians > 0.0, medians, np.inf)), np.maximum(high, medians)
    return Yardstick(np.asarray(noise), np.asarray(np.clip(spread, low, np.where(first > 0.0, high, 0.0))))


def _pools(values: Array, pool: Callable[[Array], Array], axis: int | None) -> Iterator[Array]:
    """Every entry's channel by `pool` over the last axis, for the known axis, or for all that may be it; to be broadcast."""
    if values.size == 0 or values.ndim < 2 or (values.ndim == 2 and axis is None):
        yield values
        return
    samples = values if values.ndim > 2 else values[None]  # the rows of a matrix with known channels are pooled
    for each in range(1, samples.ndim) if axis is None else (axis % values.ndim + samples.ndim - values.ndim,):
        rows = np.moveaxis(samples, each, 1)
        found = pool(rows.reshape(*rows.shape[:2], -1))
        shape = [1] * samples.ndim
        shape[0], shape[each] = found.shape
        yield found.reshape(shape if values.ndim > 2 else shape[1:])


def _median_of_moving(rows: Array) -> Array:
    """The lower median of the entries above 0 along the last axis; 0 where there are none."""
    ordered = np.sort(rows, axis=-1)
    count = np.count_nonzero(rows, axis=-1)
    place = rows.shape[-1] - count + np.maximum(count - 1, 0) // 2
    found: Array = np.take_along_axis(ordered, np.minimum(place, rows.shape[-1] - 1)[..., None], axis=-1)[..., 0]
    return np.where(count > 0, found, 0.0)


def _ulps(array: np.ndarray) -> Array:
    """The distance from every entry to the next float of its own type; 0 for what is not finite."""
    sizes = np.abs(_finite(array))
    if array.dtype.name == "bfloat16":
        found: Array = sizes * 2.0**-7
    else:
        found = np.spacing(np.nan_to_num(sizes).astype(array.dtype)).astype(np.float64)
    return np.where(np.isfinite(sizes) & np.isfinite(found), found, 0.0)


def _finite(array: np.ndarray) -> Array:
    """In float64, NaN for what is not finite."""
    entries = array.astype(np.float64)
    return np.where(np.isfinite(entries), entries, np.nan)
