"""Train and export the models of models/: `python -m scripts.train_models` from the root of the repository.

Needs the extra `train`. One seed, one thread: a second run on the same machine writes the same bytes. `--check`
trains nothing and measures the files that are there; it fails if they do not do what models/results.json claims.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from scripts.training import card, fit, measure
from scripts.training.export import export
from scripts.training.recipes import RECIPES, Recipe
from scripts.training.scenes import Material, Scenes, load_material

MODELS = Path(__file__).resolve().parent.parent / "models"
TOLERANCE = 0.003  # another machine's rounding may move a pixel or two by one level


def main() -> int:
    """Exit code 0, or 1 if a file falls short of what is claimed of it."""
    options = _options()
    fit.deterministic()
    training, held_out = load_material()
    recipes = [recipe for recipe in RECIPES if not options.only or recipe.name in options.only]
    if options.check:
        return max(_check(recipe, held_out, options.out) for recipe in recipes)
    (options.out / "samples").mkdir(parents=True, exist_ok=True)
    for recipe in recipes:
        if not options.measure:
            _make(recipe, training, options.out)
        _measure(recipe, held_out, options.out)
    _write_card(options.out)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[recipe.name for recipe in RECIPES], help="not all four")
    parser.add_argument("--out", type=Path, default=MODELS, help="the folder to write or check (default: models/)")
    parser.add_argument("--measure", action="store_true", help="keep the models; measure, choose samples, write the card")
    parser.add_argument("--check", action="store_true", help="train and write nothing")
    return parser.parse_args()


def _make(recipe: Recipe, training: Material, folder: Path) -> None:
    """Train and export, and record how long it took."""
    print(recipe.name, flush=True)
    start = time.process_time()
    network = fit.fit(recipe.make, partial(_draw, recipe, training), recipe.loss, recipe.schedule)
    _record(folder, recipe, {"seconds": round(time.process_time() - start)})
    export(network, recipe, folder / f"{recipe.name}.onnx")


def _measure(recipe: Recipe, held_out: Material, folder: Path) -> None:
    """Measure the exported file, record the scores, choose the samples."""
    examination = measure.examine(folder / f"{recipe.name}.onnx", recipe, held_out)
    scores = measure.scores(examination, recipe)
    _record(folder, recipe, {**scores, "pictures": len(examination.scenes.labels)})
    print(recipe.name, scores, flush=True)
    for stale in (folder / "samples" / recipe.name).rglob("*.png"):
        stale.unlink()
    measure.write_labels(measure.write_samples(examination, recipe, folder / "samples"), folder / "samples/labels.csv")


def _record(folder: Path, recipe: Recipe, news: dict[str, Any]) -> None:
    results = _results(folder)
    results[recipe.name] = results.get(recipe.name, {}) | news
    (folder / "results.json").write_text(json.dumps(results, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _write_card(folder: Path) -> None:
    """Write README.md, once all four models have results."""
    results = _results(folder)
    if len(results) == len(RECIPES):
        (folder / "README.md").write_text(card.render(results, folder), encoding="utf-8")


def _draw(recipe: Recipe, material: Material, count: int, generator: torch.Generator) -> Scenes:
    return recipe.draw(material, torch.randint(len(material.labels), (count,), generator=generator), generator)


def _check(recipe: Recipe, held_out: Material, folder: Path) -> int:
    """0 if the file scores what results.json says, up to TOLERANCE; 1 if not."""
    claimed = _results(folder)[recipe.name]
    measured = measure.scores(measure.examine(folder / f"{recipe.name}.onnx", recipe, held_out), recipe)
    worst = max(abs(value - claimed[name]) for name, value in measured.items())
    numbers = "  ".join(f"{name} {100 * value:.2f} % (claimed {100 * claimed[name]:.2f} %)" for name, value in measured.items())
    print(f"{recipe.name}  {numbers}  {'ok' if worst <= TOLERANCE else 'DIFFERS'}")
    return int(worst > TOLERANCE)


def _results(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "results.json"
    results: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    return results


if __name__ == "__main__":
    raise SystemExit(main())
