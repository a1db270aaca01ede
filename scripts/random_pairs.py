"""Pairs of small random networks with one change each: `compare` must not pass one whose outputs differ on fresh inputs.

    python -m scripts.random_pairs [--count 2000] [--seed 0] [--run]

Each network is a chain of random layers (`layered_networks`), each change one of the kinds in CHANGES: an entry of a constant,
an attribute, an operator, a wire. A pair counts as *false* where compare exits 0 and, on fresh inputs of several sizes, some
output differs by more than rounding explains (float32's, or that of the type where the outcome says `rounded` or `quantized`).
Where a change cancels, as c does in (c∘x + 1) − c∘x, float32 leaves nothing but rounding of the output: there float64 decides.
Prints every false pair, and counts of outcomes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import onnxnull
from onnxnull.errors import OnnxnullError
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.session import Runner
from scripts.layered_networks import Net, Rng


def _entry(model: onnx.ModelProto, rng: Rng) -> bool:
    tensors = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT]
    if not tensors:
        return False
    tensor = tensors[rng.integers(len(tensors))]
    array = numpy_helper.to_array(tensor).copy()
    place = rng.integers(array.size)
    how = rng.integers(6)
    old = float(array.flat[place])
    new = [old + 1.0, old * 1.01, -old, old * 1.0003, 0.0, old + 0.25][how]
    array = array.reshape(-1)
    array[place] = np.float32(new)
    if float(array[place]) == old:
        return False
    tensor.CopyFrom(numpy_helper.from_array(array.reshape(tuple(tensor.dims)), tensor.name))
    return True


def _whole(model: onnx.ModelProto, rng: Rng) -> bool:
    tensors = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT]
    if not tensors:
        return False
    tensor = tensors[rng.integers(len(tensors))]
    array = numpy_helper.to_array(tensor)
    kinds: list[Callable[[np.ndarray], np.ndarray]] = [
        lambda a: np.flip(a, 0) if a.ndim else a,
        lambda a: 2.0 * a,
        lambda a: a + 0.1,
        lambda a: np.rint(a * 8.0) / 8.0,
        lambda a: a.astype(np.float16),
        lambda a: -a,
        lambda a: a * 1.002,
        lambda a: np.rint(a * 127.0 / (np.abs(a).max() or 1.0)) * ((np.abs(a).max() or 1.0) / 127.0),
    ]
    changed = np.ascontiguousarray(kinds[rng.integers(len(kinds))](array)).astype(np.float32).reshape(array.shape)
    tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
    return not np.array_equal(changed, array)


def _attribute(model: onnx.ModelProto, rng: Rng) -> bool:
    found = [(node, a) for node in model.graph.node for a in node.attribute]
    if not found:
        return False
    _, attribute = found[rng.integers(len(found))]
    if attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = float(np.float32(attribute.f * rng.choice([1.01, 2.0, 10.0, 0.5])))
    elif attribute.name == "axis":
        attribute.i = 1 if attribute.i in (-1, 2, 3) else 2
    elif attribute.name == "approximate":
        attribute.s = b"none" if attribute.s == b"tanh" else b"tanh"
    elif attribute.name == "pads":
        attribute.ints[:] = [2, 1, 0, 1] if rng.random() < 0.5 else [0, 1, 2, 1]
    elif attribute.name == "perm":
        attribute.ints[:] = [0, 1, 2]
    else:
        return False
    return True


_OTHER = {
    "Add": ["Sub", "Mul"],
    "Sub": ["Add"],
    "Mul": ["Add", "Div"],
    "Div": ["Mul"],
    "Max": ["Min", "Add"],
    "Relu": ["LeakyRelu", "Abs", "Softplus", "HardSwish"],
    "Sigmoid": ["HardSigmoid", "Tanh"],
    "Tanh": ["Sigmoid", "Softsign"],
    "HardSwish": ["Relu"],
    "Abs": ["Relu", "Identity"],
    "Neg": ["Identity"],
    "MaxPool": ["AveragePool"],
    "AveragePool": ["MaxPool"],
    "ReduceMean": ["ReduceSum"],
    "ReduceSum": ["ReduceMean", "ReduceMax"],
    "Sqrt": ["Identity", "Reciprocal"],
    "Softmax": ["LogSoftmax"],
    "Elu": ["Relu"],
    "LeakyRelu": ["Relu"],
}


def _operator(model: onnx.ModelProto, rng: Rng) -> bool:
    found = [node for node in model.graph.node if node.op_type in _OTHER]
    if not found:
        return False
    node = found[rng.integers(len(found))]
    node.op_type = str(rng.choice(_OTHER[node.op_type]))
    kept = {a.name for a in node.attribute} & set(onnx.defs.get_schema(node.op_type, 20).attributes)
    for attribute in [a for a in node.attribute if a.name not in kept]:
        node.attribute.remove(attribute)
    return True


def _wire(model: onnx.ModelProto, rng: Rng) -> bool:
    nodes = list(model.graph.node)
    if len(nodes) < 2:
        return False
    place = int(rng.integers(1, len(nodes)))
    node, earlier = nodes[place], [name for other in nodes[:place] for name in other.output]
    new = str(rng.choice(earlier))
    if node.input[0] == new:
        return False
    node.input[0] = new
    return True


def _insert(model: onnx.ModelProto, rng: Rng) -> bool:
    place = int(rng.integers(len(model.graph.node)))
    node = model.graph.node[place]
    op = str(rng.choice(["Relu", "Neg", "Abs", "Floor", "Sigmoid", "HardSwish", "Exp"]))
    made = helper.make_node(op, [node.input[0]], ["inserted"], "inserted")
    node.input[0] = "inserted"
    model.graph.node.insert(place, made)
    return True


def _remove(model: onnx.ModelProto, rng: Rng) -> bool:
    place = int(rng.integers(len(model.graph.node)))
    node = model.graph.node[place]
    old = node.output[0]
    node.CopyFrom(helper.make_node("Identity", [node.input[0]], [old], node.name))
    return True


def _swapped(model: onnx.ModelProto, rng: Rng) -> bool:
    found = [n for n in model.graph.node if n.op_type in ("Sub", "MatMul", "Add", "Mul", "Div") and len(n.input) == 2]
    if not found:
        return False
    node = found[rng.integers(len(found))]
    node.input[:] = list(node.input)[::-1]
    return True


CHANGES: dict[str, Callable[[onnx.ModelProto, Rng], bool]] = {
    "entry": _entry,
    "constant": _whole,
    "attribute": _attribute,
    "operator": _operator,
    "wire": _wire,
    "inserted": _insert,
    "removed": _remove,
    "operands swapped": _swapped,
}


def _outputs(model: onnx.ModelProto, inputs: list[np.ndarray]) -> list[np.ndarray] | None:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return [session.run(None, {"x": x})[0] for x in inputs]
    except Exception:  # noqa: BLE001 - a change may make a network that onnxruntime refuses
        return None


def _outputs_in_float64(model: onnx.ModelProto, inputs: list[np.ndarray]) -> list[np.ndarray] | None:
    try:
        runner = Runner(model, Precision.FLOAT64)
        return [next(iter(runner.run({"x": x}).values())) for x in inputs]
    except OnnxnullError:
        return None


_ALLOWED = {"identical": 1e-3, "same-graph": 1e-3, "rounded": 5e-2, "quantized": 0.5}
_NOTHING = 1e-9
"""Share of the largest entry, or of 1, that rounding in float64 leaves where everything cancels."""


def differs(a: onnx.ModelProto, b: onnx.ModelProto, outcome: str, rng: Rng) -> float:
    """The largest error over the spread of the output over fresh inputs, over what the outcome allows; 0 where both fail."""
    shape = [d.dim_value for d in a.graph.input[0].type.tensor_type.shape.dim]
    inputs = [(size * rng.standard_normal(shape)).astype(np.float32) for size in (0.1, 1.0, 1.0, 3.0, 10.0)]
    first, second = _outputs(a, inputs), _outputs(b, inputs)
    ratio = _ratio(first, second, _ALLOWED[outcome], 0.0)
    if 1.0 < ratio < float("inf"):
        wide = _outputs_in_float64(a, inputs), _outputs_in_float64(b, inputs)
        if None not in wide:
            return _ratio(*wide, _ALLOWED[outcome], _NOTHING)
    return ratio


def _ratio(first: list[np.ndarray] | None, second: list[np.ndarray] | None, allowed: float, nothing: float) -> float:
    if first is None or second is None:
        return 0.0 if first is second else float("inf")
    if any(x.shape != y.shape for x, y in zip(first, second, strict=True)):
        return float("inf")
    x, y = np.stack(first).astype(np.float64), np.stack(second).astype(np.float64)
    if not np.array_equal(np.isfinite(x), np.isfinite(y)):
        return float("inf")
    x, y = np.where(np.isfinite(x), x, 0.0), np.where(np.isfinite(y), y, 0.0)
    largest = np.abs(x).max()
    error, spread = np.abs(x - y).max(), np.ptp(x) + 1e-4 * largest
    return float(error / (spread * allowed)) if error > nothing * max(1.0, largest) else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", action="store_true", help="also run both; without, the graphs alone decide")
    options = parser.parse_args()
    outcomes: Counter[tuple[str, str]] = Counter()
    false = made = number = 0
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder) / "a.onnx", Path(folder) / "b.onnx"
        while made < options.count:
            rng = np.random.default_rng([options.seed, number])
            number += 1
            net = Net(rng)
            for _ in range(int(rng.integers(2, 8))):
                net.layer()
            if not net.nodes:
                continue
            first = net.model()
            second = onnx.ModelProto()
            second.CopyFrom(first)
            kind = str(rng.choice(list(CHANGES)))
            if not CHANGES[kind](second, rng):
                continue
            for path, model in zip(paths, (first, second), strict=True):
                path.write_bytes(model.SerializeToString())
            made += 1
            try:
                found = onnxnull.compare(
                    *map(onnxnull.open_model, paths), running=onnxnull.Running() if options.run else None, weights=False
                )
            except OnnxnullError as error:
                outcomes[kind, f"error {error.code.code}"] += 1
                continue
            outcomes[kind, found.outcome.label] += 1
            if int(found.exit_code()) == 0:
                ratio = differs(first, second, found.outcome.label, rng)
                if ratio > 1.0:
                    false += 1
                    print(
                        f"FALSE: seed {number - 1}, {kind}, {found.outcome.label}: {ratio:.3g} times what is allowed",
                        flush=True,
                    )
    for (kind, outcome), count in sorted(outcomes.items()):
        print(f"{kind:>18} {outcome:<20} {count}")
    print(f"{made} pairs, {false} false")
    return int(false > 0)


if __name__ == "__main__":
    sys.exit(main())
