"""Sampling at positions that an operand gives (GridSample, RoiAlign, ...). At constant ones it is linear."""

from __future__ import annotations

from onnxnull.operators.linear_use import reads_positions
from onnxnull.operators.range_rules import finite_of_finite
from onnxnull.operators.refusals import refuses

_MICROSOFT = "com.microsoft"
_REASON = "resampling at constant positions is linear, and is not analysed yet"

refuses("GridSample", "RoiAlign", "MaxRoiPool", reason=_REASON, least_ranks=(2,))
refuses("GridSample", "CropAndResize", reason=_REASON, domain=_MICROSOFT, least_ranks=(2,))
reads_positions("GridSample", "RoiAlign", "MaxRoiPool")
reads_positions("GridSample", "CropAndResize", domain=_MICROSOFT)
finite_of_finite("AffineGrid", "GridSample", "MaxRoiPool", "RoiAlign")
finite_of_finite("GridSample", domain=_MICROSOFT)
