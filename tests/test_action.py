"""The GitHub action without GitHub: its script does what its inputs say, and its files name what is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "models"


def action(folder: Path, *, models: str, **inputs: str) -> tuple[int, dict[str, str], str]:
    """(exit code, outputs, the job's summary) of scripts/action, as action.yml would run it in `folder`."""
    output, summary = folder / "output", folder / "summary"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "MODELS": models}
    env |= {
        "SARIF": "onnxnull.sarif",
        "COMMENT": "onnxnull.md",
        "GITHUB_OUTPUT": str(output),
        "GITHUB_STEP_SUMMARY": str(summary),
    }
    env |= inputs
    command: list[str | Path] = [ROOT / "scripts" / "action", sys.executable, "-m", "onnxnull"]
    run = subprocess.run(command, cwd=folder, env=env, capture_output=True, encoding="utf-8", check=False)
    outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
    return run.returncode, outputs, summary.read_text(encoding="utf-8") if summary.exists() else ""


def test_a_model_that_passes(tmp_path: Path) -> None:
    options = "--fail-on=error\n--rule=dead-outputs=off\n"
    named = f"\n{MODELS}/digits_cnn.onnx\n  \n{MODELS}/*_mlp.onnx\n"
    code, outputs, summary = action(tmp_path, models=named, ARGUMENTS=options)
    assert (code, outputs) == (0, {"verdict": "pass", "exit-code": "0"})
    assert "PASS: 2 models, 2 passed" in summary
    assert (tmp_path / "onnxnull.sarif").exists()


def test_a_policy_that_is_violated(tmp_path: Path) -> None:
    (tmp_path / "my policy.toml").write_text("rules.input-collisions = 'error'\n")
    code, outputs, summary = action(tmp_path, models=f"{MODELS}/digits_mlp.onnx", POLICY="my policy.toml")
    assert (code, outputs["verdict"]) == (1, "fail")
    assert "my policy.toml" in summary


@pytest.mark.parametrize(
    ("models", "inputs", "verdict"),
    [
        ("", {}, "usage"),
        ("absent/*.onnx", {}, "incomplete"),
        ("$(touch pwned)\n`touch pwned`;touch pwned\n--help", {}, "incomplete"),
        (f"{MODELS}/digits_mlp.onnx", {"BASELINE": "absent.json"}, "incomplete"),
        (f"{MODELS}/digits_mlp.onnx", {"ARGUMENTS": "--bogus"}, "usage"),
    ],
)
def test_what_cannot_be_checked_is_never_a_pass(models: str, inputs: dict[str, str], verdict: str, tmp_path: Path) -> None:
    (tmp_path / "onnxnull.sarif").write_text("of an earlier run")
    code, outputs, _ = action(tmp_path, models=models, **inputs)
    assert code == int(outputs["exit-code"]) == {"usage": 4, "incomplete": 2}[verdict]
    assert outputs["verdict"] == verdict
    assert not (tmp_path / "pwned").exists()
    sarif = tmp_path / "onnxnull.sarif"
    assert not sarif.exists() or sarif.read_text() != "of an earlier run"


def test_action_yml_hands_every_input_on_and_pastes_none_into_a_script() -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    script = (ROOT / "scripts" / "action").read_text(encoding="utf-8")
    declared = set(re.findall(r"^  ([a-z]+):\n    description:", text.partition("outputs:")[0], re.MULTILINE))
    handed = dict(re.findall(r"^        ([A-Z]+): \$\{\{ inputs\.([a-z]+) \}\}$", text, re.MULTILINE))
    assert set(handed.values()) == declared
    assert text.count("${{ inputs.") == len(handed)
    assert set(handed) - {"PYTHON"} == set(re.findall(r"\$\{?([A-Z]{5,})\b", script)) & set(handed)
    outputs = set(re.findall(r"steps\.check\.outputs\.([a-z-]+)", text))
    assert all(f"{name}=%s" in script for name in outputs)


def test_the_hook_runs_a_command_that_exists() -> None:
    text = (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    entry = re.search(r"^  entry: onnxnull (\w+)$", text, re.MULTILINE)
    assert entry is not None
    from onnxnull.cli.main import group

    assert group.get_command(None, entry[1]) is not None  # type: ignore[arg-type]
    pattern = re.search(r"^  files: (.*)$", text, re.MULTILINE)
    assert pattern is not None
    assert [bool(re.search(pattern[1], name)) for name in ("models/a.onnx", "a.onnx.md", "aonnx")] == [True, False, False]
