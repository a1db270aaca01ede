"""The rules of the gate, in one table. To add one: write its check, add its line here and its page in docs/rules/.

Each page says what the rule means, why it matters, how to fix it and how to silence it. The ids are a contract.

What blocks by default (`error`) is what no healthy network shows: what is broken (NaN, weights of zeros, inputs that nothing
reads), what could not be checked, and what became worse than a baseline that somebody wrote on purpose. What trained networks
often show (a few dead filters, a rank below full, a stem that ignores part of the image by its shape) is a `warning`; what
nearly all of them show is a `note`. Limits depend on the architecture, so they are off until somebody sets them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from onnxnull.policy import constants, loading, network, regression, weights
from onnxnull.policy.evidence import Evidence
from onnxnull.policy.results import Found, Severity

NOTE, WARNING, ERROR = Severity.NOTE, Severity.WARNING, Severity.ERROR


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule.

    Attributes:
        severity: by default, once it is active.
        title: what it means, a clause.
        remedy: what to do, a clause.
        check: yields what it finds in a model.
        subjects: kinds of subjects it may name.
        needs: what makes it active: "" nothing, "limit", "baseline" or "run".
        largest: the largest sensible limit; None without a limit.
        firm: whether it can be neither softened nor silenced: nobody measured what an exception would accept.
        dated: whether an exception may silence it all the same, one that names its last day.
        incomplete: whether what it finds was not found out, so that the model is incomplete.
    """

    id: str
    severity: Severity
    title: str
    remedy: str
    check: Callable[[Evidence], Iterator[Found]]
    subjects: tuple[str, ...] = ("weight",)
    needs: str = ""
    largest: float | None = None
    firm: bool = False
    dated: bool = False
    incomplete: bool = False


def _of_the_policy(_: Evidence) -> Iterator[Found]:
    """The gate itself finds these (`exceptions.py`)."""
    return iter(())


_INPUT, _OUTPUT, _MODEL, _INFINITY = ("input",), ("output",), ("model",), float("inf")

_TABLE = (
    Rule(
        "not-analysed",
        ERROR,
        "a weight was not analysed",
        "export it as a supported operator, or give the shapes or the time that it needs",
        weights.not_analysed,
        ("node",),
        firm=True,
        incomplete=True,
    ),
    Rule(
        "nonfinite-weight",
        ERROR,
        "a weight holds NaN or Inf",
        "repair the training or the export of this weight",
        weights.nonfinite,
        ("node",),
        firm=True,
        incomplete=True,
    ),
    Rule(
        "nonfinite-constant",
        ERROR,
        "a constant beside the weights holds what none may hold",
        "repair the training, the export or the calibration of this constant",
        constants.nonfinite,
        ("node",),
        firm=True,
    ),
    Rule(
        "broken-output",
        ERROR,
        "an output is proved to be NaN or Inf for every input, or all outputs to be constant",
        "repair the constant that it begins with",
        constants.broken,
        _OUTPUT,
        firm=True,
    ),
    Rule(
        "load-refused",
        ERROR,
        "onnxruntime refuses the graph: names, types, shapes or attributes do not fit",
        "export it again, and create a session of what comes out before it is released",
        loading.refused,
        _MODEL,
        firm=True,
    ),
    Rule(
        "load-unknown",
        ERROR,
        "this onnxruntime has no such operator, operator set or kernel, so that nobody saw the model load",
        "check it with the onnxruntime that will run it, or accept it with a reason and a last day",
        loading.unknown,
        _MODEL,
        firm=True,
        dated=True,
        incomplete=True,
    ),
    Rule(
        "load-failed",
        ERROR,
        "no session could be created: a crash, a limit, no onnxruntime, or an error that is none of the graph's",
        "create a session of it with onnxruntime alone; `onnxnull doctor` says whether onnxruntime works here",
        loading.failed,
        _MODEL,
        firm=True,
        incomplete=True,
    ),
    Rule(
        "zero-weight",
        ERROR,
        "all entries of a weight are 0",
        "train the layer, or remove it",
        weights.zero,
    ),
    Rule(
        "unread-network-input",
        ERROR,
        "nothing reads an input of the network",
        "remove the input, or export the network again with what reads it",
        network.unread,
        _INPUT,
    ),
    Rule(
        "regression",
        ERROR,
        "a weight or an input is worse than in the baseline",
        "restore the weight, or accept the change with --write-baseline",
        regression.worse,
        ("weight", "input"),
        needs="baseline",
    ),
    Rule(
        "baseline-mismatch",
        ERROR,
        "the baseline does not fit the model",
        "check that it is the right baseline, then accept the change with --write-baseline",
        regression.mismatch,
        ("weight", "input", "model"),
        needs="baseline",
    ),
    Rule(
        "verified-collision",
        ERROR,
        "two inputs with one output were built, run and verified",
        "make the first layers injective (more outputs, smaller strides), or accept the risk with a reason",
        network.verified,
        _INPUT,
        needs="run",
    ),
    Rule(
        "broken-run",
        ERROR,
        "the model was run, and an output held NaN or no finite number, or all outputs stayed the same",
        "run it on inputs of its own (--data), then look for the first tensor that is so",
        constants.broken_runs,
        _OUTPUT,
        needs="run",
    ),
    Rule(
        "dead-outputs",
        WARNING,
        "outputs of a weight are 0 for every input",
        "prune them, or train the layer again",
        weights.dead,
    ),
    Rule(
        "duplicate-outputs",
        WARNING,
        "outputs of a weight equal earlier ones",
        "merge them, or train the layer again",
        weights.duplicate,
    ),
    Rule(
        "nearly-dead-outputs",
        WARNING,
        "outputs of a weight are below the float32 cut-off",
        "prune them, or lower the weight decay",
        weights.nearly_dead,
    ),
    Rule(
        "unread-inputs",
        WARNING,
        "no output of a weight reads some of its inputs",
        "remove what computes them, or train the layer again",
        weights.unread,
    ),
    Rule(
        "rank-deficient",
        WARNING,
        "a weight has a lower rank than its live inputs and outputs allow",
        "train with less weight decay, or replace the layer by two thinner ones",
        weights.rank_deficient,
    ),
    Rule(
        "ambiguous-rank",
        WARNING,
        "a singular value is too close to the cut-off to tell the rank",
        "check with --exact, or store the weight at the precision it was trained at",
        weights.ambiguous,
    ),
    Rule(
        "input-collisions",
        WARNING,
        "the network ignores a part of its input: inputs collide",
        "make the first layers injective (more outputs, smaller strides), or accept it with a reason",
        network.collisions,
        _INPUT,
    ),
    Rule(
        "kernel-energy",
        ERROR,
        "the network ignores more of the given inputs' energy than the limit",
        "make the first layers see what the data holds, or raise the limit",
        network.energy,
        _INPUT,
        needs="limit",
        largest=1.0,
    ),
    Rule(
        "kernel-weights",
        ERROR,
        "a larger share of the weights than the limit has a kernel (ν/n)",
        "widen the layers, or raise the limit",
        network.with_kernel,
        _MODEL,
        needs="limit",
        largest=1.0,
    ),
    Rule(
        "narrow-weights",
        ERROR,
        "a larger share of the weights than the limit has fewer outputs than inputs (μ/n)",
        "widen the layers, or raise the limit",
        network.narrow,
        _MODEL,
        needs="limit",
        largest=1.0,
    ),
    Rule(
        "total-nullity",
        ERROR,
        "the nullities of the weights sum to more than the limit",
        "widen the layers, or raise the limit",
        network.total_nullity,
        _MODEL,
        needs="limit",
        largest=_INFINITY,
    ),
    Rule(
        "constant-output",
        WARNING,
        "an output is the same for every input, others are not",
        "repair what it begins with, or remove the output",
        constants.constant,
        _OUTPUT,
    ),
    Rule(
        "unusual-constant",
        NOTE,
        "a constant holds NaN or Inf where few networks do, and nothing follows for the outputs",
        "look whether it is meant",
        constants.unusual,
        ("node",),
    ),
    Rule(
        "unread-weight",
        NOTE,
        "no output depends on a weight",
        "remove the layer, or export the network again with what reads it",
        weights.unreached,
    ),
    Rule(
        "rank-depends-on-cutoff",
        NOTE,
        "the rank of a weight differs between the float32 cut-off, the float64 cut-off and the rationals",
        "nothing, unless the weight is stored or run at a lower precision",
        weights.depends_on_cutoff,
    ),
    Rule(
        "input-undecided",
        NOTE,
        "collisions at an input are neither found nor excluded",
        "give open shapes with --input-shape; the finding says what else is in the way",
        network.undecided,
        _INPUT,
    ),
    Rule(
        "overridable-constants",
        NOTE,
        "stored constants are inputs as well, and a caller may replace them",
        "export with keep_initializers_as_inputs=False, or take them out of the graph's inputs",
        network.overridable,
        _MODEL,
    ),
    Rule(
        "expired-exception",
        ERROR,
        "an exception of the policy has expired, and what it accepted is still there",
        "fix the finding, or renew the exception with a new reason",
        _of_the_policy,
        ("exception",),
    ),
    Rule(
        "unused-exception",
        WARNING,
        "an exception of the policy matches nothing",
        "remove it, or correct its pattern",
        _of_the_policy,
        ("exception",),
    ),
)

RULES = {rule.id: rule for rule in _TABLE}
"""Rule's id → rule, in the order in which findings are shown."""
