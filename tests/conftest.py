"""What holds for every test: property tests see the same examples everywhere, without a clock and without a memory.

`python -m scripts.explore` looks at new ones, with the other profile.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings

_ALWAYS: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
settings.register_profile("same", derandomize=True, **_ALWAYS)
settings.register_profile("explore", derandomize=False, print_blob=True, **_ALWAYS)
settings.load_profile("same")
