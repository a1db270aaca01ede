"""From the proof about the graphs and the runs to the one outcome for two files.

1. Identical graphs need no run. What is proved is said, unless the outputs part all the same; where onnxruntime refuses a
   file it is not said.
2. Where one model quantizes activations, its user's data decide: 16 samples or more, top-1 agreement and signal-to-noise ratio.
3. A constant or an attribute that differs in its matched place makes the files different, whatever the outputs do.
4. Else the runs decide whether outputs part; that regions and outputs agree is said to be no more than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnxnull.comparison import interface
from onnxnull.comparison.graphs.proof import GraphProof
from onnxnull.comparison.input_links import Link
from onnxnull.comparison.measuring import Judging, Measuring
from onnxnull.comparison.reasons import difference_reason, idle_reason, parts_reason, region_reason
from onnxnull.comparison.results import GraphFinding
from onnxnull.comparison.runs import maps
from onnxnull.comparison.runs.both import Runs, told
from onnxnull.comparison.runs.outputs import NEAR, TensorPair
from onnxnull.comparison.runs.regions import RegionRun
from onnxnull.comparison.runs.samples import COUNT
from onnxnull.comparison.verdicts import Outcome
from onnxnull.comparison.weight_pairs import Opened
from onnxnull.errors import OnnxnullError

FAR = 1e-2
"""Share of a channel's spread by which outputs of one precision part; where a proof says that it is rounding, 5 %."""
_PROVED = 5e-2
_PROVED_SNR = 60.0
"""Decibels below which outputs of graphs that are proved to be the same part, where a channel does."""
_DROWNED = 20.0
"""How far below the limit of an output the signal-to-noise ratio of one of its channels may lie, in decibels."""
_LEAST_SNR = 10.0
"""Decibels below which outputs part where one model computes in a narrower type."""


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
    return _Decider(first, second, finding, proof, links, judging).decide(base, because)


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


class _Decider:
    def __init__(
        self,
        first: Opened,
        second: Opened,
        finding: GraphFinding,
        proof: GraphProof | None,
        links: Sequence[Link],
        judging: Judging,
    ) -> None:
        self.finding, self.links, self.judging = finding, links, judging
        near = finding.nearness in ("rounded", "quantized")
        halves = proof is not None and not {"float16", "bfloat16"}.isdisjoint(proof.a.floats | proof.b.floats)
        self.narrow = not finding.types or finding.quantized or finding.codes or near or halves
        at_shapes = finding.at is not None
        self.measuring = Measuring(first, second, proof, judging, at_shapes=at_shapes, narrow=self.narrow)

    def decide(self, base: Outcome, because: tuple[str, ...]) -> Decided:
        self.judging.progress("running both")
        fits = interface.shaped_alike(*self.measuring.sides)
        if fits:
            try:
                runs = self.measuring.run(maps.straight(self.measuring.pairs), tensors=self.measuring.tensors())
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
        if runs.widened:
            because = (*because, "bfloat16 was computed in float32, since the provider has no kernels for it")
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
        regions = self.measuring.regions()
        apart = [f"output {j.a!r} is apart by {j.ratio:.2g} of a channel's spread" for j in runs.parted(NEAR)]
        unsettled = [said for region in regions if (said := region_reason(region)) is not None]
        if (unsettled or not regions) and not apart and not self.narrow:
            whole = self.measuring.whole(runs)  # what was taken for a region may be none: the network is one
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
                    or (judged.least is not None and judged.least < wanted.min_snr - _DROWNED)
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
        for name, change in maps.candidates(self.measuring.pairs, self.links, self.measuring.sides):
            try:
                few = self.measuring.run(change, most=3)
                if few.reason is not None or self._parted(few) or few.not_exercised:
                    continue
                runs = self.measuring.run(change)
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
