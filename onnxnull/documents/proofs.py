"""The document `onnxnull.proofs/1`, which `onnxnull prove` writes."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, UnsetType

from onnxnull.documents.base import Bounds, Certainty, Count, Document, HexFloat, Sha256, about


class ProvedModelEntry(Document):
    """What they are about."""

    file: Annotated[str, about("The path as typed, only its last part where that was absolute.")]
    sha256: Annotated[Sha256, about("SHA-256 of the file.")]
    overridable: Annotated[
        tuple[str, ...],
        about(
            "Stored constants that are listed as inputs, too (IR 4 and later): a caller may replace them; the "
            "proofs are about the stored numbers."
        ),
    ]


class GramLowerEntry(Document, tag_field="method", tag="gram"):
    """At least `count` eigenvalues of AᵀA lie above a shift."""

    blocks: Annotated[tuple[Bounds, ...], about("Numbers of the blocks that this is about.")]
    count: Annotated[Count, about("The bound of each block's rank.")]
    shift: Annotated[HexFloat, about("Eigenvalues of AᵀA are counted above it, as a hexadecimal float.")]


class SpectralEntry(Document, tag_field="method", tag="spectral"):
    """A bound by singular values."""

    blocks: Annotated[tuple[Bounds, ...], about("Numbers of the blocks that this is about.")]
    count: Annotated[Count, about("The bound of each block's rank.")]


class ModularLowerEntry(Document, tag_field="method", tag="modular"):
    """A minor that is not 0."""

    blocks: Annotated[tuple[Bounds, ...], about("Numbers of the blocks that this is about.")]
    count: Annotated[Count, about("The bound of each block's rank.")]
    prime: Annotated[Count, about("The minor is not 0 modulo it.")]
    rows: Annotated[tuple[Count, ...], about("Its rows.")]
    columns: Annotated[tuple[Count, ...], about("Its columns.")]


class GramUpperEntry(Document, tag_field="method", tag="gram"):
    """No more than `count` eigenvalues of AᵀA lie above a shift."""

    blocks: Annotated[tuple[Bounds, ...], about("Numbers of the blocks that this is about.")]
    count: Annotated[Count, about("The bound of each block's rank.")]
    shift: Annotated[HexFloat, about("No more eigenvalues of AᵀA lie above it, as a hexadecimal float.")]


class ShapeUpperEntry(Document, tag_field="method", tag="shape"):
    """No rank exceeds the shape."""

    blocks: Annotated[tuple[Bounds, ...], about("Numbers of the blocks that this is about.")]
    count: Annotated[Count, about("The bound of each block's rank.")]


class MinorsUpperEntry(Document, tag_field="method", tag="minors"):
    """Every larger minor is 0."""

    blocks: Annotated[tuple[Bounds, ...], about("Numbers of the blocks that this is about.")]
    count: Annotated[Count, about("The bound of each block's rank.")]
    primes: Annotated[tuple[int, ...], about("The rank is at most count modulo each; their product exceeds every minor.")]


class RelationsUpperEntry(Document, tag_field="method", tag="relations"):
    """Independent kernel vectors."""

    blocks: Annotated[tuple[Bounds, ...], about("Numbers of the blocks that this is about.")]
    count: Annotated[Count, about("The bound of each block's rank.")]
    side: Annotated[Literal["inputs", "outputs"], about("Whether inputs or outputs depend on each other.")]
    vectors: Annotated[tuple[tuple[tuple[Count, HexFloat], ...], ...], about("Independent integer kernel vectors.")]


class ProofEntry(Document):
    """What a checker needs. A: the block scaled by 2^−exponent."""

    format: Annotated[Literal["onnxnull.proof/1"], about("Version of the format of proofs.")]
    notion: Annotated[Literal["float32", "float64", "exact"], about("Which rank.")]
    inputs: Annotated[Count, about("Rows of the block-diagonal matrix.")]
    outputs: Annotated[Count, about("Its columns.")]
    groups: Annotated[Count, about("Its blocks.")]
    rank: Annotated[Count, about("What is proved.")]
    exponent: Annotated[int, about("All entries are scaled by 2^−exponent.")]
    sigma_max: Annotated[
        tuple[HexFloat, HexFloat] | None,
        about(
            "Interval that holds the largest singular value of the scaled weight, as hexadecimal floats; null "
            "over the rationals."
        ),
    ]
    lower: Annotated[
        tuple[GramLowerEntry | SpectralEntry | ModularLowerEntry, ...], about("Why every block has at least that rank.")
    ]
    upper: Annotated[
        tuple[GramUpperEntry | SpectralEntry | ShapeUpperEntry | MinorsUpperEntry | RelationsUpperEntry, ...],
        about("Why every block has at most that rank."),
    ]
    weight: Annotated[Sha256, about("SHA-256 of the shape, the type and the entries of the weight.")]


class ProvedRankEntry(Document):
    """A rank and its proof."""

    value: Annotated[Count, about("The rank.")]
    certainty: Annotated[Certainty, about("How sure it is.")]
    proof: Annotated[ProofEntry | None, about("Null where it is not proved.")]


class ProvedRanksEntry(Document):
    """Its rank in every notion that was computed."""

    float32: Annotated[ProvedRankEntry, about("Rank at the float32 cut-off.")]
    float64: Annotated[ProvedRankEntry, about("Rank at the float64 cut-off.")]
    exact: Annotated[ProvedRankEntry | UnsetType, about("Rank over the rationals; absent where it was not computed.")] = UNSET


class ProvedWeightEntry(Document):
    """One weight."""

    name: Annotated[str, about("Of the stored constant.")]
    nodes: Annotated[tuple[str, ...], about("Nodes that apply it.")]
    ranks: Annotated[ProvedRanksEntry, about("Its rank in every notion that was computed.")]


class ProofsDocument(Document):
    """What `onnxnull prove` writes, and `onnxnull prove --check` checks."""

    schema: Annotated[Literal["onnxnull.proofs/1"], about("Name and version of this schema.")]
    model: Annotated[ProvedModelEntry, about("What they are about.")]
    weights: Annotated[tuple[ProvedWeightEntry, ...], about("Every weight.")]
    unsupported: Annotated[tuple[str, ...], about("In words, what was not analysed.")]
