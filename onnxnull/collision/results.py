"""What a collision is and what was found out about it: the result objects of `onnxnull.collision`."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxnull.collision.merging import Merged
from onnxnull.errors import ExitCode
from onnxnull.kernel.maps.linear_map import Array


class Kind(enum.Enum):
    """What the perturbation is made of."""

    KERNEL = "kernel"
    """Kernel vectors at the float64 cut-off: a collision."""
    NEAR_KERNEL = "near-kernel"
    """Directions with singular values between the float64 and the float32 cut-off: no collision."""
    QUANTIZER_CELL = "quantizer-cell"
    """Two inputs that a quantizer rounds to the same codes: what it hides, whatever the layers behind it are."""
    FIBER = "fiber"
    """A point of the fibre of chosen tensors, behind which the network computes the same: a collision of the network."""


class Space(enum.Enum):
    """Whose inputs collide."""

    INPUT = "input"
    """The network's."""
    ACTIVATION = "activation"
    """One layer's, as the network hands them to it."""
    PATCHES = "patches"
    """One layer's unfolded patches, each on its own (the paper's domain; where patches overlap, no image has them)."""
    MATRIX = "matrix"
    """One weight's, v → vᵀW outside of the network: rows of a layer that cannot be cut out of it."""


class Decision(enum.Enum):
    """What a run shows, a collision, a bundle: the exit code follows from it and from nothing else → (name, exit code)."""

    HOLDS = ("holds", ExitCode.PASS)
    """The claims hold, outputs move by no more than the yardstick allows, and a control moves them."""
    BROKEN = ("broken", ExitCode.VIOLATED)
    """A claim fails, or an output moves by more than rounding does."""
    UNDECIDED = ("undecided", ExitCode.INCOMPLETE)
    """Nothing fails, and nothing is shown: rounding drowns what is claimed, or no control moves anything."""

    def __init__(self, label: str, exit_code: ExitCode) -> None:
        self.label = label
        self.exit_code = exit_code

    @classmethod
    def of(cls, parts: Iterable[Decision]) -> Decision:
        """Of one collision with several runs: broken where one is broken, else undecided where one is; without runs too."""
        found = set(parts)
        if not found:
            return cls.UNDECIDED
        return next(each for each in (cls.BROKEN, cls.UNDECIDED, cls.HOLDS) if each in found)


class RunVerdict(enum.Enum):
    """What running both inputs at one precision showed → (name, what it means, what it decides)."""

    BITWISE = ("bitwise", "every output is the same to the last bit", Decision.HOLDS)
    ROUNDING = ("rounding", "outputs differ, and the layers' outputs by no more than rounding allows", Decision.HOLDS)
    EQUAL = ("equal", "what stays equal along the fibre is, within what the claim allows at this precision", Decision.HOLDS)
    UNBOUNDED = (
        "unbounded",
        "the kernel claim holds; no rounding bound applies to how the layer was computed here",
        Decision.HOLDS,
    )
    NEAR = (
        "near",
        "no collision: the perturbation moves the layer by what its small singular values let through",
        Decision.HOLDS,
    )
    UNDECIDED = ("undecided", "no claim fails, and this run shows nothing", Decision.UNDECIDED)
    BROKEN = ("broken", "a claim does not hold, or an output moves by more than rounding does", Decision.BROKEN)

    def __init__(self, label: str, meaning: str, decision: Decision) -> None:
        self.label = label
        self.meaning = meaning
        self.decision = decision


@dataclass(frozen=True, slots=True)
class Claim:
    """Numbers that a bound allows, entry by entry.

    Attributes:
        value: the largest of them.
        bound: what is allowed at the entry that comes nearest to its bound, or exceeds it most; None where no bound applies.
        ratio: the largest quotient of a number and its bound (0/0 = 0); None where no bound applies. A kernel claim without
            one is refused: nothing was shown, and its run is undecided.
        reason: why no bound applies; None where one does.
    """

    value: float
    bound: float | None
    ratio: float | None
    reason: str | None = None

    @property
    def holds(self) -> bool | None:
        """Whether every number is within its bound; None where no bound applies."""
        return None if self.ratio is None else self.ratio <= 1.0


@dataclass(frozen=True, slots=True)
class LayerCheck:
    """One layer that reads the perturbed tensor (design §4).

    Attributes:
        kernel: r = |(x₁ − x₀)ᵀW| is no more than representing x₁ costs.
        runtime: what ran moved the layer's output by no more than r and the rounding of both evaluations.
    """

    node: str
    kernel: Claim
    runtime: Claim


@dataclass(frozen=True, slots=True)
class Change:
    """How far two runs are apart in one output.

    Attributes:
        max_abs: max |y₁ − y₀|; NaN where one of them has a NaN or Inf that the other has not.
        relative: max_abs / max |y₀|; None where y₀ is 0.
        ulps: the largest number of floats of the output's type between two entries; None for integers.
        top1, top5: whether the (set of the) best classes of every sample is the same; None where the output is no list of
            classes.
        mask: share of positions whose label is the same, for an output with a map per class; None elsewhere.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bitwise: bool
    max_abs: float
    relative: float | None
    ulps: float | None
    top1: bool | None
    top5: bool | None
    mask: float | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """One output held against its yardstick (`onnxnull.collision.yardstick`), or what enters a flat operator before it.

    Attributes:
        enters: the operator that the tensor enters; None for an output of the network or of the layer.
        moved, control: from the original to the colliding input, and to the control.
        seen: whether the control moves it.
        why: why it is broken or undecided, and what to do; None where it holds.
        noise, scale: of the entry that moves most, relative to each; None for what holds no floats or has another shape.
        noise_ratio, scale_ratio: the largest |Δ| in units of the entry's noise, and of its scale (0/0 = 0).
        control_noise_ratio, control_scale_ratio: the same for the control.
        margin: of labels that are derived from it, the least by which a best score leads; None where it has no labels.
        ties: labels whose margin rounding may turn; relabelled: others, that are not the same.
        nan, infinite: entries that are NaN, or the same infinity, for both inputs; they show nothing.
    """

    name: str
    enters: str | None
    moved: Change
    control: Change
    decision: Decision
    seen: bool
    why: str | None = None
    noise: float | None = None
    scale: float | None = None
    noise_ratio: float | None = None
    scale_ratio: float | None = None
    control_noise_ratio: float | None = None
    control_scale_ratio: float | None = None
    margin: float | None = None
    ties: int | None = None
    relabelled: int | None = None
    nan: int = 0
    infinite: int = 0

    @property
    def bitwise(self) -> bool:
        """Whether the pair gives the same to the last bit."""
        return self.moved.bitwise


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Both inputs and the control at one precision on one provider.

    Attributes:
        precision: the one that executed.
        session: the provider, its options, versions, what was lowered.
        layers: the claims, layer by layer.
        outputs: from the original to the colliding input.
        control: from the original to the control.
        arrays: output → (original, colliding, control).
        trace: filled on request.
        judged: every output, and what enters the last flat operators.
        tolerance: τ, of an output's scale.
        why: why it is broken or undecided, and what to do, in a line; None where it holds.
        notes: what the reader should know of how it ran, a line each.
        merged: what rounding makes the same on the way to what multiplies it.
    """

    precision: str
    session: Mapping[str, Any]
    layers: tuple[LayerCheck, ...]
    outputs: tuple[Change, ...]
    control: tuple[Change, ...]
    verdict: RunVerdict
    arrays: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = field(repr=False)
    trace: tuple[TraceStep, ...] = ()
    judged: tuple[Judgement, ...] = ()
    tolerance: float = 0.0
    why: str | None = None
    notes: tuple[str, ...] = ()
    merged: Merged = field(default_factory=Merged)


@dataclass(frozen=True, slots=True)
class TraceStep:
    """How far apart the two runs are in one tensor on the way to the outputs (paper, Section 6)."""

    tensor: str
    op: str
    max_abs: float
    relative: float | None
    control: float


@dataclass(frozen=True, slots=True)
class Perturbation:
    """x₁ − x₀ in numbers, in the units of the tensor.

    Attributes:
        pattern: "repeat", "patches", "betas", "random" or "toward".
        parameters: what it was made with: seed, beta, epsilon, box, region, ...
        original: ‖x₀‖₂.
        changed: entries that differ, of `entries`.
        sigma: the largest singular value that it runs along; 0 for a kernel.
        control: ‖control − x₀‖₂.
    """

    pattern: str
    parameters: Mapping[str, Any]
    l2: float
    linf: float
    original: float
    changed: int
    entries: int
    sigma: float
    control: float

    @classmethod
    def measured(
        cls,
        pattern: str,
        parameters: Mapping[str, Any],
        original: Array,
        colliding: Array,
        control: Array,
    ) -> Perturbation:
        """The numbers of x₀, x₁ and the control, made by this pattern with these parameters; sigma is that of a kernel."""
        moved = colliding - original
        return cls(
            pattern=pattern,
            parameters=parameters,
            l2=float(np.linalg.norm(moved)),
            linf=float(np.abs(moved).max()),
            original=float(np.linalg.norm(original)),
            changed=int(np.count_nonzero(moved)),
            entries=moved.size,
            sigma=0.0,
            control=float(np.linalg.norm(control - original)),
        )


@dataclass(frozen=True, slots=True)
class Steps:
    """A perturbation on the grid of the quantizer that rounds the input first.

    Attributes:
        node: the quantizer.
        dynamic: whether it computed its scale and zero point from the input; these are those of the original, and stay.
        low, high: the range of codes; none of those that change is beyond it.
        changed: codes that differ. largest: by how many steps at most; both 0 inside the cells.
    """

    node: str
    dynamic: bool
    scale: float
    zero_point: int
    low: int
    high: int
    changed: int
    largest: int


@dataclass(frozen=True, slots=True)
class EightBit:
    """The colliding image rounded to 8 bits a channel and run again: what is left of the collision.

    Attributes:
        rounded: the largest step of rounding, in units of 1/255 of the range.
        precision: the one that it ran at.
        outputs: from the original image to the rounded one.
    """

    rounded: float
    precision: str
    outputs: tuple[Change, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Collision:
    """Two inputs of a network, or of a layer of it, that differ and collide.

    Attributes:
        source: what the original was made from: a file, or "random".
        where: the input's or the layer's name.
        weight: the layer's weight; "" for an input.
        op: of the layer; "" for an input.
        readers: nodes whose kernel the perturbation lies in; of a fibre, the tensors that are equal.
        nullity: bounds on the dimension of that kernel.
        original, colliding, control: float64; runs at a lower precision round them.
        others: the network's other inputs.
        caveat: what the reader should know of where this was done.
        steps: on the grid of a quantizer; None where there is none.
    """

    source: str
    space: Space
    where: str
    weight: str
    op: str
    readers: tuple[str, ...]
    nullity: tuple[int, int] | None
    kind: Kind
    perturbation: Perturbation
    original: Array = field(repr=False)
    colliding: Array = field(repr=False)
    control: Array = field(repr=False)
    others: Mapping[str, np.ndarray] = field(repr=False)
    runs: tuple[Run, ...]
    eight_bit: EightBit | None = None
    caveat: str | None = None
    steps: Steps | None = None

    @property
    def decision(self) -> Decision:
        """Of all runs together."""
        return Decision.of(run.verdict.decision for run in self.runs)

    @property
    def holds(self) -> bool:
        """Whether every run holds: none is broken, none undecided."""
        return self.decision is Decision.HOLDS
