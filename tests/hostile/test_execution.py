"""Analysis never runs a session; what runs a model gives onnxruntime nothing but a checked graph and our own options."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.model import open_model
from onnxnull.graph.protobuf import stored_tensors
from onnxnull.runtime.loading import Loader, LoadOutcome
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.session import Runner
from scripts.fuzzing.server import Server
from tests.collision.bundles import bundled, patch_model, rewrite
from tests.hostile.cases.common import W, X, linear, model, node, stored, value
from tests.hostile.catalogue import CASES

MODEL = Path(__file__).resolve().parents[2] / "models" / "digits_mlp.onnx"
LARGE = ("constant_of_shape", "expand", "tile", "outer_product", "sparse_external_file", "expanded_input")
"""Cases that analysis lists or passes, and that would take terabytes to run."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as started:
        yield started


@pytest.fixture(scope="module")
def runtime_server() -> Iterator[Server]:
    with Server(runtime=True) as started:
        yield started


def test_analyze_and_prove_need_no_runtime(tmp_path: Path) -> None:
    """They work where onnxruntime cannot be imported at all."""
    program = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from onnxnull.cli.main import main\n"
        "for arguments in {arguments!r}:\n"
        "    sys.argv = ['onnxnull', *arguments]\n"
        "    try:\n        main()\n"
        "    except SystemExit as ended:\n        assert not ended.code, (arguments, ended.code)\n"
    )
    proofs = str(tmp_path / "proofs.json")
    commands = [
        ["analyze", str(MODEL), "--format", "json"],
        ["prove", str(MODEL), "-o", proofs],
        ["prove", str(MODEL), "--check", proofs],
    ]
    done = subprocess.run(
        [sys.executable, "-c", program.format(arguments=commands)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout[: done.stdout.index("\n}\n") + 2])["models"][0]["weights"]


LOADED = {
    "twenty_nested_ifs": LoadOutcome.LOADS,
    "constant_of_shape": LoadOutcome.LOADS,
    "expand": LoadOutcome.LOADS,
    "escape_from_an_unused_function": LoadOutcome.LOADS,
    "metadata_that_configures": LoadOutcome.LOADS,
    "names_that_are_commands": LoadOutcome.LOADS,
    "negative_intermediate": LoadOutcome.FAILED,  # onnx's inference of a Slice ends the process
    "sparse_external_file": LoadOutcome.FAILED,  # 64 GiB, above the limit
    "raw_data_too_short": LoadOutcome.FAILED,
    "division_by_zero": LoadOutcome.FAILED,
    "a_trillion_entries": LoadOutcome.REFUSED,
    "weight_that_does_not_fit": LoadOutcome.REFUSED,
    "cast_to_nothing": LoadOutcome.REFUSED,
    "code_in_an_attribute": LoadOutcome.UNKNOWN,
    "operator_that_loads_a_file": LoadOutcome.UNKNOWN,
    "opset_from_the_future": LoadOutcome.UNKNOWN,
}


def test_one_process_after_the_other_loads_hostile_models(tmp_path: Path) -> None:
    """One that ends the process costs its own answer, and no file but its own is opened."""
    with Loader() as loader:
        for name, outcome in LOADED.items():
            home = CASES[name].write(tmp_path / name)
            found = loader.load(open_model(home / CASES[name].typed))
            assert found.outcome is outcome, (name, found.why)
            assert found.why.isprintable()
            assert {path.name for path in home.iterdir()} <= {"model.onnx", "w.bin", "data.bin", "weights.bin"}, name


@pytest.mark.parametrize("name", LARGE)
def test_what_would_take_terabytes_is_not_run(name: str, runtime_server: Server, tmp_path: Path) -> None:
    home = CASES[name].write(tmp_path / "case")
    outcome = runtime_server.run(["collide", "model.onnx", "--random", "0", "--provider", "cpu"], home, sessions=True)
    assert outcome.crashed is None, outcome.err
    assert (outcome.code, outcome.sessions) == (2, 0)
    assert "error[too-large]" in outcome.err or "error[unknown-shape]" in outcome.err


@pytest.mark.parametrize("name", ["parent_folder", "hard_link", "cycle", "billion_laughs", "constant_of_shape", "expand"])
def test_replay_refuses_a_hostile_model_before_there_is_a_session(
    name: str, runtime_server: Server, tmp_path: Path, evidence: Path
) -> None:
    """The bundle is genuine, but for the model that it says it is about."""
    home = CASES[name].write(tmp_path / "case")
    digest = hashlib.sha256((home / "model.onnx").read_bytes()).hexdigest()
    rewrite(evidence, lambda document: document["model"].update(sha256=digest))
    outcome = runtime_server.run(["replay", str(evidence), "model.onnx"], home, sessions=True)
    assert outcome.crashed is None, outcome.err
    assert (outcome.code, outcome.sessions) == (2, 0)
    (code,) = CASES[name].codes
    wanted = code if CASES[name].fatal else Code.TOO_LARGE
    assert f"error[{wanted.code}]" in outcome.err
    assert all(Path(path).is_relative_to(home) or Path(path).is_relative_to(evidence) for path in outcome.touched)


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    return bundled(tmp_path / "bundle", patch_model(tmp_path / "m.onnx"))


class Seen(Exception):
    """Instead of a session."""


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a session would have been made of."""
    found: dict[str, Any] = {}

    def made(data: bytes, options: Any = None, providers: Any = None, **keywords: Any) -> None:
        found.update(data=data, options=options, providers=providers, keywords=keywords)
        raise Seen

    def never(*arguments: Any) -> None:
        raise AssertionError("a library of custom operators is loaded")

    monkeypatch.setattr(onnxruntime, "InferenceSession", made)
    monkeypatch.setattr(onnxruntime.SessionOptions, "register_custom_ops_library", never)
    return found


def laden() -> onnx.ModelProto:
    """A model with everything beside its graph that a file may have."""
    made = linear()
    made.metadata_props.add(key="ort_config", value='{"session_options": {"enable_profiling": 1}}')
    made.graph.metadata_props.add(key="k", value="v")
    made.training_info.add().algorithm.CopyFrom(made.graph)
    made.functions.add(name="F", domain="local", opset_import=made.opset_import)
    made.doc_string = made.producer_name = made.domain = "text"
    return made


@pytest.mark.parametrize("precision", [Precision.NATIVE, Precision.FLOAT32, Precision.FLOAT64])
def test_a_session_gets_a_graph_and_our_options(precision: Precision, session: dict[str, Any]) -> None:
    with pytest.raises((Seen, OnnxnullError)):
        Runner(laden(), precision)
    given = onnx.ModelProto.FromString(session["data"])
    assert {field.name for field, _ in given.ListFields()} == {"ir_version", "opset_import", "graph"}
    assert not given.graph.metadata_props
    options = session["options"]
    assert not options.optimized_model_filepath
    assert not options.enable_profiling
    assert session["providers"] == [("CPUExecutionProvider", {})]
    assert not session["keywords"]


def test_a_models_metadata_configures_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With this variable onnxruntime does as the metadata says, and profiles into the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORT_LOAD_CONFIG_FROM_MODEL", "1")
    plain = onnxruntime.InferenceSession(laden_file(tmp_path), providers=["CPUExecutionProvider"])
    assert plain.get_session_options().enable_profiling, "the test would show nothing"
    before = set(tmp_path.iterdir())
    runner = Runner(open_model(tmp_path / "model.onnx"))
    np.testing.assert_allclose(runner.run({"x": np.ones((2, 4), np.float32)})["y"][0], W.sum(axis=0), rtol=1e-5)
    assert set(tmp_path.iterdir()) == before


def laden_file(folder: Path) -> str:
    made = linear()
    made.metadata_props.add(key="ort_config", value='{"session_options": {"enable_profiling": 1}}')
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    return str(folder / "model.onnx")


def test_a_session_gets_no_reference_to_a_file(
    session: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime would map the file itself, relative to wherever it likes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.bin").write_bytes(W.tobytes())
    beside = onnx.TensorProto(name="W", data_type=1, dims=[4, 3], data_location=onnx.TensorProto.EXTERNAL)
    beside.external_data.add(key="location", value="w.bin")
    with pytest.raises(OnnxnullError) as caught:
        Runner(stored(beside))
    assert caught.value.code is Code.RUNTIME
    assert not session


def test_external_data_is_inside_what_a_session_gets(session: dict[str, Any], tmp_path: Path) -> None:
    """Wherever it is referred to: in the branch of an If in a local function, say."""
    (tmp_path / "w.bin").write_bytes(W.tobytes())
    beside = onnx.TensorProto(name="w", data_type=1, dims=[4, 3], data_location=onnx.TensorProto.EXTERNAL)
    beside.external_data.add(key="location", value="w.bin")
    inner = [node("Constant", [], ["w"], value=beside), node("MatMul", ["x", "w"], ["b"])]
    branch = onnx.helper.make_graph(inner, "body", [], [value("b", None)])
    choose = node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    opsets = [onnx.helper.make_opsetid("", 17)]
    function = onnx.helper.make_function("local", "F", ["x", "c"], ["y"], [choose], opsets)
    inputs = [X, value("c", [], onnx.TensorProto.BOOL)]
    call = node("F", ["x", "c"], ["z"], domain="local")
    made = model([call], inputs=inputs, functions=[function], imports={"local": 1})
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    with pytest.raises((Seen, OnnxnullError)):
        Runner(open_model(tmp_path / "model.onnx"))
    tensors = list(stored_tensors(onnx.ModelProto.FromString(session["data"])))
    assert len(tensors) == 2
    assert all(tensor.data_location != onnx.TensorProto.EXTERNAL and tensor.raw_data == W.tobytes() for tensor in tensors)
