"""Runs both models of a comparison: on the user's data or on inputs that are drawn, whole and region by region."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxnull.comparison import interface
from onnxnull.comparison.carried_collisions import Running
from onnxnull.comparison.graphs.proof import GraphProof
from onnxnull.comparison.graphs.terms import Term
from onnxnull.comparison.runs import maps
from onnxnull.comparison.runs.both import Runs, run_both
from onnxnull.comparison.runs.regions import RegionRun, run_regions, wide
from onnxnull.comparison.runs.samples import Feeds, drawn
from onnxnull.comparison.weight_pairs import Opened, Progress

_SHOWN = 48
"""Matched tensors that are compared along the network."""


@dataclass(frozen=True, slots=True)
class Judging:
    """How to decide: as the arguments of `compare`."""

    running: Running | None
    data: Sequence[Feeds] | None
    min_agreement: float
    min_snr: float
    progress: Progress


class Measuring:
    """Two models that run side by side.

    Args:
        proof: of their graphs; None where they were not matched. at_shapes: whether it is about other shapes than the files'.
        narrow: whether one computes in a narrower type: inputs on which one alone overflows are left out.
    """

    def __init__(
        self, first: Opened, second: Opened, proof: GraphProof | None, judging: Judging, *, at_shapes: bool, narrow: bool
    ) -> None:
        assert judging.running is not None, "they are to be run"
        self.sides = first.model, second.model
        self.pairs = interface.input_pairs(*self.sides)
        self.outputs = interface.output_pairs(*self.sides)
        self._proof, self._data, self._running = proof, judging.data, judging.running
        self._at_shapes, self._narrow = at_shapes, narrow

    def run(self, change: maps.Map, *, most: int | None = None, tensors: Sequence[tuple[str, str]] = ()) -> Runs:
        """Both on all inputs, or on the first few; those of the second one changed."""
        makers = self._drawn() if self._data is None else [lambda _, feeds=feeds: feeds for feeds in self._data]
        return run_both(
            *self.sides,
            makers[:most],
            self.outputs,
            change,
            provider=self._running.providers[0],
            tensors=tensors,
            drawn=self._data is None,
            narrow=self._narrow,
        )

    def _drawn(self) -> list[Callable[[int], Feeds]]:
        rows = {} if self._proof is None else _rows(self._proof)
        return list(drawn(self.sides[0].inputs, rows, self._running.seed))

    def tensors(self) -> list[tuple[str, str]]:
        """Matched tensors in the order of the network, evenly spaced."""
        if self._proof is None or self._at_shapes or (self._proof.matching.proved and not self._proof.quantized):
            return []
        a, b, partner, pairs = self._proof.a, self._proof.b, self._proof.matching.partner, []
        ours = {value: name for name, value in reversed(a.values.items()) if isinstance(value, Term) and name}
        outputs = {name for name, _ in self.outputs}
        for name, value in b.values.items():
            if not isinstance(value, Term) or value not in partner or value.op == "Input" or name not in b.nodes:
                continue
            mine = ours.get(partner[value])
            if mine is not None and mine not in outputs and mine in a.nodes:
                pairs.append((mine, name))
        step = -(-len(pairs) // _SHOWN) if pairs else 1
        return pairs[::step]

    def whole(self, runs: Runs) -> RegionRun:
        """The network as one region: the runs, and wide inputs."""
        rng, makers = np.random.default_rng(0), []
        for number, make in enumerate(self._drawn()[:6]):
            feeds = {name: wide(rng, x, number) for name, x in make(0).items()}
            makers.append(lambda _, feeds=feeds: feeds)
        straight = maps.straight(self.pairs)
        found = run_both(*self.sides, makers, self.outputs, straight, provider=self._running.providers[0])
        worst = [max(each.outputs, key=lambda j: j.ratio, default=None) for each in (runs, found)]
        names = tuple(one.name for one, _ in self.pairs)
        ends = " and ".join(name for name, _ in self.outputs), " and ".join(name for _, name in self.outputs)
        return RegionRun(*ends, names, worst[0], worst[1], found.reason)

    def regions(self) -> tuple[RegionRun, ...]:
        """The regions that no rewrite explains, run alone."""
        if self._proof is None or not self._proof.matching.regions or self._at_shapes:
            return ()
        feeds = [make(0) for make in self._drawn()[:6]] if self._data is None else self._data[:6]
        return run_regions(*self.sides, (self._proof.a, self._proof.b), self._proof.matching.regions, feeds)


def _rows(proof: GraphProof) -> Mapping[str, int]:
    """Integer input → the rows of the smallest table that it picks from."""
    names = {value: name for name, value in proof.a.values.items() if isinstance(value, Term) and value.op == "Input"}
    found: dict[str, int] = {}
    for term in proof.a.values.values():
        if not isinstance(term, Term) or term.op != "ai.onnx.Gather" or term.attribute("operands") != "cv":
            continue
        index, table = term.variables[0], term.constants[0]
        assert table is not None, "it is an operand"
        while index.op != "Input" and len(index.variables) == 1:
            index = index.variables[0]
        if index in names:
            found[names[index]] = min(found.get(names[index], table.shape[0]), table.shape[0])
    return found
