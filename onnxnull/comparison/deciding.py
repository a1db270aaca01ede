"""From what the graphs and the runs say to what is said of the files.

1. Identical graphs need no run. What is proved is said, unless the outputs part all the same; where onnxruntime refuses a
   file it is not said.
2. Where one model quantizes activations, its user's data decide: 16 samples or more, top-1 agreement and signal-to-noise ratio.
3. A constant or an attribute that differs in its matched place makes the files different, whatever the outputs do.
4. Else the runs decide whether outputs part; that regions and outputs agree is said to be no more than that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxnull.comparison import interface
from onnxnull.comparison.carried_collisions import Running
from onnxnull.comparison.graphs.proof import GraphProof
from onnxnull.comparison.graphs.terms import Term
from onnxnull.comparison.input_links import Link
from onnxnull.comparison.reasons import difference_reason, idle_reason, parts_reason, region_reason
from onnxnull.comparison.results import GraphFinding
from onnxnull.comparison.runs import maps
from onnxnull.comparison.runs.both import Runs, run_both, told
from onnxnull.comparison.runs.outputs import NEAR, TensorPair
from onnxnull.comparison.runs.regions import RegionRun, run_regions, wide
from onnxnull.comparison.runs.samples import COUNT, Feeds, drawn
from onnxnull.comparison.verdicts import Outcome
from onnxnull.comparison.weight_pairs import Opened, Progress
from onnxnull.errors import OnnxnullError

FAR = 1e-2
"""Share of a channel's spread by which outputs of one precision part; where a proof says that it is rounding, 5 %."""
_PROVED = 5e-2
_PROVED_SNR = 60.0
"""Decibels below which outputs of graphs that are proved to be the same part, where a channel does."""
_LEAST_SNR = 10.0
"""Decibels below which outputs part where one model computes in a narrower type."""
_SHOWN = 48
"""Matched tensors that are compared along the network."""


@dataclass(frozen=True, slots=True)
class Judging:
    """How to decide: as the arguments of `compare`."""

    running: Running | None
    data: Sequence[Feeds] | None
    min_agreement: float
    min_snr: float
    progress: Progress


@dataclass(frozen=True, slots=True)
class Decided:
    """What is said, why, and the runs."""

    outcome: Outcome
    because: tuple[str, ...]
    runs: Runs | None = None
    regions: tuple[RegionRun, ...] = ()
    input_map: str | None = None


def decide(
    first: Opened, second: Opened, finding: GraphFinding, proof: GraphProof | None, links: Sequence[Link], judging: Judging
) -> Decided:
    """The outcome."""
    if finding.identical:
        return Decided(Outcome.IDENTICAL, ())
    apart = interface.unlike(first.model, second.model)
    if apart is not None:
        return Decided(Outcome.DIFFERENT, (apart,))
    base, because = _of_graphs(finding)
    if judging.running is None:
        if base is Outcome.QUANTIZED and finding.quantized:
            return Decided(Outcome.UNEXPLAINED, (*because, _ADVICE))
        return Decided(base, because)
    return _Runner(first, second, finding, proof, links, judging).decide(base, because)


_ADVICE = f"activations are quantized: give --data with {COUNT} samples or more to judge the outputs by"


def _of_graphs(finding: GraphFinding) -> tuple[Outcome, tuple[str, ...]]:
    """What the graphs alone say."""
    named = tuple({(each.a, each.b): difference_reason(each) for each in finding.differences[::-1]}.values())[::-1]
    if finding.proved:
        if finding.quantized or finding.nearness == "quantized":
            return Outcome.QUANTIZED, ()
        return (Outcome.ROUNDED if finding.nearness == "rounded" or not finding.types else Outcome.SAME_GRAPH), ()
    if finding.settled:
        return Outcome.DIFFERENT, named
    why = [finding.reason] if finding.reason is not None else []
    if finding.regions and finding.reason is None:
        what = "region" if finding.regions == 1 else "regions"
        why.append(f"no rewrite explains {finding.regions} {what}")
    elif not why and not named:
        why.append("an output of one is a tensor inside the other, or has no partner")
    return Outcome.UNEXPLAINED, (*why, *named)


class _Runner:
    def __init__(
        self,
        first: Opened,
        second: Opened,
        finding: GraphFinding,
        proof: GraphProof | None,
        links: Sequence[Link],
        judging: Judging,
    ) -> None:
        self.finding, self.proof, self.links, self.judging = finding, proof, links, judging
        self.sides = first.model, second.model
        self.pairs = interface.input_pairs(first.model, second.model)
        self.outputs = interface.output_pairs(first.model, second.model)
        near = finding.nearness in ("rounded", "quantized")
        halves = proof is not None and not {"float16", "bfloat16"}.isdisjoint(proof.a.floats | proof.b.floats)
        self.narrow = not finding.types or finding.quantized or finding.codes or near or halves

    def decide(self, base: Outcome, because: tuple[str, ...]) -> Decided:
        self.judging.progress("running both")
        fits = interface.shaped_alike(*self.sides)
        if fits:
            try:
                runs = self._run(maps.straight(self.pairs), tensors=self._tensors())
            except OnnxnullError as error:
                runs = Runs(reason=told(error))
        else:
            runs = Runs(reason="the inputs have other shapes")
        if base is Outcome.DIFFERENT:
            apart = not fits or (runs.reason is None and bool(self._parted(runs)))
            return (self._mapped(because) if apart else None) or Decided(base, because, runs)
        if runs.reason is None and not self._parted(runs):
            return self._near(base, because, runs)
        if not self.finding.proved or not fits:
            mapped = self._mapped(because)
            if mapped is not None:
                return mapped
        if runs.reason is not None:
            return Decided(Outcome.UNEXPLAINED if fits else Outcome.DIFFERENT, (runs.reason, *because), runs)
        parted = self._parted(runs)
        said = tuple(parts_reason(judged) for judged in parted)
        if self.finding.quantized or (self.narrow and self._is_rounding()):
            # bad for this data, or another network: that is not known
            return Decided(Outcome.UNEXPLAINED, (*said, *because), runs)
        return Decided(Outcome.DIFFERENT, (*said, *because), runs)

    def _is_rounding(self) -> bool:
        """Whether the graphs part in nothing but the rounding of a narrower type, and what its converters clamp."""
        clamped = all(each.clamped for each in self.finding.differences)
        return self.finding.proved or (bool(self.finding.differences) and clamped and not self.finding.regions)

    def _near(self, base: Outcome, because: tuple[str, ...], runs: Runs) -> Decided:
        """Nothing parts."""
        if base is Outcome.QUANTIZED and self.finding.quantized:
            if runs.drawn or runs.samples < COUNT:
                return Decided(Outcome.UNEXPLAINED, (_ADVICE,), runs)
            if runs.not_exercised:
                return Decided(Outcome.NOT_EXERCISED, tuple(idle_reason(judged) for judged in runs.not_exercised), runs)
            return Decided(base, because, runs)
        if base is not Outcome.UNEXPLAINED:
            return Decided(base, because, runs)
        if runs.not_exercised:
            return Decided(Outcome.NOT_EXERCISED, (*(idle_reason(judged) for judged in runs.not_exercised), *because), runs)
        regions = self._regions()
        apart = [f"output {j.a!r} is apart by {j.ratio:.2g} of a channel's spread" for j in runs.parted(NEAR)]
        unsettled = [said for region in regions if (said := region_reason(region)) is not None]
        if (unsettled or not regions) and not apart and not self.narrow:
            whole = self._whole(runs)  # what was taken for a region may be none: the network is one
            said = region_reason(whole)
            regions, unsettled = ((whole,), []) if said is None else (regions, [*unsettled, said])
        if apart or unsettled or self.narrow:
            return Decided(Outcome.UNEXPLAINED, (*apart, *unsettled, *because), runs, regions)
        return Decided(Outcome.AGREES, because, runs, regions)

    def _parted(self, runs: Runs) -> tuple[TensorPair, ...]:
        """Outputs that part."""
        floats = [judged for judged in runs.outputs if not judged.discrete]
        if self.finding.quantized:
            if runs.drawn or runs.samples < COUNT:
                return ()
            wanted = self.judging
            return tuple(
                judged
                for judged in runs.outputs
                if judged.enters is None
                and (
                    (judged.snr is not None and judged.snr < wanted.min_snr)
                    or (judged.agreement is not None and judged.agreement < wanted.min_agreement)
                    or judged.ratio == float("inf")
                )
            )
        if self.finding.proved and self.finding.nearness == "quantized":
            return tuple(judged for judged in floats if judged.snr is not None and judged.snr < 0.0)
        if self.narrow:
            return tuple(
                j for j in floats if j.reason is not None or (j.snr is not None and j.snr < _LEAST_SNR and j.exercised)
            )
        if self.finding.proved:  # a saturated channel has next to no spread of its own, and rounding fills it
            return tuple(j for j in runs.parted(_PROVED) if j.snr is None or j.snr < _PROVED_SNR)
        return runs.parted(FAR)

    def _mapped(self, because: tuple[str, ...]) -> Decided | None:
        for name, change in maps.candidates(self.pairs, self.links, self.sides):
            try:
                few = self._run(change, most=3)
                if few.reason is not None or self._parted(few) or few.not_exercised:
                    continue
                runs = self._run(change)
            except OnnxnullError:
                continue  # this change gives no input of the other model
            if runs.reason is None and not runs.parted(NEAR) and not runs.not_exercised:
                return Decided(
                    Outcome.MAPPED,
                    (f"the outputs agree after {name}; --allow-input-map {name} allows it", *because),
                    runs,
                    (),
                    name,
                )
        return None

    def _run(self, change: maps.Map, *, most: int | None = None, tensors: Sequence[tuple[str, str]] = ()) -> Runs:
        data, running = self.judging.data, self.judging.running
        assert running is not None, "it is to be run"
        rows = {} if self.proof is None else _rows(self.proof)
        if data is None:
            makers = list(drawn(self.sides[0].inputs, rows, running.seed))
        else:
            makers = [lambda _, feeds=feeds: feeds for feeds in data]  # type: ignore[misc]
        return run_both(
            self.sides[0],
            self.sides[1],
            makers[:most],
            self.outputs,
            change,
            provider=running.providers[0],
            tensors=tensors,
            drawn=data is None,
            narrow=self.narrow,
        )

    def _tensors(self) -> list[tuple[str, str]]:
        """Matched tensors in the order of the network, evenly spaced."""
        if self.proof is None or self.finding.at is not None or (self.finding.proved and not self.finding.quantized):
            return []
        partner, pairs = self.proof.matching.partner, []
        ours = {value: name for name, value in reversed(self.proof.a.values.items()) if isinstance(value, Term) and name}
        outputs = {name for name, _ in self.outputs}
        for name, value in self.proof.b.values.items():
            if not isinstance(value, Term) or value not in partner or value.op == "Input" or name not in self.proof.b.nodes:
                continue
            mine = ours.get(partner[value])
            if mine is not None and mine not in outputs and mine in self.proof.a.nodes:
                pairs.append((mine, name))
        step = -(-len(pairs) // _SHOWN) if pairs else 1
        return pairs[::step]

    def _whole(self, runs: Runs) -> RegionRun:
        """The network as one region: the runs, and wide inputs."""
        running, rng = self.judging.running, np.random.default_rng(0)
        assert running is not None, "it is to be run"
        rows = {} if self.proof is None else _rows(self.proof)
        makers = []
        for number, make in enumerate(list(drawn(self.sides[0].inputs, rows, running.seed))[:6]):
            feeds = {name: wide(rng, x, number) for name, x in make(0).items()}
            makers.append(lambda _, feeds=feeds: feeds)
        straight = maps.straight(self.pairs)
        found = run_both(*self.sides, makers, self.outputs, straight, provider=running.providers[0])
        worst = [max(each.outputs, key=lambda j: j.ratio, default=None) for each in (runs, found)]
        names = tuple(one.name for one, _ in self.pairs)
        ends = " and ".join(name for name, _ in self.outputs), " and ".join(name for _, name in self.outputs)
        return RegionRun(*ends, names, worst[0], worst[1], found.reason)

    def _regions(self) -> tuple[RegionRun, ...]:
        if self.proof is None or not self.proof.matching.regions or self.finding.at is not None:
            return ()
        rows, running = _rows(self.proof), self.judging.running
        assert running is not None, "it is to be run"
        makers = list(drawn(self.sides[0].inputs, rows, running.seed))[:6] if self.judging.data is None else []
        feeds = [make(0) for make in makers] or list(self.judging.data or ())[:6]
        return run_regions(self.sides[0], self.sides[1], (self.proof.a, self.proof.b), self.proof.matching.regions, feeds)


def _rows(proof: GraphProof) -> Mapping[str, int]:
    """Integer input → the rows of the smallest table that it picks from."""
    names = {value: name for name, value in proof.a.values.items() if isinstance(value, Term) and value.op == "Input"}
    found: dict[str, int] = {}
    for value in proof.a.values.values():
        for term in _behind(value):
            if term.op != "ai.onnx.Gather" or term.attribute("operands") != "cv" or term.constants[0] is None:
                continue
            index = term.variables[0]
            while index.op != "Input" and len(index.variables) == 1:
                index = index.variables[0]
            if index in names:
                rows = term.constants[0].shape[0]
                found[names[index]] = min(found.get(names[index], rows), rows)
    return found


def _behind(value: object) -> Iterator[Term]:
    if isinstance(value, Term):
        yield value
