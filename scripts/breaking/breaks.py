"""Ways to break a healthy model: each writes `model.onnx` into a folder and says what it did.

The judge decides whether the model is broken then; a way that finds nothing to break raises `Unfit`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

node = helper.make_node
T = TypeVar("T")
Break = Callable[[onnx.ModelProto, random.Random, Path], str]
BREAKS: dict[str, Break] = {}
MODEL = "model.onnx"
_NO_WEIGHTS = ("mask", "slope", "blank")


class Unfit(Exception):
    """Nothing in this model can be broken this way."""


def _way(change: Callable[[onnx.ModelProto, random.Random], str]) -> Callable[[onnx.ModelProto, random.Random], str]:
    """Register a change of the model in memory."""

    def broken(model: onnx.ModelProto, rng: random.Random, folder: Path) -> str:
        said = change(model, rng)
        (folder / MODEL).write_bytes(model.SerializeToString())
        return said

    BREAKS[change.__name__.replace("_", "-")] = broken
    return change


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for one in graph.node:
        for attribute in one.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _graphs(attribute.g)


def _floats(model: onnx.ModelProto, *, matrices: bool) -> list[onnx.TensorProto]:
    """The stored floats: those of two axes or more, or the others."""
    stored = [tensor for graph in _graphs(model.graph) for tensor in graph.initializer]
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT16)
    return [tensor for tensor in stored if tensor.data_type in kinds and (len(tensor.dims) >= 2) == matrices]


def _choose(rng: random.Random, among: Sequence[T]) -> T:
    if not among:
        raise Unfit
    return rng.choice(among)


def _store(tensor: onnx.TensorProto, array: np.ndarray) -> None:
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _poison(tensor: onnx.TensorProto, rng: random.Random, bad: float, *, everywhere: bool) -> str:
    array = numpy_helper.to_array(tensor).copy()
    if everywhere:
        array[...] = bad
    else:
        array.reshape(-1)[rng.randrange(array.size)] = bad
    _store(tensor, array)
    return f"{tensor.name} gets {bad}" + (" everywhere" if everywhere else "")


@_way
def nonfinite_matrix(model: onnx.ModelProto, rng: random.Random) -> str:
    return _poison(
        _choose(rng, _floats(model, matrices=True)), rng, rng.choice([np.nan, np.inf]), everywhere=rng.random() < 0.2
    )


@_way
def zero_matrix(model: onnx.ModelProto, rng: random.Random) -> str:
    weights = [tensor for tensor in _floats(model, matrices=True) if tensor.name not in _NO_WEIGHTS]
    return _poison(_choose(rng, weights), rng, 0.0, everywhere=True)


@_way
def nonfinite_vector(model: onnx.ModelProto, rng: random.Random) -> str:
    bad = rng.choice([np.nan, np.inf, -np.inf])
    return _poison(_choose(rng, _floats(model, matrices=False)), rng, bad, everywhere=rng.random() < 0.5)


@_way
def zero_or_negative_vector(model: onnx.ModelProto, rng: random.Random) -> str:
    return _poison(_choose(rng, _floats(model, matrices=False)), rng, rng.choice([0.0, -1.0]), everywhere=True)


@_way
def masked_everything(model: onnx.ModelProto, rng: random.Random) -> str:
    masks = [tensor for tensor in _floats(model, matrices=True) if tensor.name == "mask"]
    return _poison(_choose(rng, masks), rng, -np.inf, everywhere=True)


@_way
def attribute(model: onnx.ModelProto, rng: random.Random) -> str:
    held = [(one, each) for one in model.graph.node for each in one.attribute if each.type == onnx.AttributeProto.FLOAT]
    one, each = _choose(rng, held)
    each.f = rng.choice([np.nan, np.inf, -np.inf, -10.0, 0.0])
    return f"{one.op_type}.{each.name} = {each.f}"


def _type_of(model: onnx.ModelProto, name: str) -> int:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    for one in (*inferred.value_info, *inferred.output, *inferred.input):
        if one.name == name:
            return int(one.type.tensor_type.elem_type)
    return 0


_STEPS: dict[str, tuple[str, tuple[float, ...]]] = {
    "add": ("Add", (np.nan, np.inf, -np.inf)),
    "subtract": ("Sub", (np.nan, np.inf)),
    "multiply": ("Mul", (np.nan, np.inf, 0.0)),
    "divide": ("Div", (np.nan, 0.0, np.inf)),
    "power": ("Pow", (np.nan, 0.0)),
    "minimum": ("Min", (np.nan, -np.inf, -1e30)),
    "maximum": ("Max", (np.nan, np.inf, 1e30)),
    "sum": ("Sum", (np.nan, np.inf)),
    "mean": ("Mean", (np.nan, -np.inf)),
}


@_way
def constant_on_the_way(model: onnx.ModelProto, rng: random.Random) -> str:
    """An operator with a constant that spoils it, behind some value of the graph."""
    made = [(i, name) for i, one in enumerate(model.graph.node) for name in one.output]
    index, name = _choose(rng, made)
    kind = _type_of(model, name)
    if kind not in (TensorProto.FLOAT, TensorProto.FLOAT16):
        raise Unfit
    spoiled = f"{name}_spoiled"
    step = rng.choice([*_STEPS, "where", "clip"])
    dtype = np.float32 if kind == TensorProto.FLOAT else np.float16

    def stored(name: str, entry: float | bool) -> str:
        array = np.array(entry, dtype=bool if isinstance(entry, bool) else dtype)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    if step == "where":
        entry = rng.choice([np.nan, np.inf, 0.0])
        made_by = node("Where", [stored("never", False), name, stored("spoil", entry)], [spoiled])
    elif step == "clip":
        entry = rng.choice([0.0, 1.0])
        made_by = node("Clip", [name, stored("spoil", entry), stored("spoil2", entry)], [spoiled])
    else:
        operator, entries = _STEPS[step]
        entry = rng.choice(entries)
        given = [name, stored("spoil", entry)]
        made_by = node(operator, given if rng.random() < 0.7 or step in ("divide", "power") else given[::-1], [spoiled])
    if any(output.name == name for output in model.graph.output):
        model.graph.output[0].name = spoiled
    for one in model.graph.node:
        for place, read in enumerate(one.input):
            if read == name:
                one.input[place] = spoiled
    model.graph.node.insert(index + 1, made_by)
    return f"{step} {entry} behind {name}"


def _product(model: onnx.ModelProto, rng: random.Random) -> tuple[int, onnx.NodeProto, onnx.TensorProto]:
    stored = {tensor.name: tensor for tensor in model.graph.initializer if len(tensor.dims) == 2}
    products = [
        (i, one, stored[one.input[1]])
        for i, one in enumerate(model.graph.node)
        if one.op_type in ("MatMul", "Gemm") and one.input[1] in stored and stored[one.input[1]].data_type == TensorProto.FLOAT
    ]
    return _choose(rng, products)


@_way
def weight_chosen_at_run_time(model: onnx.ModelProto, rng: random.Random) -> str:
    """A bank of experts, or one of two weights by a mask: one of them holds NaN."""
    index, one, tensor = _product(model, rng)
    array = numpy_helper.to_array(tensor)
    bad = array.copy()
    bad.reshape(-1)[rng.randrange(bad.size)] = np.nan
    if rng.random() < 0.5:
        bank = np.stack([array, bad, array])
        model.graph.initializer.append(numpy_helper.from_array(bank, "bank"))
        model.graph.input.append(helper.make_tensor_value_info("expert", TensorProto.INT64, []))
        chosen = node("Gather", ["bank", "expert"], ["chosen"], axis=0)
    else:
        model.graph.initializer.extend([numpy_helper.from_array(array, "good"), numpy_helper.from_array(bad, "bad")])
        model.graph.input.append(helper.make_tensor_value_info("choice", TensorProto.BOOL, [array.shape[1]]))
        chosen = node("Where", ["choice", "good", "bad"], ["chosen"])
    one.input[1] = "chosen"
    model.graph.node.insert(index, chosen)
    return f"{tensor.name} by {chosen.op_type}"


@_way
def mixed_types(model: onnx.ModelProto, rng: random.Random) -> str:
    tensor = _choose(rng, _floats(model, matrices=rng.random() < 0.5))
    array = numpy_helper.to_array(tensor)
    _store(tensor, array.astype(rng.choice([np.float64, np.float16 if array.dtype == np.float32 else np.float32])))
    return f"{tensor.name} of another type"


@_way
def dropped_cast(model: onnx.ModelProto, rng: random.Random) -> str:
    cast = _choose(rng, [one for one in model.graph.node if one.op_type == "Cast"])
    cast.op_type = "Identity"
    del cast.attribute[:]
    return f"{cast.output[0]} is not cast"


@_way
def wrong_shape(model: onnx.ModelProto, rng: random.Random) -> str:
    tensor = _choose(rng, _floats(model, matrices=rng.random() < 0.7))
    array = numpy_helper.to_array(tensor)
    if array.ndim == 0:
        raise Unfit
    axis = rng.randrange(array.ndim)
    _store(tensor, np.concatenate([array, array.take([0], axis=axis)], axis=axis))
    return f"{tensor.name} is longer along axis {axis}"


@_way
def unknown(model: onnx.ModelProto, rng: random.Random) -> str:
    what = rng.choice(["operator", "domain", "opset", "attribute"])
    one = _choose(rng, list(model.graph.node))
    if what == "opset":
        model.opset_import[0].version = 99
    elif what == "attribute":
        one.attribute.append(helper.make_attribute("nobody_knows", 1))
    elif what == "domain":
        one.domain = "nobody.knows"
        model.opset_import.append(helper.make_opsetid("nobody.knows", 1))
    else:
        one.op_type += "Nobody"
    return f"{what} at {one.output[0]}"


@_way
def name_twice(model: onnx.ModelProto, rng: random.Random) -> str:
    if rng.random() < 0.5:
        tensor = _choose(rng, list(model.graph.initializer))
        model.graph.initializer.append(tensor)
        return f"initializer {tensor.name} twice"
    first, second = rng.sample(range(len(model.graph.node)), 2)
    model.graph.node[second].output[0] = model.graph.node[first].output[0]
    return f"{model.graph.node[first].output[0]} made twice"


@_way
def wrong_wire(model: onnx.ModelProto, rng: random.Random) -> str:
    """A value that nothing makes, or that is made later."""
    place = rng.randrange(len(model.graph.node))
    one = model.graph.node[place]
    later = [name for each in list(model.graph.node)[place:] for name in each.output]
    one.input[0] = rng.choice([*later, "nobody_makes_this"])
    return f"{one.output[0]} reads {one.input[0]}"


@_way
def unread_input(model: onnx.ModelProto, rng: random.Random) -> str:
    if rng.random() < 0.5:
        model.graph.input.append(helper.make_tensor_value_info("forgotten", TensorProto.FLOAT, [2, 3]))
        return "one more input"
    given = model.graph.input[0]
    dims = [d.dim_value or 3 for d in given.type.tensor_type.shape.dim]
    frozen = np.random.default_rng(0).standard_normal(dims).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(frozen, "frozen"))
    for one in model.graph.node:
        for place, read in enumerate(one.input):
            if read == given.name:
                one.input[place] = "frozen"
    return "the input is a constant"


def external_data(model: onnx.ModelProto, rng: random.Random, folder: Path) -> str:
    """Weights in a file that is cut, or gone, or poisoned."""
    for graph in _graphs(model.graph):
        for tensor in graph.initializer:
            array = numpy_helper.to_array(tensor)
            _store(tensor, array)
    onnx.save(model, folder / MODEL, save_as_external_data=True, location="weights.bin", size_threshold=0)
    data = (folder / "weights.bin").read_bytes()
    what = rng.choice(["cut", "gone", "renamed"])
    if what == "cut":
        (folder / "weights.bin").write_bytes(data[: rng.randrange(len(data))])
    elif what == "renamed":
        (folder / "weights.bin").rename(folder / "weight.bin")
    else:
        (folder / "weights.bin").unlink()
    return f"external data {what}"


BREAKS["external-data"] = external_data
