"""What is read back of an analysis (`onnxnull.analysis/1`) that serves as a baseline."""

from __future__ import annotations

from typing import Literal

from onnxnull.documents.base import Bounds, Certainty, Count, Part


class ReadRank(Part):
    """A rank."""

    value: Count
    certainty: Certainty


class ReadRanks(Part):
    """A rank in every notion; over the rationals where it was computed."""

    float32: ReadRank
    float64: ReadRank
    exact: ReadRank | None


class ReadOperator(Part):
    """A convolution on its whole input."""

    input_shape: tuple[Count, ...]
    float64: Bounds


class ReadUse(Part):
    """A node that applies a weight."""

    operator: ReadOperator | None


class ReadWeight(Part):
    """A weight."""

    name: str
    inputs: Count
    outputs: Count
    rank: ReadRanks
    dead_outputs: Count
    duplicate_outputs: Count
    nearly_dead_outputs: Count
    unread_inputs: Count
    nodes: tuple[ReadUse, ...]


class ReadFrontier(Part):
    """How an input is read."""

    input: str
    inputs: Count | None
    input_nullity: Bounds | None


class ReadModel(Part):
    """Which file it was."""

    file: str
    sha256: str


class ReadReport(Part):
    """A model."""

    model: ReadModel
    weights: tuple[ReadWeight, ...]
    frontier: tuple[ReadFrontier, ...]


class ReadAnalysis(Part):
    """A baseline."""

    schema: Literal["onnxnull.analysis/1"]
    models: tuple[ReadReport, ...]
