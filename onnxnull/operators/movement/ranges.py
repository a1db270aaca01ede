"""Ranges of what moves entries and changes none: Reshape, Concat, Gather, Pad, ScatterND, ... (all opsets).

Where the entries of an operand differ in more than their bounds, the evaluator moves the entries' own numbers, and the ranges
follow; where it cannot (an unknown shape, indices that are computed, too many entries), the union of all is taken.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onnxnull.graph.constants import apply
from onnxnull.graph.evaluable import is_one_by_one
from onnxnull.graph.node import Node
from onnxnull.intervals.domain import (
    LARGEST,
    Range,
    anything,
    assembled,
    between,
    collapsed,
    made,
    mapped,
    number,
    reshaped,
    union,
)
from onnxnull.operators.movement.facts import MOVING
from onnxnull.operators.range_rules import (
    Operands,
    axis_length,
    finite_of_finite,
    given,
    gives,
    output_type,
    part_along,
    rank_of,
)
from onnxnull.operators.steps import constant_value

_MOVED = dict.fromkeys(MOVING - {"Identity"}, (0,)) | dict.fromkeys(("Scatter", "ScatterElements", "ScatterND"), (0, 2))
"""Operator → operands whose entries it moves; the others say where to."""
_ZEROS = {"Trilu"}
"""These also put zeros."""
_FLAGS = ("nan", "pinf", "ninf", "fixed", "empty")
_LOOP = 1000
"""How much more an entry costs where the evaluator handles them one by one."""


@gives(*_MOVED)
def moved(node: Node, of: Operands) -> list[Range]:
    """The entries of the operands that are moved, wherever the others say; the latter decide for each input anew."""
    places = _MOVED[node.op_type]
    sources = [given(of, index) for index in places]
    outputs = range(len(node.outputs))
    if node.op_type == "Compress" and (kept := of(1)) is not None and not np.any(kept.hi > 0):
        return [replace(anything(output_type(node)), fixed=np.asarray(True))]  # nothing
    if str(node.attribute("reduction", "none")) != "none":
        return [anything(output_type(node))]
    if node.op_type in _ZEROS:
        sources.append(number(0.0))
    exact = [_followed(node, of, dict(zip(places, sources, strict=False)), output) for output in outputs]
    others = [given(of, index) for index, operand in enumerate(node.inputs) if operand is not None and index not in places]
    settled = all(each.fixed.all() for each in others)
    whole = _together([collapsed(each) for each in sources], settled)
    return [whole if found is None else found for found in exact]


def _together(sources: list[Range], settled: bool) -> Range:
    """One or the other; the same for all inputs if each is, and which one is."""
    joined = union(*sources)
    kept = settled and all(bool(each.fixed.all()) for each in sources)
    return made(joined.lo, joined.hi, joined.nan, joined.pinf, joined.ninf, kept, joined.sized)


def _followed(node: Node, of: Operands, sources: dict[int, Range], output: int) -> Range | None:
    """Entry by entry, by moving numbers; None where nothing is gained or it cannot be done."""
    import onnx_ir as ir

    puts_zeros = node.op_type in _ZEROS or (node.op_type == "Pad" and 2 not in sources)
    if _alike([*sources.values(), *([number(0.0)] if puts_zeros else [])]):
        return None
    target = node.outputs[output]
    shapes = {index: None if (operand := node.input(index)) is None else operand.shape for index in sources}
    if (
        target is None
        or target.shape is None
        or any(shape is None or None in shape for shape in (target.shape, *shapes.values()))
    ):
        return None
    known = {index: tuple(size or 0 for size in shape or ()) for index, shape in shapes.items()}
    sizes = [int(np.prod(shape, dtype=np.float64)) for shape in known.values()]
    entries = max(sum(sizes), int(np.prod([size or 0 for size in target.shape], dtype=np.float64)))
    if entries > LARGEST or not of.affords(entries * (_LOOP if is_one_by_one(node) else 1)):
        return None
    arrays: list[np.ndarray | None] = []
    pool: list[Range] = [reshaped(number(0.0), (1,))]  # number 0 is the zero that an operator puts
    start = 1
    for index in range(len(node.inputs)):
        if index in known:
            size = int(np.prod(known[index]))
            arrays.append(np.arange(start, start + size, dtype=np.int64).reshape(known[index]))
            start += size
            pool.append(_spread(sources[index], known[index]))
        elif node.inputs[index] is None:
            arrays.append(None)
        else:
            arrays.append(constant_value(node, index))
            if arrays[-1] is None:
                return None
    try:
        places = np.asarray(apply(ir.serde.serialize_node(node.node), {node.domain: node.version}, arrays, output))
    except Exception:  # noqa: BLE001 - the evaluator raises what it likes on a node that breaks the rules; the union holds
        return None
    if places.shape != tuple(target.shape):
        return None
    return _taken(pool, places)


def _alike(sources: list[Range]) -> bool:
    """Whether the entries of all differ in their bounds at most."""
    flags = [np.concatenate([getattr(each, name).reshape(-1) for each in sources]) for name in _FLAGS]
    return all(flag.all() == flag.any() for flag in flags)


def _spread(found: Range, shape: tuple[int, ...]) -> Range:
    """Every entry's own set, in a row."""
    return mapped(found, lambda part: np.broadcast_to(part, shape).reshape(-1))


def _taken(pool: list[Range], places: np.ndarray) -> Range:
    """The sets at these places of all that there are."""

    parts = [np.concatenate(columns)[places] for columns in zip(*(each.parts for each in pool), strict=True)]
    return assembled(parts, all(each.sized for each in pool))


@gives("Concat")
def concatenated(node: Node, of: Operands) -> list[Range]:
    """All operands side by side."""
    sources = {index: given(of, index) for index in range(len(node.inputs))}
    found = _followed(node, of, sources, 0)
    return [_together([collapsed(each) for each in sources.values()], settled=True) if found is None else found]


@gives("Pad")
def padded(node: Node, of: Operands) -> list[Range]:
    """Modes constant (0 by default; attribute before opset 11), reflect, edge, wrap."""
    source = given(of, 0)
    if node.attribute("mode", b"constant") not in ("constant", b"constant"):
        return [collapsed(source)]
    if node.version < 11:
        value: Range = number(float(node.attribute("value", 0.0)))
    else:
        found = of(2)
        value = number(0.0) if found is None else found
    pads = of(1) if node.version >= 11 else None
    axes = of(3)
    settled = all(each is None or bool(each.fixed.all()) for each in (pads, axes))
    amounts = constant_value(node, 1) if node.version >= 11 else np.asarray(node.attribute("pads", [0]))
    if amounts is not None and not np.any(amounts > 0):
        return [collapsed(source)]
    if (
        node.version >= 11
        and node.input(2) is not None
        and (exact := _followed(node, of, {0: source, 2: value}, 0)) is not None
    ):
        return [exact]
    if node.version >= 11 and node.input(2) is None and (exact := _followed(node, of, {0: source}, 0)) is not None:
        return [exact]
    return [_together([collapsed(source), collapsed(value)], settled)]


@gives("Resize", "Upsample")
def resized(node: Node, of: Operands) -> Range:
    """Averages of entries, with weights that may be negative (cubic); beyond the image the extrapolation value."""
    source = collapsed(given(of, 0))
    crops = node.attribute("coordinate_transformation_mode", "") in ("tf_crop_and_resize", b"tf_crop_and_resize")
    if crops:
        source = union(source, number(float(node.attribute("extrapolation_value", 0.0))))
    if node.attribute("mode", "nearest") in ("nearest", b"nearest"):
        return source if source.lo.size and bool(source.fixed.all()) and _settled(node, of) else source.varies()
    if source.tame and bool((source.lo == 0).all() and (source.hi == 0).all()):
        return number(0.0)
    linear = node.attribute("mode", "") in ("linear", b"linear")
    if linear and source.only_nan.all():
        return source
    return anything(output_type(node), finite=source.tame, sized=source.sized)


def _settled(node: Node, of: Operands) -> bool:
    """Whether where the entries go is the same for all inputs."""
    return all((each := of(index)) is None or bool(each.fixed.all()) for index in range(1, len(node.inputs)))


@gives("Shape", "Size")
def shape(node: Node, of: Operands) -> Range:
    """What depends on shapes alone."""
    source = given(of, 0)
    return made(0.0, 2.0**62, fixed=source.sized)


@gives("ConstantOfShape", "EyeLike", "Range", "NonZero", "OneHot")
def filled(node: Node, of: Operands) -> Range:
    """Values that attributes or operands hold, wherever."""
    import onnx_ir as ir

    if node.op_type == "ConstantOfShape":
        attribute = node.node.attributes.get("value")
        if attribute is None:
            return number(0.0)
        value = attribute.value
        return (
            number(float(np.asarray(value.numpy()).reshape(-1)[0])) if isinstance(value, ir.TensorProtocol) else anything(None)
        )
    if node.op_type == "EyeLike":
        return between(0.0, 1.0)
    if node.op_type == "NonZero":
        return between(0.0, 2.0**62)
    if node.op_type == "OneHot":
        return collapsed(given(of, 2)).varies()
    return anything(output_type(node), finite=all(given(of, index).tame for index in range(3)))


@gives("TopK")
def largest(node: Node, of: Operands) -> list[Range]:
    """Entries along an axis, and where they were."""
    source, length = given(of, 0), axis_length(node, int(node.attribute("axis", -1)))
    part = part_along(source, int(node.attribute("axis", -1)), rank_of(node))
    values = collapsed(source) if part is not None or rank_of(node) is None else source
    return [values.varies(), between(0.0, 2.0**62 if length is None else max(length - 1, 0))]


@gives("ArgMax", "ArgMin")
def place(node: Node, of: Operands) -> Range:
    """An index along an axis."""
    length = axis_length(node, int(node.attribute("axis", 0)))
    return between(0.0, 2.0**62 if length is None else max(length - 1, 0))


finite_of_finite("Col2Im", "MaxUnpool")
