"""The commands that the README gives a newcomer, and those that make its numbers and its picture."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxnull.collision.cases import Case
from onnxnull.collision.output_change import compare
from onnxnull.collision.results import Change, Collision, RunVerdict
from onnxnull.collision.search import Execution, Place, Search
from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.model import open_model
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.providers import Provider, cuda_problem
from scripts import explore_collisions, gpu_check
from scripts.ball_networks import random_network
from tests.collision.searches import dense, saved
from tests.helpers import model, value

ROOT = Path(__file__).resolve().parents[1]
MLP, CNN = (ROOT / "models" / f"digits_{name}.onnx" for name in ("mlp", "cnn"))


def script(name: str, *arguments: str | Path, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run it from `folder`; Python files with this interpreter."""
    command = [ROOT / "scripts" / name, *arguments]
    if name.endswith(".py"):
        command = [Path(sys.executable), *command]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, encoding="utf-8", check=False)


def test_the_demo_runs_from_any_folder(tmp_path: Path) -> None:
    """`scripts/test` runs this; without the environment that it makes, the demo would install one."""
    if not (ROOT / ".venv" / ".installed-dev").exists():
        pytest.skip("scripts/test has not made its environment")
    run = script("demo", folder=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "it ignores 10,752 (87.5 %) of the input's 12,288 dimensions (proved at the float64 cut-off)" in run.stdout
    for precision, most in (("float64", 1e-11), ("float32", 1e-4)):
        found = re.search(
            rf"{precision} on \w+: (bitwise|rounding|unbounded) (?s:.*?)max \|Δ\| (\S+),.*moves it by (\S+)", run.stdout
        )
        assert found is not None
        moved, control = float(found[2]), float(found[3])
        assert moved < most
        assert 1000 * moved < control
    assert "1 of 1 collision confirmed here" in run.stdout
    picture = Path(run.stdout.split("the picture: ")[1].strip())
    assert picture.name == "figure.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_readme_begins_with_the_two_commands_and_the_picture() -> None:
    first_screen = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:30]
    assert any(line == "$ scripts/demo" for line in first_screen)
    assert any(line == "$ scripts/test" for line in first_screen)
    pictures = [match[1] for line in first_screen if (match := re.match(r"!\[.*\]\((.*)\)", line))]
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)


def test_the_picture_shows_a_collision(tmp_path: Path) -> None:
    run = script("make_picture.py", "-o", tmp_path / "collision.png", folder=tmp_path)
    found = re.search(r"max \|Δ logits\| = (\S+); the control's is (\S+)", run.stdout)
    assert found is not None, run.stderr
    moved, control = float(found[1]), float(found[2])
    assert moved < 1e-5 < 1 < control
    assert (tmp_path / "collision.png").read_bytes().startswith(b"\x89PNG")


def test_the_benchmark_splits_what_a_collision_takes(tmp_path: Path) -> None:
    run = script("benchmark.py", "--only", "collision", "--repeat", "1", "--model", MLP, "-o", "b.json", folder=tmp_path)
    assert run.returncode == 0, run.stderr
    rows = {row["name"]: row["median"] for row in json.loads((tmp_path / "b.json").read_text())["results"]}
    for pattern in ("random", "toward"):
        parts = [rows[f"{pattern}, {part}"] for part in ("build", "float64", "float32")]
        assert all(part > 0 for part in parts)
        assert sum(parts) == pytest.approx(rows[f"{pattern}, everything"])
    assert len(rows) == 9


def test_the_benchmark_measures_gradients(tmp_path: Path) -> None:
    run = script("benchmark.py", "--only", "gradient", "--repeat", "1", "--model", MLP, "-o", "b.json", folder=tmp_path)
    assert run.returncode == 0, run.stderr
    rows = {row["name"]: row for row in json.loads((tmp_path / "b.json").read_text())["results"]}
    for precision in ("float32", "float64"):
        forward = rows[f"{precision} forward, 10×"]["median"]
        for name in ("gradient", "tangent", "Jacobian row"):
            row = rows[f"{precision} {name}, 10×"]
            assert row["ratio"] == pytest.approx(forward / row["median"])
    assert len(rows) == 8


def test_new_examples_are_those_of_the_seed(tmp_path: Path) -> None:
    """A round that fails is told with the command that finds it again; what the options leave is pytest's."""
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"), encoding="utf-8")
    made = tmp_path / "test_examples.py"
    made.write_text(
        "from hypothesis import given, strategies\n"
        "@given(strategies.integers(0, 1 << 60))\n"
        "def test_sees(n):\n"
        "    open(__file__ + '.seen', 'a').write(f'{n}\\n')\n"
        "@given(strategies.integers(0, 100))\n"
        "def test_fails(n):\n"
        "    assert n < 50\n"
        "def test_has_no_examples():\n"
        "    raise AssertionError\n",
        encoding="utf-8",
    )
    drawn = Path(f"{made}.seen")
    run = script("explore.py", "--rounds", "2", "--seed", "7", made, "-k", "sees", folder=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 rounds from seed 7, 0 with failures: []" in run.stdout
    seen = drawn.read_text(encoding="utf-8").splitlines()
    first, second = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert first != second
    drawn.unlink()
    run = script("explore.py", "--rounds", "1", "--seed", "7", made, folder=tmp_path)
    assert drawn.read_text(encoding="utf-8").splitlines() == first
    assert run.returncode == 1
    assert "again: python -m pytest -m hypothesis --hypothesis-profile=explore --hypothesis-seed=7" in run.stdout
    assert "test_has_no_examples" not in run.stdout


def test_broken_models_are_broken_and_none_passes(tmp_path: Path) -> None:
    run = script("explore_broken_models.py", "--seed", "1", "--cases", "4", folder=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"^0 of \d+ healthy models did not pass$", run.stdout, re.MULTILINE)
    counts = r"^seed 1: 4 broken models among cases 0 to \d+, 0 passed, 0 more without --run$"
    assert re.search(counts, run.stdout, re.MULTILINE)


@pytest.mark.skipif(cuda_problem() is None, reason="CUDA works here")
@pytest.mark.parametrize("how", ["option", "environment"])
def test_gpu_check_without_cuda_says_so(tmp_path: Path, how: str) -> None:
    python = sys.executable
    if how == "option":
        run = script("gpu_check", "--python", python, folder=tmp_path)
    else:
        run = script("gpu_check", folder=tmp_path, ONNXNULL_PYTHON=python)
    assert run.returncode == 3
    assert re.fullmatch(r"no CUDA here: .+\n", run.stdout)


def test_gpu_check_names_an_interpreter_without_the_dependencies(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    run = script("gpu_check", "--python", bare, folder=tmp_path)
    assert run.returncode == 2
    assert f"{bare} lacks what onnxnull depends on" in run.stderr


class TestGpuCheck:
    """Its logic, with the CPU provider in the place of CUDA."""

    def test_every_step_passes(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr(gpu_check, "SHIPPED", (MLP, CNN))
        assert gpu_check.main([], Provider.CPU) == 0
        shown = capsys.readouterr().out
        assert "13 of 13 steps pass" in shown
        assert shown.count("\nPASS ") == 13
        assert "FAIL" not in shown
        assert "digits_cnn.onnx: 4 of 16 weights have a kernel, nullities sum to 993" in shown
        assert "not run: CPUExecutionProvider computes float16 in float32" in shown
        assert "02_Conv float64 on CPU: rounding; kernel" in shown  # the CNN is injective on images
        assert "image made on CPU, replayed on CPU: float64 rounding, float32 rounding" in shown

    def test_a_model_that_is_absent_fails_and_stops_nothing(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        monkeypatch.setattr(gpu_check, "SHIPPED", ())
        path = saved(tmp_path, dense(np.ones((4, 2), np.float32)))
        assert gpu_check.main(["absent.onnx", str(path)], Provider.CPU) == 1
        shown = capsys.readouterr().out
        assert "error[file-not-found]" in shown
        assert "8 of 9 steps pass\nFAIL the models open\n" in shown
        assert "PASS model.onnx: replay on the other provider" in shown

    def test_without_a_kernel_there_is_nothing_to_find(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        subject = gpu_check.Subject.of(saved(tmp_path, dense(np.eye(3, dtype=np.float32))))
        assert subject.case.source == "random"
        assert gpu_check.step("exchange", gpu_check.exchange(subject, Provider.CPU)) == ("exchange", True)
        assert "nothing to find: " in capsys.readouterr().out

    def test_layers_that_do_not_collide_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        subject = gpu_check.Subject.of(CNN)

        def misses(search: Search, *_: object) -> Iterator[Collision]:
            if search.place.layer is None:
                raise OnnxnullError(Code.INJECTIVE, "the input")
            search.skipped.append(OnnxnullError(Code.INJECTIVE, "'a layer' is injective"))
            yield from ()

        monkeypatch.setattr(Search, "run", misses)
        with pytest.raises(OnnxnullError, match="no layer collides: 'a layer' is injective"):
            subject.collide([Precision.FLOAT32], [Provider.CPU])

    def test_a_quantized_model_runs_as_it_is(self, tmp_path: Path) -> None:
        kinds = [value(name, [1, 2], onnx.TensorProto.INT8) for name in ("x", "w")]
        node = onnx.helper.make_node("MatMulInteger", ["x", "w"], ["y"])
        weight = {"w": np.ones((2, 2), np.int8)}
        proto = model([node], weight, inputs=kinds[:1], outputs=[value("y", None, onnx.TensorProto.INT32)])
        subject = gpu_check.Subject.of(saved(tmp_path, proto))
        assert list(gpu_check.agreement(subject, Provider.CPU)) == [(True, "y native: max |Δ| 0, relative - of at most 0.01")]

    def test_outputs_that_are_too_far_apart_fail(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def shifted(name: str, before: np.ndarray, after: np.ndarray) -> Change:
            return compare(name, before, after * (1 + 3e-5))

        monkeypatch.setattr(gpu_check, "compare", shifted)
        (double, _), (single, _) = gpu_check.agreement(gpu_check.Subject.of(MLP), Provider.CPU)
        assert (double, single) == (False, True)

    def test_what_is_broken_or_not_seen_fails(self) -> None:
        _, (found,) = gpu_check.Subject.of(MLP).collide([Precision.FLOAT32], [Provider.CPU])
        (run,) = found.runs
        assert gpu_check.judged(found, run)[0]
        assert not gpu_check.judged(found, replace(run, verdict=RunVerdict.BROKEN))[0]
        assert not gpu_check.judged(found, replace(run, control=run.outputs))[0]

    def test_float16_fails_where_it_is_not_for_want_of_a_provider(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuses(*_: object) -> Iterator[tuple[bool, str]]:
            raise OnnxnullError(Code.RUNTIME, "refused")

        monkeypatch.setattr(gpu_check, "collisions", refuses)
        assert not gpu_check.step("half", gpu_check.half(gpu_check.Subject.of(MLP), Provider.CPU))[1]

    def test_a_step_that_dies_fails(self, capsys: pytest.CaptureFixture[str]) -> None:
        def dies() -> Iterator[tuple[bool, str]]:
            yield True, "so far"
            raise ZeroDivisionError

        assert gpu_check.step("a step", dies()) == ("a step", False)
        shown = capsys.readouterr().out
        assert "ZeroDivisionError" in shown
        assert shown.endswith("FAIL a step\n")


@pytest.mark.parametrize(("seed", "kind"), [(1, "native, holds"), (3, "quantized input, holds"), (6, "holds")])
def test_random_networks_are_held_against_balls(seed: int, kind: str, tmp_path: Path) -> None:
    """A collision that holds is true over the real numbers; a pair that is called one and is none is found out."""
    assert explore_collisions.explored(seed, tmp_path) == (kind, [], [])
    rng = np.random.default_rng(seed)
    net, x = random_network(rng)
    (tmp_path / "model.onnx").write_bytes(net.model(x.size).SerializeToString())
    search = Search(open_model(tmp_path / "model.onnx", input_shapes={"x": x.shape}), Place(), Execution())
    (found,) = search.run(Case("random", {"x": x}), explore_collisions.random_recipe(rng, x))
    other = replace(found, colliding=found.control)
    assert any(explore_collisions.violations(net, net.at, run, other) for run in found.runs)
