"""The normal form of linear operators, above that of sums, products and movements. Each rule holds over the reals.

1. A constant factor in front of Conv or of a product by a constant matrix goes into the weight, and a shift in front becomes
   one behind it where nothing is padded. The rows of a product by a matrix are one axis.
2. Scalars leave products of two variables, where the operands are linear maps by constants scaled to a root mean square of 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.constants import Const
from onnxnull.comparison.graphs.movements import ONE, ZERO
from onnxnull.comparison.graphs.sums import Sums, is_channels
from onnxnull.comparison.graphs.terms import Shape, Term, Value, broadcast, known, rank
from onnxnull.comparison.numbering import digest


class Algebra(Sums):
    """All constructors that keep terms in normal form."""

    def linear(self, op: str, x: Value, weight: Const, attributes: Sequence[tuple[str, object]], shape: Shape | None) -> Value:
        """Conv, ConvTranspose (attributes resolved) or x @ weight (rank 2), what stands in front absorbed (rule 1)."""
        assert isinstance(x, Term)
        whole = known(x.shape)
        if x.op == "Sum" and len(x.variables) == 1:
            absorbed = self._behind_affine(op, x, weight, attributes, shape)
            if absorbed is not None:
                return absorbed
        if op == "MatMul" and x.op == "Reshape" and whole is not None:  # rows stay rows, whatever axes they lie in
            inner = x.variables[0]
            if inner.op == "Sum" and len(inner.variables) == 1 and inner.shape is not None and inner.shape[-1:] == whole[-1:]:
                absorbed = self._behind_affine(op, inner, weight, attributes, (*inner.shape[:-1], weight.shape[1]))
                if absorbed is not None:
                    return self.reshape(absorbed, (*whole[:-1], weight.shape[1]))
        if op == "MatMul" and whole is not None and len(whole) > 2:  # rows in one axis
            rows = self.reshape(x, (math.prod(whole[:-1]), whole[-1]))
            made = self.linear(op, rows, weight, attributes, (math.prod(whole[:-1]), weight.shape[1]))
            return self.reshape(made, (*whole[:-1], weight.shape[1]))
        return self.make(op, [x], attributes=attributes, constants=[weight], shape=shape)

    def _behind_affine(
        self, op: str, x: Term, weight: Const, attributes: Sequence[tuple[str, object]], shape: Shape | None
    ) -> Value | None:
        factor, shift, inner = x.constants[0] or ONE, x.constants[-1] or ZERO, x.variables[0]
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
            return self.sum([(ONE, made)], c.product(vector, weight))
        given = dict(attributes)
        spatial, group = len(weight.shape) - 2, given.get("group", 1)
        if op != "Conv" or not isinstance(group, int):
            return None
        per = weight.shape[1]
        if not all(not k.shape or (is_channels(k, spatial) and k.size == per * group) for k in (factor, shift)):
            return None
        pads = given.get("pads")
        if not shift.is_all(0.0) and (not isinstance(pads, tuple) or any(pads)):
            return None
        scaled = c.times(weight, _on_inputs(factor, weight, group))
        made = self.linear(op, inner, scaled, attributes, shape)
        if shift.is_all(0.0):
            return made
        moved = c.summed(c.times(weight, _on_inputs(shift, weight, group)), tuple(range(1, spatial + 2)))
        return self.sum([(ONE, made)], c.reshaped(moved, (weight.shape[0], *(1,) * spatial)))

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
        """(k, t) with x = k·t, where t's weight has a root mean square of 1 (rule 2); k is 1 where none is taken out."""
        if x.op in ("Transpose", "Reshape"):
            k, inner = self._without_scalar(x.variables[0])
            shape = known(x.shape)
            again = self.transposed_as(x, inner) if x.op == "Transpose" else self.reshaped_as(x, inner, shape or ())
            return (k, again) if isinstance(again, Term) else (ONE, x)
        if x.op == "Sum" and len(x.variables) == 1:
            (t,), own, shift = x.variables, x.constants[0] or ONE, x.constants[-1] or ZERO
        elif x.op == "MatMul":
            t, own, shift = x, ONE, ZERO
        else:
            return ONE, x
        if t.op == "MatMul" and len(t.constants) == 1 and t.constants[0] is not None and not own.shape:
            k = _size(t.constants[0])
        elif not own.shape and own is not ONE:
            k = own
        else:
            return ONE, x
        if not float(k.value) > 0.0:
            return ONE, x
        made = self.sum([(c.times(own, c.power(k, -1.0)), t)], c.times(shift, c.power(k, -1.0)))
        return (k, made) if isinstance(made, Term) else (ONE, x)


def _product_shape(a: Shape | None, b: Shape | None) -> Shape | None:
    if a is None or b is None or len(a) < 2 or len(b) < 2:
        return None
    front = broadcast([a[:-2], b[:-2]])
    return None if front is None else (*front, a[-2], b[-1])


def _on_inputs(k: Const, weight: Const, group: int) -> Const:
    """A factor per input channel as one on a weight (outputs, inputs per group, ...)."""
    if not k.shape:
        return k
    outputs, per, *rest = weight.shape
    if group == 1:
        return c.reshaped(k, (1, per, *(1,) * len(rest)))
    blocks = c.reshaped(k, (group, 1, per))
    shape = (group, outputs // group, per)
    return c.reshaped(c.spread(blocks, shape), (outputs, per, *(1,) * len(rest)))


def _size(weight: Const) -> Const:
    """The root mean square of a weight's entries, as a constant."""

    def thunk() -> c.Numbers:
        def size(x: np.ndarray) -> np.ndarray:
            return np.asarray(np.sqrt(np.mean(np.square(np.broadcast_to(x, weight.value.shape)))))

        value, numbers = size(weight.value), weight.numbers  # |rms(a) − rms(b)| ≤ rms(a − b)
        return c.Numbers(value, size(numbers.slack) + 2.0**-22 * value, size(numbers.step))

    return Const(digest("size", weight.key), (), "f", weight.dtype, (), True, thunk)
