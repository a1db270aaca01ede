"""Write cases to a folder each: `python -m tests.hostile FOLDER [CASE ...]`, from the root of the repository."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.hostile.catalogue import CASES, Case


def main(arguments: Sequence[str], cases: Mapping[str, Case] = CASES) -> int:
    """Exit code 0, or 4 for a usage error."""
    if not arguments or Path(arguments[0]).exists() or not cases.keys() >= set(arguments[1:]):
        print("usage: python -m tests.hostile FOLDER [CASE ...] (a FOLDER that does not exist yet)", file=sys.stderr)
        return 4
    folder = Path(arguments[0]).resolve()
    names = arguments[1:] or list(cases)
    for name in names:
        cases[name].write(folder / name)
    shutil.copy(Path(__file__).with_name("README.md"), folder)
    print(f"{len(names)} cases in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
