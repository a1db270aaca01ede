"""The normal form of sums, products, linear operators and movements: each rule holds over the reals.

1. Sum: Σ cᵢ∘tᵢ + s with constants cᵢ, s. Sums in sums are flattened, equal terms are added up, zeros and ones fall away.
2. Product: c·Π tᵢ^eᵢ. Products in products are flattened; exponents are only added where both are whole and of one sign
   (√x·√x is x for x ≥ 0 alone, and x/x is 1 for x ≠ 0 alone). Constants go in front of the product.
3. A constant factor on the channels behind Conv, ConvTranspose (of one group) or a product by a constant matrix goes into the
   weight; one in front of it too, and a shift in front becomes one behind it where nothing is padded.
   The rows of a product by a matrix are one axis.
4. Transpose of Transpose and Reshape of Reshape are one; those that change nothing fall away. Elementwise operators, sums and
   products go in front of a movement that all their variables share. Slices go the other way, towards the inputs, into weights.
5. Scalars leave products of two variables, where the operands are linear maps by constants scaled to a root mean square of 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.constants import Const
from onnxnull.comparison.graphs.terms import Shape, Term, Terms, Value, broadcast, known, pulled_back, rank
from onnxnull.comparison.numbering import digest

_ONE, _ZERO = c.scalar(1.0), c.scalar(0.0)
LINEAR = ("Conv", "ConvTranspose", "MatMul")
"""Terms with one variable and a constant weight."""


class Algebra(Terms):
    """Constructors that keep terms in normal form."""

    # movements

    def transpose(self, x: Value, perm: Sequence[int]) -> Value:
        """Axis i of the result is axis perm[i] of x."""
        perm = tuple(perm)
        if perm == tuple(range(len(perm))):
            return x
        if isinstance(x, Const):
            return c.transposed(x, perm)
        if x.op == "Transpose":
            inner = _perm(x)
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
        if x.op == "Transpose" and (turned := _turned(x, shape)) is not None:
            return self.transpose(self.reshape(x.variables[0], turned[0]), turned[1])
        return self.make("Reshape", [x], attributes=[("shape", shape)], shape=shape, kind=x.kind)

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
            return self.transpose(self.slice(x.variables[0], _perm(x)[axis], start, stop), _perm(x))
        if x.op == "Reshape":
            return self._slice_reshaped(x, axis, start, stop)
        if x.op == "MatMul" and len(x.constants) == 1 and axis == len(shape) - 1:
            (weight,) = x.constants
            assert weight is not None
            return self.linear("MatMul", x.variables[0], c.sliced(weight, 1, start, stop), (), (*shape[:-1], stop - start))
        shapes = [t.shape for t in x.variables]
        if x.op == "Sum" and all(s is not None and len(s) == len(shape) and s[axis] == shape[axis] for s in shapes):
            count = len(x.variables)
            cut = [None if k is None else _cut(k, len(shape), axis, start, stop) for k in x.constants]
            parts = [(k or _ONE, self.slice(t, axis, start, stop)) for k, t in zip(cut[:count], x.variables, strict=True)]
            return self.sum(parts, cut[count] or _ZERO)
        return None

    def _slice_reshaped(self, x: Term, axis: int, start: int, stop: int) -> Value | None:
        """A slice of the first axis (that is more than 1) of a group is one of the entries that the group is made of."""
        from onnxnull.comparison.graphs.terms import groups

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

    # elementwise

    def elementwise(self, x: Term, make: Callable[[Term], Value]) -> Value:
        """What `make` makes of x entry by entry, in front of the movements that x ends in."""
        if x.op == "Transpose":
            return self.transpose(self.elementwise(x.variables[0], make), _perm(x))
        if x.op == "Reshape" and (shape := known(x.shape)) is not None:
            return self.reshape(self.elementwise(x.variables[0], make), shape)
        return make(x)

    def unary(self, op: str, x: Value, *, kind: str | None = None, **attributes: object) -> Value:
        """An elementwise operator of one variable; `kind` of its entries, where it is another."""
        listed = list(attributes.items())
        if isinstance(x, Const):
            return self.make(op, [], attributes=listed, constants=[x], shape=x.shape, kind=kind or x.kind)
        return self.elementwise(x, lambda t: self.make(op, [t], attributes=listed, shape=t.shape, kind=kind or t.kind))

    def clip_at(self, x: Term, low: Const, high: Const) -> Value:
        """max(low, min(x, high))."""
        return self.elementwise(x, lambda t: self.make("Clip", [t], constants=[low, high], shape=t.shape, kind=t.kind))

    def _hoisted(
        self, terms: Sequence[Term], constants: Sequence[Const], make: Callable[[list[Value], list[Const]], Value]
    ) -> Value | None:
        """What `make` makes in front of the movement that all terms share; None where they share none."""
        first = terms[0]
        if first.op == "Transpose" and all(t.op == "Transpose" and _perm(t) == _perm(first) for t in terms):
            perm = _perm(first)
            back = [perm.index(i) for i in range(len(perm))]
            if all(len(k.shape) <= len(perm) for k in constants):
                moved = [_in_front(k, back) for k in constants]
                return self.transpose(make([t.variables[0] for t in terms], moved), perm)
        if first.op == "Reshape":
            inner, out = known(first.variables[0].shape), known(first.shape)
            same = all(t.op == "Reshape" and t.variables[0].shape == inner and t.shape == out for t in terms)
            if same and inner is not None and out is not None:
                pulled = [pulled_back(k, out, inner) for k in constants]
                whole = [k for k in pulled if k is not None]
                if len(whole) == len(pulled) and broadcast([out, *(k.shape for k in constants)]) == out:
                    return self.reshape(make([t.variables[0] for t in terms], whole), out)
        return None

    def sum(self, parts: Sequence[tuple[Const, Value]], shift: Const = _ZERO) -> Value:
        """Σ cᵢ∘tᵢ + shift (rule 1)."""
        shape = broadcast([shift.shape, *(k.shape for k, _ in parts), *(v.shape for _, v in parts)])
        coefficients: dict[Term, Const] = {}
        for factor, value in parts:
            if isinstance(value, Const):
                shift = c.plus(shift, c.times(factor, value))
                continue
            for inner, term, offset in self._addends(value):
                if offset is not None:
                    shift = c.plus(shift, c.times(factor, offset))
                if term is not None:
                    k = c.times(factor, inner)
                    coefficients[term] = c.plus(coefficients[term], k) if term in coefficients else k
        shift = c.compressed(shift)
        if not coefficients:
            return shift
        terms = list(coefficients)
        if len(terms) > 1 or terms[0].op in ("Transpose", "Reshape"):
            factors = [c.compressed(k) for k in coefficients.values()]
            hoisted = self._hoisted(
                terms,
                [*factors, shift],
                lambda inner, moved: self.sum(list(zip(moved[:-1], inner, strict=True)), moved[-1]),
            )
            if hoisted is not None:
                return hoisted
        kept: list[tuple[Const, Term]] = []
        for term, factor in coefficients.items():
            factor, term = self._absorbed(c.compressed(factor), term)
            if not factor.is_all(0.0):
                kept.append((_ONE if factor.is_all(1.0) and not factor.shape else factor, term))
        return self._sum(kept, shift, shape, coefficients)

    def _sum(self, kept: list[tuple[Const, Term]], shift: Const, shape: Shape | None, coefficients: dict[Term, Const]) -> Value:
        none = shift.is_all(0.0)
        if len(kept) < len(coefficients) and (not kept or broadcast([shift.shape, *(t.shape for _, t in kept)]) != shape):
            kept = [(k, t) for t, k in coefficients.items()]  # zeros decide the shape
        if none and broadcast([*(k.shape for k, _ in kept), *(t.shape for _, t in kept)]) == shape:
            shift = _ZERO
            if len(kept) == 1 and kept[0][0] is _ONE:
                return kept[0][1]
        return self.make(
            "Sum",
            [t for _, t in kept],
            constants=[*(k for k, _ in kept), shift],
            commutative=True,
            shape=shape,
            kind="f",
        )

    def _addends(self, value: Term) -> list[tuple[Const, Term | None, Const | None]]:
        """(cᵢ, tᵢ, None) and (1, None, s) with value = Σ cᵢ∘tᵢ + s, also of a movement of a sum."""
        if value.op in ("Transpose", "Reshape") and value.variables[0].op == "Sum":
            moved = [self._addend_moved(value, *part) for part in self._addends(value.variables[0])]
            whole = [part for part in moved if part is not None]
            return whole if len(whole) == len(moved) else [(_ONE, value, None)]
        if value.op != "Sum":
            return [(_ONE, value, None)]
        own = value.constants[: len(value.variables)]
        parts: list[tuple[Const, Term | None, Const | None]] = [
            (k or _ONE, t, None) for k, t in zip(own, value.variables, strict=True)
        ]
        return [*parts, (_ONE, None, value.constants[-1])]

    def _addend_moved(
        self, movement: Term, factor: Const, term: Term | None, shift: Const | None
    ) -> tuple[Const, Term | None, Const | None] | None:
        """An addend of a sum that is moved; None where its shape is not the sum's, or a constant gets too large."""
        source = movement.variables[0].shape
        inner, out = known(source), known(movement.shape)

        def carried(k: Const) -> Const | None:
            if movement.op == "Transpose":
                return _in_front(k, _perm(movement))
            return None if inner is None or out is None else pulled_back(k, inner, out)

        constants = [None if k is None else carried(k) for k in (factor, shift)]
        if constants[0] is None or (shift is not None and constants[1] is None) or (term is not None and term.shape != source):
            return None
        if term is None:
            return constants[0], None, constants[1]
        moved = self.transpose(term, _perm(movement)) if movement.op == "Transpose" else self.reshape(term, out or ())
        return (constants[0], moved, None) if isinstance(moved, Term) else None

    def _absorbed(self, factor: Const, term: Term) -> tuple[Const, Term]:
        """A factor per channel goes into the weight (rule 3)."""
        if term.op not in LINEAR or len(term.constants) != 1 or factor.is_all(1.0):
            return factor, term
        weight = term.constants[0]
        assert weight is not None
        if not factor.shape or (term.op == "MatMul" and factor.shape == weight.shape[-1:]):
            scaled = c.times(weight, factor)
        elif term.op != "MatMul" and _is_channels(factor, len(weight.shape) - 2):
            axis = 0 if term.op == "Conv" else 1
            if term.op == "ConvTranspose" and term.attribute("group") != 1:
                return factor, term
            if weight.shape[axis] != factor.size:
                return factor, term
            scaled = c.times(
                weight, c.reshaped(factor, tuple(factor.size if i == axis else 1 for i in range(len(weight.shape))))
            )
        else:
            return factor, term
        return _ONE, self.make(term.op, term.variables, attributes=term.attributes, constants=[scaled], shape=term.shape)

    def product(self, parts: Sequence[tuple[Value, float]], factor: Const = _ONE) -> Value:
        """factor·Π tᵢ^eᵢ (rule 2)."""
        exponents: list[tuple[Term, float]] = []
        for value, exponent in parts:
            if isinstance(value, Const):
                factor = c.times(factor, c.power(value, exponent))
                continue
            k, base = self._scaled(value)
            if k is not None and (float(exponent).is_integer() or _positive(k)):
                factor, value = c.times(factor, c.power(k, exponent)), base
            inner = list(zip(value.variables, value.labels, strict=True)) if value.op == "Product" else [(value, 1.0)]
            whole = exponent == 1.0 or (exponent > 0 and float(exponent).is_integer())
            mergeable = whole or (exponent == -1.0 and all(isinstance(e, float) and e > 0 for _, e in inner))
            if value.op == "Product" and not mergeable:
                inner = [(value, 1.0)]
            for term, e in inner:
                assert isinstance(e, float)
                _multiplied(exponents, term, e * exponent)
        if not exponents:
            return factor
        terms = [t for t, _ in exponents]
        if len(terms) == 1 and exponents[0][1] == 1.0:
            return self.sum([(factor, terms[0])])
        hoisted = self._hoisted(
            terms,
            [factor],
            lambda inner, moved: self.product([(v, e) for v, (_, e) in zip(inner, exponents, strict=True)], moved[0]),
        )
        if hoisted is not None:
            return hoisted
        shape = broadcast([t.shape for t in terms])
        made = self.make("Product", terms, labels=[e for _, e in exponents], commutative=True, shape=shape)
        return self.sum([(factor, made)])

    def _scaled(self, value: Term) -> tuple[Const | None, Term]:
        """(k, t) where the value is k∘t, broadcast."""
        shift = value.constants[-1] if value.op == "Sum" and len(value.variables) == 1 else None
        if shift is not None and shift.is_all(0.0) and not shift.shape:
            return value.constants[0], value.variables[0]
        return None, value

    # linear operators

    def linear(self, op: str, x: Value, weight: Const, attributes: Sequence[tuple[str, object]], shape: Shape | None) -> Value:
        """Conv, ConvTranspose (attributes resolved) or x @ weight (rank 2), what stands in front absorbed (rule 3)."""
        assert isinstance(x, Term)
        whole = known(x.shape)
        if op == "MatMul" and whole is not None and len(whole) > 2:  # rows in one axis
            rows = self.reshape(x, (math.prod(whole[:-1]), whole[-1]))
            made = self.linear(op, rows, weight, attributes, (math.prod(whole[:-1]), weight.shape[1]))
            return self.reshape(made, (*whole[:-1], weight.shape[1]))
        if x.op == "Sum" and len(x.variables) == 1:
            absorbed = self._behind_affine(op, x, weight, attributes, shape)
            if absorbed is not None:
                return absorbed
        return self.make(op, [x], attributes=attributes, constants=[weight], shape=shape)

    def _behind_affine(
        self, op: str, x: Term, weight: Const, attributes: Sequence[tuple[str, object]], shape: Shape | None
    ) -> Value | None:
        factor, shift, inner = x.constants[0] or _ONE, x.constants[-1] or _ZERO, x.variables[0]
        if inner.shape != x.shape:
            return None
        if op == "MatMul":
            (size, _) = weight.shape
            if factor.shape not in ((), (size,)) or shift.shape not in ((), (size,)):
                return None
            scaled = c.times(weight, c.reshaped(factor, (size, 1)) if factor.shape else factor)
            made = self.linear(op, inner, scaled, attributes, shape)
            if shift.is_all(0.0):
                return made
            vector = shift if shift.shape else c.times(shift, c.const(np.ones(size), dtype="float64"))
            return self.sum([(_ONE, made)], c.product(vector, weight))
        given = dict(attributes)
        spatial, group = len(weight.shape) - 2, given.get("group", 1)
        if op != "Conv" or not isinstance(group, int):
            return None
        per = weight.shape[1]
        if not all(not k.shape or (_is_channels(k, spatial) and k.size == per * group) for k in (factor, shift)):
            return None
        pads = given.get("pads")
        if not shift.is_all(0.0) and (not isinstance(pads, tuple) or any(pads)):
            return None
        scaled = c.times(weight, _on_inputs(factor, weight, group))
        made = self.linear(op, inner, scaled, attributes, shape)
        if shift.is_all(0.0):
            return made
        moved = c.summed(c.times(weight, _on_inputs(shift, weight, group)), tuple(range(1, spatial + 2)))
        return self.sum([(_ONE, made)], c.reshaped(moved, (weight.shape[0], *(1,) * spatial)))

    def matmul(self, a: Value, b: Value, shape: Shape | None) -> Value:
        """a @ b by the rules of NumPy; `shape` where the file knows it."""
        shape = shape if known(shape) is not None else _product_shape(a.shape, b.shape) or shape
        if isinstance(b, Const) and isinstance(a, Term):
            if len(b.shape) == 2 and rank(a) not in (None, 0, 1):
                return self.linear("MatMul", a, b, (), shape)
            return self.make("MatMul", [a], attributes=[("const", "right")], constants=[b, None], shape=shape)
        if isinstance(a, Const) and isinstance(b, Term):
            return self.make("MatMul", [b], attributes=[("const", "left")], constants=[a, None], shape=shape)
        if isinstance(a, Const) or isinstance(b, Const):
            return self.make("MatMul", [], constants=[k for k in (a, b) if isinstance(k, Const)], shape=shape)
        factors, operands = [], []
        for each in (a, b):
            k, t = self._without_scalar(each)
            factors.append(k)
            operands.append(t)
        made = self.make("Product2", operands, labels=["left", "right"], shape=shape)
        return self.sum([(c.times(*factors), made)])

    def _without_scalar(self, x: Term) -> tuple[Const, Term]:
        """(k, t) with x = k·t, where t's weight has a root mean square of 1 (rule 5); k is 1 where none is taken out."""
        if x.op in ("Transpose", "Reshape"):
            k, inner = self._without_scalar(x.variables[0])
            shape = known(x.shape)
            again = self.transpose(inner, _perm(x)) if x.op == "Transpose" else self.reshape(inner, shape or ())
            return (k, again) if isinstance(again, Term) else (_ONE, x)
        if x.op == "Sum" and len(x.variables) == 1:
            (t,), own, shift = x.variables, x.constants[0] or _ONE, x.constants[-1] or _ZERO
        elif x.op == "MatMul":
            t, own, shift = x, _ONE, _ZERO
        else:
            return _ONE, x
        if t.op == "MatMul" and len(t.constants) == 1 and t.constants[0] is not None and not own.shape:
            k = _size(t.constants[0])
        elif not own.shape and own is not _ONE:
            k = own
        else:
            return _ONE, x
        if not float(k.value) > 0.0:
            return _ONE, x
        made = self.sum([(c.times(own, c.power(k, -1.0)), t)], c.times(shift, c.power(k, -1.0)))
        return (k, made) if isinstance(made, Term) else (_ONE, x)

    # everything else

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


def _product_shape(a: Shape | None, b: Shape | None) -> Shape | None:
    if a is None or b is None or len(a) < 2 or len(b) < 2:
        return None
    front = broadcast([a[:-2], b[:-2]])
    return None if front is None else (*front, a[-2], b[-1])


def _perm(x: Term) -> tuple[int, ...]:
    perm = x.attribute("perm")
    assert isinstance(perm, tuple)
    return perm


def _turned(x: Term, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """(shape', perm') with Reshape(Transpose(y), shape) = Transpose(Reshape(y, shape'), perm'): only axes of size 1 differ."""
    inner, out = known(x.variables[0].shape), known(x.shape)
    if inner is None or out is None or [n for n in out if n != 1] != [n for n in shape if n != 1]:
        return None
    places = [i for i, n in enumerate(shape) if n != 1]
    source = [axis for axis in _perm(x) if inner[axis] != 1]  # axis of y behind each of them
    order = sorted(source)
    within, perm = list(shape), list(range(len(shape)))
    for place, axis in zip(places, order, strict=True):
        within[place] = inner[axis]
    for place, axis in zip(places, source, strict=True):
        perm[place] = places[order.index(axis)]
    return tuple(within), tuple(perm)


def squeezed_axes(x: Term, axes: Sequence[int]) -> tuple[Term, list[int]] | None:
    """(y, axes of y) where x is y with axes of size 1 added or left out, and all of these axes are larger; else None."""
    inner, out = known(x.variables[0].shape) if x.variables else None, known(x.shape)
    if x.op != "Reshape" or inner is None or out is None or [n for n in inner if n != 1] != [n for n in out if n != 1]:
        return None
    ours, theirs = ([i for i, n in enumerate(shape) if n != 1] for shape in (out, inner))
    if any(out[axis] == 1 for axis in axes):
        return None
    return x.variables[0], [theirs[ours.index(axis)] for axis in axes]


def _in_front(k: Const, back: Sequence[int]) -> Const:
    whole = c.reshaped(k, (1,) * (len(back) - len(k.shape)) + k.shape)
    return c.compressed(c.transposed(whole, tuple(back)))


def _cut(k: Const, length: int, axis: int, start: int, stop: int) -> Const:
    """A constant that broadcasts to something of `length` axes, for a slice of it."""
    own = axis - length + len(k.shape)
    return k if own < 0 or k.shape[own] == 1 else c.compressed(c.sliced(k, own, start, stop))


def _is_channels(k: Const, spatial: int) -> bool:
    """Whether it has one entry for each channel of an image."""
    return len(k.shape) == spatial + 1 and all(size == 1 for size in k.shape[1:])


def _on_inputs(k: Const, weight: Const, group: int) -> Const:
    """A factor per input channel as one on a weight (outputs, inputs per group, ...)."""
    if not k.shape:
        return k
    outputs, per, *rest = weight.shape
    if group == 1:
        return c.reshaped(k, (1, per, *(1,) * len(rest)))
    blocks = c.reshaped(k, (group, 1, per))
    shape = (group, outputs // group, per)
    spread = c.moved(blocks, f"spread {shape}", shape, lambda x: np.broadcast_to(x, shape))
    return c.reshaped(spread, (outputs, per, *(1,) * len(rest)))


def _multiplied(exponents: list[tuple[Term, float]], term: Term, e: float) -> None:
    """Multiply by term^e: exponents are added where both are whole and of one sign."""
    for i, (other, there) in enumerate(exponents):
        if other is term and float(e).is_integer() and there.is_integer() and e * there > 0:
            exponents[i] = (term, there + e)
            return
    exponents.append((term, float(e)))


def _positive(k: Const) -> bool:
    return bool(np.all(k.value > 0.0))


def _size(weight: Const) -> Const:
    """The root mean square of a weight's entries, as a constant."""

    def thunk() -> c.Numbers:
        def size(x: np.ndarray) -> np.ndarray:
            return np.asarray(np.sqrt(np.mean(np.square(np.broadcast_to(x, weight.value.shape)))))

        value, numbers = size(weight.value), weight.numbers  # |rms(a) − rms(b)| ≤ rms(a − b)
        return c.Numbers(value, size(numbers.slack) + 2.0**-22 * value, size(numbers.step))

    return Const(digest("size", weight.key), (), "f", weight.dtype, (), True, thunk)
