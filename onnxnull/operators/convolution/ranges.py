"""Ranges of Conv and ConvTranspose (all opsets)."""

from __future__ import annotations

import numpy as np

from onnxnull.graph.node import Node
from onnxnull.intervals import arithmetic
from onnxnull.intervals.domain import INF, Range, collapsed, constant, made, mapped, number, reshaped, union
from onnxnull.operators.range_rules import Operands, along_channels, finite_of_finite, given, gives, part_along, rank_of
from onnxnull.operators.range_sums import LARGEST, kinds_of, maybe_absent, of_one_set, of_unknown_count, summed, weight_of


@gives("Conv")
def convolution(node: Node, of: Operands) -> Range:
    """Groups, strides, dilations; padding is with zeros, which a library may multiply or leave out."""
    weight, shift = weight_of(node, of, 1), of(2)
    rank = rank_of(node)
    if weight is None or weight.ndim < 3 or not weight.size:
        total = of_unknown_count(collapsed(given(of, 0)), collapsed(given(of, 1)))
        total = union(total, number(0.0)) if _pads(node) else total
        return arithmetic.added(total, along_channels(shift, rank)) if shift is not None else total
    a = given(of, 0)
    padded = _pads(node)
    axes = tuple(range(2, weight.ndim))
    channels = _channels(a, rank, len(axes))
    groups = max(1, int(node.attribute("group", 1)))
    fits = channels is not None and len(channels.lo) == groups * weight.shape[1] and weight.shape[0] % groups == 0
    if channels is None or not fits or 6 * weight.shape[0] * weight.shape[1] > LARGEST:
        total = of_one_set(collapsed(a), weight, (1, *axes), of.slack, absent=padded)
        hopeless = collapsed(a).empty.all()
    else:
        values, there = kinds_of(weight, axes)
        values, there = values.reshape(6, *weight.shape[:2]), there.reshape(6, *weight.shape[:2])
        inputs = channels.shape[0]
        index = (np.arange(weight.shape[0]) // (weight.shape[0] // groups))[:, None] * (inputs // groups)
        picked = _picked(channels, index + np.arange(weight.shape[1])[None])
        numbers = constant(values)
        terms = arithmetic.multiplied(picked, numbers)
        if padded:
            terms = maybe_absent(terms, numbers)
        total = summed(terms, there, (0, 2), of.slack)
        hopeless = np.any(picked.empty, axis=1)
    if padded and _covered(node, weight.shape[2:]):
        # every window meets at least one entry of every channel
        total = made(
            np.where(hopeless, INF, total.lo),
            np.where(hopeless, -INF, total.hi),
            total.nan | hopeless,
            total.pinf,
            total.ninf,
            total.fixed,
            total.sized,
        )
    total = along_channels(total, rank)
    return total if shift is None else arithmetic.added(total, along_channels(shift, rank))


def _pads(node: Node) -> bool:
    auto = node.attribute("auto_pad", "NOTSET")
    return auto not in ("NOTSET", "VALID", b"NOTSET", b"VALID") or any(node.attribute("pads", [0]))


def _covered(node: Node, kernel: tuple[int, ...]) -> bool:
    """Whether no window lies in the padding alone: pads are narrower than the kernel, and there are no dilations."""
    pads = list(node.attribute("pads", [0] * 2 * len(kernel)))
    narrow = all(pad < size for pad, size in zip(pads, kernel * 2, strict=False))
    return narrow and all(step == 1 for step in node.attribute("dilations", [1]))


def _channels(found: Range, rank: int | None, spatial: int) -> Range | None:
    """(C,) sets, those of each channel together; None where one set holds for all."""
    part = part_along(found, 1, rank) if rank == spatial + 2 else None
    if part is None:
        return None
    others = tuple(axis for axis in range(len(found.shape)) if axis != part)
    return reshaped(collapsed(found, others), (-1,))


def _picked(found: Range, index: np.ndarray) -> Range:
    return mapped(found, lambda part: part[index])


@gives("ConvTranspose")
def transposed(node: Node, of: Operands) -> Range:
    """Weight (C_in, C_out/g, ...): an output position may meet no entry of the kernel at all."""
    weight, shift, rank = weight_of(node, of, 1), of(2), rank_of(node)
    a = collapsed(given(of, 0))
    if weight is None or weight.ndim < 3 or not weight.size:
        total = union(of_unknown_count(a, collapsed(given(of, 1))), number(0.0))
    else:
        groups = int(node.attribute("group", 1))
        split = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        found = of_one_set(a, split, (1, *range(3, split.ndim)), of.slack, absent=True)
        total = along_channels(reshaped(found, (-1,)), rank)
    return total if shift is None else arithmetic.added(total, along_channels(shift, rank))


finite_of_finite("DeformConv", "CausalConvWithState")
finite_of_finite("FusedConv", "FusedConvTranspose", "NhwcFusedConv", domain="com.microsoft")
