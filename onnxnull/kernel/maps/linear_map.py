"""Linear maps between tensors: SciPy's LinearOperator with tensor shapes. Matrices are q×p (rows inputs, columns outputs).

A map takes tensors of ONE sample, without a batch axis: `input_shape` → `output_shape`. `apply` and `adjoint` accept any
number of leading batch axes and keep them. All arithmetic is float64. Every map obeys ⟨Au, v⟩ = ⟨u, Aᵀv⟩, and the tests
check it for every class (after pylops' dot test).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

Array = NDArray[np.float64]
Shape = tuple[int, ...]
Ranges = Sequence[tuple[int, int]]

# `dense` feeds unit vectors in batches of at most this many input entries (64 MiB of float64).
_DENSE_BATCH_ENTRIES = 8 << 20


def size(shape: Shape) -> int:
    """Number of entries of a tensor of this shape (1 for a scalar)."""
    return math.prod(shape)


class LinearMap(ABC):
    """A linear map from tensors of `input_shape` to tensors of `output_shape`.

    Subclasses give the two shapes and `_apply` / `_adjoint`, which see exactly one batch axis: (n, *shape) → (n, *shape).
    """

    @property
    @abstractmethod
    def input_shape(self) -> Shape:
        """Shape of one input sample."""

    @property
    @abstractmethod
    def output_shape(self) -> Shape:
        """Shape of one output sample."""

    @abstractmethod
    def _apply(self, x: Array) -> Array:
        """(n, *input_shape) → (n, *output_shape)."""

    @abstractmethod
    def _adjoint(self, y: Array) -> Array:
        """(n, *output_shape) → (n, *input_shape)."""

    @property
    def components(self) -> tuple[LinearMap, ...]:
        """The maps that this one is composed, stacked or summed of; () for a map of its own."""
        return ()

    @property
    def inputs(self) -> int:
        """Number of input entries."""
        return size(self.input_shape)

    @property
    def outputs(self) -> int:
        """Number of output entries."""
        return size(self.output_shape)

    def apply(self, x: ArrayLike) -> Array:
        """A·x for x of shape (*batch, *input_shape); returns (*batch, *output_shape). ValueError if the shape is another."""
        tensor, batch = _one_batch_axis(x, self.input_shape, "input")
        return self._apply(tensor).reshape(batch + self.output_shape)

    def adjoint(self, y: ArrayLike) -> Array:
        """Aᵀ·y for y of shape (*batch, *output_shape); returns (*batch, *input_shape). ValueError if the shape is another."""
        tensor, batch = _one_batch_axis(y, self.output_shape, "output")
        return self._adjoint(tensor).reshape(batch + self.input_shape)

    @property
    def T(self) -> LinearMap:
        """The adjoint map."""
        return Adjoint(self)

    def __matmul__(self, first: LinearMap) -> LinearMap:
        """`(A @ L).apply(x)` is `A.apply(L.apply(x))`."""
        return Composition(self, first)

    def __add__(self, other: LinearMap) -> LinearMap:
        """`(A + B).apply(x)` is `A.apply(x) + B.apply(x)`."""
        return Sum((self, other))

    def window(self, ranges: Ranges) -> LinearMap:
        """This map on inputs supported in a box; `ranges` holds (start, stop) per input axis.

        The box's tensor is the input. Outputs that the box cannot reach may be dropped, all others are kept, so that
        a kernel vector of the window, padded by zeros, is a kernel vector of the map.
        """
        return self @ Embed(self.input_shape, tuple((int(start), int(stop)) for start, stop in ranges))

    def dense(self) -> Array:
        """The matrix, (inputs, outputs) = (q, p), in float64."""
        matrix = np.empty((self.inputs, self.outputs))
        step = max(1, _DENSE_BATCH_ENTRIES // max(1, self.inputs, self.outputs))
        for start in range(0, self.inputs, step):
            stop = min(start + step, self.inputs)
            units = np.zeros((stop - start, self.inputs))
            units[np.arange(stop - start), np.arange(start, stop)] = 1.0
            matrix[start:stop] = self._apply(units.reshape((stop - start, *self.input_shape))).reshape(stop - start, -1)
        return matrix

    def as_linear_operator(self) -> LinearOperator:
        """The map on flat vectors as SciPy means it: shape (outputs, inputs), `matvec` applies, `rmatvec` is the adjoint."""
        from scipy.sparse.linalg import LinearOperator

        return LinearOperator(
            shape=(self.outputs, self.inputs),
            dtype=np.float64,
            matvec=lambda x: self.apply(x.reshape(self.input_shape)).ravel(),
            rmatvec=lambda y: self.adjoint(y.reshape(self.output_shape)).ravel(),
            matmat=lambda x: self.apply(x.T.reshape((-1, *self.input_shape))).reshape(x.shape[1], -1).T,
            rmatmat=lambda y: self.adjoint(y.T.reshape((-1, *self.output_shape))).reshape(y.shape[1], -1).T,
        )


def _one_batch_axis(x: ArrayLike, shape: Shape, role: str) -> tuple[Array, Shape]:
    tensor = np.asarray(x, dtype=np.float64)
    batch_axes = tensor.ndim - len(shape)
    if batch_axes < 0 or tensor.shape[batch_axes:] != shape:
        raise ValueError(f"the map's {role} shape is {shape}, got {tensor.shape}")
    batch = tensor.shape[:batch_axes]
    return tensor.reshape((size(batch), *shape)), batch


@dataclass(frozen=True, eq=False)
class Adjoint(LinearMap):
    """The transpose of a map."""

    of: LinearMap

    @property
    def input_shape(self) -> Shape:
        """The output shape of the map that is transposed."""
        return self.of.output_shape

    @property
    def output_shape(self) -> Shape:
        """The input shape of the map that is transposed."""
        return self.of.input_shape

    @property
    def T(self) -> LinearMap:
        """The map that was transposed."""
        return self.of

    def _apply(self, x: Array) -> Array:
        return self.of._adjoint(x)

    def _adjoint(self, y: Array) -> Array:
        return self.of._apply(y)


@dataclass(frozen=True, eq=False)
class Composition(LinearMap):
    """`second` after `first`."""

    second: LinearMap
    first: LinearMap

    def __post_init__(self) -> None:
        if self.first.output_shape != self.second.input_shape:
            raise ValueError(
                f"cannot compose: the first map gives {self.first.output_shape}, the second takes {self.second.input_shape}"
            )

    @property
    def input_shape(self) -> Shape:
        """The input shape of the first map."""
        return self.first.input_shape

    @property
    def output_shape(self) -> Shape:
        """The output shape of the second map."""
        return self.second.output_shape

    @property
    def components(self) -> tuple[LinearMap, ...]:
        """The two, the one that is applied first in front."""
        return (self.first, self.second)

    def window(self, ranges: Ranges) -> LinearMap:
        """The first map's window, with the second map after it where the window keeps all of the first's outputs."""
        first = self.first.window(ranges)
        if first.output_shape == self.first.output_shape:
            return self.second @ first
        return super().window(ranges)

    def _apply(self, x: Array) -> Array:
        return self.second._apply(self.first._apply(x))

    def _adjoint(self, y: Array) -> Array:
        return self.first._adjoint(self.second._adjoint(y))


@dataclass(frozen=True, eq=False)
class Sum(LinearMap):
    """The sum of maps that share both shapes."""

    terms: tuple[LinearMap, ...]

    def __post_init__(self) -> None:
        shapes = {(term.input_shape, term.output_shape) for term in self.terms}
        if len(shapes) != 1:
            raise ValueError(f"cannot add maps of different shapes: {sorted(shapes)}")

    @property
    def input_shape(self) -> Shape:
        """The shared input shape."""
        return self.terms[0].input_shape

    @property
    def output_shape(self) -> Shape:
        """The shared output shape."""
        return self.terms[0].output_shape

    @property
    def components(self) -> tuple[LinearMap, ...]:
        """The terms."""
        return self.terms

    def _apply(self, x: Array) -> Array:
        return np.asarray(sum(term._apply(x) for term in self.terms), dtype=np.float64)

    def _adjoint(self, y: Array) -> Array:
        return np.asarray(sum(term._adjoint(y) for term in self.terms), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Stack(LinearMap):
    """Several maps of one input, outputs flattened and concatenated: its kernel is the intersection of their kernels."""

    parts: tuple[LinearMap, ...]

    def __post_init__(self) -> None:
        shapes = {part.input_shape for part in self.parts}
        if len(shapes) != 1:
            raise ValueError(f"cannot stack maps of different inputs: {sorted(shapes)}")

    @property
    def input_shape(self) -> Shape:
        """The shared input shape."""
        return self.parts[0].input_shape

    @property
    def output_shape(self) -> Shape:
        """(sum of the parts' output sizes,)."""
        return (sum(part.outputs for part in self.parts),)

    @property
    def components(self) -> tuple[LinearMap, ...]:
        """The parts."""
        return self.parts

    def window(self, ranges: Ranges) -> LinearMap:
        """The stack of the parts' windows."""
        return Stack(tuple(part.window(ranges) for part in self.parts))

    def _apply(self, x: Array) -> Array:
        return np.concatenate([part._apply(x).reshape(len(x), part.outputs) for part in self.parts], axis=1)

    def _adjoint(self, y: Array) -> Array:
        total = np.zeros((len(y), *self.input_shape))
        start = 0
        for part in self.parts:
            total += part._adjoint(y[:, start : start + part.outputs].reshape((len(y), *part.output_shape)))
            start += part.outputs
        return total


@dataclass(frozen=True, eq=False)
class Embed(LinearMap):
    """A box placed into a tensor of zeros; `ranges` holds the box's (start, stop) per axis. Its adjoint is a slice."""

    shape: Shape
    ranges: tuple[tuple[int, int], ...]
    _slices: tuple[slice, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        good = len(self.ranges) == len(self.shape) and all(
            0 <= start <= stop <= length for (start, stop), length in zip(self.ranges, self.shape, strict=True)
        )
        if not good:
            raise ValueError(f"the box {self.ranges} does not lie in a tensor of shape {self.shape}")
        object.__setattr__(self, "_slices", (slice(None), *(slice(start, stop) for start, stop in self.ranges)))

    @property
    def input_shape(self) -> Shape:
        """The box's shape."""
        return tuple(stop - start for start, stop in self.ranges)

    @property
    def output_shape(self) -> Shape:
        """The whole tensor's shape."""
        return self.shape

    def _apply(self, x: Array) -> Array:
        whole = np.zeros((len(x), *self.shape))
        whole[self._slices] = x
        return whole

    def _adjoint(self, y: Array) -> Array:
        return y[self._slices]
