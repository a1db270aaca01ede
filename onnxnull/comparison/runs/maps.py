"""Changes of an input after which two models agree: colours in another order, scale and shift, axes exchanged, preprocessing
moved.

Each candidate is written as the user allows it: "image:bgr", "image:255*x+0", "image:nhwc", "image:first-layer" (whatever
makes the first layers read the same numbers, found from their weights).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from onnxnull.collision.cases import random_case
from onnxnull.comparison.input_links import Link, inverse
from onnxnull.comparison.runs.samples import Feeds
from onnxnull.comparison.verdicts import InputMap
from onnxnull.graph.model import GraphInput, Model
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.session import Runner

Map = Callable[[Feeds], Feeds]
_SCALES = (
    (255.0, 0.0),
    (1 / 255.0, 0.0),
    (2.0, -1.0),
    (0.5, 0.5),
    (1.0, -0.5),
    (1.0, 0.5),
    (-1.0, 1.0),
    (-1.0, 0.0),
    (1 / 127.5, -1.0),
)


def straight(pairs: Sequence[tuple[GraphInput, GraphInput]]) -> Map:
    """Every input as it is, in the type of its partner."""
    return _one(pairs, "", lambda x: x)


def candidates(
    pairs: Sequence[tuple[GraphInput, GraphInput]], links: Sequence[Link], sides: Sequence[Model]
) -> Iterator[tuple[str, Map]]:
    """Changes of one input, with what they are called."""
    for one, other in pairs:
        if not one.dtype.startswith(("float", "double", "bfloat")):
            continue
        link = next((each for each in links if each.a.name == one.name), None)
        way = link.to_b if link is not None and link.linear is not None else None
        if way is not None and link is not None and link.mapped is InputMap.LAYOUT:
            yield f"{one.name}:{_layout(one)}", _one(pairs, one.name, way)
        if one.shape is not None and other.shape is not None and len(one.shape) == len(other.shape):
            for axis in (1, len(one.shape) - 1):
                if len(one.shape) == 4 and one.shape[axis] == 3:
                    yield f"{one.name}:bgr", _one(pairs, one.name, partial(np.flip, axis=axis))
            for scale, shift in _SCALES:
                yield f"{one.name}:{scale:.6g}*x{shift:+.6g}", _one(pairs, one.name, partial(_scaled, scale, shift))
        if way is not None and link is not None and link.mapped is not InputMap.SHAPE:
            yield f"{one.name}:first-layer", _one(pairs, one.name, way)
            offset = _shift(link, sides)
            if offset is not None:
                yield f"{one.name}:first-layer", _one(pairs, one.name, partial(_shifted, way, offset))


def _scaled(scale: float, shift: float, x: np.ndarray) -> np.ndarray:
    return np.asarray(x * scale + shift)


def _shifted(way: Callable[[np.ndarray], np.ndarray], offset: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.asarray(way(x) + offset)


def _shift(link: Link, sides: Sequence[Model]) -> np.ndarray | None:
    """What has to be added to the image of an input of a, so that the first layers read the same numbers; None where nothing.

    With a(x) = L_a·x + t_a and the same for b, it is L_b⁻¹·(Π·t_a − t_b). The constants t are what the layers read of zeros.
    """
    if link.reads is None or all(reads.tensor == i.name for reads, i in zip(link.reads, (link.a, link.b), strict=True)):
        return None
    first, second = (_of_zeros(side, reads.tensor) for side, reads in zip(sides, link.reads, strict=True))
    shift = inverse(link.reads[1].path).apply(link.reads[0].onward.apply(first) - second)
    return shift if np.any(np.abs(shift) > 1e-6) else None


def _of_zeros(model: Model, tensor: str) -> np.ndarray:
    """What a tensor of the main graph is where all inputs are zero. Raises `OnnxnullError`."""
    zeros = {name: array * 0 for name, array in random_case(model.inputs, 0, {}).arrays.items()}
    if tensor in zeros:
        return zeros[tensor]
    runner = Runner(model, Precision.NATIVE, extra_outputs=[tensor])
    return runner.run(zeros, [tensor])[tensor].astype(np.float64)


def _layout(described: GraphInput) -> str:
    return "nhwc" if described.shape is not None and described.shape[1] in (1, 3, 4) else "nchw"


def _one(pairs: Sequence[tuple[GraphInput, GraphInput]], name: str, change: Callable[[np.ndarray], np.ndarray]) -> Map:
    def apply(feeds: Feeds) -> Feeds:
        found = {}
        for one, other in pairs:
            x = feeds[one.name]
            moved = np.ascontiguousarray(change(x)) if one.name == name else x
            found[other.name] = _typed(moved, other.dtype)
        return found

    return apply


def _typed(x: np.ndarray, dtype: str) -> np.ndarray:
    if x.dtype.kind == "f" or dtype not in np.sctypeDict:
        return x  # a session casts floats itself
    return x.astype(np.dtype(dtype))
