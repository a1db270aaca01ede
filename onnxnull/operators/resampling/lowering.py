"""Resize (opset 11 to 19) to double: nearest, linear and cubic interpolation, axis by axis, as ONNX's specification defines it.

Every output position has a coordinate in the input: nearest takes one entry there (Gather), linear two, cubic four, weighted.
Coordinates are computed in the graph, so that no size need be known. For nearest they are computed in float32 as onnxruntime
does, whatever the precision of the entries: which entry is taken is part of what the model is. Where no length changes
onnxruntime copies the input, whatever the scales (`copies`), and so does the lowered graph. Not lowered: antialias,
tf_crop_and_resize, keep_aspect_ratio_policy other than stretch, nearest with half_pixel_symmetric.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxnull.operators.lowering import Emitter, NotLowerableError, Site, lowers

_FLOAT, _INT64, _DOUBLE = 1, 7, 11
_SCALES, _SIZES = 2, 3
TIE = 1e-6
"""onnxruntime takes a coordinate that is less than this from the middle of two entries for the middle [measured]."""


def copies(shape: Sequence[int], target: Sequence[int]) -> bool:
    """Whether onnxruntime copies the input of Resize or Upsample: where every length stays, also where a scale is not 1.

    The specification interpolates there: scales of 1.3 leave ⌊2·1.3⌋ = 2 entries at other coordinates. One length that changes
    is enough for all axes to be interpolated.
    """
    return tuple(shape) == tuple(target)


def scaled_length(length: int, scale: float) -> int:
    """⌊n·scale⌋, the product rounded to float32 as onnxruntime does: 10·1.3 is 13, though 1.3 in float32 is below 1.3."""
    return int(np.float32(length) * np.float32(scale))


@lowers("Resize")
def lowered_resize(site: Site, emit: Emitter) -> str:
    """One axis after the other; axes with a constant scale of one are left alone."""
    if site.attribute("antialias", 0):
        raise NotLowerableError("antialias")
    if site.attribute("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        raise NotLowerableError("coordinate_transformation_mode tf_crop_and_resize")
    if site.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise NotLowerableError("keep_aspect_ratio_policy")
    if (
        site.attribute("coordinate_transformation_mode", "") == "half_pixel_symmetric"
        and site.attribute("mode", "") == "nearest"
    ):
        raise NotLowerableError("nearest with half_pixel_symmetric: which entry onnxruntime takes is not known at ties")
    x, rank, mode = site.inputs[0], site.rank(0), site.attribute("mode", "nearest")
    scales, known = site.constant(_SCALES), site.shape(0) or ()
    sizes = site.constant(_SIZES)
    by_scale = site.input(_SCALES) is not None and (scales is None or scales.size > 0)
    resized = []
    for index, axis in enumerate(site.attribute("axes", None) or range(rank)):
        if by_scale and scales is not None and scales[index] == 1:
            continue
        if not by_scale and sizes is not None and sizes[index] == known[axis % rank]:
            continue
        if mode != "nearest" and axis % rank == 0 and rank > 3:
            continue  # onnxruntime interpolates within a sample only
        resized.append(_ResampledAxis(site, emit, x, axis % rank, index, by_scale))
    if copies([axis.known_length() for axis in resized], [axis.known_target() for axis in resized]):
        return x
    copied = None if not by_scale or any(axis.changes() for axis in resized) else _same_lengths(resized)
    for axis in resized:
        axis.x, axis.copied = x, copied
        x = axis.nearest() if mode == "nearest" else axis.interpolated(cubic=mode == "cubic")
    return x


def _same_lengths(axes: Sequence[_ResampledAxis]) -> str:
    """Whether the session finds that no length changes, a vector of one."""
    emit = axes[0].emit
    same = [emit.op("Equal", axis.target(axis.length(), _FLOAT)[0], axis.length()) for axis in axes]
    return functools.reduce(lambda one, other: emit.op("And", one, other), same)


@dataclass(slots=True)
class _ResampledAxis:
    """One axis of x, and the `index`-th entry of scales or sizes that says what becomes of it.

    `copied`: a vector of one, whether no axis changes its length; None where one is known to.
    """

    site: Site
    emit: Emitter
    x: str
    axis: int
    index: int
    by_scale: bool
    copied: str | None = None

    def known_length(self) -> int:
        """Entries along the axis; −1 where that is not known."""
        shape = self.site.shape(0)
        length = None if shape is None else shape[self.axis]
        return length if isinstance(length, int) else -1

    def known_target(self) -> int:
        """Entries along the output's axis, as onnxruntime counts them in float32; −2 where that is not known."""
        given = self.site.constant(_SCALES if self.by_scale else _SIZES)
        if given is None:
            return -2
        if not self.by_scale:
            return int(given[self.index])
        length = self.known_length()
        return -2 if length < 0 else scaled_length(length, float(given[self.index]))

    def changes(self) -> bool:
        """Whether the length is known to change."""
        length, target = self.known_length(), self.known_target()
        return length >= 0 and target >= 0 and length != target

    def nearest(self) -> str:
        """The entry at the rounded coordinate."""
        emit = self.emit
        at = self.coordinates(_FLOAT)
        rounding = self.site.attribute("nearest_mode", "round_prefer_floor")
        at = emit.op("Cast", at, to=_DOUBLE)  # where adding a half is exact
        if rounding == "round_prefer_floor":
            at = emit.op("Ceil", emit.sub(at, 0.5 + TIE))
        elif rounding == "round_prefer_ceil":
            at = emit.op("Floor", emit.add(at, 0.5 + TIE))
        else:
            at = emit.op("Floor" if rounding == "floor" else "Ceil", at)
        return emit.op("Gather", self.x, self.inside(emit.op("Cast", at, to=_INT64)), axis=self.axis)

    def interpolated(self, *, cubic: bool) -> str:
        """The weighted sum of the entries around the coordinate."""
        emit = self.emit
        at = self.coordinates(_DOUBLE)
        if not cubic:  # beyond the border, the border's value
            last = emit.op("Cast", emit.op("Sub", self.length(), emit.integers(1)), to=_DOUBLE)
            at = emit.op("Min", emit.op("Max", at, emit.constant(0.0)), last)
        below = emit.op("Floor", at)
        past = emit.sub(at, below)
        first = emit.op("Cast", below, to=_INT64)
        if not cubic:
            taps = [(0, emit.sub(1.0, past)), (1, past)]
        else:
            taps = self.cubic_weights(first, past)
        terms = []
        for offset, weight in taps:
            entries = emit.op("Gather", self.x, self.inside(emit.op("Add", first, emit.integers(offset))), axis=self.axis)
            column = (-1, *(1,) * (self.site.rank(0) - self.axis - 1))
            terms.append(emit.mul(entries, emit.reshape(weight, column)))
        return emit.op("Sum", *terms)

    def cubic_weights(self, first: str, past: str) -> list[tuple[int, str]]:
        """Keys' kernel with a = cubic_coeff_a at the distances t + 1, t, 1 − t, 2 − t."""
        emit, a = self.emit, float(self.site.attribute("cubic_coeff_a", -0.75))
        weights = []
        for offset in (-1, 0, 1, 2):
            d = emit.op("Abs", emit.sub(past, float(offset)))
            if offset in (0, 1):
                cubic = emit.sub(emit.mul(d, a + 2), a + 3)
                weight = emit.add(emit.mul(emit.mul(cubic, d), d), 1.0)
            else:
                inner = emit.add(emit.mul(emit.sub(emit.mul(d, a), 5 * a), d), 8 * a)
                weight = emit.sub(emit.mul(inner, d), 4 * a)
            weights.append(weight)
        if self.site.attribute("exclude_outside", 0):
            zero = emit.constant(0.0)
            for i, offset in enumerate((-1, 0, 1, 2)):
                position = emit.op("Add", first, emit.integers(offset))
                outside = emit.op(
                    "Or", emit.op("Less", position, emit.integers(0)), emit.op("Not", emit.op("Less", position, self.length()))
                )
                weights[i] = emit.op("Where", outside, zero, weights[i])
            total = emit.op("Sum", *weights)
            weights = [emit.div(weight, total) for weight in weights]
        return list(zip((-1, 0, 1, 2), weights, strict=True))

    def coordinates(self, kind: int) -> str:
        """The coordinate in the input of every position of the output, of type `kind`; a scale of one moves nothing."""
        emit = self.emit
        before = emit.op("Cast", self.length(), to=kind)
        out, scale = self.target(before, kind)
        after = emit.op("Cast", out, to=kind)
        steps = emit.op("Range", self.scalar(0), emit.op("Squeeze", out), self.scalar(1))
        at = emit.op("Cast", steps, to=kind)
        moved = self.moved(kind, at, scale, before, after)
        stays = emit.op("Equal", scale, self.number(1.0, kind))
        if self.copied is not None:
            stays = emit.op("Or", stays, self.copied)
        return emit.op("Where", stays, at, moved)

    def moved(self, kind: int, at: str, scale: str, before: str, after: str) -> str:
        """What `coordinate_transformation_mode` makes of the positions `at`; `before` and `after` are the axis's lengths."""
        emit = self.emit
        half, one = self.number(0.5, kind), self.number(1.0, kind)
        mode = self.site.attribute("coordinate_transformation_mode", "half_pixel")
        if mode == "asymmetric":
            return emit.op("Div", at, scale)
        if mode == "align_corners":
            last = emit.op("Max", emit.op("Sub", after, one), one)  # one output: position 0 whatever is divided by
            return emit.op("Div", emit.op("Mul", at, emit.op("Sub", before, one)), last)
        shifted = emit.op("Div", emit.op("Add", at, half), scale)
        if mode == "tf_half_pixel_for_nn":
            return shifted
        centred = emit.op("Sub", shifted, half)
        if mode == "half_pixel":
            return centred
        if mode == "pytorch_half_pixel":
            return emit.op("Where", emit.op("Greater", after, one), centred, self.number(0.0, kind))
        if mode == "half_pixel_symmetric":
            adjustment = emit.op("Div", after, emit.op("Mul", scale, before))
            offset = emit.op("Mul", emit.op("Mul", before, half), emit.op("Sub", one, adjustment))
            return emit.op("Sub", emit.op("Add", offset, shifted), half)
        raise NotLowerableError(f"coordinate_transformation_mode {mode}")

    def target(self, before: str, kind: int) -> tuple[str, str]:
        """Length of the output (a vector of one) and scale, which onnxruntime holds in float32."""
        emit = self.emit
        if not self.by_scale:
            out = emit.slice(self.site.inputs[_SIZES], 0, self.index, self.index + 1)
            return out, emit.op("Div", emit.op("Cast", out, to=kind), before)
        constant = self.site.constant(_SCALES)
        if constant is not None:
            narrow = emit.constant(constant[self.index : self.index + 1].astype(np.float32))
        else:
            narrow = emit.op("Cast", emit.slice(self.site.inputs[_SCALES], 0, self.index, self.index + 1), to=_FLOAT)
        product = emit.op("Mul", emit.op("Cast", self.length(), to=_FLOAT), narrow)
        out = emit.op("Cast", emit.op("Floor", product), to=_INT64)
        return out, emit.op("Cast", narrow, to=kind)

    def length(self) -> str:
        """Entries along the axis, a vector of one."""
        return self.emit.shape(self.x, self.axis, self.axis + 1)

    def inside(self, indices: str) -> str:
        """Indices, those beyond the border at the border."""
        emit = self.emit
        return emit.op("Min", emit.op("Max", indices, emit.integers(0)), emit.op("Sub", self.length(), emit.integers(1)))

    def number(self, value: float, kind: int) -> str:
        """A vector of one, of type `kind`."""
        return self.emit.constant(np.array([value], dtype=np.float32 if kind == _FLOAT else np.float64))

    def scalar(self, value: int) -> str:
        """An integer without an axis."""
        return self.emit.constant(np.array(value, dtype=np.int64))
