"""The linear maps that others are made of: reshapes, permutations, scalings, matrices. q×p = (inputs, outputs) throughout."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from onnxnull.kernel.maps.layer import LayerMap
from onnxnull.kernel.maps.linear_map import Array, LinearMap, Shape, size


@dataclass(frozen=True, eq=False)
class Identity(LinearMap):
    """x → x."""

    shape: Shape

    @property
    def input_shape(self) -> Shape:
        """The shape."""
        return self.shape

    @property
    def output_shape(self) -> Shape:
        """The shape."""
        return self.shape

    def _apply(self, x: Array) -> Array:
        return x

    def _adjoint(self, y: Array) -> Array:
        return y


@dataclass(frozen=True, eq=False)
class Reshape(LinearMap):
    """The same entries in C order under another shape."""

    from_shape: Shape
    to_shape: Shape

    def __post_init__(self) -> None:
        if size(self.from_shape) != size(self.to_shape):
            raise ValueError(f"cannot reshape {self.from_shape} to {self.to_shape}")

    @property
    def input_shape(self) -> Shape:
        """`from_shape`."""
        return self.from_shape

    @property
    def output_shape(self) -> Shape:
        """`to_shape`."""
        return self.to_shape

    def _apply(self, x: Array) -> Array:
        return x.reshape((len(x), *self.to_shape))

    def _adjoint(self, y: Array) -> Array:
        return y.reshape((len(y), *self.from_shape))


@dataclass(frozen=True, eq=False)
class Permute(LinearMap):
    """Transposed axes: output axis i is input axis `axes[i]` (the batch axis is not counted)."""

    shape: Shape
    axes: tuple[int, ...]

    def __post_init__(self) -> None:
        if sorted(self.axes) != list(range(len(self.shape))):
            raise ValueError(f"{self.axes} is no permutation of the axes of {self.shape}")

    @property
    def input_shape(self) -> Shape:
        """`shape`."""
        return self.shape

    @property
    def output_shape(self) -> Shape:
        """`shape` with its axes permuted."""
        return tuple(self.shape[axis] for axis in self.axes)

    def _apply(self, x: Array) -> Array:
        return x.transpose(0, *(axis + 1 for axis in self.axes))

    def _adjoint(self, y: Array) -> Array:
        return y.transpose(0, *(int(axis) + 1 for axis in np.argsort(self.axes)))


@dataclass(frozen=True, eq=False)
class Scale(LinearMap):
    """x → diagonal * x; `diagonal` is broadcast to `shape` (a channel scale is (C, 1, 1))."""

    shape: Shape
    diagonal: Array

    def __post_init__(self) -> None:
        np.broadcast_to(self.diagonal, self.shape)
        object.__setattr__(self, "diagonal", np.asarray(self.diagonal, dtype=np.float64))

    @property
    def input_shape(self) -> Shape:
        """`shape`."""
        return self.shape

    @property
    def output_shape(self) -> Shape:
        """`shape`."""
        return self.shape

    def _apply(self, x: Array) -> Array:
        return x * self.diagonal

    def _adjoint(self, y: Array) -> Array:
        return y * self.diagonal


@dataclass(frozen=True, eq=False)
class Matrix(LayerMap):
    """x → xᵀW on the last axis: (*leading, q) → (*leading, p), W of shape (q, p)."""

    weight: Array
    leading: Shape = ()
    blocks: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", np.asarray(self.weight, dtype=np.float64))
        if self.weight.ndim != 2:
            raise ValueError(f"a matrix has two axes, got {self.weight.shape}")
        object.__setattr__(self, "blocks", self.weight[None])

    @property
    def input_shape(self) -> Shape:
        """(*leading, q)."""
        return (*self.leading, self.weight.shape[0])

    @property
    def output_shape(self) -> Shape:
        """(*leading, p)."""
        return (*self.leading, self.weight.shape[1])

    @property
    def unfold(self) -> LinearMap:
        """(*leading, q) → (1, ∏ leading, q)."""
        return Reshape(self.input_shape, (1, size(self.leading), self.weight.shape[0]))

    @property
    def fold(self) -> LinearMap:
        """(1, ∏ leading, p) → (*leading, p)."""
        return Reshape((1, size(self.leading), self.weight.shape[1]), self.output_shape)

    def with_blocks(self, blocks: Array) -> Matrix:
        """The same layer with another block (1, q, p)."""
        return Matrix(blocks[0], self.leading)

    # without patches, one product does for all samples
    def _apply(self, x: Array) -> Array:
        return x @ self.weight

    def _adjoint(self, y: Array) -> Array:
        return y @ self.weight.T


@dataclass(frozen=True, eq=False)
class BlockMatrix(LayerMap):
    """Block-diagonal: (*leading, g, q) → (*leading, g, p) with blocks (g, q, p)."""

    blocks: Array
    leading: Shape = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", np.asarray(self.blocks, dtype=np.float64))
        if self.blocks.ndim != 3:
            raise ValueError(f"blocks have three axes (g, q, p), got {self.blocks.shape}")

    @property
    def input_shape(self) -> Shape:
        """(*leading, g, q)."""
        return (*self.leading, *self.blocks.shape[:2])

    @property
    def output_shape(self) -> Shape:
        """(*leading, g, p)."""
        return (*self.leading, self.blocks.shape[0], self.blocks.shape[2])

    @property
    def unfold(self) -> LinearMap:
        """(*leading, g, q) → (g, ∏ leading, q)."""
        split = (size(self.leading), *self.blocks.shape[:2])
        return Permute(split, (1, 0, 2)) @ Reshape(self.input_shape, split)

    @property
    def fold(self) -> LinearMap:
        """(g, ∏ leading, p) → (*leading, g, p)."""
        groups, _, columns = self.blocks.shape
        turned = Permute((groups, size(self.leading), columns), (1, 0, 2))
        return Reshape(turned.output_shape, self.output_shape) @ turned

    # without patches, one product does for all samples
    def _apply(self, x: Array) -> Array:
        result: Array = np.einsum("...gq,gqp->...gp", x, self.blocks, optimize=True)
        return result

    def _adjoint(self, y: Array) -> Array:
        result: Array = np.einsum("...gp,gqp->...gq", y, self.blocks, optimize=True)
        return result


def along_axis(shape: Shape, axis: int, matrix: Array) -> LinearMap:
    """A matrix (inputs, outputs) applied along one axis of a tensor."""
    last = (*(i for i in range(len(shape)) if i != axis), axis)
    moved = tuple(shape[i] for i in last)
    product = Matrix(matrix, moved[:-1])
    return Permute(product.output_shape, tuple(int(i) for i in np.argsort(last))) @ product @ Permute(shape, last)
