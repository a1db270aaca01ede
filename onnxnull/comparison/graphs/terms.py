"""Terms: what a graph computes, as a directed acyclic graph in which equal things are one thing.

A `Term` is an operator with attributes of other terms (its variables) and of constants. Both graphs are read into one
`Table`, so that what is equal in both is one object. `Table` makes no term in more than one way: its methods are the rewrites
that bring sums, products, linear operators and movements into normal form (`rewrites/` brings ONNX's operators down to these).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from onnxnull.comparison.graphs.constants import Const, compressed, reshaped, spread
from onnxnull.comparison.numbering import digest
from onnxnull.graph.node import Node

Shape = tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class Term:
    """What an operator makes of terms and constants.

    Attributes:
        variables: the operands that depend on the graph's inputs.
        labels: of each variable, what else distinguishes it: an exponent, a position.
        constants: the others; of a commutative term the first ones belong to the variables, one each (None: there is none).
        commutative: whether the variables may change places.
        shape: None where unknown. kind: NumPy's letter of the entries: "f", "i", "b".
        number: in the table.
    """

    op: str
    attributes: tuple[tuple[str, object], ...]
    variables: tuple[Term, ...]
    labels: tuple[object, ...]
    constants: tuple[Const | None, ...]
    commutative: bool
    shape: Shape | None
    kind: str
    number: int

    def attribute(self, name: str) -> object:
        """An attribute's value; None where there is none."""
        return dict(self.attributes).get(name)


Value = Term | Const


class Terms:
    """All terms of two graphs, each once."""

    def __init__(self) -> None:
        self._found: dict[bytes, Term] = {}
        self.sizes: dict[tuple[Term, int], int | tuple[Term, int]] = {}
        """(term, axis) → its size, or the dimension that it is, where that was asked for (`rewrites.dimensions`)."""
        self.makers: dict[Term, Node] = {}
        """Term → the node that it is named by: of the graph that is being read, the first one that made it."""
        self.maker: Node | None = None
        """The node that is being read."""

    def make(
        self,
        op: str,
        variables: Sequence[Term] = (),
        *,
        attributes: Sequence[tuple[str, object]] = (),
        labels: Sequence[object] | None = None,
        constants: Sequence[Const | None] = (),
        commutative: bool = False,
        shape: Shape | None = None,
        kind: str = "f",
    ) -> Term:
        """The term, as it is: without any rewrite."""
        attributes = tuple(sorted(attributes))
        order = list(range(len(variables)))
        given = tuple(labels) if labels is not None else ("",) * len(variables)
        own = tuple(constants[: len(variables)]) if commutative else ()
        if commutative:
            own = (*own, *(None,) * (len(variables) - len(own)))
            order.sort(key=lambda i: (variables[i].number, repr(given[i])))
        rest = tuple(constants[len(variables) :]) if commutative else tuple(constants)
        sorted_variables = tuple(variables[i] for i in order)
        sorted_labels = tuple(given[i] for i in order)
        sorted_constants = (*(own[i] for i in order), *rest) if commutative else rest
        key = digest(
            op,
            repr(attributes),
            repr([v.number for v in sorted_variables]),
            repr(sorted_labels),
            str(commutative),
            *(b"" if c is None else c.key for c in sorted_constants),
            kind,
            repr(shape),
        )
        if key not in self._found:
            self._found[key] = Term(
                op, attributes, sorted_variables, sorted_labels, sorted_constants, commutative, shape, kind, len(self._found)
            )
        term = self._found[key]
        if self.maker is not None:
            self.makers.setdefault(term, self.maker)
        return term

    def keep_maker(self, found: Value, term: Term) -> None:
        """Name what was made of a term while a later node was read by the node of the term."""
        maker = self.makers.get(term)
        if isinstance(found, Term) and maker is not None and self.makers.get(found) is self.maker:
            self.makers[found] = maker

    def apply(
        self,
        op: str,
        operands: Sequence[Value | None],
        attributes: Sequence[tuple[str, object]] = (),
        *,
        shape: Shape | None = None,
        kind: str = "f",
        commutative: bool = False,
    ) -> Term:
        """An operator that no rule is about."""
        while operands and operands[-1] is None:
            operands = operands[:-1]
        layout = "".join("v" if isinstance(o, Term) else "-" if o is None else "c" for o in operands)
        variables = [o for o in operands if isinstance(o, Term)]
        if commutative:
            rest = [o for o in operands if isinstance(o, Const)]
            return self.make(
                op,
                variables,
                attributes=attributes,
                constants=[*(None for _ in variables), *sorted(rest, key=lambda k: k.key)],
                commutative=True,
                shape=shape,
                kind=kind,
            )
        positions = [i for i, o in enumerate(operands) if isinstance(o, Term)]
        return self.make(
            op,
            variables,
            attributes=[*attributes, ("operands", layout)],
            labels=positions,
            constants=[o for o in operands if isinstance(o, Const)],
            shape=shape,
            kind=kind,
        )


def rank(value: Value) -> int | None:
    """Number of axes; None where unknown."""
    return None if value.shape is None else len(value.shape)


def known(shape: Shape | None) -> tuple[int, ...] | None:
    """The shape, where all of it is known."""
    if shape is None:
        return None
    whole = tuple(size for size in shape if size is not None)
    return whole if len(whole) == len(shape) else None


def broadcast(shapes: Sequence[Shape | None]) -> Shape | None:
    """The shape of an elementwise result; None where a rank is unknown. Raises `ValueError` where shapes do not fit."""
    if any(shape is None for shape in shapes):
        return None
    given = [shape for shape in shapes if shape is not None]
    length = max((len(shape) for shape in given), default=0)
    out: list[int | None] = []
    for axis in range(length):
        sizes = {shape[axis - length + len(shape)] for shape in given if axis - length + len(shape) >= 0} - {1}
        numbers = sizes - {None}
        if len(numbers) > 1:
            raise ValueError(f"axis {axis} has sizes {numbers}")
        out.append(next(iter(numbers)) if len(numbers) == 1 else 1 if not sizes else None)
    return tuple(out)


def groups(first: Sequence[int], second: Sequence[int]) -> list[tuple[list[int], list[int]]] | None:
    """Which axes of one shape hold the entries of which axes of another with the entries in order; None if sizes differ.

    Axes of size 1 go with the group that they stand in.
    """
    if math.prod(first) != math.prod(second) or 0 in first:
        return None
    found: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(first) or j < len(second):
        one, other = (
            ([i], [j]) if i < len(first) and j < len(second) else (list(range(i, len(first))), list(range(j, len(second))))
        )
        if len(one) != 1 or len(other) != 1 or i >= len(first) or j >= len(second):
            found.append((one, other))  # what is left has size 1
            break
        a, b = first[i], second[j]
        i, j = i + 1, j + 1
        while a != b:
            if a < b:
                a *= first[i]
                one.append(i)
                i += 1
            else:
                b *= second[j]
                other.append(j)
                j += 1
        found.append((one, other))
    return found


def pulled_back(constant: Const, out: tuple[int, ...], into: tuple[int, ...], most: int = 1 << 22) -> Const | None:
    """The constant, which broadcasts to `out`, for the same entries in order as `into`; None where that would be too large."""
    if len(constant.shape) > len(out):
        return None
    found = groups(into, out)
    if found is None:
        return None
    own = (1,) * (len(out) - len(constant.shape)) + constant.shape
    whole, target = list(own), []
    for inner, outer in found:
        varies = any(own[axis] != 1 for axis in outer)
        for axis in outer if varies else ():
            whole[axis] = out[axis]
        target += [into[axis] if varies else 1 for axis in inner]
    if math.prod(whole) > most:
        return None
    full = reshaped(constant, own)
    return compressed(reshaped(spread(full, tuple(whole)), tuple(target)))
