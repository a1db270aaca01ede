"""Whatever projects on a kernel is an orthogonal projection: symmetric, idempotent, and the layer sees nothing of its image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from onnxnull.collision.kernel import PatchKernel
from onnxnull.frontier.projection import kernel_of_maps
from onnxnull.kernel.maps.batched import Batched
from onnxnull.kernel.maps.convolution import Convolution
from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.maps.linear_map import LinearMap, Stack
from onnxnull.kernel.maps.primitives import Matrix, Scale
from onnxnull.kernel.maps.selection import Selection
from onnxnull.kernel.nullspace import null_space
from onnxnull.kernel.project import KernelSpace, Projector

RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((12, 5))
PATCHES = Convolution(ConvGeometry.of((6, 6), (3, 3), channels=2, strides=3), RNG.standard_normal((1, 18, 4)))
OVERLAPPING = Convolution(ConvGeometry.of((24, 24), (3, 3), channels=3, strides=2, pads=1), RNG.standard_normal((1, 27, 5)))
TURNED = Selection((3, 24, 24, 2), np.arange(3456).reshape(3, 24, 24, 2).transpose(3, 0, 1, 2), np.array(0.5))
FEW, OTHERS = (Convolution(OVERLAPPING.geometry, RNG.standard_normal((1, 27, 2))) for _ in range(2))
WEAK = Stack((FEW, Scale(OTHERS.output_shape, np.array(2.0**-30)) @ OTHERS))


def patchwise() -> KernelSpace:
    kernel = PatchKernel.of([PATCHES])
    assert kernel is not None
    return kernel


# the space, and the map whose kernel it is
SPACES: dict[str, tuple[Callable[[], KernelSpace], LinearMap]] = {
    "a weight's null space": (lambda: null_space(WEIGHT), Matrix(WEIGHT)),
    "by iteration": (lambda: Projector(OVERLAPPING), OVERLAPPING),
    "of a stack of different sizes": (lambda: Projector(WEAK), WEAK),
    "patch by patch": (patchwise, PATCHES),
    "a small map": (lambda: kernel_of_maps([PATCHES], PATCHES.input_shape), PATCHES),
    "every sample behind a turned path": (
        lambda: kernel_of_maps([Batched(OVERLAPPING, 2) @ TURNED], TURNED.shape),
        Batched(OVERLAPPING, 2) @ TURNED,
    ),
    "nothing reads": (lambda: kernel_of_maps([], (2, 3)), Scale((2, 3), np.zeros(()))),
}


@pytest.mark.parametrize("name", SPACES)
def test_an_orthogonal_projection_on_the_kernel(name: str) -> None:
    make, linear_map = SPACES[name]
    space = make()
    assert space.shape == linear_map.input_shape
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, *space.shape))
    px, py = space.project(x), space.project(y)
    assert np.linalg.norm(px) > 0.1  # it is not the kernel {0}
    np.testing.assert_allclose(np.vdot(px, y), np.vdot(x, py), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(space.project(px), px, atol=1e-10)
    layers = linear_map.parts if isinstance(linear_map, Stack) else (linear_map,)  # each counts in full
    assert all(np.linalg.norm(one.apply(px)) <= 1e-10 * np.linalg.norm(one.apply(x)) for one in layers)
    # and the rest is orthogonal to the whole kernel, of which a projection of noise is a member
    assert abs(np.vdot(x - px, py)) <= 1e-9 * np.linalg.norm(x) * np.linalg.norm(y)
