"""The joint kernel of a frontier: its dimension."""

from __future__ import annotations

from onnxnull.frontier.joining import canonical, merge, spans_are_certified
from onnxnull.frontier.walk import Frontier
from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.maps.linear_map import LinearMap, Stack, size
from onnxnull.kernel.nullity import dense_nullity, is_small, nullity
from onnxnull.kernel.rank import Notion


def joint_nullity(frontier: Frontier, notion: Notion) -> Bounds:
    """Bounds on the dimension of the joint kernel of the frontier's layers, in the input's entries (one batch).

    It is the intersection of the layers' kernels, each at its own cut-off: a layer of small weights beside one of large ones
    counts in full.

    Raises:
        UnknownShapeError: a shape on a path is not known.
        ValueError: `notion` is the float32 cut-off; or a weight holds NaN or Inf.
    """
    if notion is Notion.FLOAT32:
        raise ValueError("a joint kernel is bounded at the float64 cut-off or over the rationals")
    layers = [layer.map() for layer in frontier.distinct]
    maps = merge(layers, notion)
    if not maps:  # nothing reads the input: every change of it is in the kernel
        everything = size(frontier.shape)
        return Bounds(everything, everything, True)
    inputs = maps[0].inputs
    whole = maps[0] if len(maps) == 1 else Stack(tuple(maps))
    if len(maps) > 1 and is_small(whole):
        return dense_nullity(whole, notion)
    parts = [path_nullity(one, notion) for one in maps]
    # ranks add up at most: dim ∩ ker ≥ inputs − Σ rank; and an intersection is no larger than its smallest part
    lower = inputs - sum(inputs - part.lower for part in parts)
    proved = all(part.proved for part in parts) and (len(maps) == len(layers) or spans_are_certified(layers, notion))
    return Bounds(max(0, lower), min(part.upper for part in parts), proved)


def path_nullity(linear_map: LinearMap, notion: Notion) -> Bounds:
    """Bounds on the nullity of one layer composed with its path."""
    core, selection = canonical(linear_map)
    found = nullity(core, notion)
    if selection is None:
        return found
    # dim ker(A∘L) = dim ker L + dim(range L ∩ ker A), and range L has codimension outputs − rank
    lost, missing = selection.inputs - selection.rank, selection.outputs - selection.rank
    if missing and is_small(linear_map):
        return dense_nullity(linear_map, notion)
    lower, upper = lost + max(0, found.lower - missing), lost + min(found.upper, selection.rank)
    return Bounds(lower, upper, found.proved)
