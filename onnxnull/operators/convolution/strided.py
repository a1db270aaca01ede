"""ConvTranspose with a stride in double: products with the filters first, then what meets in an output is added up.

Along an axis of stride s, tap k = s·a + b of input position i lands on output position s·(i + a) + b. So with filters padded to
s·A taps, outputs are numbered by (i + a, b): A shifted copies are added, and the s of them are put side by side. Nothing is
multiplied by the zeros that spreading the image would put in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from onnxnull.operators.lowering import Emitter

Shape = tuple[int, ...]


def interleaved(
    emit: Emitter, x: str, weight: str, shape: Shape, groups: int, strides: Shape, pads: Sequence[int] | str, bias: str | None
) -> str:
    """x (N, C, *n) with filters `shape` (C, M/g, *k), dilation 1.

    Args:
        pads: what the full output, s·(n − 1) + k along an axis, is padded with (all begins, all ends; negative removes), with
            N and C.
    """
    channels, outputs, *kernel = shape
    axes = len(kernel)
    counts = [-(-k // s) for k, s in zip(kernel, strides, strict=True)]
    more = [s * a - k for k, s, a in zip(kernel, strides, counts, strict=True)]
    weight = _padded(emit, weight, [0] * (2 + axes), [0, 0, *more])
    taps = math.prod(s * a for s, a in zip(strides, counts, strict=True))
    blocks = emit.transpose(emit.reshape(weight, (groups, channels // groups, outputs * taps)), (0, 2, 1))
    columns = emit.reshape(x, (0, groups, channels // groups, -1))
    product = emit.op("MatMul", blocks, columns)  # (N, g, M/g·taps, positions)
    apart = [n for a, s in zip(counts, strides, strict=True) for n in (a, s)]
    y = emit.reshape(product, emit.concat([emit.integers(0, groups * outputs, *apart), emit.shape(x, 2)]))
    for axis in reversed(range(axes)):  # of (N, M, A₁, s₁, A₂, s₂, ..., n₁, n₂, ...) the last A goes first
        gone = axes - 1 - axis
        y = _shifted(emit, y, 2 + 2 * axis, 2 + 2 * axes - gone + axis, counts[axis], 2 + 3 * axes - gone)
    order = [0, 1, *(place for axis in range(axes) for place in (2 + axes + axis, 2 + axis))]
    y = emit.transpose(y, order)
    sizes = emit.op("Add", emit.shape(x, 2), emit.integers(*(a - 1 for a in counts)))
    y = emit.reshape(y, emit.concat([emit.integers(0, groups * outputs), emit.op("Mul", sizes, emit.integers(*strides))]))
    cut = [*[0] * (2 + axes), 0, 0, *more]
    if isinstance(pads, str):
        y = emit.pad(y, emit.op("Sub", pads, emit.integers(*cut)))
    else:
        y = emit.pad(y, [p - c for p, c in zip(pads, cut, strict=True)])
    return y if bias is None else emit.op("Add", y, emit.reshape(bias, (groups * outputs, *(1,) * axes)))


def _shifted(emit: Emitter, y: str, taps: int, positions: int, count: int, rank: int) -> str:
    """Entry a along axis `taps` moved on by a along axis `positions`, and all of them added up; `taps` is dropped."""
    terms = []
    for a in range(count):
        pads = [0] * (2 * rank)
        pads[positions], pads[rank + positions] = a, count - 1 - a
        terms.append(emit.pad(y if count == 1 else emit.slice(y, taps, a, a + 1), pads))
    total = terms[0] if count == 1 else emit.op("Sum", *terms)
    return emit.op("Squeeze", total, emit.integers(taps))


def _padded(emit: Emitter, x: str, begins: Sequence[int], ends: Sequence[int]) -> str:
    """Pad, folded where x is a constant."""
    array = emit.known(x)
    if array is None or not any((*begins, *ends)):
        return emit.pad(x, [*begins, *ends])
    return emit.constant(np.pad(array, list(zip(begins, ends, strict=True))))
