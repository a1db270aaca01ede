"""A constant contracted with one activation: what Gemm, MatMul and Einsum with one constant operand have in common.

Axes carry labels, as in an Einsum equation. A label of the constant is
- *contracted*, where the activation has it and the output does not: part of the rows q;
- a *block*, where all three have it: one block of the matrix each (g);
- *free*, where only the output has it besides: part of the columns p;
- *summed before*, where nobody else has it.
A label of the activation alone is summed by the node: the matrix repeats its rows along it. What the activation shares with
the output only runs over patches.
"""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnxnull.kernel.maps.linear_map import Array, LinearMap
from onnxnull.kernel.numerics.rounding_model import magnitude, nonzero_terms, roundings

Labels = tuple[int, ...]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Contraction:
    """`output = einsum(constant, activation)`, axes as labels.

    Attributes:
        summed: sizes of the labels that only the activation has, in the order in which it has them.
    """

    constant: Labels
    activation: Labels
    output: Labels
    summed: Shape = ()

    @property
    def block(self) -> Labels:
        """Labels of the constant that number the blocks."""
        return tuple(c for c in dict.fromkeys(self.constant) if c in self.activation and c in self.output)

    @property
    def contracted(self) -> Labels:
        """Labels of the constant that are rows."""
        return tuple(c for c in dict.fromkeys(self.constant) if c in self.activation and c not in self.output)

    @property
    def free(self) -> Labels:
        """Labels of the constant that are columns."""
        return tuple(c for c in dict.fromkeys(self.constant) if c not in self.activation and c in self.output)

    @property
    def alone(self) -> Labels:
        """Labels of the activation that the node sums."""
        return tuple(
            label for label in dict.fromkeys(self.activation) if label not in self.constant and label not in self.output
        )

    @property
    def patches(self) -> Labels:
        """Labels that the activation shares with the output only."""
        return tuple(label for label in dict.fromkeys(self.activation) if label not in self.constant and label in self.output)

    def shape(self, constant: Shape) -> tuple[int, int, int]:
        """(g, q, p) for a constant of this shape."""
        sizes = dict(zip(self.constant, constant, strict=True))
        q = math.prod(sizes[label] for label in self.contracted) * math.prod(self.summed)
        return math.prod(sizes[label] for label in self.block), q, math.prod(sizes[label] for label in self.free)


def contraction_blocks(contraction: Contraction, constant: np.ndarray) -> np.ndarray:
    """The matrix (g, q, p) of the constant; a view where its axes only need to be regrouped."""
    kept = (*contraction.block, *contraction.contracted, *contraction.free)
    labels = list(contraction.constant)
    gone = [axis for axis, label in enumerate(labels) if label not in kept and constant.shape[axis] == 1]
    array = constant.squeeze(tuple(gone))
    labels = [label for axis, label in enumerate(labels) if axis not in gone]
    if sorted(labels) == sorted(kept):
        array = array.transpose([labels.index(label) for label in kept])
    else:  # diagonals of repeated labels, sums over private ones: in float64, where they round least
        array = rearranged(array.astype(np.float64), labels, kept)
    sizes, a = array.shape, len(contraction.block)
    b = a + len(contraction.contracted)
    array = array.reshape(math.prod(sizes[:a]), math.prod(sizes[a:b]), math.prod(sizes[b:]))
    repeat = math.prod(contraction.summed)
    return array if repeat == 1 else np.repeat(array, repeat, axis=1)


def rearranged(array: np.ndarray, labels: Sequence[int], kept: Sequence[int]) -> np.ndarray:
    """One-operand Einsum: axes `kept` in order, diagonals of repeated labels, sums over the others. A view without sums."""
    letters = dict(zip(dict.fromkeys(labels), string.ascii_letters, strict=False))
    left, right = ("".join(letters[label] for label in side) for side in (labels, kept))
    result: np.ndarray = np.einsum(f"{left}->{right}", array)
    return result


@dataclass(frozen=True, eq=False)
class ContractionMap(LinearMap):
    """A contraction as a linear map on the whole activation tensor: rows(x) · blocks, put back in the output's order.

    Attributes:
        constant: shape of the constant.
        blocks: (g, q, p).
        activation: shape of the activation.
    """

    contraction: Contraction
    constant: Shape
    blocks: Array
    activation: Shape

    @property
    def input_shape(self) -> Shape:
        """Shape of the activation."""
        return self.activation

    @property
    def output_shape(self) -> Shape:
        """Shape of the output."""
        return self._sizes(self.contraction.output)

    def _sizes(self, labels: Labels) -> Shape:
        c = self.contraction
        known = dict(zip(c.constant, self.constant, strict=True)) | dict(zip(c.activation, self.activation, strict=True))
        return tuple(known[label] for label in labels)

    def _rows(self) -> Labels:
        c = self.contraction
        return (*c.patches, *c.block, *c.contracted, *c.alone)

    def _apply(self, x: Array) -> Array:
        c, batch = self.contraction, self._batch()
        rows = rearranged(x, (batch, *c.activation), (batch, *self._rows()))
        patches = rows.reshape(len(x), math.prod(self._sizes(c.patches)), *self.blocks.shape[:2]).swapaxes(1, 2)
        products = (patches @ self.blocks).swapaxes(1, 2)  # (n, patches, g, p)
        tensor = products.reshape(len(x), *self._sizes((*c.patches, *c.block, *c.free)))
        return rearranged(tensor, (batch, *c.patches, *c.block, *c.free), (batch, *c.output))

    def _adjoint(self, y: Array) -> Array:
        c, batch = self.contraction, self._batch()
        columns = rearranged(y, (batch, *c.output), (batch, *c.patches, *c.block, *c.free))
        g, _, p = self.blocks.shape
        products = columns.reshape(len(y), math.prod(self._sizes(c.patches)), g, p).swapaxes(1, 2)
        rows = (products @ self.blocks.swapaxes(1, 2)).swapaxes(1, 2)
        x = np.zeros((len(y), *self.activation))
        # a label that the activation repeats lies on a diagonal, which einsum gives as a view
        view = rearranged(x, (batch, *c.activation), (batch, *self._rows()))
        view[...] = rows.reshape(len(y), *self._sizes(self._rows()))
        return x

    def _batch(self) -> int:
        return max((*self.contraction.constant, *self.contraction.activation), default=-1) + 1


@magnitude.register
def _magnitude(linear_map: ContractionMap) -> LinearMap:
    return replace(linear_map, blocks=np.abs(linear_map.blocks))


@roundings.register
def _roundings(linear_map: ContractionMap) -> int:
    return nonzero_terms(linear_map.blocks)
