"""How the network reads one of its inputs: the joint kernel of the frontier, and the shares of real inputs in it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnxnull import frontier as frontiers
from onnxnull.analysis.results import FrontierReport, KernelShare, QuantizerReport
from onnxnull.frontier import Frontier, JointKernel
from onnxnull.graph.constants import EvaluationError
from onnxnull.inputs import Sample
from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.project import NotConvergedError
from onnxnull.kernel.rank import Notion
from onnxnull.operators.steps import UnknownShapeError
from onnxnull.workers import Done, Unfinished

Use = tuple[str, tuple[object, ...]]
"""A node's name and the signature of how it uses a weight: names of weights may repeat."""
LATE = "the time limit was reached before its joint kernel was bounded"


@dataclass(frozen=True, slots=True)
class FrontKernel:
    """The joint kernel of a frontier: bounds and the shares of samples, or the `reason` why there are none."""

    bounds: Bounds | None = None
    shares: tuple[KernelShare, ...] = ()
    reason: str | None = None


def front_kernel(front: Frontier, samples: Sequence[Sample], deadline: float | None) -> FrontKernel:
    """Bound the joint kernel of a frontier, and measure samples of its input by it, until `deadline` of `time.monotonic`."""
    try:
        bounds = frontiers.joint_nullity(front, Notion.EXACT if front.quantizer else Notion.FLOAT64)
        own = [sample for sample in samples if sample.input == front.input.name and front.quantizer is None]
        return FrontKernel(bounds, _shares(frontiers.JointKernel(front), own, deadline) if own else ())
    except (UnknownShapeError, EvaluationError) as error:
        return FrontKernel(reason=str(error))


def uses_of(front: Frontier) -> list[Use]:
    """How its layers use their weights."""
    return [(layer.node, layer.use.signature) for layer in front.layers]


def frontier_report(front: Frontier, names: Mapping[Use, str], result: Done[FrontKernel] | Unfinished | None) -> FrontierReport:
    """How the network reads an input.

    Args:
        names: the weight of each use.
        result: of `front_kernel`; None where nothing is guaranteed, or a weight was not analysed.
    """
    rounds = front.quantizer
    match result:
        case Done(value=found):
            kernel = found
        case Unfinished():
            kernel = FrontKernel(reason=LATE)
        case None:
            kernel = FrontKernel(reason="a weight that reads it was not analysed" if front.guaranteed else front.obstacle)
    return FrontierReport(
        input=front.input.name,
        inputs=front.entries,
        nodes=tuple(dict.fromkeys(layer.node for layer in front.layers)),
        weights=tuple(dict.fromkeys(names[use] for use in uses_of(front))),
        guaranteed=front.guaranteed,
        reason=kernel.reason,
        input_nullity=kernel.bounds,
        shares=kernel.shares,
        quantizer=None
        if rounds is None
        else QuantizerReport(rounds.node, rounds.scale, rounds.zero_point, rounds.low, rounds.high),
        sized=front.sized,
    )


def _shares(kernel: JointKernel, samples: Sequence[Sample], deadline: float | None) -> tuple[KernelShare, ...]:
    """The share of each sample; None where the time was up or the projection did not converge."""

    def share(sample: Sample) -> float | None:
        if deadline is not None and time.monotonic() > deadline:
            return None
        try:
            return kernel.share(sample.array)
        except NotConvergedError:
            return None

    return tuple(KernelShare(sample.file, share(sample)) for sample in samples)
