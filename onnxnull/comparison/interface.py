"""Inputs and outputs of two models in pairs, and the shapes at which both are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnxnull.graph.model import GraphInput, Model

Shapes = tuple[dict[str, list[int]], dict[str, list[int]]]
"""For each of two models, input → dimensions."""
BATCHES = (3, 1030, 4)
"""Samples at which models with an open batch are read for a proof: a batch of one hides shapes that were written for one, one
of three what was written for three, and both hide that no more than 1,000 are kept. The last one stands for the second where
constants would get too large."""


def input_pairs(a: Model, b: Model) -> list[tuple[GraphInput, GraphInput]]:
    """By name where all names are the same, else in order."""
    named = {described.name: described for described in b.inputs}
    if set(named) == {described.name for described in a.inputs}:
        return [(described, named[described.name]) for described in a.inputs]
    return list(zip(a.inputs, b.inputs, strict=False))


def output_pairs(a: Model, b: Model) -> list[tuple[str, str]]:
    """By name where all names are the same, else in order."""
    first, second = ([value.name or "" for value in model.graph.outputs] for model in (a, b))
    return [(name, name) for name in first] if set(first) == set(second) else list(zip(first, second, strict=False))


def unlike(a: Model, b: Model) -> str | None:
    """Why the two can have no inputs or outputs in common; None where they can."""
    for what, one, other in (
        ("inputs", len(a.inputs), len(b.inputs)),
        ("outputs", len(a.graph.outputs), len(b.graph.outputs)),
    ):
        if one != other:
            return f"one has {one} {what}, the other {other}"
    for first, second in input_pairs(a, b):
        if _kind(first.dtype) != _kind(second.dtype):
            return f"input {first.name!r} is {first.dtype}, {second.name!r} is {second.dtype}"
    return None


def shaped_alike(a: Model, b: Model) -> bool:
    """Whether inputs have the same shapes wherever both are known."""
    return all(_agrees(first.shape, second.shape) for first, second in input_pairs(a, b))


def common_shapes(a: Model, b: Model, *, batch: int | None) -> Shapes | None:
    """For each model, shapes of inputs that one leaves open and the other does not; an open batch is `batch`, if that is given.

    None where there are none.
    """
    found: Shapes = ({}, {})
    for pair in input_pairs(a, b):
        one, other = (described.shape for described in pair)
        if one is None or other is None or not _agrees(one, other):
            continue
        sizes = [x if x is not None else y for x, y in zip(one, other, strict=True)]
        if sizes and sizes[0] is None and len(sizes) > 1 and batch is not None:
            sizes[0] = batch
        whole = [size for size in sizes if size is not None]
        if len(whole) == len(sizes):
            for described, given in zip(pair, found, strict=True):
                if described.shape != tuple(whole):
                    given[described.name] = whole
    return found if found[0] or found[1] else None


def _kind(dtype: str) -> str:
    if dtype.startswith(("float", "bfloat", "double")):
        return "float"
    return "integer" if dtype.startswith(("int", "uint")) else dtype


def _agrees(a: Sequence[int | None] | None, b: Sequence[int | None] | None) -> bool:
    if a is None or b is None:
        return True
    return len(a) == len(b) and all(x is None or y is None or x == y for x, y in zip(a, b, strict=True))


def check_names(shapes: Mapping[str, Sequence[int]], a: Model, b: Model) -> None:
    """Refuse a shape for an input that neither model has. Raises `OnnxnullError`."""
    from onnxnull.errors import Code, OnnxnullError

    names = [described.name for model in (a, b) for described in model.inputs]
    for name in shapes:
        if name not in names:
            known = ", ".join(repr(n) for n in dict.fromkeys(names)) or "none"
            raise OnnxnullError(Code.INPUT_SHAPE, f"neither model has an input {name!r}; inputs are {known}")
