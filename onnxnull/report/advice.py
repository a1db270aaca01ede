"""What a report means for the model, and what to do about it: findings in plain words, the gravest first.

For people who do not know linear algebra. The numbers are those of the report; the sentences claim no more than they prove.
"""

from __future__ import annotations

import enum
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from onnxnull.analysis.results import FrontierReport, ModelReport, reads_together
from onnxnull.kernel.rank import Certainty
from onnxnull.report import words
from onnxnull.report.chart_data import ChartWeight, chart_weights
from onnxnull.report.words import count, shown, some


class Level(enum.Enum):
    """How grave a finding is → the word that stands beside it."""

    STOP = "Incomplete"
    ATTENTION = "Look at this"
    OPEN = "Open"
    NOTE = "Good to know"
    GOOD = "Fine"


@dataclass(frozen=True, slots=True)
class Advice:
    """Attributes:
    title: what is so, in one line. says: what that means. do: what to do, in words.
    commands: command lines that show or do it.
    """

    level: Level
    title: str
    says: str
    do: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


def advise(report: ModelReport) -> list[Advice]:
    """What a report means, the gravest first."""
    weights = chart_weights(report)
    found = [
        *_incomplete(report),
        *(finding for front in report.frontier if not _is_unknown(front) for finding in _input(front, report)),
        *_unknown_inputs(report),
        *_lost(weights),
        *_idle(report),
        *_near(weights),
        *_ambiguous(report),
        *_by_shape(weights),
    ]
    if not report.weights and report.complete:
        found.append(Advice(Level.OPEN, "Nothing linear", "This model holds no linear weight: there is nothing to analyse."))
    order = list(Level)
    return sorted(found, key=lambda finding: order.index(finding.level))


def verdict(report: ModelReport) -> tuple[Level, str]:
    """What stands above everything: the gravest level of all findings, and what it means for the inputs."""
    found = advise(report)
    levels = {finding.level for finding in found}
    level = Level.GOOD if levels == {Level.NOTE, Level.GOOD} else next((each for each in Level if each in levels), Level.OPEN)
    grave = [finding for finding in found if finding.level is Level.ATTENTION]
    if not report.complete:
        missing = count(len(report.unsupported), "weight")
        return level, f"{missing} of this model could not be analysed. Do not take what follows for whole."
    if not report.weights:
        return level, "This model holds no linear weight."
    known = [front.input_nullity for front in report.frontier if front.guaranteed and front.input_nullity is not None]
    if any(bounds.lower > 0 for bounds in known):
        return level, "Different inputs can give this network the same output: it ignores a part of what it is shown."
    if known and len(known) == len(report.frontier) and all(bounds.upper == 0 for bounds in known):
        sentence = "The layers that read the input of this network keep every difference between two inputs."
        if any(front.quantizer is not None for front in report.frontier):
            sentence = "The layers that read the input of this network keep every difference that its quantizer lets through."
    else:
        sentence = "Whether different inputs can collide at this network's input is not settled by its weights alone."
    return level, sentence + (f" {count(len(grave), 'finding')} below to look at." if grave else "")


def _incomplete(report: ModelReport) -> Iterator[Advice]:
    if report.complete:
        return
    codes = dict.fromkeys(what.code for what in report.unsupported)
    yield Advice(
        Level.STOP,
        f"{count(len(report.unsupported), 'weight')} not analysed",
        "They are listed below. No gate may pass on this report (exit code 2).",
        tuple(f"[{code.code}] {code.meaning}: {code.remedy}." for code in codes),
    )


def _is_unknown(front: FrontierReport) -> bool:
    """Whether nothing is known of collisions of this input."""
    read = bool(front.nodes) or not front.guaranteed
    return read and (not front.guaranteed or front.input_nullity is None or front.inputs is None)


def _unknown_inputs(report: ModelReport) -> Iterator[Advice]:
    unknown = [front for front in report.frontier if _is_unknown(front)]
    if unknown:
        which = f"input '{shown(unknown[0].input)}'" if len(unknown) == 1 else count(len(unknown), "input")
        sentences = [words.frontier_of(front, report)[0] for front in unknown]
        yield Advice(
            Level.OPEN,
            f"Whether two values of {which} collide is not known",
            f"{some(sentences, ' ')} Single layers can still collide further inside.",
            ("Look at single layers.",),
            (f"onnxnull collide {_typed(report)} --random 0 --layer all",),
        )


def _input(front: FrontierReport, report: ModelReport) -> Iterator[Advice]:
    (sentence, *data) = words.frontier_of(front, report)
    name, bounds, model = f"input '{shown(front.input)}'", front.input_nullity, _typed(report)
    if not front.nodes:
        yield Advice(Level.NOTE, f"Nothing reads {name}", "Whatever it holds, the outputs are the same.")
        return
    assert bounds is not None, "it is known"
    assert front.inputs is not None, "it is known"
    if bounds.upper == 0:
        yield Advice(
            Level.GOOD,
            f"No two values of {name} collide in the first layers"
            + (" in whole steps of the quantizer" if front.quantizer is not None else ""),
            f"{sentence} Differences can still get lost further inside, in activations and in layers with a kernel.",
            ("See which layers lose what.",),
            (f"onnxnull collide {model} --random 0 --layer all",),
        )
    elif bounds.lower == 0:
        yield Advice(
            Level.OPEN,
            f"Whether two values of {name} collide was not decided",
            f"{sentence} The bounds did not meet: there may be no collision at all.",
            ("Search for one; finding none is no proof.",),
            (f"onnxnull collide {model} --random 0",),
        )
    else:
        share = f"{100 * bounds.lower / front.inputs:.3g} %"
        yield Advice(
            Level.ATTENTION,
            f"The network ignores {'at least ' if bounds.lower < bounds.upper else ''}{share} of {name}",
            f"{sentence} {' '.join(data)}{' ' if data else ''}Any input can be changed along these dimensions "
            + ("" if front.quantizer is None else "in whole steps of the quantizer, without saturation, ")
            + "and every output stays what it was, up to rounding. The layers that read the input decide that: no later layer "
            "brings it back.",
            (
                "See two such inputs, run and verified; give --input FILE for your own.",
                "If the network must tell such inputs apart, give these layers at least as many outputs as inputs, or patches "
                "that overlap more, and train again.",
                "If it need not, keep this number: a change of it between two versions is worth a look.",
            ),
            (f"onnxnull collide {model} --random 0 -o evidence",),
        )


def _lost(weights: Sequence[ChartWeight]) -> Iterator[Advice]:
    worse = sorted((weight for weight in weights if weight.lost), key=lambda weight: -weight.lost)
    if worse:
        named = some([f"{weight.name} ({weight.lost:,} of {min(weight.inputs, weight.outputs):,})" for weight in worse])
        yield Advice(
            Level.ATTENTION,
            f"{count(len(worse), 'weight')} of lower rank than the shape allows",
            f"Parts of these weights repeat or cancel each other, so they see less than they could. Dimensions lost: {named}.",
            ("If this comes as a surprise, look at the training, the pruning or the export of these weights.",),
        )


def _idle(report: ModelReport) -> Iterator[Advice]:
    # an unread input of a depthwise convolution is a single entry that is 0, as quantization leaves many
    several = {id(weight) for weight in report.weights if reads_together(weight)}
    idle = [
        weight
        for weight in report.weights
        if weight.dead_outputs or weight.duplicate_outputs or (weight.unread_inputs and id(weight) in several)
    ]
    dead, duplicate = (sum(getattr(weight, what) for weight in idle) for what in ("dead_outputs", "duplicate_outputs"))
    unread = sum(weight.unread_inputs for weight in idle if id(weight) in several)
    do = []
    if dead:
        do.append(f"Dead outputs ({dead:,}) are 0 for every input: remove them, or look for what killed them in training.")
    if duplicate:
        do.append(
            f"Duplicate outputs ({duplicate:,}) equal an earlier one: merge them, for a smaller model of the same outputs."
        )
    if unread:
        do.append(f"Unread inputs ({unread:,}) reach no output: what computes them can be removed.")
    if do:
        yield Advice(
            Level.ATTENTION,
            f"{count(len(idle), 'weight')} with parts that do nothing",
            f"The notes of the table say how many in each: {some([shown(weight.name) for weight in idle])}.",
            tuple(do),
        )


def _near(weights: Sequence[ChartWeight]) -> Iterator[Advice]:
    near = sorted((weight for weight in weights if weight.near), key=lambda weight: -weight.near)
    if near:
        named = some([f"{weight.name} ({weight.near:,})" for weight in near])
        yield Advice(
            Level.ATTENTION,
            f"{count(len(near), 'weight')} with directions that all but vanish",
            "Some directions are passed on so weakly that single precision counts them as lost and double precision does not: "
            f"{named}. What depends on them is close to noise.",
            (
                "Expect a difference where this model is stored or run at a lower precision.",
                "Nearly dead filters are a common cause; remove them or train again.",
            ),
        )


def _ambiguous(report: ModelReport) -> Iterator[Advice]:
    open_ones = [
        shown(weight.name)
        for weight in report.weights
        if Certainty.AMBIGUOUS in (weight.ranks.float32.certainty, weight.ranks.float64.certainty)
    ]
    if open_ones:
        yield Advice(
            Level.OPEN,
            f"The rank of {count(len(open_ones), 'weight')} is too close to call",
            f"A singular value lies so near to a cut-off that rounding decides on which side: {some(open_ones)}.",
            ("Compute the rank over the rationals, which has no cut-off.",),
            (f"onnxnull analyze {_typed(report)} --exact",),
        )


def _by_shape(weights: Sequence[ChartWeight]) -> Iterator[Advice]:
    narrow = sorted((weight for weight in weights if weight.shape), key=lambda weight: -weight.shape / weight.inputs)
    if narrow:
        named = some([f"{weight.name} ({100 * weight.shape / weight.inputs:.3g} % of {weight.inputs:,})" for weight in narrow])
        yield Advice(
            Level.NOTE,
            f"{len(narrow):,} of {count(len(weights), 'weight')} narrow what they read",
            "They have fewer outputs than inputs, so they must drop something; that is how networks condense. "
            f"The most: {named}.",
        )
    elif weights and not any(weight.lost for weight in weights):
        yield Advice(Level.GOOD, "No weight has a kernel", "Every linear weight passes on all that it reads.")


def _typed(report: ModelReport) -> str:
    """The model as an argument of a command line."""
    return shlex.quote(words.printable(report.model.file))
