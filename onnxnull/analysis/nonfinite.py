"""What the constants beside the weights hold and do: NaN, Inf, scales that are not positive, and what follows for the outputs.

Four kinds of findings, in nodes on the way from an input to an output:
1. What no healthy network holds where it stands (`nonfinite`): NaN in a bias, a parameter of a normalization, a look-up table,
   an operand of arithmetic, a slope, a pad, an attribute; ε below 0; the scale of a quantized activation that is not positive.
2. What follows for outputs by intervals (`onnxnull.ranges`).
3. Integers and shapes with which a node fails or selects nothing (`onnxnull.analysis.misfits`); told with the first.
4. What is unusual and proves nothing (`unusual`): NaN elsewhere, Inf in a bias or a normalization, and operands that make some
   entries NaN or ±Inf for every input. −Inf in masks and Inf in bounds are neither.

Linear weights are looked at where they are analysed. Sources: operator specifications of ONNX (opset 1 to 25); contrib operator
schemas of onnxruntime 1.31.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from onnxnull.analysis.misfits import failing_rounds, misfits
from onnxnull.analysis.results import OddConstant, Unsupported
from onnxnull.errors import Code
from onnxnull.graph.bodies import body_of
from onnxnull.graph.constants import Constant, EvaluationError
from onnxnull.graph.flow import Flow
from onnxnull.graph.model import with_batch
from onnxnull.graph.node import Node
from onnxnull.graph.operator_facts import operator_of
from onnxnull.operators.linear_use import handled_operators, is_constant
from onnxnull.operators.lookup import table_uses
from onnxnull.operators.parameters import INF, NAN, NO_NUMBER, NO_SCALE, accounts_for_all, places_of
from onnxnull.ranges.claims import constants_of, live_nodes, lost_tensors, observed_outputs, odd_nodes, output_claims
from onnxnull.ranges.propagation import Propagation
from onnxnull.ranges.results import Effect, OutputClaim

_TESTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    NAN: np.isnan,
    INF: np.isinf,
    NO_NUMBER: lambda array: ~np.isfinite(array),
    NO_SCALE: lambda array: ~(np.isfinite(array) & (array > 0)),
}
_UNUSUAL = frozenset({INF})
_LOST = "NaN or ±Inf for every input"
_FINITE = frozenset({"alpha", "beta", "bias", "epsilon", "gamma", "lambd", "scale"})
"""Attributes that are finite; Clip's bounds and Pad's value may be infinite."""
_MISSING = frozenset({"imputed_value_floats", "nodes_splits", "nodes_values", "replaced_value_float"})
"""Attributes of ai.onnx.ml that may say that a value is missing."""


@dataclass(frozen=True, slots=True)
class ConstantFindings:
    """What was found.

    Attributes:
        outputs: the number of outputs that were looked at.
        unread: nodes on which no output depends.
        undecided: what may fail when the model runs.
    """

    nonfinite: tuple[OddConstant, ...]
    unusual: tuple[OddConstant, ...]
    claims: tuple[OutputClaim, ...]
    outputs: int
    unread: tuple[str, ...]
    undecided: tuple[Unsupported, ...] = ()

    @classmethod
    def unknown(cls) -> ConstantFindings:
        """Nothing was looked at, for the time was up: everything is open."""
        open_ = Unsupported("the graph", "constants", Code.TIME, "constants beside the weights were not examined in time")
        return cls((), (), (), 0, (), (open_,))


_SAMPLES = 61
"""A batch size for which nothing follows that holds for one sample only; a prime, so that hardly any other axis is as long."""


def constant_findings(flow: Flow) -> ConstantFindings:
    """Everything that is said of constants beside the weights; those that could not be evaluated may be anything.

    Where the batch size is open, the shapes are those of one sample: an axis of length 1 may be the batch wherever a node moved
    it. What follows is said only if it follows for more samples, too.
    """
    found = _findings(flow)
    if not flow.model.one_sample or not (found.claims or found.nonfinite or found.undecided):
        return found
    others = _findings(with_batch(flow.model, _SAMPLES).flow)
    effects = {claim.output: claim.effect for claim in others.claims}
    order = list(Effect)
    told = {(odd.name, odd.node, odd.what) for odd in others.nonfinite}
    return replace(
        found,
        nonfinite=tuple(odd for odd in found.nonfinite if (odd.name, odd.node, odd.what) in told),
        undecided=tuple(open_ for open_ in found.undecided if open_ in others.undecided),
        claims=tuple(
            replace(claim, effect=max(claim.effect, effects[claim.output], key=order.index))
            for claim in found.claims
            if claim.output in effects
        ),
    )


def _findings(flow: Flow) -> ConstantFindings:
    """The findings for the shapes that the model has."""
    propagation = Propagation(flow)
    live = live_nodes(propagation)
    claims = output_claims(propagation)
    nonfinite: list[OddConstant] = []
    unusual: list[OddConstant] = []
    undecided: list[Unsupported] = []
    counted: dict[tuple[bytes, str], int] = {}
    for node in flow.nodes:
        if node.node not in live:
            continue
        nonfinite.extend(unfit := list(misfits(node, propagation.of)))
        if not unfit and node.node in flow.unfit and node.node.graph is flow.model.graph:  # in a branch, it may never run
            nonfinite.append(OddConstant("shape", node.name, node.op_type, "shapes that do not fit", 1, 1))
        if body_of(node.node) is not None:
            match failing_rounds(flow, node, propagation.rounds_of(node)):
                case OddConstant() as odd:
                    nonfinite.append(odd)
                case Unsupported() as open_:
                    undecided.append(open_)
        if all(is_constant(node, i) or node.input(i) is None for i in range(len(node.inputs))):
            continue
        nonfinite.extend(_attributes(node))
        nonfinite.extend(_variance(node))
        for name, constant, what in _places(node):
            key = (constant.signature, what)
            if key not in counted:
                counted[key] = _count(constant, _TESTS[what])
            if counted[key]:
                found = OddConstant(name, node.name, node.op_type, what, counted[key], constant.size)
                (unusual if what in _UNUSUAL else nonfinite).append(found)
        unusual.extend(_elsewhere(propagation, node))
    told = {claim.node for claim in claims} | {found.node for found in nonfinite}
    for node, entries in lost_tensors(propagation, live):
        if node.name not in told:
            told.add(node.name)
            nonfinite.append(OddConstant(", ".join(constants_of(node)), node.name, node.op_type, _LOST, entries, entries))
    told |= {found.node for found in unusual}
    for node, count, entries in odd_nodes(propagation, live):
        if node.name not in told and (names := constants_of(node)):
            what = "entries that are NaN or ±Inf for every input"
            unusual.append(OddConstant(", ".join(names), node.name, node.op_type, what, count, entries))
    unread = tuple(node.name for node in flow.nodes if node.node not in live)
    return ConstantFindings(tuple(nonfinite), tuple(unusual), claims, len(observed_outputs(flow)), unread, tuple(undecided))


def _attributes(node: Node) -> Iterator[OddConstant]:
    """Attributes that are NaN, or infinite where none may be, and ε below 0 where the variance is computed."""
    domain = operator_of(node)[0]
    if domain not in ("", "com.microsoft", "ai.onnx.ml"):
        return
    for name, attribute in node.node.attributes.items():
        if domain == "ai.onnx.ml" and attribute.type.name == "FLOATS" and name not in _MISSING:
            count = int(np.isnan(np.asarray(attribute.value, np.float64)).sum())
            if count:
                yield OddConstant(name, node.name, node.op_type, NAN, count, len(attribute.value))
        unread = name == "extrapolation_value" or (node.op_type == "Gemm" and name == "beta" and node.input(2) is None)
        if attribute.type.name != "FLOAT" or unread or name in _MISSING:
            continue
        value = float(attribute.value)
        if math.isnan(value):
            yield OddConstant(name, node.name, node.op_type, NAN, 1, 1)
        elif math.isinf(value) and name in _FINITE:
            yield OddConstant(name, node.name, node.op_type, INF, 1, 1)
        elif name == "epsilon" and value < 0 and node.op_type != "BatchNormalization":
            yield OddConstant(name, node.name, node.op_type, "negative", 1, 1)


def _variance(node: Node) -> Iterator[OddConstant]:
    """Channels of a BatchNormalization whose stored variance + ε is 0 or less."""
    variance = node.input(4)
    if operator_of(node) != ("", "BatchNormalization") or variance is None or node.attribute("training_mode", 0):
        return
    if isinstance(variance.constant, Constant):
        epsilon = float(node.attribute("epsilon", 1e-5))
        count = _count(variance.constant, lambda array: array.astype(np.float64) + epsilon <= 0)
        if count:
            yield OddConstant(
                variance.name, node.name, node.op_type, "no positive sum with epsilon", count, variance.constant.size
            )


def _places(node: Node) -> Iterator[tuple[str, Constant, str]]:
    """(name, constant of floats, what it must not hold, or seldom does) of the operands of a node."""
    for index, what in places_of(node):
        operand = node.input(index)
        if operand is not None and isinstance(operand.constant, Constant) and operand.constant.dtype.is_floating_point():
            yield operand.name, operand.constant, what
    for use in table_uses(node):
        if isinstance(use.constant, Constant) and use.constant.dtype.is_floating_point():
            yield use.name, use.constant, NAN


def _elsewhere(propagation: Propagation, node: Node) -> Iterator[OddConstant]:
    """NaN among constants that are no weight and stand where NaN may be meant: Where, Concat, ScatterND, ..."""
    op = operator_of(node)
    if op[0] != "" or op in handled_operators() or accounts_for_all(node):
        return
    known = {name for name, _, what in _places(node) if what in (NAN, NO_NUMBER)}
    for operand in node.inputs:
        if operand is None or not isinstance(operand.constant, Constant) or operand.name in known:
            continue
        if operand.constant.dtype.is_floating_point():
            count = _count(operand.constant, np.isnan) if propagation.of(operand.value).nan.any() else 0
            if count:
                yield OddConstant(operand.name, node.name, node.op_type, NAN, count, operand.constant.size)


def _count(constant: Constant, test: Callable[[np.ndarray], np.ndarray]) -> int:
    try:
        array = constant.array()
    except EvaluationError:
        return 0
    if array.dtype.kind != "f":  # the floats of ml_dtypes
        array = array.astype(np.float32)
    return int(np.count_nonzero(test(array)))
