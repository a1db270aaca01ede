"""What matching two graphs finds: partners, differences, and regions that nothing explains."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from onnxnull.comparison.graphs.closeness import Nearness
from onnxnull.comparison.graphs.terms import Term, Value


@dataclass(frozen=True, slots=True)
class Difference:
    """A constant or an attribute that differs in its matched place.

    Attributes:
        what: "constant" or "attribute".
        a, b: where, in either graph (`naming`): stored tensors and the node that reads them, or a node and its attribute.
        distance: ‖A − B‖/‖B‖ of constants of one shape, else NaN.
        rearranged: whether other constants may undo it: the same sizes in another order, or factors.
        movement: whether it is an attribute of a movement, which another one may undo.
        clamped: whether it is what a converter to float16 clamps.
    """

    what: str
    a: str
    b: str
    distance: float
    rearranged: bool
    movement: bool = False
    clamped: bool = False


@dataclass(frozen=True, slots=True)
class Region:
    """What no rewrite explains: two terms assumed to be the same, and what they are computed from on either side."""

    a: Value
    b: Value
    inputs: tuple[tuple[Value, Value], ...]


@dataclass(slots=True)
class Matching:
    """What was found.

    Attributes:
        partner: term of b → term of a, assumptions included.
        nearness: of the constants in the terms that matched.
        complete: whether all outputs have partners, assumptions included.
    """

    partner: dict[Term, Term] = field(default_factory=dict)
    nearness: Nearness = Nearness.EQUAL
    differences: list[Difference] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    complete: bool = False
    assumed: set[Term] = field(default_factory=set)

    @property
    def proved(self) -> bool:
        """Whether the graphs compute the same, up to `nearness`."""
        return self.complete and not self.differences and not self.regions

    def turned(self) -> Matching:
        """The same of b against a; of terms of b with one partner the first one is that partner's."""
        partner: dict[Term, Term] = {}
        for theirs, ours in self.partner.items():
            partner.setdefault(ours, theirs)
        return Matching(
            partner,
            self.nearness,
            [replace(each, a=each.b, b=each.a) for each in self.differences],
            [Region(each.b, each.a, tuple((b, a) for a, b in each.inputs)) for each in self.regions],
            self.complete,
            {self.partner[term] for term in self.assumed if term in self.partner},
        )
