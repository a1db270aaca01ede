"""Colliding adversarial examples (paper, Eq. 7, as x' + βφ): one is found, then kernel perturbations of it keep the output.

(The equation as printed adds x' twice.) The perturbations are built and verified as every collision, inside the ball of the
attack: what collides is within the same ε of the clean input, and in the same range.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.attack.asma import Asma, intersection_over_union
from onnxnull.attack.ball import Ball, Norm
from onnxnull.attack.pgd import MARGIN, AttackResult, Pgd
from onnxnull.collision.cases import Case
from onnxnull.collision.invariant_tensors import default_equal
from onnxnull.collision.output_change import compare
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.results import Collision
from onnxnull.collision.search import Execution, Place, Progress, Search
from onnxnull.errors import Code, OnnxnullError
from onnxnull.gradient import Function
from onnxnull.graph.model import GraphInput, Model
from onnxnull.runtime.precision import Precision

if TYPE_CHECKING:
    from onnxnull.kernel.maps.linear_map import Array

_TRIES = 4
"""Seeds that are tried for every colliding example that is wanted."""
_SAME = 1e-3
"""Two examples nearer than this to each other (rms, in units of `Ball.typical`) count once: small boxes have few corners."""
_REMEDIES = {
    Code.NOT_FOUND: "raise --epsilon, or ask for another one: --seed",
    Code.INJECTIVE: "`onnxnull collide` looks further inside: --layer NAME, --layer all, or --space patches",
    Code.NOT_GUARANTEED: "`onnxnull collide` looks at single layers: --layer NAME or --layer all",
}
"""Where a collision's search says what to do, by options that an attack does not have."""


@dataclass(frozen=True, slots=True, eq=False)
class Attacked:
    """A clean input, the adversarial example, and what collides with it.

    Attributes:
        case: the clean input.
        ball: what the attack may do.
        method: "pgd", "asma" or "given".
        clean, adversarial: scores, of the float32 network.
        collisions: original = the adversarial example, colliding = x' + φ.
        repeated: scores of what collides.
    """

    case: Case
    ball: Ball
    method: str
    found: AttackResult
    clean: Array
    adversarial: Array
    collisions: tuple[Collision, ...]
    repeated: tuple[Array, ...]

    def rms(self) -> list[float]:
        """Of every perturbation φ, in units of `Ball.typical`."""
        return [self.ball.rms(each.colliding, each.original) / self.ball.typical for each in self.collisions]

    def apart(self) -> float:
        """The least distance (rms, in units of `Ball.typical`) between two of the colliding examples; inf for fewer."""
        points = [each.colliding for each in self.collisions]
        pairs = [self.ball.rms(a, b) for i, a in enumerate(points) for b in points[:i]]
        return min(pairs, default=float("inf")) / self.ball.typical

    def distances(self) -> list[float]:
        """Of every colliding example from the clean input, in the norm of the attack and in units of the range."""
        return [self.ball.length(each.colliding) for each in self.collisions]


class AttackSearch:
    """A model prepared for attacks.

    Args:
        scores: the tensor with a score a class; None for the first output, or its logits where a Softmax follows.

    Raises:
        OnnxnullError: as `Search`, and `no-gradient`.
    """

    def __init__(
        self,
        model: Model,
        execution: Execution,
        *,
        scores: str | None = None,
        input: str | None = None,
        progress: Progress = lambda _: None,
    ) -> None:
        self.search = Search(model, Place(input=input), execution, progress=progress)
        self._progress = progress
        self._source = model.parsed.whole
        self.scores = self._default_scores() if scores is None else scores
        self._functions: dict[tuple[tuple[str, tuple[int, ...]], ...], Function] = {}

    def input(self) -> GraphInput:
        """The input that changes. Raises `OnnxnullError` as `Search.input` where there is none."""
        with self._remedies():
            return self.search.input()

    def run(
        self,
        case: Case,
        box: tuple[Array, Array] | None,
        *,
        attack: Pgd | Asma | None,
        norm: Norm = Norm.LINF,
        epsilon: float,
        target: np.ndarray | None = None,
        adversarial: Case | None = None,
        label: int | None = None,
        count: int = 5,
        seed: int = 0,
    ) -> Attacked:
        """Attack one input, then find `count` inputs that collide with what was found.

        Args:
            box: the range of the input.
            attack: None where the adversarial example is given.
            epsilon: in units of the range.
            target: the mask that is wanted, for `Asma`.
            adversarial: an example made elsewhere.
            label: the class of the clean input; None for what the network says.

        Raises:
            OnnxnullError: `not-found` where the attack fails, what is given is not adversarial, or fewer examples collide than
                were wanted; `injective` and others as `Search.run`; `data` where something does not fit; `runtime` where scores
                hold NaN or Inf.
        """
        name = self.input().name
        centre = self.search.stored(name, case.arrays[name])
        ball = Ball.around(centre, norm, epsilon, box)
        scores = self._function({**case.arrays, name: centre}, name)
        clean = self._finite(scores.value(centre), "the clean input")
        if attack is None:
            assert adversarial is not None, "something to start from"
            found = self._given(self.search.stored(name, adversarial.arrays[name]), ball)
        elif isinstance(attack, Asma):
            if target is None or clean.ndim != 4 or clean.shape[0] != 1 or clean.shape[2:] != target.shape:
                shown = None if target is None else target.shape
                raise OnnxnullError(Code.DATA, f"a target mask of shape {shown} for scores of shape {clean.shape}")
            if target.min() < 0 or target.max() >= clean.shape[1]:
                raise OnnxnullError(Code.DATA, f"the target mask names labels beyond the {clean.shape[1]} of the network")
            found = attack.run(scores, ball, target, lambda what: self._progress(f"ASMA, {what}"))
        else:
            if clean.size < 2 or clean.size != max(clean.shape):
                shape = "×".join(map(str, clean.shape))
                seen = f"{self.scores!r} has shape {shape}, and PGD takes a list of class scores, of one sample"
                raise OnnxnullError(Code.DATA, seen, "name it: --scores; a map of scores a class is for --attack asma")
            if attack.target is not None and attack.target >= clean.size:
                seen = f"there is no class {attack.target} among the {clean.size} scores of {self.scores!r}"
                raise OnnxnullError(Code.DATA, seen, f"give a --target from 0 to {clean.size - 1}, or other --scores")
            own = int(clean.argmax()) if label is None else label
            if attack.target == own:
                raise OnnxnullError(Code.DATA, f"class {own} is the clean input's own", "give another --target")
            rng = np.random.default_rng([seed, 3])
            found = attack.run(scores, ball, own, rng, lambda what: self._progress(f"PGD, {what}"))
        method = "given" if attack is None else "asma" if isinstance(attack, Asma) else "pgd"
        found = replace(found, x=self.search.stored(name, found.x))
        after = self._finite(scores.value(found.x), "the adversarial example" if found.succeeded else "what the attack came to")
        if not found.succeeded:
            seen = f"{method} found no adversarial example in {found.steps} steps: {_reached(attack, found)}"
            raise OnnxnullError(Code.NOT_FOUND, seen, "raise --epsilon or --steps")
        if _same_prediction(clean, after, label):
            what, remedy = "what is given", "give an example that changes the prediction, or let --attack find one"
            if attack is not None:
                what, remedy = f"what {method} came to", "want something else than the network says already"
            seen = f"{what} is no adversarial example: {self.scores!r} says of it what is said of the clean input"
            raise OnnxnullError(Code.NOT_FOUND, seen, remedy)
        start = Case(case.source, {**case.arrays, name: found.x})
        collisions = self._collisions(start, ball, count, seed, method)
        repeated = tuple(scores.value(each.colliding) for each in collisions)
        return Attacked(case, ball, method, found, clean, after, tuple(collisions), repeated)

    def _finite(self, scores: Array, of: str) -> Array:
        if not np.all(np.isfinite(scores)):
            seen = f"{self.scores!r} holds NaN or Inf for {of}: nothing is ahead of that, or behind"
            raise OnnxnullError(Code.RUNTIME, seen, "start from another input, or name other scores: --scores")
        return scores

    def _default_scores(self) -> str:
        try:
            return default_equal(self._source)[0][0]
        except OnnxnullError as error:
            raise OnnxnullError(error.code, error.seen, "name the class scores: --scores") from None

    @contextmanager
    def _remedies(self) -> Iterator[None]:
        """What to do about a collision that is not found, in options of an attack."""
        try:
            yield
        except OnnxnullError as error:
            if error.remedy != error.code.remedy or error.code not in _REMEDIES:
                raise
            raise OnnxnullError(error.code, error.seen, _REMEDIES[error.code]) from None

    def _collisions(self, start: Case, ball: Ball, count: int, seed: int, method: str) -> list[Collision]:
        made: list[Collision] = []
        for number in range(_TRIES * count):
            if len(made) == count:
                return made
            self._progress(f"colliding example {len(made) + 1} of {count}")
            recipe, toward = self._recipe(start, ball, seed + number)
            with self._remedies():
                (found,) = self.search.run(start, recipe, toward)
            length = ball.length(found.colliding)
            again = any(ball.rms(found.colliding, each.colliding) <= _SAME * ball.typical for each in made)
            if again or length > ball.epsilon * (1 + 1e-6):
                continue
            facts = {"attack": method, "norm": ball.norm.value, "attack_epsilon": ball.epsilon, "attack_length": length}
            changed = replace(found.perturbation, parameters={**found.perturbation.parameters, **facts})
            made.append(replace(found, perturbation=changed))
        if len(made) < count:
            seen = f"{len(made)} of {count} different colliding examples were found within ε"
            raise OnnxnullError(Code.NOT_FOUND, seen, "raise --epsilon, or ask for fewer: --count")
        return made

    def _recipe(self, start: Case, ball: Ball, seed: int) -> tuple[Recipe, Case | None]:
        """As far as the ball allows in a random direction of the kernel.

        For L2 the part of the attack that the first layers do not see is taken back, which makes room in the ball, and a random
        one put in its place: together with the rest, which is orthogonal to it, no longer than ε.
        """
        name = self.input().name
        box = ball.lower, ball.upper
        if ball.norm is Norm.LINF:
            return Recipe(seed=seed, box=box, largest=True), None
        back = Recipe(pattern="toward", box=box)
        with self._remedies():
            (bare,) = self.search.run(start, back, Case("the clean input", {**start.arrays, name: ball.centre}))
        room = max(0.0, ball.epsilon**2 - ball.length(bare.colliding) ** 2) ** 0.5
        noise = np.random.default_rng([seed, 4]).standard_normal(ball.centre.shape)
        wish = ball.centre + 0.999 * room / float(np.linalg.norm(noise)) * noise * ball.scale
        return replace(back, seed=seed), Case("a random input nearby", {**start.arrays, name: wish})

    def _given(self, x: Array, ball: Ball) -> AttackResult:
        """An example made elsewhere, which has to be within ε and the range."""
        if x.shape != ball.centre.shape:
            raise OnnxnullError(Code.DATA, f"the adversarial example has shape {x.shape}, the input {ball.centre.shape}")
        length = ball.length(x)
        if length > ball.epsilon * (1 + 1e-3):
            seen = f"the adversarial example is {length:.4g} from the input, more than ε = {ball.epsilon:.4g}"
            raise OnnxnullError(Code.DATA, seen, "give its own --epsilon and --norm, and the input that it was made from")
        return AttackResult(ball.inside(x), 0, True, float("nan"))

    def _function(self, arrays: Mapping[str, np.ndarray], name: str) -> Function:
        """The scores in float32, for inputs of these shapes; sessions are made once."""
        key = tuple((other, np.shape(array)) for other, array in arrays.items())
        if key not in self._functions or len(arrays) > 1:
            self._progress("differentiating the model")
            self._functions[key] = Function(self._source, arrays, output=self.scores, input=name, precision=Precision.FLOAT32)
        return self._functions[key]


def _reached(attack: Pgd | Asma | None, found: AttackResult) -> str:
    if isinstance(attack, Asma):
        return f"the masks' intersection over union is {found.score:.3g}, and not {attack.overlap:g}"
    return f"the wanted class leads by {found.score + 0.0:.3g} of the largest score, and not by more than {MARGIN:g}"


def _same_prediction(clean: Array, after: Array, label: int | None) -> bool:
    """Whether scores predict the same: the class of every sample, or its mask. A `label` stands for the class of `clean`."""
    change = compare("", clean, after)
    if change.mask is not None:
        return change.mask == 1.0
    if clean.size == max(clean.shape, default=1):
        return int(after.argmax()) == (int(clean.argmax()) if label is None else label)
    axis = 1 if clean.ndim == 4 else -1
    return np.array_equal(clean.argmax(axis=axis), after.argmax(axis=axis))


def overlap(scores: Array, target: np.ndarray) -> float:
    """Of the mask that scores (1, classes, height, width) give with a target."""
    return intersection_over_union(scores[0].argmax(axis=0), target)
