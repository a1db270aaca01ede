"""Open an ONNX file: the `Model` that everything else starts from."""

from __future__ import annotations

import functools
import hashlib
import logging
import mmap
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from onnxnull.errors import Code, OnnxnullError, errors_of
from onnxnull.graph import external, foreign_formats, functions, protobuf_scan, validity
from onnxnull.graph.bodies import subgraphs
from onnxnull.graph.limits import Limits
from onnxnull.graph.protobuf import declared_values, stored_tensors
from onnxnull.graph.types import Shape, dtype_name, open_negative, shape_of
from onnxnull.strict_json import path_text

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnx_ir as ir

    from onnxnull.graph.flow import Flow

_Made = TypeVar("_Made")
_Arguments = TypeVarTuple("_Arguments")


@dataclass(frozen=True, slots=True)
class GraphInput:
    """An input that a caller of the model has to give (an initializer that is also listed as an input is none).

    Attributes:
        shape: None where even the number of dimensions is unknown.
    """

    name: str
    dtype: str
    shape: Shape | None


@dataclass(frozen=True, eq=False)
class Parsed:
    """A file, read and checked once: what does not depend on the shapes of its inputs. Nobody changes what it holds.

    Attributes:
        path: as typed.
        proto: the model, local functions as calls, external data as references.
        sha256: hex digest of the file.
        uncalled: functions that nothing calls, taken out of `proto`; their external data is not checked.
        files: of external data.
    """

    path: str
    proto: onnx.ModelProto
    sha256: str
    uncalled: tuple[onnx.FunctionProto, ...]
    files: external.Files
    limits: Limits

    @functools.cached_property
    def whole(self) -> onnx.ModelProto:
        """The model as it is run: local functions inlined, nodes in order, external data inside. It is not to be changed.

        Raises:
            OnnxnullError: the files of external data are no longer those that were checked.
        """
        import onnx

        with errors_of(self.path):
            proto = self.proto
            if self.files.status:
                proto = onnx.ModelProto()
                proto.CopyFrom(self.proto)
                self.files.bring_in(stored_tensors(proto))
            return in_order(proto)

    def once(self, make: Callable[[Parsed, *_Arguments], _Made], *arguments: *_Arguments) -> _Made:
        """What `make` makes of this file and these arguments: made once, and kept as long as the file is."""
        key = make, arguments
        if key not in self._kept:
            self._kept[key] = make(self, *arguments)
        found: _Made = self._kept[key]
        return found

    @functools.cached_property
    def _kept(self) -> dict[object, Any]:
        return {}


@dataclass(frozen=True, eq=False)
class Model:
    """An ONNX model, opened and checked, its local functions inlined; nothing of it was executed.

    Attributes:
        parsed: its file. input_shapes: as it was opened with, input → dimensions.
        producer: name and version of what wrote the file, as it says.
        opsets: domain → version; the default domain is "".
        inputs: what a caller gives, with the shapes that `input_shapes` fixed.
        overridable: stored constants that are listed as inputs, too: since IR 4 a caller may give others in their place
            (before, onnxruntime refuses that).
        graph: the main graph (onnx-ir), in topological order.
        one_sample: whether the batch size of an input is open, and the graph's shapes are those of a batch of one.
    """

    parsed: Parsed
    input_shapes: Mapping[str, tuple[int, ...]]
    producer: str
    ir_version: int
    opsets: Mapping[str, int]
    inputs: tuple[GraphInput, ...]
    overridable: tuple[str, ...]
    graph: ir.Graph
    one_sample: bool

    @property
    def file(self) -> str:
        """The path as typed, only its last part where it is absolute (so that reports do not depend on the machine)."""
        path = Path(self.parsed.path)
        return path_text(path.name if path.is_absolute() else str(path))

    @property
    def sha256(self) -> str:
        """Hex digest of the .onnx file alone, without external data."""
        return self.parsed.sha256

    @property
    def limits(self) -> Limits:
        """What the file may ask of this machine."""
        return self.parsed.limits

    @property
    def stored_bytes(self) -> int:
        """Of the file and its external files."""
        return int(self.parsed.proto.ByteSize()) + self.parsed.files.size

    @functools.cached_property
    def flow(self) -> Flow:
        """What is known of every value. Raises `OnnxnullError` as `Flow`."""
        from onnxnull.graph.flow import Flow

        return Flow(self)

    def at(self, input_shapes: Mapping[str, Sequence[int]]) -> Model:
        """The same model with shapes of inputs (input → dimensions) that were open. Raises `OnnxnullError`."""
        with errors_of(self.parsed.path):
            return _at(self.parsed, {**self.input_shapes, **input_shapes})

    def completed(self, arrays: Mapping[str, np.ndarray]) -> Model:
        """The same model, every input whose shape is open given that of its array."""
        shapes = {each.name: arrays[each.name].shape for each in self.inputs if each.shape is None or None in each.shape}
        return self.at(shapes) if shapes else self


def open_model(
    path: str | os.PathLike[str],
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    limits: Limits | None = None,
    sha256: str | None = None,
) -> Model:
    """Open the ONNX file at `path`.

    Args:
        path: the .onnx file (binary protobuf; external data beside it).
        input_shapes: graph input → dimensions, replacing what the file says where it leaves dimensions open.
        limits: what the file may ask of this machine.
        sha256: the digest that the file has to have, where evidence is about it; None for any.

    Raises:
        OnnxnullError: with the code of what is wrong with the file; `evidence` where it is another one.
    """
    with errors_of(path):
        return _at(_parse(os.fspath(path), limits or Limits(), sha256), input_shapes or {})


def _at(parsed: Parsed, input_shapes: Mapping[str, Sequence[int]]) -> Model:
    loaded = _loaded(parsed)
    inputs = [value for value in loaded.graph.inputs if not value.is_initializer()]
    _fix_inputs(inputs, input_shapes)
    described = tuple(GraphInput(v.name or "", dtype_name(v.dtype), shape_of(v)) for v in inputs)
    one_sample = _take_one_sample(inputs)
    return Model(
        parsed=parsed,
        input_shapes={name: tuple(shape) for name, shape in input_shapes.items()},
        producer=" ".join(filter(None, (loaded.producer_name, loaded.producer_version))),
        ir_version=int(loaded.ir_version),
        opsets={"" if domain == "ai.onnx" else domain: version for domain, version in loaded.opset_imports.items()},
        inputs=described,
        overridable=tuple(v.name or "" for v in loaded.graph.inputs if v.is_initializer() and loaded.ir_version >= 4),
        graph=loaded.graph,
        one_sample=one_sample,
    )


def _loaded(parsed: Parsed) -> ir.Model:
    """The model as onnx-ir has it, functions inlined, nodes sorted. Raises `OnnxnullError`."""
    import onnx_ir as ir

    loaded, _ = _inlined(parsed.proto)
    for tensor in tensors_of(loaded.graph):
        if isinstance(tensor, ir.ExternalTensor):
            parsed.files.bind(tensor)
    return loaded


def _inlined(proto: onnx.ModelProto) -> tuple[ir.Model, bool]:
    """The model as onnx-ir has it, functions inlined, nodes sorted; and whether that changed it. Raises `OnnxnullError`."""
    import onnx_ir as ir

    try:
        # onnx-ir warns about invalid outputs on a logger; what matters of it surfaces here or in the walk.
        logging.getLogger("onnx_ir").setLevel(logging.ERROR)
        loaded = ir.serde.deserialize_model(proto)
    except Exception as error:
        raise OnnxnullError(Code.INVALID_MODEL, functions.root_cause(error)) from error
    functions.inline(loaded)
    return loaded, _sort(loaded.graph) or bool(proto.functions)


def in_order(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same model as a protobuf, functions inlined, nodes sorted, names those of `Model.graph`; itself where it is so.

    Raises:
        OnnxnullError: a call does not fit its function, or the graph has a cycle.
    """
    import onnx_ir as ir

    loaded, changed = _inlined(proto)
    if not changed:
        return proto
    try:
        made: onnx.ModelProto = ir.serde.serialize_model(loaded)
    except ir.serde.SerdeError as error:
        raise OnnxnullError(Code.INVALID_MODEL, functions.root_cause(error)) from None
    return made


def with_batch(model: Model, size: int) -> Model:
    """The same model for `size` samples where its batch size is open."""
    import onnx_ir as ir

    graph = _loaded(model.parsed).graph
    described = {each.name: each.shape for each in model.inputs}
    for value in graph.inputs:
        shape = described.get(value.name or "")
        if not value.is_initializer() and shape is not None:
            value.shape = ir.Shape([size, *shape[1:]] if _open_batch(shape) else list(shape))
    return replace(model, graph=graph, one_sample=False)


def _parse(path: str, limits: Limits, sha256: str | None) -> Parsed:
    """The file at `path`, read and checked. Raises `OnnxnullError`."""
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            raise OnnxnullError(Code.NOT_A_FILE, "not a regular file")
        if status.st_size == 0:
            raise OnnxnullError(Code.TRUNCATED, "the file is empty")
        if status.st_size >= 1 << 31:  # protobuf messages end at 2 GiB; larger models keep their weights outside
            raise OnnxnullError(Code.TOO_LARGE, f"{status.st_size} bytes, and a protobuf has less than 2 GiB")
        with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            digest = hashlib.sha256(data).hexdigest()
            if sha256 is not None and digest != sha256:
                seen = "this is not the model that the bundle was made of: its SHA-256 differs"
                raise OnnxnullError(Code.EVIDENCE, seen, "give the same file, or make evidence for this one")
            try:
                proto, uncalled = _decode(data, limits)
            except OnnxnullError as error:
                known = foreign_formats.recognise(data[: foreign_formats.HEAD])
                if known is None or error.code not in (Code.NOT_ONNX, Code.TRUNCATED):
                    raise
                raise OnnxnullError(Code.NOT_ONNX, *known) from None
    except FileNotFoundError:
        raise OnnxnullError(Code.FILE_NOT_FOUND, "no such file") from None
    except OSError as error:
        raise OnnxnullError(Code.UNREADABLE, str(error.strerror)) from None
    files = external.check_all(proto, Path(os.path.abspath(path)).parent, limits)
    return Parsed(path, proto, digest, uncalled, files, limits)


def _decode(data: mmap.mmap, limits: Limits) -> tuple[onnx.ModelProto, tuple[onnx.FunctionProto, ...]]:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    protobuf_scan.check(data, limits.nodes)
    with memoryview(data) as view:
        try:
            proto: onnx.ModelProto = onnx.ModelProto.FromString(view)
        except DecodeError:
            raise OnnxnullError(Code.NOT_ONNX, "not an ONNX protobuf") from None
    if not proto.HasField("graph"):
        code = Code.TRUNCATED if proto.ir_version else Code.NOT_ONNX
        raise OnnxnullError(code, "the file holds no graph")
    if not proto.opset_import:
        raise OnnxnullError(Code.INVALID_MODEL, "the file names no operator set (opset_import)")
    validity.check_model(proto)
    for value in declared_values(proto):
        open_negative(value.type)  # exporters write -1 for what is open
    return proto, functions.check_calls(proto, limits)


def tensors_of(graph: ir.Graph) -> Iterator[ir.TensorProtocol]:
    """Every tensor stored in the graph and its subgraphs: initializers and attributes."""
    import onnx_ir as ir

    for value in graph.initializers.values():
        if value.const_value is not None:
            yield value.const_value
    for node in graph:
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.TENSOR:
                yield attribute.value  # `as_tensor` fails on a tensor without a type
            elif attribute.type == ir.AttributeType.TENSORS:
                yield from attribute.value
        for _, body in subgraphs(node):
            yield from tensors_of(body)


def _sort(graph: ir.Graph) -> bool:
    """Bring nodes that a careless exporter left out of order into topological order; whether there were any. Refuse a cycle."""
    try:
        if _is_sorted(graph, set()):
            return False
        graph.sort()
    except ValueError as error:
        raise OnnxnullError(Code.INVALID_MODEL, str(error)) from None
    return True


def _is_sorted(graph: ir.Graph, done: set[ir.Node]) -> bool:
    for node in graph:
        for value in node.inputs:
            producer = value.producer() if value is not None else None
            if producer is not None and producer not in done:
                return False
        if not all(_is_sorted(body, done) for _, body in subgraphs(node)):
            return False
        done.add(node)
    return True


def _fix_inputs(values: list[ir.Value], shapes: Mapping[str, Sequence[int]]) -> None:
    import onnx_ir as ir

    inputs = {value.name: value for value in values}
    for name, shape in shapes.items():
        if name not in inputs:
            known = ", ".join(repr(n) for n in inputs) or "none"
            raise OnnxnullError(Code.INPUT_SHAPE, f"no input is named {name!r}; inputs are {known}")
        declared = shape_of(inputs[name])
        if declared is not None and (
            len(declared) != len(shape) or any(d not in (None, s) for d, s in zip(declared, shape, strict=True))
        ):
            text = ",".join("?" if d is None else str(d) for d in declared)
            raise OnnxnullError(Code.INPUT_SHAPE, f"input {name!r} is {text}, not {','.join(map(str, shape))}")
        if any(size < 0 or size >= 1 << 62 for size in shape):
            raise OnnxnullError(Code.INPUT_SHAPE, f"input {name!r} cannot have the shape {','.join(map(str, shape))}")
        inputs[name].shape = ir.Shape(list(shape))


def _take_one_sample(inputs: list[ir.Value]) -> bool:
    """Where only the leading dimension of an input is open, it is the batch: take one sample. Whether there was such an input.

    A model that runs for every batch size runs for one, so what is inferred for one sample holds; shapes of Reshape and Expand
    that are computed from the batch size become known.
    """
    import onnx_ir as ir

    taken = False
    for value in inputs:
        shape = shape_of(value)
        if shape is not None and _open_batch(shape):
            value.shape = ir.Shape([1, *(dim for dim in shape[1:] if dim is not None)])
            taken = True
    return taken


def _open_batch(shape: Sequence[int | None]) -> bool:
    """Whether only the leading dimension is open."""
    return len(shape) > 1 and shape[0] is None and None not in shape[1:]
