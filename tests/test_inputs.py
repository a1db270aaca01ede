"""Images and arrays as inputs: the numbers of the preprocessing, and one clear error for what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.model import GraphInput
from onnxnull.inputs import (
    PRESETS,
    Preprocessing,
    box,
    from_pixels,
    load,
    load_folder,
    pixels,
    random_sample,
    read_image,
)

COLOUR = GraphInput("x", "float32", (1, 3, 4, 6))
PLAIN = Preprocessing()


def picture(path: Path, shape: tuple[int, ...] = (4, 6, 3), seed: int = 0, **options: Any) -> np.ndarray:
    """A random picture saved at `path`; its levels as floats."""
    levels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(levels).save(path, **options)
    return levels.astype(np.float64)


def test_plain_is_levels_over_255(tmp_path: Path) -> None:
    levels = picture(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png", COLOUR, PLAIN)
    np.testing.assert_allclose(found, (levels / 255).transpose(2, 0, 1)[None], rtol=1e-15)


def test_imagenet(tmp_path: Path) -> None:
    levels = picture(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png", COLOUR, PRESETS["imagenet"])
    for channel, (mean, std) in enumerate(zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)):
        np.testing.assert_allclose(found[0, channel], (levels[..., channel] / 255 - mean) / std, rtol=1e-12, atol=1e-12)


def test_caffe_is_blue_first_in_levels(tmp_path: Path) -> None:
    levels = picture(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png", COLOUR, PRESETS["caffe"])
    for channel, (source, mean) in enumerate(((2, 104.0), (1, 117.0), (0, 123.0))):
        np.testing.assert_allclose(found[0, channel], levels[..., source] - mean, atol=1e-10)


def test_half_on_a_grey_input(tmp_path: Path) -> None:
    levels = picture(tmp_path / "a.png", (4, 6))
    found = read_image(tmp_path / "a.png", GraphInput("x", "float32", (None, 1, 4, 6)), PRESETS["half"])
    np.testing.assert_allclose(found, ((levels / 255 - 0.5) / 0.5)[None, None], atol=1e-15)


def test_channels_last(tmp_path: Path) -> None:
    levels = picture(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png", GraphInput("x", "float32", (1, 4, 6, 3)), PLAIN)
    np.testing.assert_allclose(found, (levels / 255)[None], rtol=1e-15)
    # the layout can be said where the shape allows both
    both = GraphInput("x", "float32", (1, 3, 4, 3))
    picture(tmp_path / "b.png", (3, 4, 3))
    assert read_image(tmp_path / "b.png", both, Preprocessing(layout="nhwc")).shape == (1, 3, 4, 3)
    assert read_image(tmp_path / "b.png", both, PLAIN).shape == (1, 3, 4, 3)


def test_range(tmp_path: Path) -> None:
    levels = picture(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png", COLOUR, Preprocessing(value_range=(-1.0, 1.0)))
    np.testing.assert_allclose(found[0], (levels / 127.5 - 1).transpose(2, 0, 1), atol=1e-14)


def test_grey_pictures_fill_three_channels_and_colours_become_grey(tmp_path: Path) -> None:
    levels = picture(tmp_path / "grey.png", (4, 6))
    found = read_image(tmp_path / "grey.png", COLOUR, PLAIN)
    np.testing.assert_allclose(found[0], np.stack([levels / 255] * 3), rtol=1e-15)
    colours = picture(tmp_path / "a.png")
    grey = read_image(tmp_path / "a.png", GraphInput("x", "float32", (1, 1, 4, 6)), PLAIN)
    np.testing.assert_allclose(grey[0, 0], colours @ [0.299, 0.587, 0.114] / 255, atol=0.6 / 255)


def test_transparency_is_ignored(tmp_path: Path) -> None:
    levels = picture(tmp_path / "a.png", (4, 6, 4))
    found = read_image(tmp_path / "a.png", COLOUR, PLAIN)
    np.testing.assert_allclose(found[0], (levels[..., :3] / 255).transpose(2, 0, 1), rtol=1e-15)


def test_greys_of_16_bits_are_not_clipped(tmp_path: Path) -> None:
    levels = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2800
    Image.fromarray(levels).save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png", GraphInput("x", "float32", (1, 1, 4, 6)), PLAIN)
    np.testing.assert_allclose(found[0, 0], levels / 65535, atol=0.51 / 255)


def test_pictures_are_turned_as_the_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    levels = picture(tmp_path / "a.png", (6, 4, 3), exif=exif)
    found = read_image(tmp_path / "a.png", COLOUR, PLAIN)
    np.testing.assert_allclose(found[0], (np.rot90(levels, -1) / 255).transpose(2, 0, 1), rtol=1e-15)


@pytest.mark.parametrize("shape", [(9, 13, 3), (40, 7, 3), (1, 1, 3), (5, 300, 3)])
def test_odd_sizes_are_scaled_and_cropped(shape: tuple[int, ...], tmp_path: Path) -> None:
    Image.fromarray(np.full(shape, 100, np.uint8)).save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png", COLOUR, PLAIN)
    np.testing.assert_allclose(found, np.full((1, 3, 4, 6), 100 / 255))


def test_the_middle_is_kept(tmp_path: Path) -> None:
    levels = picture(tmp_path / "a.png", (4, 10, 3))
    found = read_image(tmp_path / "a.png", COLOUR, PLAIN)
    np.testing.assert_allclose(found[0], (levels[:, 2:8] / 255).transpose(2, 0, 1), rtol=1e-15)


def test_arrays(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((1, 3, 4, 6)).astype(np.float32)
    np.save(tmp_path / "whole.npy", x)
    np.save(tmp_path / "sample.npy", x[0])
    for name in ("whole", "sample"):
        (sample,) = load(tmp_path / f"{name}.npy", [COLOUR], PLAIN)
        assert (sample.file, sample.input, sample.array.dtype.name) == (f"{name}.npy", "x", "float64")
        np.testing.assert_array_equal(sample.array, x)


def test_several_inputs_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((1, 3, 4, 6)), z=np.arange(5))
    samples = list(load(tmp_path / "a.npz", [COLOUR, GraphInput("z", "float32", (5,))], PLAIN))
    assert [(s.input, s.array.shape) for s in samples] == [("x", (1, 3, 4, 6)), ("z", (5,))]


def test_an_open_batch_is_taken_sample_by_sample(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((3, 3, 4, 6))
    np.save(tmp_path / "a.npy", x)
    samples = list(load(tmp_path / "a.npy", [GraphInput("x", "float32", (None, 3, 4, 6))], PLAIN))
    assert [s.file for s in samples] == ["a.npy[0]", "a.npy[1]", "a.npy[2]"]
    np.testing.assert_array_equal(np.concatenate([s.array for s in samples]), x)


def test_folder_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "c.npy", "labels.csv"):
        if name.endswith("npy"):
            np.save(tmp_path / name, np.zeros((3, 4, 6)))
        elif name.endswith("csv"):
            (tmp_path / name).write_text("file,label\n")
        else:
            picture(tmp_path / name)
    assert [sample.file for sample in load_folder(tmp_path, [COLOUR], PLAIN)] == ["a.JPG", "b.png", "c.npy"]


def damaged_npz(path: Path) -> None:
    np.savez(path, x=np.zeros((1, 3, 4, 6)))
    path.write_bytes(path.read_bytes()[:200])


def huge_npy(path: Path) -> None:
    np.save(path, np.zeros(3))
    path.write_bytes(path.read_bytes().replace(b"(3,), }" + b" " * 14, b"(99999999999999,), }" + b" "))


WRONG: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "wrong shape": ("a.npy", lambda p: np.save(p, np.zeros((1, 3, 4, 7))), "has shape (1, 3, 4, 7), input 'x' is 1×3×4×6"),
    "NaN": ("a.npy", lambda p: np.save(p, np.full((1, 3, 4, 6), np.nan)), "finite"),
    "Inf": ("a.npy", lambda p: np.save(p, np.full((1, 3, 4, 6), np.inf)), "finite"),
    "text": ("a.npy", lambda p: np.save(p, np.array(["a", "b"])), "finite number"),
    "complex": ("a.npy", lambda p: np.save(p, np.zeros((1, 3, 4, 6), complex)), "finite number"),
    "pickled": ("a.npy", lambda p: np.save(p, np.array([{}, []], dtype=object), allow_pickle=True), "pickle"),
    "pickled inside": ("a.npz", lambda p: np.savez(p, x=np.array([{}], dtype=object)), "pickle"),
    "no array": ("a.npy", lambda p: p.write_text("hello"), "a.npy"),
    "empty array file": ("a.npy", lambda p: p.write_bytes(b""), "a.npy"),
    "cut short": ("a.npz", damaged_npz, "a.npz"),
    "huge": ("a.npy", huge_npy, "a.npy"),
    "another name": ("a.npz", lambda p: np.savez(p, y=np.zeros(3)), "an array 'y', and no input of that name"),
    "no picture": ("a.png", lambda p: p.write_text("hello"), "a.png"),
    "empty picture": ("a.jpg", lambda p: p.write_bytes(b""), "a.jpg"),
    "a folder named like a picture": ("a.png", lambda p: p.mkdir(), "a.png"),
    "a picture of floats": ("a.tiff", lambda p: Image.fromarray(np.ones((4, 6), np.float32)).save(p), "floating-point"),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_clear_error(name: str, tmp_path: Path) -> None:
    file, write, says = WRONG[name]
    write(tmp_path / file)
    with pytest.raises(OnnxnullError) as error:
        load_folder(tmp_path, [COLOUR], PLAIN)
    assert error.value.code is Code.DATA
    assert says in error.value.seen
    assert "\n" not in str(error.value)


def test_a_picture_cut_short(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (40, 60, 3))
    for length in (20, 60, 500):
        (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:length])
        with pytest.raises(OnnxnullError) as error:
            list(load(tmp_path / "b.png", [COLOUR], PLAIN))
        assert error.value.code is Code.DATA


@pytest.mark.parametrize(
    ("described", "preprocessing", "says"),
    [
        (GraphInput("x", "float32", (1, 16)), PLAIN, "is no image"),
        (GraphInput("x", "float32", None), PLAIN, "is no image"),
        (GraphInput("x", "float32", (1, 5, 4, 6)), PLAIN, "channels"),
        (GraphInput("x", "float32", (1, 3, None, None)), PLAIN, "is open"),
        (COLOUR, Preprocessing(size=(5, 5)), "has shape (1, 3, 5, 5)"),
        (GraphInput("x", "float32", (1, 1, 4, 6)), PRESETS["imagenet"], "mean and std of 3 channels"),
        (COLOUR, Preprocessing(mean=(1.0, 2.0)), "mean and std of 2 channels"),
    ],
)
def test_pictures_that_do_not_fit(described: GraphInput, preprocessing: Preprocessing, says: str, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(OnnxnullError) as error:
        load_folder(tmp_path, [described], preprocessing)
    assert error.value.code is Code.DATA
    assert says in error.value.seen


def test_pictures_for_a_model_of_two_inputs(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(OnnxnullError) as error:
        load_folder(tmp_path, [COLOUR, GraphInput("z", "float32", (5,))], PLAIN)
    assert error.value.code is Code.DATA
    assert "2 inputs ('x', 'z')" in error.value.seen
    assert ".npz" in error.value.remedy


@pytest.mark.parametrize("folder", ["absent", "file.txt", "."])
def test_no_folder_and_an_empty_one(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(OnnxnullError) as error:
        load_folder(tmp_path / folder, [COLOUR], PLAIN)
    assert error.value.code is Code.DATA


GREY = GraphInput("x", "float32", (None, 1, 4, 6))
LAST = GraphInput("x", "float32", (1, 4, 6, 3))
OPEN = GraphInput("x", "float32", (None, 3, None, None))
WAYS = {
    "plain": (COLOUR, PLAIN),
    "imagenet": (COLOUR, PRESETS["imagenet"]),
    "caffe, channels last": (LAST, PRESETS["caffe"]),
    "half on grey": (GREY, PRESETS["half"]),
    "negative std": (COLOUR, Preprocessing(mean=(0.1, 0.2, 0.3), std=(-0.3, 0.7, -1.1), value_range=(-1.0, 2.0))),
    "white is low": (GREY, Preprocessing(value_range=(1.0, 0.1))),
    "open size": (OPEN, PRESETS["imagenet"]),
}


@pytest.mark.parametrize("way", WAYS)
def test_pixels_undo_the_preprocessing(way: str, tmp_path: Path) -> None:
    described, preprocessing = WAYS[way]
    channels = () if described is GREY else (3,)
    levels = picture(tmp_path / "a.png", (4, 6, *channels))
    if described is not OPEN:
        read = read_image(tmp_path / "a.png", described, preprocessing)
        np.testing.assert_allclose(pixels(read, described, preprocessing), levels, atol=1e-9)
    x = np.random.default_rng(1).standard_normal((1, 4, 6, 3) if described is LAST else (1, len(channels) * 2 + 1, 4, 6))
    back = from_pixels(pixels(x, described, preprocessing), described, preprocessing)
    assert back.shape == x.shape
    np.testing.assert_allclose(back, x, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_the_box_holds_every_picture(way: str) -> None:
    described, preprocessing = WAYS[way]
    lower, upper = box(described, preprocessing)
    channels = 1 if described is GREY else 3
    assert lower.shape == upper.shape == ((1, 1, 1, 3) if described is LAST else (1, channels, 1, 1))
    assert np.all(lower < upper)
    for bound in (lower, upper):
        np.testing.assert_array_equal(bound, bound.astype(np.float32))
    ends = np.stack([from_pixels(np.full((1, 1, channels), v), described, preprocessing) for v in (0.0, 255.0)])
    step = np.spacing(np.abs(ends).max(axis=0).astype(np.float32)).astype(np.float64)
    for bound, end in ((lower, ends.min(axis=0)), (-upper, -ends.max(axis=0))):
        assert np.all(bound >= end)
        assert np.all(bound <= end + step)
    inside = lower + (upper - lower) * np.random.default_rng(0).random((100, *lower.shape))
    assert np.all((inside.astype(np.float32) >= lower) & (inside.astype(np.float32) <= upper))


def test_no_box_without_a_range() -> None:
    for preprocessing in (Preprocessing(value_range=(1.0, 1.0)), Preprocessing(mean=(0.1,), value_range=(1.0, 1.0 + 1e-12))):
        with pytest.raises(OnnxnullError, match="black and white"):
            box(COLOUR, preprocessing)
    with pytest.raises(OnnxnullError, match="black and white"):
        pixels(np.zeros((1, 3, 4, 6)), COLOUR, Preprocessing(value_range=(1.0, 1.0)))


def test_random_inputs() -> None:
    lower, upper = box(COLOUR, PRESETS["imagenet"])
    first, again = (random_sample(COLOUR, 7, lower, upper) for _ in range(2))
    assert (first.file, first.input, first.array.shape, first.array.dtype.name) == ("random", "x", (1, 3, 4, 6), "float64")
    np.testing.assert_array_equal(first.array, again.array)
    np.testing.assert_array_equal(first.array, first.array.astype(np.float32))
    assert np.all((first.array >= lower) & (first.array <= upper))
    other = random_sample(GraphInput("y", "float32", (1, 3, 4, 6)), 7, lower, upper).array
    assert not np.any(other == first.array)
    assert not np.any(random_sample(COLOUR, 8, lower, upper).array == first.array)
    scalar = random_sample(GraphInput("gain", "float32", ()), 0).array
    assert isinstance(scalar, np.ndarray)
    assert scalar.shape == ()


def test_random_inputs_without_bounds_are_normal() -> None:
    wide = GraphInput("x", "bfloat16", (None, 10000))
    values = random_sample(wide, 0).array
    assert values.shape == (1, 10000)
    assert abs(values.mean()) < 0.05
    assert abs(values.std() - 1) < 0.05
    half = random_sample(wide, 0, np.array(0.0)).array
    np.testing.assert_array_equal(half, np.maximum(values, 0))
    mixed = random_sample(
        GraphInput("x", "float32", (2, 500)), 0, np.array([[1e30], [-np.inf]]), np.array([[2e30], [5.0]])
    ).array
    assert np.all((mixed[0] >= 1e30) & (mixed[0] <= 2e30))
    assert np.all(np.abs(mixed[1]) <= 5)


@pytest.mark.parametrize(("dtype", "held"), [("int64", "int64"), ("uint8", "uint8"), ("bool", "bool"), ("int4", "int8")])
def test_random_inputs_of_other_types_are_zero(dtype: str, held: str) -> None:
    array = random_sample(GraphInput("ids", dtype, (None, 5)), 3).array
    assert (array.dtype.name, array.tolist()) == (held, [[0] * 5])


@pytest.mark.parametrize(
    ("described", "code"),
    [
        (GraphInput("x", "float32", None), Code.SHAPE),
        (GraphInput("x", "float32", (1, 3, None, None)), Code.SHAPE),
        (GraphInput("x", "float32", (1 << 20, 1 << 20)), Code.TOO_LARGE),
        (GraphInput("x", "string", (3,)), Code.DATA),
    ],
)
def test_no_random_input(described: GraphInput, code: Code) -> None:
    with pytest.raises(OnnxnullError) as error:
        random_sample(described, 0)
    assert error.value.code is code
    assert "'x'" in error.value.seen
    if code is Code.SHAPE:
        assert "--input-shape" in error.value.remedy


def test_integers_and_scalars_keep_their_type(tmp_path: Path) -> None:
    big = (1 << 53) + 1  # no double
    inputs = [GraphInput("ids", "int64", (None, 2)), GraphInput("rate", "int64", ()), GraphInput("gain", "float32", ())]
    inputs += [GraphInput("flag", "bool", (1,)), GraphInput("level", "uint8", (2,)), GraphInput("nibble", "int4", (2,))]
    np.savez(
        tmp_path / "a.npz",
        ids=np.array([[big, 7]]),
        rate=np.int32(16000),
        gain=np.float32(0.5),
        flag=np.array([True]),
        level=np.array([3.0, 255.0]),
        nibble=np.array([-8, 7]),
    )
    found = {sample.input: sample.array for sample in load(tmp_path / "a.npz", inputs, PLAIN)}
    assert {name: (a.dtype.name, a.shape, a.tolist()) for name, a in found.items()} == {
        "ids": ("int64", (1, 2), [[big, 7]]),
        "rate": ("int64", (), 16000),
        "gain": ("float64", (), 0.5),
        "flag": ("bool", (1,), [True]),
        "level": ("uint8", (2,), [3, 255]),
        "nibble": ("int8", (2,), [-8, 7]),
    }
    np.save(tmp_path / "rate.npy", np.int64(8000))
    (sample,) = load(tmp_path / "rate.npy", [inputs[1]], PLAIN)
    assert (sample.array.dtype.name, sample.array.shape, int(sample.array)) == ("int64", (), 8000)


def test_a_picture_for_an_input_of_bytes(tmp_path: Path) -> None:
    described = GraphInput("x", "uint8", (1, 4, 6, 3))
    levels = picture(tmp_path / "a.png")
    (sample,) = load(tmp_path / "a.png", [described], Preprocessing(value_range=(0.0, 255.0)))
    assert sample.array.dtype.name == "uint8"
    np.testing.assert_array_equal(sample.array[0], levels)
    with pytest.raises(OnnxnullError, match="--range 0,255"):
        list(load(tmp_path / "a.png", [described], PLAIN))


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("int32", 1 << 31),
        ("uint8", -1),
        ("int64", 0.5),
        ("bool", 2),
        ("int64", 1e30),
        ("int64", True),
        ("int4", 8),
        ("uint4", -1),
    ],
)
def test_numbers_that_an_input_cannot_hold(dtype: str, value: float, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([value]))
    with pytest.raises(OnnxnullError) as error:
        list(load(tmp_path / "a.npy", [GraphInput("x", dtype, (1,))], PLAIN))
    assert error.value.code is Code.DATA
