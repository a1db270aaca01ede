"""What the graphs and the runs show, in words."""

from __future__ import annotations

from onnxnull.comparison.graphs.matching import Difference
from onnxnull.comparison.runs.outputs import NEAR, TensorPair
from onnxnull.comparison.runs.regions import RegionRun


def difference_reason(difference: Difference) -> str:
    """What differs in its place, and by how much."""
    apart = "" if difference.distance != difference.distance else f" (‖A − B‖/‖B‖ {difference.distance:.2g})"
    clamped = ": clamped to what a converter to float16 keeps (1e-7..1e4, or 6e-8..65504)" if difference.clamped else ""
    return f"{difference.what} {difference.a} differs from {difference.b}{apart}{clamped}"


def parts_reason(judged: TensorPair) -> str:
    """How an output parts."""
    what = f"output {judged.a!r}" if judged.enters is None else f"what enters the last operators of output {judged.enters!r}"
    if judged.reason is not None:
        return f"{what} parts: {judged.reason}"
    snr = "" if judged.snr is None else f", signal-to-noise ratio {judged.snr:.3g} dB"
    if judged.least is not None and judged.snr is not None and judged.least < judged.snr - 20.0:
        snr += f" and {judged.least:.3g} dB in a channel"
    where = "" if judged.channel is None else f" in channel {judged.channel}"
    share = f" of {1.0 - judged.ratio:.0%} alike" if judged.discrete else f" by {judged.ratio:.2g} of the spread{where}{snr}"
    agreement = "" if judged.agreement is None or judged.discrete else f", the largest entry the same in {judged.agreement:.0%}"
    return f"{what} parts{share}{agreement}"


def idle_reason(judged: TensorPair) -> str:
    """Which output no input moved."""
    return f"output {judged.a!r} was empty, constant or saturated for every input"


def region_reason(region: RegionRun) -> str | None:
    """Why a region does not agree; None where it does."""
    name = f"region from {', '.join(map(repr, region.inputs)) or 'nothing'} to {region.a!r} and {region.b!r}"
    if region.reason is not None or region.recorded is None or region.wide is None:
        return f"{name} was not run alone: {region.reason}"
    for what, judged in (("recorded", region.recorded), ("wide", region.wide)):
        if judged.ratio > NEAR or judged.reason is not None:
            return f"{name} is apart on {what} inputs by {judged.ratio:.2g} of a channel's spread"
    return None
