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

from onnxnull.kernel.maps.layer import LayerMap
from onnxnull.kernel.maps.linear_map import Array, LinearMap

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
class Grouped(LinearMap):
    """A tensor whose axes carry labels → (g, L, rows). Entries off a repeated label's diagonal are left out.

    Attributes:
        patches, block, rows: labels of L, of g and of the rows.
    """

    shape: Shape
    labels: Labels
    patches: Labels
    block: Labels
    rows: Labels

    @property
    def input_shape(self) -> Shape:
        """`shape`."""
        return self.shape

    @property
    def output_shape(self) -> Shape:
        """(blocks, patches, rows)."""
        return (*(math.prod(self._sizes(labels)) for labels in (self.block, self.patches, self.rows)),)

    def _sizes(self, labels: Labels) -> Shape:
        sizes = dict(zip(self.labels, self.shape, strict=True))
        return tuple(sizes[label] for label in labels)

    def _apply(self, x: Array) -> Array:
        groups, patches, rows = self.output_shape
        return self._moved(x).reshape(len(x), patches, groups, rows).swapaxes(1, 2)

    def _adjoint(self, y: Array) -> Array:
        x = np.zeros((len(y), *self.shape))
        # without sums the rearrangement is a view of x
        self._moved(x)[...] = y.swapaxes(1, 2).reshape(len(y), *self._sizes((*self.patches, *self.block, *self.rows)))
        return x

    def _moved(self, x: Array) -> Array:
        batch = max(self.labels, default=-1) + 1
        return rearranged(x, (batch, *self.labels), (batch, *self.patches, *self.block, *self.rows))


@dataclass(frozen=True, eq=False)
class ContractionMap(LayerMap):
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

    def __post_init__(self) -> None:
        sizes = dict(zip(self.contraction.constant, self.constant, strict=True))
        for label, count in zip(self.contraction.activation, self.activation, strict=True):
            if sizes.setdefault(label, count) != count:
                raise ValueError(f"an axis of {sizes[label]} meets one of {count}")

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

    def with_blocks(self, blocks: Array) -> ContractionMap:
        """The same contraction with other blocks (g, q, p); where they have fewer columns, the other outputs are 0."""
        missing = self.blocks.shape[2] - blocks.shape[2]
        return replace(self, blocks=np.pad(blocks, ((0, 0), (0, 0), (0, missing))) if missing else blocks)

    @property
    def unfold(self) -> LinearMap:
        """The rows of the activation, (g, L, q)."""
        c = self.contraction
        return Grouped(self.activation, c.activation, c.patches, c.block, (*c.contracted, *c.alone))

    @property
    def fold(self) -> LinearMap:
        """The columns (g, L, p) in the output's order."""
        c = self.contraction
        return Grouped(self.output_shape, c.output, c.patches, c.block, c.free).T
