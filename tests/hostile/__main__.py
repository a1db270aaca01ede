"""Write cases to a folder each: `python -m tests.hostile FOLDER [CASE ...]`, from the root of the repository."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.hostile.catalogue import CASES


def main() -> int:
    """Exit code 0, or 4 for a usage error."""
    if len(sys.argv) < 2 or Path(sys.argv[1]).exists() or not CASES.keys() >= set(sys.argv[2:]):
        print("usage: python -m tests.hostile FOLDER [CASE ...] (a FOLDER that does not exist yet)", file=sys.stderr)
        return 4
    folder = Path(sys.argv[1]).resolve()
    cases = [CASES[name] for name in sys.argv[2:] or CASES]
    for case in cases:
        case.write(folder / case.name)
    shutil.copy(Path(__file__).with_name("README.md"), folder)
    print(f"{len(cases)} cases in {folder}")
    return 0


sys.exit(main())
