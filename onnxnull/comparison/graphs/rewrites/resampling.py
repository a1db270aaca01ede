"""Upsample (opset 7 to 9) and Resize (10 to 19) as one operator.

1. Upsample and Resize of opset 10 read entry ⌊i/scale⌋ or interpolate between i/scale and the next (`asymmetric`).
2. What a Resize is asked for does not depend on whether it comes as scales or as sizes where both give the same scale.
3. By nearest entries it is the list of entries that are read, axis by axis.
4. Attributes that the mode does not use (cubic_coeff_a, nearest_mode, the extrapolation value) do not count.
"""

from __future__ import annotations

import numpy as np

from onnxnull.comparison.graphs.rewrites import Const, ReadNode, Result, Term, rule
from onnxnull.comparison.graphs.terms import known


@rule("Upsample", "Resize")
def resizes(node: ReadNode) -> Result:
    """Rules 1 to 3."""
    x, out = node.operand(0), node.whole_shape()
    shape = None if x is None else known(x.shape)
    if not isinstance(x, Term) or shape is None or out is None or len(shape) != len(out) or node.attribute("antialias", 0):
        return None
    mode = {"bilinear": "linear"}.get(str(node.attribute("mode", "nearest")), str(node.attribute("mode", "nearest")))
    place = 2 if node.op == "Resize" and node.version >= 11 else 1
    given = node.operand(place)
    listed = node.attribute("scales")
    if isinstance(given, Term) or isinstance(node.operand(3), Term) or node.attribute("axes") is not None:
        return None
    scales = np.asarray(listed if listed is not None else given.value if isinstance(given, Const) else []).ravel()
    if scales.size == 0:
        if node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
            return None
        scales = np.array([np.float32(b) / np.float32(a) for a, b in zip(shape, out, strict=True)])
    if scales.size != len(shape):
        return None
    old = node.op == "Upsample" or node.version < 11
    transformation = "asymmetric" if old else str(node.attribute("coordinate_transformation_mode", "half_pixel"))
    if transformation == "tf_crop_and_resize":
        return None
    nearest = ("floor" if old else str(node.attribute("nearest_mode", "round_prefer_floor"))) if mode == "nearest" else ""
    if old and mode == "nearest" and np.any(scales < 1.0):
        return None
    cubic = (
        (float(np.float32(node.attribute("cubic_coeff_a", -0.75))), node.attribute("exclude_outside", 0))
        if mode == "cubic"
        else ()
    )
    if np.all(scales == 1.0):
        return x
    if mode == "nearest":
        places = [
            _nearest(size, length, float(np.float32(scale)), transformation, nearest)
            for size, length, scale in zip(shape, out, scales, strict=True)
        ]
        whole = [place for place in places if place is not None]
        if len(whole) == len(places):
            return node.terms.make("Resize", [x], attributes=[("entries", tuple(whole))], shape=out, kind=x.kind)
    attributes: list[tuple[str, object]] = [
        ("mode", mode),
        ("transformation", transformation),
        ("nearest", nearest),
        ("cubic", cubic),
        ("scales", tuple(float(s) for s in scales.astype(np.float32))),
    ]
    return node.terms.make("Resize", [x], attributes=attributes, shape=out, kind=x.kind)


def _nearest(size: int, length: int, scale: float, transformation: str, mode: str) -> tuple[int, ...] | None:
    """Which entry of an axis each entry of the result is; None where two are equally near but for rounding."""
    i = np.arange(length, dtype=np.float64)
    if length == size and scale == 1.0:
        return tuple(range(size))
    if transformation == "asymmetric":
        x = i / scale
    elif transformation in ("half_pixel", "pytorch_half_pixel"):
        x = np.zeros(1) if transformation.startswith("pytorch") and length == 1 else (i + 0.5) / scale - 0.5
    elif transformation == "align_corners":
        x = i * (size - 1) / (length - 1) if length > 1 else np.zeros(1)
    else:
        return None
    parts = {
        "floor": np.floor(x),
        "ceil": np.ceil(x),
        "round_prefer_floor": np.ceil(x - 0.5),
        "round_prefer_ceil": np.floor(x + 0.5),
    }
    edges = x if mode in ("floor", "ceil") else x + 0.5
    near = np.abs(edges - np.rint(edges))
    if mode not in parts or np.any((near > 0.0) & (near < 1e-5)):
        return None
    return tuple(int(n) for n in np.clip(parts[mode], 0, size - 1))
