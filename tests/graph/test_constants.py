"""Chains of ops over constants give what onnxruntime gives, and nothing is allocated before its size is known."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper

from onnxnull.errors import Code
from onnxnull.graph import constants
from onnxnull.graph.constants import EvaluationError, apply
from onnxnull.graph.evaluation import Evaluation
from onnxnull.graph.limits import Limits
from onnxnull.operators import LinearUse
from tests.helpers import FLOAT, model, only_refusal, only_use, run, tensor, uses, value, weight
from tests.work import growth

node = helper.make_node
I64 = np.int64

# name → nodes that make `w` from constants, the constants, opset
CHAINS: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], int]] = {
    "identity": ([node("Identity", ["a"], ["b"]), node("Identity", ["b"], ["w"])], {"a": weight(4, 3)}, 17),
    "cast": ([node("Cast", ["a"], ["w"], to=FLOAT)], {"a": weight(4, 3).astype(np.float16)}, 17),
    "cast-double": ([node("Cast", ["a"], ["b"], to=11), node("Cast", ["b"], ["w"], to=FLOAT)], {"a": weight(4, 3)}, 13),
    "transpose": ([node("Transpose", ["a"], ["w"], perm=[1, 0])], {"a": weight(3, 4)}, 17),
    "reshape": ([node("Reshape", ["a", "s"], ["w"])], {"a": weight(12), "s": np.array([-1, 3])}, 17),
    "reshape-copy": ([node("Reshape", ["a", "s"], ["w"])], {"a": weight(4, 3, 1), "s": np.array([0, 0])}, 14),
    "squeeze-13": ([node("Squeeze", ["a", "s"], ["w"])], {"a": weight(1, 4, 1, 3), "s": np.array([0, 2])}, 13),
    "squeeze-all": ([node("Squeeze", ["a"], ["w"])], {"a": weight(1, 4, 1, 3)}, 13),
    "squeeze-11": ([node("Squeeze", ["a"], ["w"], axes=[0])], {"a": weight(1, 4, 3)}, 11),
    "unsqueeze-11": (
        [node("Unsqueeze", ["a"], ["b"], axes=[0]), node("Squeeze", ["b"], ["w"], axes=[0])],
        {"a": weight(4, 3)},
        11,
    ),
    "unsqueeze-13": (
        [node("Unsqueeze", ["a", "s"], ["b"]), node("Reshape", ["b", "r"], ["w"])],
        {"a": weight(4, 3), "s": np.array([-1]), "r": np.array([4, 3])},
        13,
    ),
    "concat": ([node("Concat", ["a", "b"], ["w"], axis=-2)], {"a": weight(1, 3), "b": weight(3, 3, seed=1)}, 17),
    "slice": (
        [node("Slice", ["a", "s", "e", "axes", "t"], ["w"])],
        {
            "a": weight(8, 5),
            "s": np.array([-1, 4]),
            "e": np.array([-100, 1]),
            "axes": np.array([0, 1]),
            "t": np.array([-2, -1]),
        },
        17,
    ),
    "slice-9": ([node("Slice", ["a"], ["w"], starts=[1], ends=[5], axes=[0])], {"a": weight(6, 3)}, 9),
    "mul": ([node("Mul", ["a", "b"], ["w"])], {"a": weight(4, 3), "b": weight(3, seed=1)}, 17),
    "add-lora": (
        [node("MatMul", ["a", "b"], ["ab"]), node("Mul", ["ab", "s"], ["sab"]), node("Add", ["w0", "sab"], ["w"])],
        {"a": weight(4, 2), "b": weight(2, 3), "w0": weight(4, 3, seed=2), "s": np.float32(0.5)},
        17,
    ),
    "div-sqrt": (
        [
            node("Mul", ["a", "a"], ["b"]),
            node("ReduceSum", ["b", "axes"], ["c"], keepdims=1),
            node("Sqrt", ["c"], ["d"]),
            node("Div", ["a", "d"], ["w"]),
        ],
        {"a": weight(4, 3), "axes": np.array([1])},
        13,
    ),
    "gather": ([node("Gather", ["a", "i"], ["w"], axis=0)], {"a": weight(7, 3), "i": np.array([6, -7, 2, 2])}, 17),
    "split": ([node("Split", ["a", "s"], ["u", "w"], axis=1)], {"a": weight(4, 5), "s": np.array([2, 3])}, 17),
    "split-11": ([node("Split", ["a"], ["b", "w"], axis=0, split=[1, 4])], {"a": weight(5, 3)}, 11),
    "pad": (
        [node("Pad", ["a", "p", "c"], ["w"])],
        {"a": weight(2, 3), "p": np.array([1, 0, 1, 0]), "c": np.float32(2)},
        17,
    ),
    "pad-reflect": ([node("Pad", ["a", "p"], ["w"], mode="reflect")], {"a": weight(3, 3), "p": np.array([1, 0, 0, 0])}, 17),
    "expand": ([node("Expand", ["a", "s"], ["w"])], {"a": weight(1, 3), "s": np.array([4, 1])}, 17),
    "tile": ([node("Tile", ["a", "s"], ["w"])], {"a": weight(2, 3), "s": np.array([2, 1])}, 17),
    "constant-of-shape": (
        [node("ConstantOfShape", ["s"], ["o"], value=tensor("v", np.array([2], np.float32))), node("Mul", ["o", "a"], ["w"])],
        {"s": np.array([4, 3]), "a": weight(4, 3)},
        17,
    ),
    "constant-node": ([node("Constant", [], ["w"], value=tensor("v", weight(4, 3)))], {}, 17),
    "constant-floats": (
        [
            node("Constant", [], ["v"], value_floats=[float(v) for v in range(12)]),
            node("Constant", [], ["s"], value_ints=[4, 3]),
            node("Reshape", ["v", "s"], ["w"]),
        ],
        {},
        17,
    ),
    "range": (
        [node("Range", ["a", "b", "c"], ["r"]), node("Reshape", ["r", "s"], ["w"])],
        {"a": np.float32(0), "b": np.float32(6), "c": np.float32(0.5), "s": np.array([4, 3])},
        17,
    ),
    "shape-of-a-constant": (
        [node("Shape", ["a"], ["s"], start=1, end=3), node("Reshape", ["b", "s"], ["w"])],
        {"a": weight(9, 4, 3, 7), "b": weight(12)},
        17,
    ),
    "resize": (
        [node("Resize", ["a", "", "z"], ["b"], mode="nearest"), node("Reshape", ["b", "s"], ["w"])],
        {"a": weight(1, 1, 2, 3), "z": np.array([1, 1, 2, 1], np.float32), "s": np.array([4, 3])},
        17,
    ),
    "where": (
        [node("Greater", ["a", "z"], ["c"]), node("Where", ["c", "a", "z"], ["w"])],
        {"a": weight(4, 3), "z": np.float32(0)},
        17,
    ),
    "nonzero": (
        [node("NonZero", ["i"], ["n"]), node("Squeeze", ["n", "z"], ["j"]), node("Gather", ["a", "j"], ["w"])],
        {"a": weight(6, 3), "i": np.array([1, 0, 1, 1, 0, 1]), "z": np.array([0])},
        17,
    ),
    "eye-trilu": (
        [node("EyeLike", ["a"], ["e"], dtype=FLOAT), node("Add", ["a", "e"], ["f"]), node("Trilu", ["f"], ["w"], upper=1)],
        {"a": weight(4, 4)},
        17,
    ),
    "dequantize-13": (
        [node("DequantizeLinear", ["a", "s"], ["w"], axis=0)],
        {"a": np.arange(12, dtype=np.int8).reshape(4, 3), "s": np.array([0.1, 0.2, 0.3, 0.4], np.float32)},
        13,
    ),
    "dequantize-10": (
        [node("QuantizeLinear", ["a", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["w"])],
        {"a": weight(4, 3), "s": np.float32(0.05), "z": np.uint8(100)},
        10,
    ),
    "dequantize": (
        [node("DequantizeLinear", ["a", "s", "z"], ["w"], axis=1)],
        {
            "a": np.arange(12, dtype=np.int8).reshape(4, 3),
            "s": np.array([0.1, 0.2, 0.3], np.float32),
            "z": np.array([0, 1, 2], np.int8),
        },
        17,
    ),
    "dropout": ([node("Dropout", ["a"], ["w"])], {"a": weight(4, 3)}, 13),
    "flatten": ([node("Flatten", ["a"], ["w"], axis=1)], {"a": weight(4, 3, 1)}, 9),
    "einsum": ([node("Einsum", ["a", "b"], ["w"], equation="ik,kj->ij")], {"a": weight(4, 5), "b": weight(5, 3)}, 17),
}


def chain(name: str) -> onnx.ModelProto:
    nodes, constants, opset = CHAINS[name]
    return model([*nodes, node("MatMul", ["x", "w"], ["y"])], constants, inputs=[value("x", ["n", 4])], opset=opset)


@pytest.mark.parametrize("name", CHAINS)
def test_chains_give_what_onnxruntime_gives(name: str, tmp_path: Path) -> None:
    proto = chain(name)
    use = only_use(uses(proto, tmp_path))
    # the product with the unit matrix is the weight, in every runtime
    expected = run(proto, {"x": np.eye(4, dtype=np.float32)})[0]
    assert use.constant.shape == use.constant.array().shape
    assert use.constant.array().dtype == np.float32
    np.testing.assert_allclose(use.matrix()[0], expected, rtol=1e-6, atol=1e-7)


# op, type, first constant; small constants are evaluated on sight, large ones when they are asked for
LONG: dict[str, tuple[str, np.ndarray]] = {
    "identities": ("Identity", weight(4, 3)),
    "small": ("Neg", np.arange(12).reshape(4, 3)),
    "large": ("Neg", weight(40, 120)),
}


@pytest.mark.parametrize("name", LONG)
def test_a_long_chain_is_walked_and_evaluated_in_linear_time(name: str, tmp_path: Path) -> None:
    op, start = LONG[name]

    def blocks(length: int) -> np.ndarray:
        nodes = [node(op, [f"v{i}"], [f"v{i + 1}"]) for i in range(length)]
        nodes += [node("Cast", [f"v{length}"], ["w"], to=FLOAT), node("MatMul", ["x", "w"], ["y"])]
        proto = model(nodes, {"v0": start}, inputs=[value("x", [1, len(start)])])
        found: np.ndarray = only_use(uses(proto, tmp_path)).blocks()[0]
        return found

    np.testing.assert_array_equal(blocks(1500), start.astype(np.float32))  # no recursion is that deep
    assert growth(blocks, 50) < 2.2


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("quantized", [False, True])
def test_every_link_of_a_chain_is_a_weight(
    quantized: bool, backwards: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step is evaluated once, in whatever order the weights are asked for: of the floats, and of the rational matrix."""
    n, size = 60, 70
    nodes = [node("Transpose" if quantized else "Neg", [f"v{i}"], [f"v{i + 1}"]) for i in range(n)]
    start: dict[str, Any] = {"v0": weight(size, size)}
    if quantized:
        nodes.insert(0, node("DequantizeLinear", ["q", "s"], ["v0"]))
        start = {"q": np.arange(size * size, dtype=np.int8).reshape(size, size), "s": np.float32(0.5)}
    links = range(n, 0, -1) if backwards else range(1, n + 1)
    products = [node("MatMul", ["x", f"v{i}"], [f"y{i}"]) for i in links]
    found = uses(model([*nodes, *products], start, inputs=[value("x", [1, size])]), tmp_path)
    counted: list[int] = []

    def counting(op: onnx.NodeProto, *given: Any) -> np.ndarray:
        counted.append(1)
        return apply(op, *given)

    monkeypatch.setattr(constants, "apply", counting)
    base = start["v0"] if not quantized else start["q"] * np.float32(0.5)
    for i, (_, use) in zip(links, found, strict=True):
        assert isinstance(use, LinearUse)
        expected = base if i % 2 == 0 else base.T if quantized else -base
        np.testing.assert_array_equal(use.blocks()[0], expected)
        rational = use.rational_blocks()
        assert (rational is not None) == quantized
        if rational is not None:
            np.testing.assert_array_equal(rational[0], expected)
    assert len(counted) == (2 * n if quantized else n)


def test_what_is_remembered_is_bounded() -> None:
    """The arrays asked for longest ago make room; a view counts what it looks at; nobody writes to what is remembered."""
    evaluation = Evaluation(0.0, 10_000)
    arrays = [np.full(500, i) for i in range(3)]
    for i in (0, 1):
        evaluation.remember(i, arrays[i])
    assert evaluation.recall(0) is arrays[0]
    evaluation.remember(2, arrays[2])
    assert [i for i in range(3) if evaluation.recall(i) is not None] == [0, 2]
    evaluation.remember("view", np.zeros(10_000)[:1])
    assert evaluation.recall("view") is None
    with pytest.raises(ValueError, match="read-only"):
        arrays[0][0] = 1


@pytest.mark.parametrize("size", [3, 100])
def test_a_diamond_chain_does_not_blow_up(size: int, tmp_path: Path) -> None:
    nodes = [node("Add", [("a" if i == 0 else f"v{i}")] * 2, [f"v{i + 1}"]) for i in range(60)]
    proto = model([*nodes, node("MatMul", ["x", "v60"], ["y"])], {"a": weight(size, size)}, inputs=[value("x", [1, size])])
    expected = weight(size, size) * np.float32(2.0**60)
    np.testing.assert_array_equal(only_use(uses(proto, tmp_path)).blocks()[0], expected)


BOMBS: dict[str, tuple[list[onnx.NodeProto], dict[str, Any]]] = {
    "constant-of-shape": ([node("ConstantOfShape", ["s"], ["w"])], {"s": np.array([1 << 20, 1 << 20])}),
    "overflow": ([node("ConstantOfShape", ["s"], ["w"])], {"s": np.array([1 << 40, 1 << 40])}),
    "expand": ([node("Expand", ["a", "s"], ["w"])], {"a": weight(1, 1), "s": np.array([1 << 20, 1 << 20])}),
    "tile": ([node("Tile", ["a", "s"], ["w"])], {"a": weight(4, 3), "s": np.array([1 << 20, 1 << 20])}),
    "range": (
        [node("Range", ["a", "b", "c"], ["r"]), node("Reshape", ["r", "s"], ["w"])],
        {"a": np.int64(0), "b": np.int64(1 << 40), "c": np.int64(1), "s": np.array([1 << 20, 1 << 20])},
    ),
    "resize": (
        [node("Resize", ["a", "", "z"], ["b"]), node("Squeeze", ["b"], ["w"])],
        {"a": weight(1, 1, 4, 3), "z": np.array([1, 1, 1 << 18, 1 << 18], np.float32)},
    ),
    "pad": ([node("Pad", ["a", "p"], ["w"])], {"a": weight(4, 3), "p": np.array([0, 0, 1 << 20, 1 << 20])}),
    "outer": ([node("MatMul", ["a", "b"], ["w"])], {"a": weight(1 << 16, 1), "b": weight(1, 1 << 16)}),
    "onehot": (
        [node("OneHot", ["i", "d", "v"], ["w"])],
        {"i": np.arange(4), "d": np.int64(1 << 40), "v": np.array([0, 1], np.float32)},
    ),
    "doubling": (
        [node("Concat", [("a" if i == 0 else f"v{i}")] * 2, [f"v{i + 1}"], axis=1) for i in range(40)]
        + [node("Identity", ["v40"], ["w"])],
        {"a": weight(4, 3)},
    ),
    "einsum": (
        [node("Einsum", ["a"] * 5, ["w"], equation="ab,cd,ef,gh,ij->ab")],
        {"a": weight(60, 60)},
    ),
    "negative": ([node("ConstantOfShape", ["s"], ["w"])], {"s": np.array([-4, -3])}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_blocked_before_they_are_built(name: str, tmp_path: Path) -> None:
    nodes, constants = BOMBS[name]
    proto = model([*nodes, node("MatMul", ["x", "w"], ["y"])], constants, inputs=[value("x", None)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = only_refusal(uses(proto, tmp_path))
    assert found.code is Code.CONSTANT
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB


def test_the_limit_can_be_raised_and_lowered(tmp_path: Path) -> None:
    proto = chain("transpose")
    assert only_refusal(uses(proto, tmp_path, limits=Limits(constant_bytes=47))).code is Code.CONSTANT
    only_use(uses(proto, tmp_path, limits=Limits(constant_bytes=48)))


@pytest.mark.parametrize(
    "made",
    [
        [node("RandomNormal", [], ["w"], shape=[4, 3])],
        [node("RandomNormalLike", ["a"], ["w"])],
        [node("Bernoulli", ["a"], ["w"])],
        [node("RandomUniformLike", ["a"], ["b"]), node("Neg", ["b"], ["w"])],
    ],
    ids=lambda made: made[0].op_type,
)
def test_random_ops_are_never_folded(made: list[onnx.NodeProto], tmp_path: Path) -> None:
    proto = model([*made, node("MatMul", ["x", "w"], ["y"])], {"a": weight(4, 3) * 0 + 0.5}, inputs=[value("x", [1, 4])])
    found = only_refusal(uses(proto, tmp_path))
    assert (found.code, made[0].op_type in found.reason) == (Code.CONSTANT, True)


@pytest.mark.parametrize(("opset", "inputs", "attributes"), [(13, ["a", "r", "t"], {}), (6, ["a"], {})])
def test_dropout_in_training_is_no_constant(opset: int, inputs: list[str], attributes: dict[str, Any], tmp_path: Path) -> None:
    made = [node("Dropout", inputs, ["w"], **attributes), node("MatMul", ["x", "w"], ["y"])]
    constants = {"a": weight(4, 3), "r": np.float32(0.5), "t": np.array(True)}
    found = only_refusal(uses(model(made, constants, inputs=[value("x", [1, 4])], opset=opset), tmp_path))
    assert (found.code, "training" in found.reason) == (Code.CONSTANT, True)


def with_initializer(made: onnx.TensorProto) -> onnx.ModelProto:
    proto = model([node("MatMul", ["x", "w"], ["y"])], inputs=[value("x", [1, 4])])
    proto.graph.initializer.append(made)
    return proto


def test_stored_tensors_that_lie_about_their_data(tmp_path: Path) -> None:
    empty = onnx.TensorProto(name="w", data_type=FLOAT, dims=[4, 3])
    assert "no data" in only_refusal(uses(with_initializer(empty), tmp_path)).reason
    huge = onnx.TensorProto(name="w", data_type=FLOAT, dims=[1 << 40, 1 << 40])
    assert only_refusal(uses(with_initializer(huge), tmp_path)).code is Code.CONSTANT
    unknown = onnx.TensorProto(name="w", dims=[4, 3], raw_data=bytes(48))
    assert only_refusal(uses(with_initializer(unknown), tmp_path)).code is Code.CONSTANT
    short = onnx.TensorProto(name="w", data_type=FLOAT, dims=[4, 3], raw_data=bytes(44))
    assert "44 bytes" in only_refusal(uses(with_initializer(short), tmp_path)).reason
    for made in (
        onnx.TensorProto(name="w", data_type=FLOAT, dims=[4, 3], float_data=[1.0] * 13),
        onnx.TensorProto(name="w", data_type=FLOAT, dims=[4, 3], int64_data=[1] * 12),
    ):
        use = only_use(uses(with_initializer(made), tmp_path))
        with pytest.raises(EvaluationError, match="stored tensor 'w'"):
            use.blocks()


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16, np.float32])
def test_types_are_kept_as_stored(dtype: Any, tmp_path: Path) -> None:
    stored = weight(4, 3).astype(dtype)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    proto = model([node("MatMul", ["x", "w"], ["y"])], {"w": stored}, inputs=[value("x", [1, 4], kind)])
    use = only_use(uses(proto, tmp_path))
    assert use.blocks().dtype == dtype
    np.testing.assert_array_equal(use.matrix()[0], stored.astype(np.float64))
    transposed = [node("Transpose", ["w"], ["v"]), node("MatMul", ["x", "v"], ["y"])]
    use = only_use(uses(model(transposed, {"w": stored.T.copy()}, inputs=[value("x", [1, 4], kind)]), tmp_path))
    assert use.blocks().dtype == dtype


def test_the_root_is_the_largest_stored_tensor(tmp_path: Path) -> None:
    use = only_use(uses(chain("gather"), tmp_path))
    assert use.constant.root is not None
    assert use.constant.root.name == "a"


def signatures(proto: onnx.ModelProto, folder: Path) -> list[tuple[object, ...]]:
    return [use.signature for _, use in uses(proto, folder) if isinstance(use, LinearUse)]


def test_signatures_tell_stored_constants_apart(tmp_path: Path) -> None:
    def twice(first: list[onnx.NodeProto], constants: dict[str, Any], left: str, right: str) -> onnx.ModelProto:
        made = [*first, node("MatMul", ["x", left], ["y"]), node("MatMul", ["x", right], ["z"])]
        return model(made, constants, inputs=[value("x", [1, 4])])

    same = twice([node("Identity", ["a"], ["b"])], {"a": weight(4, 3)}, "a", "b")
    steps = [node("Transpose", ["a"], ["b"]), node("Transpose", ["a"], ["c"])]
    repeated = twice(steps, {"a": weight(3, 4)}, "b", "c")
    copied = twice([], {"a": weight(4, 3), "b": weight(4, 3)}, "a", "b")
    parts = twice([node("Split", ["a"], ["b", "c"], axis=1, num_outputs=2)], {"a": weight(4, 6)}, "b", "c")
    parts.opset_import[0].version = 18
    assert [len(set(signatures(p, tmp_path))) for p in (same, repeated, copied, parts)] == [1, 1, 2, 2]


def test_strings_are_not_evaluated(tmp_path: Path) -> None:
    made = [
        node("RegexFullMatch", ["t"], ["m"], pattern="(a+)+$"),
        node("Where", ["m", "a", "b"], ["w"]),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    constants = {"t": np.array([["a" * 60 + "!"]], dtype=object), "a": weight(4, 3), "b": weight(4, 3)}
    found = only_refusal(uses(model(made, constants, inputs=[value("x", [1, 4])], opset=20), tmp_path))
    assert found.code is Code.CONSTANT


def test_string_constants_do_no_harm(tmp_path: Path) -> None:
    made = [
        node("Constant", [], ["s"], value_string="text"),
        node("Constant", [], ["t"], value_strings=["a", "b"]),
        node("Identity", ["u"], ["v"]),
        node("Shape", ["t"], ["n"]),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    constants = {"u": np.array(["a", "b"], dtype=object), "w": weight(4, 3)}
    only_use(uses(model(made, constants, inputs=[value("x", [1, 4])]), tmp_path))


def test_a_kernel_of_zero_size_is_still_a_weight(tmp_path: Path) -> None:
    proto = model([node("MatMul", ["x", "w"], ["y"])], {"w": np.zeros((4, 0), np.float32)}, inputs=[value("x", [1, 4])])
    assert only_use(uses(proto, tmp_path)).matrix().shape == (1, 4, 0)
