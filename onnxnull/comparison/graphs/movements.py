"""Movements: entries in other places. Each rule holds over the reals.

1. Transpose of Transpose and Reshape of Reshape are one; those that change nothing fall away. A Reshape goes in front of a
   Transpose whose axes it only takes apart.
2. Elementwise operators, sums and products go in front of a Reshape that all their variables share, and of a Transpose that
   most of them end in: the others are turned back.
3. Slices go the other way, towards the inputs, into weights.
4. Concat of Concat along one axis is one; it goes in front of a Transpose that all its variables share.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.constants import Const
from onnxnull.comparison.graphs.terms import Shape, Term, Terms, Value, broadcast, groups, known, pulled_back

ONE, ZERO = c.scalar(1.0), c.scalar(0.0)


class Movements(Terms, abc.ABC):
    """Constructors of movements, and of what goes in front of them."""

    @abc.abstractmethod
    def sum(self, parts: Sequence[tuple[Const, Value]], shift: Const = ZERO) -> Value:
        """As `sums.Sums`: a slice of a sum is a sum of slices."""

    @abc.abstractmethod
    def linear(self, op: str, x: Value, weight: Const, attributes: Sequence[tuple[str, object]], shape: Shape | None) -> Value:
        """As `algebra.Algebra`: a slice of a product by a matrix is one by a slice of it."""

    def transpose(self, x: Value, perm: Sequence[int]) -> Value:
        """Axis i of the result is axis perm[i] of x."""
        perm = tuple(perm)
        if perm == tuple(range(len(perm))):
            return x
        if isinstance(x, Const):
            return c.transposed(x, perm)
        if x.op == "Transpose":
            inner = perm_of(x)
            return self.transpose(x.variables[0], [inner[i] for i in perm])
        shape = None if x.shape is None else tuple(x.shape[i] for i in perm)
        whole = known(shape)
        if whole is not None and x.shape is not None:
            moving = [i for i in perm if x.shape[i] != 1]
            if moving == sorted(moving):  # only axes of size 1 change places
                return self.reshape(x, whole)
        return self.make("Transpose", [x], attributes=[("perm", perm)], shape=shape, kind=x.kind)

    def reshape(self, x: Value, shape: tuple[int, ...]) -> Value:
        """Entries in order, as a known shape."""
        if x.shape == shape:
            return x
        if isinstance(x, Const):
            return c.reshaped(x, shape)
        if x.op == "Reshape" and known(x.variables[0].shape) is not None:
            return self.reshape(x.variables[0], shape)
        if x.op == "Transpose" and (turned := _turned(x, shape) or _split(x, shape)) is not None:
            found = self.transpose(self.reshape(x.variables[0], turned[0]), turned[1])
            self.keep_maker(found, x)
            return found
        return self.make("Reshape", [x], attributes=[("shape", shape)], shape=shape, kind=x.kind)

    def transposed_as(self, movement: Term, x: Value) -> Value:
        """What a Transpose makes of another operand."""
        found = self.transpose(x, perm_of(movement))
        self.keep_maker(found, movement)
        return found

    def reshaped_as(self, movement: Term, x: Value, shape: tuple[int, ...]) -> Value:
        """What stands for a Reshape behind another operand."""
        found = self.reshape(x, shape)
        self.keep_maker(found, movement)
        return found

    def slice(self, x: Value, axis: int, start: int, stop: int) -> Value:
        """Entries start to stop (0 ≤ start < stop ≤ size) of an axis of known size."""
        if x.shape is not None and (start, stop) == (0, x.shape[axis]):
            return x
        if isinstance(x, Const):
            return c.sliced(x, axis, start, stop)
        assert x.shape is not None, "the axis has a known size"
        inner = self._slice_inside(x, axis, start, stop)
        if inner is not None:
            return inner
        whole = known(x.shape)
        if x.op == "Reshape" and whole is not None:
            three = (math.prod(whole[:axis]), whole[axis], math.prod(whole[axis + 1 :]))
            if whole != three:  # axes beside the one that is cut do not matter
                cut = self.slice(self.reshape(x, three), 1, start, stop)
                return self.reshape(cut, (*whole[:axis], stop - start, *whole[axis + 1 :]))
        shape = tuple(stop - start if i == axis else size for i, size in enumerate(x.shape))
        return self.make("Slice", [x], attributes=[("axis", axis), ("start", start), ("stop", stop)], shape=shape, kind=x.kind)

    def _slice_inside(self, x: Term, axis: int, start: int, stop: int) -> Value | None:
        shape = x.shape
        assert shape is not None
        if x.op == "Slice" and x.attribute("axis") == axis:
            first = x.attribute("start")
            assert isinstance(first, int)
            return self.slice(x.variables[0], axis, first + start, first + stop)
        if x.op == "Transpose":
            return self.transposed_as(x, self.slice(x.variables[0], perm_of(x)[axis], start, stop))
        if x.op == "Reshape":
            return self._slice_reshaped(x, axis, start, stop)
        if x.op == "MatMul" and len(x.constants) == 1 and axis == len(shape) - 1:
            (weight,) = x.constants
            assert weight is not None
            made = self.linear("MatMul", x.variables[0], c.sliced(weight, 1, start, stop), (), (*shape[:-1], stop - start))
            self.keep_maker(made, x)
            return made
        shapes = [t.shape for t in x.variables]
        if x.op == "Sum" and all(s is not None and len(s) == len(shape) and s[axis] == shape[axis] for s in shapes):
            count = len(x.variables)
            cut = [None if k is None else _cut(k, len(shape), axis, start, stop) for k in x.constants]
            parts = [(k or ONE, self.slice(t, axis, start, stop)) for k, t in zip(cut[:count], x.variables, strict=True)]
            return self.sum(parts, cut[count] or ZERO)
        return None

    def _slice_reshaped(self, x: Term, axis: int, start: int, stop: int) -> Value | None:
        """A slice of the first axis (that is more than 1) of a group is one of the entries that the group is made of."""
        inner, out = known(x.variables[0].shape), known(x.shape)
        found = groups(inner, out) if inner is not None and out is not None else None
        if found is None or inner is None or out is None:
            return None
        own, others = next((a, b) for a, b in found if axis in b)
        if any(out[i] != 1 for i in others if i < axis):
            return None
        large = [i for i in own if inner[i] != 1]
        block = math.prod(out[i] for i in others if i > axis)
        if len(large) != 1:
            if (
                not large
                or (start * block) % math.prod(inner[i] for i in large[1:])
                or (stop * block) % math.prod(inner[i] for i in large[1:])
            ):
                return None
            block //= math.prod(inner[i] for i in large[1:])
            if block == 0:
                return None
        shape = tuple(stop - start if i == axis else size for i, size in enumerate(out))
        return self.reshape(self.slice(x.variables[0], large[0], start * block, stop * block), shape)

    def concat(self, parts: Sequence[Value], axis: int, shape: Shape) -> Value:
        """Side by side along an axis; parts that are such themselves are flattened (rule 4)."""
        flat: list[Value] = []
        for part in parts:
            if isinstance(part, Term) and part.op == "Concat" and part.attribute("axis") == axis:
                own, rest = iter(part.variables), (k for k in part.constants if k is not None)
                flat += [next(own) if letter == "v" else next(rest) for letter in str(part.attribute("operands"))]
            else:
                flat.append(part)
        if len(flat) == 1:
            return flat[0]
        turned = {perm_of(part) if part.op == "Transpose" else () for part in flat if isinstance(part, Term)}
        if len(turned) == 1 and (perm := turned.pop()):
            back = [perm.index(i) for i in range(len(perm))]
            inner = [c.transposed(part, tuple(back)) if isinstance(part, Const) else part.variables[0] for part in flat]
            return self.transpose(self.concat(inner, perm[axis], tuple(shape[i] for i in back)), perm)
        return self.apply("Concat", flat, [("axis", axis)], shape=shape, kind=flat[0].kind)

    # elementwise

    def elementwise(self, x: Term, make: Callable[[Term], Value]) -> Value:
        """What `make` makes of x entry by entry, in front of the movements that x ends in."""
        if x.op == "Transpose":
            return self.transposed_as(x, self.elementwise(x.variables[0], make))
        if x.op == "Reshape" and (shape := known(x.shape)) is not None:
            return self.reshaped_as(x, self.elementwise(x.variables[0], make), shape)
        if x.op == "ReshapeTo" and isinstance(inner := self.elementwise(x.variables[0], make), Term):
            return self.make(x.op, [inner, *x.variables[1:]], attributes=x.attributes, shape=x.shape, kind=inner.kind)
        return make(x)

    def unary(self, op: str, x: Value, *, kind: str | None = None, **attributes: object) -> Value:
        """An elementwise operator of one variable; `kind` of its entries, where it is another."""
        listed = list(attributes.items())
        if isinstance(x, Const):
            return self.make(op, [], attributes=listed, constants=[x], shape=x.shape, kind=kind or x.kind)
        return self.elementwise(x, lambda t: self.make(op, [t], attributes=listed, shape=t.shape, kind=kind or t.kind))

    def hoisted(
        self, terms: Sequence[Term], constants: Sequence[Const], make: Callable[[list[Value], list[Const]], Value]
    ) -> Value | None:
        """What `make` makes in front of a Transpose that most of the terms end in, or of a Reshape that all share.

        `make` is called with terms that have no other Transpose in the majority. None where they end in none.
        """
        perm = _common_perm(terms)
        if perm is not None and all(len(k.shape) <= len(perm) for k in constants):
            back = [perm.index(i) for i in range(len(perm))]
            moved = [self._turned_back(t, back) for t in terms]
            if all(t is not None for t in moved):
                made = make([t for t in moved if t is not None], [in_front(k, back) for k in constants])
                return self.transposed_as(next(t for t in terms if t.op == "Transpose" and perm_of(t) == perm), made)
        first = terms[0]
        if first.op == "Reshape":
            inner, out = known(first.variables[0].shape), known(first.shape)
            same = all(t.op == "Reshape" and t.variables[0].shape == inner and t.shape == out for t in terms)
            if same and inner is not None and out is not None:
                pulled = [pulled_back(k, out, inner) for k in constants]
                whole = [k for k in pulled if k is not None]
                if len(whole) == len(pulled) and broadcast([out, *(k.shape for k in constants)]) == out:
                    return self.reshaped_as(first, make([t.variables[0] for t in terms], whole), out)
        return None

    def _turned_back(self, x: Term, back: Sequence[int]) -> Value | None:
        """The operand of an elementwise operator in front of a Transpose; None where its shape has to be known and is not."""
        whole = known(x.shape)
        if whole is not None and math.prod(whole) == 1 and len(whole) < len(back):
            return x  # one number broadcasts alike
        if x.shape is None or len(x.shape) != len(back):
            if whole is None or len(whole) > len(back):
                return None
            return self.transpose(self.reshape(x, (1,) * (len(back) - len(whole)) + whole), back)
        return self.transpose(x, back)


def _common_perm(terms: Sequence[Term]) -> tuple[int, ...] | None:
    """The permutation in which most of the terms end, of equally many the one of the first term of the table; None if none."""
    longest = max((len(t.shape) for t in terms if t.shape is not None), default=0)
    plain = tuple(range(longest))
    bases: dict[tuple[int, ...], list[int]] = {}
    for t in terms:
        perm, base = (perm_of(t), t.variables[0]) if t.op == "Transpose" else (plain, t)
        if len(perm) == longest:
            bases.setdefault(perm, []).append(base.number)
    best = min(bases, key=lambda perm: (-len(bases[perm]), min(bases[perm])), default=plain)
    return None if best == plain else best


def perm_of(x: Term) -> tuple[int, ...]:
    """The permutation of a Transpose."""
    perm = x.attribute("perm")
    assert isinstance(perm, tuple)
    return perm


def _turned(x: Term, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """(shape', perm') with Reshape(Transpose(y), shape) = Transpose(Reshape(y, shape'), perm'): only axes of size 1 differ."""
    inner, out = known(x.variables[0].shape), known(x.shape)
    if inner is None or out is None or [n for n in out if n != 1] != [n for n in shape if n != 1]:
        return None
    places = [i for i, n in enumerate(shape) if n != 1]
    source = [axis for axis in perm_of(x) if inner[axis] != 1]  # axis of y behind each of them
    order = sorted(source)
    within, perm = list(shape), list(range(len(shape)))
    for place, axis in zip(places, order, strict=True):
        within[place] = inner[axis]
    for place, axis in zip(places, source, strict=True):
        perm[place] = places[order.index(axis)]
    return tuple(within), tuple(perm)


def _split(x: Term, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """As `_turned`, where axes of the Transpose are taken apart and none are joined."""
    inner, out = known(x.variables[0].shape), known(x.shape)
    found = groups(out, shape) if inner is not None and out is not None else None
    if found is None or out is None:
        return None
    parts: dict[int, list[int]] = {}  # axis of y → axes of the result that it becomes
    for own, others in found:
        large = [axis for axis in own if out[axis] != 1]
        if len(large) > 1 or not own:
            return None
        parts[perm_of(x)[(large or own)[0]]] = others
    order = [axis for _, others in sorted(parts.items()) for axis in others]
    return tuple(shape[axis] for axis in order), tuple(order.index(axis) for axis in range(len(shape)))


def carried_axes(x: Term, axes: Sequence[int]) -> tuple[Term, list[int]] | None:
    """(y, axes of y) where x is a Reshape of y that leaves each of these axes, all larger than 1, what it is; else None."""
    inner, out = known(x.variables[0].shape) if x.variables else None, known(x.shape)
    if x.op != "Reshape" or inner is None or out is None or any(out[axis] == 1 for axis in axes):
        return None
    large = [([i for i in a if inner[i] != 1], [i for i in b if out[i] != 1]) for a, b in groups(inner, out) or ()]
    found = []
    for axis in axes:
        source = next((a for a, b in large if b == [axis] and len(a) == 1), None)
        if source is None:
            return None
        found += source
    return x.variables[0], found


def in_front(k: Const, back: Sequence[int]) -> Const:
    """A constant behind a Transpose as one in front of it."""
    whole = c.reshaped(k, (1,) * (len(back) - len(k.shape)) + k.shape)
    return c.compressed(c.transposed(whole, tuple(back)))


def _cut(k: Const, length: int, axis: int, start: int, stop: int) -> Const:
    """A constant that broadcasts to something of `length` axes, for a slice of it."""
    own = axis - length + len(k.shape)
    return k if own < 0 or k.shape[own] == 1 else c.compressed(c.sliced(k, own, start, stop))
