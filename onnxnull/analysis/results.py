"""What `analyze` gives: a tree of frozen dataclasses, which the formats in `report/` render.

Notions: the paper's metrics use ranks at the float32 cut-off (which fits its table) and its own conventions, `paper`; the
truth about the same network is `full`: every linear weight, groups as the block-diagonal matrix they are, at the float64
cut-off, where a kernel vector makes a collision. The two are never mixed.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnxnull.errors import Code, one_line
from onnxnull.graph.model import GraphInput
from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.rank import Notion, RankProfile
from onnxnull.ranges.results import OutputClaim


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the file says of itself. `file` is the path as typed, only its last part where that was absolute.

    `overridable` names the stored constants that a caller may replace, being inputs as well (IR 4 and later).
    """

    file: str
    sha256: str
    producer: str
    ir_version: int
    opset: Mapping[str, int]
    inputs: tuple[GraphInput, ...]
    overridable: tuple[str, ...] = ()

    @property
    def caveat(self) -> str | None:
        """What all that is said of stored constants depends on; None where on nothing."""
        return caveat(self.overridable)


def caveat(overridable: Sequence[str]) -> str | None:
    """A sentence, without its full stop, about constants that a caller may replace; None where there are none."""
    if not overridable:
        return None
    names = ", ".join(repr(one_line(name, 60)) for name in overridable[:3])
    more = f" and {len(overridable) - 3:,} more" if len(overridable) > 3 else ""
    what = "a stored constant that is an input as well" if len(overridable) == 1 else "stored constants that are inputs as well"
    return f"a caller may replace {what} ({names}{more}): ranks, kernels and proofs are those of the stored numbers"


@dataclass(frozen=True, slots=True)
class OperatorReport:
    """A convolution as a linear operator on its whole input tensor, one sample.

    Attributes:
        input_shape: (channels, *spatial).
        unread: how many input entries no output reads.
        float64, exact: bounds on the dimension of its kernel (the input nullity) in that notion; None if not computed.
    """

    input_shape: tuple[int, ...]
    unread: int
    float64: Bounds
    exact: Bounds | None

    @property
    def inputs(self) -> int:
        """Number of input entries."""
        return math.prod(self.input_shape)


@dataclass(frozen=True, slots=True)
class WeightNode:
    """A node that uses a weight.

    Attributes:
        operator: None where it is no convolution or the input's shape is not known.
        condition: what only a run decides about the matrix at this node ("chosen at run time"); empty where it is always this.
    """

    name: str
    op: str
    groups: int
    operator: OperatorReport | None
    condition: str = ""


class Scales(enum.Enum):
    """What shares one scale of a quantized weight."""

    TENSOR = "tensor"
    OUTPUT = "output"
    INPUT = "input"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Quantization:
    """How a weight S∘(Wq − Z) is quantized; `WeightReport.ranks` are those of this rational matrix.

    Attributes:
        scales: what shares one scale.
        zero_scales: how many entries of the weight have a scale of 0: whatever their codes, they are dead.
        zero_points: whether any is not 0.
        rank_without: the exact rank that the codes have without their zero points, S∘Wq; None where all are 0, or where it
            was not computed.
        executed: ranks of the matrix in floats that the node multiplies by, where it dequantizes the weight first and
            rounding changes a rank; None where the ranks are the same or the node multiplies by the integers.
    """

    scales: Scales
    zero_scales: int
    zero_points: bool
    rank_without: int | None
    executed: RankProfile | None


@dataclass(frozen=True, slots=True)
class WeightReport:
    """One linear weight: a stored constant as the matrix that its nodes apply.

    Attributes:
        name: of the stored constant, with the part in brackets where the node holds several ("R [reverse]").
        op: operator type of the first node that uses it.
        dtype: of the constant as the node reads it; of the codes where it is quantized.
        ranks: of the block-diagonal matrix, inputs × outputs.
        stacked: the paper's matrix for grouped weights, all outputs over the inputs of one group; None for one group.
        dead_outputs: zero columns. unread_inputs: zero rows. duplicate_outputs: columns equal to an earlier one of their
            block, dead ones not counted.
        nodes: every node that applies this matrix, in the order of the graph.
        in_paper: whether the paper's metrics count it.
        quantization: None where the weight is not quantized.
        nearly_dead_outputs: columns that are not zero, of a norm at or below the float32 cut-off.
    """

    name: str
    op: str
    dtype: str
    ranks: RankProfile
    stacked: RankProfile | None
    dead_outputs: int
    unread_inputs: int
    duplicate_outputs: int
    nodes: tuple[WeightNode, ...]
    in_paper: bool
    quantization: Quantization | None = None
    nearly_dead_outputs: int = 0

    @property
    def inputs(self) -> int:
        """q, rows of the block-diagonal matrix."""
        return self.ranks.inputs

    @property
    def outputs(self) -> int:
        """p, its columns."""
        return self.ranks.outputs

    @property
    def paper_ranks(self) -> RankProfile:
        """Ranks of the matrix that the paper looks at."""
        return self.stacked or self.ranks


@dataclass(frozen=True, slots=True)
class LookupTable:
    """A constant whose rows nodes pick by index, as Gather does of an embedding; no weight, since nothing multiplies it.

    Attributes:
        name: of the stored constant.
        dtype: as the nodes read it; None where it could not be evaluated.
        nodes: every node that looks rows up in it, in the order of the graph.
        rows, columns: of the table as a matrix, one row to an index; None where they are not known.
        ranks: of that matrix: how many dimensions the rows span; None where it was not computed, for `reason`.
    """

    name: str
    dtype: str | None
    nodes: tuple[str, ...]
    rows: int | None
    columns: int | None
    ranks: RankProfile | None
    reason: str | None


def reads_together(weight: WeightReport) -> bool:
    """Whether an input is read by several outputs: in a depthwise convolution an unread one is but a single entry that is 0."""
    return weight.outputs > max(node.groups for node in weight.nodes)


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A weight, or what may hold one, that was not analysed: the report is incomplete."""

    node: str
    op: str
    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class KernelShare:
    """The share of a real input's energy ‖x‖² that lies in the joint kernel of the frontier: what the network cannot see.

    `share` is None where the projection did not converge or the time was up.
    """

    file: str
    share: float | None


@dataclass(frozen=True, slots=True)
class QuantizerReport:
    """What rounds an input before anything else reads it: codes low … high of step `scale`, `zero_point` being the code of 0.

    Both are None where the quantizer computes them from the input (DynamicQuantizeLinear).
    """

    node: str
    scale: float | None
    zero_point: int | None
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class FrontierReport:
    """How the network reads one of its inputs.

    Attributes:
        input: name. inputs: number of its entries, None where its shape is not known.
        nodes: the nodes of the linear layers through which it is read; weights: their weights.
        guaranteed: whether a change of the input in the joint kernel is guaranteed to reach no output; `reason` why not.
        input_nullity: bounds on the dimension of the joint kernel at the float64 cut-off; None where it is not guaranteed to
            matter, or a shape is not known (then `reason` says so).
        shares: of the inputs given as data; empty behind a quantizer, where a kernel has no share of an input's energy.
        sized: whether a node reads its shape (Shape, Size).
        quantizer: what rounds the input first. Then `guaranteed` is said of changes in whole steps of it that do not
            saturate, and `input_nullity` is the dimension of the kernel lattice, over the rationals.
    """

    input: str
    inputs: int | None
    nodes: tuple[str, ...]
    weights: tuple[str, ...]
    guaranteed: bool
    reason: str | None
    input_nullity: Bounds | None
    shares: tuple[KernelShare, ...]
    quantizer: QuantizerReport | None = None
    sized: bool = False

    @property
    def proof(self) -> str:
        """Whether `input_nullity` is proved, and of which kernel: "proved at the float64 cut-off"."""
        notion = Notion.FLOAT64 if self.quantizer is None else Notion.EXACT
        proved = self.input_nullity is not None and self.input_nullity.proved
        return f"{'proved' if proved else 'numerical'} {notion.words}"


@dataclass(frozen=True, slots=True)
class PaperSummary:
    """Table 1 of the paper (Eq. 6): weights of Conv and fully connected layers, at the float32 cut-off.

    Attributes:
        weights: n, how many; each stored constant once.
        nu: ν, how many have a kernel. mu: μ, how many have fewer outputs than inputs.
        nu_percent, mu_percent: truncated, as the paper does; 0 of 0 is 0.
        nullity: Σ nullity. first_nullity: of the first weight in graph order; None if there is none.
    """

    weights: int
    nu: int
    mu: int
    nu_percent: int
    mu_percent: int
    nullity: int
    first_nullity: int | None


@dataclass(frozen=True, slots=True)
class OddConstant:
    """What a node reads beside its weights, and what it holds or does that healthy networks do not, or seldom.

    Attributes:
        name: of the operand or the attribute. node, op: which read it.
        what: "NaN", "Inf", "negative", "no positive scale", "no positive sum with epsilon", what its entries make of those
            of the node, or how an integer or a shape does not fit (`onnxnull.analysis.misfits`).
        count: entries that are so, of `entries`.
    """

    name: str
    node: str
    op: str
    what: str
    count: int
    entries: int


@dataclass(frozen=True, slots=True)
class FullSummary:
    """Every linear weight, groups as block-diagonal matrices, at the float64 cut-off.

    Attributes:
        weights: how many. rank_deficient: how many have a kernel. nullity: Σ nullity.
        input_nullity: bounds on the dimension of the kernel of the network's input, all inputs together; None unless the
            frontier of each is guaranteed and bounded, and no layer reads two of them.
    """

    weights: int
    rank_deficient: int
    nullity: int
    input_nullity: Bounds | None


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What `analyze` found in one model.

    Attributes:
        nonfinite: constants that hold what none may hold; `unusual`: of which nothing follows.
        claims: what is proved of outputs, of `outputs` that were looked at: those of floats, or all where there are none.
        unread_nodes: nodes on which no output depends.
    """

    model: ModelInfo
    paper: PaperSummary
    full: FullSummary
    weights: tuple[WeightReport, ...]
    frontier: tuple[FrontierReport, ...]
    unsupported: tuple[Unsupported, ...]
    tables: tuple[LookupTable, ...] = ()
    nonfinite: tuple[OddConstant, ...] = ()
    unusual: tuple[OddConstant, ...] = ()
    claims: tuple[OutputClaim, ...] = ()
    outputs: int = 0
    unread_nodes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every linear weight was analysed."""
        return not self.unsupported
