"""Quantized weights as the integers and scales that they are: W = S∘(Wq − Z).

Sources: ONNX `DequantizeLinear` (opset 10 to 25; per tensor, per axis, blocked since 21) and the operator of the same name in
com.microsoft. A scale of float32 or less and codes of 16 bits or less have products of at most 41 bits, so doubles hold the
rational matrix S∘(Wq − Z) exactly. What DequantizeLinear gives is that matrix rounded to the type of the scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.errors import one_line
from onnxnull.graph.constants import Constant, Derived, EvaluationError, Step, applied, derived, evaluate, steps_in_order
from onnxnull.graph.entries import EntryKind, entry_kind

if TYPE_CHECKING:
    import onnx_ir as ir

"""Ops that move or copy the entries of operand 0 (of all operands: Concat), whatever they are."""
_MOST_CODE = 1 << 29
"""Codes below it times the 24 bits of a float32 scale fit into a double."""


class InexactError(EvaluationError):
    """Doubles do not hold S∘(Wq − Z): only the floats that run are known."""


@dataclass(frozen=True, slots=True, eq=False)
class Quantized:
    """Codes with their scales and zero points.

    Attributes:
        codes: Wq, integers (or the narrow floats that ONNX quantizes to).
        scale: S, positive as a rule; None stands for 1.
        zero_point: Z; None stands for 0.
        axis: the axis that scales and zero points follow, where they are vectors or blocks.
        block_size: entries along `axis` that share a scale; 0 where scales are no blocks. A scale that is neither a scalar
            nor a vector nor in blocks is broadcast as it is.
    """

    codes: Constant
    scale: Constant | None
    zero_point: Constant | None
    axis: int = 0
    block_size: int = 0

    def constant(self, dtype: ir.DataType) -> Constant:
        """The weight S∘(Wq − Z) as a constant: `evaluate` gives it rounded to `dtype`, `moved` what it is made of."""
        operands = (self.codes, self.scale, self.zero_point)
        given = (True, self.scale is not None, self.zero_point is not None)
        function = partial(dequantized, given, self.axis, self.block_size, dtype.numpy())
        return derived(function, tuple(o for o in operands if o is not None), dtype, self.codes.shape)

    def scales(self) -> np.ndarray:
        """S in double, at the shape of the codes (a read-only view where it repeats)."""
        ones = np.ones(()) if self.scale is None else evaluate(self.scale).astype(np.float64)
        return np.broadcast_to(spread(ones, self.codes.shape, self.axis, self.block_size), self.codes.shape)

    def zero_points(self) -> np.ndarray:
        """Z in double, at the shape of the codes (a read-only view where it repeats)."""
        zeros = np.zeros(()) if self.zero_point is None else evaluate(self.zero_point).astype(np.float64)
        return np.broadcast_to(spread(zeros, self.codes.shape, self.axis, self.block_size), self.codes.shape)

    def integers(self) -> np.ndarray:
        """Wq − Z in double, exactly. Raises `InexactError` where it needs more than 29 bits, or a float Z does not fit."""
        from onnxnull.kernel.numerics.error_free import two_difference

        difference, lost = two_difference(evaluate(self.codes).astype(np.float64), self.zero_points())
        if np.any(lost):
            raise InexactError("a zero point is a float that doubles cannot subtract from its codes exactly")
        if difference.size and np.abs(difference).max() >= _MOST_CODE:
            raise InexactError(f"codes of {_MOST_CODE} and more times their scales do not fit into doubles")
        return difference

    def codes_scaled(self) -> np.ndarray:
        """S∘Wq in double: the weight as it would be without its zero points."""
        return np.asarray(evaluate(self.codes).astype(np.float64) * self.scales())

    def rational(self) -> np.ndarray:
        """S∘(Wq − Z) in double, exactly. Raises `InexactError` where doubles do not hold it."""
        from onnxnull.kernel.numerics.error_free import two_product

        with np.errstate(over="ignore", invalid="ignore"):
            product, lost = two_product(self.integers(), self.scales())
        if np.any(lost[np.isfinite(product)]):
            raise InexactError("scales times codes less a zero point that is a float do not fit into doubles")
        return product


def dequantized(
    given: tuple[bool, bool, bool], axis: int, block_size: int, dtype: np.dtype[np.generic], *arrays: np.ndarray
) -> np.ndarray:
    """S∘(Wq − Z), each product rounded to float32 and then to `dtype`, as the runtime does.

    Args:
        given: which of codes, scale and zero point `arrays` holds.
    """
    found = iter(arrays)
    codes, scale, zero = (next(found) if is_given else None for is_given in given)
    assert codes is not None
    difference = codes.astype(np.float32 if codes.dtype.itemsize <= 2 else np.float64)  # either holds Wq − Z exactly
    if zero is not None:
        difference = difference - spread(zero.astype(difference.dtype), codes.shape, axis, block_size)
    with np.errstate(over="ignore", invalid="ignore"):  # Inf is what runs then
        result = difference.astype(np.float32, copy=False)
        if scale is not None:
            result = result * spread(scale.astype(np.float32), codes.shape, axis, block_size)
        return np.asarray(result.astype(dtype, copy=False))


def spread(parameter: np.ndarray, shape: tuple[int, ...], axis: int, block_size: int) -> np.ndarray:
    """A scale or zero point so that it broadcasts to the codes' `shape`. Raises `ValueError` where it does not fit."""
    if parameter.size == 1:
        return parameter.reshape(())
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"axis {axis} of codes of shape {shape}")
    axis %= len(shape)
    if block_size > 0:
        blocks = (*shape[:axis], -(-shape[axis] // block_size), *shape[axis + 1 :])
        if parameter.shape != blocks:
            raise ValueError(
                f"scales or zero points of shape {parameter.shape}, codes of shape {shape} in blocks of {block_size}"
            )
        return np.take(parameter, np.arange(shape[axis]) // block_size, axis)
    if parameter.ndim == 1:
        parameter = parameter.reshape(-1, *(1,) * (len(shape) - 1 - axis))
        if parameter.shape[0] != shape[axis]:
            raise ValueError(f"{parameter.shape[0]} scales or zero points for {shape[axis]} entries of axis {axis}")
    if np.broadcast_shapes(parameter.shape, shape) != shape:
        raise ValueError(f"scales or zero points of shape {parameter.shape} for codes of shape {shape}")
    return parameter


def quantized_from(constant: Constant) -> Quantized | None:
    """What a constant is dequantized from, where it is nothing but that, moved; the first of several that are concatenated."""
    pending = [constant]
    while pending:
        step = _unfollowed(pending[-1])
        behind = [] if step is None else _moved(step)
        missing = [each for each in behind if _unfollowed(each) is not None]
        pending.extend(missing)
        if not missing:
            last = pending.pop()
            if step is not None:
                parts = [_settled(each) for each in behind]
                step.evaluation.quantized[last.signature] = parts[0] if all(parts) else None
    return _settled(constant)


def _unfollowed(constant: Constant) -> Step | None:
    """The step that moved a constant, where it is not known yet what that is dequantized from."""
    source = constant.source
    is_open = isinstance(source, Step) and _moves(source) and constant.signature not in source.evaluation.quantized
    return source if isinstance(source, Step) and is_open else None


def _settled(constant: Constant) -> Quantized | None:
    source = constant.source
    if isinstance(source, Derived) and source.function.func is dequantized:
        return _quantized(source)
    return source.evaluation.quantized.get(constant.signature) if isinstance(source, Step) else None


def moved(constant: Constant, value: Callable[[Quantized], np.ndarray]) -> np.ndarray:
    """`value` of what `constant` is quantized from, moved as `constant` moves it. Raises `EvaluationError`.

    `quantized_from` must have found something.
    """
    results: dict[bytes, np.ndarray] = {}

    def recalled(item: Constant) -> bool:
        found = item.source.evaluation.recall((value, item.signature)) if isinstance(item.source, Step) else None
        if found is not None:
            results[item.signature] = found
        return found is not None

    for item in steps_in_order(constant, recalled):
        source = item.source
        if item.signature in results:
            continue
        try:
            if isinstance(source, Derived) and source.function.func is dequantized:
                results[item.signature] = value(_quantized(source))
            elif isinstance(source, Step) and any(operand.signature in results for operand in _moved(source)):
                results[item.signature] = array = _moved_by(source, results)
                source.evaluation.remember((value, item.signature), array)
        except EvaluationError:
            raise
        except Exception as error:
            raise EvaluationError(f"a quantized weight: {one_line(error)}") from error
    return results[constant.signature]


def _moved_by(step: Step, results: Mapping[bytes, np.ndarray]) -> np.ndarray:
    arrays = [None if o is None else results[o.signature] if o.signature in results else evaluate(o) for o in step.inputs]
    if _casts(step) and arrays[0] is not None:
        return arrays[0]
    return applied(step, arrays)


def _quantized(source: Derived) -> Quantized:
    given, axis, block_size, _ = source.function.args
    found = iter(source.inputs)
    codes, scale, zero = (next(found) if is_given else None for is_given in given)
    assert codes is not None
    return Quantized(codes, scale, zero, axis, block_size)


def _moves(step: Step) -> bool:
    if step.node.domain not in ("", "ai.onnx"):
        return False
    return entry_kind(step.node) is EntryKind.COPIES or step.node.op_type == "Concat" or _casts(step)


def _casts(step: Step) -> bool:
    """Whether it only changes the float type of what it is given: the numbers that were meant stay what they are."""
    return step.node.op_type == "Cast" and step.inputs[0] is not None and step.inputs[0].dtype.is_floating_point()


def _moved(step: Step) -> list[Constant]:
    operands = step.inputs if step.node.op_type == "Concat" else step.inputs[:1]
    return [o for o in operands if o is not None]
