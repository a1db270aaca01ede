"""What comparing two models gives: a tree of frozen dataclasses.

`a` and `b` are the two models in the order in which they were named. Matrices are (inputs, outputs), as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onnxnull.collision.results import Change
from onnxnull.comparison.verdicts import Crossed, Factors, InputMap, Matched, Order, Verdict
from onnxnull.errors import ExitCode
from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.rank import RankProfile
from onnxnull.results import (
    ModelInfo,
    Unsupported,
)


@dataclass(frozen=True, slots=True)
class Scale:
    """The factors between two weights, a times factors = b.

    Attributes:
        least, most: the range of the factors' sizes, 0 left out; 1 where there are none.
        nodes_a, nodes_b: the nodes of either graph whose constants are these factors; none where nothing explains them.
    """

    factors: Factors = Factors.NONE
    least: float = 1.0
    most: float = 1.0
    nodes_a: tuple[str, ...] = ()
    nodes_b: tuple[str, ...] = ()

    @property
    def explained(self) -> bool:
        """Whether there are none, or the graphs hold them elsewhere."""
        return self.factors is Factors.NONE or bool(self.nodes_a or self.nodes_b)


@dataclass(frozen=True, slots=True)
class Side:
    """The weight or weights of one model in a pair; several are split by outputs, in this order.

    Attributes:
        inputs, outputs: of the block-diagonal matrix.
        ranks: of it; None where the weight has no partner.
    """

    names: tuple[str, ...]
    nodes: tuple[str, ...]
    ops: tuple[str, ...]
    dtype: str
    inputs: int
    outputs: int
    ranks: RankProfile | None


@dataclass(frozen=True, slots=True)
class KernelAngle:
    """The largest principal angle between two kernels at the float64 cut-off.

    Between kernels of different dimensions it says how far the smaller one is from lying inside the larger one.

    Attributes:
        degrees: 0 to 90; None where there is none, or it was not computed.
        at_least: whether it is a lower bound, found by iteration.
        reason: why there is none; None where there is one.
    """

    degrees: float | None
    at_least: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two partners.

    Attributes:
        inputs, outputs: in which order b holds those of a.
        moved: whether they stand in another place of the graph, one before and the other behind some other partners.
        difference: ‖A − B‖/‖B‖ (Frobenius) once order and factors are taken out.
        steps: the largest deviation in steps of the quantisation grid; None unless the verdict is QUANTIZED.
        rounding: the type whose rounding explains the difference; None unless the verdict rests on it.
        angle: between the kernels, with the inputs in the same order.
        unlike: what their nodes do not have in common beside the weights: strides, paddings, the number of uses.
    """

    a: Side
    b: Side
    matched: Matched
    verdict: Verdict
    inputs: Order
    outputs: Order
    moved: bool
    scale: Scale
    difference: float
    steps: float | None
    rounding: str | None
    angle: KernelAngle
    unlike: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TablePair:
    """A look-up table of each model; `difference` is ‖A − B‖/‖B‖."""

    a: str
    b: str
    verdict: Verdict
    difference: float


@dataclass(frozen=True, slots=True)
class InputPair:
    """An input of each model, and what the networks cannot see of it.

    Attributes:
        nullity_a, nullity_b: bounds on the dimension of the joint kernel of the layers that read it; None where none is
            guaranteed.
        angle: between these operator kernels, in the coordinates of a.
        reason: why it cannot be mapped, where the map is NONE.
    """

    a: str
    b: str
    mapped: InputMap
    nullity_a: Bounds | None
    nullity_b: Bounds | None
    angle: KernelAngle
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CrossedRun:
    """A carried collision at one precision.

    Attributes:
        own: the verdict's label on the model that it was built on.
        outputs, control: what it and its control move on the other model.
    """

    precision: str
    own: str
    crossed: Crossed
    outputs: tuple[Change, ...]
    control: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Crossing:
    """A collision built on one model, run on the other.

    Attributes:
        built_on: "a" or "b".
        failed: whether `reason` is a failure, and not that there is nothing to carry.
        reason: why nothing was run; None where it was.
    """

    built_on: str
    runs: tuple[CrossedRun, ...] = ()
    reason: str | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class OutputPair:
    """One output of both models for the same input.

    Attributes:
        max_abs: max |b − a|. spread: max |a' − a|, a' for another input, or max |a| where that changes nothing. ratio: their
            quotient (0/0 = 0).
    """

    a: str
    b: str
    max_abs: float
    spread: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """The outputs of both models for one random input, at float32.

    Attributes:
        limit: the largest ratio that counts as the same; None where nothing was compared, or the weights are different anyway.
        needed: the ratio that the differences of the weights may cost, where that is so much that a ratio within the limit
            proves nothing; else None.
        reason: why nothing was compared; failed: whether that is a failure.
    """

    outputs: tuple[OutputPair, ...] = ()
    limit: float | None = None
    reason: str | None = None
    failed: bool = False
    needed: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether every output is the same within the limit; None where nothing was compared, or that would prove nothing."""
        if self.limit is None:
            return None
        if not all(pair.ratio <= self.limit for pair in self.outputs):
            return False
        return None if self.needed is not None else True


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that comparing two models gave.

    Attributes:
        only_a, only_b: weights without a partner.
        unsupported_a, unsupported_b: what was not analysed.
        crossings, agreement: empty and None where nothing was to be run.
        tables: look-up tables that are partners by name or shape.
        equal: whether the graphs are the same node by node and constant by constant, weights up to their verdicts.
    """

    a: ModelInfo
    b: ModelInfo
    pairs: tuple[Pair, ...]
    only_a: tuple[Side, ...]
    only_b: tuple[Side, ...]
    unsupported_a: tuple[Unsupported, ...]
    unsupported_b: tuple[Unsupported, ...]
    inputs: tuple[InputPair, ...]
    crossings: tuple[Crossing, ...] = ()
    agreement: Agreement | None = None
    tables: tuple[TablePair, ...] = ()
    equal: bool = False

    @property
    def complete(self) -> bool:
        """Whether every weight was analysed, everything ran that was to run, and what only a run can settle was settled."""
        failed = any(crossing.failed for crossing in self.crossings)
        if self.agreement is not None:
            failed |= self.agreement.failed or (self.agreement.limit is not None and self.agreement.holds is None)
        return not (self.unsupported_a or self.unsupported_b or failed or self.unsettled)

    @property
    def unsettled(self) -> tuple[Pair, ...]:
        """Pairs that are the same, but in another order or place, or up to factors that no graph explains, while no run showed
        that the rest of the network makes up for it; none where the networks are different anyway.
        """
        if self.verdict is Verdict.DIFFERENT or (self.agreement is not None and self.agreement.holds is not None):
            return ()
        return tuple(
            pair for pair in self.pairs if pair.moved or not pair.scale.explained or {pair.inputs, pair.outputs} != {Order.SAME}
        )

    @property
    def verdict(self) -> Verdict:
        """The loosest of all pairs; DIFFERENT where a weight has no partner."""
        if self.only_a or self.only_b:
            return Verdict.DIFFERENT
        return max((pair.verdict for pair in self.pairs), key=list(Verdict).index, default=Verdict.IDENTICAL)

    def differences(self, limit: Verdict = Verdict.QUANTIZED) -> Iterator[str]:
        """Why the two files do not hold the same network up to `limit`, one reason each; none where they do."""
        for pair in self.pairs:
            if not pair.verdict.within(limit):
                yield f"{_named(pair)} {pair.verdict.label}"
        for table in self.tables:
            if not table.verdict.within(limit):
                yield f"look-up table {table.a!r} is {table.verdict.label}, ‖A − B‖/‖B‖ {table.difference:.2g}"
        for name, only in (("second", self.only_a), ("first", self.only_b)):
            yield from (f"{side.names[0]!r} has no partner in the {name} model" for side in only)
        if self.agreement is not None and self.agreement.holds is False:
            known = self.agreement.needed is None
            explained = "the weights explain" if known else f"{self.agreement.limit:.2g} times what another input changes"
            yield f"the outputs for one input differ by more than {explained}"
        if self.agreement is None or self.agreement.holds is not True:  # padding, say, may be written in several ways
            close = [pair for pair in self.pairs if pair.verdict.within(limit)]
            yield from (f"{_named(pair)} {how}" for pair in close for how in pair.unlike)

    def exit_code(self, limit: Verdict = Verdict.QUANTIZED) -> ExitCode:
        """The same up to `limit`: pass. Else violated; incomplete where something was not analysed; nothing without weights."""
        codes = []
        if not self.complete:
            codes.append(ExitCode.INCOMPLETE)
        if any(True for _ in self.differences(limit)):
            codes.append(ExitCode.VIOLATED)
        elif not self.equal:
            codes.append(ExitCode.INCOMPLETE)
        if not (codes or self.pairs):
            codes.append(ExitCode.NOTHING)
        return ExitCode.worst(codes)


def _named(pair: Pair) -> str:
    """The beginning of a sentence about a pair."""
    names = list(dict.fromkeys((pair.a.names[0], pair.b.names[0])))
    return f"{' and '.join(map(repr, names))} {'are' if len(names) > 1 else 'is'}"
