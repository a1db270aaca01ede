"""Names where two graphs differ: the node in either file, its attribute or the stored tensor that it reads.

1. A term is named by the node that made it (`Terms.makers`): what a later node made of it, as a folded normalization makes of
   a convolution, keeps that node.
2. Of the stored tensors behind two constants those count that the other side has not: the weight of a convolution is not to
   blame where the scale of the normalization behind it differs. They are named with the node that reads them.
3. A number that no file stores is the attribute of its node that has this value, as the epsilon of a normalization.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxnull.comparison.graphs.constants import Const
from onnxnull.comparison.graphs.reading import Reading
from onnxnull.comparison.graphs.terms import Term
from onnxnull.graph.node import Node

_ATTRIBUTES = {"window": "kernel_shape", "ceil": "ceil_mode", "include": "count_include_pad", "last": "select_last_index"}
"""Attributes of terms that have another name in ONNX."""


def named(view: Node | None, term: Term) -> str:
    """A node by operator and name."""
    return term.op if view is None else f"{view.op_type} {view.name!r}"


def attribute_names(a: Reading, b: Reading, one: Term, other: Term) -> list[tuple[str, str]]:
    """Where, in either graph, attributes of two terms differ, and what they are."""
    first, second = dict(one.attributes), dict(other.attributes)
    where = named(a.makers.get(one), one), named(b.makers.get(other), other)
    return [
        (f"{where[0]}: {_shown(name, first.get(name))}", f"{where[1]}: {_shown(name, second.get(name))}")
        for name in dict.fromkeys([*first, *second])
        if first.get(name) != second.get(name)
    ]


def constant_names(
    a: Reading, b: Reading, terms: tuple[Term, Term], constants: tuple[Const | None, Const | None]
) -> tuple[str, str, str]:
    """What a constant that differs is, "constant" or "attribute", and where it is in either graph."""
    keys = [_keys(reading, k) for reading, k in zip((a, b), constants, strict=True)]
    makers = [reading.makers.get(term) for reading, term in zip((a, b), terms, strict=True)]
    roots = [[name for name, key in own.items() if key not in other.values()] for own, other in (keys, keys[::-1])]
    if not roots[0] and not roots[1]:  # of what both store alike an attribute has made something else
        beside = [
            [*([] if maker is None else [maker]), *(view for name in own for view in reading.readers.get(name, ()))]
            for reading, maker, own in zip((a, b), makers, keys, strict=True)
        ]
        if (named_alike := _unlike(beside[0], beside[1])) is not None:
            return "attribute", *named_alike
    found = [
        _tensors(reading, maker, term, own or list(all_of)) if all_of else _number(maker, term, k)
        for reading, maker, term, k, own, all_of in zip((a, b), makers, terms, constants, roots, keys, strict=True)
    ]
    return "constant", found[0], found[1]


def _keys(reading: Reading, k: Const | None) -> dict[str, bytes]:
    """Stored tensors behind a constant → what they hold."""
    return {} if k is None else {name: reading.stored[name].key if name in reading.stored else b"" for name in k.roots}


def _tensors(reading: Reading, maker: Node | None, term: Term, roots: list[str]) -> str:
    readers = {view.name: view for view in reading.readers.get(roots[0], ())}
    if len(readers) == 1 and (maker is None or maker.name not in readers):
        (maker,) = readers.values()
    return f"{', '.join(roots)} at {named(maker, term)}"


def _number(maker: Node | None, term: Term, k: Const | None) -> str:
    if k is None or k.size != 1 or k.kind != "f" or maker is None:
        return named(maker, term)
    number = float(k.value.ravel()[0])
    shown = next((f"{name} {value:g}" for name, value in _floats(maker).items() if abs(value) == abs(number)), f"{number:g}")
    return f"{named(maker, term)}: {shown}"


def _unlike(first: Sequence[Node], second: Sequence[Node]) -> tuple[str, str] | None:
    """The attribute, a float, in which nodes of one operator differ; None where there is none."""
    for one in first:
        for other in second:
            values = _floats(one), _floats(other)
            for name in values[0].keys() & values[1].keys() if one.op_type == other.op_type else ():
                if values[0][name] != values[1][name]:
                    return (
                        f"{one.op_type} {one.name!r}: {name} {values[0][name]:g}",
                        f"{other.op_type} {other.name!r}: {name} {values[1][name]:g}",
                    )
    return None


def _floats(view: Node) -> dict[str, float]:
    """The attributes of a node that are floats, defaults filled in."""
    import onnx

    found = {}
    if onnx.defs.has(view.op_type, view.version, view.domain):
        schema = onnx.defs.get_schema(view.op_type, view.version, view.domain)
        found = {
            n: a.default_value.f for n, a in schema.attributes.items() if a.default_value.type == onnx.AttributeProto.FLOAT
        }
    found |= {name: float(a.value) for name, a in view.node.attributes.items() if a.type.name == "FLOAT"}
    return {name: float(np.float32(value)) for name, value in found.items()}


def _shown(name: str, value: object) -> str:
    """An attribute of a term as ONNX calls it."""
    if isinstance(value, bytes):  # a kind and a value (`numbering.plain`), or the number of a tensor
        kind, _, text = value.partition(b" ")
        value = text.decode() if kind.isalpha() and kind.isupper() else "another tensor"
    elif value is None:
        value = "not given"
    elif isinstance(value, tuple):
        value = list(value)
    elif isinstance(value, bool | float):
        value = f"{value:g}"
    return f"{_ATTRIBUTES.get(name, name)} {value}"
