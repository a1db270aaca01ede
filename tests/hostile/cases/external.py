"""External data: weights that lie, or claim to lie, in another file."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from onnxnull.errors import Code
from tests.hostile.case import harmless, listed, refused
from tests.hostile.cases.common import FLOAT, STRING, W, X, body, model, node, value


def beside(location: str | None, *, kind: int = FLOAT, dims: tuple[int, ...] = (4, 3), **entries: object) -> onnx.TensorProto:
    """A tensor whose data lies at `location`."""
    tensor = onnx.TensorProto(name="W", data_type=kind, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, entry in ({"location": location} | entries).items():
        if entry is not None:
            tensor.external_data.add(key=key, value=str(entry))
    return tensor


def reading(*tensors: onnx.TensorProto) -> onnx.ModelProto:
    """A model of these weights, one after the other."""
    for number, tensor in enumerate(tensors):
        tensor.name = f"W{number}"
    nodes = [node("MatMul", ["x", tensor.name], [f"y{number}"]) for number, tensor in enumerate(tensors)]
    return model(nodes, {tensor.name: tensor for tensor in tensors}, outputs=[value(n.output[0], None) for n in nodes])


def write_data(folder: Path, name: str = "weights.bin") -> None:
    (folder / name).write_bytes(bytes(16) + W.tobytes())


@refused(Code.EXTERNAL_ESCAPES)
def parent_folder(folder: Path) -> onnx.ModelProto:
    """`../outside.bin`."""
    return reading(beside("../outside.bin"))


@refused(Code.EXTERNAL_ESCAPES)
def parent_through_a_folder(folder: Path) -> onnx.ModelProto:
    """`sub/../../outside.bin`."""
    (folder / "sub").mkdir()
    return reading(beside("sub/../../outside.bin"))


@refused(Code.EXTERNAL_ESCAPES)
def absolute_path(folder: Path) -> onnx.ModelProto:
    """An absolute path, out of the folder."""
    return reading(beside("/etc/passwd", dims=(1,)))


@refused(Code.EXTERNAL_ESCAPES)
def absolute_path_inside(folder: Path) -> onnx.ModelProto:
    """An absolute path, to a file in the model's own folder."""
    write_data(folder)
    return reading(beside(str(folder / "weights.bin")))


@refused(Code.EXTERNAL_ESCAPES)
def windows_path(folder: Path) -> onnx.ModelProto:
    r"""`..\outside.bin`, which leads out on Windows only."""
    return reading(beside("..\\outside.bin"))


@refused(Code.EXTERNAL_ESCAPES)
def file_url(folder: Path) -> onnx.ModelProto:
    """A `file:` URL."""
    return reading(beside("file:///etc/passwd"))


@refused(Code.EXTERNAL_ESCAPES)
def symbolic_link(folder: Path) -> onnx.ModelProto:
    """A symbolic link out of the folder."""
    (folder / "weights.bin").symlink_to("../outside.bin")
    return reading(beside("weights.bin"))


@refused(Code.EXTERNAL_ESCAPES)
def linked_folder(folder: Path) -> onnx.ModelProto:
    """A file in a folder that is a symbolic link out of the folder."""
    (folder / "sub").symlink_to("..", target_is_directory=True)
    return reading(beside("sub/outside.bin"))


@refused(Code.EXTERNAL_ESCAPES)
def chain_of_links(folder: Path) -> onnx.ModelProto:
    """A symbolic link to a symbolic link out of the folder."""
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("../outside.bin")
    return reading(beside("a"))


@refused(Code.EXTERNAL_HARD_LINK)
def hard_link(folder: Path) -> onnx.ModelProto:
    """A hard link to a file out of the folder."""
    os.link(folder.parent / "outside.bin", folder / "weights.bin")
    return reading(beside("weights.bin"))


@refused(Code.EXTERNAL_MISSING)
def missing(folder: Path) -> onnx.ModelProto:
    """There is no such file."""
    return reading(beside("weights.bin"))


@refused(Code.EXTERNAL_MISSING)
def folder_as_data(folder: Path) -> onnx.ModelProto:
    """The data is a folder."""
    (folder / "weights.bin").mkdir()
    return reading(beside("weights.bin"))


@refused(Code.EXTERNAL_MISSING)
def pipe_as_data(folder: Path) -> onnx.ModelProto:
    """The data is a FIFO: whoever opens it waits for ever."""
    os.mkfifo(folder / "weights.bin")
    return reading(beside("weights.bin"))


@refused(Code.EXTERNAL_ESCAPES)
def device_as_data(folder: Path) -> onnx.ModelProto:
    """The data is a link to a device without an end."""
    (folder / "weights.bin").symlink_to("/dev/zero")
    return reading(beside("weights.bin"))


@refused(Code.EXTERNAL_SHORT)
def short(folder: Path) -> onnx.ModelProto:
    """The file is a byte too short."""
    (folder / "weights.bin").write_bytes(W.tobytes()[:-1])
    return reading(beside("weights.bin"))


@refused(Code.EXTERNAL_SHORT)
def offset_beyond_the_end(folder: Path) -> onnx.ModelProto:
    """The data starts at 2⁴⁰."""
    write_data(folder)
    return reading(beside("weights.bin", offset=1 << 40))


@refused(Code.EXTERNAL_SHORT)
def offset_that_overflows(folder: Path) -> onnx.ModelProto:
    """The data starts at 2⁶⁴ − 48: offset + length is 0 in 64 bits."""
    write_data(folder)
    return reading(beside("weights.bin", offset=(1 << 64) - 48, length=48))


@refused(Code.INVALID_MODEL)
def negative_offset(folder: Path) -> onnx.ModelProto:
    """The data starts at −1."""
    write_data(folder)
    return reading(beside("weights.bin", offset=-1))


@refused(Code.INVALID_MODEL)
def wrong_length(folder: Path) -> onnx.ModelProto:
    """The length is not that of the shape."""
    write_data(folder)
    return reading(beside("weights.bin", length=47))


@refused(Code.INVALID_MODEL)
def offset_that_is_no_number(folder: Path) -> onnx.ModelProto:
    """The offset is a word."""
    write_data(folder)
    return reading(beside("weights.bin", offset="sixteen"))


@refused(Code.TOO_LARGE)
def offset_of_a_million_digits(folder: Path) -> onnx.ModelProto:
    """The offset has a million digits."""
    write_data(folder)
    return reading(beside("weights.bin", offset="9" * 1_000_000))


@refused(Code.INVALID_MODEL)
def no_location(folder: Path) -> onnx.ModelProto:
    """External data without a location."""
    return reading(beside(None, offset=0))


@refused(Code.INVALID_MODEL)
def location_twice(folder: Path) -> onnx.ModelProto:
    """Two locations: which of them is read depends on the reader."""
    write_data(folder)
    tensor = beside("weights.bin")
    tensor.external_data.add(key="location", value="../outside.bin")
    return reading(tensor)


@refused(Code.INVALID_MODEL)
def external_and_inside(folder: Path) -> onnx.ModelProto:
    """The data is in the file and beside it: which of them is read depends on the reader."""
    write_data(folder)
    tensor = beside("weights.bin")
    tensor.raw_data = W.tobytes()
    return reading(tensor)


@refused(Code.INVALID_MODEL)
def external_strings(folder: Path) -> onnx.ModelProto:
    """Strings, which external data cannot hold."""
    write_data(folder)
    return reading(beside("weights.bin", kind=STRING))


@harmless
def odd_keys(folder: Path) -> onnx.ModelProto:
    """Keys that nobody knows, and a checksum that is wrong: ONNX does not say which checksum."""
    write_data(folder)
    return reading(beside("weights.bin", offset=16, checksum="0" * 40, basepath="../..", exec="rm -r ."))


@harmless
def overlapping(folder: Path) -> onnx.ModelProto:
    """Two weights whose data overlaps: they are read, and nothing is written."""
    write_data(folder)
    return reading(beside("weights.bin", offset=16), beside("weights.bin", offset=4))


@refused(Code.INVALID_MODEL)
def the_model_as_its_data(folder: Path) -> onnx.ModelProto:
    """The data is the model's own file, from behind its end."""
    return reading(beside("model.onnx", offset=0, length=-5))


@refused(Code.EXTERNAL_ESCAPES)
def escape_from_a_body(folder: Path) -> onnx.ModelProto:
    """`../outside.bin` in a Constant node in the branch of an If."""
    inner = [node("Constant", [], ["w"], value=beside("../outside.bin")), node("MatMul", ["x", "w"], ["b"])]
    branch = body(inner, "b")
    inputs = [X, value("c", [], TensorProto.BOOL)]
    return model([node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)], inputs=inputs)


@refused(Code.EXTERNAL_ESCAPES)
def escape_from_a_function(folder: Path) -> onnx.ModelProto:
    """`../outside.bin` in a branch in a local function."""
    inner = [node("Constant", [], ["w"], value=beside("../outside.bin")), node("MatMul", ["x", "w"], ["b"])]
    branch = body(inner, "b")
    choose = node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    function = helper.make_function("local", "F", ["x", "c"], ["y"], [choose], [helper.make_opsetid("", 17)])
    inputs = [X, value("c", [], TensorProto.BOOL)]
    return model([node("F", ["x", "c"], ["z"], domain="local")], inputs=inputs, functions=[function], imports={"local": 1})


@harmless
def escape_from_an_unused_function(folder: Path) -> onnx.ModelProto:
    """`../outside.bin` in a local function that nobody calls: nobody reads it."""
    inner = [node("Constant", [], ["y"], value=beside("../outside.bin"))]
    function = helper.make_function("local", "F", ["x"], ["y"], inner, [helper.make_opsetid("", 17)])
    return model([node("MatMul", ["x", "W"], ["y"])], {"W": W}, functions=[function], imports={"local": 1})


@refused(Code.EXTERNAL_ESCAPES)
def escape_from_a_list_of_tensors(folder: Path) -> onnx.ModelProto:
    """`../outside.bin` in a list of tensors, attribute of an operator that nobody knows."""
    return model([node("Odd", ["x"], ["y"], domain="odd", tables=[beside("../outside.bin")])], imports={"odd": 1})


@refused(Code.EXTERNAL_ESCAPES)
def escape_from_training(folder: Path) -> onnx.ModelProto:
    """`../outside.bin` in the part of the model that is for training."""
    made = model([node("MatMul", ["x", "W"], ["y"])], {"W": W})
    made.training_info.add().algorithm.initializer.append(beside("../outside.bin"))
    return made


@listed(Code.CONSTANT)
def sparse_external_file(folder: Path) -> onnx.ModelProto:
    """A weight of 64 GiB, in a sparse file that takes no room on the disk."""
    with (folder / "weights.bin").open("wb") as file:
        file.truncate(1 << 36)
    return reading(beside("weights.bin", dims=(1 << 17, 1 << 17)))
