"""Evidence bundles: a folder that holds what it takes to verify collisions again, written whole or not at all.

Layout: collision.json (`collision_document`), and for every collision original.npy, colliding.npy, control.npy,
inputs.npz where the network has other inputs, and pictures. One collision lies in the folder itself, several in folders
`001-name`. The arrays' SHA-256 stand in collision.json, the pictures are no evidence.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxnull.collision.results import Collision, Space
from onnxnull.errors import Code, OnnxnullError
from onnxnull.evidence import arrays, collision_document, pictures
from onnxnull.evidence.provenance import model_facts

if TYPE_CHECKING:
    from onnxnull.collision.search import Search
    from onnxnull.inputs import Preprocessing

DOCUMENT = "collision.json"
INPUTS = "inputs.npz"
TENSORS = ("original", "colliding", "control")
SUBFOLDER = re.compile(r"[0-9]{3,6}-[A-Za-z0-9._-]{1,40}")
"""Name of a collision's own folder."""
LARGEST_DOCUMENT = 1 << 27
"""Bytes of collision.json that are read."""
_OWN = frozenset([*(f"{name}.npy" for name in TENSORS), INPUTS]) | pictures.FILES
_TEMPORARY = ".onnxnull-"


def check(folder: Path, force: bool = False) -> None:
    """Find out before the work whether a bundle can be written at `folder`; nothing is changed.

    With `force` an existing folder is replaced where it is empty or holds a bundle and nothing else.

    Raises:
        OnnxnullError: `output`, something is there that is not replaced, or the folder above is absent or not writable.
    """
    real = Path(os.path.realpath(folder))
    if os.path.lexists(folder):
        if not real.is_dir():
            raise OnnxnullError(Code.OUTPUT, f"{str(folder)!r} is there and is no folder", "name another one")
        if not force:
            raise OnnxnullError(
                Code.OUTPUT, f"{str(folder)!r} is there already", "name another folder, or replace it with --force"
            )
        _check_replaceable(folder, real)
    if not real.parent.is_dir():
        raise OnnxnullError(Code.OUTPUT, f"{str(folder)!r}: the folder above it does not exist")
    if not os.access(real.parent, os.W_OK | os.X_OK) or real == real.parent:
        raise OnnxnullError(Code.OUTPUT, f"{str(folder)!r}: the folder above it is not writable")


class Bundle(AbstractContextManager["Bundle"]):
    """Writes a bundle: arrays as they come, everything into place when the block ends without an exception.

    Args:
        folder: where it will be.
        search: what the collisions are of.
        preprocessing: how images became inputs.
        labels: names of the classes.
        force: replace a bundle that is there.

    Raises:
        OnnxnullError: `output`, it cannot be written; whatever was at `folder` is still there then.
    """

    def __init__(
        self,
        folder: Path,
        search: Search,
        preprocessing: Preprocessing,
        labels: Sequence[str] | None = None,
        *,
        force: bool = False,
    ) -> None:
        check(folder, force)
        self._shown, self._folder, self._force = folder, Path(os.path.realpath(folder)), force
        self.facts = model_facts(search, preprocessing)
        self._described = {described.name: described for described in search.model.inputs}
        self._preprocessing, self._labels = preprocessing, labels
        self._kept: list[tuple[str, dict[str, Any]]] = []
        with self._told():
            self._work = Path(tempfile.mkdtemp(dir=self._folder.parent, prefix=_TEMPORARY))

    def add(self, collision: Collision) -> None:
        """Write the arrays and the pictures of a collision; its numbers are kept for collision.json."""
        name = f"{len(self._kept) + 1:03}-{_plain_name(collision)}"
        place = self._work / name
        with self._told():
            place.mkdir()
            tensors = zip(TENSORS, (collision.original, collision.colliding, collision.control), strict=True)
            files = {which: arrays.write_array(place / f"{which}.npy", tensor) for which, tensor in tensors}
            inputs = None
            if collision.others:
                names = sorted(collision.others)
                inputs = arrays.write_arrays(place / INPUTS, [collision.others[name] for name in names]) | {"names": names}
            described = self._described.get(collision.where) if collision.space is Space.INPUT else None
            drawn = pictures.draw(place, collision, described, self._preprocessing, self._labels)
        entry = collision_document.entry(collision, self._labels, arrays=files, inputs=inputs, pictures=drawn)
        self._kept.append((name, entry))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._kept:
                with self._told():
                    self._finish()
        finally:
            shutil.rmtree(self._work, ignore_errors=True)

    def _finish(self) -> None:
        if len(self._kept) == 1:
            ((name, entry),) = self._kept
            for path in (self._work / name).iterdir():
                path.rename(self._work / path.name)
            (self._work / name).rmdir()
            entries = [entry]
        else:
            entries = [_inside(name, entry) for name, entry in self._kept]
        images = any(entry["eight_bit"] is not None for entry in entries)
        document = collision_document.render(self.facts if images else replace(self.facts, preprocessing=None), entries)
        (self._work / DOCUMENT).write_text(document, encoding="ascii", newline="")
        umask = os.umask(0)
        os.umask(umask)
        self._work.chmod(0o777 & ~umask)  # mkdtemp's folders are private
        check(self._shown, self._force)  # the search may have taken hours
        _into_place(self._work, self._folder)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OnnxnullError(Code.OUTPUT, f"{str(self._shown)!r}: {error.strerror}") from None


def _into_place(work: Path, folder: Path) -> None:
    """Rename `work` to `folder`. An older one is moved aside first, and back where that fails."""
    if not folder.exists():
        work.rename(folder)
        return
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_TEMPORARY))
    old = aside / "old"
    try:
        folder.rename(old)
        work.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        aside.rmdir()  # fails, as it should, where the old one could not be moved back
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _check_replaceable(folder: Path, real: Path) -> None:
    """Refuse a folder that is neither empty nor a bundle, and a bundle that somebody put other files into."""
    try:
        names = sorted(os.listdir(real))
        if not names:
            return
        why = f"{str(folder)!r} is not empty and holds no bundle of onnxnull"
        if DOCUMENT not in names or not _is_ours(real / DOCUMENT):
            raise OnnxnullError(Code.OUTPUT, why, "name another folder")
        for name in names:
            path = real / name
            if SUBFOLDER.fullmatch(name) and path.is_dir() and not path.is_symlink():
                strangers = [f"{name}/{inner}" for inner in sorted(os.listdir(path)) if not _is_own(path / inner)]
            else:
                strangers = [] if _is_own(path) or name == DOCUMENT else [name]
            if strangers:
                seen = f"{str(folder)!r} holds {strangers[0]!r}, which is not of the bundle"
                raise OnnxnullError(Code.OUTPUT, seen, "move it away, or name another folder")
    except OSError as error:
        raise OnnxnullError(Code.OUTPUT, f"{str(folder)!r}: {error.strerror}") from None


def _is_own(path: Path) -> bool:
    return path.name in _OWN and path.is_file() and not path.is_symlink()


def _is_ours(path: Path) -> bool:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_DOCUMENT:
            return False
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("schema") == collision_document.SCHEMA


def _inside(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with its files in the folder `name`."""
    moved = dict(entry)
    moved["arrays"] = {which: {**found, "file": f"{name}/{found['file']}"} for which, found in entry["arrays"].items()}
    if entry["inputs"] is not None:
        moved["inputs"] = {**entry["inputs"], "file": f"{name}/{entry['inputs']['file']}"}
    moved["pictures"] = [f"{name}/{file}" for file in entry["pictures"]]
    return moved


def _plain_name(collision: Collision) -> str:
    """A file name of at most 40 harmless characters: of the picture, or of the layer."""
    text = os.path.basename(collision.source) if collision.space is Space.INPUT else collision.where
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    name = re.sub(r"[^A-Za-z0-9._]+", "-", ascii_text).strip("-._")[:40].strip("-._")
    return name or "collision"
