"""The walk: shapes, constants and weights in bodies, functions, and models of every age."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxnull.errors import Code
from onnxnull.graph.constants import Constant
from onnxnull.graph.flow import Flow
from onnxnull.graph.node import Node
from onnxnull.operators import LinearUse, Refusal
from tests.helpers import BOOL, FLOAT, INT64, Found, model, only_refusal, only_use, opened, tensor, uses, value, weight

node = helper.make_node
X = value("x", [2, 4])
W = weight(4, 4)


def ops(found: Found) -> list[str]:
    return [f"{view.name}:{'weight' if isinstance(use, LinearUse) else use.code.code}" for view, use in found]


def body(nodes: list[onnx.NodeProto], outputs: list[str], inputs: list[Any] = [], **constants: Any) -> onnx.GraphProto:  # noqa: B006
    stored = [tensor(name, array) for name, array in constants.items()]
    return helper.make_graph(nodes, "body", inputs, [value(name, None) for name in outputs], stored)


def product(name: str, constant: str, source: str = "x", target: str = "b") -> onnx.NodeProto:
    return node("MatMul", [source, constant], [target], name=name)


CONDITION = value("c", [], BOOL)
STORED = node("Constant", [], ["V"], value=tensor("stored", weight(4, 3, seed=1)))


def test_weights_in_branches(tmp_path: Path) -> None:
    then = body([product("inner", "V")], ["b"], V=weight(4, 3))
    other = body([STORED, node("Transpose", ["W"], ["t"]), product("first", "t"), product("second", "V", "b", "e")], ["e"])
    proto = model(
        [node("If", ["c"], ["y"], name="choose", then_branch=then, else_branch=other)], {"W": W}, inputs=[X, CONDITION]
    )
    assert sorted(ops(uses(proto, tmp_path))) == [
        "choose.else_branch/first:weight",
        "choose.else_branch/second:weight",
        "choose.then_branch/inner:weight",
    ]


@pytest.mark.parametrize(("inputs", "names"), [([CONDITION], ["W", "V"]), ([], ["V"])], ids=["dynamic", "constant"])
def test_a_weight_that_an_if_chooses(inputs: list[Any], names: list[str], tmp_path: Path) -> None:
    then, other = body([STORED], ["V"]), body([node("Identity", ["W"], ["i"])], ["i"])
    made = [node("If", ["c"], ["w"], then_branch=then, else_branch=other), product("p", "w")]
    constants = {"W": weight(4, 3)} | ({} if inputs else {"c": np.array(True)})
    found = [use for _, use in uses(model(made, constants, inputs=[X, *inputs]), tmp_path)]
    assert [use.constant.root.name for use in found if isinstance(use, LinearUse) and use.constant.root] == names
    assert [bool(use.condition) for use in found if isinstance(use, LinearUse)] == [bool(inputs)] * len(names)


LOOP_INPUTS = [value("i", [], INT64), value("k", [], BOOL), value("h", [2, 4])]
KEEP = node("Identity", ["k"], ["k2"])


def test_weights_in_loops_and_carried_constants(tmp_path: Path) -> None:
    # h starts as a constant and changes: it is no weight, W is
    loop = body(
        [KEEP, product("turn", "W", "h", "m"), product("own", "h2", "x", "o"), node("Relu", ["m"], ["h2"])],
        ["k2", "h2"],
        LOOP_INPUTS,
    )
    loop.node.sort(key=lambda n: n.name == "own")
    proto = model(
        [node("Loop", ["n", "", "start"], ["y"], name="loop", body=loop)],
        {"W": W, "n": np.array(3), "start": weight(4, 4)},
        inputs=[X],
    )
    assert ops(uses(proto, tmp_path)) == ["loop.body/turn:weight"]


def test_an_initializer_behind_a_body_input_is_no_constant(tmp_path: Path) -> None:
    loop = body([KEEP, node("MatMul", ["h", "h"], ["h2"])], ["k2", "h2"], LOOP_INPUTS, h=W)
    proto = model([node("Loop", ["n", "", "x"], ["y"], body=loop)], {"n": np.array(3)}, inputs=[X])
    assert uses(proto, tmp_path) == []


def test_a_weight_made_by_a_loop_over_constants_is_reported(tmp_path: Path) -> None:
    loop = body([KEEP, node("Add", ["h", "W"], ["h2"])], ["k2", "h2"], LOOP_INPUTS)
    made = [node("Loop", ["n", "", "W"], ["w"], body=loop), product("p", "w")]
    found = only_refusal(uses(model(made, {"W": W, "n": np.array(3)}, inputs=[X]), tmp_path))
    assert (found.code, "Loop" in found.reason) == (Code.CONSTANT, True)


def test_weights_in_scans(tmp_path: Path) -> None:
    scan = body(
        [product("turn", "W", "h", "h2"), node("Identity", ["s"], ["s2"])], ["h2", "s2"], [value("h", [4]), value("s", [4])]
    )
    made = node("Scan", ["start", "x"], ["last", "all"], name="scan", body=scan, num_scan_inputs=1)
    assert ops(uses(model([made], {"W": W, "start": weight(4)}, inputs=[X]), tmp_path)) == ["scan.body/turn:weight"]


def test_a_weight_out_of_a_sequence_is_reported(tmp_path: Path) -> None:
    made = [node("SequenceConstruct", ["W", "W"], ["s"]), node("SequenceAt", ["s", "i"], ["w"]), product("p", "w")]
    assert only_refusal(uses(model(made, {"W": W, "i": np.array(1)}, inputs=[X]), tmp_path)).code is Code.CONSTANT


LOCAL = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]


def calling(function: onnx.FunctionProto, calls: list[onnx.NodeProto], **constants: Any) -> onnx.ModelProto:
    return model(calls, constants, inputs=[X], functions=[function], imports={"local": 1})


def test_a_weight_inside_a_function_counts_once(tmp_path: Path) -> None:
    function = helper.make_function("local", "F", ["a"], ["b"], [STORED, product("inner", "V", "a")], LOCAL)
    calls = [node("F", ["x"], ["y"], name="one", domain="local"), node("F", ["x"], ["z"], name="two", domain="local")]
    found = uses(calling(function, calls), tmp_path)
    assert ops(found) == ["one/inner:weight", "two/inner:weight"]
    assert len({use.signature for _, use in found if isinstance(use, LinearUse)}) == 1


def test_weights_passed_to_functions_and_optional_inputs(tmp_path: Path) -> None:
    nodes = [node("Gemm", ["a", "M", "bias"], ["b"], name="inner")]
    function = helper.make_function("local", "F", ["a", "M", "bias"], ["b"], nodes, LOCAL)
    calls = [
        node("F", ["x", "W"], ["y"], domain="local"),
        node("F", ["x", "W", ""], ["z"], domain="local"),
        node("F", ["x", "W", "v"], ["u"], domain="local"),
    ]
    found = uses(calling(function, calls, W=W, v=weight(4)), tmp_path)
    assert len(found) == 3
    assert len({use.signature for _, use in found if isinstance(use, LinearUse)}) == 1


def test_attribute_references_and_their_defaults(tmp_path: Path) -> None:
    gemm = node("Gemm", ["a", "M"], ["b"], name="inner")
    gemm.attribute.add(name="transB", ref_attr_name="flip", type=onnx.AttributeProto.INT)
    default = helper.make_attribute("flip", 1)
    function = helper.make_function("local", "F", ["a", "M"], ["b"], [gemm], LOCAL, attributes=["other"])
    function.attribute_proto.append(default)
    calls = [node("F", ["x", "W"], ["y"], domain="local"), node("F", ["x", "V"], ["z"], domain="local", flip=0)]
    found = uses(calling(function, calls, W=weight(3, 4), V=weight(4, 5)), tmp_path)
    assert [use.shape for _, use in found if isinstance(use, LinearUse)] == [(1, 4, 3), (1, 4, 5)]


def test_functions_that_call_functions_in_bodies(tmp_path: Path) -> None:
    inner = helper.make_function("local", "G", ["a"], ["b"], [STORED, product("deep", "V", "a")], LOCAL)
    then = body([node("G", ["a"], ["t"], name="g", domain="local")], ["t"])
    made = [node("If", ["q"], ["b"], name="choose", then_branch=then, else_branch=then)]
    outer = helper.make_function("local", "F", ["a", "q"], ["b"], made, LOCAL)
    call = node("F", ["x", "c"], ["y"], name="f", domain="local")
    proto = model([call], inputs=[X, CONDITION], functions=[inner, outer], imports={"local": 1})
    found = uses(proto, tmp_path)
    assert [name.rpartition("/")[2] for name in ops(found)] == ["deep:weight"] * 2
    assert len({use.signature for _, use in found if isinstance(use, LinearUse)}) == 1


def last(proto: onnx.ModelProto, folder: Path, **options: Any) -> Node:
    return Flow(opened(proto, folder, **options)).nodes[-1]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, [2, 3, 5, 7]),
        ({"start": 1}, [3, 5, 7]),
        ({"end": -1}, [2, 3, 5]),
        ({"start": -2, "end": 4}, [5, 7]),
        ({"start": -9, "end": 9}, [2, 3, 5, 7]),
        ({"start": 3, "end": 1}, []),
    ],
)
def test_shape_is_folded(attributes: dict[str, Any], expected: list[int], tmp_path: Path) -> None:
    output = last(model([node("Shape", ["x"], ["y"], **attributes)], inputs=[value("x", [2, 3, 5, 7])]), tmp_path).outputs[0]
    assert output is not None
    assert isinstance(output.constant, Constant)
    np.testing.assert_array_equal(output.constant.array(), np.array(expected, np.int64))


def test_shapes_with_open_dimensions(tmp_path: Path) -> None:
    inputs = [value("x", ["n", 3, "h", "w"])]
    part = last(model([node("Shape", ["x"], ["y"], start=1, end=2)], inputs=inputs), tmp_path).outputs[0]
    assert part is not None
    assert isinstance(part.constant, Constant)
    whole = last(model([node("Shape", ["x"], ["y"])], inputs=inputs), tmp_path).outputs[0]
    assert whole is not None
    assert (whole.constant, whole.shape) == (None, (4,))
    size = last(model([node("Size", ["x"], ["y"])], inputs=inputs), tmp_path, input_shapes={"x": [2, 3, 4, 5]}).outputs[0]
    assert size is not None
    assert isinstance(size.constant, Constant)
    assert (size.constant.shape, int(size.constant.array())) == ((), 120)


def test_a_reshape_computed_from_the_batch(tmp_path: Path) -> None:
    made = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Unsqueeze", ["n", "axis"], ["n1"]),
        node("Concat", ["n1", "rest"], ["t"], axis=0),
        node("Reshape", ["x", "t"], ["flat"]),
        product("p", "W", "flat", "y"),
    ]
    constants = {"zero": np.array(0), "axis": np.array([0]), "rest": np.array([12]), "W": weight(12, 5)}
    view = last(model(made, constants, inputs=[value("x", ["n", 3, 4])]), tmp_path)
    assert [None if o is None else o.shape for o in (*view.inputs, *view.outputs)] == [(1, 12), (12, 5), (1, 5)]


def test_names_may_be_missing_or_repeated(tmp_path: Path) -> None:
    made = [node("MatMul", ["x", "W"], ["a"]), node("MatMul", ["a", "W"], ["b"]), product("same", "W", "b", "d")]
    proto = model([*made, product("same", "W", "d", "y")], {"W": W}, inputs=[X])
    assert ops(uses(proto, tmp_path)) == ["MatMul_0:weight", "MatMul_1:weight", "same:weight", "same:weight"]


def test_names_are_kept_as_they_are_and_only_shown_safely(tmp_path: Path) -> None:
    proto = model([product("a\nb\x1b[31m", "W", target="y")], {"W": W}, inputs=[X])
    assert ops(uses(proto, tmp_path)) == ["a\nb\x1b[31m:weight"]


@pytest.mark.parametrize("opset", range(1, 7))
def test_old_opsets_are_walked(opset: int, tmp_path: Path) -> None:
    constants: dict[str, Any] = {"C": weight(6, 4, 3, 3), "W": weight(24, 5), "b": weight(5)}
    if opset < 5:
        reshape = [node("Reshape", ["c"], ["r"], shape=[1, 24])]
    else:
        reshape, constants["s"] = [node("Reshape", ["c", "s"], ["r"])], np.array([1, 24])
    made = [
        node("Conv", ["x", "C"], ["d"], kernel_shape=[3, 3]),
        node("Dropout", ["d"], ["c"], is_test=1),
        *reshape,
        node("Gemm", ["r", "W", "b"], ["y"], broadcast=1),
    ]
    proto = model(made, constants, inputs=[value("x", [1, 4, 4, 4])], opset=opset, ir_version=3)
    for name, array in constants.items():
        kind = INT64 if array.dtype == np.int64 else FLOAT
        proto.graph.input.append(value(name, array.shape, kind))
    found = uses(proto, tmp_path)
    assert [use.shape for _, use in found if isinstance(use, LinearUse)] == [(1, 36, 6), (1, 24, 5)]
    assert len(opened(proto, tmp_path).inputs) == 1


def test_the_domain_ai_onnx_is_the_default_one(tmp_path: Path) -> None:
    proto = model([node("Gemm", ["x", "W"], ["y"], domain="ai.onnx")], {"W": W}, inputs=[X])
    proto.opset_import[0].domain = "ai.onnx"
    assert opened(proto, tmp_path).opsets == {"": 17}
    found = uses(proto, tmp_path)
    assert (only_use(found).shape, found[0][0].version) == ((1, 4, 4), 17)


def test_a_constant_graph_output_and_an_unused_one_do_no_harm(tmp_path: Path) -> None:
    proto = model(
        [node("Identity", ["W"], ["i"]), product("p", "W", target="y")], {"W": W}, inputs=[X], outputs=[value("i", None)]
    )
    assert ops(uses(proto, tmp_path)) == ["p:weight"]


def test_a_blocked_constant_is_refused_once_per_node_and_nothing_else(tmp_path: Path) -> None:
    made = [node("ConstantOfShape", ["s"], ["big"]), product("p", "big"), node("Add", ["b", "big"], ["y"])]
    found = uses(model(made, {"s": np.array([1 << 20, 1 << 20])}, inputs=[value("x", None)]), tmp_path)
    assert [type(use) for _, use in found] == [Refusal]
    assert ops(found) == ["p:unevaluated-constant"]
