"""What comparing two models gives: a tree of frozen dataclasses.

`a` and `b` are the two models in the order in which they were named. Matrices are (inputs, outputs), as everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnxnull.analysis.results import (
    ModelInfo,
    Unsupported,
)
from onnxnull.collision.results import Change
from onnxnull.comparison.graphs.matching import Difference
from onnxnull.comparison.runs.both import Runs
from onnxnull.comparison.runs.regions import RegionRun
from onnxnull.comparison.verdicts import Crossed, Factors, InputMap, Matched, Order, Outcome, Verdict
from onnxnull.errors import ExitCode
from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.rank import RankProfile


@dataclass(frozen=True, slots=True)
class WeightScale:
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
class WeightSide:
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
    """

    a: WeightSide
    b: WeightSide
    matched: Matched
    verdict: Verdict
    inputs: Order
    outputs: Order
    moved: bool
    scale: WeightScale
    difference: float
    steps: float | None
    rounding: str | None
    angle: KernelAngle


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
class GraphFinding:
    """What the graphs say.

    Attributes:
        identical: equal node by node and constant by constant, up to names and order.
        proved: equal after rewrites, constants as near as `nearness` says ("equal", "folded", "rounded", "quantized").
        types: whether both compute with the same types of floats.
        quantized: whether one quantizes activations and the other does not. codes: whether one stores weights as integers.
        differences: constants and attributes that differ in their matched place.
        regions: how many regions no rewrite explains.
        settled: whether the differences alone make the files different: everything else is matched, and nothing can undo them.
        at: the shapes at which the graphs were read, where a file leaves one open.
        reason: why the graphs were not matched; None where they were.
    """

    identical: bool = False
    proved: bool = False
    nearness: str = "equal"
    types: bool = True
    quantized: bool = False
    codes: bool = False
    differences: tuple[Difference, ...] = ()
    regions: int = 0
    settled: bool = False
    at: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that comparing two models gave.

    Attributes:
        outcome: what is said of the files; `because`: why, in words, most telling first.
        graph: what the graphs say. runs: what both gave; None where they were not run.
        regions: the regions that no rewrite explains, run alone.
        input_map: the change of an input after which the outputs agree, as it is allowed; None where none was needed.
        allowed: whether it was.
        only_a, only_b: weights without a partner.
        unsupported_a, unsupported_b: weights that were not analysed.
        crossings: collisions of one on the other.
    """

    a: ModelInfo
    b: ModelInfo
    outcome: Outcome
    because: tuple[str, ...]
    graph: GraphFinding
    pairs: tuple[Pair, ...] = ()
    only_a: tuple[WeightSide, ...] = ()
    only_b: tuple[WeightSide, ...] = ()
    unsupported_a: tuple[Unsupported, ...] = ()
    unsupported_b: tuple[Unsupported, ...] = ()
    inputs: tuple[InputPair, ...] = ()
    crossings: tuple[Crossing, ...] = ()
    runs: Runs | None = None
    regions: tuple[RegionRun, ...] = ()
    input_map: str | None = None
    allowed: bool = False

    def same(self, limit: Outcome = Outcome.QUANTIZED) -> bool | None:
        """Whether the files are the same up to `limit`; None where that is not known."""
        if self.outcome.within(limit) or (self.outcome is Outcome.MAPPED and self.allowed):
            return True
        if self.outcome.within(Outcome.QUANTIZED) or self.outcome in (Outcome.DIFFERENT, Outcome.MAPPED):
            return False
        return None

    def exit_code(self, limit: Outcome = Outcome.QUANTIZED) -> ExitCode:
        """The same up to `limit`: pass. Known not to be: violated. Else incomplete."""
        return {True: ExitCode.PASS, False: ExitCode.VIOLATED, None: ExitCode.INCOMPLETE}[self.same(limit)]
