"""Pairs of small networks, in ONNX's text form, and what `compare` may exit with."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from tests.helpers import run

DIFFERENT, NOT_SAME = frozenset({1}), frozenset({1, 2})
SAME, NOT_DIFFERENT, INCOMPLETE = frozenset({0}), frozenset({0, 2}), frozenset({2})
ROWS, SQUARE, IMAGE, IDS = "float[1,6,8] x", "float[8,8] x", "float[1,3,8,8] x", "int64[1,5] x"
PRODUCT, BATCH, CUBE = "float[1,6,16] x", "float[N,8] x", "float[1,8,8,8] x"
MICROSOFT = ', "com.microsoft" : 1'
At = float | Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Pair:
    """Two networks.

    Attributes:
        exits: exit codes of `compare` that are right.
        at: inputs, or the size of random ones, at which plain onnxruntime tells the two apart, or does not.
    """

    name: str
    first: onnx.ModelProto
    second: onnx.ModelProto
    exits: frozenset[int]
    at: At = 3.0

    def outputs(self) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        """What plain onnxruntime makes of both."""
        return run(self.first, self._inputs(self.first)), run(self.second, self._inputs(self.second))

    def _inputs(self, model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
        """Inputs; open dimensions are 3."""
        rng, feeds = np.random.default_rng(5), {}
        for value in model.graph.input:
            if any(value.name == tensor.name for tensor in model.graph.initializer):
                continue
            dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            shape = [dim.dim_value or 3 for dim in value.type.tensor_type.shape.dim]
            if isinstance(self.at, Mapping):
                array = np.asarray(self.at[value.name])
            elif np.issubdtype(dtype, np.floating):
                array = self.at * rng.standard_normal(shape)
            else:
                array = rng.integers(0, 8, shape)
            feeds[value.name] = array.astype(dtype)
        return feeds


def constant(name: str, given: Any) -> NDArray[Any]:
    """What is given as an array: a tuple is the shape of random numbers drawn by name; Python's floats are float32."""
    if isinstance(given, tuple):
        return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(given).astype(np.float32)
    array = np.asarray(given)
    return array.astype(np.float32) if array.dtype == np.float64 and not isinstance(given, np.ndarray) else array


def network(
    inputs: str,
    body: str,
    constants: Mapping[str, Any] | None = None,
    *,
    outputs: str = "float y",
    opset: int = 18,
    functions: str = "",
    domains: str = "",
) -> onnx.ModelProto:
    """The network, with the constants that its text names; outputs have no shape unless one is written."""
    head = f'ir_version: {8 if opset < 21 else 10}, opset_import: ["" : {opset}{domains}]'
    model = onnx.parser.parse_model(f"<{head}> net ({inputs}) => ({outputs}) {{ {body} }} {functions}")
    for output in model.graph.output:
        if not output.type.tensor_type.shape.dim:
            output.type.tensor_type.ClearField("shape")
    named = set(re.findall(r"\w+", body + " " + inputs))
    for name, given in (constants or {}).items():
        if name in named:
            model.graph.initializer.append(numpy_helper.from_array(constant(name, given), name))
    return model


def apart(
    name: str,
    inputs: str,
    first: str,
    second: str,
    constants: Mapping[str, Any] | None = None,
    *,
    exits: frozenset[int] = NOT_SAME,
    at: At = 3.0,
    **options: Any,
) -> Pair:
    """Two texts that a lazy comparison calls the same."""
    return Pair(name, network(inputs, first, constants, **options), network(inputs, second, constants, **options), exits, at)


def varied(name: str, inputs: str, body: str, first: str, second: str, constants: Any = None, **options: Any) -> Pair:
    """One text, in which @ stands for what the two say; an attribute, or what only nearly is the same."""
    exits = options.pop("exits", DIFFERENT)
    return apart(name, inputs, body.replace("@", first), body.replace("@", second), constants, exits=exits, **options)


def stored(name: str, inputs: str, body: str, constants: Mapping[str, Any], other: Mapping[str, Any], **options: Any) -> Pair:
    """One text with constants of which some are others in the second network."""
    exits, at = options.pop("exits", DIFFERENT), options.pop("at", 3.0)
    made = [network(inputs, body, {**constants, **own}, **options) for own in ({}, other)]
    return Pair(name, made[0], made[1], exits, at)


def alike(
    name: str, inputs: str, first: str, second: str, constants: Any = None, *, exits: frozenset[int] = SAME, **options: Any
) -> Pair:
    """Two texts of one network."""
    return apart(name, inputs, first, second, constants, exits=exits, at=options.pop("at", 1.0), **options)


def permuted(name: str, shape: tuple[int, ...], axis: int, order: list[int]) -> NDArray[Any]:
    """The random constant of this name with the entries of an axis in another order."""
    return np.take(constant(name, shape), order, axis)


def changed(name: str, shape: tuple[int, ...], place: Any, number: float) -> NDArray[Any]:
    """The random constant of this name with a number added in one place."""
    array = constant(name, shape).copy()
    array[place] += np.float32(number)
    return array


def same(name: str, first: onnx.ModelProto, second: onnx.ModelProto, exits: frozenset[int] = SAME) -> Pair:
    """Two files of one network."""
    return Pair(name, first, second, exits, 1.0)
