"""Mutations of a model: of its bytes, and of its structure. Each takes what it needs from one random generator."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

import onnx
from onnx import AttributeProto, TensorProto, helper

Mutation = Callable[[onnx.ModelProto, random.Random], None]

NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    64,
    255,
    4096,
    65537,
    1 << 20,
    (1 << 31) - 1,
    -(1 << 31),
    1 << 40,
    1 << 62,
    (1 << 63) - 1,
    -(1 << 63),
)
_FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 3.4e38, 1e30, float("inf"), float("-inf"), float("nan"))
_TEXTS = (
    b"",
    b"x",
    b"w",
    b"W" * 300,
    b"../x",
    b"SAME_UPPER",
    b"ij,jk->ik",
    b"...",
    b"\xff\xfe",
    b"linear",
    "\u202e\x1b[31m".encode(),
)
_DATA = ("weights.bin", "../outside.bin", "/etc/passwd", ".", "nowhere", "model.onnx", "")


def mutated(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """A model with a few mutations of its structure, of its bytes, or of both. `others`: models to take parts from."""
    if rng.random() < 0.75:
        model = onnx.ModelProto.FromString(data)
        for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
            rng.choice(_MUTATIONS)(model, rng)
        if rng.random() < 0.1:
            _graft(model, onnx.ModelProto.FromString(rng.choice(others)), rng)
        data = model.SerializeToString()
        if rng.random() < 0.9:
            return data
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        _change_bytes(changed, others, rng)
    return bytes(changed)


def _change_bytes(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    if not data:
        return
    # the interesting bytes are few where most are numbers of weights: look at the beginning and the end more often
    where = rng.choice(
        (rng.randrange(len(data)), rng.randrange(min(len(data), 600)), len(data) - 1 - rng.randrange(min(len(data), 600)))
    )
    kind = rng.randrange(7)
    if kind == 0:
        data[where] = rng.randrange(256)
    elif kind == 1:
        data[where] ^= 1 << rng.randrange(8)
    elif kind == 2:
        del data[where : where + rng.choice((1, 2, 8, 100))]
    elif kind == 3:
        data[where:where] = rng.randbytes(rng.choice((1, 2, 8)))
    elif kind == 4:
        del data[where:]
    elif kind == 5:
        data[where : where + 1] = rng.choice((b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", b"\x00"))
    else:
        other = rng.choice(others)
        start = rng.randrange(len(other))
        data[where:where] = other[start : start + rng.choice((4, 40, 400))]


def graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The main graph and all bodies, those in functions too."""

    def within(nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.GraphProto]:
        for node in nodes:
            for attribute in node.attribute:
                for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                    yield body
                    yield from within(body.node)

    yield model.graph
    yield from within(model.graph.node)
    for function in model.functions:
        yield from within(function.node)


def _nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [n for g in graphs(model) for n in g.node] + [n for f in model.functions for n in f.node]


def _node(model: onnx.ModelProto, rng: random.Random) -> onnx.NodeProto:
    nodes = _nodes(model)
    return rng.choice(nodes) if nodes else model.graph.node.add(op_type="Relu", input=["x"], output=["y"])


def _tensor(model: onnx.ModelProto, rng: random.Random) -> TensorProto:
    tensors: list[TensorProto] = [t for g in graphs(model) for t in g.initializer]
    tensors += [a.t for n in _nodes(model) for a in n.attribute if a.HasField("t")]
    if not tensors:
        tensors = [model.graph.initializer.add(name="w", data_type=1, dims=[1], raw_data=bytes(4))]
    return rng.choice(tensors)


def _names(model: onnx.ModelProto) -> list[str]:
    names = [name for n in _nodes(model) for name in (*n.input, *n.output)]
    return [*names, *(t.name for t in model.graph.initializer), *(i.name for i in model.graph.input), "", "nothing"]


def _change_op(model: onnx.ModelProto, rng: random.Random) -> None:
    schemas = onnx.defs.get_all_schemas()
    node = _node(model, rng)
    if rng.random() < 0.7:
        node.op_type = rng.choice(schemas).name if rng.random() < 0.6 else _node(model, rng).op_type
    else:
        node.domain = rng.choice(("", "ai.onnx", "com.microsoft", "ai.onnx.ml", "local", "nobody"))


def _change_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    if not node.attribute:
        name = rng.choice(("axis", "axes", "strides", "pads", "group", "to", "perm", "transB", "hidden_size", "alpha", "bits"))
        node.attribute.append(
            helper.make_attribute(name, rng.choice((rng.choice(NUMBERS), [rng.choice(NUMBERS)] * 2, "x", 0.5)))
        )
        return
    attribute = rng.choice(node.attribute)
    kind = rng.randrange(8)
    if kind == 0:
        attribute.i = rng.choice(NUMBERS)
    elif kind == 1:
        attribute.f = rng.choice(_FLOATS)
    elif kind == 2:
        attribute.s = rng.choice(_TEXTS)
    elif kind == 3 and attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(NUMBERS)
    elif kind == 4:
        attribute.ints.extend([rng.choice(NUMBERS)] * rng.choice((1, 2, 70)))
    elif kind == 5:
        attribute.type = rng.choice(AttributeProto.AttributeType.values())
    elif kind == 6:
        node.attribute.remove(attribute)
    else:
        attribute.name = rng.choice(("axis", "value", "to", "group", "body", attribute.name))


def _change_dims(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = _tensor(model, rng)
    kind = rng.randrange(4)
    if kind == 0 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(NUMBERS)
    elif kind == 1 and len(tensor.dims) > 1:
        dims = list(tensor.dims)
        rng.shuffle(dims)
        tensor.dims[:] = dims
    elif kind == 2:
        tensor.dims.append(rng.choice((0, 1, 1, 2)))
    elif tensor.dims:
        del tensor.dims[-1]


def _change_input(model: onnx.ModelProto, rng: random.Random) -> None:
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    if not values:
        return
    kind = rng.choice(values).type
    tensor = kind.tensor_type
    choice = rng.randrange(5)
    if choice == 0:
        tensor.elem_type = rng.randrange(30)
    elif choice == 1:
        kind.sequence_type.elem_type.tensor_type.elem_type = 1
    elif choice == 2 and tensor.shape.dim:
        rng.choice(tensor.shape.dim).dim_value = rng.choice(NUMBERS)
    elif choice == 3:
        tensor.shape.dim.add(dim_value=rng.choice((1, 2, 4096)))
    elif tensor.shape.dim:
        rng.choice(tensor.shape.dim).dim_param = "n"


def _change_type(model: onnx.ModelProto, rng: random.Random) -> None:
    _tensor(model, rng).data_type = rng.randrange(28)


def _change_data(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = _tensor(model, rng)
    kind, raw = rng.randrange(7), bytearray(tensor.raw_data)
    if kind == 0 and raw:
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    elif kind == 1 and raw:
        del raw[rng.randrange(len(raw)) :]
    elif kind == 2:
        raw[:] = b"\xff" * len(raw)
    elif kind == 3:
        raw[:] = bytes(len(raw))
    elif kind == 4:
        raw[:] = rng.randbytes(len(raw))
    elif kind == 5 and tensor.data_type == TensorProto.INT64 and len(raw) >= 8:
        start = 8 * rng.randrange(len(raw) // 8)
        raw[start : start + 8] = rng.choice(NUMBERS).to_bytes(8, "little", signed=True)
    else:
        tensor.float_data.extend([rng.choice(_FLOATS)] * 2)
    tensor.raw_data = bytes(raw)


def _move_data_out(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = _tensor(model, rng)
    if rng.random() < 0.8:
        tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=rng.choice(_DATA))
    for key in ("offset", "length", "odd"):
        if rng.random() < 0.4:
            tensor.external_data.add(key=key, value=str(rng.choice((0, 16, 48, *NUMBERS))))


def _change_edge(model: onnx.ModelProto, rng: random.Random) -> None:
    node, kind = _node(model, rng), rng.randrange(5)
    if kind == 0 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(_names(model))
    elif kind == 1:
        node.input.append(rng.choice(_names(model)))
    elif kind == 2 and node.input:
        del node.input[rng.randrange(len(node.input))]
    elif kind == 3 and len(node.output) > 0:
        node.output[rng.randrange(len(node.output))] = rng.choice(_names(model))
    elif len(node.input) > 1:
        order = list(node.input)
        rng.shuffle(order)
        node.input[:] = order


def _change_nodes(model: onnx.ModelProto, rng: random.Random) -> None:
    nodes = rng.choice(list(graphs(model))).node
    if not nodes:
        return
    kind, index = rng.randrange(4), rng.randrange(len(nodes))
    if kind == 0:
        del nodes[index]
    elif kind == 1:
        nodes.add().CopyFrom(nodes[index])
    elif kind == 2:
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        rng.shuffle(copies)
        del nodes[:]
        nodes.extend(copies)
    else:
        node = onnx.NodeProto.FromString(nodes[index].SerializeToString())
        new = f"new{rng.randrange(1000)}"
        op = rng.choice(("Identity", "Cast", "Transpose", "Neg", "Shape", "NonZero", "Reshape", "Expand", "Loop", "Relu"))
        source = rng.choice(list(node.input) or [""])
        inserted = helper.make_node(op, [source, *([source] if op in ("Reshape", "Expand") else [])], [new])
        if op == "Cast":
            inserted.attribute.append(helper.make_attribute("to", rng.randrange(20)))
        for position, name in enumerate(node.input):
            if name == source:
                node.input[position] = new
        after = [onnx.NodeProto.FromString(each.SerializeToString()) for each in nodes[index + 1 :]]
        del nodes[index:]
        nodes.extend([inserted, node, *after])


def _change_initializers(model: onnx.ModelProto, rng: random.Random) -> None:
    graph = rng.choice(list(graphs(model)))
    if not graph.initializer:
        return
    kind, index = rng.randrange(4), rng.randrange(len(graph.initializer))
    if kind == 0:
        del graph.initializer[index]
    elif kind == 1:
        graph.initializer.add().CopyFrom(graph.initializer[index])
    elif kind == 2:
        graph.initializer[index].name = rng.choice(_names(model))
    else:
        graph.input.add(name=graph.initializer[index].name)


def _change_name(model: onnx.ModelProto, rng: random.Random) -> None:
    values = [*model.graph.input, *model.graph.output, *model.graph.initializer, *_nodes(model)]
    rng.choice(values).name = rng.choice((*_names(model), "W" * 5000, "\n\x1b[2J", "…"))


def _change_opset(model: onnx.ModelProto, rng: random.Random) -> None:
    if model.opset_import and rng.random() < 0.8:
        rng.choice(model.opset_import).version = rng.choice((1, 5, 7, 9, 10, 11, 12, 13, 14, 17, 18, 20, 22, 24, 99, *NUMBERS))
    else:
        model.opset_import.add(domain=rng.choice(("", "ai.onnx", "local")), version=rng.choice((1, 13, 21)))


def _change_bodies(model: onnx.ModelProto, rng: random.Random) -> None:
    """Move a node into the branches of an If, or give a body to someone else."""
    nodes = model.graph.node
    if not nodes:
        return
    index = rng.randrange(len(nodes))
    node = onnx.NodeProto.FromString(nodes[index].SerializeToString())
    if rng.random() < 0.5 and node.output:
        inner = onnx.NodeProto.FromString(node.SerializeToString())
        inner.output[:] = [f"in_{name}" for name in inner.output]
        branch = helper.make_graph([inner], "body", [], [onnx.ValueInfoProto(name=name) for name in inner.output if name])
        condition = rng.choice(_names(model))
        wrapped = helper.make_node("If", [condition], list(node.output), then_branch=branch, else_branch=branch)
        nodes[index].CopyFrom(wrapped)
        return
    bodies = list(graphs(model))
    attribute = nodes[index].attribute.add(name=rng.choice(("body", "then_branch", "else_branch")), type=AttributeProto.GRAPH)
    attribute.g.CopyFrom(onnx.GraphProto.FromString(rng.choice(bodies).SerializeToString()))


def _change_functions(model: onnx.ModelProto, rng: random.Random) -> None:
    if not model.functions:
        _change_nodes(model, rng)
        return
    function = rng.choice(model.functions)
    kind = rng.randrange(5)
    if kind == 0:
        model.functions.add().CopyFrom(function)
    elif kind == 1:
        function.name = rng.choice((*(f.name for f in model.functions), "MatMul"))
    elif kind == 2 and function.node:
        rng.choice(function.node).op_type = function.name
    elif kind == 3 and function.output:
        function.output[rng.randrange(len(function.output))] = rng.choice(_names(model))
    else:
        function.input.append(rng.choice(_names(model)))


def _graft(model: onnx.ModelProto, other: onnx.ModelProto, rng: random.Random) -> None:
    """Add the nodes and the weights of another model."""
    model.graph.node.extend(other.graph.node)
    model.graph.initializer.extend(other.graph.initializer)
    model.graph.input.extend(other.graph.input)


_MUTATIONS: tuple[Mutation, ...] = (
    _change_op,
    _change_attribute,
    _change_attribute,
    _change_dims,
    _change_input,
    _change_type,
    _change_data,
    _move_data_out,
    _change_edge,
    _change_nodes,
    _change_initializers,
    _change_name,
    _change_opset,
    _change_bodies,
    _change_functions,
)
