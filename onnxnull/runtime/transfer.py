"""What of a checked model onnxruntime is given: its graph and its functions as bytes, and large weights behind them.

No metadata, which can configure a session, and no reference to a file: external data is read by us, from where it was checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxnull.errors import Code, OnnxnullError, one_line
from onnxnull.graph.external import Files, chunks
from onnxnull.graph.protobuf import is_external, stored_tensors
from onnxnull.runtime.load_child import BESIDE

if TYPE_CHECKING:
    import onnx

    from onnxnull.graph.model import Model

_INSIDE = 64 << 20
"""Initializers of more bytes than this, all together, go beside the protobuf: inside, onnxruntime holds several copies."""
_SMALL = 1024
"""Those of fewer bytes stay inside all the same: shapes depend on them."""
_ALIGNED = 64
_LARGEST = (1 << 31) - 1
"""Bytes of a protobuf."""


@dataclass(frozen=True, slots=True, eq=False)
class Transfer:
    """A model on its way.

    Attributes:
        model: the protobuf. beside: how many bytes come behind it.
    """

    model: bytes
    beside: int = 0
    _tensors: tuple[tuple[onnx.TensorProto, int], ...] = ()
    _files: Files | None = None

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self.model) + self.beside

    def chunks(self) -> Iterator[bytes]:
        """The bytes beside the protobuf, piece by piece."""
        for tensor, size in self._tensors:
            if self._files is not None and is_external(tensor):
                yield from chunks(self._files.tensor(tensor))
            else:
                yield tensor.raw_data
            yield bytes(-size % _ALIGNED)


def prepare(model: Model) -> Transfer:
    """Make `model` ready to be sent. Raises `OnnxnullError` where it does not fit into a protobuf, or its data has gone."""
    import onnx

    proto = model.parsed.proto
    copy = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import, functions=proto.functions)
    copy.graph.name = proto.graph.name
    for name in ("node", "input", "output", "value_info"):
        getattr(copy.graph, name).extend(getattr(proto.graph, name))
    for function in model.parsed.uncalled:
        copy.functions.add().CopyFrom(_without_files(function))
    sizes = [_size(tensor) for tensor in proto.graph.initializer]
    inside = sum(sizes) <= _INSIDE
    beside: list[tuple[onnx.TensorProto, int]] = []
    places: list[tuple[onnx.TensorProto, int, int]] = []
    offset = 0
    for tensor, size in zip(proto.graph.initializer, sizes, strict=True):
        if size > model.limits.constant_bytes:
            seen = f"tensor {tensor.name!r} has {size} bytes; the limit is {model.limits.constant_bytes}"
            raise OnnxnullError(Code.TOO_LARGE, seen, "raise --max-constant-bytes if you trust the file")
        if inside or size < _SMALL:
            copy.graph.initializer.add().CopyFrom(tensor)
            continue
        stub = copy.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        beside.append((tensor, size))
        places.append((stub, offset, size))
        offset += size + -size % _ALIGNED
    model.parsed.files.bring_in(stored_tensors(copy))
    for stub, start, size in places:
        stub.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", BESIDE), ("offset", str(start)), ("length", str(size))):
            stub.external_data.add(key=key, value=value)
    try:
        data = copy.SerializeToString()
    except Exception as error:  # noqa: BLE001 - protobuf's implementations raise different ones
        raise OnnxnullError(Code.TOO_LARGE, f"the model does not fit into a protobuf: {one_line(error)}") from None
    if len(data) > _LARGEST:
        raise OnnxnullError(Code.TOO_LARGE, f"{len(data)} bytes beside its initializers, and a protobuf has less than 2 GiB")
    return Transfer(data, offset, tuple(beside), model.parsed.files)


def _without_files(function: onnx.FunctionProto) -> onnx.FunctionProto:
    """A copy without references to external data: nobody reads what nobody calls."""
    import onnx

    whole = onnx.ModelProto(functions=[function])
    for tensor in stored_tensors(whole):
        if is_external(tensor):
            del tensor.external_data[:]
            tensor.data_location = onnx.TensorProto.DEFAULT
    copy: onnx.FunctionProto = whole.functions[0]
    return copy


def _size(tensor: onnx.TensorProto) -> int:
    """Bytes of a tensor's data that may go beside the protobuf: 0 where they are numbers in fields, or texts."""
    import onnx_ir as ir

    if is_external(tensor):
        return int(ir.serde.deserialize_tensor(tensor).nbytes)
    return len(tensor.raw_data)
