"""Look for claims about outputs that are false: random small networks with odd constants, judged and then run.

    python scripts/explore_constants.py --networks 2000 --seed 0

Every claim (an output is NaN, not finite, constant) is checked in onnxruntime on random inputs of several magnitudes; every
range of a value on the way is checked too, entry by entry: a value outside its set is a mistake in a rule. Inputs at which
something finite overflows are left out, as the claims leave them out. Ends with 1 if there is a mistake.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from onnxnull.graph.flow import Flow
from onnxnull.graph.model import open_model
from onnxnull.intervals.domain import Range
from onnxnull.ranges.claims import output_claims
from onnxnull.ranges.propagation import Propagation
from onnxnull.ranges.results import Effect

ODD = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.0, 1e-3, -2.5, 1e-38, 1e-45, 3e38, float("inf"), -float("inf"), float("nan")]
UNARY = [
    "Relu",
    "Sigmoid",
    "Tanh",
    "Erf",
    "Softplus",
    "Softsign",
    "HardSigmoid",
    "HardSwish",
    "Elu",
    "Selu",
    "Celu",
    "LeakyRelu",
    "Mish",
]
UNARY += [
    "ThresholdedRelu",
    "Exp",
    "Abs",
    "Neg",
    "Floor",
    "Ceil",
    "Round",
    "Sign",
    "Sqrt",
    "Log",
    "Reciprocal",
    "Sin",
    "Identity",
]
UNARY += ["Softmax", "LogSoftmax", "LpNormalization", "Atan", "Hardmax"]
BINARY = ["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "PRelu"]
COMPARE = ["Less", "Greater", "Equal", "LessOrEqual", "GreaterOrEqual"]
SHAPE = (3, 4)


class Builder:
    """A random network of tensors of shape (3, 4)."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.values = ["x"]
        for _ in range(int(self.rng.integers(1, 9))):
            self.step()

    def pick(self, names: list[str]) -> str:
        """One of the names; of tensors, late ones more often."""
        return names[int(self.rng.integers(len(names)))]

    def value(self) -> str:
        """A tensor that is there."""
        return self.values[-1] if self.rng.random() < 0.6 else self.pick(self.values)

    def constant(self, shape: tuple[int, ...] | None = None) -> str:
        """A constant of odd numbers, all the same or mixed with others."""
        shapes: list[tuple[int, ...]] = [(), (1,), (4,), (3, 1), (3, 4), (1, 4)]
        shape = shapes[int(self.rng.integers(len(shapes)))] if shape is None else shape
        kind = self.rng.random()
        odd = np.asarray(ODD)
        if kind < 0.4:
            array = np.full(shape, odd[self.rng.integers(len(odd))])
        elif kind < 0.7:
            array = self.rng.standard_normal(shape)
            array = np.where(self.rng.random(shape) < 0.3, odd[self.rng.integers(len(odd), size=shape)], array)
        else:
            array = self.rng.standard_normal(shape)
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array, np.float32)
        return name

    def add(self, op: str, inputs: list[str], *, keep: bool = True, **attributes: Any) -> str:
        """A node; its output is used further if `keep`."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"{op}_{name}", **attributes))
        if keep:
            self.values.append(name)
        return name

    def step(self) -> None:
        """One more operator, or a few that belong together."""
        rng, kind = self.rng, int(self.rng.integers(15))
        x = self.value()
        if kind <= 2:
            op = self.pick(UNARY)
            attributes: dict[str, Any] = {}
            if op in ("LeakyRelu", "Elu", "Celu", "ThresholdedRelu", "HardSigmoid") and rng.random() < 0.5:
                attributes["alpha"] = float(rng.choice(ODD))
            self.add(op, [x], **attributes)
        elif kind <= 6:
            operands = [x, self.constant() if rng.random() < 0.8 else self.value()]
            if rng.random() < 0.3:
                operands.reverse()
            op = self.pick(BINARY)
            if op == "PRelu":
                operands = [x, self.constant()]
            out = self.add(op, operands, keep=False)
            self.values.append(self.add("Add", [out, self.zeros()], keep=False) if op != "PRelu" else out)
        elif kind == 7:
            condition = self.add(self.pick(COMPARE), [x, self.constant()], keep=False)
            out = self.add("Where", [condition, self.value(), self.constant()], keep=False)
            self.add("Add", [out, self.zeros()])
        elif kind == 8:
            out = self.add("Clip", [x, self.constant(()), self.constant(())], keep=False)
            self.values.append(out)
        elif kind == 9:
            self.add("MatMul", [x, self.constant((4, 4))])
        elif kind == 10:
            attributes = {"alpha": float(rng.choice(ODD)), "beta": float(rng.choice(ODD))} if rng.random() < 0.5 else {}
            self.add("Gemm", [x, self.constant((4, 4)), self.constant((4,))], transB=int(rng.integers(2)), **attributes)
        elif kind == 11:
            parameters = [self.constant((4,)) for _ in range(4)]
            self.add("BatchNormalization", [x, *parameters], epsilon=float(rng.choice([1e-5, 0.0, 1.0])))
        elif kind == 12:
            epsilon = float(rng.choice([1e-5, 0.0, 1.0, np.inf, np.nan, -1.0]))
            self.add("LayerNormalization", [x, self.constant((4,)), self.constant((4,))], epsilon=epsilon)
        elif kind == 13:
            op = self.pick(
                [
                    "ReduceMean",
                    "ReduceMax",
                    "ReduceMin",
                    "ReduceL2",
                    "ReduceSumSquare",
                    "ReduceL1",
                    "ReduceProd",
                    "ReduceLogSumExp",
                ]
            )
            reduced = self.add(op, [x], keep=False, axes=[int(rng.integers(2))], keepdims=1)
            self.add("Add", [reduced, self.zeros()])
        else:
            self.move(x)

    def move(self, x: str) -> None:
        """Entries side by side with constants, and some of them again."""
        rng = self.rng
        if rng.random() < 0.5:
            joined = self.add("Concat", [x, self.constant((3, 2))], keep=False, axis=1)
            index = np.asarray(rng.permutation(6)[:4], np.int64)
            name = f"c{len(self.constants)}"
            self.constants[name] = index
            self.add("Gather", [joined, name], axis=1)
        else:
            image = self.reshaped(x, [1, 1, 3, 4])
            weight = self.constant((1, 1, 3, 3))
            out = self.add("Conv", [image, weight], keep=False, pads=[1, 1, 1, 1])
            if rng.random() < 0.5:
                out = self.add(self.pick(["MaxPool", "AveragePool"]), [out], keep=False, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
            self.values.append(self.reshaped(out, [3, 4]))

    def reshaped(self, x: str, shape: list[int]) -> str:
        """The same entries in another shape."""
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(shape, np.int64)
        return self.add("Reshape", [x, name], keep=False)

    def zeros(self) -> str:
        """What brings a value to shape (3, 4)."""
        self.constants["zeros"] = np.zeros(SHAPE, np.float32)
        return "zeros"

    def model(self, opset: int = 17) -> onnx.ModelProto:
        """The network; its output is the last tensor."""
        graph = helper.make_graph(
            [*self.nodes, helper.make_node("Identity", [self.values[-1]], ["y"], name="last")],
            "random",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
            [onnx.ValueInfoProto(name="y")],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def observe(proto: onnx.ModelProto, seed: int, runs: int) -> list[dict[str, np.ndarray]] | None:
    """All float values of several runs; None where onnxruntime refuses the model."""
    wide = onnx.ModelProto()
    wide.CopyFrom(proto)
    known = {value.name for value in wide.graph.output}
    wide.graph.output.extend(
        onnx.ValueInfoProto(name=name) for node in wide.graph.node for name in node.output if name not in known
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(wide.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - onnxruntime's errors have no common base; such a model does not load, and is no case
        return None
    names = [output.name for output in session.get_outputs()]
    found = []
    for run in range(runs):
        rng = np.random.default_rng([seed, run])
        x = rng.standard_normal(SHAPE) * 10.0 ** rng.integers(-3, 4)
        if run % 4 == 3:
            x = np.round(x)
        x = np.asarray(x, np.float32)
        found.append({"x": x, **dict(zip(names, session.run(None, {"x": x}), strict=True))})
    return found


def outside(found: Range, array: np.ndarray) -> bool:
    """Whether an entry is not in its set."""
    values = np.asarray(array, np.float64)
    finite = np.isfinite(values)
    allowed = (
        (finite & (values >= found.lo) & (values <= found.hi))
        | (np.isnan(values) & found.nan)
        | ((values == np.inf) & found.pinf)
        | ((values == -np.inf) & found.ninf)
    )
    return not bool(np.all(allowed))


def mistakes(proto: onnx.ModelProto, seed: int, runs: int, folder: Path) -> tuple[list[str], int, bool]:
    """(what is wrong, how many claims, whether it ran)."""
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    observed = observe(proto, seed, runs)
    if observed is None:
        return [], 0, False
    propagation = Propagation(Flow(open_model(path)))
    by_name = {value.name: value for view in propagation.reached for value in view.node.outputs if value.name}
    wrong, kept = [], []
    for values in observed:
        bad = next((name for name in by_name if outside(propagation.of(by_name[name]), values[name])), None)
        if bad is None:
            kept.append(values)
        elif not overflowed(propagation.of(by_name[bad]), values[bad], huge=has_huge(proto)):
            wrong.append(f"{bad} is {values[bad].reshape(-1)[:12]}, outside {shown(propagation.of(by_name[bad]))}")
    for name, value in by_name.items():
        found = propagation.of(value)
        fixed = np.broadcast_to(found.fixed, kept[0][name].shape) if kept else np.zeros(())
        for values in kept[1:]:
            same = (values[name] == kept[0][name]) | ((values[name] != values[name]) & (kept[0][name] != kept[0][name]))
            if np.any(fixed & ~same):
                wrong.append(f"{name} is not fixed")
                break
    claims = output_claims(propagation)
    for claim in claims:
        arrays = [values[claim.output] for values in kept]
        if arrays and not is_so(claim.effect, arrays):
            wrong.append(f"{claim}")
    return wrong, len(claims), True


def overflowed(found: Range, array: np.ndarray, *, huge: bool) -> bool:
    """Whether the entries outside their sets are infinite or NaN where finite numbers of any size were allowed."""
    finite = np.isfinite(array)
    inside = finite & (array >= found.lo) & (array <= found.hi)
    known = (np.isnan(array) & found.nan) | ((array == np.inf) & found.pinf) | ((array == -np.inf) & found.ninf)
    unbounded = ~found.empty & (np.maximum(np.abs(found.lo), np.abs(found.hi)) > 1e37)
    return bool(np.all(inside | known | (~finite & (unbounded | huge))))


def has_huge(proto: onnx.ModelProto) -> bool:
    """Whether a constant or an attribute is so large that finite numbers overflow soon."""
    arrays = [numpy_helper.to_array(tensor) for tensor in proto.graph.initializer]
    numbers = [np.asarray(a.f) for node in proto.graph.node for a in node.attribute if a.type == onnx.AttributeProto.FLOAT]
    return any(np.any(np.isfinite(each) & (np.abs(each) > 1e30)) for each in (*arrays, *numbers))


def shown(found: Range) -> str:
    """A range in words."""
    flags = f"nan={found.nan.any()} +inf={found.pinf.any()} -inf={found.ninf.any()}"
    return f"[{found.lo.reshape(-1)[:4]}, {found.hi.reshape(-1)[:4]}] {flags}"


def is_so(effect: Effect, arrays: list[np.ndarray]) -> bool:
    """Whether the runs show the effect."""
    match effect:
        case Effect.NAN:
            return bool(np.all([np.isnan(array) for array in arrays], axis=0).any())
        case Effect.NOT_FINITE:
            return not any(np.isfinite(array).any() for array in arrays)
        case Effect.CONSTANT | Effect.ROUNDING:
            numbers = np.stack([np.asarray(array, np.float64) for array in arrays])
            numbers = np.where(np.isnan(numbers), np.nan, numbers)
            low, high = np.nanmin(numbers, axis=0), np.nanmax(numbers, axis=0)
            equal = (low == high) | np.isnan(low)
            if effect is Effect.ROUNDING:
                with np.errstate(invalid="ignore"):
                    equal |= high - low <= 1e-5 * np.maximum(np.abs(low), np.abs(high))
            return bool(np.all(equal))


def main() -> int:
    """Look at so many networks; 1 at the first mistakes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=12)
    arguments = parser.parse_args()
    ran = claimed = wrong_networks = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.seed, arguments.seed + arguments.networks):
            proto = Builder(seed).model()
            wrong, claims, loaded = mistakes(proto, seed, arguments.runs, Path(folder))
            ran += loaded
            claimed += bool(claims)
            if wrong:
                wrong_networks += 1
                print(f"seed {seed}: {wrong[0]}")
    print(f"{arguments.networks} networks, {ran} load, {claimed} with claims, {wrong_networks} with mistakes")
    return int(wrong_networks > 0)


if __name__ == "__main__":
    sys.exit(main())
