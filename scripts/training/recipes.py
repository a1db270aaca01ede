"""One recipe a model: the network, its data, how it is trained, and what it demonstrates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scripts.training import fit, networks
from scripts.training.scenes import Material, Scenes, classification_scenes, drawing_scenes, segmentation_scenes

Draw = Callable[[Material, Tensor, torch.Generator], Scenes]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """`draw(material, picks, generator)` makes the scenes to train on, `examine` those to measure on (as PNG keeps them).

    `held_out_rounds` says how many scenes are made of every held-out drawing, `samples` how many become PNG files.
    """

    name: str
    make: Callable[[], nn.Module]
    draw: Draw
    examine: Draw
    input_shape: tuple[int, int, int]
    output: str
    loss: fit.Loss
    schedule: fit.Schedule
    held_out_rounds: int
    samples: int
    architecture: str
    demonstrates: str

    @property
    def segments(self) -> bool:
        return self.output == "mask_logits"


def _large_digits(material: Material, picks: Tensor, generator: torch.Generator) -> Scenes:
    return classification_scenes(material, picks, 64, (0.76, 0.92), generator)


def _digits(material: Material, picks: Tensor, generator: torch.Generator) -> Scenes:
    return classification_scenes(material, picks, 64, (0.62, 0.88), generator)


def _masks(material: Material, picks: Tensor, generator: torch.Generator) -> Scenes:
    return segmentation_scenes(material, picks, 96, generator)


def _drawings(material: Material, picks: Tensor, generator: torch.Generator) -> Scenes:
    return drawing_scenes(material, picks, generator, jitter=False)


def _jittered(material: Material, picks: Tensor, generator: torch.Generator) -> Scenes:
    return drawing_scenes(material, picks, generator, jitter=True)


RECIPES = (
    Recipe(
        name="digits_vit",
        make=networks.DigitsViT,
        draw=_large_digits,
        examine=_large_digits,
        input_shape=(3, 64, 64),
        output="logits",
        loss=fit.token_loss,
        schedule=fit.Schedule(steps=1800, batch=128, rate=1.5e-3, muon=0.02),
        held_out_rounds=5,
        samples=8,
        architecture="patch embedding 16×16 stride 16, width 96, 4 pre-norm transformer blocks (4 heads, GELU, hidden 192), "
        "mean of the tokens, linear head",
        demonstrates="patches do not overlap: the 672 dimensions of the stem's kernel are free in each of the 16 patches, "
        "7/8 of a picture's 12288 dimensions",
    ),
    Recipe(
        name="digits_segmentation",
        make=networks.DigitsSegmentation,
        draw=_masks,
        examine=_masks,
        input_shape=(3, 96, 96),
        output="mask_logits",
        loss=fit.mask_loss,
        schedule=fit.Schedule(steps=600, batch=32, rate=3e-3),
        held_out_rounds=2,
        samples=6,
        architecture="convolution 7×7 stride 4, encoder to 12×12, three 2×2 transposed convolutions up to 96×96, skip from the "
        "stem; classes background and digit",
        demonstrates="patches overlap, yet 24 filters are fewer than the 48 numbers of a 4×4 cell: at least 13824 of a "
        "picture's 27648 dimensions are in the stem's kernel",
    ),
    Recipe(
        name="digits_cnn",
        make=networks.DigitsCNN,
        draw=_digits,
        examine=_digits,
        input_shape=(3, 64, 64),
        output="logits",
        loss=fit.digit_loss,
        schedule=fit.Schedule(steps=1000, batch=64, rate=4e-3),
        held_out_rounds=5,
        samples=8,
        architecture="convolution 3×3 stride 1, four separable blocks (depthwise 3×3 stride 2, pointwise 1×1, shortcut 1×1 "
        "stride 2), two of them with a dense 3×3, global mean, linear head",
        demonstrates="the patch matrix has a kernel of dimension 11, the stem as an operator on pictures has none; the 1×1 "
        "stride-2 shortcuts read a quarter of their input",
    ),
    Recipe(
        name="digits_mlp",
        make=networks.DigitsMLP,
        draw=_jittered,
        examine=_drawings,
        input_shape=(1, 8, 8),
        output="logits",
        loss=fit.digit_loss,
        schedule=fit.Schedule(steps=4000, batch=128, rate=3e-3),
        held_out_rounds=1,
        samples=8,
        architecture="flatten, fully connected 64-32-32-10, ReLU",
        demonstrates="a fully connected first layer: 32 of 64 dimensions of a drawing are in its kernel",
    ),
)
