"""What is no model, or no file at all."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx

from onnxnull.errors import Code
from tests.hostile.case import refused
from tests.hostile.cases.common import linear


@refused(Code.FILE_NOT_FOUND, typed="modle.onnx")
def mistyped_path(folder: Path) -> onnx.ModelProto:
    """The model is there, and its name is typed wrongly."""
    return linear()


@refused(Code.FILE_NOT_FOUND)
def empty_folder(folder: Path) -> None:
    """The folder is there, and nothing in it."""


@refused(Code.FILE_NOT_FOUND)
def dangling_link(folder: Path) -> None:
    """The model is a symbolic link to nothing."""
    (folder / "model.onnx").symlink_to("nowhere")


@refused(Code.UNREADABLE)
def link_to_itself(folder: Path) -> None:
    """The model is a symbolic link to itself."""
    (folder / "model.onnx").symlink_to("model.onnx")


@refused(Code.NOT_A_FILE)
def folder_for_a_file(folder: Path) -> None:
    """A folder where the model should be."""
    (folder / "model.onnx").mkdir()


@refused(Code.NOT_A_FILE)
def pipe_for_a_file(folder: Path) -> None:
    """A FIFO where the model should be: whoever opens it waits for ever."""
    os.mkfifo(folder / "model.onnx")


@refused(Code.NOT_A_FILE, typed="/dev/zero")
def device_for_a_file(folder: Path) -> None:
    """A device without an end where the model should be."""


@refused(Code.TRUNCATED)
def empty_file(folder: Path) -> bytes:
    """A file of no bytes."""
    return b""


@refused(Code.NOT_ONNX)
def text(folder: Path) -> bytes:
    """A text file."""
    return b"This is no model.\n" * 40


@refused(Code.NOT_ONNX)
def random_bytes(folder: Path) -> bytes:
    """A million random bytes."""
    return np.random.default_rng(0).bytes(1_000_000)


@refused(Code.NOT_ONNX)
def half_a_pickle(folder: Path) -> bytes:
    """A pickle that would run a program, if anyone loaded it."""
    return b"cos\nsystem\n(S'touch pickled'\ntR."


@refused(Code.TRUNCATED)
def four_gigabytes_in_forty_bytes(folder: Path) -> bytes:
    """A graph that claims four gigabytes, in a file of forty bytes."""
    return b"\x08\x08\x3a\xff\xff\xff\xff\x0f" + bytes(32)


@refused(Code.NOT_ONNX)
def endless_varint(folder: Path) -> bytes:
    """A number whose bytes never end."""
    return b"\x08" + b"\xff" * 100_000


@refused(Code.TOO_LARGE)
def two_gigabytes_of_nothing(folder: Path) -> None:
    """A sparse file of 2 GiB, more than a protobuf may have."""
    with (folder / "model.onnx").open("wb") as file:
        file.truncate(1 << 31)


@refused(Code.NOT_ONNX)
def half_a_gigabyte_of_nothing(folder: Path) -> None:
    """A sparse file of 512 MiB: every byte of it is a tag that means nothing."""
    with (folder / "model.onnx").open("wb") as file:
        file.truncate(1 << 29)
