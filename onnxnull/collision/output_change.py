"""How far two runs are apart in one output: numbers, floats in between, classes, masks.

Where the two cannot be compared (other shapes, a NaN on one side only) the result says so; it never reads as "the same".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from onnxnull.collision.results import Change
from onnxnull.graph.floats import is_float
from onnxnull.kernel.maps.linear_map import Array

MOST_LABELS = 256
"""An output with more channels than this is no map per class."""


def compare(name: str, before: np.ndarray, after: np.ndarray) -> Change:
    """The change of one output, entry by entry.

    NaN in the same places of both, and equal infinities, count as unchanged. `bitwise` compares bytes: it tells −0 from +0,
    and one NaN from another. Where the shapes (NonMaxSuppression finds another number of boxes) or the types differ, only
    `bitwise` (False) and `max_abs` (NaN) are given; so for strings that differ. Booleans count as 0 and 1.
    """
    kind = "string" if before.dtype.kind in "OSU" else before.dtype.name
    if before.shape != after.shape or before.dtype != after.dtype:
        return Change(name, before.shape, kind, False, np.nan, None, None, None, None, None)
    if kind == "string":
        same = identical(before, after)
        return Change(name, before.shape, kind, same, 0.0 if same else np.nan, None, None, None, None, None)
    max_abs = _max_abs(before, after)
    size = _largest(before)
    return Change(
        name=name,
        shape=before.shape,
        dtype=kind,
        bitwise=identical(before, after),
        max_abs=max_abs,
        relative=None if size == 0.0 or np.isnan(max_abs) else max_abs / size,
        ulps=ulps(before, after),
        top1=_same_best(before, after, 1),
        top5=_same_best(before, after, 5),
        mask=_agreement(before, after),
    )


def identical(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays have one type and shape and hold the same to the last bit; texts are compared as texts."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(np.all(one == other)) if one.dtype.kind in "OSU" else one.tobytes() == other.tobytes()


def all_identical(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """Whether two sets of arrays have the same names, and under each the same array."""
    return one.keys() == other.keys() and all(identical(array, other[name]) for name, array in one.items())


def ulps(before: np.ndarray, after: np.ndarray) -> float | None:
    """The largest number of steps from float to float between two entries; 0 between −0 and +0, and where there is no entry.

    NaN where a NaN or an Inf stands on one side only; None for types other than float16, bfloat16, float32 and float64.
    """
    if not is_float(before):
        return None
    if np.isnan(_max_abs(before, after)):
        return float("nan")
    bits = before.dtype.itemsize * 8
    sign, signless = np.uint64(1 << (bits - 1)), np.uint64((1 << (bits - 1)) - 1)
    words = np.dtype(f"u{before.dtype.itemsize}")
    first, second = (np.ascontiguousarray(array).view(words).astype(np.uint64) for array in (before, after))
    # sign and magnitude: across zero the distance is the sum, which stays below 2⁶⁴
    low, high = np.minimum(first & signless, second & signless), np.maximum(first & signless, second & signless)
    steps = np.where((first & sign) == (second & sign), high - low, high + low)
    return float(np.max(steps, where=~_is_nan(before), initial=0))


def classes(array: np.ndarray) -> np.ndarray | None:
    """(samples, K) view of an output that is a list of class scores, K ≥ 2; None for another output.

    Taken as one is every float output of shape (K,), (N, K), or (N, K, 1, 1) as SqueezeNet gives. A list of K other numbers
    looks the same: its "classes" are then the places of its largest entries.
    """
    if not is_float(array) or array.size == 0:
        return None
    if array.ndim > 2 and set(array.shape[2:]) == {1}:
        array = array.reshape(array.shape[:2])
    elif array.ndim == 1:
        array = array[None]
    return array if array.ndim == 2 and array.shape[1] >= 2 else None


def mask(array: np.ndarray) -> np.ndarray | None:
    """The label at every position, (N, H, W), of an output with a map per class, (N, C, H, W); None for another output.

    1. Taken as one is every float output of rank 4 with H·W > 1, C ≤ 256 and C ≤ 2·min(H, W). The last excludes most feature
       maps, detection heads and (N, H, W, C). An image-to-image network looks the same: there the labels mean nothing, and
       that they agree is one more number.
    2. C ≥ 2: the label is the first of the largest channels.
    3. C = 1: the label is 1 above a threshold: 0.5 where all values lie in [0, 1] (probabilities), 0 elsewhere (logits).
    """
    return _labels(array, _threshold(array))


def class_maps(before: np.ndarray, *others: np.ndarray) -> tuple[Array, ...] | None:
    """Scores (positions, K) in float64 of an output with a label per sample or position, K ≥ 2, and of arrays of its shape.

    A map of one class becomes two: the threshold of `before`, and its values above it; of others than `before` and the next
    (noises) the threshold is 0. None where the output has no labels (see `classes`, `mask`).
    """
    if classes(before) is not None:
        return tuple(
            np.reshape(each, (-1, before.shape[1] if before.ndim > 1 else before.size)).astype(np.float64)
            for each in (before, *others)
        )
    if mask(before) is None:
        return None
    rows = [np.moveaxis(each, 1, -1).reshape(-1, before.shape[1]).astype(np.float64) for each in (before, *others)]
    if before.shape[1] == 1:
        thresholds = [_threshold(before), _threshold(before), *(0.0 for _ in rows[2:])]
        rows = [np.concatenate([np.full_like(row, at), row], axis=1) for row, at in zip(rows, thresholds, strict=True)]
    return tuple(rows)


def best(array: np.ndarray, k: int = 5) -> list[tuple[int, float]]:
    """The k best classes of one sample with their scores, best first; of equal scores the smaller index comes first.

    Raises:
        ValueError: the output is no list of class scores, or holds several samples.
    """
    scores = classes(array)
    if scores is None or len(scores) != 1:
        raise ValueError(f"an output of shape {array.shape} is not one list of class scores")
    return [(int(index), float(scores[0, index])) for index in _ranking(scores)[0, :k]]


def probabilities(scores: np.ndarray) -> Array:
    """Softmax over the last axis, unless `scores` (..., K) are probabilities: none negative, sums within 10⁻³ of 1."""
    values = np.asarray(scores, dtype=np.float64)
    if np.all(values >= 0.0) and np.all(np.abs(values.sum(axis=-1) - 1.0) <= 1e-3):
        return values
    with np.errstate(invalid="ignore"):  # several infinities: NaN
        powers = np.exp(values - values.max(axis=-1, keepdims=True))
        normalised: Array = powers / powers.sum(axis=-1, keepdims=True)
    return normalised


def _is_nan(array: np.ndarray) -> NDArray[np.bool_]:
    """Where an array of any numbers holds NaN."""
    return np.asarray(array != array)  # NumPy's isnan knows no bfloat16


def _max_abs(before: np.ndarray, after: np.ndarray) -> float:
    """max |after − before|; NaN where a NaN or an Inf stands on one side only."""
    if before.dtype.kind in "biu":
        # as unsigned numbers, since the difference of two int64 may need 64 bits
        wide = np.uint64 if before.dtype.kind != "i" else np.int64
        low, high = np.minimum(before, after).astype(wide), np.maximum(before, after).astype(wide)
        return float(np.max(high.view(np.uint64) - low.view(np.uint64), initial=0))
    type_ = np.complex128 if before.dtype.kind == "c" else np.float64
    with np.errstate(invalid="ignore", over="ignore"):
        first, second = before.astype(type_), after.astype(type_)
        same = (first == second) | (np.isnan(first) & np.isnan(second))
        apart = np.where(same, 0.0, np.abs(second - first))
    one_sided = ~same & ~(np.isfinite(first) & np.isfinite(second))
    return float("nan") if np.any(one_sided) else float(np.max(apart, initial=0.0))


def _largest(array: np.ndarray) -> float:
    """max |entry| over the finite ones; 0 where there is none."""
    if array.dtype.kind in "biu":
        return max(abs(float(array.min())), abs(float(array.max()))) if array.size else 0.0
    sizes = np.abs(array.astype(np.complex128 if array.dtype.kind == "c" else np.float64))
    return float(np.max(sizes, where=np.isfinite(sizes), initial=0.0))


def _ranking(scores: np.ndarray) -> NDArray[np.intp]:
    """(samples, K) → class indices from best to worst; ties by index, NaN last."""
    ordered: NDArray[np.intp] = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")
    return ordered


def _same_best(before: np.ndarray, after: np.ndarray, k: int) -> bool | None:
    """Whether the set of the best min(k, K) classes is the same in every sample; None for no list of classes.

    Of equal scores the smaller index is the better one. A sample where only one side has a NaN is not the same.
    """
    first, second = classes(before), classes(after)
    if first is None or second is None:
        return None
    one, other = (np.sort(_ranking(scores)[:, :k], axis=1) for scores in (first, second))
    return bool(np.array_equal(one, other) and np.array_equal(_is_nan(first), _is_nan(second)))


def _threshold(array: np.ndarray) -> float:
    """What a map of one class is compared with."""
    return 0.5 if is_float(array) and bool(np.all((array >= 0) & (array <= 1))) else 0.0


def _labels(array: np.ndarray, threshold: float) -> NDArray[np.int64] | None:
    if not is_float(array) or array.ndim != 4 or array.size == 0:
        return None
    channels, height, width = array.shape[1:]
    if height * width == 1 or channels > min(MOST_LABELS, 2 * min(height, width)):
        return None
    labels = array[:, 0] > threshold if channels == 1 else np.argmax(array.astype(np.float64), axis=1)
    return np.asarray(labels, dtype=np.int64)


def _agreement(before: np.ndarray, after: np.ndarray) -> float | None:
    """The share of positions with the same label, at the threshold of `before`; where only one side has a NaN: not the same."""
    first, second = (_labels(array, _threshold(before)) for array in (before, after))
    if first is None or second is None:
        return None
    return float(np.mean((first == second) & np.all(_is_nan(before) == _is_nan(after), axis=1)))
