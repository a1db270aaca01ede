"""The shapes of states that a Loop or a Scan hands on: those of the initial values, as far as every round keeps them.

onnxruntime passes on what a round gives, whatever the file declares of a body's inputs, so declared shapes say nothing:
1. A state is assumed to have the shape of its initial value.
2. Where the body may hand on another one, the axes that differ become open, and the model is walked again.
What is assumed in the last walk holds in every round, by induction over the rounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxnull.graph.types import Shape, common_shape

if TYPE_CHECKING:
    import onnx_ir as ir

_MOST_WALKS = 3
"""In the walk after these, nothing is assumed."""


class StateShapes:
    """What is assumed of states, by the value that the body reads."""

    def __init__(self) -> None:
        self._shapes: dict[ir.Value, Shape | None] = {}
        self._walks, self._revised = 1, False

    def before(self, inner: ir.Value, initial: Shape | None) -> Shape | None:
        """The shape that a state has in all rounds, if `initial` is that of its initial value."""
        known = self._shapes.get(inner, initial)
        self._shapes[inner] = None if self._walks > _MOST_WALKS else common_shape(known, initial)
        return self._shapes[inner]

    def after(self, inner: ir.Value, handed_on: Shape | None) -> Shape | None:
        """Compare what was assumed with what the body hands on; what holds of both."""
        assumed = self._shapes[inner]
        self._shapes[inner] = common_shape(assumed, handed_on)
        self._revised |= self._shapes[inner] != assumed
        return self._shapes[inner]

    def walk_again(self) -> bool:
        """Whether the walk that ends here assumed too much."""
        revised, self._revised = self._revised, False
        self._walks += revised
        return revised
