"""Real inputs for a model: image files and NumPy arrays, brought to the shape and the range that the model was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from onnxnull.errors import Code, OnnxnullError, one_line
from onnxnull.graph.model import GraphInput

if TYPE_CHECKING:
    from PIL import Image

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
ARRAYS = frozenset({".npy", ".npz"})


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
    """One input as an array in the model's shape, float64. `file` is the path as typed, or its last part where absolute.

    Where the model leaves the batch open, one sample of it: the second of three in a file is "FILE[1]".
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

    layout, channels, size = _geometry(described, preprocessing)
    with Image.open(path) as opened:
        image = _with_8_bits(ImageOps.exif_transpose(opened)).convert("L" if channels == 1 else "RGB")
    pixels = np.asarray(_cropped(image, size), dtype=np.float64).reshape(*size, channels) / 255.0
    low, high = preprocessing.value_range
    pixels = low + (high - low) * pixels
    if preprocessing.channels == "bgr":
        pixels = pixels[..., ::-1]
    pixels = (pixels - np.array(preprocessing.mean)) / np.array(preprocessing.std)
    if pixels.shape[-1] != channels:
        raise OnnxnullError(Code.DATA, f"mean and std of {pixels.shape[-1]} channels for an image of {channels}")
    tensor: np.ndarray = pixels.transpose(2, 0, 1) if layout == "nchw" else pixels
    return tensor[None]


def _geometry(described: GraphInput, preprocessing: Preprocessing) -> tuple[str, int, tuple[int, int]]:
    """(layout, channels, (height, width)) of an image input."""
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
    height, width = preprocessing.size or sides
    if height is None or width is None:
        raise OnnxnullError(Code.DATA, f"the size of input {described.name!r} is open", "fix it with --input-shape or --size")
    return layout, channels, (height, width)


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
    if array.dtype.kind not in "fiu" or not np.all(np.isfinite(array)):
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
    array = np.asarray(array, dtype=np.float64)
    if len(shape) > 1 and shape[0] is None and len(array) != 1:
        yield from (Sample(f"{file}[{i}]", described.name, array[i : i + 1]) for i in range(len(array)))
    else:
        yield Sample(file, described.name, array)


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
