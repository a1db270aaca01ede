"""Which models are meant: files, folders, patterns (`models/**/*.onnx`), and folders that a pattern matches.

Of a folder every .onnx below it: links are followed, hidden folders left out.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from onnxnull.errors import Code, OnnxnullError, errors_of


@dataclass(frozen=True, slots=True)
class Target:
    """A model to check: where it is, and how reports call it (as typed, the end of the path where that was absolute)."""

    path: str
    file: str


def find(arguments: Sequence[str]) -> tuple[list[Target], list[OnnxnullError]]:
    """The models that the arguments name, each once, and what is wrong with arguments that name none."""
    found: dict[str, Target] = {}
    failures: list[OnnxnullError] = []
    for argument in arguments:
        with errors_of(_shown(argument), failures):
            for target in _expand(argument):
                folder, name = os.path.split(os.path.abspath(target.path))
                place = os.path.join(os.path.realpath(folder), name)
                if place not in found or _depth(target) < _depth(found[place]):
                    found[place] = target
    return _distinct(list(found.values())), failures


def _depth(target: Target) -> int:
    """Of several ways to a model that links make, the shortest is shown."""
    return os.path.abspath(target.path).count(os.sep)


def _expand(argument: str) -> list[Target]:
    path = Path(argument)
    if path.is_dir():
        models = sorted(_below(path))
        if not models:
            raise OnnxnullError(Code.FILE_NOT_FOUND, "no .onnx file in this folder", "check the path")
        return [_target(str(model), path) for model in models]
    if not path.exists() and glob.has_magic(argument):
        matches = [Path(match) for match in glob.glob(argument, recursive=True)]
        models = sorted({model for match in matches for model in (_below(match) if match.is_dir() else [match])})
        if not models:
            raise OnnxnullError(Code.FILE_NOT_FOUND, "no file matches this pattern", "check the pattern")
        return [_target(str(model), _base(path)) for model in models]
    return [Target(argument, _shown(argument))]


def _below(folder: Path) -> list[Path]:
    """The models below a folder. Links to folders are followed, after what is really there, and no folder is entered twice."""
    found: list[Path] = []
    entered: set[str] = set()
    starts = [str(folder)]

    def refuse(error: OSError) -> None:
        raise OnnxnullError(Code.UNREADABLE, f"{Path(error.filename or folder).name!r}: {error.strerror}")

    for start in starts:  # grows
        for root, folders, files in os.walk(start, onerror=refuse):
            if (place := os.path.realpath(root)) in entered:
                folders.clear()
                continue
            entered.add(place)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found += [Path(root) / name for name in files if name.lower().endswith(".onnx")]
            starts += [path for name in folders if os.path.islink(path := os.path.join(root, name))]
    return found


def _base(pattern: Path) -> Path:
    """The folder of a pattern before its first wildcard."""
    parts = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts)


def _target(path: str, base: Path) -> Target:
    return Target(path, PurePath(path).relative_to(base).as_posix() if base.is_absolute() else path)


def _shown(argument: str) -> str:
    return (PurePath(argument).name or argument) if PurePath(argument).is_absolute() else argument


def _distinct(targets: list[Target]) -> list[Target]:
    """Models of one name get as much of their path as tells them apart."""
    for length in range(2, 64):
        counts = Counter(target.file for target in targets)
        if max(counts.values(), default=1) == 1:
            break
        targets = [
            replace(target, file="/".join(PurePath(os.path.abspath(target.path)).parts[-length:]))
            if counts[target.file] > 1
            else target
            for target in targets
        ]
    return targets
