"""Rewrite every model of some folders with the tools that people use, and record what `onnxnull compare` says of each pair.

    python -m scripts.harmless_rewrites FOLDER... --out FOLDER [--images FOLDER] [--table FILE] [--only WORD] [--again]

Needs onnxsim, onnxslim and onnxconverter-common beside onnxnull's own dependencies (pip install onnxsim onnxslim
onnxconverter-common). Every tool is tried on every model, the smallest first; where a tool fails, the table says so. Two files
NAME.torchscript.onnx and NAME.dynamo.onnx (`torch_exports.py`) are a pair themselves. What was found stays in --out, so that
a run that was interrupted goes on; --again compares anew. Models whose activations are quantized are calibrated and judged on
crops of the photographs in --images where they take images, else on random numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import onnxnull
from scripts.rewriting_tools import REWRITES, fixed, inputs, made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, help="where the rewritten models and what was found go; a temporary folder else")
    parser.add_argument("--images", type=Path, help="photographs")
    parser.add_argument("--table", type=Path, help="the table as Markdown")
    parser.add_argument("--only", default="", help="only rewrites and models whose names hold this")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no pair after so many seconds")
    parser.add_argument("--make-only", action="store_true")
    parser.add_argument("--again", action="store_true", help="compare again what was compared")
    options = parser.parse_args()
    if options.images is not None:
        os.environ["PHOTOGRAPHS"] = str(options.images.resolve())
    out, start = options.out or Path(tempfile.mkdtemp()), time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    for source, name, path in _pairs(options.folders, out):
        if options.only not in f"{source.stem} {name}":
            continue
        kept = out / f"{path.stem}.json"
        if kept.exists() and not options.again:
            rows.append(json.loads(kept.read_text(encoding="utf-8")))
            continue
        if time.monotonic() - start > options.seconds:
            continue
        failed = None if name == "torch.export" else made(name, source, path)
        found = {"model": source.stem, "rewrite": name}
        if failed is not None:
            found |= {"outcome": "the tool failed", "because": failed}
        elif options.make_only:
            continue
        else:
            found |= _compared(source, path)
        kept.write_text(json.dumps(found), encoding="utf-8")
        rows.append(found)
        print(*found.values(), sep=" | ", flush=True)
    counted = Counter((row["outcome"], row.get("exit", "")) for row in rows)
    print(*(f"{number} {outcome}, exit {code}" for (outcome, code), number in counted.most_common()), sep="\n")
    if options.table is not None:
        options.table.write_text(_table(rows), encoding="utf-8")
    return 0


def _pairs(folders: list[Path], out: Path) -> Iterator[tuple[Path, str, Path]]:
    """(model, rewrite, rewritten model), smallest models first."""
    sources = [source for folder in folders for source in folder.glob("*.onnx")]
    for source in sorted(sources, key=lambda path: (path.stat().st_size, path.name)):
        if source.name.endswith(".dynamo.onnx"):
            continue
        if source.name.endswith(".torchscript.onnx"):
            yield source, "torch.export", source.with_name(source.name.replace(".torchscript.", ".dynamo."))
            continue
        for name in REWRITES:
            yield source, name, out / f"{source.stem}.{name.replace(' ', '_')}.onnx"


def _compared(a: Path, b: Path) -> dict[str, str]:
    """What the command says; with data where one of the files quantizes activations."""
    start = time.process_time()
    try:
        models = onnxnull.open_model(a), onnxnull.open_model(b)
        found = onnxnull.compare(*models, weights=False)
        quantized = found.graph is not None and found.graph.quantized
        shapes = {i.name: fixed(list(i.shape), i.dtype) for i in found.a.inputs if i.shape is not None and None in i.shape[1:]}
        data = _data(a) if quantized else None
        found = onnxnull.compare(*models, weights=False, running=onnxnull.Running(), data=data, input_shapes=shapes)
    except onnxnull.OnnxnullError as error:
        return {"outcome": f"error {error.code.code}", "exit": str(int(error.exit_code)), "because": error.seen[:200]}
    return {
        "outcome": found.outcome.label,
        "exit": str(int(found.exit_code())),
        "seconds": f"{time.process_time() - start:.1f}",
        "because": "; ".join(found.because)[:300],
    }


def _data(source: Path) -> list[dict[str, np.ndarray]] | None:
    """Sixteen inputs."""
    try:
        return inputs(source, 16, 1)
    except Exception:  # noqa: BLE001 - compare says what is wrong with the file
        return None


_SETTLED = ("identical", "same-graph", "rounded", "quantized", "agrees")


def _table(rows: list[dict[str, str]]) -> str:
    """A row for each model, a column for each rewrite; below it why, of what is none of the first outcomes."""
    names = list(dict.fromkeys(row["rewrite"] for row in rows))
    lines = [f"| model | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    cells = {(row["model"], row["rewrite"]): row for row in rows}
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [cells.get((model, name)) for name in names]
        text = ["" if row is None else "–" if row["outcome"] == "the tool failed" else row["outcome"] for row in own]
        lines.append(f"| {model} | {' | '.join(text)} |")
    lines.append("")
    lines += [
        f"- {row['model']}, {row['rewrite']}: {row['outcome']}: {row['because'].replace('|', '/')}"
        for row in rows
        if row["outcome"] not in _SETTLED
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
