"""Tools that rewrite a model into one that computes the same, or nearly: simplifiers, optimisers, converters, quantizers.

Needs onnxsim, onnxslim and onnxconverter-common. `harmless_rewrites.py` applies them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx

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
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            """Eight inputs."""

            def __init__(self) -> None:
                self.left = iter(inputs(source, 8, 0))

            def get_next(self) -> dict[str, np.ndarray] | None:
                return next(self.left, None)

        quantize_static(str(source), str(out), Reader(), quant_format=getattr(QuantFormat, form), per_channel=per_channel)

    return quantize


def inputs(source: Path, count: int, seed: int) -> list[dict[str, np.ndarray]]:
    """Inputs of a model: crops of photographs for images, random numbers for others."""
    import onnxruntime as ort

    rng = np.random.default_rng(seed)
    session = ort.InferenceSession(str(source), providers=["CPUExecutionProvider"])
    return [{i.name: _input(rng, i.shape, i.type) for i in session.get_inputs()} for _ in range(count)]


def fixed(shape: list[object], kind: str) -> list[int]:
    """One sample, and sizes for what else is open: 96 for images, 512 for sound, 16 for words."""
    other = 96 if len(shape) > 3 else 16 if "int" in kind else 512
    return [size if isinstance(size, int) else other if axis else 1 for axis, size in enumerate(shape)]


def _input(rng: np.random.Generator, shape: list[object], kind: str) -> np.ndarray:
    place = next((axis for axis in (1, 3) if len(shape) == 4 and shape[axis] in (1, 3)), None)
    sizes = fixed(shape, kind)
    if "int" in kind:
        return rng.integers(0, 2, sizes).astype(np.int64 if "64" in kind else np.int32)
    dtype = np.float16 if "16" in kind else np.float64 if "double" in kind else np.float32
    photographs = _photographs(os.environ.get("PHOTOGRAPHS", ""))
    if place is None or not photographs:
        return rng.standard_normal(sizes).astype(dtype)
    height, width = (size if isinstance(size, int) else 96 for axis, size in enumerate(shape) if axis not in (0, place))
    crop = _crop(photographs[rng.integers(len(photographs))], rng, height, width)
    pixels = (crop / 255.0 - 0.45) / 0.225
    pixels = pixels.mean(axis=2, keepdims=True) if shape[place] == 1 else pixels
    one = (pixels.transpose(2, 0, 1) if place == 1 else pixels)[None].astype(dtype)
    return np.ascontiguousarray(np.repeat(one, sizes[0], axis=0))


def _crop(photograph: np.ndarray, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Three quarters of a photograph somewhere, at another size."""
    from PIL import Image

    rows, columns = (size * 3 // 4 for size in photograph.shape[:2])
    top, left = (int(rng.integers(size // 4)) for size in photograph.shape[:2])
    part = Image.fromarray(photograph[top : top + rows, left : left + columns])
    return np.asarray(part.resize((width, height)), np.float64)


@lru_cache(maxsize=1)
def _photographs(folder: str) -> list[np.ndarray]:
    from PIL import Image

    files = [] if not folder else sorted(file for file in Path(folder).iterdir() if file.suffix in (".png", ".jpg", ".jpeg"))
    return [np.asarray(Image.open(file).convert("RGB")) for file in files]


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


def made(name: str, source: Path, out: Path) -> str | None:
    """Why the tool made no model; None where it did. In a child process: some crash."""
    if out.exists():
        return None
    code = (
        "import sys, pathlib; from scripts.rewriting_tools import REWRITES;"
        "REWRITES[sys.argv[1]](*map(pathlib.Path, sys.argv[2:4]))"
    )
    partial = out.with_suffix(".part.onnx")
    here = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-c", code, name, str(source), str(partial)], capture_output=True, text=True, env=here, timeout=600
    )
    if done.returncode or not partial.exists():
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return lines[-1][:160] if lines else f"exit code {done.returncode}"
    partial.rename(out)
    return None
