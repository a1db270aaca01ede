"""A linear map applied to every sample of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from onnxnull.kernel.maps.linear_map import Array, LinearMap, Shape


@dataclass(frozen=True, eq=False)
class Batched(LinearMap):
    """`sample` on each of `count` samples: (count, *input) → (count, *output)."""

    sample: LinearMap
    count: int

    @property
    def input_shape(self) -> Shape:
        """(count, *input shape of one sample)."""
        return (self.count, *self.sample.input_shape)

    @property
    def output_shape(self) -> Shape:
        """(count, *output shape of one sample)."""
        return (self.count, *self.sample.output_shape)

    def _apply(self, x: Array) -> Array:
        return self.sample.apply(x)

    def _adjoint(self, y: Array) -> Array:
        return self.sample.adjoint(y)
