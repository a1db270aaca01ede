"""Where the report goes: stdout, a file in one step, a closed pipe; and what comes with it on stderr."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from onnxnull.cli import options
from tests.shared import matmul, random, save

from .console import ENVIRONMENT, onnxnull

root_may_write_anywhere = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind this user"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    matmul(tmp_path / "m.onnx", random(6, 4))
    return tmp_path


def test_file_holds_what_stdout_would(folder: Path) -> None:
    for form in ("text", "json", "csv", "markdown"):
        printed = onnxnull("analyze", "m.onnx", "--format", form, cwd=folder)
        written = onnxnull("analyze", "m.onnx", "--format", form, "-o", "report", cwd=folder)
        assert (written.stdout, written.stderr, written.returncode) == ("", "", 0)
        assert (folder / "report").read_text(encoding="utf-8") == printed.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["m.onnx", "report"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_mode_respects_the_umask(folder: Path, umask: int, mode: int) -> None:
    onnxnull("analyze", "m.onnx", "-o", "report", cwd=folder, umask=umask)
    assert stat.S_IMODE((folder / "report").stat().st_mode) == mode


def test_an_old_file_keeps_its_mode_and_a_link_its_target(folder: Path) -> None:
    (folder / "old").write_text("old")
    (folder / "old").chmod(0o640)
    (folder / "link").symlink_to("old")
    onnxnull("analyze", "m.onnx", "-o", "link", cwd=folder)
    assert (folder / "link").is_symlink()
    assert (folder / "old").read_text(encoding="utf-8").startswith("m.onnx")
    assert stat.S_IMODE((folder / "old").stat().st_mode) == 0o640


def test_the_longest_file_name(folder: Path) -> None:
    assert onnxnull("analyze", "m.onnx", "-o", "r" * 255, cwd=folder).returncode == 0
    assert onnxnull("analyze", "m.onnx", "-o", "r" * 256, cwd=folder).returncode in (2, 4)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_written_to_not_replaced(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with subprocess.Popen(["cat", "pipe"], cwd=folder, stdout=subprocess.PIPE, encoding="utf-8") as reader:
        assert onnxnull("analyze", "m.onnx", "-o", "pipe", cwd=folder).returncode == 0
        assert reader.communicate(timeout=600)[0].startswith("m.onnx")
    assert (folder / "pipe").is_fifo()


@root_may_write_anywhere
def test_an_unwritable_folder(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir()
    (closed / "report").write_text("old")
    closed.chmod(0o555)
    run = onnxnull("analyze", "m.onnx", "-o", "closed/report", cwd=folder)
    closed.chmod(0o755)
    assert (run.returncode, run.stdout) == (2, "")
    assert "error[output]" in run.stderr
    assert (closed / "report").read_text() == "old"
    assert len(list(closed.iterdir())) == 1


def test_an_old_file_survives_a_failed_replacement(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxnull.cli import options
    from onnxnull.errors import Code, OnnxnullError

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    report = folder / "report"
    report.write_text("old")
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OnnxnullError) as caught:
        options.emit("new", report)
    assert caught.value.code is Code.OUTPUT
    assert report.read_text() == "old"
    assert sorted(path.name for path in folder.iterdir()) == ["m.onnx", "report"]


def test_the_output_is_checked_before_the_work(folder: Path) -> None:
    run = onnxnull("analyze", "absent.onnx", "-o", "absent/report", cwd=folder)
    assert run.stderr.startswith("error[output]: 'absent/report': its folder does not exist")
    assert "file-not-found" not in run.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_full_disk_behind_stdout(folder: Path, form: str) -> None:
    command = [sys.executable, "-m", "onnxnull", "analyze", "m.onnx", "--format", form]
    with open("/dev/full", "w") as full:
        run = subprocess.run(command, cwd=folder, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, encoding="utf-8")
    assert run.returncode == 2
    assert run.stderr == "error[output]: stdout: No space left on device; check where it leads\n"


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's pipe")
@pytest.mark.parametrize("reader", ["head -1", "true"])
def test_a_reader_that_leaves(folder: Path, reader: str) -> None:
    nodes, value = [], "x"
    for i in range(300):  # more than a pipe holds
        nodes.append(helper.make_node("MatMul", [value, f"w{i}"], [f"v{i}"], name="n" * 100))
        value = f"v{i}"
    constants = {f"w{i}": random(2, 2, seed=i) for i in range(300)}
    save(folder / "many.onnx", nodes, constants, output=value)
    line = f"{sys.executable} -m onnxnull analyze many.onnx --format json | {reader}"
    run = subprocess.run(["bash", "-c", line], cwd=folder, env=ENVIRONMENT, capture_output=True, encoding="utf-8")
    assert run.stderr == ""


def test_stdout_is_utf_8_whatever_the_locale(folder: Path) -> None:
    env = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    run = subprocess.run([sys.executable, "-m", "onnxnull", "analyze", "m.onnx"], cwd=folder, env=env, capture_output=True)
    assert run.returncode == 0
    assert "σ max" in run.stdout.decode("utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="file names are text there")
def test_a_path_that_is_no_utf_8(folder: Path) -> None:
    name = os.fsdecode(b"w\xff.onnx")
    try:
        matmul(folder / name, random(3, 3))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    for form in ("text", "json", "csv", "markdown"):
        run = onnxnull("analyze", name, name + "x", "--format", form, cwd=folder)
        assert run.returncode == 2
        assert "Traceback" not in run.stderr


class TestOptions:
    """What the options do."""

    @pytest.fixture
    def mixed(self, folder: Path) -> Path:
        """Weights a: 8×2, b: 4×4 of rank 1, c: 9×5, in this order."""
        b = np.outer([1, 2, 3, 4], [1, 1, 2, 2]).astype(np.float32)
        nodes = [
            helper.make_node("MatMul", ["x", "a"], ["p"]),
            helper.make_node("MatMul", ["u", "b"], ["q"]),
            helper.make_node("MatMul", ["v", "c"], ["r"]),
            helper.make_node("Concat", ["p", "q", "r"], ["y"], axis=1),
        ]
        inputs = {"x": (1, 8), "u": (1, 4), "v": (1, 9)}
        return save(folder / "mixed.onnx", nodes, {"a": random(8, 2), "b": b, "c": random(9, 5)}, inputs=inputs)

    @pytest.mark.parametrize(
        ("sort", "order"),
        [("graph", "abc"), ("nullity", "acb"), ("share", "abc"), ("deficiency", "bac"), ("size", "cab")],
    )
    def test_sort(self, mixed: Path, sort: str, order: str) -> None:
        run = onnxnull("analyze", mixed, "--sort", sort, "--format", "csv")
        assert "".join(row["name"] for row in csv.DictReader(io.StringIO(run.stdout))) == order

    def test_input_shape(self, folder: Path) -> None:
        run = onnxnull("analyze", "m.onnx", "--input-shape", "x:7,6", "--format", "json", cwd=folder)
        assert json.loads(run.stdout)["models"][0]["model"]["inputs"] == [{"name": "x", "dtype": "float32", "shape": [7, 6]}]

    def test_several_models_are_table_1(self, folder: Path) -> None:
        run = onnxnull("analyze", "m.onnx", "m.onnx", cwd=folder)
        assert run.stdout.splitlines()[1].split() == ["m.onnx", "1", "1", "100%", "1", "100%", "2", "2"]


@pytest.mark.parametrize(
    ("model", "told"), [("m.onnx", "e m.onnx"), ("a b.onnx", "e 'a b.onnx'"), ("\udcff.onnx", "e '\udcff.onnx'")]
)
def test_the_command_that_verifies_again_is_one_that_a_shell_reads(
    model: str, told: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Also where a name is bytes that are no text: they are printed, and written, as they are."""
    line = options.verify_again(Path("e"), model)
    options.emit(line, None)
    options.emit(line, tmp_path / "report")
    printed = capfdbinary.readouterr().out
    assert (
        printed
        == (tmp_path / "report").read_bytes()
        == os.fsencode(f"evidence: e; verify it again with: onnxnull replay {told}\n")
    )
