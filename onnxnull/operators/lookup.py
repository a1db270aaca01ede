"""Look-up tables: constants whose rows a node picks by indices that the network is given or computes (embeddings).

An index is multiplied by nothing, so a table is no linear weight; as a matrix its rows span what can come out. Gather (opset 1
to 13): along `axis`; the entries of that axis are the rows. GatherND (opset 11 to 13): the last axis of the indices, of length
k, picks from the first k axes (behind `batch_dims` of them). Of com.microsoft: EmbedLayerNormalization (words, positions,
segments: inputs 2 to 4), QEmbedLayerNormalization (the same, quantized: inputs 2 to 4), GatherBlockQuantized (input 0, whose
integers may be packed), TorchEmbedding (input 0), WordConvEmbedding (characters: input 3).
Entries that are picked one by one (GatherElements, GatherND down to scalars, a table of one column: scales) have no rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from onnxnull.graph.constants import Blocked, Constant
from onnxnull.graph.node import Node
from onnxnull.graph.operator_facts import OperatorFacts, operator_of
from onnxnull.operators.linear_use import holds_no_weight, is_constant, shape_at

_MICROSOFT = "com.microsoft"


@dataclass(frozen=True, slots=True)
class TableUse:
    """A table that a node looks rows up in.

    Attributes:
        name: of what the node reads.
        constant: the table; `Blocked` where it could not be evaluated.
        shape: (rows, columns); None where it is not known.
        arrange: array of the constant → (rows, columns); None where its row rank is not computed, for the reason in `obstacle`.
    """

    name: str
    constant: Constant | Blocked
    shape: tuple[int, int] | None
    arrange: partial[np.ndarray] | None
    obstacle: str | None = None


@dataclass(frozen=True, slots=True)
class Indexing:
    """An operand that holds indices along an axis of another one.

    Attributes:
        indices, of: the operands.
        axis: the attribute that says along which; None for the first.
    """

    indices: int
    of: int
    axis: str | None = "axis"


_INDEXING: OperatorFacts[tuple[Indexing, ...]] = OperatorFacts("account of indices")
counts_along = _INDEXING.add
"""Register the operands of these operators that hold indices along one axis."""
counts_along((Indexing(1, 0),), "Gather", "GatherElements", "Scatter", "ScatterElements")
counts_along((Indexing(0, 2, None), Indexing(1, 4, None)), "EmbedLayerNormalization", domain=_MICROSOFT)
counts_along((Indexing(1, 0, None),), "TorchEmbedding", domain=_MICROSOFT)
counts_along((Indexing(1, 0, "gather_axis"),), "GatherBlockQuantized", domain=_MICROSOFT)


def indexed_axis(node: Node, index: int) -> tuple[int, int, int | None] | None:
    """(operand, its axis, the axis's length) that operand `index` of a node counts along; None where it holds no indices."""
    found = next((each for each in _INDEXING.get(operator_of(node), ()) if each.indices == index), None)
    operand = None if found is None else node.input(found.of)
    if found is None or operand is None or operand.shape is None:
        return None
    axis, rank = 0 if found.axis is None else int(node.attribute(found.axis, 0)), len(operand.shape)
    return (found.of, axis % rank, operand.shape[axis]) if -rank <= axis < rank else None


Tables = Callable[[Node], Iterator[TableUse]]
_TABLES: OperatorFacts[Tables] = OperatorFacts("reader of tables")
looks_up = _TABLES.registers
"""Register the function that lists the tables of a node of these operators."""


def table_uses(node: Node) -> Iterator[TableUse]:
    """The look-up tables of a node; nothing for a node of constants only."""
    function = _TABLES.of(node)
    if function is not None and not all(is_constant(node, i) or node.input(i) is None for i in range(len(node.inputs))):
        yield from function(node)


@looks_up("Gather")
def gather(node: Node) -> Iterator[TableUse]:
    """Rows along `axis`."""
    yield from _rows(node, 0, int(node.attribute("axis", 0)))


@looks_up("EmbedLayerNormalization", domain=_MICROSOFT)
def embed(node: Node) -> Iterator[TableUse]:
    """Words, positions, segments."""
    for index in (2, 3, 4):
        yield from _rows(node, index, 0)


@looks_up("TorchEmbedding", domain=_MICROSOFT)
def torch_embedding(node: Node) -> Iterator[TableUse]:
    """Input 0."""
    yield from _rows(node, 0, 0)


@looks_up("WordConvEmbedding", domain=_MICROSOFT)
def characters(node: Node) -> Iterator[TableUse]:
    """The characters' table."""
    yield from _rows(node, 3, 0)


@looks_up("QEmbedLayerNormalization", domain=_MICROSOFT)
def quantized_embed(node: Node) -> Iterator[TableUse]:
    """Words, positions, segments, quantized: named, without a rank."""
    for index in (2, 3, 4):
        yield from _rows(node, index, 0, "the table is quantized")


@looks_up("GatherBlockQuantized", domain=_MICROSOFT)
def gather_block_quantized(node: Node) -> Iterator[TableUse]:
    """A table quantized in blocks: named, without a rank."""
    yield from _rows(node, 0, int(node.attribute("gather_axis", 0)), "the table is quantized")


@looks_up("GatherND")
@looks_up("GatherND", domain=_MICROSOFT)
def gather_nd(node: Node) -> Iterator[TableUse]:
    """Rows behind the axes that are indexed."""
    operand, indices = node.input(0), shape_at(node, 1)
    if operand is None or operand.constant is None:
        return
    depth = indices[-1] if indices else None
    if isinstance(operand.constant, Blocked):
        yield TableUse(operand.name, operand.constant, None, None, operand.constant.reason)
    elif depth is None:
        yield TableUse(operand.name, operand.constant, None, None, "how many axes are indexed is not known")
    else:
        shape = operand.constant.shape
        first = int(node.attribute("batch_dims", 0)) + depth
        rows, columns = math.prod(shape[:first]), math.prod(shape[first:])
        if columns != 1:
            yield TableUse(operand.name, operand.constant, (rows, columns), partial(first_axes, first))


def _rows(node: Node, index: int, axis: int, obstacle: str | None = None) -> Iterator[TableUse]:
    operand = node.input(index)
    if operand is None or operand.constant is None:
        return
    if isinstance(operand.constant, Blocked):
        yield TableUse(operand.name, operand.constant, None, None, operand.constant.reason)
        return
    shape = operand.constant.shape
    if len(shape) < 2 or operand.constant.size < 2 or not -len(shape) <= axis < len(shape):
        return
    rows = shape[axis]
    columns = operand.constant.size // rows if rows else math.prod(shape[:axis] + shape[axis:][1:])
    if columns == 1:
        return
    arrange = None if obstacle else partial(axis_first, axis)
    yield TableUse(operand.name, operand.constant, (rows, columns), arrange, obstacle)


def axis_first(axis: int, table: np.ndarray) -> np.ndarray:
    """The entries of one axis as rows."""
    first = np.moveaxis(table, axis, 0)
    return first.reshape(len(first), math.prod(first.shape[1:]))


def first_axes(count: int, table: np.ndarray) -> np.ndarray:
    """The first axes as rows, the others as columns."""
    return table.reshape(math.prod(table.shape[:count]), math.prod(table.shape[count:]))


# Tables that rows are picked from.
holds_no_weight("EmbedLayerNormalization GatherBlockQuantized TorchEmbedding", domain=_MICROSOFT)
