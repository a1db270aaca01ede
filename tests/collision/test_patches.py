"""The patches of a layer: unfold, then the blocks, then putting outputs in place, is the layer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from onnxnull.collision.patches import blocks_of, independent, unfold
from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.convolution import Convolution, conv_blocks, transposed
from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.maps.linear_map import LinearMap
from onnxnull.kernel.maps.primitives import BlockMatrix, Identity, Matrix, Permute, Reshape, Scale
from onnxnull.kernel.maps.selection import identity
from onnxnull.operators.contraction.maps import Contraction, ContractionMap


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
    "identity": (lambda: Identity((2, 3)), (6, 1, 1), True),
}


@pytest.mark.parametrize("name", LAYERS)
def test_patches_times_blocks_are_the_layer(name: str) -> None:
    """Up to the place of every output: sorted, the products are the layer's outputs; transposed convolutions add some up."""
    make, shape, _ = LAYERS[name]
    layer = make()
    patches = unfold(layer)
    assert patches is not None
    assert patches.output_shape == shape
    x = np.random.default_rng(1).standard_normal(layer.input_shape)
    products = patches.apply(x) @ blocks_of(layer)
    if name == "transposed":  # stride and extent are 2: no two products meet
        assert products.size == layer.outputs
    np.testing.assert_allclose(np.sort(products.ravel()), np.sort(layer.apply(x).ravel()), atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_dot(name: str) -> None:
    patches = unfold(LAYERS[name][0]())
    assert patches is not None
    rng = np.random.default_rng(2)
    u, v = rng.standard_normal((3, *patches.input_shape)), rng.standard_normal((3, *patches.output_shape))
    np.testing.assert_allclose(np.vdot(patches.apply(u), v), np.vdot(u, patches.adjoint(v)), rtol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_independent_means_that_no_entry_is_in_two_patches(name: str) -> None:
    make, _, expected = LAYERS[name]
    layer = make()
    patches = unfold(layer)
    assert patches is not None
    uses = patches.adjoint(np.ones(patches.output_shape))
    assert independent(layer) == expected == (uses.max() <= 1)


def test_what_is_no_layer_has_no_patches() -> None:
    scale = Scale((3,), np.ones(3))
    assert unfold(scale) is None
    assert unfold(identity((3,))) is None
    assert not independent(scale)
    with pytest.raises(ValueError, match="no layer"):
        blocks_of(scale)
