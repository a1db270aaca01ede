"""Verify the collisions of an evidence bundle again, here and now, from the bundle and the model alone.

What counts is what is measured here. What the bundle says was measured is compared with it and never taken over.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnxnull.collision.results import Collision, Decision, Kind, Run, RunVerdict, Space
from onnxnull.collision.search import Execution, Place, Search
from onnxnull.collision.strategies.strategy import Method
from onnxnull.errors import Code, OnnxnullError
from onnxnull.evidence.contradictions import of_place, of_run, provider_of
from onnxnull.evidence.provenance import external_digests
from onnxnull.evidence.read_bundle import Record, RecordedCollision, Tensors, read_record, read_tensors
from onnxnull.evidence.recorded_run import RecordedRun
from onnxnull.evidence.untrusted_json import refuse
from onnxnull.graph.limits import Limits
from onnxnull.graph.model import Model, open_model
from onnxnull.machine import one_blas_thread
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.providers import Provider, choose

Progress = Callable[[str], None]
"""Called with what comes next."""
UNVERIFIED = ("source", "perturbation.pattern", "perturbation.parameters")
"""Fields of a collision that only the bundle knows: a report repeats them as its word."""
_REFUTES = (Code.INJECTIVE, Code.NOT_FOUND, Code.NOT_GUARANTEED, Code.LAYER)
"""What a search raises where there can be no such collision."""


@dataclass(frozen=True, slots=True, eq=False)
class Replayed:
    """One collision of a bundle, verified again.

    Attributes:
        name: its folder in the bundle; its source for a bundle of one.
        recorded: what the bundle says.
        collision: what was measured here; None where the model shows that there is no such collision.
        pairs: every run here, and the recorded one on the same provider at the same precision.
        objections: what speaks against the bundle's claims, in words.
        doubts: why it is undecided, in words: a run that shows nothing, here or in the record.
    """

    name: str
    recorded: RecordedCollision
    collision: Collision | None
    pairs: tuple[tuple[Run, RecordedRun | None], ...]
    objections: tuple[str, ...]
    doubts: tuple[str, ...] = ()

    @property
    def decision(self) -> Decision:
        """Broken where the collision is, here or in the record, or something speaks against what the bundle claims."""
        if self.collision is None or self.objections or self.collision.decision is Decision.BROKEN:
            return Decision.BROKEN
        return Decision.UNDECIDED if self.doubts else self.collision.decision

    @property
    def confirmed(self) -> bool:
        """Whether the collision holds here and nothing speaks against what the bundle claims."""
        return self.decision is Decision.HOLDS


@one_blas_thread()
def replay(
    folder: str | os.PathLike[str],
    model: str | os.PathLike[str] | None = None,
    *,
    providers: Sequence[Provider] | None = None,
    precisions: Sequence[Precision] | None = None,
    tolerances: Mapping[Precision, float] | None = None,
    limits: Limits | None = None,
    progress: Progress = lambda _: None,
) -> list[Replayed]:
    """Verify every collision of the bundle in `folder` against the model.

    1. All hashes, of the model, its external data and all arrays, are checked before anything runs.
    2. The site is rebuilt from the model, the claims are evaluated on the stored tensors, all inputs run again.
    3. A claim is confirmed where no run is broken or undecided, here or in the record, and none is weaker than recorded on
       the same provider at the same precision.

    Args:
        model: the .onnx file; None for the one with the bundle's hash: where it was, from the current folder, or of the same
            name in the bundle's folder or beside it.
        providers, precisions: what to run on and at; None for what the bundle was made with.
        tolerances: τ of every precision; the bundle has no say in it, nor in the limits. None for the usual ones.
        limits: what the files may ask of this machine.

    Raises:
        OnnxnullError: `evidence` where the bundle cannot be trusted; what opening and running the model raises.
    """
    folder, limits = Path(folder), limits or Limits()
    progress("reading the bundle")
    record = read_record(folder)
    opened = open_model(_model_path(folder, record, model), limits=limits, sha256=record.sha256)
    _check_external(opened, record)
    for recorded in record.collisions:
        read_tensors(folder, recorded, limits.constant_bytes)
    execution = Execution(
        tuple(precisions or record.precisions),
        tuple(providers or record.providers),
        tolerances=tolerances or {},
    )
    for provider in execution.providers:
        choose("cuda" if provider is Provider.CUDA else "cpu")
    searches = _Searches(opened, record, execution, progress)
    everything = precisions is None and providers is None
    return [
        _again(recorded, read_tensors(folder, recorded, limits.constant_bytes), searches, everything)
        for recorded in record.collisions
    ]


class _Searches:
    """Searches in one model, the last one kept: neighbours in a bundle often share their place."""

    def __init__(self, model: Model, record: Record, execution: Execution, progress: Progress) -> None:
        self._model, self._record, self._execution, self._progress = model, record, execution, progress
        self._kept: tuple[tuple[Place, Method, Mapping[str, Sequence[int]]], Search] | None = None

    def of(self, recorded: RecordedCollision, tensors: Tensors) -> Search:
        """The search that finds this collision's site. Raises `OnnxnullError`."""
        place = Place(input=recorded.where)
        if recorded.space is not Space.INPUT:
            place = Place(layer=recorded.where, patches=recorded.space is not Space.ACTIVATION, weight=recorded.weight)
        shapes: dict[str, Sequence[int]] = {name: array.shape for name, array in tensors.others.items()}
        if recorded.space is Space.INPUT:
            shapes[recorded.where] = tensors.original.shape
        shapes |= self._record.input_shapes
        method = Method(recorded.kind, recorded.readers if recorded.kind is Kind.FIBER else ())
        key = place, method, shapes
        if self._kept is None or self._kept[0] != key:
            search = Search(self._model.at(shapes), place, self._execution, method=method, progress=self._progress)
            self._kept = key, search
        return self._kept[1]


def _model_path(folder: Path, record: Record, model: str | os.PathLike[str] | None) -> Path:
    """The model that is named; else, of the files where it may be, the one with its hash."""
    if model is not None:
        return Path(model)
    recorded = Path(os.fsdecode(record.file.encode()))
    places = recorded, folder / recorded.name, folder.resolve().parent / recorded.name
    found = list({path.resolve(): path for path in reversed(places) if path.is_file()}.values())[::-1]
    if not found:
        seen = f"no file {record.file!r}, and none of its name in the bundle or beside it"
        raise OnnxnullError(Code.FILE_NOT_FOUND, seen, "name the model: onnxnull replay BUNDLE MODEL")
    if len(found) == 1:
        return found[0]
    return next((path for path in found if _has_hash(path, record.sha256)), found[0])


def _has_hash(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False  # where no other is the model, opening it says why


def _check_external(model: Model, record: Record) -> None:
    """Whether the external data is that of the bundle. Raises `OnnxnullError`."""
    external = external_digests(model)
    for location, digest in external.items():
        if record.external.get(location) != digest:
            refuse(f"external data {location!r} is not the file that the bundle was made with: its SHA-256 differs")
    if set(external) != set(record.external):
        refuse("the bundle lists external data that the model does not have")


def _again(recorded: RecordedCollision, tensors: Tensors, searches: _Searches, everything: bool) -> Replayed:
    name = recorded.folder or recorded.source
    three = tensors.original, tensors.colliding, tensors.control
    try:
        search = searches.of(recorded, tensors)
        found = search.verify_pair(recorded.source, three, tensors.others, recorded.perturbation)
    except OnnxnullError as error:
        if error.code in _REFUTES:
            return Replayed(name, recorded, None, (), (f"[{error.code.code}] {error.seen}",))
        if error.code in (Code.DATA, Code.INPUT_SHAPE):
            refuse(f"the tensors of {name!r} do not fit the model: {error.seen}")
        raise
    pairs, left = _paired(found.runs, recorded.runs)
    if np.array_equal(tensors.control, tensors.original):
        refuse(f"the control of {name!r} is the original")
    objections = [*of_place(recorded, found), *(o for run, said in pairs if said is not None for o in of_run(run, said))]
    if everything:
        runs = [run for run, said in pairs if said is None]
        objections += [f"{run.precision} on {provider_of(run)} is not recorded" for run in runs]
        objections += [f"{said.precision} on {said.provider} is recorded and did not run" for said in left]
    doubts = [doubt for run, said in pairs for doubt in _doubts(run, said)]
    doubts += [_not_run(said) for said in left if not everything and said.verdict.decision is not Decision.HOLDS]
    return Replayed(name, recorded, found, tuple(pairs), tuple(objections), tuple(doubts))


def _doubts(run: Run, said: RecordedRun | None) -> Iterator[str]:
    where = f"{run.precision} on {provider_of(run)}"
    if run.verdict is RunVerdict.UNDECIDED:
        yield f"{where}: {run.why}"
        if said is not None and said.tolerance > run.tolerance:
            yield f"{where}: it was recorded at --tolerance {run.precision}={said.tolerance:g}, here it is {run.tolerance:g}"
    elif said is not None and said.verdict is RunVerdict.UNDECIDED:
        yield f"{where}: recorded as undecided"


def _not_run(said: RecordedRun) -> str:
    return f"{said.precision} on {said.provider}: recorded as {said.verdict.label}, and it did not run here"


def _paired(
    runs: Sequence[Run], recorded: Sequence[RecordedRun]
) -> tuple[list[tuple[Run, RecordedRun | None]], list[RecordedRun]]:
    """Each run with the recorded one like it, and the recorded ones that are left."""
    left = list(recorded)
    pairs: list[tuple[Run, RecordedRun | None]] = []
    for run in runs:
        key = run.precision, provider_of(run)
        said = next((each for each in left if (each.precision, each.provider) == key), None)
        if said is not None:
            left.remove(said)
        pairs.append((run, said))
    return pairs, left
