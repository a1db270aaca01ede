"""Pictures to train on: real handwritten digits laid over real photographs, both shipped inside scikit-learn.

Two splits that never meet: `digits` are split by drawing, photographs by column (train on the left, test on the
right). All tensors are NCHW float32 in [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits, load_sample_images
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate, pad

SPLIT_SEED = 0
HELD_OUT_FRACTION = 0.2
PHOTO_TRAIN_COLUMNS = slice(0, 370)
PHOTO_TEST_COLUMNS = slice(370, 640)
INK = (0.25, 0.55)  # the bicubic grey levels between which a stroke goes from absent to opaque
MIN_CONTRAST = 0.45  # luminance between a digit and the photograph behind it
LUMINANCE = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)


@dataclass(frozen=True)
class Material:
    """One side of the split: `drawings` (N, 1, 8, 8), `labels` (N,), `photos` (P, 3, H, W)."""

    drawings: Tensor
    labels: Tensor
    photos: Tensor


@dataclass(frozen=True)
class Scenes:
    """`images` (N, C, S, S); `masks` (N, S, S) int64, 1 where ink covers; `labels` (N,) of the first digit laid."""

    images: Tensor
    masks: Tensor
    labels: Tensor


def load_material() -> tuple[Material, Material]:
    """The training side and the held-out side."""
    digits = load_digits()
    photos = torch.stack([torch.from_numpy(photo.copy()) for photo in load_sample_images().images])
    photos = photos.permute(0, 3, 1, 2).float() / 255
    train, test = train_test_split(
        range(len(digits.target)), test_size=HELD_OUT_FRACTION, stratify=digits.target, random_state=SPLIT_SEED
    )
    drawings = torch.from_numpy(digits.images).float().unsqueeze(1) / 16
    labels = torch.from_numpy(digits.target).long()
    return (
        Material(drawings[train], labels[train], photos[..., PHOTO_TRAIN_COLUMNS].contiguous()),
        Material(drawings[test], labels[test], photos[..., PHOTO_TEST_COLUMNS].contiguous()),
    )


def classification_scenes(
    material: Material, picks: Tensor, size: int, side: tuple[float, float], generator: torch.Generator
) -> Scenes:
    """One digit a picture, anywhere it fits, its box `side` (least, most) of the picture's.

    `picks` (N,) are indices into `material.drawings`.
    """
    images = _backgrounds(material.photos, len(picks), size, generator)
    scale = _uniform(len(picks), *side, generator)
    room = (1 - scale) * 0.8
    centre = torch.stack([_uniform(len(picks), -1, 1, generator) * room for _ in range(2)], dim=1)
    images, alpha = _lay(images, material.drawings[picks], scale, centre, generator)
    return Scenes(images.clamp(0, 1), _ink_mask(alpha), material.labels[picks])


def segmentation_scenes(material: Material, picks: Tensor, size: int, generator: torch.Generator) -> Scenes:
    """One large digit (half of the pictures) or two smaller ones side by side; the mask is their union."""
    count = len(picks)
    images = _backgrounds(material.photos, count, size, generator)
    pair = torch.rand(count, generator=generator) < 0.5
    scale = torch.where(pair, _uniform(count, 0.40, 0.50, generator), _uniform(count, 0.50, 0.80, generator))
    across = torch.where(pair, _uniform(count, -0.52, -0.46, generator), _uniform(count, -0.2, 0.2, generator))
    down = _uniform(count, -0.25, 0.25, generator)
    images, first = _lay(images, material.drawings[picks], scale, torch.stack([across, down], 1), generator)
    partner = torch.randint(len(material.drawings), (count,), generator=generator)
    beside = torch.stack([_uniform(count, 0.46, 0.52, generator), _uniform(count, -0.45, 0.45, generator)], 1)
    paired, second = _lay(images, material.drawings[partner], scale, beside, generator)
    images = torch.where(pair.view(-1, 1, 1, 1), paired, images)
    second = second * pair.view(-1, 1, 1, 1)
    return Scenes(images.clamp(0, 1), _ink_mask(torch.maximum(first, second)), material.labels[picks])


def drawing_scenes(material: Material, picks: Tensor, generator: torch.Generator, *, jitter: bool) -> Scenes:
    """Raw drawings, images (N, 1, 8, 8); with `jitter` slightly turned, scaled and shifted, to train on."""
    images, count = material.drawings[picks], len(picks)
    if jitter:
        scale = _uniform(count, 0.92, 1.08, generator)
        centre = torch.stack([_uniform(count, -0.12, 0.12, generator) for _ in range(2)], dim=1)
        images = _place(images, scale, centre, 8, generator).clamp(0, 1)
    return Scenes(images, _ink_mask(images), material.labels[picks])


def to_8_bit(images: Tensor) -> Tensor:
    """What a PNG keeps of pictures in [0, 1]: multiples of 1/255."""
    return (images * 255).round() / 255


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def _ink_mask(alpha: Tensor) -> Tensor:
    return (alpha[:, 0] > 0.5).long()


def _backgrounds(photos: Tensor, count: int, size: int, generator: torch.Generator) -> Tensor:
    """Random crops (N, 3, size, size) of the photographs, mirrored half of the time, brightness varied."""
    height, width = photos.shape[-2:]
    side = _uniform(count, 0.9 * size, 1.6 * size, generator)
    x = side / 2 + torch.rand(count, generator=generator) * (width - side)
    y = side / 2 + torch.rand(count, generator=generator) * (height - side)
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = mirror * side / width, side / height
    theta[:, 0, 2], theta[:, 1, 2] = 2 * x / width - 1, 2 * y / height - 1
    which = torch.randint(len(photos), (count,), generator=generator)
    gain = _uniform(count, 0.75, 1.15, generator).view(-1, 1, 1, 1)
    crops = torch.empty(count, 3, size, size)
    for index, photo in enumerate(photos):
        chosen = which == index
        grid = affine_grid(theta[chosen], [int(chosen.sum()), 3, size, size], align_corners=False)
        crops[chosen] = grid_sample(photo.expand(len(grid), -1, -1, -1), grid, align_corners=False)
    return (crops * gain).clamp(0, 1)


def _place(drawings: Tensor, scale: Tensor, centre: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Drawings (N, 1, 8, 8), bicubically enlarged and drawn into (N, 1, size, size).

    `scale` (N,) is the drawing's side and `centre` (N, 2) its (x, y), both in units of half the picture, with a
    random turn of up to 12 degrees and a slant.
    """
    count = len(drawings)
    angle = _uniform(count, -12, 12, generator) * (math.pi / 180)
    slant = _uniform(count, -0.15, 0.15, generator)
    linear = torch.stack([angle.cos(), slant - angle.sin(), angle.sin(), angle.cos()], dim=1).view(-1, 2, 2)
    linear = linear / scale.view(-1, 1, 1)
    theta = torch.cat([linear, -linear @ centre.unsqueeze(2)], dim=2)
    margin = 8 / 10  # a blank pixel all round, for strokes that touch the border to end as smoothly as others
    grid = affine_grid(theta * margin, [count, 1, size, size], align_corners=False)
    smooth = interpolate(pad(drawings, (1, 1, 1, 1)), scale_factor=4, mode="bicubic", align_corners=False)
    return grid_sample(smooth, grid, align_corners=False)


def _lay(images: Tensor, drawings: Tensor, scale: Tensor, centre: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The pictures with one digit laid over each, and its opacity (N, 1, S, S)."""
    level = _place(drawings, scale, centre, images.shape[-1], generator)
    ramp = ((level - INK[0]) / (INK[1] - INK[0])).clamp(0, 1)
    alpha = ramp * ramp * (3 - 2 * ramp)
    colour = _readable_colour(images, alpha, generator)
    shadow = avg_pool2d(alpha, 7, 1, 3) * _uniform(len(images), 0.0, 0.5, generator).view(-1, 1, 1, 1)
    bright = ((colour * LUMINANCE).sum(1, keepdim=True) > 0.5).float()
    images = images * (1 - shadow) + (1 - bright) * shadow
    return images * (1 - alpha) + colour * alpha, alpha


def _readable_colour(images: Tensor, alpha: Tensor, generator: torch.Generator) -> Tensor:
    """A random colour (N, 3, 1, 1), moved in luminance away from what it will cover, to the side with more room."""
    count = len(images)
    luminance = (images * LUMINANCE).sum(1, keepdim=True)
    behind = (luminance * alpha).sum((1, 2, 3)) / alpha.sum((1, 2, 3)).clamp(min=1)
    contrast = _uniform(count, MIN_CONTRAST, 0.7, generator)
    target = torch.where(behind < 0.5, (behind + contrast).clamp(max=0.97), (behind - contrast).clamp(min=0.03))
    hue = torch.rand(count, 3, 1, 1, generator=generator)
    tint = hue - (hue * LUMINANCE).sum(1, keepdim=True)  # luminance 0
    target = target.view(-1, 1, 1, 1)
    room = torch.minimum(target, 1 - target) / tint.abs().amax(1, keepdim=True).clamp(min=1e-3)
    return target + tint * room.clamp(max=1)
