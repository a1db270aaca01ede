"""Build a collision at a model's input, run it, and see whether it holds: for the rule `verified-collision`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnxnull.errors import Code, ExitCode, OnnxnullError

if TYPE_CHECKING:
    from onnxnull.collision.results import Collision
    from onnxnull.graph.limits import Limits
    from onnxnull.inputs import Preprocessing
    from onnxnull.policy.config import RunSettings


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of it: a collision that held, or why there is none.

    Attributes:
        problem: why it could not be found out; then the check is incomplete.
    """

    collision: Collision | None = None
    note: str = ""
    problem: OnnxnullError | None = None


def attempt(
    path: str,
    settings: RunSettings,
    *,
    data: tuple[Path, Preprocessing] | None,
    input_shapes: Mapping[str, Sequence[int]],
    limits: Limits | None,
    progress: Callable[[str], None],
) -> Attempt:
    """From the first of the given inputs, or from random numbers, a random direction of the kernel (Definition 4)."""
    try:
        found = _search(path, settings, data, input_shapes, limits, progress)
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


def _search(
    path: str,
    settings: RunSettings,
    data: tuple[Path, Preprocessing] | None,
    input_shapes: Mapping[str, Sequence[int]],
    limits: Limits | None,
    progress: Callable[[str], None],
) -> Collision:
    from onnxnull.collision import cases
    from onnxnull.collision.perturb import Recipe
    from onnxnull.collision.search import Execution, Place, Search
    from onnxnull.graph.model import open_model
    from onnxnull.runtime.precision import Precision
    from onnxnull.runtime.providers import choose

    shapes = dict(input_shapes)
    inputs = open_model(path, input_shapes=shapes, limits=limits).inputs
    boxes = {}
    if data is None:
        case = cases.random_case(inputs, 0, {})
    else:
        case = cases.load_cases(data[0], inputs, data[1])[0]
        if case.image is not None:
            found = {described.name: cases.pixel_box(described, data[1]) for described in inputs}
            boxes = {name: box for name, box in found.items() if box is not None}
    for described in inputs:
        if described.shape is None or None in described.shape:
            shapes[described.name] = case.arrays[described.name].shape
    execution = Execution(tuple(Precision(name) for name in settings.precisions), (choose(settings.provider),))
    search = Search(path, Place(), execution, shapes=shapes, limits=limits, progress=progress)
    (collision,) = search.run(case, Recipe(box=boxes.get(search.input().name)))
    return collision
