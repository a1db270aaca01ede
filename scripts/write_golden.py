"""Write the golden files of tests/golden: what each command says, in JSON, of each shipped model.

    python -m scripts.write_golden            all of them
    python -m scripts.write_golden collide    those whose names hold this text

tests/test_golden.py holds a checkout against them: structure, verdicts and integers exactly, floats to 1e-3. What a rounding or
the machine decides is left out; so are `attack` and `replay` of the segmentation model, which take long.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from onnxnull.cli.main import group
from onnxnull.errors import OnnxnullError

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
_MODELS = ("digits_vit", "digits_cnn", "digits_segmentation", "digits_mlp")
_DECIDED_ELSEWHERE = {"versions", "session", "bitwise", "ulps", "noise_ratio", "ratio", "shift", "blocks"}
"""Keys that the machine, the installed packages or single roundings decide; and of proofs the long lists of blocks."""


def _commands() -> Iterator[tuple[str, list[list[str]]]]:
    """Name of a golden file → command lines; the last one's report is what is kept. `OUT` stands for a folder."""
    files = {name: f"models/{name}.onnx" for name in _MODELS}
    for name, file in files.items():
        sample = ["--input", f"models/samples/{name}/0.png", "--provider", "cpu", "--format", "json"]
        quick = ["--precision", "float32"] if name == "digits_segmentation" else []
        collide = ["collide", file, *sample, *quick, "-o", "OUT/evidence"]
        yield f"analyze_{name}", [["analyze", file, "--format", "json"]]
        yield f"prove_{name}", [["prove", file, "-o", "OUT/proofs.json"]]
        yield f"check_{name}", [["check", file, "--format", "json", "--date", "2026-01-01"]]
        yield f"collide_{name}", [collide]
        if name in ("digits_vit", "digits_mlp"):  # the first layer of digits_cnn is injective: there is no bundle
            yield f"replay_{name}", [collide, ["replay", "OUT/evidence", file, "--format", "json"]]
        if name != "digits_segmentation":
            yield f"attack_{name}", [["attack", file, *sample, "--epsilon", "0.3", "--steps", "3", "--count", "1"]]
        yield f"compare_{name}", [["compare", file, files["digits_mlp"], "--no-run", "--format", "json"]]
    yield "compare_run", [["compare", files["digits_vit"], files["digits_cnn"], "--provider", "cpu", "--format", "json"]]


COMMANDS = dict(_commands())


def answer(lines: list[list[str]], folder: Path) -> dict[str, Any]:
    """What the last of these commands says: its line, exit code, codes of errors, and the document less what is left out."""
    with chdir(ROOT):
        for line in lines:
            out = CliRunner().invoke(group, [word.replace("OUT", str(folder)) for word in line], standalone_mode=False)
            if out.exception is not None and not isinstance(out.exception, OnnxnullError):
                raise out.exception
    said = f"{out.stderr}\n{out.exception}"
    written = folder / "proofs.json"
    text = written.read_text(encoding="utf-8") if written.exists() else out.stdout
    code = out.exception.exit_code if isinstance(out.exception, OnnxnullError) else out.return_value or out.exit_code
    return {
        "command": " ".join(["onnxnull", *lines[-1]]),
        "exit_code": int(code),
        "errors": re.findall(r"error\[([a-z-]+)\]", said),
        "document": _kept(json.loads(text)) if text else None,
    }


def _kept(value: Any) -> Any:
    """Without what is decided elsewhere, floats to 5 digits."""
    if isinstance(value, dict):
        elsewhere = _DECIDED_ELSEWHERE | ({"scale"} if "noise" in value else set())  # of the channel that a rounding moves most
        return {key: _kept(inner) for key, inner in value.items() if key not in elsewhere}
    if isinstance(value, list):
        return [_kept(inner) for inner in value if not (isinstance(inner, str) and inner.startswith("0x"))]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def render(found: dict[str, Any]) -> str:
    """The text of a golden file; a list of numbers or names on one line."""
    text = json.dumps(found, indent=1, ensure_ascii=False)
    return re.sub(r"\[\n\s+([^\[\]{}]*?)\n\s+\]", lambda found: "[" + re.sub(r"\n\s+", " ", found[1]) + "]", text) + "\n"


def main() -> None:
    """Write the files whose names hold one of the arguments, or all."""
    GOLDEN.mkdir(exist_ok=True)
    for name, lines in COMMANDS.items():
        if all(word in name for word in sys.argv[1:]):
            with tempfile.TemporaryDirectory() as folder:
                (GOLDEN / f"{name}.json").write_text(render(answer(lines, Path(folder))), encoding="utf-8")


if __name__ == "__main__":
    main()
