"""Rewrite every model of a folder with the tools that people use, and record what `onnxnull compare` says of each pair.

    python scripts/harmless_rewrites.py FOLDER [--out FOLDER] [--table FILE] [--only WORD]

Needs onnxsim, onnxslim and onnxconverter-common beside onnxnull's own dependencies (pip install onnxsim onnxslim
onnxconverter-common). Every tool is tried on every model; where a tool fails, the table says so.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

import onnxnull

Rewrite = Callable[[Path, Path], None]


def _onnxsim(source: Path, out: Path) -> None:
    import onnxsim  # type: ignore[import-not-found]

    made, _ = onnxsim.simplify(onnx.load(source))
    onnx.save(made, out)


def _onnxslim(source: Path, out: Path) -> None:
    import onnxslim  # type: ignore[import-not-found]

    onnx.save(onnxslim.slim(onnx.load(source)), out)


def _onnxruntime(level: str) -> Rewrite:
    def optimise(source: Path, out: Path) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_{level}")
        options.optimized_model_filepath = str(out)
        options.log_severity_level = 4
        ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])

    return optimise


def _float16_common(source: Path, out: Path) -> None:
    from onnxconverter_common import float16  # type: ignore[import-not-found]

    onnx.save(float16.convert_float_to_float16(onnx.load(source)), out)


def _float16_common_keep(source: Path, out: Path) -> None:
    from onnxconverter_common import float16

    onnx.save(float16.convert_float_to_float16(onnx.load(source), keep_io_types=True), out)


def _float16_onnxruntime(source: Path, out: Path) -> None:
    from onnxruntime.transformers import float16

    onnx.save(float16.convert_float_to_float16(onnx.load(source), keep_io_types=True), out)


def _version(by: int) -> Rewrite:
    def convert(source: Path, out: Path) -> None:
        from onnx import version_converter

        model = onnx.load(source)
        (version,) = (o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        target = min(by, onnx.defs.onnx_opset_version())
        if target == version:
            raise ValueError("already of this opset")
        onnx.save(version_converter.convert_version(model, target), out)

    return convert


def _prepared(source: Path, out: Path) -> None:
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(str(source), str(out), skip_symbolic_shape=True)


def _dynamic(source: Path, out: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(str(source), str(out))


def _static(form: str, *, per_channel: bool) -> Rewrite:
    def quantize(source: Path, out: Path) -> None:
        import onnxruntime as ort
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

        session = ort.InferenceSession(str(source), providers=["CPUExecutionProvider"])
        rng = np.random.default_rng(0)

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            """Eight random inputs."""

            def __init__(self) -> None:
                self.left = 8

            def get_next(self) -> dict[str, np.ndarray] | None:
                self.left -= 1
                if self.left < 0:
                    return None
                return {i.name: _random(rng, i.shape, i.type) for i in session.get_inputs()}

        quantize_static(str(source), str(out), Reader(), quant_format=getattr(QuantFormat, form), per_channel=per_channel)

    return quantize


def _random(rng: np.random.Generator, shape: list[object], kind: str) -> np.ndarray:
    sizes = [size if isinstance(size, int) else 1 for size in shape]
    if "int" in kind:
        return rng.integers(0, 2, sizes).astype(np.int64 if "64" in kind else np.int32)
    return rng.standard_normal(sizes).astype(np.float16 if "16" in kind else np.float64 if "double" in kind else np.float32)


REWRITES: dict[str, Rewrite] = {
    "onnxsim": _onnxsim,
    "onnxslim": _onnxslim,
    "onnxruntime basic": _onnxruntime("ENABLE_BASIC"),
    "onnxruntime extended": _onnxruntime("ENABLE_EXTENDED"),
    "onnxruntime all": _onnxruntime("ENABLE_ALL"),
    "onnxruntime quant_pre_process": _prepared,
    "float16 onnxconverter-common": _float16_common,
    "float16 onnxconverter-common keep_io": _float16_common_keep,
    "float16 onnxruntime keep_io": _float16_onnxruntime,
    "opset 13": _version(13),
    "opset 18": _version(18),
    "opset 21": _version(21),
    "dynamic int8": _dynamic,
    "static QDQ per tensor": _static("QDQ", per_channel=False),
    "static QDQ per channel": _static("QDQ", per_channel=True),
    "static QOperator": _static("QOperator", per_channel=False),
}


def _made(name: str, source: Path, out: Path) -> str | None:
    """Why the tool made no model; None where it did. In a child process: some crash."""
    if out.exists():
        return None
    code = "import sys, pathlib, harmless_rewrites as h; h.REWRITES[sys.argv[1]](*map(pathlib.Path, sys.argv[2:4]))"
    partial = out.with_suffix(".part.onnx")
    here = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-c", code, name, str(source), str(partial)], capture_output=True, text=True, env=here, timeout=600
    )
    if done.returncode or not partial.exists():
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return lines[-1][:160] if lines else f"exit code {done.returncode}"
    partial.rename(out)
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, help="where the rewritten models go; a temporary folder else")
    parser.add_argument("--table", type=Path, help="the table as Markdown")
    parser.add_argument("--only", default="", help="only rewrites and models whose names hold this")
    parser.add_argument("--make-only", action="store_true")
    options = parser.parse_args()
    out = options.out or Path(tempfile.mkdtemp())
    out.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, str, str]] = []
    for source in sorted(options.folder.glob("*.onnx")):
        for name in REWRITES:
            if options.only not in f"{source.stem} {name}":
                continue
            path = out / f"{source.stem}.{name.replace(' ', '_')}.onnx"
            failed = _made(name, source, path)
            if failed is not None:
                rows.append((source.stem, name, f"the tool failed: {failed}"))
            elif not options.make_only:
                rows.append((source.stem, name, _compared(source, path)))
            if failed is not None or not options.make_only:
                print(*rows[-1], sep=" | ", flush=True)
    judged = Counter(row[2].split(",")[0] for row in rows if not row[2].startswith("the tool"))
    print(dict(judged))
    if options.table is not None:
        options.table.write_text(_table(rows), encoding="utf-8")
    return 0


def _compared(a: Path, b: Path) -> str:
    """The graphs first; where they settle nothing both models are run."""
    start = time.perf_counter()
    try:
        found = onnxnull.compare(a, b, weights=False)
        if int(found.exit_code()) != 0:
            found = onnxnull.compare(a, b, weights=False, running=onnxnull.Running(), data=_data(a))
    except onnxnull.OnnxnullError as error:
        return f"error {error.code.code}, {error.seen[:120]}"
    seconds = time.perf_counter() - start
    why = "; ".join(found.because)
    return f"{found.outcome.label}, exit {int(found.exit_code())}, {seconds:.1f} s, {why[:200]}"


def _data(source: Path) -> list[dict[str, np.ndarray]] | None:
    """Sixteen inputs like those that quantizers were calibrated on, in place of data."""
    import onnxruntime as ort

    try:
        session = ort.InferenceSession(str(source), providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - compare says what is wrong with the file
        return None
    rng = np.random.default_rng(1)
    return [{i.name: _random(rng, i.shape, i.type) for i in session.get_inputs()} for _ in range(16)]


def _table(rows: list[tuple[str, str, str]]) -> str:
    lines = ["| model | rewrite | verdict |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {a} | {b} | {c.replace('|', '/')} |" for a, b, c in rows)]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
