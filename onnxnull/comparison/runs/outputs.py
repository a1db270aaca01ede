"""Judges two arrays of outputs: every channel against its own spread over all samples.

For each axis but the first (samples) and each place on it, a *channel*: error = the largest |b − a| over all samples and all
other places, spread = the largest less the smallest a. The channel agrees where error ≤ limit·spread + 64·u·max|a| (float32's
u). It is exercised where its spread is above 100 times that floor. Index outputs (integers, booleans) agree where they are
equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_FLOOR = 64.0 * 2.0**-24
_EXERCISED = 100.0
NEAR = 1e-3
"""The limit for what no proof is about."""


@dataclass(frozen=True, slots=True)
class TensorPair:
    """Two tensors over all samples.

    Attributes:
        a, b: their names; `enters`: the output whose last operator it enters, None for outputs themselves.
        ratio: the largest (error − floor)/spread of a channel; of indices the share that differs. channel: where.
        exercised: whether some channel moves; with no channel that moves nothing is settled.
        agreement: the share of places with the same largest entry (top-1; of images pixel by pixel), None where there is none.
        snr: signal-to-noise ratio in dB, infinite where both are equal, None for indices.
        least: the smallest one of an exercised channel: of the entries of the last axis, of images of their channels.
        reason: why they cannot be compared; None where they can.
        discrete: whether they are indices.
    """

    a: str
    b: str
    enters: str | None = None
    ratio: float = 0.0
    channel: str | None = None
    exercised: bool = True
    agreement: float | None = None
    snr: float | None = None
    reason: str | None = None
    discrete: bool = False
    least: float | None = None


def judge(a: str, b: str, first: Sequence[np.ndarray], second: Sequence[np.ndarray], enters: str | None = None) -> TensorPair:
    """Compare what two models gave, sample by sample."""
    for one, other in zip(first, second, strict=True):
        if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
            return TensorPair(a, b, enters, reason="it is no tensor", exercised=False)
        if _squeezed(one) != _squeezed(other) or (one.dtype.kind in "fV") != (other.dtype.kind in "fV"):
            return TensorPair(
                a, b, enters, float("inf"), reason=f"one is {one.dtype} {one.shape}, the other {other.dtype} {other.shape}"
            )
    if first[0].dtype.kind not in "fV":
        return _indices(a, b, first, second, enters)
    if not all(one.shape == first[0].shape for one in first):
        parts = [judge(a, b, [one], [other], enters) for one, other in zip(first, second, strict=True)]
        return max(parts, key=lambda part: part.ratio)
    x = np.stack([one.astype(np.float64) for one in first])
    y = np.stack([other.astype(np.float64).reshape(one.shape) for one, other in zip(first, second, strict=True)])
    return _floats(a, b, x, y, enters)


def _squeezed(array: np.ndarray) -> tuple[int, ...]:
    return tuple(size for size in array.shape if size != 1)


def _indices(a: str, b: str, first: Sequence[np.ndarray], second: Sequence[np.ndarray], enters: str | None) -> TensorPair:
    total = sum(one.size for one in first)
    off = sum(int(np.count_nonzero(one.reshape(-1) != other.reshape(-1))) for one, other in zip(first, second, strict=True))
    moved = any(one.shape != first[0].shape or np.any(one != first[0]) for one in first)
    share = off / total if total else 0.0
    return TensorPair(a, b, enters, share, None, bool(total) and moved, 1.0 - share, discrete=True)


def _floats(a: str, b: str, x: np.ndarray, y: np.ndarray, enters: str | None) -> TensorPair:
    if x.size == 0:
        return TensorPair(a, b, enters, exercised=False)
    unlike = ~(np.isfinite(x) == np.isfinite(y)) | (np.isinf(x) & np.isinf(y) & (x != y))
    if np.any(unlike):
        return TensorPair(a, b, enters, float("inf"), reason="one is finite where the other is not")
    finite = np.isfinite(x)
    if not finite.any():
        return TensorPair(a, b, enters, exercised=False, reason="no entry is finite")
    apart = np.where(finite, np.abs(np.where(finite, y, 0.0) - np.where(finite, x, 0.0)), 0.0)
    wide = np.where(finite, x, np.nan)
    worst, where, exercised, least = 0.0, None, False, None
    axes = range(2, x.ndim) if x.ndim > 2 else range(x.ndim)[1:]
    for axis in (*axes, None):
        others = tuple(i for i in range(x.ndim) if i != axis)
        with np.errstate(all="ignore"):
            import warnings

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # channels without a finite entry
                spread = np.nan_to_num(np.nanmax(wide, axis=others) - np.nanmin(wide, axis=others))
                floor = _FLOOR * np.nan_to_num(np.nanmax(np.abs(wide), axis=others))
        error = np.maximum(apart.max(axis=others) - floor, 0.0)
        moving = spread > _EXERCISED * floor
        exercised |= bool(np.any(moving))
        if axis == _channel_axis(x) and np.any(moving):
            least = float(
                np.min(_decibels(np.nan_to_num(np.nanvar(wide, axis=others)), np.mean(np.square(apart), axis=others))[moving])
            )
        ratio = np.where(error == 0.0, 0.0, np.divide(error, spread, out=np.full_like(error, np.inf), where=spread > 0.0))
        top = float(np.max(ratio, initial=0.0))
        if top > worst:
            worst = top
            where = None if axis is None else f"{int(np.argmax(ratio))} of axis {axis - 1}"
    snr = float(_decibels(np.var(x[finite]), np.mean(np.square(apart[finite]))))
    return TensorPair(a, b, enters, worst, where, exercised, _top_one(x, y), snr, least=least)


def _decibels(signal: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The ratio of two powers; infinite where there is no noise, −∞ where there is no signal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(noise == 0.0, np.inf, 10.0 * np.log10(signal / noise))


def _channel_axis(x: np.ndarray) -> int:
    """The axis of stacked samples on which different things lie side by side."""
    return 2 if x.ndim >= 5 else x.ndim - 1


def _top_one(x: np.ndarray, y: np.ndarray) -> float | None:
    """The share of places where the same entry is the largest: along the last axis, of images along the channels."""
    if x.ndim < 2:
        return None
    axis = _channel_axis(x)
    if x.ndim >= 5 and x.shape[2] == 1:  # a mask: on which side of the middle
        return float(np.mean((x > np.median(x)) == (y > np.median(x))))
    if x.shape[axis] < 2 or x.ndim - 1 not in (2, 4):
        return None
    return float(np.mean(np.argmax(x, axis=axis) == np.argmax(y, axis=axis)))
