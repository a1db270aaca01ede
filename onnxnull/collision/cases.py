"""What a search starts from: the inputs of a network as cases, and which of their entries may change."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.errors import Code, OnnxnullError, one_line
from onnxnull.frontier import find
from onnxnull.graph.model import GraphInput
from onnxnull.inputs import ARRAYS, Preprocessing, Sample, box, load, load_folder, random_sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onnxnull.graph.flow import Flow
    from onnxnull.kernel.maps.linear_map import Array


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One set of inputs of the network.

    Attributes:
        source: the file it is from, or "random".
        arrays: input → array.
        image: how the input was read, where it was an image.
    """

    source: str
    arrays: Mapping[str, np.ndarray]
    image: Preprocessing | None = None


def load_cases(path: str | os.PathLike[str], inputs: Sequence[GraphInput], preprocessing: Preprocessing) -> list[Case]:
    """The cases of a file or of all files in a folder: an image, an .npy array, or an .npz with an array for every input.

    Raises:
        OnnxnullError: `data` where a file cannot be read or does not fit the model, or an input gets no array.
    """
    path = Path(path)
    if path.is_dir():
        samples = load_folder(path, inputs, preprocessing)
    elif not path.exists():
        raise OnnxnullError(Code.DATA, f"no such file: {str(path)!r}", "check the path")
    else:
        samples = list(load(path, inputs, preprocessing))
    return list(_together(samples, [described.name for described in inputs], preprocessing))


def random_case(inputs: Sequence[GraphInput], seed: int, boxes: Mapping[str, tuple[Array, Array]]) -> Case:
    """Random numbers for every input, in its box where it has one; integers are 0."""
    samples = [random_sample(described, seed, *boxes.get(described.name, ())) for described in inputs]
    return Case("random", {sample.input: sample.array for sample in samples})


def quantizer_ranges(flow: Flow) -> dict[str, tuple[Array, Array]]:
    """Input that a quantizer of known scale rounds first → the middle half of the numbers that it tells apart.

    Standard normal numbers may all lie beyond the ends, where every change is hidden.
    """
    if all(node.op_type != "QuantizeLinear" for node in flow.nodes):
        return {}
    found = {}
    for front in find(flow):
        rounds = front.quantizer
        if rounds is not None and rounds.scale is not None and rounds.zero_point is not None:
            low, high = (rounds.scale * (code - rounds.zero_point) for code in (rounds.low, rounds.high))
            rim = 0.25 * (high - low)
            found[front.input.name] = np.array(low + rim), np.array(high - rim)
    return found


def pixel_box(described: GraphInput, preprocessing: Preprocessing) -> tuple[Array, Array] | None:
    """The valid range of an image input; None where the input is no image.

    Raises:
        OnnxnullError: `data` where the preprocessing does not fit its channels.
    """
    shape = described.shape
    image = shape is not None and len(shape) == 4 and (shape[1] in (1, 3) or shape[3] in (1, 3))
    return box(described, preprocessing) if image else None


def region(shape: Sequence[int], layout: str | None, corner: tuple[int, int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The entries of a rectangle, (top, left) and (height, width), of an image tensor of this shape.

    Raises:
        OnnxnullError: `data` where the tensor is no image, or the rectangle does not lie in it.
    """
    first = _rows_axis(shape, layout)
    height, width = shape[first : first + 2]
    (top, left), (tall, wide) = corner, size
    if min(top, left) < 0 or min(tall, wide) < 1 or top + tall > height or left + wide > width:
        seen = f"the region {top},{left},{tall},{wide} does not lie in an image of {height}×{width}"
        raise OnnxnullError(Code.DATA, seen, "give TOP,LEFT,HEIGHT,WIDTH in pixels of the input")
    free = np.zeros(tuple(shape), dtype=bool)
    inside = [slice(None)] * len(shape)
    inside[first : first + 2] = [slice(top, top + tall), slice(left, left + wide)]
    free[tuple(inside)] = True
    return free


def read_mask(path: Path, shape: Sequence[int], layout: str | None) -> NDArray[np.bool_]:
    """The entries that may change: an image of the input's size, bright where they may, or an array of its shape, not 0 there.

    Raises:
        OnnxnullError: `data` where the file cannot be read, does not fit, or leaves nothing free.
    """
    try:
        if path.suffix.lower() in ARRAYS:
            found = np.asarray(np.load(path, allow_pickle=False)) != 0
        else:
            from PIL import Image

            with Image.open(path) as image:
                found = np.asarray(image.convert("L")) >= 128
    except Exception as error:  # noqa: BLE001 - NumPy and Pillow raise a dozen classes on a damaged file
        raise OnnxnullError(Code.DATA, f"{path.name!r}: {one_line(error) or type(error).__name__}") from None
    if found.shape != tuple(shape):
        first = _rows_axis(shape, layout)
        if found.shape != tuple(shape[first : first + 2]):
            expected = "×".join(map(str, shape[first : first + 2]))
            raise OnnxnullError(Code.DATA, f"the mask {path.name!r} has shape {found.shape}, the input is {expected}")
        found = np.broadcast_to(found.reshape(found.shape + (1,) * (len(shape) - first - 2)), tuple(shape))
    if not found.any():
        raise OnnxnullError(Code.DATA, f"the mask {path.name!r} is dark everywhere", "what may change is bright")
    free: NDArray[np.bool_] = found
    return free


def _rows_axis(shape: Sequence[int], layout: str | None) -> int:
    if len(shape) != 4:
        raise OnnxnullError(Code.DATA, f"a tensor of shape {tuple(shape)} is no image", "give an array as --mask")
    return 1 if (layout or ("nchw" if shape[1] in (1, 3) or shape[3] not in (1, 3) else "nhwc")) == "nhwc" else 2


def _together(samples: Sequence[Sample], names: Sequence[str], preprocessing: Preprocessing) -> Iterator[Case]:
    """The samples of one file, or of one batch entry of it, as a case; what has no batch axis goes to every entry."""
    files: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for sample in samples:
        file, bracket, entry = sample.file.partition("[") if sample.file.endswith("]") else (sample.file, "", "")
        files.setdefault(file, {}).setdefault(bracket + entry, {})[sample.input] = sample.array
    for file, entries in files.items():
        shared = entries.pop("", {})
        for entry, arrays in (entries or {"": {}}).items():
            whole = {**shared, **arrays}
            missing = [name for name in names if name not in whole]
            if missing:
                raise OnnxnullError(Code.DATA, f"{file!r} holds no array for input {missing[0]!r}", "give it in an .npz file")
            image = None if Path(file).suffix.lower() in ARRAYS else preprocessing
            yield Case(file + entry, whole, image)
