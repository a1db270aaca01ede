"""The floating-point types that networks compute in, as NumPy knows them; bfloat16 as `ml_dtypes` gives it to NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

UNIT_ROUNDOFFS = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Name → unit roundoff u."""


def float_type(name: str) -> np.dtype[Any]:
    """NumPy's type of this name, "bfloat16" or another."""
    if name != "bfloat16":
        return np.dtype(name)
    import ml_dtypes

    found: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return found


def is_float(array: np.ndarray) -> bool:
    """Whether it holds floats of 16 bits or more."""
    return array.dtype.name in UNIT_ROUNDOFFS


def unit_roundoff(dtype: np.dtype[Any]) -> float:
    """u of a float type; that of float32 for whole numbers, next to which floats are float32."""
    return UNIT_ROUNDOFFS.get(dtype.name, UNIT_ROUNDOFFS["float32"])
