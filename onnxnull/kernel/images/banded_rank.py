"""The rank of a convolution, exactly over a field, by carrying the partial kernels along one axis.

Write the convolution as a band: strip j of the outputs (along the first axis) reads a few consecutive strips of the input.
Keep the space V_j of inputs seen so far on which the outputs 0…j vanish. What comes later reads of V_j only its values on
the last few strips, the frontier: a subspace S_j. Those elements of V_j that vanish there are finished kernel elements
and are only counted. One step stacks S_j and the new inputs, takes the left null space against strip j + 1 and
projects it on the next frontier. At the end the count is the dimension of the kernel: no bound, the number itself.

Where a step repeats (interior strips and the same S) the remaining ones add the same, so injective and surjective
convolutions finish after a few steps. Modulo a prime the nullity can only exceed that over ℚ, so the result is a proved
upper bound there; in float64 it is numerical and given only where every rank was clear.
"""

from __future__ import annotations

import numpy as np

from onnxnull.kernel.budget import ENTRY_WORK, Budget, OutOfBudget
from onnxnull.kernel.images.splitting import Axis, ConvolutionPart, Weight, unroll
from onnxnull.kernel.numerics.arithmetic import Field

# A line of the image is written out as a dense matrix of at most this many entries (160 MB).
_LINE_ENTRIES = 20_000_000


def banded_rank(part: ConvolutionPart, field: Field, budget: Budget) -> int:
    """rank(part) over `field`; OutOfBudget where that costs too much, UnclearRank from the float64 field."""
    axis = part.axes[0]
    line = part.weight
    # (C, k, …) → one row of strips: every other axis written out in full
    for other in part.axes[1:]:
        if line.size // line.shape[2] * other.inputs * other.outputs > _LINE_ENTRIES:
            raise OutOfBudget
        # unroll wants the axis to write out first; the first axis (now behind it) stays an axis
        line = unroll(np.moveaxis(line, 2, 1), other, (0, other.inputs), (0, other.outputs))
    taps = np.moveaxis(line, 1, 0)
    return _carry(axis, taps, field, budget)


def _carry(axis: Axis, taps: Weight, field: Field, budget: Budget) -> int:
    """The rank of the band: `taps` is (kernel, strip inputs, strip outputs)."""
    _, width, columns = taps.shape
    finished = 0
    seen_until = 0
    unread = 0
    state = np.zeros((0, 0), dtype=taps.dtype)
    output = 0
    while output < axis.outputs:
        first, stop = axis.reads(output)
        if stop == first:
            output += 1
            continue
        unread += max(0, first - seen_until)
        new = max(0, stop - max(first, seen_until))
        old = stop - first - new
        # earlier strips than `first` were dropped when the state was projected
        start = output * axis.stride - axis.begin
        local = taps[first - start : stop - start].reshape(-1, columns)
        rows = len(state) + new * width
        state_width = (stop - first) * width
        work = rows * columns * (min(rows, columns) + ENTRY_WORK) + rows * state_width * (rows + ENTRY_WORK)
        budget.spend(work)
        stacked = np.concatenate([field.multiply(state, local[: old * width]), local[old * width :]])
        null = field.left_null(stacked)
        vectors = np.concatenate([field.multiply(null[:, : len(state)], state), null[:, len(state) :]], axis=1)
        seen_until = max(seen_until, stop)
        upcoming = axis.reads(output + 1)[0] if output + 1 < axis.outputs else axis.inputs
        left = min(max(first, upcoming), stop)
        following = field.row_basis(vectors[:, (left - first) * width :])
        gained = len(null) - len(following)
        finished += gained
        repeats = _repeats(axis, output) if output and field.same_space(state, following) else 0
        if not repeats and 0 < len(following) == len(state) and work * (axis.outputs - output) > budget.left:
            # the state moves without growing or shrinking, as in a square convolution: there is no short cut to the end
            raise OutOfBudget
        if repeats:
            # strips output … output + repeats all look alike and map the state to itself
            finished += gained * repeats
            output += repeats
            seen_until += repeats * axis.stride
        state = following
        output += 1
    finished += len(state)
    unread += axis.inputs - seen_until
    return int(axis.inputs * width - finished - unread * width)


def _repeats(axis: Axis, output: int) -> int:
    """How many outputs after this one see the same picture: nothing clipped, `stride` new strips each."""

    def interior(o: int) -> bool:
        start = o * axis.stride - axis.begin
        return start >= 0 and start + axis.kernel <= axis.inputs

    if axis.stride > axis.kernel or not (interior(output) and interior(output - 1)):
        return 0
    last = min(axis.outputs - 1, (axis.inputs - axis.kernel + axis.begin) // axis.stride)
    # the last interior strip is followed by another projection, so it is stepped through
    return max(0, last - 1 - output)
