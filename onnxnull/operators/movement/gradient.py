"""Gradients of operators that move, copy or drop entries: cotangents move back, and add up where an entry was copied."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from onnxnull.operators.gradients import NotDifferentiableError, Pull, differentiates, fixed, through_lowering

through_lowering("Resize")


@differentiates("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshaped(pull: Pull) -> Mapping[int, str]:
    """In the operand's own shape."""
    return {0: pull.reshaped(pull.cotangent)}


@differentiates("Transpose")
def transposed(pull: Pull) -> Mapping[int, str]:
    """By the inverse permutation."""
    axes = pull.site.attribute("perm", None) or list(range(pull.site.rank()))[::-1]
    return {0: pull.emit.transpose(pull.cotangent, [int(i) for i in np.argsort(axes)])}


@differentiates("Expand")
def expanded(pull: Pull) -> Mapping[int, str]:
    """Summed over what was repeated."""
    return {0: pull.summed(pull.cotangent, 0)}


@differentiates("Tile")
def tiled(pull: Pull) -> Mapping[int, str]:
    """Summed over the copies."""
    emit, repeats, shape = pull.emit, pull.site.constant(1), pull.known(0)
    if repeats is None or shape is None:
        raise NotDifferentiableError("its shape or its repeats are not known")
    apart = [n for r, size in zip(repeats.tolist(), shape, strict=True) for n in (int(r), size)]
    copies = emit.sum(emit.reshape(pull.cotangent, apart), list(range(0, len(apart), 2)), keepdims=False)
    return {0: pull.reshaped(copies)}


@differentiates("DepthToSpace")
def depth_to_space(pull: Pull) -> Mapping[int, str]:
    """Blocks of space become channels again."""
    emit, shape, block = pull.emit, pull.known(0), int(pull.site.attribute("blocksize", 1))
    if shape is None:
        raise NotDifferentiableError("its shape is not known")
    n, c, h, w = shape
    apart = emit.reshape(pull.cotangent, (n, c // block**2, h, block, w, block))
    order = [0, 3, 5, 1, 2, 4] if pull.site.attribute("mode", "DCR") == "DCR" else [0, 1, 3, 5, 2, 4]
    return {0: pull.reshaped(emit.transpose(apart, order))}


@differentiates("SpaceToDepth")
def space_to_depth(pull: Pull) -> Mapping[int, str]:
    """Channels become blocks of space again."""
    return {0: pull.emit.op("DepthToSpace", pull.cotangent, blocksize=int(pull.site.attribute("blocksize", 1)), mode="DCR")}


@differentiates("Concat")
def concat(pull: Pull) -> Mapping[int, str]:
    """Split again."""
    emit, site = pull.emit, pull.site
    axis, lengths = int(site.attribute("axis", 0)), []
    for index, name in enumerate(site.inputs):
        shape = site.shape(index)
        known = None if shape is None else shape[axis]
        if known is None:
            at = axis if axis >= 0 else axis + site.rank(index)
            lengths.append(emit.shape(name, at, at + 1))
        else:
            lengths.append(emit.integers(known))
    known_lengths = [emit.known(name) for name in lengths]
    if all(length is not None for length in known_lengths):
        sizes = emit.integers(*(int(length[0]) for length in known_lengths if length is not None))
    else:
        sizes = emit.concat(lengths)
    parts = emit.ops("Split", pull.cotangent, sizes, outputs=len(site.inputs), axis=axis)
    return {index: parts[index] for index in pull.wanted}


@differentiates("Split")
def split(pull: Pull) -> Mapping[int, str]:
    """Side by side again, zeros where nothing depends on a part."""
    emit, site, parts = pull.emit, pull.site, []
    for name, cotangent, shape in zip(site.outputs, pull.cotangents, pull.outputs, strict=True):
        if cotangent is None:
            known = None if shape is None or None in shape else emit.integers(*(n or 0 for n in shape))
            if known is None and not name:
                raise NotDifferentiableError("the shape of a part is not known")
            cotangent = emit.op("Expand", emit.constant(0.0), known or emit.shape(name))
        parts.append(cotangent)
    return {0: emit.concat(parts, int(site.attribute("axis", 0)))}


@differentiates("Pad")
def pad(pull: Pull) -> Mapping[int, str]:
    """The border is cut off; where it was made of entries of the image, those get its cotangents too."""
    emit, site = pull.emit, pull.site
    if pull.wanted - {0}:
        raise NotDifferentiableError("the value that it pads with depends on the input")
    pads, mode, rank = site.constant(1), site.attribute("mode", "constant"), site.rank()
    axes = list(range(rank))
    if site.input(3) is not None:
        given = site.constant(3)
        if given is None:
            raise NotDifferentiableError("axes that are no constants")
        axes = [int(axis) % rank for axis in given.ravel()]
    if mode == "constant" and pads is None and axes == list(range(rank)):
        return {0: emit.pad(pull.cotangent, emit.op("Neg", site.inputs[1]))}
    if pads is None:
        raise NotDifferentiableError("pads that are no constants")
    begins, ends = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        begins[axis], ends[axis] = int(pads[i]), int(pads[i + len(axes)])
    if mode == "constant":
        return {0: emit.pad(pull.cotangent, [-p for p in (*begins, *ends)])}
    shape = pull.known(0)
    if shape is None:
        raise NotDifferentiableError(f"mode {mode!r} of a shape that is not known")
    if mode not in ("reflect", "edge", "wrap") or min(*begins, *ends) < 0:
        raise NotDifferentiableError(f"mode {mode!r}, or one that removes entries")
    cotangent = pull.cotangent
    sizes = tuple(n + begin + end for n, begin, end in zip(shape, begins, ends, strict=True))
    for axis, n in enumerate(shape):
        if begins[axis] or ends[axis]:
            places = np.pad(np.arange(n), (begins[axis], ends[axis]), mode)
            after = (*sizes[:axis], n, *sizes[axis + 1 :])
            cotangent = _placed(pull, cotangent, axis, emit.integers(*places.tolist()), sizes, after)
            sizes = after
    return {0: cotangent}


@differentiates("Slice")
def sliced(pull: Pull) -> Mapping[int, str]:
    """Put back among zeros."""
    emit, site, rank = pull.emit, pull.site, pull.site.rank()
    starts, stops, axes, steps = (site.constant(index) for index in range(1, 5))
    if site.input(3) is not None and axes is None:
        raise NotDifferentiableError("axes that are no constants")
    listed = [int(axis) % rank for axis in axes.ravel()] if axes is not None else None
    shape = pull.known(0)
    plain = site.input(4) is None or (steps is not None and bool(np.all(steps == 1)))
    if shape is not None and starts is not None and stops is not None and plain:
        pads = [0] * (2 * rank)
        for i, axis in enumerate(listed if listed is not None else range(starts.size)):
            begin, end, _ = slice(int(starts[i]), int(stops[i])).indices(shape[axis])
            pads[axis], pads[rank + axis] = begin, shape[axis] - max(begin, end)
        return {0: emit.pad(pull.cotangent, pads)}
    if listed is None:
        if starts is None:
            raise NotDifferentiableError("as many axes as the model's inputs say")
        listed = list(range(starts.size))
    cotangent, sizes = pull.cotangent, fixed(pull.outputs[0])
    for i, axis in enumerate(listed):
        if shape is not None and sizes is not None and starts is not None and stops is not None and steps is not None:
            places = emit.integers(*range(*slice(int(starts[i]), int(stops[i]), int(steps[i])).indices(shape[axis])))
            whole: tuple[int, ...] | str = (*sizes[:axis], shape[axis], *sizes[axis + 1 :])
        else:
            length = emit.shape(site.inputs[0], axis, axis + 1)
            every = emit.op("Range", emit.constant(np.array(0)), emit.op("Squeeze", length), emit.constant(np.array(1)))
            bounds = [emit.slice(site.inputs[k], 0, i, i + 1) for k in (1, 2)]
            step = emit.integers(1) if site.input(4) is None else emit.slice(site.inputs[4], 0, i, i + 1)
            places, whole = emit.op("Slice", every, *bounds, emit.integers(0), step), _resized(pull, cotangent, axis, length)
        cotangent = _placed(pull, cotangent, axis, places, sizes, whole)
        sizes = None if isinstance(whole, str) else whole
    return {0: cotangent}


@differentiates("Gather")
def gathered(pull: Pull) -> Mapping[int, str]:
    """Added up at the entries that were taken. One stored index is a slice."""
    emit, site, rank = pull.emit, pull.site, pull.site.rank()
    axis = int(site.attribute("axis", 0)) % rank
    indices, shape, taken = site.constant(1), pull.known(0), site.shape(1)
    if taken is None:
        raise NotDifferentiableError("the rank of its indices is not known")
    if len(taken) == 0:
        cotangent = emit.op("Unsqueeze", pull.cotangent, emit.integers(axis))
    elif len(taken) == 1:
        cotangent = pull.cotangent
    else:
        parts = [emit.shape(pull.cotangent, 0, axis)] if axis else []
        behind = [emit.shape(pull.cotangent, axis + len(taken))] if axis + 1 < rank else []
        cotangent = emit.op("Reshape", pull.cotangent, emit.concat([*parts, emit.integers(-1), *behind]))
    if indices is not None and indices.size == 1 and shape is not None:
        at = int(indices.ravel()[0]) % shape[axis]
        pads = [0] * (2 * rank)
        pads[axis], pads[rank + axis] = at, shape[axis] - at - 1
        return {0: emit.pad(cotangent, pads)}
    places, count = emit.reshape(site.inputs[1], (-1,)), fixed(taken)
    sizes = None if shape is None or count is None else (*shape[:axis], math.prod(count), *shape[axis + 1 :])
    return {0: _placed(pull, cotangent, axis, places, sizes, shape or pull.shape_of(0))}


@differentiates("GatherElements")
def gathered_elements(pull: Pull) -> Mapping[int, str]:
    """Added up at the entries that were taken."""
    axis = int(pull.site.attribute("axis", 0))
    return {0: pull.emit.op("ScatterElements", pull.zeros(0), pull.site.inputs[1], pull.cotangent, axis=axis, reduction="add")}


@differentiates("ScatterElements")
def scattered(pull: Pull) -> Mapping[int, str]:
    """The updates get what lies where they went; the data all of it, less what updates replaced."""
    emit, site, axis = pull.emit, pull.site, int(pull.site.attribute("axis", 0))
    reduction, found = site.attribute("reduction", "none"), {}
    if reduction not in ("none", "add"):
        raise NotDifferentiableError(f"reduction {reduction!r}")
    if 2 in pull.wanted:
        found[2] = emit.op("GatherElements", pull.cotangent, site.inputs[1], axis=axis)
    if 0 in pull.wanted:
        found[0] = pull.cotangent
        if reduction == "none":
            found[0] = emit.op("ScatterElements", pull.cotangent, site.inputs[1], pull.zeros(2), axis=axis)
    return found


def _placed(
    pull: Pull, cotangent: str, axis: int, places: str, before: tuple[int, ...] | None, after: tuple[int, ...] | str
) -> str:
    """Entries of the cotangent along an axis, added up at `places` (a vector) in zeros.

    Args:
        before: shape of the cotangent, where it is known.
        after: shape of the result.
    """
    emit, rank = pull.emit, pull.site.rank()
    column = emit.reshape(places, (-1, *(1,) * (rank - axis - 1)))
    everywhere = emit.op("Expand", column, emit.shape(cotangent) if before is None else emit.integers(*before))
    empty = emit.op("Expand", emit.constant(0.0), after if isinstance(after, str) else emit.integers(*after))
    return emit.op("ScatterElements", empty, everywhere, cotangent, axis=axis, reduction="add")


def _resized(pull: Pull, cotangent: str, axis: int, length: str) -> str:
    """The shape of the cotangent, of another length along an axis."""
    emit, sizes, rank = pull.emit, pull.emit.shape(cotangent), pull.site.rank()
    before = [emit.slice(sizes, 0, 0, axis)] if axis else []
    behind = [emit.slice(sizes, 0, axis + 1)] if axis + 1 < rank else []
    return emit.concat([*before, length, *behind])
