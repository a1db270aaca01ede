"""Matches the terms of two graphs from the inputs on: which are the same, which constants differ in their place, what is
unexplained.

A term of b is one of a where operator, attributes and variables are, and constants are near (`closeness`). Where that fails:

1. one free term of a has the same operator, attributes and variables: a constant differs in its place;
2. one has the same operator and variables: an attribute differs;
3. what a quantizer cuts off (`Saturate`) is the Clip of its place in a that it has swallowed, and nothing where there is none:
   then it is part of the quantizer's own error;
4. two linear maps by the same weight read something that was not matched: what they read is assumed to be the same, and what
   lies between it and what was matched is a region that no rewrite explains.

Matching goes on under these assumptions, so that every difference is found.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from onnxnull.comparison.graphs.closeness import Nearness, distance, is_clamped, may_be_rearranged, nearness
from onnxnull.comparison.graphs.constants import Const
from onnxnull.comparison.graphs.matching import Difference, Matching, Region
from onnxnull.comparison.graphs.naming import attribute_names, constant_names
from onnxnull.comparison.graphs.reading import Reading
from onnxnull.comparison.graphs.terms import Term, Value

_MOST_REGIONS = 64
_MOVEMENTS = ("Reshape", "Transpose", "Slice", "Concat", "Pad")
"""Terms whose attributes others may undo."""


def match(a: Reading, b: Reading, pairs: Sequence[tuple[str, str]]) -> Matching:
    """Match two graphs whose outputs are `pairs`, by name. Raises `EvaluationError`."""
    matching = _Matcher(a, b, pairs)
    return matching.run()


class _Matcher:
    def __init__(self, a: Reading, b: Reading, pairs: Sequence[tuple[str, str]]) -> None:
        self.outputs = [(a.outputs[one], b.outputs[other]) for one, other in pairs]
        self.first = _reachable([one for one, _ in self.outputs])
        self.second = _reachable([other for _, other in self.outputs])
        self.readings = a, b
        self.found = Matching()
        self.near: dict[Term, Nearness] = {}
        self.index: dict[object, list[Term]] = defaultdict(list)
        self.loose: dict[object, list[Term]] = defaultdict(list)
        self.readers: dict[Term, list[Term]] = defaultdict(list)
        for term in self.first:
            for variable in term.variables:
                self.readers[variable].append(term)
            self.index[_key(term, None)].append(term)
            self.loose[_key(term, None, attributes=False)].append(term)
        self.compared: dict[tuple[bytes, bytes], Nearness | None] = {}

    def run(self) -> Matching:
        for _ in range(_MOST_REGIONS):
            self._forward()
            if all(self._is_same(one, other) for one, other in self.outputs):
                break
            if not self._assume():
                break
        found = self.found
        found.complete = all(self._is_same(one, other) for one, other in self.outputs)
        found.nearness = max((self.near[t] for t in self.second if t in self.near), default=Nearness.EQUAL)
        for one, other in self.outputs:
            if isinstance(one, Const) and isinstance(other, Const):
                found.nearness = max(found.nearness, self._near(one, other) or Nearness.EQUAL)
        return found

    def _is_same(self, one: Value, other: Value) -> bool:
        if isinstance(one, Const) or isinstance(other, Const):
            return isinstance(one, Const) and isinstance(other, Const) and self._near(one, other) is not None
        return self.found.partner.get(other) is one

    def _near(self, a: Const | None, b: Const | None) -> Nearness | None:
        if a is None or b is None:
            return nearness(a, b)
        key = (a.key, b.key)
        if key not in self.compared:
            self.compared[key] = nearness(a, b)
        return self.compared[key]

    def _forward(self) -> None:
        """Match what can be matched, in order; then constants and attributes that differ in their place."""
        partner = self.found.partner
        for term in self.second:
            if term in partner:
                continue
            if term in self.first and all(partner.get(v) is v for v in term.variables):
                partner[term], self.near[term] = term, Nearness.EQUAL
                continue
            if any(v not in partner for v in term.variables):
                continue
            best: tuple[Nearness, int, Term] | None = None
            for candidate in self.index.get(_key(term, partner), ()):
                level = self._constants(candidate, term)
                if level is not None and (best is None or (level, candidate.number) < best[:2]):
                    best = (level, candidate.number, candidate)
            if best is not None:
                partner[term], self.near[term] = best[2], best[0]
            elif term.op == "Saturate":
                partner[term], self.near[term] = self._swallowed(term), Nearness.QUANTIZED
            else:
                self._place(term)

    def _swallowed(self, term: Term) -> Term:
        """The Clip of a in the place of a quantizer's saturation (rule 3); what enters where there is none."""
        inner, (step, most) = self.found.partner[term.variables[0]], term.constants
        assert step is not None
        assert most is not None
        half, highest = 0.5 * float(step.value), float(most.value)
        for candidate in self.readers.get(inner, ()):
            low, high = candidate.constants if candidate.op == "Clip" else (None, None)
            if low is not None and high is not None and abs(low.value) <= half and high.value >= highest - half:
                return candidate
        return inner

    def _constants(self, a: Term, b: Term) -> Nearness | None:
        """How near the constants of two terms with the same variables are."""
        worst = Nearness.EQUAL
        for one, other in self._aligned(a, b):
            level = self._near(one, other)
            if level is None:
                return None
            worst = max(worst, level)
        return worst

    def _aligned(self, a: Term, b: Term) -> Iterator[tuple[Const | None, Const | None]]:
        """Constants in pairs."""
        if not b.commutative:
            yield from zip(a.constants, b.constants, strict=True)
            return
        count = len(b.variables)
        order = sorted(range(count), key=lambda i: (self.found.partner[b.variables[i]].number, repr(b.labels[i])))
        own = sorted(range(count), key=lambda i: (a.variables[i].number, repr(a.labels[i])))
        yield from ((a.constants[i], b.constants[j]) for i, j in zip(own, order, strict=True))
        yield from zip(a.constants[count:], b.constants[count:], strict=True)

    def _place(self, term: Term) -> None:
        """A term that is not matched, its variables are: the one free term in its place differs in constants or attributes."""
        partner = self.found.partner
        taken = set(partner.values())
        for index, loose in ((self.index, False), (self.loose, True)):
            key = _key(term, partner, attributes=not loose)
            free = [t for t in index.get(key, ()) if t not in taken and t not in self.second]
            rivals = [
                t
                for t in self.second
                if t not in partner
                and all(v in partner for v in t.variables)
                and t is not term
                and t not in self.first
                and _key(t, partner, attributes=not loose) == key
            ]
            if len(free) != 1 or rivals or not term.variables:
                continue
            (candidate,) = free
            if loose and candidate.attributes == term.attributes:
                continue
            if loose:
                movement = term.op in _MOVEMENTS
                undone = movement or candidate.attribute("group") != term.attribute("group")  # zeros written out
                self.found.differences += [
                    Difference("attribute", mine, theirs, float("nan"), rearranged=undone, movement=movement)
                    for mine, theirs in attribute_names(*self.readings, candidate, term)
                ]
            for one_k, other_k in self._aligned(candidate, term) if _comparable(candidate, term) else ():
                if self._near(one_k, other_k) is None:
                    self._differ(candidate, term, one_k, other_k)
            partner[term] = candidate
            self.found.assumed.add(term)
            return

    def _differ(self, a: Term, b: Term, one: Const | None, other: Const | None) -> None:
        what, mine, theirs = constant_names(*self.readings, (a, b), (one, other))
        apart, clamped, rearranged = float("nan"), False, False
        if one is not None and other is not None:
            clamped = self._is_clamped(one, other)
            apart = float("nan") if clamped else distance(one, other)
            rearranged = clamped or may_be_rearranged(one, other)
        self.found.differences.append(Difference(what, mine, theirs, apart, rearranged, clamped=clamped))

    def _is_clamped(self, one: Const, other: Const) -> bool:
        """Whether the stored constants behind two differ by nothing but a converter's clamp."""
        first, second = (reading.stored for reading in self.readings)
        pairs = [(first.get(name), second.get(name)) for name in one.roots]
        if set(one.roots) != set(other.roots) or not pairs or "float16" not in (one.dtype, other.dtype):
            return False
        return all(a is not None and b is not None and is_clamped(a, b) for a, b in pairs)

    def _assume(self) -> bool:
        """Take two terms for the same that the same weights, or the outputs, read; whether there were any."""
        partner = self.found.partner
        taken = set(partner.values())
        ours = {_weight(t): t for t in self.first if t not in taken and _weight(t) is not None}
        counts = Counter(_weight(t) for t in (*self.first, *self.second) if _weight(t) is not None)
        for term in self.second:
            key = _weight(term)
            if term in partner or key not in ours or counts[key] != 2:
                continue
            one, other = ours[key].variables[0], term.variables[0]
            if other not in partner and one not in taken:
                return self._region(one, other)
        for one_out, other_out in self.outputs:
            if isinstance(one_out, Term) and isinstance(other_out, Term) and other_out not in partner and one_out not in taken:
                return self._region(one_out, other_out)
        return False

    def _region(self, one: Term, other: Term) -> bool:
        partner = self.found.partner
        inputs = {t: partner[t] for t in _edge(other, partner)}
        self.found.regions.append(Region(one, other, tuple((mine, theirs) for theirs, mine in inputs.items())))
        partner[other] = one
        self.found.assumed.add(other)
        return True


def _comparable(a: Term, b: Term) -> bool:
    return a.commutative == b.commutative and len(a.constants) == len(b.constants) and len(a.variables) == len(b.variables)


def _weight(term: Term) -> object:
    """What identifies a linear map; None for others."""
    if term.op not in ("Conv", "ConvTranspose", "MatMul") or len(term.variables) != 1 or term.constants[0] is None:
        return None
    return (term.op, term.attributes, term.constants[0].key)


def _key(term: Term, partner: Mapping[Term, Term] | None, *, attributes: bool = True) -> object:
    """What terms in one place have in common; variables by their partners."""
    variables = [v if partner is None else partner[v] for v in term.variables]
    operands = [(v.number, repr(label)) for v, label in zip(variables, term.labels, strict=True)]
    if term.commutative:
        operands.sort()
    shapes = tuple(None if k is None else len(k.shape) for k in term.constants) if not term.commutative else len(term.constants)
    return (term.op, term.attributes if attributes else None, tuple(operands), shapes, term.kind)


def _reachable(outputs: Sequence[Value]) -> dict[Term, None]:
    """The terms behind the outputs, in the order in which they were made: operands first."""
    seen: set[Term] = set()
    stack = [v for v in outputs if isinstance(v, Term)]
    while stack:
        term = stack.pop()
        if term not in seen:
            seen.add(term)
            stack.extend(term.variables)
    return dict.fromkeys(sorted(seen, key=lambda t: t.number))


def _edge(term: Term, partner: Mapping[Term, Term]) -> dict[Term, None]:
    """The matched terms from which a term that is not matched is computed."""
    found: dict[Term, None] = {}
    stack, seen = [term], {term}
    while stack:
        for v in stack.pop().variables:
            if v in partner:
                found[v] = None
            elif v not in seen:
                seen.add(v)
                stack.append(v)
    return found
