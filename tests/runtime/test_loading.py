"""Whether a model loads: what onnxruntime says, told apart; a child that dies, hangs, or is not there."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.limits import Limits
from onnxnull.graph.model import Model, open_model
from onnxnull.runtime import child, loading, transfer
from onnxnull.runtime.child import Child
from onnxnull.runtime.loading import Loader, Loading, LoadOutcome

F16, F32 = TensorProto.FLOAT16, TensorProto.FLOAT
W = np.arange(12, dtype=np.float32).reshape(4, 3)
node = helper.make_node


def value(name: str, kind: int = F32, shape: tuple[int | str, ...] | None = (2, 4)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    *nodes: onnx.NodeProto,
    stored: dict[str, np.ndarray] | None = None,
    inputs: tuple[onnx.ValueInfoProto, ...] = (),
    output: onnx.ValueInfoProto | None = None,
    opset: int = 17,
    imports: dict[str, int] | None = None,
    functions: tuple[onnx.FunctionProto, ...] = (),
    ir_version: int = 8,
) -> onnx.ModelProto:
    """x, 2×4 float32, in front of the nodes; y behind them; a matrix W."""
    constants = {"W": W, **(stored or {})}
    graph = helper.make_graph(
        list(nodes),
        "g",
        list(inputs or [value("x")]),
        [output or value("y", shape=None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid(name, version) for name, version in {"": opset, **(imports or {})}.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, functions=list(functions))


PRODUCT = node("MatMul", ["x", "W"], ["y"])
FLAG = value("c", TensorProto.BOOL, ())


def branches(*nodes: onnx.NodeProto, stored: dict[str, np.ndarray] | None = None) -> onnx.NodeProto:
    """An If whose branches give b."""
    constants = [numpy_helper.from_array(array, name) for name, array in (stored or {}).items()]
    body = helper.make_graph(list(nodes), "body", [], [value("b", shape=None)], constants)
    return node("If", ["c"], ["y"], then_branch=body, else_branch=body)


def function(*nodes: onnx.NodeProto, opset: int = 17) -> onnx.FunctionProto:
    return helper.make_function("local", "F", ["a"], ["b"], list(nodes), [helper.make_opsetid("", opset)])


def called(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    return model(node("F", ["x"], ["y"], domain="local"), imports={"local": 1}, functions=(function(*nodes),))


def uncalled(made: onnx.FunctionProto) -> onnx.ModelProto:
    return model(PRODUCT, imports={"local": 1}, functions=(made,))


def keep_io_types() -> onnx.ModelProto:
    """A float16 export with float32 inputs and outputs whose residual forgot its Cast."""
    return model(
        node("Cast", ["x"], ["h"], to=F16),
        node("MatMul", ["h", "V"], ["m"]),
        node("Add", ["m", "x"], ["y"]),
        stored={"V": np.eye(4, dtype=np.float16)},
    )


def laden() -> onnx.ModelProto:
    made = model(PRODUCT)
    made.metadata_props.add(key="ort_config", value='{"session_options": {"register_custom_ops": "evil.so"}}')
    made.training_info.add().algorithm.CopyFrom(made.graph)
    return made


def of_old(kind: str) -> onnx.ModelProto:
    return model(node(kind, ["x"], ["y"]), opset=1)


CASES: dict[str, tuple[onnx.ModelProto, LoadOutcome, str]] = {
    name: (made, outcome, says)
    for outcome, table in {
        LoadOutcome.LOADS: {
            "a product": (model(PRODUCT), ""),
            "an open batch": (model(PRODUCT, inputs=(value("x", shape=("batch", 4)),)), ""),
            "negative dimensions, as exporters write what is open": (model(PRODUCT, inputs=(value("x", shape=(-1, 4)),)), ""),
            "no entries": (model(PRODUCT, inputs=(value("x", shape=(0, 4)),)), ""),
            # onnx.checker refuses the next five
            "nodes out of order": (model(node("Relu", ["h"], ["y"]), node("MatMul", ["x", "W"], ["h"])), ""),
            "an output of another declared shape": (model(PRODUCT, output=value("y", shape=(7, 7, 7))), ""),
            "a contrib operator without an import": (model(node("Gelu", ["x"], ["y"], domain="com.microsoft")), ""),
            "a Reshape that will fail": (model(node("Reshape", ["x", "s"], ["y"]), stored={"s": np.array([3, 3])}), ""),
            "groups that do not divide": (
                model(
                    node("Conv", ["x", "K"], ["y"], group=3),
                    inputs=(value("x", shape=(1, 1, 4, 4)),),
                    stored={"K": np.ones((1, 1, 1, 1), np.float32)},
                ),
                "",
            ),
            "an operator set that nobody uses or knows": (model(PRODUCT, imports={"nobody": 99}), ""),
            "a function": (called(node("Relu", ["a"], ["b"])), ""),
            "a broken function that nobody calls": (uncalled(function(node("Cast", ["a"], ["b"]))), ""),
            "metadata that configures a session": (laden(), ""),
            "IR 3": (model(PRODUCT, inputs=(value("x"), value("W", shape=(4, 3))), ir_version=3), ""),
        },
        LoadOutcome.REFUSED: {
            "float16 and float32": (model(node("Add", ["x", "h"], ["y"]), stored={"h": np.ones(4, np.float16)}), "Type Error"),
            "keep_io_types": (keep_io_types(), "Type Error"),
            "shapes": (model(node("MatMul", ["x", "V"], ["y"]), stored={"V": W[:3]}), "Incompatible dimensions"),
            "a missing input": (model(node("MatMul", ["x"], ["y"])), "MatMul"),
            "an attribute that nobody knows": (model(node("Relu", ["x"], ["y"], slope=2.0)), "slope"),
            "an output of another type": (model(PRODUCT, output=value("y", F16, None)), "Type Error"),
            "two nodes of one name": (
                model(node("Relu", ["x"], ["h"], name="a"), node("Relu", ["h"], ["y"], name="a")),
                "same node name",
            ),
            "int4 before it was allowed": (
                model(
                    node("DequantizeLinear", ["q", "s"], ["y"]),
                    inputs=(value("q", TensorProto.INT4),),
                    stored={"s": np.array(1, np.float32)},
                ),
                "int4",
            ),
            "an operator that was taken out": (model(node("Upsample", ["x"], ["y"], scales=[1.0, 2.0])), "Upsample"),
            "a domain without an import": (model(node("Foo", ["x"], ["y"], domain="mine")), "mine"),
            "a node without an operator": (model(node("", ["x"], ["y"])), ""),
            "types in a branch": (
                model(
                    branches(node("Add", ["x", "h"], ["b"]), stored={"h": np.ones(4, np.float16)}), inputs=(value("x"), FLAG)
                ),
                "Add",
            ),
            "types in a function": (
                called(node("Cast", ["a"], ["t"], to=F16), node("Add", ["t", "a"], ["b"])),
                "Add",
            ),
            "an axis that is not there": (model(node("Transpose", ["x"], ["y"], perm=[0, 3])), "perm"),
            "types beside an operator set that nobody knows": (
                model(node("Add", ["x", "h"], ["y"]), stored={"h": np.ones(4, np.float16)}, imports={"nobody": 99}),
                "Type Error",
            ),
            "types beside an unknown operator in a function that nobody calls": (
                model(
                    node("Add", ["x", "h"], ["y"]),
                    stored={"h": np.ones(4, np.float16)},
                    imports={"local": 1},
                    functions=(function(node("Frobnicate", ["a"], ["b"])),),
                ),
                "Type Error",
            ),
        },
        LoadOutcome.UNKNOWN: {
            "opset 99": (model(PRODUCT, opset=99), "version 99 of the operator set 'ai.onnx'"),
            "opset 99 of ai.onnx.ml, which nobody uses": (model(PRODUCT, imports={"ai.onnx.ml": 99}), "99 of the operator set"),
            "opset 99 of a function that nobody calls": (
                uncalled(function(node("Relu", ["a"], ["b"]), opset=99)),
                "version 99 of the operator set",
            ),
            "IR 99": (model(PRODUCT, ir_version=99), "IR version 99"),
            "an operator": (model(node("Frobnicate", ["x"], ["y"])), "ai.onnx::Frobnicate (opset 17)"),
            "an operator of a later opset": (model(node("Gelu", ["x"], ["y"])), "ai.onnx::Gelu (opset 17)"),
            "a domain": (model(node("Foo", ["x"], ["y"], domain="mine"), imports={"mine": 1}), "mine::Foo"),
            "a contrib operator": (
                model(node("Foo", ["x"], ["y"], domain="com.microsoft"), imports={"com.microsoft": 1}),
                "com.microsoft::Foo",
            ),
            "an operator in a function": (called(node("Frobnicate", ["a"], ["b"])), "Frobnicate"),
            "an operator in a branch": (
                model(branches(node("Frobnicate", ["x"], ["b"])), inputs=(value("x"), FLAG)),
                "Frobnicate",
            ),
            "no kernel for bfloat16": (
                model(
                    node("Add", ["x", "x"], ["y"]),
                    inputs=(value("x", TensorProto.BFLOAT16),),
                    output=value("y", TensorProto.BFLOAT16, None),
                ),
                "Could not find an implementation",
            ),
            "no kernel of opset 1": (of_old("Relu"), "Could not find an implementation"),
        },
        LoadOutcome.FAILED: {
            "an activation that no LSTM has": (
                model(
                    node("LSTM", ["x", "A", "A"], ["y"], hidden_size=1, activations=["Foo", "Tanh", "Tanh"]),
                    inputs=(value("x", shape=(1, 1, 1)),),
                    stored={"A": np.ones((1, 4, 1), np.float32)},
                ),
                "Fail",
            ),
        },
    }.items()
    for name, (made, says) in table.items()
}


@pytest.fixture(scope="module")
def loader() -> Iterator[Loader]:
    with Loader() as started:
        yield started


def opened(made: onnx.ModelProto, folder: Path, limits: Limits | None = None) -> Model:
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return open_model(path, limits=limits)


@pytest.mark.parametrize("name", CASES)
def test_outcome(name: str, loader: Loader, tmp_path: Path) -> None:
    made, outcome, says = CASES[name]
    found = loader.load(opened(made, tmp_path))
    assert found.outcome is outcome, found.why
    assert says in found.why
    assert len(found.why) <= 300


@pytest.mark.parametrize("name", CASES)
def test_it_agrees_with_a_plain_session(name: str) -> None:
    """The table says of a model that it loads where onnxruntime alone loads it, and nowhere else."""
    made, outcome, _ = CASES[name]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    loads = True
    try:
        onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - onnxruntime's errors have no common base
        loads = False
    assert loads is (outcome is LoadOutcome.LOADS)


def external(tensor: onnx.TensorProto, file: Path, offset: int) -> None:
    """Move the data of a tensor into a file beside the model."""
    data = tensor.raw_data
    with file.open("ab") as out:
        out.write(data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", file.name), ("offset", str(offset)), ("length", str(len(data)))):
        tensor.external_data.add(key=key, value=text)


@pytest.mark.parametrize("inside", [1 << 30, 0])
@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("fits", [True, False])
def test_weights_go_inside_or_beside(
    inside: int, beside: bool, fits: bool, loader: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of any type, from the file or from external data, and into a branch: what is refused inside is refused beside."""
    monkeypatch.setattr(transfer, "_INSIDE", inside)
    kinds = (np.float32, np.float16, np.int64)
    stored = {f"w{i}": np.ones((4, 300 + i), kind) for i, kind in enumerate(kinds)}
    small = np.array([2, 300 if fits else 301])
    made = model(
        node("MatMul", ["x", "w0"], ["m"]),
        node("Reshape", ["m", "shape"], ["r"]),
        node("Cast", ["w1"], ["f"], to=F32),
        node("Cast", ["w2"], ["i"], to=F32),
        branches(node("Add", ["r", "h"], ["b"]), stored={"h": np.ones(300, np.float32)}),
        stored={**stored, "shape": small},
        inputs=(value("x"), FLAG),
    )
    if beside:
        offset = 0
        tensors = [*made.graph.initializer, *made.graph.node[-1].attribute[0].g.initializer]
        for tensor in tensors:
            size = len(tensor.raw_data)
            external(tensor, tmp_path / "data", offset)
            offset += size
    there = opened(made, tmp_path)
    sent = transfer.prepare(there)
    assert (sent.beside > 0) is (inside == 0)
    assert sum(map(len, sent.chunks())) == sent.beside
    found = loader.load(there)
    assert found.outcome is (LoadOutcome.LOADS if fits else LoadOutcome.REFUSED), found.why


def test_nothing_but_the_graph_is_sent(tmp_path: Path) -> None:
    given = onnx.ModelProto.FromString(transfer.prepare(opened(laden(), tmp_path)).model)
    assert {field.name for field, _ in given.ListFields()} == {"ir_version", "opset_import", "graph"}


def test_external_data_that_went_away_is_no_pass(loader: Loader, tmp_path: Path) -> None:
    made = model(PRODUCT)
    external(made.graph.initializer[0], tmp_path / "data", 0)
    there = opened(made, tmp_path)
    (tmp_path / "data").write_bytes(b"short")
    assert loader.load(there).outcome is LoadOutcome.FAILED
    (tmp_path / "data").unlink()
    assert loader.load(there).outcome is LoadOutcome.FAILED
    assert loader.load(opened(model(PRODUCT), tmp_path)).outcome is LoadOutcome.LOADS


def test_a_weight_above_the_limit_is_not_sent(loader: Loader, tmp_path: Path) -> None:
    there = opened(model(PRODUCT), tmp_path, Limits(constant_bytes=47))
    with pytest.raises(OnnxnullError) as caught:
        transfer.prepare(there)
    assert caught.value.code is Code.TOO_LARGE
    assert loader.load(there).outcome is LoadOutcome.FAILED


def killed(process: Child) -> None:
    assert process._process is not None
    process._process.kill()
    process._process.wait()


def test_after_a_death_comes_another_child(tmp_path: Path) -> None:
    """Also where a broken pipe ends the whole process, as the command line wants it to."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        after_a_death(opened(model(PRODUCT), tmp_path))
        assert signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGPIPE, before)


def after_a_death(there: Model) -> None:
    with Child() as process, Loader(process) as loader:
        assert loader.load(there).outcome is LoadOutcome.LOADS
        first = process._process
        assert loader.load(there).outcome is LoadOutcome.LOADS
        assert process._process is first
        killed(process)
        found = loader.load(there)
        assert found == Loading(
            LoadOutcome.FAILED, "creating a session: the process was ended from outside, mostly for lack of memory"
        )
        assert loader.load(there).outcome is LoadOutcome.LOADS
        assert process._process is not first


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps it")
def test_memory_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = opened(model(PRODUCT, stored={"large": np.ones((1 << 20, 8), np.float32)}), tmp_path)
    shapes = [node("ConstantOfShape", ["shape"], [f"c{i}"]) for i in range(8)]
    bomb = model(PRODUCT, *shapes, stored={"shape": np.ones(100_000, np.int64)})
    with Loader() as loader:
        monkeypatch.setattr(loading, "_MEMORY", (30 << 20, 0))
        assert loader.load(there).outcome is LoadOutcome.FAILED
        monkeypatch.setattr(loading, "_MEMORY", (30 << 20, 4))
        assert loader.load(there).outcome is LoadOutcome.LOADS
        assert loader.load(opened(bomb, tmp_path)).outcome is LoadOutcome.FAILED  # eight shapes of 100,000 axes, inferred
        assert loader.load(there).outcome is LoadOutcome.LOADS


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_processor_time_is_limited() -> None:
    program = "from onnxnull.runtime import load_child\nwith load_child._limited(1 << 40, 1):\n    while True: pass"
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -signal.SIGXCPU
    assert child._ending(done.returncode) == "it takes more processor time than the limit"


GREETS = """import json, sys
print(json.dumps({"onnxruntime": "0", "limits": LIMITS}), flush=True)
line = sys.stdin.buffer.readline()
"""


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("raise SystemExit(3)", "does not start: the process ended with status 3"),
        ("import json; print(json.dumps({'problem': 'onnxruntime does not load'}))", "onnxruntime does not load"),
        (GREETS.replace("LIMITS", "['memory']") + "import os; os.abort()", "signal SIGABRT"),
        (GREETS.replace("LIMITS", "['memory']") + "import time; time.sleep(600)", "no answer after"),
        (GREETS.replace("LIMITS", "[]") + "held = b'x' * (200 << 20)\nimport time; time.sleep(600)", "MiB of memory"),
        (GREETS.replace("LIMITS", "['memory']") + "import os, time; os.close(1); time.sleep(600)", "ended from outside"),
    ],
    ids=["ends", "no onnxruntime", "crashes", "hangs", "takes memory", "says nothing"],
)
def test_a_child_that_does_not_answer(program: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "no answer" in says:  # what has to wait for an answer waits as long as it takes on a busy machine
        monkeypatch.setattr(loading, "_WALL", 0.1)
    monkeypatch.setattr(loading, "_MEMORY", (100 << 20, 0))
    there = opened(model(PRODUCT), tmp_path)
    with Loader(Child([sys.executable, "-c", program])) as loader:
        found = loader.load(there)
    assert found.outcome is LoadOutcome.FAILED
    assert says in found.why


def test_no_python_is_no_pass(tmp_path: Path) -> None:
    with Loader(Child([str(tmp_path / "nothing")])) as loader:
        assert loader.load(opened(model(PRODUCT), tmp_path)).outcome is LoadOutcome.FAILED


@pytest.mark.parametrize(
    "answer",
    [
        {"step": "graph", "error": "InvalidProtobuf", "message": "?"},
        {"step": "graph", "error": "EngineError", "message": "?"},
        {"step": "kernels", "error": "Fail", "message": "?"},
        {"step": "kernels", "error": "RuntimeException", "message": "?"},
        {"step": "prepare", "error": "AttributeError", "message": "?"},
        {"step": "graph", "error": "Fail", "message": "std::bad_alloc"},
    ],
)
def test_what_is_not_understood_is_no_pass(answer: dict[str, str], tmp_path: Path) -> None:
    with Loader() as loader:
        assert loader._judge(answer, opened(model(PRODUCT), tmp_path).parsed).outcome is LoadOutcome.FAILED


def test_variables_do_not_reach_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This one would let opset 99 pass."""
    monkeypatch.setenv("ALLOW_RELEASED_ONNX_OPSET_ONLY", "0")
    (tmp_path / "onnxruntime.py").write_text("raise SystemExit(1)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with Loader() as loader:
        assert loader.load(opened(model(PRODUCT, opset=99), tmp_path)).outcome is LoadOutcome.UNKNOWN


def test_a_child_lives_no_longer_than_its_loader(tmp_path: Path) -> None:
    process = Child()
    with Loader(process) as loader:
        loader.load(opened(model(PRODUCT), tmp_path))
        running = process._process
    assert running is not None
    assert running.poll() is not None
