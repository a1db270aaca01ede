"""Input nullity: the dimension of the kernel of a convolution as an operator on its whole input tensor (design §2).

What the numbers mean, and what is proved:

- **exact**: the operator's nullity over ℚ for the stored numbers. Both ends are theorems. From above: inputs − rank modulo
  a prime, of blocks (sweep) or of the whole operator (frontier, elimination). From below: unread inputs, and counting
  (inputs − outputs and its refinements) with filters counted by a proved upper bound of their rank over ℚ.
- **float64** (and **float32**): every group's filters are first replaced by an orthonormal basis of their numerical span at
  that cut-off (that of the block-diagonal matrix, as in the patch nullity). Meant is the dimension of the kernel of *that*
  operator by linear algebra over ℝ. The sweep proves its upper bound for the basis as stored if every block's rank is
  certified; counting is proved. A frontier in float64 is numerical. It is not the number of singular values of the whole
  operator below a cut-off: modes that decay exponentially from a border are not in the kernel however small their gain.
  Small operators are the exception: they are done densely by singular values, which do count such modes.

`proved` says which ends are theorems in that sense. At a cut-off the basis has as many columns as the certificate of the
filters' rank counts; where there is no certificate neither end is proved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.images.elimination import injective_channels
from onnxnull.kernel.images.rank_bounds import NOTHING, RankBounds, exact_filters, group_bounds, numerical_filters
from onnxnull.kernel.maps.convolution import Convolution, TransposedConvolution
from onnxnull.kernel.maps.im2col import ConvGeometry, tap_slices
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.kernel.rank import Notion, RankProfile, rank, rank_profile
from onnxnull.kernel.span import ColumnSpan, column_span

# Operators with at most this many inputs are done densely …
DENSE_LIMIT = 1500
# … if their matrix has at most this many entries.
_DENSE_ENTRIES = 6_000_000
# Multiply-adds that one call may spend: one or two seconds on one core.
WORK = 2e9


@dataclass(frozen=True)
class InputNullity:
    """lower ≤ input nullity ≤ upper, in the notion that was asked for."""

    lower: int
    upper: int
    lower_reason: str
    upper_reason: str
    lower_proved: bool
    upper_proved: bool
    unread: int
    inputs: int

    @property
    def tight(self) -> bool:
        """Whether the bounds are one number."""
        return self.lower == self.upper

    @property
    def proved(self) -> bool:
        """Whether both ends are theorems (see the module's docstring for of what)."""
        return self.lower_proved and self.upper_proved

    @property
    def bounds(self) -> Bounds:
        """The two ends alone."""
        return Bounds(self.lower, self.upper, self.proved)


def image_nullity(
    operator: Convolution | TransposedConvolution,
    notion: Notion,
    *,
    ranks: RankProfile | None = None,
    dense_limit: int = DENSE_LIMIT,
    work: float = WORK,
) -> InputNullity:
    """Bounds on the dimension of {x : operator(x) = 0}, x of the operator's input shape.

    `ranks`: of the operator's blocks, where they are known. `dense_limit`: operators with at most this many inputs are done by
    their dense matrix (0 turns that off). `work`: how many multiply-adds the sweeps and frontiers may spend; the result depends
    on it, never on the clock.
    """
    convolution = operator if isinstance(operator, Convolution) else operator.forward
    if not np.isfinite(convolution.blocks).all():
        raise ValueError("a weight with NaN or Inf has no kernel")
    transposed = isinstance(operator, TransposedConvolution)
    read_inputs, read_outputs = count_read(convolution)
    unread = operator.inputs - (read_outputs if transposed else read_inputs)
    span = None if notion is Notion.EXACT else column_span(convolution.blocks, notion, ranks=ranks)
    certified = span is None or span.proved
    known = _block_ranks(convolution.blocks, ranks)
    bounds = _rank_bounds(convolution, span, known, work, dense=_is_small(operator, dense_limit))
    upper_rank, upper_method, upper_proved = bounds.upper, bounds.upper_method, bounds.upper_proved
    readable = min(read_inputs, read_outputs)
    if readable < upper_rank or (readable == upper_rank and not upper_proved):
        upper_rank, upper_method, upper_proved = readable, "unread", True
    return InputNullity(
        lower=operator.inputs - upper_rank,
        upper=operator.inputs - min(bounds.lower, upper_rank),
        lower_reason=_LOWER_REASONS.get(upper_method, upper_method),
        upper_reason=_UPPER_REASONS.get(bounds.lower_method, bounds.lower_method),
        lower_proved=upper_proved and certified,
        upper_proved=bounds.lower_proved and certified,
        unread=unread,
        inputs=operator.inputs,
    )


def image_nullities(
    operator: Convolution | TransposedConvolution, *, ranks: RankProfile | None = None, work: float = WORK
) -> tuple[InputNullity, InputNullity]:
    """`image_nullity` at the float64 cut-off and over ℚ. `ranks`: of the operator's blocks, where they are known already.

    Where the filters' rank at the cut-off is their rank over ℚ (both proved), their numerical span is their span: there is one
    kernel, and the exact bounds are those of both. Only for small operators whose exact bounds are not tight, the dense matrix
    in floating point may say more.
    """
    found = ranks or rank_profile(operator.blocks)
    exact = image_nullity(operator, Notion.EXACT, ranks=found, work=work)
    one_kernel = (
        found.exact is not None
        and found.exact.certainty.is_proved
        and found.float64.certainty.is_proved
        and found.exact.value == found.float64.value
    )
    if one_kernel and (exact.tight or not _is_small(operator, DENSE_LIMIT)):
        return exact, exact
    return image_nullity(operator, Notion.FLOAT64, ranks=found, work=work), exact


_LOWER_REASONS = {
    "": "all filters vanish",
    "count": "dimension count",
    "unread": "unread inputs",
    "dense": "dense matrix",
    "frontier": "frontier in float64",
    "patch": "independent patches",
}
_UPPER_REASONS = {
    "": "all filters vanish",
    "none": "number of inputs",
    "sweep": "block sweep",
    "dense": "dense matrix",
    "frontier": "frontier",
    "elimination": "banded elimination",
    "patch": "independent patches",
}


def _block_ranks(blocks: Array, ranks: RankProfile | None) -> list[int | None]:
    """The rank over ℚ of each block, where the proof for the whole weight says it: of one block, or of blocks of full rank."""
    proved = ranks.exact.value if ranks is not None and ranks.exact is not None and ranks.exact.certainty.is_proved else None
    if proved is None:
        return [None] * len(blocks)
    if len(blocks) == 1:
        return [proved]
    possible = [min(int(block.any(axis=1).sum()), int(block.any(axis=0).sum())) for block in blocks]
    return list(possible) if sum(possible) == proved else [None] * len(blocks)


def _rank_bounds(
    convolution: Convolution, span: ColumnSpan | None, known: Sequence[int | None], work: float, *, dense: bool
) -> RankBounds:
    """The dense matrix decides at a cut-off; over ℚ the structured bounds mean the same and are much faster.

    `span` of the filters at the cut-off; None over ℚ. `known`: the ranks of the blocks over ℚ, where they are known.
    """
    if dense and span is not None:
        return _dense_bounds(convolution, span)
    structured = _structured_bounds(convolution, span, known, work)
    size = convolution.inputs * convolution.outputs / convolution.geometry.groups
    if not dense or structured.lower == structured.upper or size * min(convolution.inputs, convolution.outputs) > work:
        return structured
    exact = _dense_bounds(convolution, span)
    return exact if exact.lower_proved and exact.upper_proved else structured


def _is_small(operator: Convolution | TransposedConvolution, limit: int) -> bool:
    groups = operator.geometry.groups
    return operator.inputs <= limit and operator.inputs * operator.outputs / groups <= _DENSE_ENTRIES


def _structured_bounds(
    convolution: Convolution, span: ColumnSpan | None, known: Sequence[int | None], work: float
) -> RankBounds:
    geometry, blocks = convolution.geometry, convolution.blocks
    total = NOTHING
    injective = injective_channels(geometry, blocks, work=5 * work)
    for group, (block, is_injective) in enumerate(zip(blocks, injective, strict=True)):
        # over ℚ the filter and its multiples have the same kernel, so this serves every notion in which it is not zero
        if is_injective and (span is None or span.bases[group].shape[1]):
            inputs = math.prod(geometry.spatial)
            total = total + RankBounds(inputs, inputs, "elimination", "count", True, True)
            continue
        if span is None:
            filters = exact_filters(block, geometry.kernel, known[group])
        else:
            filters = numerical_filters(span.bases[group], geometry.kernel)
        total = total + group_bounds(geometry, filters, work=work / len(blocks))
    return total


def _dense_bounds(convolution: Convolution, span: ColumnSpan | None) -> RankBounds:
    """The rank of the operator's dense matrix, group by group; of its filters' `span`, or over ℚ."""
    geometry = convolution.geometry
    alone = ConvGeometry(
        geometry.spatial,
        geometry.kernel,
        geometry.strides,
        geometry.dilations,
        geometry.pads_begin,
        geometry.pads_end,
        geometry.channels // geometry.groups,
        1,
    )
    total = NOTHING
    for block in convolution.blocks if span is None else span.bases:
        matrix = Convolution(alone, block[None]).dense()
        # position by position, so that what some outputs read lies together
        by_position = matrix.reshape(len(matrix), -1, geometry.positions).transpose(2, 1, 0).reshape(-1, len(matrix))
        found = rank(by_position.T, Notion.EXACT if span is None else Notion.FLOAT64)
        proved = found.certainty.is_proved
        total = total + RankBounds(found.lower, found.upper, "dense", "dense", proved, proved)
    return total


def count_read(convolution: Convolution) -> tuple[int, int]:
    """(inputs that some output reads with a nonzero weight, outputs that read some input so)."""
    geometry = convolution.geometry
    groups, _, columns = convolution.blocks.shape
    taps = (convolution.blocks != 0).reshape(groups, geometry.channels // groups, *geometry.kernel, columns)
    inputs: dict[bytes, int] = {}
    outputs: dict[bytes, int] = {}
    read_inputs = read_outputs = 0
    for group in range(groups):
        for mask in taps[group].any(axis=-1):
            key = mask.tobytes()
            if key not in inputs:
                inputs[key] = _covered(geometry, mask)[0]
            read_inputs += inputs[key]
        for mask in np.moveaxis(taps[group].any(axis=0), -1, 0):
            key = mask.tobytes()
            if key not in outputs:
                outputs[key] = _covered(geometry, mask)[1]
            read_outputs += outputs[key]
    return read_inputs, read_outputs


def _covered(geometry: ConvGeometry, mask: np.ndarray) -> tuple[int, int]:
    """With these taps (kernel-shaped booleans): positions of the input that are read, of the output that read any."""
    if geometry.positions == 0 or min(geometry.spatial, default=1) == 0:
        return 0, 0
    axes = range(mask.ndim)
    used = [np.flatnonzero(mask.any(axis=tuple(other for other in axes if other != axis))) for axis in axes]
    if math.prod(map(len, used)) == np.count_nonzero(mask):  # a box of taps, as nearly always: every axis on its own
        along = [_covered_axis(geometry, axis, taps) for axis, taps in enumerate(used)]
        return math.prod(inputs for inputs, _ in along), math.prod(outputs for _, outputs in along)
    padded = tuple(
        (count - 1) * stride + extent
        for count, stride, extent in zip(geometry.output_spatial, geometry.strides, geometry.extent, strict=True)
    )
    inside = np.zeros(padded, dtype=bool)
    inside[
        tuple(slice(max(0, begin), max(0, begin + n)) for begin, n in zip(geometry.pads_begin, geometry.spatial, strict=True))
    ] = True
    read = np.zeros(padded, dtype=bool)
    reads = np.zeros(geometry.output_spatial, dtype=bool)
    for tap in product(*(range(k) for k in geometry.kernel)):
        if mask[tap]:
            where = tap_slices(geometry, tap)
            read[where] = True
            reads |= inside[where]
    return int((read & inside).sum()), int(reads.sum())


def _covered_axis(geometry: ConvGeometry, axis: int, taps: npt.NDArray[np.intp]) -> tuple[int, int]:
    """The same along one axis."""
    inputs = geometry.spatial[axis]
    first = np.arange(geometry.output_spatial[axis]) * geometry.strides[axis] - geometry.pads_begin[axis]
    read = np.zeros(inputs, dtype=bool)
    reads = np.zeros(len(first), dtype=bool)
    for tap in taps:
        position = first + tap * geometry.dilations[axis]
        inside = (position >= 0) & (position < inputs)
        read[position[inside]] = True
        reads |= inside
    return int(read.sum()), int(reads.sum())
