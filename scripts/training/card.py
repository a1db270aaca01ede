"""The model card models/README.md: card.md with the numbers filled in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

from scripts.training import measure
from scripts.training.recipes import RECIPES, Recipe

TEMPLATE = Path(__file__).with_name("card.md")
PACKAGES = ("torch", "onnxscript", "onnx", "onnxruntime", "scikit-learn", "numpy")


def render(results: Mapping[str, Mapping[str, Any]], folder: Path) -> str:
    """The card for the files in `folder` and what was measured of them."""
    return Template(TEMPLATE.read_text()).substitute(
        files=_lines(_file_row(recipe, folder) for recipe in RECIPES),
        results=_lines(_result_row(recipe, results[recipe.name]) for recipe in RECIPES),
        total=sum(results[recipe.name]["seconds"] for recipe in RECIPES),
        architectures=_lines(f"- `{recipe.name}`: {recipe.architecture}." for recipe in RECIPES),
        versions=", ".join(f"{package} {version(package).split('+')[0]}" for package in PACKAGES),
    )


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines)


def _file_row(recipe: Recipe, folder: Path) -> str:
    facts = measure.facts(folder / f"{recipe.name}.onnx")
    shape = "×".join(str(size) for size in recipe.input_shape)
    return (
        f"| `{recipe.name}.onnx` | {facts['bytes']} | {facts['parameters']} | `image` {shape} | `{recipe.output}` "
        f"| `{facts['first_weight']}` | {facts['q']} × {facts['p']} | {recipe.demonstrates} |"
    )


def _result_row(recipe: Recipe, result: Mapping[str, Any]) -> str:
    if recipe.segments:
        said = f"IoU of the digit {100 * result['iou']:.2f} %, pixel accuracy {100 * result['pixel_accuracy']:.2f} %"
    else:
        said = f"accuracy {100 * result['accuracy']:.2f} %"
    return f"| `{recipe.name}.onnx` | {result['pictures']} | {said} | {result['seconds']} s |"
