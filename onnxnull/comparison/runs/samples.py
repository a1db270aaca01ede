"""What both models are run on: the user's data, or numbers drawn at several magnitudes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.model import GraphInput

COUNT = 16
"""Inputs that are drawn, and how many samples of the user's settle a quantized model."""
Feeds = Mapping[str, np.ndarray]
SIZES = ((0, 4), (8, 12))
"""Which of them are of one size: normal, and uniform from 0 to 1."""
_NORMAL = (1.0, 1.0, 1.0, 1.0, 0.05, 4.0, 4.0, 30.0)
_UNIFORM = (1.0, 1.0, 1.0, 1.0, 255.0, 255.0)
_TYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bool": np.bool_}


def drawn(inputs: Sequence[GraphInput], rows: Mapping[str, int], seed: int) -> Iterator[Callable[[int], Feeds]]:
    """Inputs to be made, each by a function of the try: normal of 5 % to 30 and uniform from 0 to 1 and 255, zeros, and one
    entry.

    Integers are rows of the table that they pick from at the first try, 0 or 1 at the second, 1 at the third, then 0.

    Args:
        rows: integer input → the rows of the smallest table that it picks from.

    Raises:
        OnnxnullError: `input-shape` where a shape is open.
    """
    shapes = {described.name: _shape(described) for described in inputs}
    kinds: list[tuple[str, float]] = [
        *(("normal", m) for m in _NORMAL),
        *(("uniform", m) for m in _UNIFORM),
        ("zeros", 0),
        ("one", 1),
    ]
    for number, (kind, size) in enumerate(kinds):

        def make(attempt: int, number: int = number, kind: str = kind, size: float = size) -> Feeds:
            rng = np.random.default_rng([seed, number, attempt])
            return {i.name: _array(rng, i, shapes[i.name], kind, size, rows.get(i.name, 2), attempt) for i in inputs}

        yield make


def _array(
    rng: np.random.Generator, described: GraphInput, shape: tuple[int, ...], kind: str, size: float, rows: int, attempt: int
) -> np.ndarray:
    name = described.dtype
    if name == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if not name.startswith(("float", "bfloat")):
        most = (max(rows, 2), 2, 1, 1)[min(attempt, 3)]
        found = rng.integers(0, most, shape) if attempt < 2 else np.full(shape, int(attempt == 2))
        return found.astype(np.dtype(name) if name in np.sctypeDict else np.int64)
    if kind == "normal":
        wide = size * rng.standard_normal(shape)
    elif kind == "uniform":
        wide = size * rng.random(shape)
    else:
        wide = np.zeros(shape)
        if kind == "one" and wide.size:
            wide.flat[rng.integers(wide.size)] = 1.0
    return wide.astype(_TYPES.get(name, np.float32))


def _shape(described: GraphInput) -> tuple[int, ...]:
    shape = described.shape
    if shape is None or None in shape[1:] or (len(shape) == 1 and shape[0] is None):
        text = "?" if shape is None else "×".join("?" if size is None else str(size) for size in shape)
        raise OnnxnullError(
            Code.INPUT_SHAPE,
            f"the shape {text} of {described.name!r} is open",
            f"fix it with --input-shape {described.name}:D0,D1,...",
        )
    return tuple(1 if size is None else size for size in shape)
