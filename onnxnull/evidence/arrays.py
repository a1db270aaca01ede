"""Arrays of an evidence bundle: written with the same bytes for the same numbers, read as files from a stranger.

.npy for one array; .npz (a ZIP archive, not compressed, without times) for several, its members numbered, since the names of
inputs may be anything. Object arrays are neither written nor read.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first moment that a ZIP archive can name."""
_KINDS = "fiub"


class MalformedError(ValueError):
    """The bytes are not such a file."""


def write_array(path: Path, array: np.ndarray) -> dict[str, Any]:
    """Write one array as .npy → {"file": its name, "sha256"}."""
    with path.open("wb") as file:
        np.save(file, _writable(array), allow_pickle=False)
    return {"file": path.name, "sha256": _sha256(path)}


def write_arrays(path: Path, arrays: Sequence[np.ndarray]) -> dict[str, Any]:
    """Write arrays as .npz, in order → {"file": its name, "sha256"}."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for index, array in enumerate(arrays):
            member = zipfile.ZipInfo(_member(index), _EPOCH)
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, _writable(array), allow_pickle=False)
    return {"file": path.name, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_array(data: bytes) -> np.ndarray:
    """The array of a .npy file; finite numbers only.

    Raises:
        MalformedError: it is no such file, its length is not what its header says, or it holds NaN or Inf.
    """
    stream = io.BytesIO(data)
    try:
        headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        header = headers[np.lib.format.read_magic(stream)]
        shape, _, dtype = header(stream)
    except Exception as error:  # noqa: BLE001 - NumPy parses the header as Python source, which fails in a dozen ways
        raise MalformedError(f"its header: {error}") from None
    if dtype.kind not in _KINDS or dtype.hasobject:
        raise MalformedError(f"its type is {dtype}")
    if any(type(size) is not int or size < 0 for size in shape):
        raise MalformedError(f"its shape is {shape}")
    if math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
        raise MalformedError(f"its header says {shape} of {dtype}, which is not its length")
    try:
        array: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # noqa: BLE001 - as above
        raise MalformedError(str(error)) from None
    if not np.all(np.isfinite(array)):
        raise MalformedError("it holds NaN or Inf")
    return array


def parse_arrays(data: bytes, count: int) -> list[np.ndarray]:
    """The `count` arrays of an .npz file that `write_arrays` wrote.

    Raises:
        MalformedError: it is no such file: other members, compressed ones, larger ones than the file is.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if [member.filename for member in members] != [_member(index) for index in range(count)]:
                raise MalformedError(f"its members are not those of {count} arrays")
            if any(m.compress_type != zipfile.ZIP_STORED or m.flag_bits & 1 or m.file_size > len(data) for m in members):
                raise MalformedError("a member of it is compressed, encrypted, or larger than the file")
            return [parse_array(archive.read(member)) for member in members]
    except MalformedError:
        raise
    except Exception as error:  # noqa: BLE001 - zipfile raises a dozen classes on a damaged file
        raise MalformedError(str(error) or type(error).__name__) from None


def _member(index: int) -> str:
    return f"input{index:03}.npy"


def _writable(array: np.ndarray) -> np.ndarray:
    """In C order and little-endian, so that the same numbers give the same bytes everywhere."""
    array = np.asarray(array)
    if array.dtype.kind not in _KINDS:
        raise TypeError(f"an array of {array.dtype} cannot be kept as evidence")
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
