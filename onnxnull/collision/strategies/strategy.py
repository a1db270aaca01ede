"""What a strategy says of one tensor: which pairs it makes, and what is claimed of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from onnxnull.collision.results import Kind

if TYPE_CHECKING:
    from onnxnull.collision.executables import Executable
    from onnxnull.collision.merging import FirstCasts
    from onnxnull.collision.perturb import Recipe
    from onnxnull.collision.results import Steps
    from onnxnull.collision.sizing import TargetPrecision
    from onnxnull.collision.tensors import PerturbedTensor
    from onnxnull.collision.verify import Checks, Outcomes, Trial
    from onnxnull.kernel.maps.linear_map import Array


@dataclass(frozen=True, slots=True)
class Method:
    """Which pairs are asked for.

    Attributes:
        equal: of a fibre, the tensors that stay equal; empty for the logits, or the outputs where there are none.
        time_limit: of a fibre, seconds of one walk; None for no limit.
    """

    kind: Kind = Kind.KERNEL
    equal: tuple[str, ...] = ()
    time_limit: float | None = None


IN_KERNEL = Method()


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """What a pair is made for.

    Attributes:
        targets: what runs, the lowest precision first.
        others: what the network's other inputs get.
        progress: called with what comes next.
    """

    targets: Sequence[TargetPrecision]
    others: Mapping[str, np.ndarray]
    progress: Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class MadePair:
    """What collides with x₀, and its control.

    Attributes:
        caveat: what the reader should know of how it was made.
        parameters: how it was made, beside the recipe's.
    """

    colliding: Array
    control: Array
    caveat: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


class Strategy(Protocol):
    """A way to pairs at one tensor."""

    @property
    def kind(self) -> Kind:
        """What is claimed of them."""
        ...

    @property
    def claimed(self) -> tuple[str, ...]:
        """The layers that claims are of; of a fibre the tensors that stay equal."""
        ...

    @property
    def watched(self) -> tuple[str, ...]:
        """Tensors that are judged as the network's outputs are."""
        ...

    @property
    def nullity(self) -> tuple[int, int] | None:
        """Bounds on the dimension of the kernel; None where there is none."""
        ...

    @property
    def sigma(self) -> float:
        """The largest singular value that a perturbation runs along."""
        ...

    @property
    def caveat(self) -> str | None:
        """What the reader should know of these pairs."""
        ...

    def pair(self, start: Array, recipe: Recipe, setting: Setting) -> MadePair:
        """What collides with `start`. Raises `OnnxnullError` `not-found` where the search found nothing."""
        ...

    def check(self, subject: Executable, trial: Trial, found: Outcomes) -> Checks:
        """The claims, held against the runs of one precision."""
        ...

    def casts(self) -> FirstCasts:
        """The casts to 16 bits whose rounding is watched in the file; none where that of layers is."""
        ...

    def steps(self, original: Array, colliding: Array) -> Steps | None:
        """The perturbation in steps of a quantizer; None where there is none."""
        ...


def injective(site: PerturbedTensor) -> str:
    """ "'conv' is injective", of the layers that read a tensor."""
    layers = site.frontier.layers
    return f"{' and '.join(repr(layer.node) for layer in layers)} {'is' if len(layers) == 1 else 'are together'} injective"
