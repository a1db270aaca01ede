"""External data: check where it lies and how long it is before a byte of it is read.

The rules, for the folder that the model lies in (also when that is the current one):
1. the location is relative, and neither `..` nor a symbolic link leads out of the folder;
2. the file exists, is a regular file, and has one hard link only, unless hard links are allowed;
3. offset and length lie inside the file, and the length is what the tensor's shape and type need.

Source: ONNX "External Data" specification; onnx-ir applies the first two rules when it maps a file, but not where the model
lies in the current folder.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph import functions
from onnxnull.graph.limits import Limits
from onnxnull.graph.protobuf import is_external, stored_tensors

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnx_ir as ir


_PIECE = 16 << 20
_STATUS = "onnxnull/status"
_IDENTITY = ("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")
"""What tells a file from another one, and from itself once it was written to."""
_KEYS = ("location", "offset", "length")
"""All that we read of external data; onnx warns of keys that it does not know."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files of external data that a model names, checked once: no byte of another file is read later.

    Attributes:
        folder: of the model, absolute.
        status: location, as the model says it → the file that was checked.
    """

    folder: Path
    status: Mapping[str, os.stat_result]

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return sum({(found.st_dev, found.st_ino): found.st_size for found in self.status.values()}.values())

    def bind(self, tensor: ir.ExternalTensor) -> ir.ExternalTensor:
        """Tell a tensor where its file lies, and which it has to be."""
        tensor.base_dir = str(self.folder)
        tensor.meta[_STATUS] = self.status[os.fspath(tensor.location)]
        return tensor

    def tensor(self, proto: onnx.TensorProto) -> ir.ExternalTensor:
        """A tensor of the model whose data lies outside."""
        import onnx_ir as ir

        found = ir.serde.deserialize_tensor(proto)
        assert isinstance(found, ir.ExternalTensor)
        return self.bind(found)

    def bring_in(self, tensors: Iterable[onnx.TensorProto]) -> None:
        """Put the data in the place of references to it, in place. Raises as `chunks`."""
        import onnx

        for tensor in tensors:
            if is_external(tensor):
                data = b"".join(chunks(self.tensor(tensor)))
                del tensor.external_data[:]
                tensor.data_location = onnx.TensorProto.DEFAULT
                tensor.raw_data = data

    def digests(self) -> dict[str, str]:
        """Location → SHA-256, in order of the locations. Raises as `chunks`."""
        found = {}
        for location, status in sorted(self.status.items()):
            with _opened(self.folder / location, status, f"external data {location!r}") as file:
                found[location] = hashlib.file_digest(file, "sha256").hexdigest()
        return found


def check_all(proto: onnx.ModelProto, folder: Path, limits: Limits) -> Files:
    """Check the external data of every tensor of a model. `folder` is absolute.

    Other keys than the location, the offset and the length are dropped from `proto`.

    Raises:
        OnnxnullError: a tensor breaks the rules above, or all together stand for more than the limits allow: ranges of one
            file may overlap, as those of tied weights do, but not so that a small file stands for many large weights.
    """
    import onnx_ir as ir

    status: dict[str, os.stat_result] = {}
    needed = 0
    for tensor in stored_tensors(proto):
        if not is_external(tensor):
            continue
        kept = [entry for entry in tensor.external_data if entry.key in _KEYS]
        del tensor.external_data[:]
        tensor.external_data.extend(kept)
        try:
            external = ir.serde.deserialize_tensor(tensor, base_path=str(folder))
        except Exception as error:
            raise OnnxnullError(Code.INVALID_MODEL, f"tensor {tensor.name!r}: {functions.root_cause(error)}") from error
        assert isinstance(external, ir.ExternalTensor)
        status[os.fspath(external.location)] = check(external, folder, limits)
        needed += external.nbytes
    files = Files(folder, status)
    there = files.size
    if needed > limits.made_bytes(there):
        seen = f"external data of {needed} bytes that overlap in files of {there}; the limit is {limits.made_bytes(there)}"
        raise OnnxnullError(Code.TOO_LARGE, seen, "raise --max-amplification if you trust the file")
    return files


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
    """The array of a bound tensor, memory-mapped afresh: nothing stays mapped once the array is gone. Raises as `chunks`."""
    import onnx_ir as ir

    path = Path(tensor.base_dir, tensor.location).resolve()
    array = ir.ExternalTensor(  # no base_dir: `check` has applied the rules, and knows the option that lifts one of them
        path, tensor.offset, tensor.length, tensor.dtype, shape=tensor.shape, name=tensor.name or ""
    ).numpy()
    with _opened(path, tensor.meta[_STATUS], f"tensor {tensor.name!r}"):
        return array


def chunks(tensor: ir.ExternalTensor) -> Iterator[bytes]:
    """The bytes of a bound tensor as they lie in its file, piece by piece.

    Raises:
        OnnxnullError: the file is no longer the one that was checked, or was written to since.
    """
    left = tensor.nbytes
    with _opened(Path(tensor.base_dir, tensor.location), tensor.meta[_STATUS], f"tensor {tensor.name!r}") as file:
        file.seek(tensor.offset or 0)
        while left and (piece := file.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece
    if left:
        raise OnnxnullError(Code.EXTERNAL_SHORT, f"tensor {tensor.name!r}: {left} bytes of its data have gone")


@contextmanager
def _opened(path: Path, status: os.stat_result, what: str) -> Iterator[BufferedReader]:
    """A file that is, and stays until it is closed, the one of this status: the same inode, size and times of change."""
    try:
        with path.resolve().open("rb") as file:
            _check_same(file, status, what)
            yield file
            _check_same(file, status, what)
    except OSError as error:
        raise OnnxnullError(Code.EXTERNAL_MISSING, f"{what}: its data has gone: {error.strerror}") from None


def _check_same(file: BufferedReader, status: os.stat_result, what: str) -> None:
    found = os.fstat(file.fileno())
    if any(getattr(found, name) != getattr(status, name) for name in _IDENTITY):
        raise OnnxnullError(Code.EXTERNAL_CHANGED, f"{what}: its file is another one, or was written to, since it was checked")


def _inside(path: Path, folder: Path) -> bool:
    return path != folder and path.is_relative_to(folder)
