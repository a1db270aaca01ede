"""`onnxnull check` and `onnxnull baseline`: exit codes, files, and the same bytes whenever and wherever they run."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from onnxnull.analysis.analyze import analyze_model
from onnxnull.cli.main import main
from onnxnull.errors import Code
from onnxnull.graph.model import Model
from onnxnull.policy import gate
from onnxnull.policy.config import Policy
from onnxnull.policy.targets import Target
from onnxnull.runtime.providers import cuda_problem
from tests.shared import matmul, random, save, shared_model

from .conftest import Outcome

ROOT = Path(__file__).resolve().parents[2]
Console = Callable[..., Outcome]


@pytest.fixture
def console(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Console:
    """`onnxnull ...` in this process: what a console would see."""

    def command(*arguments: object) -> Outcome:
        monkeypatch.setattr("sys.argv", ["onnxnull", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        captured = capfd.readouterr()
        assert isinstance(code, int)
        return code, captured.out, captured.err

    return command


def linear(path: Path, weight: np.ndarray, **more: tuple[int, ...]) -> Path:
    """x · w → y, x of one row."""
    return save(
        path, [helper.make_node("MatMul", ["x", "w"], ["y"], name="mm")], {"w": weight}, inputs={"x": (1, len(weight)), **more}
    )


def make(folder: Path) -> None:
    """Models, each with what its name says; `both` is a folder of two."""
    good, dead = random(4, 6), random(4, 6)
    dead[:, 2] = 0
    linear(folder / "good.onnx", good)
    linear(folder / "dead.onnx", dead)
    linear(folder / "zero.onnx", np.zeros((4, 6), np.float32))
    linear(folder / "nan.onnx", np.full((3, 3), np.nan, np.float32))
    linear(folder / "unread.onnx", good, z=(1, 2))
    linear(folder / "narrow.onnx", random(6, 4))
    matmul(folder / "open.onnx", good)
    save(folder / "empty.onnx", [helper.make_node("Relu", ["x"], ["y"])], {}, inputs={"x": (1, 4)})
    strange = helper.make_node("Mystery", ["x", "w"], ["y"], name="mystery", domain="com.acme")
    save(folder / "strange.onnx", [strange], {"w": random(4, 3, 3, 3)}, inputs={"x": (1, 3, 8, 8)})
    (folder / "broken.onnx").write_bytes((folder / "good.onnx").read_bytes()[:-30])
    shutil.copytree(folder, folder / "both", ignore=lambda _, names: set(names) - {"good.onnx", "dead.onnx"})


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with models."""
    make(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text("rules.dead-output = 'off'")
    (tmp_path / "strict.toml").write_text("fail-on = 'warning'")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ("good.onnx", 0, "PASS: 1 model"),
        ("dead.onnx", 0, "PASS: 1 model, 1 warning"),
        ("dead.onnx --fail-on warning", 1, "FAIL: 1 model, 1 warning"),
        ("dead.onnx --policy strict.toml", 1, "policy: strict.toml, fails on warning or worse"),
        ("dead.onnx --policy strict.toml --fail-on error", 0, "PASS"),
        ("dead.onnx --rule dead-outputs=error", 1, "FAIL: 1 model, 1 error"),
        ("dead.onnx --rule dead-outputs=off --fail-on note", 0, "PASS"),
        ("good.onnx --max total-nullity=0", 0, "PASS"),
        ("dead.onnx good.onnx both", 0, "PASS: 4 models, 4 passed, 2 warnings"),
        ("both/*.onnx", 0, "PASS: 2 models, 2 passed, 1 warning"),
        ("zero.onnx", 1, "zero-weight: weight 'w'"),
        ("unread.onnx", 1, "unread-network-input: input 'z'"),
        ("empty.onnx", 3, "NOTHING: 1 model"),
        ("empty.onnx good.onnx", 3, "NOTHING: 2 models, 1 passed"),
        ("empty.onnx zero.onnx", 1, "FAIL"),
        ("nan.onnx", 2, "nonfinite-weight: node 'mm'"),
        ("strange.onnx", 2, "not-analysed: node 'mystery'"),
        ("strange.onnx zero.onnx good.onnx", 2, "INCOMPLETE: 3 models, 1 passed, 4 errors"),
        ("good.onnx --time-limit 0", 2, "not-analysed: node 'mm': MatMul: [time-limit]"),
        ("absent.onnx", 2, "absent.onnx: incomplete, [file-not-found]"),
        ("goood.onnx good.onnx", 2, "INCOMPLETE: 2 models, 1 passed, 1 incomplete"),
        ("*.onx", 2, "*.onx: incomplete, [file-not-found] no file matches this pattern"),
        ("folder", 2, "folder: incomplete, [file-not-found] no .onnx file in this folder"),
        ("broken.onnx", 2, "broken.onnx: incomplete, [truncated]"),
        ("good.onnx --baseline absent.json", 2, "error[file-not-found]: no baseline at 'absent.json'"),
        ("good.onnx --baseline bad.toml", 2, "error[baseline]"),
        ("good.onnx --policy absent.toml", 2, "error[file-not-found]"),
        ("good.onnx --policy bad.toml", 2, "error[policy]: bad.toml: unknown rule 'dead-output'; did you mean 'dead-outputs'?"),
        ("good.onnx -o no/report", 2, "error[output]"),
        ("", 4, "Missing argument"),
        ("good.onnx --policy strict.toml --no-policy", 4, "exclude each other"),
        ("good.onnx --rule dead-output=off", 4, "unknown rule 'dead-output'; did you mean"),
        ("good.onnx --rule dead-outputs", 4, "is not NAME=VALUE"),
        ("good.onnx --rule dead-outputs=off --rule dead-outputs=note", 4, "given twice"),
        ("good.onnx --rule not-analysed=off", 4, "incomplete is never a pass"),
        ("good.onnx --rule total-nullity=error", 4, "has a severity and no limit"),
        ("good.onnx --max total-nullity=many", 4, "is not RULE=NUMBER"),
        ("good.onnx --max dead-outputs=1", 4, "has no limit"),
        ("good.onnx --max kernel-energy=0.5", 4, "needs --data"),
        ("good.onnx --precision float32", 4, "say how --run runs"),
        ("good.onnx --write-baseline", 4, "needs --baseline"),
        ("good.onnx --baseline no/base.json --write-baseline", 2, "error[output]: 'no/base.json'"),
        ("good.onnx --date tomorrow", 4, "is not a day"),
        ("good.onnx --report pdf=x", 4, "'pdf' is none of"),
        ("good.onnx --report json=good.onnx", 4, "is the model itself"),
        ("both --report json=both/good.onnx", 4, "is the model itself"),
        ("good.onnx --policy strict.toml -o strict.toml", 4, "is the model itself"),
        ("good.onnx --format yaml", 4, "Invalid value for '--format'"),
    ],
)
def test_exit_code(arguments: str, code: int, says: str, models: Path, console: Console) -> None:
    found, out, err = console("check", *arguments.split())
    assert found == code, out + err
    assert says in out + err
    assert "Traceback" not in err


@pytest.mark.parametrize("form", ["text", "json", "sarif", "junit", "markdown"])
@pytest.mark.parametrize("argument", ["strange.onnx", "nan.onnx", "folder", "absent.onnx", "broken.onnx"])
def test_incomplete_is_never_a_pass_in_any_format(form: str, argument: str, models: Path, console: Console) -> None:
    code, out, _ = console("check", argument, "--format", form)
    assert code == 2
    assert argument.partition(".")[0] in out
    if form == "json":
        assert json.loads(out)["verdict"] == "incomplete"
    if form == "sarif":
        assert json.loads(out)["runs"][0]["invocations"][0]["executionSuccessful"] is False
    if form == "junit":
        assert "<error" in out


def test_no_exception_makes_a_skipped_weight_pass(models: Path, console: Console) -> None:
    (models / "onnxnull.toml").write_text("[[exceptions]]\nrule = 'not-analysed'\nreason = 'we know'\n")
    code, _, err = console("check", "strange.onnx")
    assert (code, "cannot be silenced" in err) == (2, True)


def test_the_policy_of_the_folder(models: Path, console: Console) -> None:
    (models / "pyproject.toml").write_text("[tool.onnxnull.rules]\ndead-outputs = 'error'\n")
    assert console("check", "dead.onnx")[0] == 1
    assert console("check", "dead.onnx", "--no-policy")[0] == 0
    text = "[[exceptions]]\nrule = 'dead-outputs'\nmodel = 'dead.onnx'\nreason = 'a sine'\nexpires = 2027-01-31\n"
    (models / "onnxnull.toml").write_text(f"rules.dead-outputs = 'error'\n{text}")
    code, out, _ = console("check", "dead.onnx", "good.onnx", "--date", "2027-01-31")
    assert code == 0
    assert "(accepted until 2027-01-31: a sine)" in out
    assert "[tool.onnxnull] in pyproject.toml is not" in out
    code, out, _ = console("check", "dead.onnx", "--date", "2027-02-01")
    assert code == 1
    assert "expired-exception: exception '1 (dead-outputs)': it expired on 2027-01-31: a sine" in out
    code, out, _ = console("check", "both", "--date", "2027-01-31", "--rule", "unused-exception=error")
    assert code == 0  # both/dead.onnx: the pattern is compared from the right
    code, out, _ = console("check", "good.onnx", "--fail-on", "warning", "--date", "2027-01-31")
    assert code == 0
    assert "exception 1 was not looked at: no model that was checked is 'dead.onnx'" in out


def test_a_baseline_from_the_first_to_the_next(models: Path, console: Console) -> None:
    assert console("baseline", "both", "-o", "base.json")[0] == 0
    assert console("check", "both", "--baseline", "base.json")[0] == 0
    linear(models / "both" / "dead.onnx", np.outer(np.arange(1, 5), np.arange(1, 7)).astype(np.float32))
    code, out, _ = console("check", "both", "--baseline", "base.json")
    assert code == 1
    assert "regression: weight 'w': worse than in the baseline: rank 4 → 1" in out
    assert "both/good.onnx: pass" in out
    code, out, _ = console("check", "both/good.onnx", "--baseline", "base.json")
    assert code == 0
    assert "1 of 2 models of the baseline were not checked: both/dead.onnx" in out
    code, out, _ = console("check", "zero.onnx", "both", "--baseline", "base.json")
    assert "baseline-mismatch: model 'zero.onnx': the baseline does not know this model" in out
    before = json.loads(Path("base.json").read_text())
    code, _, err = console("check", "both/dead.onnx", "--baseline", "base.json", "--write-baseline")
    assert (code, "baseline written: base.json" in err) == (0, True)
    after = json.loads(Path("base.json").read_text())
    assert after["models"][1] == before["models"][1]
    assert after["models"][0] != before["models"][0]
    assert console("check", "both", "--baseline", "base.json")[0] == 0


def test_a_baseline_is_written_whole_or_not_at_all(models: Path, console: Console) -> None:
    code, out, err = console("baseline", "good.onnx", "strange.onnx")
    assert (code, out) == (2, "")
    assert "strange.onnx: not analysed: mystery" in err
    assert console("baseline", "good.onnx", "absent.onnx")[:2] == (2, "")
    code, _, err = console("check", "strange.onnx", "--baseline", "base.json", "--write-baseline")
    assert (code, Path("base.json").exists()) == (2, False)
    assert "the baseline was not written" in err
    assert console("check", "good.onnx", "--baseline", "base.json", "--write-baseline")[0] == 0
    assert Path("base.json").read_text() == console("baseline", "good.onnx")[1]


def test_several_reports_at_once(models: Path, console: Console) -> None:
    reports = [f"--report={form}=report.{form}" for form in ("json", "sarif", "junit", "markdown")]
    code, out, _ = console("check", "dead.onnx", *reports)
    assert (code, out.splitlines()[-1]) == (0, "PASS: 1 model, 1 warning")
    for form in ("json", "sarif", "junit", "markdown"):
        assert Path(f"report.{form}").read_text(encoding="utf-8") == console("check", "dead.onnx", "--format", form)[1]


def test_an_error_of_our_own_is_one_incomplete_model(models: Path, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other model is checked, every report is written, and the line says what was raised and whose fault it is."""

    def failing(model: Model, **settings: Any) -> Any:
        if model.file == "dead.onnx":
            raise ZeroDivisionError("two\nlines")
        return analyze_model(model, **settings)

    monkeypatch.setattr(gate, "analyze_model", failing)
    reports = [f"--report={form}=report.{form}" for form in ("sarif", "junit", "markdown")]
    code, out, err = console("check", "dead.onnx", "good.onnx", "--format", "json", *reports)
    document = json.loads(out)
    assert (code, [model["file"] for model in document["models"]], document["models"][0]["verdict"]) == (
        2,
        ["good.onnx"],
        "pass",
    )
    (error,) = document["errors"]
    assert (error["file"], error["code"]) == ("dead.onnx", "internal-error")
    assert error["seen"].startswith("ZeroDivisionError: two lines (test_check.py:")
    (line,) = (line for line in err.splitlines() if "ZeroDivisionError" in line)
    assert "this is a bug in onnxnull" in line
    assert all(Path(report.partition("=")[2].partition("=")[2]).stat().st_size for report in reports)


def test_an_error_of_our_own_in_a_process(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --jobs a process hands the error back: it survives the way."""
    monkeypatch.setattr(gate, "analyze_model", lambda *_, **__: [][1])
    (error,) = gate.check([Target("good.onnx", "good.onnx")], Policy(), today=date.min).failures
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.code, again.exit_code) == (str(error), Code.INTERNAL, 2)
    assert "IndexError: list index out of range" in str(again)


def test_bytes_repeat_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console) -> None:
    """Two runs, one or two models at a time, in two folders; and by an absolute path, which is shown by its end."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        make(tmp_path / name)
    seen, absolute = set(), set()
    for form in ("json", "sarif", "junit", "markdown", "text"):
        for name in ("first", "second"):
            monkeypatch.chdir(tmp_path / name)
            seen.add((form, *console("check", "strange.onnx", "broken.onnx", "both", "--format", form)[:2]))
            monkeypatch.chdir(tmp_path)
            absolute.add((form, *console("check", tmp_path / name / "both", "--format", form)[:2]))
    monkeypatch.chdir(tmp_path / "first")
    seen.add(("json", *console("check", "strange.onnx", "broken.onnx", "both", "--jobs", "2", "--format", "json")[:2]))
    assert sorted((form, code) for form, code, _ in seen) == [(f, 2) for f in ("json", "junit", "markdown", "sarif", "text")]
    assert len(absolute) == 5
    assert not any(str(tmp_path) in text for _, _, text in absolute)


def test_a_collision_is_run_only_when_asked_for(models: Path, console: Console) -> None:
    save(
        models / "narrow.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="mm")],
        {"w": random(6, 4)},
        inputs={"x": (1, 6)},
    )
    code, out, _ = console("check", "narrow.onnx")
    assert (code, "verified-collision" in out) == (0, False)
    code, out, _ = console("check", "narrow.onnx", "--run", "--provider", "cpu", "--precision", "float64")
    assert code == 1
    assert "error     verified-collision: input 'x': two inputs (random)" in out
    assert "float64 on CPUExecutionProvider" in out
    code, out, _ = console("check", "narrow.onnx", "--run", "--provider", "cpu", "--format", "json")
    facts = next(f for f in json.loads(out)["models"][0]["findings"] if f["rule"] == "verified-collision")["facts"]
    assert facts["input_l2"] > 0.1 > 1e-5 > facts["output_max"]
    save(
        models / "wide.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="mm")],
        {"w": random(4, 6)},
        inputs={"x": (1, 4)},
    )
    code, out, _ = console("check", "wide.onnx", "--run", "--provider", "cpu")
    assert (code, "no collision was verified: 'mm' is injective" in out) == (0, True)
    code, out, err = console("check", "open.onnx", "--run", "--provider", "cpu")
    assert (code, "error[unknown-shape]" in err) == (2, True)


def test_a_collision_that_shows_nothing_is_incomplete(models: Path, console: Console) -> None:
    """An offset swallows at float32 whatever the layer computes: no control moves the output, and the gate is not green."""
    save(
        models / "lost.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["h"], name="mm"), helper.make_node("Add", ["h", "c"], ["y"])],
        {"w": random(6, 4), "c": np.full(4, 1e12, np.float32)},
        inputs={"x": (1, 6)},
    )
    code, out, err = console("check", "lost.onnx", "--run", "--provider", "cpu", "--precision", "float32")
    assert code == 2
    assert "error[undecided]" in err + out
    assert "the control moves nothing" in err + out


def test_cuda_is_never_replaced_in_silence(models: Path, console: Console) -> None:
    if cuda_problem() is None:
        pytest.skip("CUDA works here")
    code, _, err = console("check", "narrow.onnx", "--run", "--provider", "cuda")
    assert (code, "narrow.onnx: error[provider]: CUDA was asked for" in err) == (2, True)


def test_energy_of_real_inputs(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    energy = ("check", "models/digits_mlp.onnx", "--data", "models/samples/digits_mlp")
    code, out, _ = console(*energy, "--max", "kernel-energy=0.01")
    assert (code, "kernel-energy: input 'image': of the energy of 8 of 8 given inputs" in out) == (1, True)
    assert console(*energy, "--max", "kernel-energy=1")[0] == 0


@pytest.mark.parametrize("name", ["ppocr_v4_det.onnx", "text_reader_nbits.onnx"])
def test_real_models_that_are_not_plain(name: str, console: Console) -> None:
    code, out, _ = console("check", shared_model(name), "--format", "json", "--time-limit", "0")
    document: dict[str, Any] = json.loads(out)
    assert (code, document["verdict"], document["models"][0]["file"]) == (2, "incomplete", name)


def test_the_list_of_rules(console: Console) -> None:
    code, out, _ = console("check", "--list-rules")
    assert code == 0
    assert "not-analysed            error                      a weight was not analysed" in out
    assert "verified-collision      error with --run" in out
