"""What the exported files do, through onnxruntime, on the held-out side; and the facts of their first weight."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import avg_pool2d, max_pool2d

from scripts.training.recipes import Recipe
from scripts.training.scenes import LUMINANCE, Material, Scenes, to_8_bit

EXAMINATION_SEED = 1
CONFIDENT = 0.9  # samples are chosen among pictures at least this sure, or with masks at least this good ...
READABLE = 0.85  # ... and of whose ink's surroundings at least this share differs clearly from it

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Examination:
    """Held-out scenes and the model's logits for them: (N, 10), or (N, 2, S, S) of a segmentation."""

    scenes: Scenes
    logits: Array


def examine(path: Path, recipe: Recipe, held_out: Material) -> Examination:
    """Run the file on `recipe.held_out_rounds` scenes of every held-out drawing, as 8-bit pictures hold them."""
    generator = torch.Generator().manual_seed(EXAMINATION_SEED)
    picks = torch.arange(len(held_out.labels)).repeat(recipe.held_out_rounds)
    drawn = recipe.examine(held_out, picks, generator)
    scenes = Scenes(to_8_bit(drawn.images), drawn.masks, drawn.labels)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    parts = [session.run(None, {"image": part.numpy()})[0] for part in scenes.images.split(120)]
    return Examination(scenes, np.concatenate(parts))


def scores(examination: Examination, recipe: Recipe) -> dict[str, float]:
    """Accuracy of labels, or pixel accuracy and the digit's intersection over union (all pixels pooled)."""
    guess = examination.logits.argmax(1)
    if not recipe.segments:
        return {"accuracy": float((guess == examination.scenes.labels.numpy()).mean())}
    truth = examination.scenes.masks.numpy()
    union = float(((guess == 1) | (truth == 1)).sum())
    return {
        "pixel_accuracy": float((guess == truth).mean()),
        "iou": float(((guess == 1) & (truth == 1)).sum()) / union,
    }


def facts(path: Path) -> dict[str, int | str]:
    """Size of the file, its parameters, and q and p of the first weight (rows are inputs, columns outputs)."""
    graph = onnx.load(path).graph
    floats = [i for i in graph.initializer if i.data_type == onnx.TensorProto.FLOAT and i.dims]
    first = next(node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul"))
    dims = next(list(i.dims) for i in floats if i.name == first.input[1])
    return {
        "bytes": path.stat().st_size,
        "parameters": sum(int(np.prod(i.dims)) for i in floats),
        "first_weight": first.input[1],
        "q": int(np.prod(dims[1:])),  # Conv and Gemm with transB=1 alike store outputs first
        "p": dims[0],
    }


def write_samples(examination: Examination, recipe: Recipe, folder: Path) -> list[tuple[str, str, str]]:
    """Save the liveliest confident pictures of different digits as PNG files; rows (file, model, label) of labels.csv."""
    rows = []
    (folder / recipe.name / ("masks" if recipe.segments else "")).mkdir(parents=True, exist_ok=True)
    for index in _choose(examination, recipe):
        scenes = examination.scenes
        label = str(int(scenes.labels[index]))
        file = f"{recipe.name}/{label}.png"
        pixels = (scenes.images[index] * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).save(folder / file, optimize=True)
        if recipe.segments:
            label = f"{recipe.name}/masks/{label}.png"
            Image.fromarray((scenes.masks[index] * 255).byte().numpy()).save(folder / label, optimize=True)
        rows.append((file, recipe.name, label))
    return rows


def write_labels(rows: list[tuple[str, str, str]], path: Path) -> None:
    """Merge the rows into labels.csv, replacing those of the same models."""
    fresh = {row[1] for row in rows}
    if path.exists():
        with path.open(newline="") as handle:
            rows = rows + [(r[0], r[1], r[2]) for r in list(csv.reader(handle))[1:] if r[1] not in fresh]
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerows([("file", "model", "label"), *sorted(rows)])


def _choose(examination: Examination, recipe: Recipe) -> list[int]:
    """Indices of the chosen scenes: of the good ones per digit that with the most varied background, then the best digits."""
    good = (_sureness(examination, recipe) >= CONFIDENT) & (_readability(examination.scenes) >= READABLE)
    variety = _variety(examination.scenes)
    labels = examination.scenes.labels.numpy()
    best = []
    for label in range(10):
        candidates = np.flatnonzero((labels == label) & good)
        if len(candidates):
            best.append(int(candidates[variety[candidates].argmax()]))
    chosen = sorted(best, key=lambda index: -variety[index])[: recipe.samples]
    return sorted(chosen, key=lambda index: int(labels[index]))


def _sureness(examination: Examination, recipe: Recipe) -> Array:
    """Probability of the true label, or the mask's intersection over union: one number a scene."""
    if recipe.segments:
        guess, truth = examination.logits.argmax(1) == 1, examination.scenes.masks.numpy() == 1
        overlap: Array = (guess & truth).sum((1, 2)) / (guess | truth).sum((1, 2))
        return overlap
    powers = np.exp(examination.logits - examination.logits.max(1, keepdims=True))
    labels = examination.scenes.labels.numpy()
    probability: Array = powers[np.arange(len(labels)), labels] / powers.sum(1)
    return probability


def _readability(scenes: Scenes) -> Array:
    """Share of the pixels around the ink that differ from it clearly in luminance: one number a scene."""
    ink = (scenes.masks == 1).float().unsqueeze(1)
    luminance = (scenes.images * (LUMINANCE if scenes.images.shape[1] == 3 else 1)).sum(1, keepdim=True)
    ring = max_pool2d(ink, 9, 1, 4) - ink
    of_ink = (luminance * ink).sum((2, 3), keepdim=True) / ink.sum((2, 3), keepdim=True).clamp(min=1)
    clear = ((luminance - of_ink).abs() > 0.2) * ring
    share: Array = (clear.sum((1, 2, 3)) / ring.sum((1, 2, 3)).clamp(min=1)).numpy()
    return share


def _variety(scenes: Scenes) -> Array:
    """Spread of the background's colours, coarse rather than fine, hue above brightness: one number a scene."""
    kernel = max(1, scenes.images.shape[-1] // 16)
    bare = (scenes.masks == 0).float().unsqueeze(1)
    chroma = scenes.images - scenes.images.mean(1, keepdim=True)
    colours = torch.cat([scenes.images * 0.5, chroma * 2], dim=1)
    share = avg_pool2d(bare, kernel)
    coarse = avg_pool2d(colours * bare, kernel)  # times its share
    total = share.sum((2, 3)).clamp(min=1)
    mean = (coarse.sum((2, 3)) / total)[..., None, None]
    squares = (coarse - mean * share) ** 2 / share.clamp(min=0.5)
    spread: Array = (squares.sum((2, 3)) / total).sqrt().mean(1).numpy()
    return spread
