"""A session that runs a model for evidence: one provider, one precision, and a description of what it really got."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxnull.errors import Code, OnnxnullError, one_line
from onnxnull.graph.floats import float_type, is_float
from onnxnull.graph.protobuf import array_of, is_external, stored_tensors
from onnxnull.runtime.precision import Precision, Twin, twin
from onnxnull.runtime.providers import Provider, choose, load, options

if TYPE_CHECKING:
    import onnx

    from onnxnull.graph.model import Model

_INSIDE = 1 << 30
"""Weights of more bytes than this are handed to onnxruntime beside the protobuf, which has to stay under 2 GiB."""
THREADS = 2
"""Threads inside an operator: fixed, since the order of sums may depend on it."""


class Runner:
    """A model in a session of onnxruntime.

    Args:
        model: a file that was opened, a model in memory, or a twin that was made for `provider`.
        precision: what to run it at; ignored for a `Twin`, which has one.
        extra_outputs: names of intermediate tensors of the main graph, given beside the outputs.
        threads: inside an operator.

    Raises:
        OnnxnullError: `provider` where the session does not get the provider, `runtime` where onnxruntime refuses the model,
            what `twin` raises, `data` where `extra_outputs` names a tensor that is not there.
    """

    def __init__(
        self,
        model: Model | onnx.ModelProto | Twin,
        precision: Precision = Precision.NATIVE,
        *,
        provider: Provider = Provider.CPU,
        extra_outputs: Sequence[str] = (),
        threads: int = THREADS,
    ) -> None:
        choose("cuda" if provider is Provider.CUDA else "cpu")
        made = model if isinstance(model, Twin) else twin(model, precision, provider=provider)
        self.precision = made.precision
        self.provider = provider
        self.lowered = made.lowered
        self._threads = threads
        self._session, self._held = _session(made.proto, provider, threads, extra_outputs)
        stored = {tensor.name for tensor in made.proto.graph.initializer}
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._types = {_own(i.name): _dtype(i) for i in inputs if _own(i.name) not in stored}
        self._there = {_own(each.name): each.name for each in (*inputs, *outputs)}
        self.inputs: tuple[str, ...] = tuple(self._types)
        self.outputs: tuple[str, ...] = tuple(_own(o.name) for o in outputs)

    def run(self, feeds: Mapping[str, np.ndarray], fetch: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Outputs and extra outputs by name.

        Args:
            feeds: input → array; floats are cast to the input's own float type.
            fetch: which outputs; None for all.

        Raises:
            OnnxnullError: `data` where an input is missing, unknown or does not fit; `runtime` where onnxruntime fails.
        """
        if set(feeds) != set(self._types):
            raise OnnxnullError(Code.DATA, f"inputs {sorted(feeds)} were given, and the model takes {sorted(self._types)}")
        arrays = {self._there[name]: _fed(self.stored(name, array)) for name, array in feeds.items()}
        names = list(self.outputs if fetch is None else fetch)
        there = [self._there.get(name, name) for name in names]
        try:
            results = self._session.run(there, arrays)
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no common base
            code = Code.DATA if type(error).__name__ == "InvalidArgument" else Code.RUNTIME
            raise OnnxnullError(
                code, one_line(error), "see the inputs that `onnxnull analyze` lists" if code is Code.DATA else None
            ) from None
        return {
            name: result.astype(float_type("bfloat16")) if each.startswith(_AS_FLOAT32) else result
            for name, each, result in zip(names, there, results, strict=True)
        }

    def stored(self, name: str, array: np.ndarray) -> np.ndarray:
        """What an input takes of an array: floats rounded to its own type; other arrays as they are."""
        dtype, array = self._types[name], np.asarray(array)
        with np.errstate(over="ignore"):  # what is too large for the type is infinite in it
            return array.astype(dtype) if dtype is not None and is_float(array) else array

    @property
    def description(self) -> dict[str, Any]:
        """What ran: for evidence, and to be compared with another run's."""
        return {
            "provider": self.provider.value,
            "providers": list(self._session.get_providers()),
            "precision": self.precision.value,
            "lowered": list(self.lowered),
            "onnxruntime": str(load().__version__),
            "session": {
                "graph_optimization": "disabled",
                "execution": "sequential",
                "deterministic": True,
                "intra_op_threads": self._threads,
                "inter_op_threads": 1,
                "options": {name: dict(values) for name, values in self.provider.options},
                "tf32": False,
            },
        }


def _session(
    proto: onnx.ModelProto, provider: Provider, threads: int, extra_outputs: Sequence[str]
) -> tuple[Any, list[np.ndarray]]:
    """A session on `proto` with more outputs, and the arrays that it refers to."""
    import onnx

    runtime = load()
    chosen = options(threads)
    outputs = {value.name for value in proto.graph.output}
    there = {name for node in proto.graph.node for name in node.output if name} | {i.name for i in proto.graph.input}
    unknown = [name for name in extra_outputs if name not in there]
    if unknown:
        raise OnnxnullError(Code.DATA, f"the model has no tensor {unknown[0]!r}", "name a tensor of the main graph")
    added = [onnx.ValueInfoProto(name=name) for name in dict.fromkeys(extra_outputs) if name not in outputs]
    shell, names, arrays = _split(proto)
    shell.graph.output.extend(added)
    if names:
        values = [runtime.OrtValue.ortvalue_from_numpy(array) for array in arrays]
        chosen.add_external_initializers(names, values)
    _take_float32(shell)
    try:
        session = runtime.InferenceSession(shell.SerializeToString(), chosen, providers=provider.options)
        if any(output.type == _BFLOAT16 for output in session.get_outputs()):
            _give_float32(shell, [output.name for output in session.get_outputs() if output.type == _BFLOAT16])
            session = runtime.InferenceSession(shell.SerializeToString(), chosen, providers=provider.options)
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no common base
        raise OnnxnullError(Code.RUNTIME, one_line(error)) from None
    got = session.get_providers()
    if got[:1] != [provider.value]:
        raise OnnxnullError(Code.PROVIDER, f"{provider.value} was asked for and the session got {', '.join(got)}")
    return session, arrays


def _split(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str], list[np.ndarray]]:
    """A copy of the model's graph, and its large weights beside it where all of them together are too much for a protobuf.

    Nothing else of the file goes along: onnxruntime can be told to read its own configuration from a model's metadata. And no
    reference to external data, which onnxruntime would map itself: what was checked is inside by now.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.ir_version = proto.ir_version
    copy.opset_import.extend(proto.opset_import)
    for name in ("node", "input", "output", "value_info", "sparse_initializer"):
        getattr(copy.graph, name).extend(getattr(proto.graph, name))
    copy.graph.name = proto.graph.name
    for tensor in stored_tensors(proto):
        if is_external(tensor):
            raise OnnxnullError(
                Code.RUNTIME, f"the data of tensor {tensor.name!r} is not in the model", "save it with its data"
            )
    names, arrays = [], []
    inside = sum(len(tensor.raw_data) for tensor in proto.graph.initializer) < _INSIDE
    for tensor in proto.graph.initializer:
        if inside or len(tensor.raw_data) < 1024 or tensor.data_type == onnx.TensorProto.STRING:
            copy.graph.initializer.append(tensor)
            continue
        names.append(tensor.name)
        arrays.append(array_of(tensor))
        stub = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        stub.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", "beside"), ("offset", "0"), ("length", str(len(tensor.raw_data)))):
            stub.external_data.add(key=key, value=value)
        copy.graph.initializer.append(stub)
    return copy, names, arrays


_BFLOAT16 = "tensor(bfloat16)"
_AS_FLOAT32 = "onnxnull/as float32/"
"""Before the names of inputs and outputs of bfloat16: onnxruntime hands no array of that type over, so they pass as float32."""
_DTYPES: dict[str, type[np.floating[Any]]] = {
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}


def _take_float32(shell: onnx.ModelProto) -> None:
    """Inputs of bfloat16 become inputs of float32 that are cast."""
    import onnx
    from onnx import helper

    given = [i for i in shell.graph.input if i.type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16]
    stored = {tensor.name for tensor in shell.graph.initializer}
    casts = []
    for each in given:
        if each.name not in stored:
            casts.append(helper.make_node("Cast", [_AS_FLOAT32 + each.name], [each.name], to=onnx.TensorProto.BFLOAT16))
            each.name = _AS_FLOAT32 + each.name
            each.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    if casts:
        nodes = list(shell.graph.node)
        del shell.graph.node[:]
        shell.graph.node.extend([*casts, *nodes])


def _give_float32(shell: onnx.ModelProto, names: Sequence[str]) -> None:
    """These outputs become their casts to float32."""
    import onnx
    from onnx import helper

    for each in shell.graph.output:
        if each.name in names:
            node = helper.make_node("Cast", [each.name], [_AS_FLOAT32 + each.name], to=onnx.TensorProto.FLOAT)
            shell.graph.node.append(node)
            each.CopyFrom(onnx.ValueInfoProto(name=_AS_FLOAT32 + each.name))


def _own(name: str) -> str:
    return name.removeprefix(_AS_FLOAT32)


def _dtype(given: Any) -> np.dtype[Any] | None:
    """NumPy's type of an input of a session; None where it is no float."""
    if given.name.startswith(_AS_FLOAT32):
        return float_type("bfloat16")
    found = _DTYPES.get(given.type)
    return None if found is None else np.dtype(found)


def _fed(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
