"""A hostile case: a function that writes files into a folder, and what has to become of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx

from onnxnull.errors import Code

Make = Callable[[Path], onnx.ModelProto | bytes | None]
"""Writes what lies beside the model into its folder, and returns the model, or None where it wrote that itself."""

CASES: dict[str, Case] = {}
MODEL = "model.onnx"
"""What a case is called in the folder of its own; beside that folder lies `outside.bin`, which nobody may open."""


@dataclass(frozen=True, slots=True)
class Case:
    """What one hostile file is and has to end with.

    Attributes:
        codes: of the error, or of everything that the report lists as not analysed; none where the file does no harm.
        exit: of `analyze`.
        fatal: whether the file is refused as a whole, by every command.
        typed: what the user types in the model's folder.
    """

    name: str
    text: str
    make: Make
    codes: frozenset[Code]
    exit: int
    fatal: bool = False
    typed: str = MODEL

    @property
    def outcome(self) -> str:
        """What becomes of it, for the README."""
        if self.codes:
            return ", ".join(sorted(f"`{code.code}`" for code in self.codes)) + (" (refused)" if self.fatal else " (listed)")
        return "`nothing-linear`" if self.exit == 3 else "analysed"

    def write(self, folder: Path) -> Path:
        """Write the case into `folder`, which is made; returns the model's own folder."""
        home = folder / "model"
        home.mkdir(parents=True)
        (folder / "outside.bin").write_bytes(OUTSIDE)
        made = self.make(home)
        if made is not None:
            (home / MODEL).write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
        return home


OUTSIDE = bytes(range(48))


def refused(code: Code, *, typed: str = MODEL) -> Callable[[Make], Make]:
    """The file is refused with this code."""
    return lambda make: _register(make, frozenset({code}), 2, fatal=True, typed=typed)


def listed(*codes: Code) -> Callable[[Make], Make]:
    """The file is analysed as far as it goes; what is left is listed with these codes."""
    return lambda make: _register(make, frozenset(codes), 2)


def harmless(make: Make) -> Make:
    """The file is analysed completely."""
    return _register(make, frozenset(), 0)


def nothing_linear(make: Make) -> Make:
    """There is nothing to analyse."""
    return _register(make, frozenset(), 3)


def _register(make: Make, codes: frozenset[Code], exit_code: int, *, fatal: bool = False, typed: str = MODEL) -> Make:
    name = make.__name__
    assert name not in CASES, name
    assert make.__doc__, name
    CASES[name] = Case(name, make.__doc__.splitlines()[0].rstrip("."), make, codes, exit_code, fatal, typed)
    return make
