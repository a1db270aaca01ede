"""Inputs for a model: image files and arrays, brought to the shape and range that it was trained on; pixels back from it.

"Model units" are those of the model's input; pixels are (height, width) or (height, width, 3) RGB, floats in 0..255.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from onnxnull.errors import Code, OnnxnullError, one_line
from onnxnull.graph.model import GraphInput
from onnxnull.kernel.maps.linear_map import Array

if TYPE_CHECKING:
    from PIL import Image

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
ARRAYS = frozenset({".npy", ".npz"})
_MOST_RANDOM = 1 << 24
"""Entries of a random input: a path through a network is followed for no larger one."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an image becomes an input: resize, crop, scale to `value_range`, subtract `mean`, divide by `std`.

    Attributes:
        size: (height, width); None takes the input's.
        mean, std: per channel, or one number, in units of `value_range`.
        layout: order of the axes; None finds it from where the input has 1 or 3 channels.
        channels: order of the colours.
        value_range: what black and white become before the mean is subtracted.
    """

    size: tuple[int, int] | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: Literal["nchw", "nhwc"] | None = None
    channels: Literal["rgb", "bgr"] = "rgb"
    value_range: tuple[float, float] = (0.0, 1.0)


PRESETS = {
    "imagenet": Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "half": Preprocessing(mean=(0.5,), std=(0.5,)),
    "caffe": Preprocessing(mean=(104.0, 117.0, 123.0), channels="bgr", value_range=(0.0, 255.0)),
}
"""Common preprocessing: torchvision's ImageNet statistics; mean 0.5, std 0.5; Caffe's BGR means in 0..255."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One input as an array in the model's shape. `file` is the path as typed, or its last part where absolute, or "random".

    Where the model leaves the batch open, one sample of it: the second of three in a file is "FILE[1]". Floating-point inputs
    are float64; inputs of integers and booleans have the model's own type, so that no token id is rounded.
    """

    file: str
    input: str
    array: np.ndarray


def load_folder(folder: Path, inputs: Sequence[GraphInput], preprocessing: Preprocessing) -> list[Sample]:
    """Every image and array in `folder`, in the order of their names.

    Raises:
        OnnxnullError: the folder holds none, a file cannot be read, or it does not fit the model.
    """
    if not folder.is_dir():
        raise OnnxnullError(Code.DATA, f"{str(folder)!r} is no folder", "name a folder of images or .npy files")
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGES | ARRAYS)
    except OSError as error:
        raise OnnxnullError(Code.DATA, f"{str(folder)!r}: {error.strerror}") from None
    if not files:
        raise OnnxnullError(Code.DATA, f"no image and no array in {str(folder)!r}", "put .png, .jpg or .npy files there")
    return [sample for path in files for sample in load(path, inputs, preprocessing)]


def load(path: Path, inputs: Sequence[GraphInput], preprocessing: Preprocessing) -> Iterator[Sample]:
    """The samples of one file: an image or .npy for the only input of the model, .npz for inputs by name.

    Raises:
        OnnxnullError: the file cannot be read, or does not fit the model.
    """
    try:
        for described, array in list(_read(path, inputs, preprocessing)):
            yield from _samples(path, described, array)
    except OnnxnullError:
        raise
    except Exception as error:  # noqa: BLE001 - NumPy, zipfile and Pillow raise a dozen classes on a damaged file
        raise OnnxnullError(Code.DATA, f"{path.name!r}: {one_line(error) or type(error).__name__}") from None


def _read(path: Path, inputs: Sequence[GraphInput], preprocessing: Preprocessing) -> Iterator[tuple[GraphInput, np.ndarray]]:
    if path.suffix.lower() not in ARRAYS:
        yield _only(inputs), read_image(path, _only(inputs), preprocessing)
        return
    content = np.load(path, allow_pickle=False)  # which it is, the content says, not the name
    if isinstance(content, np.ndarray):
        yield _only(inputs), content
        return
    with content as archive:
        for name in archive.files:
            yield _named(inputs, name), archive[name]


def read_image(path: Path, described: GraphInput, preprocessing: Preprocessing) -> np.ndarray:
    """The image as a batch of one, (1, C, H, W) or (1, H, W, C), float64.

    The shorter side is scaled to the target's (bicubic), the middle is cropped. Transparency is ignored, 16-bit greys are
    rounded to 8 bits.
    """
    from PIL import Image, ImageOps

    channels, size = _geometry(described, preprocessing)
    with Image.open(path) as opened:
        image = _with_8_bits(ImageOps.exif_transpose(opened)).convert("L" if channels == 1 else "RGB")
    return from_pixels(np.asarray(_cropped(image, size)), described, preprocessing)


def from_pixels(pixels: np.ndarray, described: GraphInput, preprocessing: Preprocessing) -> Array:
    """(H, W) or (H, W, 3) RGB pixels in 0..255 → a batch of one in model units, (1, C, H, W) or (1, H, W, C), float64.

    Raises:
        OnnxnullError: the input is no image, or mean and std do not fit its channels.
    """
    layout, channels, _ = _layout(described, preprocessing)
    mean, std = _statistics(preprocessing, channels)
    levels = np.asarray(pixels, dtype=np.float64).reshape(*pixels.shape[:2], channels) / 255.0
    low, high = preprocessing.value_range
    levels = low + (high - low) * levels
    if preprocessing.channels == "bgr":
        levels = levels[..., ::-1]
    levels = (levels - mean) / std
    tensor: Array = levels.transpose(2, 0, 1) if layout == "nchw" else levels
    return tensor[None]


def pixels(array: np.ndarray, described: GraphInput, preprocessing: Preprocessing) -> Array:
    """The inverse of `from_pixels`: (1, C, H, W) or (1, H, W, C) in model units → (H, W) or (H, W, 3), not rounded or clipped.

    Raises:
        OnnxnullError: as `from_pixels`, or the preprocessing makes black and white the same.
    """
    layout, channels, _ = _layout(described, preprocessing)
    mean, std = _statistics(preprocessing, channels)
    low, high = _range(preprocessing)
    tensor = np.asarray(array, dtype=np.float64)[0]
    levels = (tensor.transpose(1, 2, 0) if layout == "nchw" else tensor) * std + mean
    if preprocessing.channels == "bgr":
        levels = levels[..., ::-1]
    levels = (levels - low) / (high - low) * 255.0
    picture: Array = levels[..., 0] if channels == 1 else levels
    return picture


def box(described: GraphInput, preprocessing: Preprocessing) -> tuple[Array, Array]:
    """What black and white become: (lower, upper) in model units, (1, C, 1, 1) or (1, 1, 1, C), for any sign of `std`.

    The bounds are rounded inward to float32: what lies between them still does when it is rounded to float32. A pixel that is
    exactly black or white may thus lie less than one float32 step outside of them: clip an original before it is changed.

    Raises:
        OnnxnullError: as `pixels`.
    """
    _range(preprocessing)
    _, channels, _ = _layout(described, preprocessing)
    ends = [from_pixels(np.full((1, 1, channels), level), described, preprocessing) for level in (0.0, 255.0)]
    lower, upper = _inward(np.minimum(*ends), np.maximum(*ends))
    if np.any(lower > upper):
        raise OnnxnullError(Code.DATA, "black and white become the same float32 number", "see --range and --std")
    return lower, upper


def random_sample(described: GraphInput, seed: int, lower: Array | None = None, upper: Array | None = None) -> Sample:
    """A random input; an open batch becomes 1. Another input of the same model gets other numbers from the same seed.

    Args:
        lower, upper: broadcast to the input's shape. Floats are uniform between them, standard normal where one is not finite
            or none is given, and rounded to float32 (within the bounds). Integers are 0, booleans are False.

    Raises:
        OnnxnullError: `unknown-shape` where a dimension other than the batch is open, `too-large`, `data` for other types.
    """
    shape = described.shape
    if shape is None or None in shape[1:]:
        raise OnnxnullError(Code.SHAPE, f"the shape of input {described.name!r} is open", "fix it with --input-shape")
    sizes = tuple(1 if size is None else size for size in shape)
    if math.prod(sizes) > _MOST_RANDOM:
        raise OnnxnullError(Code.TOO_LARGE, f"input {described.name!r} has {math.prod(sizes)} entries", "give it as a file")
    kind = _type(described)
    if kind is None:
        why = f"no random input of type {described.dtype} for {described.name!r}"
        raise OnnxnullError(Code.DATA, why, "give it as a file")
    if kind.kind != "f":
        return Sample("random", described.name, np.zeros(sizes, dtype=kind))
    rng = np.random.default_rng([seed, zlib.crc32(described.name.encode())])
    low, high = _inward(
        np.broadcast_to(-np.inf if lower is None else lower, sizes), np.broadcast_to(np.inf if upper is None else upper, sizes)
    )
    normal, share = rng.standard_normal(sizes), rng.random(sizes)
    bounded = np.isfinite(low) & np.isfinite(high)
    between = np.where(bounded, low, 0.0) * (1.0 - share) + np.where(bounded, high, 0.0) * share
    values = np.where(bounded, between, normal).astype(np.float32).astype(np.float64)
    return Sample("random", described.name, np.asarray(np.clip(values, low, high)))


def _inward(lower: Array, upper: Array) -> tuple[Array, Array]:
    """The smallest float32 not below `lower` and the largest not above `upper`, as float64."""
    with np.errstate(over="ignore"):
        low, high = np.asarray(lower, dtype=np.float32), np.asarray(upper, dtype=np.float32)
    low = np.where(low < lower, np.nextafter(low, np.float32(np.inf)), low)
    high = np.where(high > upper, np.nextafter(high, np.float32(-np.inf)), high)
    return low.astype(np.float64), high.astype(np.float64)


def _statistics(preprocessing: Preprocessing, channels: int) -> tuple[Array, Array]:
    """Mean and standard deviation, each of one channel or of all."""
    for values in (preprocessing.mean, preprocessing.std):
        if len(values) not in (1, channels):
            raise OnnxnullError(Code.DATA, f"mean and std of {len(values)} channels for an image of {channels}")
    return np.array(preprocessing.mean, dtype=np.float64), np.array(preprocessing.std, dtype=np.float64)


def _range(preprocessing: Preprocessing) -> tuple[float, float]:
    low, high = preprocessing.value_range
    if low == high:
        raise OnnxnullError(Code.DATA, f"black and white both become {low:g}", "see --range")
    return low, high


def _geometry(described: GraphInput, preprocessing: Preprocessing) -> tuple[int, tuple[int, int]]:
    """(channels, (height, width)) of an image input."""
    _, channels, sides = _layout(described, preprocessing)
    height, width = preprocessing.size or sides
    if height is None or width is None:
        raise OnnxnullError(Code.DATA, f"the size of input {described.name!r} is open", "fix it with --input-shape or --size")
    return channels, (height, width)


def _layout(described: GraphInput, preprocessing: Preprocessing) -> tuple[str, int, tuple[int | None, ...]]:
    """(layout, channels, (height, width) as far as the model says)."""
    shape = described.shape
    if shape is None or len(shape) != 4:
        raise OnnxnullError(
            Code.DATA, f"input {described.name!r} is no image (batch, channels, height, width)", "give arrays (.npy)"
        )
    layout = preprocessing.layout or ("nchw" if shape[1] in (1, 3) else "nhwc")
    channels, sides = (shape[1], shape[2:]) if layout == "nchw" else (shape[3], shape[1:3])
    if channels not in (1, 3):
        raise OnnxnullError(
            Code.DATA, f"input {described.name!r} has {channels} channels, an image has 1 or 3", "give arrays (.npy)"
        )
    return layout, channels, sides


def _with_8_bits(image: Image.Image) -> Image.Image:
    """Pillow clips 16-bit greys when it converts them."""
    from PIL import Image

    if image.mode == "F":
        raise OnnxnullError(Code.DATA, "an image of floating-point numbers, whose range nothing says", "give arrays (.npy)")
    if not image.mode.startswith("I"):
        return image
    levels = np.asarray(image).clip(0, 65535).astype(np.float64) / 257.0
    return Image.fromarray(np.rint(levels).astype(np.uint8))


def _cropped(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    from PIL import Image, ImageOps

    height, width = size
    return ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)


def _samples(path: Path, described: GraphInput, array: np.ndarray) -> Iterator[Sample]:
    shape, file = described.shape, path.name if path.is_absolute() else str(path)
    numbers = "fiub" if described.dtype == "bool" else "fiu"
    if array.dtype.kind not in numbers or not np.all(np.isfinite(array)):
        raise OnnxnullError(Code.DATA, f"{path.name!r} holds something that is not a finite number")
    if shape is not None and len(array.shape) == len(shape) - 1:
        array = array[None]
    if (
        shape is None
        or len(array.shape) != len(shape)
        or any(d not in (None, n) for d, n in zip(shape, array.shape, strict=True))
    ):
        expected = "unknown" if shape is None else "×".join("?" if d is None else str(d) for d in shape)
        raise OnnxnullError(Code.DATA, f"{path.name!r} has shape {array.shape}, input {described.name!r} is {expected}")
    array = _in_type(array, described, path.name)
    if len(shape) > 1 and shape[0] is None and len(array) != 1:
        yield from (Sample(f"{file}[{i}]", described.name, array[i : i + 1]) for i in range(len(array)))
    else:
        yield Sample(file, described.name, array)


def _type(described: GraphInput) -> np.dtype[Any] | None:
    """What a sample of this input is held in; None where the input holds no numbers."""
    name = described.dtype
    if name.startswith(("float", "bfloat")):
        return np.dtype(np.float64)
    if name == "bool":
        return np.dtype(np.bool_)
    if not name.startswith(("int", "uint")):
        return None
    # NumPy has no integers of 2 and 4 bits
    return np.dtype(f"{'u' if name.startswith('u') else ''}int{max(8, _bits(name))}")


def _bits(integer: str) -> int:
    return int(integer.removeprefix("u").removeprefix("int"))


def _in_type(array: np.ndarray, described: GraphInput, file: str) -> np.ndarray:
    """The same numbers in the type of `_type`; whole numbers may come as floats, as a picture's do."""
    kind = _type(described)
    if kind is None or kind.kind == "f":
        return np.asarray(array, dtype=np.float64)
    whole = array
    if array.dtype.kind == "f":
        whole = np.rint(array)
        if np.any(np.abs(array - whole) > 1e-6):
            why = f"{file!r} holds fractions, and input {described.name!r} is {described.dtype}"
            raise OnnxnullError(Code.DATA, why, "give whole numbers (for a picture: --range 0,255)")
    bits = 1 if kind.kind == "b" else _bits(described.dtype)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind.kind == "i" else (0, (1 << bits) - 1)
    if whole.size and not low <= int(whole.min()) <= int(whole.max()) <= high:
        raise OnnxnullError(Code.DATA, f"{file!r} holds numbers that input {described.name!r} ({described.dtype}) cannot")
    return whole.astype(kind)


def _only(inputs: Sequence[GraphInput]) -> GraphInput:
    if len(inputs) != 1:
        names = ", ".join(repr(i.name) for i in inputs)
        raise OnnxnullError(
            Code.DATA, f"the model has {len(inputs)} inputs ({names})", "give .npz files with an array for each"
        )
    return inputs[0]


def _named(inputs: Sequence[GraphInput], name: str) -> GraphInput:
    for described in inputs:
        if described.name == name:
            return described
    raise OnnxnullError(
        Code.DATA, f"an array {name!r}, and no input of that name; inputs are {', '.join(i.name for i in inputs)}"
    )
