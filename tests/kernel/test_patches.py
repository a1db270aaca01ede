"""The patches of a layer: unfold, then the blocks, then fold, is the layer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.contraction import Contraction, ContractionMap
from onnxnull.kernel.maps.convolution import Convolution, conv_blocks, transposed
from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.maps.linear_map import LinearMap
from onnxnull.kernel.maps.patches import patches_of, stripped
from onnxnull.kernel.maps.primitives import BlockMatrix, Identity, Matrix, Permute, Reshape, Scale
from onnxnull.kernel.maps.selection import identity

from .linear_algebra import dot_test


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape)


def conv(
    spatial: tuple[int, ...], kernel: tuple[int, ...], channels: int, filters: int, groups: int = 1, **how: int
) -> Batched:
    geometry = ConvGeometry.of(spatial, kernel, channels=channels, groups=groups, **how)
    return Batched(Convolution(geometry, conv_blocks(_random(filters, channels // groups, *kernel), groups)), 2)


def contraction(constant: str, activation: str, output: str, sizes: dict[str, int]) -> ContractionMap:
    mine, theirs, result = (tuple(ord(c) - ord("a") for c in term) for term in (constant, activation, output))
    alone = [c for c in dict.fromkeys(activation) if c not in constant and c not in output]
    found = Contraction(mine, theirs, result, tuple(sizes[c] for c in alone))
    shape = tuple(sizes[c] for c in constant)
    return ContractionMap(found, shape, _random(*found.shape(shape)), tuple(sizes[c] for c in activation))


def turned() -> LinearMap:
    ones = {"strides": (2, 2), "dilations": (1, 1), "pads_begin": (0, 0), "pads_end": (0, 0)}
    return Batched(transposed((3, 4), (2, 2), _random(2, 3, 8), **ones), 2)


def channels_last(stride: int = 3) -> LinearMap:
    """(2, 6, 6, 2) → (2, ., ., 4)."""
    inner = conv((6, 6), (2, 3), 2, 4, strides=stride)
    return Permute(inner.output_shape, (0, 2, 3, 1)) @ inner @ Permute((2, 6, 6, 2), (0, 3, 1, 2))


SIZES = {"a": 2, "b": 3, "c": 4, "d": 5}
# layer, shape of its patches, whether they are independent
LAYERS: dict[str, tuple[Callable[[], LinearMap], tuple[int, ...], bool]] = {
    "overlapping": (lambda: conv((5, 6), (3, 3), 2, 4, pads=1), (2, 1, 30, 18), False),
    "strided": (lambda: conv((6, 6), (2, 3), 2, 4, strides=3), (2, 1, 4, 12), True),
    "padded, independent": (lambda: conv((5, 5), (2, 2), 2, 4, strides=2, pads=1), (2, 1, 9, 8), True),
    "grouped": (lambda: conv((4, 4), (2, 2), 4, 6, groups=2, strides=2), (2, 2, 4, 8), True),
    "one step": (lambda: conv((3,), (3,), 2, 4), (2, 1, 1, 6), True),
    "interleaved": (lambda: conv((4,), (2,), 1, 1, dilations=2), (2, 1, 2, 2), True),
    "transposed": (turned, (2, 2, 12, 3), True),
    "matmul": (lambda: contraction("cd", "abc", "abd", SIZES), (1, 6, 4), True),
    "blocks": (lambda: contraction("acd", "abc", "abd", SIZES), (2, 3, 4), True),
    "summed": (lambda: contraction("cd", "abc", "bd", SIZES), (1, 3, 8), True),
    "diagonal": (lambda: contraction("cd", "bbc", "bd", SIZES), (1, 3, 4), True),
    "rows": (lambda: Matrix(_random(4, 5), (2, 3)), (1, 6, 4), True),
    "block matrix": (lambda: BlockMatrix(_random(2, 4, 3), (3,)), (2, 3, 4), True),
    "channels last": (lambda: channels_last(), (2, 1, 4, 12), True),
    "channels last, overlapping": (lambda: channels_last(1), (2, 1, 20, 12), False),
    "heads": (
        lambda: BlockMatrix(_random(2, 4, 3), (3,)) @ Permute((2, 3, 4), (1, 0, 2)) @ Reshape((6, 4), (2, 3, 4)),
        (2, 3, 4),
        True,
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_patches_times_blocks_are_the_layer(name: str) -> None:
    """Up to the place of every output: sorted, the products are the layer's outputs; transposed convolutions add some up."""
    make, shape, _ = LAYERS[name]
    layer = make()
    patches = patches_of(layer)
    assert patches is not None
    assert patches.unfold.output_shape == shape
    x = np.random.default_rng(1).standard_normal(layer.input_shape)
    products = patches.unfold.apply(x) @ patches.blocks
    if name == "transposed":  # stride and extent are 2: no two products meet
        assert products.size == layer.outputs
    np.testing.assert_allclose(np.sort(products.ravel()), np.sort(layer.apply(x).ravel()), atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_fold_puts_every_product_in_its_place(name: str) -> None:
    """The layer of one sample, and the adjoint, by their definition."""
    patches = patches_of(LAYERS[name][0]())
    assert patches is not None
    layer = patches.layer
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((2, *layer.input_shape)), rng.standard_normal((2, *layer.output_shape))
    np.testing.assert_allclose(layer.fold.apply(layer.unfold.apply(x) @ layer.blocks), layer.apply(x), atol=1e-12)
    back = layer.unfold.adjoint(layer.fold.adjoint(y) @ layer.blocks.swapaxes(1, 2))
    np.testing.assert_allclose(back, layer.adjoint(y), atol=1e-12)
    np.testing.assert_allclose(layer.with_blocks(-layer.blocks).apply(x), -layer.apply(x), atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_dot(name: str) -> None:
    patches = patches_of(LAYERS[name][0]())
    assert patches is not None
    for part in (patches.unfold, patches.layer.fold):
        dot_test(part, np.random.default_rng(2), (3,))


@pytest.mark.parametrize("name", LAYERS)
def test_independent_means_that_no_entry_is_in_two_patches(name: str) -> None:
    make, _, expected = LAYERS[name]
    patches = patches_of(make())
    assert patches is not None
    uses = patches.unfold.adjoint(np.ones(patches.unfold.output_shape))
    assert patches.independent == expected == (uses.max() <= 1)


@pytest.mark.parametrize("pads", [0, 1])
@pytest.mark.parametrize("extent", [2, 3])
def test_separate_means_that_every_product_is_an_output(extent: int, pads: int) -> None:
    ones = {"strides": (2, 2), "dilations": (1, 1), "pads_begin": (pads, pads), "pads_end": (pads, pads)}
    patches = patches_of(transposed((3, 4), (extent, extent), _random(2, 3, 2 * extent**2), **ones))
    assert patches is not None
    assert patches.independent
    sums = patches.layer.fold.apply(np.ones(patches.layer.fold.input_shape))
    assert patches.separate == (sums.max() <= 1 and sums.sum() == patches.layer.fold.inputs) == (extent == 2 and pads == 0)


def test_what_is_no_layer_has_no_patches() -> None:
    assert patches_of(Scale((3,), np.ones(3))) is None
    assert patches_of(identity((3,))) is None
    assert patches_of(Identity((3,))) is None
    assert patches_of(Permute((2, 3), (1, 0))) is None
    scaled = Matrix(_random(3, 2)) @ Scale((3,), np.ones(3))
    assert patches_of(scaled) is None
    assert stripped(scaled) == (scaled, None)
