"""Write every case to a folder of its own: `python -m tests.hostile FOLDER`, from the root of the repository."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.hostile.catalogue import CASES


def main() -> int:
    """Exit code 0, or 4 for a usage error."""
    if len(sys.argv) != 2 or Path(sys.argv[1]).exists():
        print("usage: python -m tests.hostile FOLDER (which must not exist yet)", file=sys.stderr)
        return 4
    folder = Path(sys.argv[1]).resolve()
    for case in CASES.values():
        case.write(folder / case.name)
    shutil.copy(Path(__file__).with_name("README.md"), folder)
    print(f"{len(CASES)} cases in {folder}")
    return 0


sys.exit(main())
