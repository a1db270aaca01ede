"""Collisions as text for people: what differs, what the network makes of it, and whether the claims hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnxnull.collision.output_change import best, classes
from onnxnull.collision.results import Change, Claim, Collision, Decision, Judgement, Kind, Run, Space, Steps
from onnxnull.collision.yardstick import TIMES
from onnxnull.fiber.walk import Stop
from onnxnull.report.words import shown

_WHERE = {
    Space.INPUT: "input",
    Space.ACTIVATION: "what reaches layer",
    Space.PATCHES: "patches of layer",
    Space.MATRIX: "inputs of layer",
}


def render(collision: Collision, labels: Sequence[str] | None = None) -> str:
    """One collision, in full."""
    lines = [*facts(collision), ""]
    for run in collision.runs:
        lines += [*_run(run, collision.kind, labels), ""]
    if collision.eight_bit is not None:
        found = collision.eight_bit
        lines.append(f"Rounded to 8 bits a channel, run at {found.precision}: {'; '.join(moved(c) for c in found.outputs)}")
        lines.append("")
    return "\n".join(lines)


def row(collision: Collision) -> str:
    """One collision of many, on a line."""
    kernel = "" if collision.nullity is None else f"{_interval(*collision.nullity)} of {collision.perturbation.entries:,}"
    runs = "   ".join(_short(run) for run in collision.runs)
    caveat = f"   ({collision.caveat})" if collision.space is Space.MATRIX and collision.caveat else ""
    return f"{shown(collision.where, 48):<48} {collision.op:<13} kernel {kernel:<22} {runs}{caveat}\n"


def trace_table(collision: Collision) -> str:
    """How the difference grows, tensor by tensor, the precisions side by side."""
    traced = [run for run in collision.runs if run.trace]
    if not traced:
        return ""
    steps = {run.precision: {step.tensor: step for step in run.trace} for run in traced}
    names = list(dict.fromkeys(step.tensor for run in traced for step in run.trace))
    width = min(48, max(len(shown(name, 48)) for name in names))
    head = f"{'tensor':<{width}}  {'op':<18}" + "".join(f"{p:>12}" for p in steps) + f"{'control':>12}"
    lines = ["max |Δ| from layer to layer", head]
    for name in names:
        there = [found.get(name) for found in steps.values()]
        op, control = next((step.op, step.control) for step in reversed(there) if step is not None)
        cells = "".join(f"{'-' if step is None else f'{step.max_abs:.2g}':>12}" for step in there)
        lines.append(f"{shown(name, width):<{width}}  {op:<18}{cells}{control:>12.2g}")
    return "\n".join(lines) + "\n"


def facts(collision: Collision) -> list[str]:
    """What collides, what reads it, and what was built."""
    made, size = collision.perturbation, "×".join(map(str, collision.original.shape))
    lines = [f"{shown(collision.source)} · {_WHERE[collision.space]} '{shown(collision.where)}' {size}"]
    if collision.nullity is not None:
        ignored = f"{_interval(*collision.nullity)} of {made.entries:,} dimensions"
        if collision.steps is not None and collision.space is not Space.INPUT:
            ignored += ", in whole codes without saturation"
        elif collision.steps is not None:
            ignored += f", in whole steps of its quantizer {shown(collision.steps.node)} without saturation"
        read = ", ".join(shown(node) for node in collision.readers) or "nothing"
        lines.append(f"Read through {read}, which cannot see {ignored}.")
    kind = "kernel vectors at the float64 cut-off"
    if collision.kind is Kind.FIBER:
        kind = "along a fibre"
        lines += _walk(collision)
    elif collision.kind is Kind.NEAR_KERNEL:
        kind = f"near-kernel directions, singular values up to {made.sigma:.2g}: this is no collision"
    elif collision.steps is not None:
        kind = _on_grid(collision.kind, collision.steps)
    toward = made.parameters.get("toward")
    pattern = f"Toward {shown(str(toward))}" if toward else f"Pattern '{made.pattern}'"
    lines.append(
        f"{pattern}, {kind}: ‖Δ‖₂ = {made.l2:.4g} (‖x‖₂ = {made.original:.4g}), max |Δ| = {made.linf:.3g}, "
        f"{made.changed:,} of {made.entries:,} entries changed; the control's ‖Δ‖₂ = {made.control:.4g}."
    )
    beta = made.parameters.get("beta")
    if beta is not None and collision.steps is None and made.pattern != "toward" and made.l2 < 0.999 * beta:
        lines.append(f"Note: the box has no room for ‖Δ‖₂ = {beta:.4g} in this direction.")
    if collision.caveat is not None:
        lines.append(f"Note: {collision.caveat}.")
    return lines


def _on_grid(kind: Kind, steps: Steps) -> str:
    """What the perturbation is, said of the quantizer."""
    step = f"{'dynamic ' if steps.dynamic else ''}steps of {steps.scale:.4g}"
    if kind is Kind.QUANTIZER_CELL:
        return f"quantizer-cell: {shown(steps.node)} rounds both to the same codes ({step}); no kernel is claimed"
    return f"an integer kernel vector, {steps.changed:,} codes changed by up to {steps.largest:,} {step}"


def _walk(collision: Collision) -> list[str]:
    """What stays equal, and how far the walk came."""
    made = collision.perturbation.parameters
    equal = ", ".join(f"'{shown(name)}'" for name in collision.readers)
    lines = [f"On one fibre of {equal}: {made.get('rows')} numbers stay equal, the Jacobian's rank is {made.get('rank')}."]
    share, stop = made.get("share"), made.get("stop")
    if isinstance(share, float | int):
        meaning = {each.label: each.meaning for each in Stop}.get(str(stop), shown(str(stop)))
        lines.append(f"{100 * share:.1f} % of the way in {made.get('steps')} steps; {meaning}.")
    return lines


def _run(run: Run, kind: Kind, labels: Sequence[str] | None) -> list[str]:
    lines = [f"{run.precision} on {run.session['provider']}: {run.verdict.label} ({meaning(run)})"]
    lines += [f"  {shown(note, 400)}" for note in run.notes]
    for check in run.layers:
        if kind is Kind.FIBER:
            lines.append(f"  '{shown(check.node)}': fibre claim {claim_words(check.kernel)}")
        else:
            lines.append(
                f"  {shown(check.node)}: kernel claim {claim_words(check.kernel)}; runtime claim {claim_words(check.runtime)}"
            )
    for change, control in zip(run.outputs, run.control, strict=True):
        lines.append(f"  {moved(change)}; the control moves it by {control.max_abs:.3g}{kept(control)}")
        lines += [f"    {measured(each, run)}" for each in run.judged if each.enters is None and each.name == change.name]
        lines += predictions(run, change.name, labels)
    for each in run.judged:
        if each.enters is not None:
            lines.append(f"  {moved(each.moved, 'into ' + each.enters)}; the control moves it by {each.control.max_abs:.3g}")
            lines.append(f"    {measured(each, run)}")
    return lines


def meaning(run: Run) -> str:
    """What the verdict of a run means; where it is broken or undecided why, and what to do."""
    return run.verdict.meaning if run.why is None else shown(run.why, 400)


def measured(each: Judgement, run: Run) -> str:
    """|Δ| held against the yardstick, and labels with their margins."""
    if each.noise_ratio is None:
        return "no floats: they have to be equal"
    parts = []
    if not each.bitwise:
        parts.append(f"{each.noise_ratio:.2g} times what rounding moves it (at most {TIMES:g})")
        parts.append(f"{each.scale_ratio:.2g} times what other inputs do (at most {run.tolerance:g})")
    parts.append(f"the control {each.control_noise_ratio:.2g} and {each.control_scale_ratio:.2g} times")
    parts += no_numbers(each)
    if each.margin is not None:
        ties = "" if not each.ties else f", {each.ties:,} {'tie' if each.ties == 1 else 'ties'} that rounding may turn"
        parts.append(f"labels lead by {each.margin:.3g} or more{ties}")
    return "; ".join(parts)


def no_numbers(each: Judgement) -> list[str]:
    """How many entries are NaN, or Inf, for both inputs."""
    found = (("NaN", each.nan), ("Inf", each.infinite))
    return [f"{count:,} {'entry' if count == 1 else 'entries'} {what} for both" for what, count in found if count]


def claim_words(claim: Claim) -> str:
    """Whether a claim holds, and by how much."""
    if claim.ratio is None:
        return f"not measured: {claim.reason}" if math.isnan(claim.value) else f"{claim.value:.2g}, no bound: {claim.reason}"
    if claim.bound is None:
        return f"BROKEN: {claim.reason}"
    if claim.bound == 0.0 and claim.value == 0.0:
        return "holds: 0, exactly"
    verb = "holds" if claim.holds else "BROKEN"
    return f"{verb}: {claim.value:.2g}, at most {claim.ratio:.2g} of what is allowed"


def moved(change: Change, what: str = "output") -> str:
    """ "logits: max |Δ| 1.5e-14 (relative 9.3e-16), top-1 and top-5 the same"."""
    name = f"{shown(what)} '{shown(change.name)}'"
    if change.bitwise:
        return f"{name}: the same to the last bit"
    relative = "" if change.relative is None else f", relative {change.relative:.2g}"
    ulps = "" if change.ulps is None else f", {change.ulps:.3g} ulps"
    return f"{name}: max |Δ| {change.max_abs:.3g}{relative}{ulps}{kept(change)}"


def kept(change: Change) -> str:
    """What became of the classes and the masks, " (in brackets)"; "" where the output has none."""
    parts = []
    if change.top1 is not None and change.top5 is not None:
        parts.append(f"top-1 {'the same' if change.top1 else 'another'}, top-5 {'the same' if change.top5 else 'others'}")
    if change.mask is not None:
        parts.append("masks the same" if change.mask == 1.0 else f"masks agree in {100 * change.mask:.2f} %")
    return f" ({'; '.join(parts)})" if parts else ""


def predictions(run: Run, output: str, labels: Sequence[str] | None) -> list[str]:
    """The best classes of the three inputs, a line for each; none where the output is no list of classes of one sample."""
    lines = []
    for who, array in zip(("original", "colliding", "control"), run.arrays[output], strict=True):
        found = classes(array)
        if found is None or len(found) != 1 or found.shape[1] > 100_000:
            return []
        top = ", ".join(f"{name_of(index, labels)} {score:.5g}" for index, score in best(found[0], 5))
        lines.append(f"    {who:<10}{top}")
    return lines


def name_of(index: int, labels: Sequence[str] | None) -> str:
    """The class's label, or its number."""
    return shown(labels[index], 40) if labels is not None and index < len(labels) else str(index)


def _short(run: Run) -> str:
    worst = max((change.max_abs for change in run.outputs), default=0.0)
    control = max((change.max_abs for change in run.control), default=0.0)
    layer = max((check.runtime.value for check in run.layers), default=0.0)
    mark = "" if run.verdict.decision is Decision.HOLDS else " !"
    return f"{run.precision} {run.verdict.label:<9}{mark} layer {layer:<8.2g} outputs {worst:<8.2g} control {control:<8.2g}"


def _interval(lower: int, upper: int) -> str:
    return f"{lower:,}" if lower == upper else f"{lower:,} to {upper:,}"
