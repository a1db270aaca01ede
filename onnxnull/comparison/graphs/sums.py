"""Sums and products of floats. Each rule holds over the reals.

1. Sum: Σ cᵢ∘tᵢ + s with constants cᵢ, s. Sums in sums are flattened, equal terms are added up, zeros and ones fall away.
2. Product: c·Π tᵢ^eᵢ. Products in products are flattened; exponents are only added where both are whole and of one sign
   (√x·√x is x for x ≥ 0 alone, and x/x is 1 for x ≠ 0 alone). Constants go in front of the product.
3. A constant factor on the channels behind Conv, ConvTranspose or a product by a constant matrix goes into the
   weight.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.constants import Const
from onnxnull.comparison.graphs.movements import ONE, ZERO, Movements, in_front, perm_of
from onnxnull.comparison.graphs.terms import Shape, Term, Value, broadcast, known, pulled_back

LINEAR = ("Conv", "ConvTranspose", "MatMul")
"""Terms with one variable and a constant weight."""


class Sums(Movements):
    """Constructors of sums and products."""

    def sum(self, parts: Sequence[tuple[Const, Value]], shift: Const = ZERO) -> Value:
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
        if not coefficients:
            return c.spread(shift, known(shape) or shift.shape)
        shift = c.compressed(shift)
        terms = list(coefficients)
        if len(terms) > 1 or terms[0].op in ("Transpose", "Reshape"):
            factors = [c.compressed(k) for k in coefficients.values()]
            hoisted = self.hoisted(
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
                kept.append((ONE if factor.is_all(1.0) and not factor.shape else factor, term))
        return self._sum(kept, shift, shape, coefficients)

    def _sum(self, kept: list[tuple[Const, Term]], shift: Const, shape: Shape | None, coefficients: dict[Term, Const]) -> Value:
        none = shift.is_all(0.0)
        if len(kept) < len(coefficients) and (not kept or broadcast([shift.shape, *(t.shape for _, t in kept)]) != shape):
            kept = [(k, t) for t, k in coefficients.items()]  # zeros decide the shape
        if none and broadcast([*(k.shape for k, _ in kept), *(t.shape for _, t in kept)]) == shape:
            shift = ZERO
            if len(kept) == 1 and kept[0][0] is ONE:
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
            return whole if len(whole) == len(moved) else [(ONE, value, None)]
        if value.op != "Sum":
            return [(ONE, value, None)]
        own = value.constants[: len(value.variables)]
        parts: list[tuple[Const, Term | None, Const | None]] = [
            (k or ONE, t, None) for k, t in zip(own, value.variables, strict=True)
        ]
        return [*parts, (ONE, None, value.constants[-1])]

    def _addend_moved(
        self, movement: Term, factor: Const, term: Term | None, shift: Const | None
    ) -> tuple[Const, Term | None, Const | None] | None:
        """An addend of a sum that is moved; None where its shape is not the sum's, or a constant gets too large."""
        source = movement.variables[0].shape
        inner, out = known(source), known(movement.shape)

        def carried(k: Const) -> Const | None:
            if movement.op == "Transpose":
                return in_front(k, perm_of(movement))
            return None if inner is None or out is None else pulled_back(k, inner, out)

        constants = [None if k is None else carried(k) for k in (factor, shift)]
        if constants[0] is None or (shift is not None and constants[1] is None) or (term is not None and term.shape != source):
            return None
        if term is None:
            return constants[0], None, constants[1]
        moved = (
            self.transposed_as(movement, term) if movement.op == "Transpose" else self.reshaped_as(movement, term, out or ())
        )
        return (constants[0], moved, None) if isinstance(moved, Term) else None

    def _absorbed(self, factor: Const, term: Term) -> tuple[Const, Term]:
        """A factor per channel goes into the weight (rule 3)."""
        if term.op not in LINEAR or len(term.constants) != 1 or factor.is_all(1.0):
            return factor, term
        weight = term.constants[0]
        assert weight is not None
        if not factor.shape or (term.op == "MatMul" and factor.shape == weight.shape[-1:]):
            scaled = c.times(weight, factor)
        elif term.op != "MatMul" and is_channels(factor, len(weight.shape) - 2):
            on_weight = _on_outputs(factor, term, weight)
            if on_weight is None:
                return factor, term
            scaled = c.times(weight, on_weight)
        else:
            return factor, term
        made = self.make(term.op, term.variables, attributes=term.attributes, constants=[scaled], shape=term.shape)
        self.keep_maker(made, term)
        return ONE, made

    def product(self, parts: Sequence[tuple[Value, float]], factor: Const = ONE) -> Value:
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
            exponent = float(exponent)
            whole = exponent == 1.0 or (exponent > 0 and float(exponent).is_integer())
            mergeable = whole or (exponent == -1.0 and all(isinstance(e, float) and e > 0 for _, e in inner))
            if value.op == "Product" and not mergeable:
                inner = [(value, 1.0)]
            for term, e in inner:
                assert isinstance(e, float)
                times = int(exponent) if whole and not e.is_integer() and exponent.is_integer() else 1
                for _ in range(times):  # (√x)³ is √x·√x·√x, and not x·√x
                    _multiplied(exponents, term, e * exponent / times)
        if not exponents:
            return factor
        terms = [t for t, _ in exponents]
        if len(terms) == 1 and exponents[0][1] == 1.0:
            return self.sum([(factor, terms[0])])
        hoisted = self.hoisted(
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


def _on_outputs(factor: Const, term: Term, weight: Const) -> Const | None:
    """A factor per output channel as one on the weight of a convolution; None where it has another number of channels."""
    if term.op == "Conv":
        return c.reshaped(factor, (factor.size, *(1,) * (len(weight.shape) - 1))) if factor.size == weight.shape[0] else None
    inputs, per, *rest = weight.shape  # channels of the input, outputs of each group
    group = term.attribute("group")
    if not isinstance(group, int) or group * per != factor.size:
        return None
    blocks = c.spread(c.reshaped(factor, (group, 1, per)), (group, inputs // group, per))
    return c.reshaped(blocks, (inputs, per, *(1,) * len(rest)))


def is_channels(k: Const, spatial: int) -> bool:
    """Whether it has one entry for each channel of an image."""
    return len(k.shape) == spatial + 1 and all(size == 1 for size in k.shape[1:])


def _multiplied(exponents: list[tuple[Term, float]], term: Term, e: float) -> None:
    """Multiply by term^e: exponents are added where both are whole and of one sign."""
    for i, (other, there) in enumerate(exponents):
        if other is term and float(e).is_integer() and there.is_integer() and e * there > 0:
            exponents[i] = (term, there + e)
            return
    exponents.append((term, float(e)))


def _positive(k: Const) -> bool:
    return bool(np.all(k.value > 0.0))
