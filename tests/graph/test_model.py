"""Opening a model: every way in which a file can be wrong has its code, and none of them is a traceback."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from onnxnull.errors import Code, ExitCode, OnnxnullError
from onnxnull.graph.constants import EvaluationError
from onnxnull.graph.flow import Flow
from onnxnull.graph.limits import Limits
from onnxnull.graph.model import open_model
from onnxnull.operators import LinearUse
from tests.helpers import BOOL, FLOAT, INT64, all_uses, model, opened, shared_model, tensor, uses, value, weight
from tests.work import growth

X = value("x", [2, 4])
W = weight(4, 3)
node = helper.make_node


def linear(**options: Any) -> onnx.ModelProto:
    return model([node("MatMul", ["x", "W"], ["y"])], {"W": W}, inputs=[X], **options)


def code_of(open_it: Callable[[], object]) -> Code:
    with pytest.raises(OnnxnullError) as caught:
        open_it()
    line = str(caught.value)
    assert "\n" not in line
    assert caught.value.exit_code is ExitCode.INCOMPLETE
    return caught.value.code


def code_of_bytes(data: bytes, folder: Path) -> Code:
    path = folder / "model.onnx"
    path.write_bytes(data)
    return code_of(lambda: open_model(path))


def code_of_model(proto: onnx.ModelProto, folder: Path, **options: Any) -> Code:
    return code_of(lambda: Flow(opened(proto, folder, **options)))


def test_a_good_model_tells_what_it_is(tmp_path: Path) -> None:
    proto = linear(opset=13)
    proto.producer_name, proto.producer_version = "maker", "1.2"
    found = opened(proto, tmp_path)
    assert (found.file, found.producer, found.ir_version, dict(found.opsets)) == ("model.onnx", "maker 1.2", 8, {"": 13})
    assert [(i.name, i.dtype, i.shape) for i in found.inputs] == [("x", "float32", (2, 4))]
    assert len(found.sha256) == 64


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert code_of(lambda: open_model(tmp_path / "nowhere.onnx")) is Code.FILE_NOT_FOUND
    assert code_of(lambda: open_model(tmp_path)) is Code.NOT_A_FILE


def test_the_error_names_the_file_as_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OnnxnullError, match=r"^sub/none\.onnx: error\[file-not-found\]: no such file; check the path$"):
        open_model("sub/none.onnx")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(linear().SerializeToString())
    path.chmod(0)
    assert code_of(lambda: open_model(path)) is Code.UNREADABLE


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, and for root as well."""

    def refuse(*arguments: object, **keywords: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "model.onnx"
    path.write_bytes(linear().SerializeToString())
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OnnxnullError, match=r"error\[unreadable\]: Permission denied; check its permissions$"):
        open_model(path)


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "png")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", Code.TRUNCATED),
        (b"This is a text file, not a model.\n", Code.NOT_ONNX),
        (b'{"graph": {}}', Code.NOT_ONNX),
        (png(), Code.NOT_ONNX),
        (b"PK\x03\x04" + bytes(100), Code.NOT_ONNX),
        (bytes(1000), Code.NOT_ONNX),
        (b"\x80\x02}q\x00.", Code.NOT_ONNX),
    ],
    ids=["empty", "text", "json", "png", "zip", "zeros", "pickle"],
)
def test_other_files(data: bytes, code: Code, tmp_path: Path) -> None:
    assert code_of_bytes(data, tmp_path) is code


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes(seed: int, tmp_path: Path) -> None:
    data = np.random.default_rng(seed).bytes(500)
    assert code_of_bytes(data, tmp_path) in (Code.NOT_ONNX, Code.TRUNCATED)


@pytest.mark.parametrize("name", ["mnist_cntk.onnx", "densenet_stem.onnx", "super_resolution.onnx"])
def test_every_cut_of_a_real_model_is_noticed(name: str, tmp_path: Path) -> None:
    data = shared_model(name).read_bytes()
    cuts = {1, 2, 3, 4, 8, 16, 32, 64, len(data) - 1, len(data) - 2, len(data) - 8, *range(7, len(data), len(data) // 60)}
    codes = {cut: code_of_bytes(data[:cut], tmp_path) for cut in sorted(cuts)}
    # within the first field nothing tells a model from another file; behind the graph only its operator set is missing
    assert set(codes.values()) <= {Code.TRUNCATED, Code.NOT_ONNX, Code.INVALID_MODEL}
    inside = [code for cut, code in codes.items() if 64 < cut < len(data) - 64]
    assert inside
    assert set(inside) == {Code.TRUNCATED}


@pytest.mark.parametrize("seed", range(30))
def test_flipped_bytes_never_give_a_traceback(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(
        model(
            [node("Reshape", ["V", "s"], ["w"]), node("Conv", ["x", "w"], ["y"], strides=[2], group=2)],
            {"V": weight(4 * 2 * 3), "s": np.array([4, 2, 3])},
            inputs=[value("x", [1, 4, 9])],
        ).SerializeToString()
    )
    for _ in range(40):
        broken = bytearray(data)
        broken[rng.integers(len(data))] = rng.integers(256)
        path = tmp_path / "model.onnx"
        path.write_bytes(broken)
        with contextlib.suppress(OnnxnullError):
            for _, found in all_uses(Flow(open_model(path))):
                if isinstance(found, LinearUse):
                    with contextlib.suppress(EvaluationError), np.errstate(invalid="ignore"):
                        found.matrix()


def test_no_graph_and_no_opset(tmp_path: Path) -> None:
    assert code_of_bytes(onnx.ModelProto(ir_version=8).SerializeToString(), tmp_path) is Code.TRUNCATED
    proto = linear()
    del proto.opset_import[:]
    assert code_of_model(proto, tmp_path) is Code.INVALID_MODEL


def broken(nodes: list[onnx.NodeProto], **options: Any) -> onnx.ModelProto:
    return model(nodes, {"W": W}, inputs=[X], **options)


BODY = helper.make_graph([node("Identity", ["W"], ["b"])], "body", [], [value("b", None)])
SPARSE = helper.make_sparse_tensor(tensor("S", np.ones(1, np.float32)), tensor("i", np.array([1])), [4, 3])


def sparse_body() -> onnx.GraphProto:
    body = helper.make_graph([node("MatMul", ["q", "S"], ["b"])], "body", [], [value("b", None)])
    body.sparse_initializer.append(SPARSE)
    return body


def ref_attribute() -> onnx.NodeProto:
    made = node("Gemm", ["x", "W"], ["y"])
    made.attribute.add(name="transB", ref_attr_name="outer", type=onnx.AttributeProto.INT)
    return made


@pytest.mark.parametrize(
    "proto",
    [
        broken([node("MatMul", ["nope", "W"], ["y"])]),
        broken([node("MatMul", ["x", "W"], ["y"]), node("Relu", ["x"], ["y"])]),
        broken([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"])]),
        broken([node("Relu", ["W"], ["W"])]),
        broken([node("Relu", ["x"], ["z"])], outputs=[value("y", None)]),
        broken([node("If", ["x"], ["y"], then_branch=BODY, else_branch=BODY), node("Relu", ["b"], ["z"])]),
        broken([node("Conv", ["x", "W"], ["y"], group="two")]),
        broken([node("Conv", ["x", "W"], ["y"], strides=1)]),
        broken([node("Cast", ["W"], ["y"])]),
        broken([node("MatMul", ["x"], ["y"])]),
        broken([node("MatMul", ["x", "W", "W"], ["y"])]),
        broken([node("Constant", [], [], value_int=1), node("Relu", ["x"], ["y"])]),
        broken([ref_attribute()]),
        model([node("Shape", ["h"], ["s"])], inputs=[value("h", [2**40, 2**40])]),
    ],
    ids=[
        "dangling",
        "output-twice",
        "cycle",
        "shadowed-initializer",
        "no-output",
        "out-of-scope",
        "attribute-type",
        "attribute-scalar",
        "attribute-missing",
        "too-few-inputs",
        "too-many-inputs",
        "no-outputs",
        "unresolved-reference",
        "size-overflow",
    ],
)
def test_models_that_break_the_rules(proto: onnx.ModelProto, tmp_path: Path) -> None:
    assert code_of_model(proto, tmp_path) is Code.INVALID_MODEL


def test_names_used_twice(tmp_path: Path) -> None:
    proto = linear()
    proto.graph.initializer.append(tensor("W", weight(4, 5)))
    assert code_of_model(proto, tmp_path) is Code.INVALID_MODEL
    proto = linear()
    proto.graph.input.append(X)
    assert code_of_model(proto, tmp_path) is Code.INVALID_MODEL


def test_unsorted_nodes_are_accepted(tmp_path: Path) -> None:
    then = helper.make_graph([node("Relu", ["late"], ["t"])], "then", [], [value("t", None)])
    proto = model(
        [
            node("If", ["c"], ["y"], then_branch=then, else_branch=BODY),
            node("MatMul", ["mid", "W"], ["late"]),
            node("Relu", ["x"], ["mid"]),
        ],
        {"W": W},
        inputs=[X, value("c", [], BOOL)],
        outputs=[value("y", None)],
    )
    assert [n.op_type for n in Flow(opened(proto, tmp_path)).nodes if n.op_type != "Identity"] == [
        *("Relu", "MatMul", "If", "Relu")
    ]


def test_sparse_initializers_are_refused_wherever_they_are(tmp_path: Path) -> None:
    proto = model([node("MatMul", ["x", "S"], ["y"])], inputs=[X])
    proto.graph.sparse_initializer.append(SPARSE)
    assert code_of_model(proto, tmp_path) is Code.OPERATOR
    choose = node("If", ["c"], ["y"], then_branch=sparse_body(), else_branch=sparse_body())
    inputs = [value("q", [2, 4]), value("c", [], BOOL)]
    assert code_of_model(model([choose], inputs=inputs), tmp_path) is Code.OPERATOR
    function = helper.make_function("local", "F", ["q", "c"], ["y"], [choose], [helper.make_opsetid("", 17)])
    call = model([node("F", ["q", "c"], ["z"], domain="local")], inputs=inputs, functions=[function], imports={"local": 1})
    assert code_of_model(call, tmp_path) is Code.OPERATOR


def functions(bodies: dict[str, list[onnx.NodeProto]], last: str) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    made = [
        helper.make_function("local", name, ["a"], [nodes[-1].output[0] if nodes else "a"], nodes, opsets)
        for name, nodes in bodies.items()
    ]
    return model([node(last, ["x"], ["y"], domain="local")], inputs=[X], functions=made, imports={"local": 1})


def call(name: str, source: str, target: str) -> onnx.NodeProto:
    return node(name, [source], [target], domain="local")


def test_recursion_between_functions(tmp_path: Path) -> None:
    mutual = functions({"F": [call("G", "a", "b")], "G": [call("F", "a", "b")]}, "F")
    assert code_of_model(mutual, tmp_path) is Code.INVALID_MODEL
    assert code_of_model(functions({"F": [call("F", "a", "b")]}, "F"), tmp_path) is Code.INVALID_MODEL


@pytest.mark.parametrize("leaf", [[node("Relu", ["a"], ["b"])], []], ids=["relu", "empty"])
def test_exponential_functions_stop_at_the_limit(leaf: list[onnx.NodeProto], tmp_path: Path) -> None:
    def refused(depth: int) -> None:
        """2 to the power of `depth` calls are counted, and none is expanded."""
        calls = {f"F{i}": [call(f"F{i - 1}", "a", "b"), call(f"F{i - 1}", "b", "c")] for i in range(1, depth + 1)}
        assert code_of_model(functions({"F0": leaf, **calls}, f"F{depth}"), tmp_path) is Code.TOO_LARGE

    refused(60)
    assert growth(refused, 30) < 2.2


def test_many_calls_are_inlined_in_linear_time(tmp_path: Path) -> None:
    def inlined(calls: int) -> None:
        bodies = {"F0": [node("Relu", ["a"], ["b"])]}
        bodies["F1"] = [call("F0", f"v{i}" if i else "a", f"v{i + 1}" if i + 1 < calls else "b") for i in range(calls)]
        assert len(Flow(opened(functions(bodies, "F1"), tmp_path)).nodes) == calls

    assert growth(inlined, 100) < 2.2  # a search for unused names makes it 3


def test_the_node_limit(tmp_path: Path) -> None:
    chain = [node("Relu", ["x" if i == 0 else f"v{i}"], [f"v{i + 1}"]) for i in range(11)]
    assert code_of_model(broken(chain), tmp_path, limits=Limits(nodes=10)) is Code.TOO_LARGE
    Flow(opened(broken(chain), tmp_path, limits=Limits(nodes=11)))


def test_input_shapes(tmp_path: Path) -> None:
    proto = model([node("MatMul", ["x", "W"], ["y"])], {"W": W}, inputs=[value("x", ["n", "m", 4])])
    assert opened(proto, tmp_path, input_shapes={"x": [5, 6, 4]}).inputs[0].shape == (5, 6, 4)
    for wrong in ({"z": [1]}, {"x": [1, 4]}, {"x": [1, 2, 5]}, {"x": [-1, 2, 4]}, {"x": [1 << 62, 1, 4]}):
        assert code_of_model(proto, tmp_path, input_shapes=wrong) is Code.INPUT_SHAPE
    assert code_of_model(linear(), tmp_path, input_shapes={"W": [4, 3]}) is Code.INPUT_SHAPE


def test_the_only_open_leading_dimension_is_one_sample(tmp_path: Path) -> None:
    cases: list[tuple[list[int | str | None], tuple[int | None, ...]]]
    cases = [(["n", 6, 4], (1, 6, 3)), (["n", "m", 4], (None, None, 3))]
    for shape, inferred in cases:
        proto = model([node("MatMul", ["x", "W"], ["y"])], {"W": W}, inputs=[value("x", shape)])
        flow = Flow(opened(proto, tmp_path))
        output = flow.nodes[0].outputs[0]
        assert output is not None
        assert output.shape == inferred
        assert flow.model.inputs[0].shape == tuple(d if isinstance(d, int) else None for d in shape)


def test_initializers_listed_as_inputs_are_not_the_callers(tmp_path: Path) -> None:
    proto = model([node("MatMul", ["x", "W"], ["y"])], {"W": W}, inputs=[X, value("W", [4, 3])], ir_version=3, opset=7)
    assert [i.name for i in opened(proto, tmp_path).inputs] == ["x"]
    assert len(uses(proto, tmp_path)) == 1


def test_kinds_of_inputs_have_names(tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("s", FLOAT, [2])
    inputs = [value("h", None, TensorProto.BFLOAT16), value("i", [1], INT64), value("t", [1], TensorProto.STRING), sequence]
    found = opened(model([node("Relu", ["h"], ["y"])], inputs=inputs), tmp_path).inputs
    assert [i.dtype for i in found[:3]] == ["bfloat16", "int64", "string"]
    assert found[0].shape is None
