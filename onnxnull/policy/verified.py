"""Build a collision at a model's input, run it, and see whether it holds: for the rule `verified-collision`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxnull.errors import Code, ExitCode, OnnxnullError

if TYPE_CHECKING:
    from onnxnull.collision.results import Collision
    from onnxnull.policy.run_request import RunRequest


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of it: a collision that held, or why there is none.

    Attributes:
        problem: why it could not be found out; then the check is incomplete.
    """

    collision: Collision | None = None
    note: str = ""
    problem: OnnxnullError | None = None


def attempt(request: RunRequest) -> Attempt:
    """From the first of the given inputs, or from random numbers, a random direction of the kernel (Definition 4)."""
    try:
        found = _search(request)
    except OnnxnullError as error:
        if error.exit_code is ExitCode.NOTHING:
            return Attempt(note=f"no collision was verified: {error.seen}")
        return Attempt(problem=error)
    if not found.holds:
        why = next(
            (f"{run.precision}: {run.why}" for run in found.runs if run.verdict.decision is found.decision), "nothing ran"
        )
        seen = f"a collision was built and is {found.decision.label} here, so nothing is verified: {why}"
        return Attempt(problem=OnnxnullError(Code.UNDECIDED, seen, "look at it with `onnxnull collide`"))
    return Attempt(collision=found)


def _search(request: RunRequest) -> Collision:
    from onnxnull.collision.cases import pixel_box
    from onnxnull.collision.perturb import Recipe
    from onnxnull.collision.search import Execution, Place, Search
    from onnxnull.runtime.precision import Precision
    from onnxnull.runtime.providers import choose

    case, boxes = request.cases[0], {}
    for described in request.model.inputs:
        if case.image is not None and (box := pixel_box(described, case.image)) is not None:
            boxes[described.name] = box
    execution = Execution(tuple(Precision(name) for name in request.settings.precisions), (choose(request.settings.provider),))
    search = Search(request.model.completed(case.arrays), Place(), execution, progress=request.progress)
    (collision,) = search.run(case, Recipe(box=boxes.get(search.input().name)))
    return collision
