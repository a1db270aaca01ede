"""`compare(a, b)`: do two ONNX files hold the same network?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from onnxnull.analysis.results import ModelInfo
from onnxnull.comparison import input_links, interface
from onnxnull.comparison.carried_collisions import Running, SearchedModel, crossings
from onnxnull.comparison.deciding import decide
from onnxnull.comparison.graphs import blocked_layout
from onnxnull.comparison.graphs.proof import GraphProof, prove
from onnxnull.comparison.input_kernels import input_pair
from onnxnull.comparison.measuring import Judging
from onnxnull.comparison.numbering import equal_graphs
from onnxnull.comparison.results import Comparison, Crossing, GraphFinding
from onnxnull.comparison.runs.samples import Feeds
from onnxnull.comparison.weight_pairs import Opened, Pairs, Progress, pair_up, with_weights
from onnxnull.errors import OnnxnullError
from onnxnull.graph.constants import EvaluationError
from onnxnull.graph.flow import Flow
from onnxnull.graph.model import Model
from onnxnull.machine import one_blas_thread


@one_blas_thread()
def compare(
    a: Model,
    b: Model,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    running: Running | None = None,
    data: Sequence[Feeds] | None = None,
    min_agreement: float = 0.9,
    min_snr: float = 20.0,
    allowed_map: str | None = None,
    weights: bool = True,
    progress: Progress = lambda _: None,
) -> Comparison:
    """Compare the networks in two ONNX files.

    Args:
        a, b: the files, opened.
        input_shapes: graph input → dimensions, for inputs whose shape a file leaves open; of either model.
        running: how to run both, for their outputs and for collisions of one on the other; None: neither is executed.
        data: inputs of a to run both on (input → array); None: 16 are drawn.
        min_agreement, min_snr: what outputs of a model with quantized activations need on `data`: the share of samples (of
            pixels) with the same largest entry, and dB.
        allowed_map: a change of an input that may be needed, as `Comparison.input_map` writes it.
        weights: whether weights are listed in pairs, with ranks and kernels, and collisions are carried over; takes longest.
        progress: called with what comes next.

    Returns:
        What is said of the files and why, the graphs, the runs, and pairs of weights with their ranks and kernels.

    Raises:
        OnnxnullError: a file breaks the rules of ONNX; `file` says which.
    """
    first, second = (with_weights(model, input_shapes or {}, progress) for model in (a, b))
    if input_shapes:
        interface.check_names(input_shapes, first.model, second.model)
    progress("matching the graphs")
    proved = _prove(first, second)
    paired = Pairs((), ((), ()), {})
    if weights:
        progress("matching the weights")
        paired = pair_up(first, second, progress)
    progress("comparing the inputs")
    links = input_links.links(first.fronts, second.fronts, paired.judged)
    read = tuple(
        input_pair(link, *(next(f for f in o.fronts if f.input is i) for o, i in ((first, link.a), (second, link.b))))
        for link in (links if weights else ())
    )
    judging = Judging(running, data, min_agreement, min_snr, progress)
    decided = decide(first, second, proved.finding, proved.proof, links, judging)
    crossed: tuple[Crossing, ...] = ()
    if running is not None and weights:
        subjects = [SearchedModel(o.model, running, progress) for o in (first, second)]
        crossed = crossings(subjects[0], subjects[1], links, same=proved.finding.proved)
    return Comparison(
        a=_info(first.model),
        b=_info(second.model),
        outcome=decided.outcome,
        because=decided.because,
        graph=proved.finding,
        pairs=paired.pairs,
        only_a=paired.only[0],
        only_b=paired.only[1],
        unsupported_a=tuple(first.unsupported),
        unsupported_b=tuple(second.unsupported),
        inputs=read,
        crossings=crossed,
        runs=decided.runs,
        regions=decided.regions,
        input_map=decided.input_map,
        allowed=allowed_map is not None and allowed_map == decided.input_map,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Proved:
    finding: GraphFinding
    proof: GraphProof | None


def _prove(first: Opened, second: Opened) -> _Proved:
    """Match the graphs at shapes that both have; with an open batch at three samples and at very many, else at one."""
    if equal_graphs(first.model, second.model):
        return _Proved(GraphFinding(identical=True, proved=True), None)
    reason = interface.unlike(first.model, second.model)
    if reason is not None:
        return _Proved(GraphFinding(reason=reason), None)
    found: list[_Proved] = []
    for batch in (interface.BATCHES[0], None):
        shapes = interface.common_shapes(first.model, second.model, batch=batch)
        found.append(_tried(first, second, shapes))
        opens = any(i.shape is not None and None in i.shape[:1] for o in (first, second) for i in o.model.inputs)
        if found[-1].finding.proved or not opens:
            break
    if opens and found[0].finding.proved:
        return _again(first, second, found[0])
    if len(found) == 2 and found[1].finding.proved:  # for one sample, and not for three
        both = interface.common_shapes(first.model, second.model, batch=None)
        if both is None:
            why = "the graphs are the same for one sample only"
            return _Proved(GraphFinding(regions=1, reason=why), found[1].proof)
    return next((each for each in found if each.proof is not None and each.finding.proved), found[-1])


def _again(first: Opened, second: Opened, found: _Proved) -> _Proved:
    """What is proved for one size of an open batch, for another too: a number that a file holds may be the size of one."""
    few, many, other = (interface.common_shapes(first.model, second.model, batch=batch) for batch in interface.BATCHES)
    if many == few:  # the batch stays open
        return found
    again = _tried(first, second, many)
    if again.proof is None:
        again = _tried(first, second, other)
    if not again.finding.proved:
        return again
    return replace(found, finding=replace(found.finding, at=f"{found.finding.at}; {again.finding.at}"))


def _tried(first: Opened, second: Opened, shapes: interface.Shapes | None) -> _Proved:
    """What is found at these shapes; the reason where a constant is too large, or a file does not allow them."""
    try:
        return _at(first, second, shapes)
    except (EvaluationError, OnnxnullError) as error:
        return _Proved(GraphFinding(reason=str(error)), None)


def _at(first: Opened, second: Opened, shapes: interface.Shapes | None) -> _Proved:
    best: _Proved | None = None
    blocked = any(blocked_layout.is_blocked(o.model) for o in (first, second))
    for block in blocked_layout.BLOCKS if blocked else (0,):
        flows = [_flow(opened.model, own, block) for opened, own in zip((first, second), shapes or ({}, {}), strict=True)]
        pairs = interface.input_pairs(flows[0].model, flows[1].model)
        proof = prove(flows[0], flows[1], pairs, interface.output_pairs(flows[0].model, flows[1].model))
        finding = _finding(proof, shapes)
        found = _Proved(replace(finding, settled=finding.settled and not block), proof)  # what is read of blocks is a guess
        if best is None or _unmatched(found) < _unmatched(best):
            best = found
        if best.finding.proved:
            break
    assert best is not None
    return best


def _unmatched(found: _Proved) -> tuple[bool, int]:
    return not found.finding.proved, len(found.finding.differences) + found.finding.regions


def _flow(model: Model, shapes: Mapping[str, Sequence[int]], block: int) -> Flow:
    if not shapes and not (block and blocked_layout.is_blocked(model)):
        return model.flow
    model = model.at(shapes)
    if block and blocked_layout.is_blocked(model):
        try:
            blocked_layout.unblock(model, block)
        except ValueError as error:
            raise EvaluationError(str(error)) from None
    return model.flow


def _finding(proof: GraphProof, shapes: interface.Shapes | None) -> GraphFinding:
    matching = proof.matching
    places = {(d.a, d.b) for d in matching.differences}  # a scale that was folded into a weight and a bias is one
    undone = any(d.rearranged and (len(places) > 1 or d.movement or d.clamped) for d in matching.differences)
    read = {name: sizes for side in shapes or () for name, sizes in side.items()}
    return GraphFinding(
        proved=matching.proved,
        nearness=matching.nearness.name.lower(),
        types=proof.floats,
        quantized=proof.quantized,
        codes=proof.codes,
        differences=tuple(matching.differences),
        regions=len(matching.regions),
        settled=matching.complete and bool(matching.differences) and not matching.regions and not undone,
        at=", ".join(f"{name} {'×'.join(map(str, sizes))}" for name, sizes in read.items()) or None,
    )


def _info(model: Model) -> ModelInfo:
    return ModelInfo(model.file, model.sha256, model.producer, model.ir_version, model.opsets, model.inputs, model.overridable)
