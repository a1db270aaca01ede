"""Constants beside the weights: biases, slopes, parameters of normalizations, operands of arithmetic, scales of quantizers.

A family registers what no healthy network holds in them, or seldom. Linear weights and look-up tables have registries of their
own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from onnxnull.graph.node import Node
from onnxnull.graph.operator_facts import OperatorFacts
from onnxnull.operators.linear_use import is_constant

NAN, INF, NO_NUMBER, NO_SCALE = "NaN", "Inf", "NaN or Inf", "no positive scale"
"""What a constant holds."""

Places = Callable[[Node], Iterable[tuple[int, str]]]
"""Node → (index of an operand, what it must not hold, or seldom does)."""


@dataclass(frozen=True, slots=True)
class _Beside:
    places: Places
    all_operands: bool


_BESIDE: OperatorFacts[_Beside] = OperatorFacts("account of constants beside the weights")


def accounts_for(*op_types: str, domain: str = "", places: Places = lambda node: (), all_operands: bool = False) -> None:
    """Register what operands of these operators must not hold.

    Args:
        all_operands: nothing is said of NaN in the other operands: what follows of it is.
    """
    _BESIDE.add(_Beside(places, all_operands), *op_types, domain=domain)


def holds_parameters(*op_types: str, inputs: tuple[int, ...] = (), factors: tuple[int, ...] = (), domain: str = "") -> None:
    """Register parameters, which no healthy network holds NaN in.

    Args:
        inputs: biases and variances, in which Inf is unusual.
        factors: scales, slopes and means: with Inf there, a channel has no finite number left (of a slope, below 0).
    """
    places = [(index, NO_NUMBER) for index in factors] + [(index, what) for index in inputs for what in (NAN, INF)]
    accounts_for(*op_types, domain=domain, places=lambda node: places)


def hands_on_nan(*op_types: str) -> None:
    """Register operators that hand on a NaN of any operand."""
    accounts_for(*op_types, places=lambda node: [(index, NAN) for index in range(len(node.inputs))], all_operands=True)


def has_scales(*op_types: str, scales: tuple[tuple[int | None, int], ...], domain: str = "") -> None:
    """Register (input that is quantized, None for the output; its scale). Scales of constants are part of the weight."""

    def places(node: Node) -> Iterable[tuple[int, str]]:
        return [(scale, NO_SCALE) for of, scale in scales if of is None or not is_constant(node, of)]

    accounts_for(*op_types, domain=domain, places=places, all_operands=True)


def places_of(node: Node) -> list[tuple[int, str]]:
    """(index of an operand, what it must not hold, or seldom does) as far as it is registered."""
    found = _BESIDE.of(node)
    return [] if found is None else list(found.places(node))


def accounts_for_all(node: Node) -> bool:
    """Whether nothing is to be said of NaN in operands other than those of `places_of`."""
    found = _BESIDE.of(node)
    return found is not None and found.all_operands
