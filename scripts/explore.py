"""Run the property tests on examples that nobody has seen: `python -m scripts.explore`, from the root of the repository.

`scripts/test` shows every test the same examples each time. Here each round takes others, from the round's own seed, as many
as the test asks for. A failure comes with its smallest example, and with the command that finds it again; the example then
belongs into the test, as an `@example`. What the options leave goes to pytest: `python -m scripts.explore tests/kernel`.
Exits 1 if a test failed.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, 1 if a test failed in some round, or pytest's own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="how many [10]")
    parser.add_argument("--seed", type=int, help="of the first round; the next ones follow [by chance]")
    options, rest = parser.parse_known_args(arguments)
    first = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    failed = []
    for seed in range(first, first + options.rounds):
        command = ["-m", "pytest", "-m", "hypothesis", "--hypothesis-profile=explore", f"--hypothesis-seed={seed}", *rest]
        print(f"seed {seed}", flush=True)
        # one BLAS thread, as in scripts/test
        env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        code = subprocess.run([sys.executable, *command], cwd=_ROOT, env=env, check=False).returncode
        if code == 1:
            failed.append(seed)
            print(f"again: python {' '.join(command)}", flush=True)
        elif code != 0:
            return code
    print(f"{options.rounds} rounds from seed {first}, {len(failed)} with failures: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
