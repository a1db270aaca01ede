"""Helpers of the kernel's tests: the dot test and random geometries."""

from __future__ import annotations

import numpy as np

from onnxnull.kernel.maps.im2col import ConvGeometry
from onnxnull.kernel.maps.linear_map import LinearMap


def dot_test(linear_map: LinearMap, rng: np.random.Generator, batch: tuple[int, ...] = (2,)) -> None:
    """⟨Au, v⟩ = ⟨u, Aᵀv⟩ for random u and v (pylops' dot test), and the shapes that the map promises."""
    u = rng.standard_normal(batch + linear_map.input_shape)
    v = rng.standard_normal(batch + linear_map.output_shape)
    au, atv = linear_map.apply(u), linear_map.adjoint(v)
    assert au.shape == v.shape
    assert atv.shape == u.shape
    scale = np.linalg.norm(au) * np.linalg.norm(v) + np.linalg.norm(u) * np.linalg.norm(atv)
    assert abs(np.vdot(au, v) - np.vdot(u, atv)) <= 1e-13 * scale


def random_geometry(rng: np.random.Generator, *, largest: int = 12, outputs: bool = True) -> ConvGeometry:
    """A small random geometry, 1D to 3D, with strides, dilations, asymmetric pads and groups."""
    while True:
        axes = int(rng.integers(1, 4))
        top = {1: 4 * largest, 2: largest, 3: max(4, largest // 2)}[axes]
        groups = int(rng.choice([1, 1, 2, 3]))

        def draw(low: int, high: int, axes: int = axes) -> tuple[int, ...]:
            return tuple(int(v) for v in rng.integers(low, high + 1, size=axes))

        geometry = ConvGeometry(
            spatial=draw(2, top),
            kernel=draw(1, 4 if axes < 3 else 3),
            strides=draw(1, 3),
            dilations=draw(1, 2),
            pads_begin=draw(0, 2),
            pads_end=draw(0, 2),
            channels=groups * int(rng.integers(1, 4)),
            groups=groups,
        )
        if not outputs or geometry.positions > 0:
            return geometry
