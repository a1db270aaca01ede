"""Do two models compute the same? Reads both graphs into one table of terms and matches them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnxnull.comparison.graphs.algebra import Algebra
from onnxnull.comparison.graphs.codes import misread
from onnxnull.comparison.graphs.matching import Matching
from onnxnull.comparison.graphs.places import match
from onnxnull.comparison.graphs.reading import Reading, has_codes, quantizes, read
from onnxnull.comparison.graphs.terms import Shape, Term
from onnxnull.graph.flow import Flow
from onnxnull.graph.model import GraphInput


@dataclass(frozen=True, slots=True, eq=False)
class GraphProof:
    """The matching, and the readings it is about.

    Attributes:
        quantized: whether one of the graphs quantizes activations, the other not, and quantizers counted as nothing.
        codes: whether one of them stores weights as integers with scales and the other does not.
        floats: whether both compute with the same types of floats.
    """

    matching: Matching
    a: Reading
    b: Reading
    quantized: bool
    codes: bool
    floats: bool


def prove(a: Flow, b: Flow, inputs: Sequence[tuple[GraphInput, GraphInput]], outputs: Sequence[tuple[str, str]]) -> GraphProof:
    """Match two graphs whose inputs and outputs are these pairs. Raises `EvaluationError`."""
    terms = Algebra()
    first: dict[str, Term] = {}
    second: dict[str, Term] = {}
    for place, (one, other) in enumerate(inputs):
        kind = "f" if one.dtype.startswith(("float", "bfloat", "double")) else "b" if one.dtype == "bool" else "i"
        term = terms.make("Input", attributes=[("place", place)], shape=_common(_shape(a, one), _shape(b, other)), kind=kind)
        first[one.name], second[other.name] = term, term
    quantizers = quantizes(a) != quantizes(b)
    sides = enumerate(((a, first), (b, second)))
    readings = [read(flow, terms, given, place=place, quantizers=quantizers) for place, (flow, given) in sides]
    if quantizers and quantizes(a):  # what quantizers cut off is looked for in the one that has none
        matching = match(readings[1], readings[0], [(other, one) for one, other in outputs]).turned()
    else:
        matching = match(readings[0], readings[1], outputs)
    if quantizers:
        matching.differences += misread(a if quantizes(a) else b)
    codes = has_codes(a) != has_codes(b)
    return GraphProof(
        matching,
        readings[0],
        readings[1],
        quantizers,
        codes,
        readings[0].floats - {"float32"} == readings[1].floats - {"float32"},
    )


def _shape(flow: Flow, described: GraphInput) -> Shape | None:
    """As the graph is read: an open batch is one sample."""
    value = next(value for value in flow.model.graph.inputs if value.name == described.name)
    return flow.operand(value).shape


def _common(a: Shape | None, b: Shape | None) -> Shape | None:
    if a is None or b is None or len(a) != len(b):
        return None
    return tuple(one if one == other else None for one, other in zip(a, b, strict=True))
