"""The document `onnxnull.analysis/1`, which `onnxnull analyze` and `onnxnull baseline` write."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from onnxnull.documents.base import Bounds, Certainty, Count, Document, ErrorEntry, Percent, Positive, Sha256, Size, Slug, about


class GraphInputEntry(Document):
    """One input."""

    name: Annotated[str, about("Its name.")]
    dtype: Annotated[str, about("Type of its entries.")]
    shape: Annotated[
        tuple[Count | None, ...] | None, about("Its dimensions, null for open ones; null where even their number is open.")
    ]


class ModelEntry(Document):
    """What the file says of itself."""

    file: Annotated[str, about("The path as typed, only its last part where that was absolute.")]
    sha256: Annotated[Sha256, about("SHA-256 of the file.")]
    producer: Annotated[str, about("Name and version of what wrote the file; may be empty.")]
    ir_version: Annotated[Count, about("Version of ONNX's intermediate representation.")]
    opset: Annotated[dict[str, int], about("Domain of operators → version; the domain of ONNX itself is empty.")]
    inputs: Annotated[tuple[GraphInputEntry, ...], about("The graph inputs that are no initializers.")]
    overridable: Annotated[
        tuple[str, ...],
        about(
            "Stored constants that are listed as inputs, too (IR 4 and later): a caller may replace them, and "
            "all ranks, kernels and proofs are those of the stored numbers."
        ),
    ]


class PaperSummaryEntry(Document):
    """The paper's Table 1: weights of Conv and fully connected layers as im2col matrices, groups stacked, float32 cut-off."""

    weights: Annotated[Count, about("n, how many weights are counted.")]
    nu: Annotated[Count, about("ν, how many of them have a kernel.")]
    mu: Annotated[Count, about("μ, how many have fewer outputs than inputs.")]
    nu_percent: Annotated[Percent, about("100·ν/n, truncated; 0 for no weights.")]
    mu_percent: Annotated[Percent, about("100·μ/n, truncated.")]
    nullity: Annotated[Count, about("Sum of the nullities.")]
    first_nullity: Annotated[Count | None, about("Nullity of the first weight in graph order; null for no weights.")]


class FullSummaryEntry(Document):
    """Every linear weight, groups block-diagonal, float64 cut-off."""

    weights: Annotated[Count, about("How many weights.")]
    rank_deficient: Annotated[Count, about("How many of them have a kernel.")]
    nullity: Annotated[Count, about("Sum of the nullities.")]
    input_nullity: Annotated[
        Bounds | None,
        about(
            "Dimensions of the network's input that it ignores, all inputs together; null where that is not "
            "guaranteed or not known."
        ),
    ]


class SummaryEntry(Document):
    """The model in numbers, under two conventions that are never mixed."""

    paper: Annotated[
        PaperSummaryEntry,
        about(
            "The paper's Table 1: weights of Conv and fully connected layers as im2col matrices, groups "
            "stacked, float32 cut-off."
        ),
    ]
    full: Annotated[FullSummaryEntry, about("Every linear weight, groups block-diagonal, float64 cut-off.")]


class RankEntry(Document):
    """A rank in one notion."""

    value: Annotated[
        Count, about("How many singular values lie above the cut-off, or over the rationals how many columns are independent.")
    ]
    certainty: Annotated[
        Certainty,
        about("How sure it is: proved for the stored numbers (exact, certified) or not (numerical, ambiguous)."),
    ]


class RanksEntry(Document):
    """A rank in every notion."""

    float32: Annotated[RankEntry, about("Rank at the float32 cut-off.")]
    float64: Annotated[RankEntry, about("Rank at the float64 cut-off.")]
    exact: Annotated[RankEntry | None, about("Rank over the rationals; null where it was not computed.")]


class NullitiesEntry(Document):
    """inputs − rank, in every notion."""

    float32: Annotated[Count, about("Nullity at the float32 cut-off.")]
    float64: Annotated[Count, about("Nullity at the float64 cut-off.")]
    exact: Annotated[Count | None, about("Nullity over the rationals; null where it was not computed.")]


class StackedMatrixEntry(Document):
    """The paper's matrix of a grouped weight."""

    inputs: Annotated[Count, about("Rows.")]
    outputs: Annotated[Count, about("Columns.")]
    rank: Annotated[Count, about("Rank at the float32 cut-off.")]
    nullity: Annotated[Count, about("inputs − rank.")]


class ExecutedRanksEntry(Document):
    """Ranks of the rounded floats that a node multiplies by."""

    rank: Annotated[RanksEntry, about("Their rank in every notion.")]
    nullity: Annotated[NullitiesEntry, about("Their nullity in every notion.")]


class QuantizationEntry(Document):
    """How a weight scale·(code − zero point) is quantized; its ranks are those of this rational matrix."""

    scales: Annotated[Literal["tensor", "output", "input", "block"], about("What shares one scale.")]
    zero_scales: Annotated[Count, about("Entries whose scale is 0.")]
    zero_points: Annotated[bool, about("Whether any zero point is not 0.")]
    rank_without_zero_points: Annotated[
        Count | None, about("Exact rank of scale·code; null where all zero points are 0 or it was not computed.")
    ]
    executed: Annotated[
        ExecutedRanksEntry | None,
        about("Ranks of the rounded floats that the node multiplies by, where they differ; null where they do not."),
    ]


class ProvedBoundsEntry(Document):
    """Whether both bounds are theorems about the stored numbers."""

    float64: Annotated[bool, about("At the float64 cut-off.")]
    exact: Annotated[bool | None, about("Over the rationals; null where not computed.")]


class OperatorEntry(Document):
    """A convolution on its whole input."""

    input_shape: Annotated[tuple[Count, ...], about("Channels and spatial dimensions of one sample.")]
    unread: Annotated[Count, about("Input entries that no output reads.")]
    float64: Annotated[Bounds, about("Bounds on the dimension of its kernel at the float64 cut-off.")]
    exact: Annotated[Bounds | None, about("The same over the rationals; null where it was not computed.")]
    proved: Annotated[ProvedBoundsEntry, about("Whether both bounds are theorems about the stored numbers.")]


class NodeEntry(Document):
    """A node."""

    name: Annotated[str, about("Its name.")]
    op: Annotated[str, about("Its operator type.")]
    groups: Annotated[Count, about("Blocks of the matrix.")]
    operator: Annotated[
        OperatorEntry | None,
        about(
            "The convolution as a linear operator on its whole input, one sample; null where it is none or "
            "its input's shape is not known."
        ),
    ]
    condition: Annotated[
        str | None,
        about(
            "What only a run decides about the matrix at this node, in words (which slice of a stored "
            "constant it is, factors of its rows or columns); null where it is always this one."
        ),
    ]


class WeightEntry(Document):
    """A stored constant as the matrix that its nodes apply: rows are inputs, columns are outputs."""

    name: Annotated[str, about("Of the stored constant.")]
    op: Annotated[str, about("Operator type of the first node that uses it.")]
    dtype: Annotated[str, about("Type of its entries.")]
    inputs: Annotated[Count, about("q, rows of the block-diagonal matrix.")]
    outputs: Annotated[Count, about("p, its columns.")]
    rank: Annotated[RanksEntry, about("Its rank in every notion.")]
    nullity: Annotated[NullitiesEntry, about("inputs − rank, in every notion.")]
    stacked: Annotated[
        StackedMatrixEntry | None,
        about(
            "The paper's matrix of a grouped weight, all outputs over the inputs of one group, at the float32 "
            "cut-off; null for one group."
        ),
    ]
    sigma_max: Annotated[Size | None, about("Largest singular value; null where it overflowed.")]
    sigma_min: Annotated[Size | None, about("The min(inputs, outputs)-th singular value; 0 at or below the float64 cut-off.")]
    dead_outputs: Annotated[Count, about("Columns that are 0.")]
    nearly_dead_outputs: Annotated[Count, about("Columns that are not 0, of a norm at or below the float32 cut-off.")]
    unread_inputs: Annotated[Count, about("Rows that are 0.")]
    duplicate_outputs: Annotated[Count, about("Columns equal to an earlier one of their block, dead ones not counted.")]
    in_paper: Annotated[bool, about("Whether the paper's metrics count it.")]
    quantization: Annotated[QuantizationEntry | None, about("How it is quantized; null where it is not.")]
    nodes: Annotated[Annotated[tuple[NodeEntry, ...], Meta(min_length=1)], about("Every node that applies this matrix.")]


class OddConstantEntry(Document):
    """One operand or attribute of one node."""

    name: Annotated[str, about("Of the operand or the attribute; of several operands, their names.")]
    node: Annotated[str, about("The node that reads it.")]
    op: Annotated[str, about("Operator of the node.")]
    what: Annotated[str, about("What it holds.")]
    count: Annotated[Positive, about("Entries that are so.")]
    entries: Annotated[Positive, about("Entries in all.")]


class OutputClaimEntry(Document):
    """One output."""

    output: Annotated[str, about("Its name.")]
    effect: Annotated[
        Literal["nan", "not-finite", "constant", "rounding"],
        about(
            "NaN in an entry at least; no finite number in any; one number, or NaN, in each; one number in "
            "each but for rounding."
        ),
    ]
    node: Annotated[str | None, about("Where that begins; null where no node makes the output.")]
    op: Annotated[str | None, about("Operator of the node.")]
    constants: Annotated[tuple[str, ...], about("What the node reads that does not depend on the input.")]
    stored: Annotated[bool, about("Whether the output is a constant of the file, or made of such alone.")]


class TableEntry(Document):
    """One table."""

    name: Annotated[str, about("Of the stored constant.")]
    dtype: Annotated[str | None, about("Type of its entries; null where it could not be evaluated.")]
    rows: Annotated[Count | None, about("How many rows; null where that is not known.")]
    columns: Annotated[Count | None, about("Length of a row; null where that is not known.")]
    rank: Annotated[
        RanksEntry | None, about("How many dimensions its rows span, in every notion; null where it was not computed.")
    ]
    reason: Annotated[str | None, about("Why its rank was not computed; null where it was.")]
    nodes: Annotated[tuple[str, ...], about("Nodes that look up in it.")]


class QuantizerEntry(Document):
    """The quantizer that reads an input."""

    node: Annotated[str, about("Name of the node.")]
    scale: Annotated[
        float | Literal["dynamic"],
        about('One step, in the input\'s units; "dynamic" where the node computes it from the input.'),
    ]
    zero_point: Annotated[
        int | Literal["dynamic"], about('The code of 0; "dynamic" where the node computes it from the input.')
    ]
    range: Annotated[tuple[int, int], about("The least and the largest code.")]


class DataShareEntry(Document):
    """One of them."""

    file: Annotated[str, about("Its file.")]
    kernel_share: Annotated[
        Size | None, about("Share of its energy ‖x‖² in the joint kernel, 0 to 1; null where it was not found.")
    ]


class FrontierEntry(Document):
    """How the network reads one input."""

    input: Annotated[str, about("Name of the input.")]
    inputs: Annotated[Count | None, about("Its number of entries, one sample; null where the shape is not known.")]
    nodes: Annotated[tuple[str, ...], about("Nodes of the linear layers through which it is read.")]
    weights: Annotated[tuple[str, ...], about("Names of their weights.")]
    guaranteed: Annotated[bool, about("Whether a change of the input in the joint kernel reaches no output.")]
    reason: Annotated[str | None, about("Why there is no guarantee, or no number; null otherwise.")]
    quantizer: Annotated[
        QuantizerEntry | None,
        about(
            "The quantizer that reads the input; null where none does. Behind one, `guaranteed` is about "
            "changes in whole steps of it, without saturation."
        ),
    ]
    input_nullity: Annotated[
        Bounds | None,
        about("Dimension of the joint kernel at the float64 cut-off; null where it is not guaranteed to matter or not known."),
    ]
    proved: Annotated[bool | None, about("Whether these bounds are theorems; null where there are none.")]
    data: Annotated[tuple[DataShareEntry, ...], about("The inputs of --data.")]


class UnsupportedEntry(Document):
    """A weight, or what may hold one."""

    node: Annotated[str, about("Name of the node.")]
    op: Annotated[str, about("Its operator type, with the domain where that is not ONNX's own.")]
    code: Annotated[Slug, about("Stable code of the reason; the list grows.")]
    reason: Annotated[str, about("Why, in words.")]


class ModelReportEntry(Document):
    """One model."""

    model: Annotated[ModelEntry, about("What the file says of itself.")]
    summary: Annotated[SummaryEntry, about("The model in numbers, under two conventions that are never mixed.")]
    weights: Annotated[tuple[WeightEntry, ...], about("Every weight that was analysed, in graph order or as --sort says.")]
    tables: Annotated[
        tuple[TableEntry, ...], about("Tables that are looked up and not multiplied (embeddings); they have no kernel.")
    ]
    nonfinite: Annotated[
        tuple[OddConstantEntry, ...], about("Constants beside the weights that hold what none may hold there.")
    ]
    unusual: Annotated[
        tuple[OddConstantEntry, ...], about("Constants that healthy networks seldom hold, and of which nothing follows.")
    ]
    claims: Annotated[tuple[OutputClaimEntry, ...], about("What is proved of outputs for every input.")]
    frontier: Annotated[tuple[FrontierEntry, ...], about("How the network reads each of its inputs.")]
    unsupported: Annotated[
        tuple[UnsupportedEntry, ...], about("What was not analysed; the report is complete only where this is empty.")
    ]


class AnalysisDocument(Document):
    """What `onnxnull analyze --format json` prints. No times; floats with six significant digits; what was not computed is
    null, never 0.
    """

    schema: Annotated[Literal["onnxnull.analysis/1"], about("Name and version of this schema.")]
    models: Annotated[
        tuple[ModelReportEntry, ...], about("The models that could be opened, in the order in which they were named.")
    ]
    errors: Annotated[tuple[ErrorEntry, ...], about("The models that could not be opened.")]
