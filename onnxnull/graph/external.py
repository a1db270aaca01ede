"""External data: check where it lies and how long it is before a byte of it is read.

The rules, for the folder that the model lies in (also when that is the current one):
1. the location is relative, and neither `..` nor a symbolic link leads out of the folder;
2. the file exists, is a regular file, and has one hard link only, unless hard links are allowed;
3. offset and length lie inside the file, and the length is what the tensor's shape and type need.

Source: ONNX "External Data" specification; onnx-ir applies the first two rules when it maps a file, but not where the model
lies in the current folder.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph import functions, validity
from onnxnull.graph.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import onnx
    import onnx_ir as ir


_PIECE = 16 << 20
_KEYS = ("location", "offset", "length")
"""All that we read of external data; onnx warns of keys that it does not know."""


def check_all(proto: onnx.ModelProto, folder: Path, limits: Limits) -> int:
    """Check the external data of every tensor of a model; returns the bytes of all external files. `folder` is absolute.

    Other keys than the location, the offset and the length are dropped from `proto`.

    Raises:
        OnnxnullError: a tensor breaks the rules above, or all together stand for more than the limits allow: ranges of one
            file may overlap, as those of tied weights do, but not so that a small file stands for many large weights.
    """
    import onnx
    import onnx_ir as ir

    files: dict[tuple[int, int], int] = {}
    needed = 0
    for tensor in validity.stored_tensors(proto):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        kept = [entry for entry in tensor.external_data if entry.key in _KEYS]
        del tensor.external_data[:]
        tensor.external_data.extend(kept)
        try:
            external = ir.serde.deserialize_tensor(tensor, base_path=str(folder))
        except Exception as error:
            raise OnnxnullError(Code.INVALID_MODEL, f"tensor {tensor.name!r}: {functions.root_cause(error)}") from error
        assert isinstance(external, ir.ExternalTensor)
        status = check(external, folder, limits)
        files[status.st_dev, status.st_ino] = status.st_size
        needed += external.nbytes
    there = sum(files.values())
    if needed > limits.made_bytes(there):
        seen = f"external data of {needed} bytes that overlap in files of {there}; the limit is {limits.made_bytes(there)}"
        raise OnnxnullError(Code.TOO_LARGE, seen, "raise --max-amplification if you trust the file")
    return there


def check(tensor: ir.ExternalTensor, folder: Path, limits: Limits) -> os.stat_result:
    """The status of the file of `tensor`, if that obeys the rules above; raises `OnnxnullError`. `folder` is absolute."""
    location = os.fspath(tensor.location)
    seen = f"tensor {tensor.name!r} has external data at {location!r}"
    # Windows separators and drives are no file names in a portable model.
    if os.path.isabs(location) or "\\" in location or ":" in location or "\0" in location or not location:
        raise OnnxnullError(Code.EXTERNAL_ESCAPES, f"{seen}, not a plain relative path")
    path = folder / location
    real, real_folder = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    if not _inside(Path(os.path.normpath(path)), folder) or not _inside(real, real_folder):
        raise OnnxnullError(Code.EXTERNAL_ESCAPES, f"{seen}, outside the model's folder")
    if tensor.dtype.is_string() or tensor.dtype.name == "UNDEFINED":
        raise OnnxnullError(Code.INVALID_MODEL, f"{seen}, which cannot hold the type {tensor.dtype.name}")
    if any(not isinstance(dim, int) or dim < 0 for dim in tensor.shape):
        raise OnnxnullError(Code.INVALID_MODEL, f"{seen}, and its shape {list(tensor.shape)} is no shape of a tensor")
    try:
        status = path.stat()
    except OSError as error:
        raise OnnxnullError(Code.EXTERNAL_MISSING, f"{seen}: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise OnnxnullError(Code.EXTERNAL_MISSING, f"{seen}, which is not a regular file")
    if status.st_nlink > 1 and not limits.allow_hard_links:
        raise OnnxnullError(Code.EXTERNAL_HARD_LINK, f"{seen}, a file with {status.st_nlink} hard links")
    offset, needed = tensor.offset or 0, tensor.nbytes
    if tensor.length is not None and tensor.length != needed:
        raise OnnxnullError(Code.INVALID_MODEL, f"{seen} of {tensor.length} bytes where its shape needs {needed}")
    if offset < 0 or offset + needed > status.st_size:
        raise OnnxnullError(
            Code.EXTERNAL_SHORT, f"{seen}, bytes {offset} to {offset + needed} of a file of {status.st_size} bytes"
        )
    return status


def read(tensor: ir.ExternalTensor) -> np.ndarray:
    """The array of a checked external tensor, memory-mapped afresh: nothing stays mapped once the array is gone."""
    import onnx_ir as ir

    path = Path(tensor.base_dir, tensor.location).resolve()
    return ir.ExternalTensor(  # no base_dir: `check` has applied the rules, and knows the option that lifts one of them
        path, tensor.offset, tensor.length, tensor.dtype, shape=tensor.shape, name=tensor.name or ""
    ).numpy()


def chunks(tensor: ir.ExternalTensor) -> Iterator[bytes]:
    """The bytes of a checked external tensor as they lie in its file, piece by piece.

    Raises:
        OnnxnullError: the file is no longer what it was when it was checked.
    """
    left = tensor.nbytes
    try:
        with Path(tensor.base_dir, tensor.location).resolve().open("rb") as file:
            file.seek(tensor.offset or 0)
            while left and (piece := file.read(min(left, _PIECE))):
                left -= len(piece)
                yield piece
    except OSError as error:
        raise OnnxnullError(Code.EXTERNAL_MISSING, f"tensor {tensor.name!r}: its data has gone: {error.strerror}") from None
    if left:
        raise OnnxnullError(Code.EXTERNAL_SHORT, f"tensor {tensor.name!r}: {left} bytes of its data have gone")


def _inside(path: Path, folder: Path) -> bool:
    return path != folder and path.is_relative_to(folder)
