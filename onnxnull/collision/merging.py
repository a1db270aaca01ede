"""Counts the entries of a change that rounding takes away before any weight reads them; without any left, nothing is shown.

A network rounds its input where it casts it to 16 bits, or adds 10⁹ to it. Two inputs that are the same numbers from there
on have the same outputs whatever the weights are. So it is counted which entries should move and do not:

1. behind linear steps, entries of a layer's activation that the path moves by more than representing x₁ costs;
2. of a fibre, entries that enter the first casts to 16 bits on the way from the input.

If none of them is left, the run shows nothing (undecided); if some are, the report says how many.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.graph.protobuf import reads
from onnxnull.kernel.numerics.rounding_model import magnitude
from onnxnull.runtime.as_stored import SIXTEEN_BITS
from onnxnull.runtime.types import enter, inferred

if TYPE_CHECKING:
    import onnx

    from onnxnull.collision.claims import Reader
    from onnxnull.collision.executables import Seen
    from onnxnull.kernel.maps.linear_map import Array

Casts = Sequence[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, slots=True)
class FirstCasts:
    """Casts to 16 bits, from an input on the first on every way.

    Attributes:
        pairs: what one reads, and what it gives.
        past: tensors that are reached without passing one.
    """

    pairs: tuple[tuple[str, str], ...] = ()
    past: frozenset[str] = frozenset()

    def seal(self, tensors: Container[str]) -> bool:
        """Whether these depend on the input through the casts alone."""
        return bool(self.pairs) and not any(name in tensors for name in self.past)


@dataclass(frozen=True, slots=True)
class Merged:
    """Entries on the way.

    Attributes:
        changed: those that differ, or should.
        same: of them, those that are the same numbers for both inputs.
        all: whether nothing of the change is left.
    """

    changed: int = 0
    same: int = 0
    all: bool = False

    @property
    def note(self) -> str | None:
        """In words; None where nothing is lost."""
        return f"rounding on the way makes {self.same:,} of {self.changed:,} changed entries the same" if self.same else None


def before_layers(readers: Sequence[Reader], stored: Sequence[Array], seen: Sequence[tuple[Seen, Seen]], unit: float) -> Merged:
    """What is lost between the tensor and the layers.

    Args:
        stored: x₀ and x₁ as they went in, float64; `unit` is the unit roundoff of their type.
        seen: of every reader, its activations and products for x₀ and for x₁.
    """
    change, costs = stored[1] - stored[0], unit * np.abs(stored[1]) * (stored[1] != stored[0])
    parts = []
    for reader, (before, after) in zip(readers, seen, strict=True):
        if isinstance(before, str) or isinstance(after, str) or before[0].shape != reader.path.output_shape:
            continue
        wanted = np.abs(reader.path.apply(change)) > magnitude(reader.path).apply(costs)
        parts.append((wanted, before[0] != after[0]))
    changed, same = _counted(parts)
    return Merged(changed, same, 0 < changed == same)


def in_casts(before: Casts, after: Casts, *, sealed: bool) -> Merged:
    """What is lost in the first casts.

    Args:
        before, after: of every cast, what it reads and gives for x₀ and for x₁.
        sealed: whether what is judged depends on the input through these casts alone.
    """
    pairs = [(one, two) for one, two in zip(before, after, strict=True) if one[0].shape == two[0].shape]
    changed, same = _counted((one[0] != two[0], one[1] != two[1]) for one, two in pairs)
    return Merged(changed, same, sealed and changed == same)


def _counted(parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[int, int]:
    """Of pairs (which entries should differ, which do): how many should, and how many of these do not."""
    changed = same = 0
    for wanted, differs in parts:
        changed += int(np.count_nonzero(wanted))
        same += int(np.count_nonzero(wanted & ~differs))
    return changed, same


def first_casts(proto: onnx.ModelProto, name: str) -> FirstCasts:
    """The casts to 16 bits that the input `name` meets first.

    Args:
        proto: the file, nodes in order.

    Raises:
        OnnxnullError: `invalid-model` where types cannot be inferred.
    """
    types = enter(inferred(proto), None)
    casts: list[tuple[str, str]] = []
    past = {name}
    for node in proto.graph.node:
        if not reads(node) & past:
            continue
        if node.op_type in ("Cast", "CastLike") and types.type_of(node.output[0])[0] in SIXTEEN_BITS:
            casts.append((node.input[0], node.output[0]))
        else:
            past.update(output for output in node.output if output)
    return FirstCasts(tuple(casts), frozenset(past))
