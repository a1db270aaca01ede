"""Read collision.json and the arrays of a bundle as files from a stranger: types, sizes, paths, hashes, contradictions.

What is read here are claims. Nothing of it counts as measured (see `replay`); `contradictions` compares it with what is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxnull.collision.results import Decision, Kind, Perturbation, Space
from onnxnull.errors import Code, OnnxnullError, one_line
from onnxnull.evidence.arrays import MalformedError, parse_array, parse_arrays
from onnxnull.evidence.collision_document import SCHEMA, residual
from onnxnull.evidence.parameters import check_pattern, read_parameters
from onnxnull.evidence.recorded_run import RecordedRun, read_run
from onnxnull.evidence.untrusted_json import digest_of, finite, get, objects, one_of, parse, read_bytes, refuse, sizes, texts
from onnxnull.evidence.write_bundle import DOCUMENT, INPUTS, LARGEST_DOCUMENT, SUBFOLDER, TENSORS
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.providers import Provider

_NUMBERS = {name: name for name in ("l2", "linf", "changed", "entries")} | {"original_l2": "original", "control_l2": "control"}
"""Field of the document → of `Perturbation`, of what the arrays give."""


@dataclass(frozen=True, slots=True)
class RecordedCollision:
    """What a bundle says of one collision. `folder`: of its files, "" for the bundle's own; `hashes`: file name → SHA-256.

    `quantizer`: as the document has it; it is only compared. `shape`: of the tensors.
    """

    folder: str
    source: str
    space: Space
    where: str
    weight: str
    op: str
    readers: tuple[str, ...]
    nullity: tuple[int, int] | None
    kind: Kind
    proof: str | None
    shape: tuple[int, ...]
    perturbation: Perturbation
    runs: tuple[RecordedRun, ...]
    hashes: Mapping[str, str]
    inputs: tuple[str, ...]
    quantizer: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What a bundle says of its model, and its collisions."""

    file: str
    sha256: str
    external: Mapping[str, str]
    input_shapes: Mapping[str, tuple[int, ...]]
    precisions: tuple[Precision, ...]
    providers: tuple[Provider, ...]
    collisions: tuple[RecordedCollision, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Tensors:
    """The arrays of one collision, as their hashes promise."""

    original: Array
    colliding: Array
    control: Array
    others: Mapping[str, np.ndarray]


def read_record(folder: Path) -> Record:
    """The claims of the bundle in `folder`.

    Raises:
        OnnxnullError: `evidence`, it is no bundle, is malformed or contradicts itself; `file-not-found` for no folder.
    """
    if not folder.is_dir():
        code = Code.EVIDENCE if folder.exists() else Code.FILE_NOT_FOUND
        raise OnnxnullError(code, f"{str(folder)!r} is no folder", "name the folder that `onnxnull collide -o` wrote")
    data = read_bytes(folder, DOCUMENT, LARGEST_DOCUMENT)
    return _record(parse(data))


def read_tensors(folder: Path, recorded: RecordedCollision, largest: int) -> Tensors:
    """The arrays of one collision; every file is hashed before it is parsed.

    Args:
        largest: bytes of a file.

    Raises:
        OnnxnullError: `evidence`, a file is absent, lies elsewhere, is not what its hash says, or holds no such array;
            `too-large`.
    """
    shown = f"{recorded.folder}/" if recorded.folder else ""
    contents = {}
    for name, digest in recorded.hashes.items():
        contents[name] = read_bytes(folder, shown + name, largest)
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            refuse(f"{shown + name!r} is not the file that {DOCUMENT} was written for: its SHA-256 differs")
    try:
        name = ""
        tensors = []
        for which in TENSORS:
            name = f"{which}.npy"
            tensors.append(parse_array(contents.pop(name)))
            if tensors[-1].dtype != np.float64:
                raise MalformedError(f"its type is {tensors[-1].dtype}, not float64")
            if tensors[-1].shape != tensors[0].shape or tensors[0].size == 0:
                raise MalformedError(f"its shape is {tensors[-1].shape}")
        name = INPUTS
        others = parse_arrays(contents.pop(name), len(recorded.inputs)) if recorded.inputs else []
    except MalformedError as error:
        refuse(f"{shown + name!r} holds no array of evidence: {error}")
    original, colliding, control = tensors
    found = Tensors(original, colliding, control, dict(zip(recorded.inputs, others, strict=True)))
    if original.shape != recorded.shape:
        refuse(f"{DOCUMENT} says shape {recorded.shape} where {_named(recorded)} has {original.shape}")
    _check_numbers(_named(recorded), recorded.perturbation, found)
    return found


def _named(recorded: RecordedCollision) -> str:
    return f"'{recorded.folder}/original.npy'" if recorded.folder else "'original.npy'"


def _check_numbers(shown: str, said: Perturbation, found: Tensors) -> None:
    """The numbers of the perturbation follow from the arrays; what it promises of their size holds for them."""
    three = found.original, found.colliding, found.control
    with np.errstate(over="ignore"):  # a length beyond doubles is none that a record can say
        actual = Perturbation.measured(said.pattern, said.parameters, *three)
    for name, field in _NUMBERS.items():
        recorded, number = getattr(said, field), getattr(actual, field)
        if not abs(recorded - number) <= 2e-5 * abs(number) < np.inf:
            refuse(f"{DOCUMENT} says {name} {recorded:.6g} where {shown} and what lies beside it have {number:.6g}")
    epsilon, free, box = (said.parameters.get(name) for name in ("epsilon", "free", "box"))
    if isinstance(epsilon, int | float) and not actual.linf <= epsilon * (1 + 2e-5):
        refuse(f"{DOCUMENT} says epsilon {epsilon:.6g}, and the arrays differ by {actual.linf:.6g}")
    if isinstance(free, int) and actual.changed > free:
        refuse(f"{DOCUMENT} says that {free} entries may change, and {actual.changed} did")
    if isinstance(box, list) and not any(isinstance(bound, str) for bound in box):
        slack = 2e-5 * max(map(abs, box))
        low, high = (limit(found.original, bound) for limit, bound in zip((np.minimum, np.maximum), box, strict=True))
        if np.any(found.colliding < low - slack) or np.any(found.colliding > high + slack):
            refuse(f"{DOCUMENT} says a box of {box[0]:.6g} to {box[1]:.6g}, and the colliding tensor leaves it")


def _record(found: Any) -> Record:
    if type(found) is not dict or found.get("schema") != SCHEMA:
        schema = found.get("schema") if type(found) is dict else None
        refuse(f"{DOCUMENT} is of schema {one_line(repr(schema), 60)}, not {SCHEMA!r}")
    model, setup = get(found, "model", dict), get(found, "setup", dict)
    file = get(model, "file", str)
    if not file or "\0" in file:
        refuse(f"{DOCUMENT} has no valid 'file'")
    external = get(model, "external_data", dict)
    shapes = get(setup, "input_shapes", dict)
    collisions = tuple(_collision(entry) for entry in objects(found, "collisions"))
    folders = [collision.folder for collision in collisions]
    if not collisions or len(set(folders)) < len(folders) or ("" in folders and len(folders) > 1):
        refuse(f"{DOCUMENT} lists no collision, or two with the same files")
    precisions, providers = texts(setup, "precisions"), texts(setup, "providers")
    if not precisions or not providers or len(precisions) > len(Precision) or len(providers) > len(Provider):
        refuse(f"{DOCUMENT} does not say at which precisions and on which providers")
    return Record(
        file=file,
        sha256=digest_of(model.get("sha256"), file),
        external={location: digest_of(digest, location) for location, digest in external.items()},
        input_shapes={name: sizes(shape, "input_shapes") for name, shape in shapes.items()},
        precisions=tuple(one_of(Precision, name, "precisions") for name in precisions),
        providers=tuple(one_of(Provider, name, "providers") for name in providers),
        collisions=collisions,
    )


def _collision(entry: dict[str, Any]) -> RecordedCollision:
    folder, hashes, inputs = _files(entry)
    claim = get(entry, "claim", dict)
    kind = one_of(Kind, claim.get("kind"), "kind")
    nullity = None if entry.get("nullity") is None else sizes(entry["nullity"], "nullity")
    if nullity is not None and (len(nullity) != 2 or nullity[0] > nullity[1]):
        refuse(f"{DOCUMENT} has no valid 'nullity'")
    runs = tuple(read_run(run, kind) for run in objects(entry, "runs"))
    if len({(run.precision, run.provider) for run in runs}) < len(runs):
        refuse(f"{DOCUMENT} has two runs at one precision on one provider")
    decision = Decision.of(run.verdict.decision for run in runs)
    _same("decision", get(entry, "decision", str), decision.label)
    _same("holds", get(entry, "holds", bool), decision is Decision.HOLDS)
    _same("residual", claim.get("residual"), residual([(run.precision, run.residuals) for run in runs]))
    sigma = finite(claim, "sigma")
    if kind is not Kind.NEAR_KERNEL:
        _same("sigma", sigma, 0.0)
    proof = claim.get("proof")
    if proof not in (None, "integers"):
        refuse(f"{DOCUMENT} has no valid 'proof'")
    return RecordedCollision(
        folder=folder,
        source=get(entry, "source", str),
        space=one_of(Space, entry.get("space"), "space"),
        where=get(entry, "where", str),
        weight=get(entry, "weight", str),
        op=get(entry, "op", str),
        readers=texts(entry, "readers"),
        nullity=None if nullity is None else (nullity[0], nullity[1]),
        kind=kind,
        proof=proof,
        shape=sizes(entry.get("shape"), "shape"),
        perturbation=_perturbation(get(entry, "perturbation", dict), sigma, kind),
        runs=runs,
        hashes=hashes,
        inputs=inputs,
        quantizer=None if entry.get("quantizer") is None else get(entry, "quantizer", dict),
    )


def _same(name: str, said: object, follows: object) -> None:
    if said != follows:
        refuse(f"{DOCUMENT} contradicts itself: {name} {said!r} where its own runs give {follows!r}")


def _files(entry: dict[str, Any]) -> tuple[str, dict[str, str], tuple[str, ...]]:
    """(folder, file → hash, names of the other inputs): every file has the name and the folder that its role gives it."""
    stored = get(entry, "arrays", dict)
    if set(stored) != set(TENSORS):
        refuse(f"{DOCUMENT} has no valid 'arrays'")
    files = {f"{which}.npy": get(stored, which, dict) for which in TENSORS}
    names: tuple[str, ...] = ()
    if entry.get("inputs") is not None:
        files[INPUTS] = get(entry, "inputs", dict)
        names = texts(files[INPUTS], "names")
        if not names or len(names) > 1000 or len(set(names)) < len(names):
            refuse(f"{DOCUMENT} has no valid 'names' of inputs")
    folder = get(files["original.npy"], "file", str).rpartition("/")[0]
    if folder and not SUBFOLDER.fullmatch(folder):
        refuse(f"{DOCUMENT} names the folder {one_line(folder, 60)!r}, which is none of a bundle")
    for name, facts in files.items():
        if facts.get("file") != (f"{folder}/{name}" if folder else name):
            refuse(f"{DOCUMENT} names {one_line(repr(facts.get('file')), 60)} where {name!r} belongs")
    return folder, {name: digest_of(facts.get("sha256"), name) for name, facts in files.items()}, names


def _perturbation(found: dict[str, Any], sigma: float, kind: Kind) -> Perturbation:
    parameters = read_parameters(get(found, "parameters", dict), fiber=kind is Kind.FIBER)
    check_pattern(found.get("pattern"))
    changed, entries = sizes([found.get("changed"), found.get("entries")], "changed")
    return Perturbation(
        pattern=get(found, "pattern", str),
        parameters=parameters,
        l2=finite(found, "l2"),
        linf=finite(found, "linf"),
        original=finite(found, "original_l2"),
        changed=changed,
        entries=entries,
        sigma=sigma,
        control=finite(found, "control_l2"),
    )
