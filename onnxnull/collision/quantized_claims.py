"""The claims of a pair on the grid of a quantizer: codes and products in whole numbers.

- **Kernel claim**: A·(k₁ − k₀) = 0 in whole numbers, k the codes that the session itself made of the two inputs, A the layer's
  integers on its path. For inputs in the same cells: k₁ − k₀ = 0. No rounding is allowed for: the value has to be 0.
- **Runtime claim**: a layer of integers gives the same numbers, bit for bit. A layer of floats behind DequantizeLinear gives
  what `runtime_claim` allows.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from onnxnull.collision.claims import Reader, drowned, runtime_claim
from onnxnull.collision.executables import Executable, RunResult, Seen
from onnxnull.collision.integer_windows import integer_layer
from onnxnull.collision.quantizer_grid import Rounding
from onnxnull.collision.results import Claim, Kind, LayerCheck, Steps
from onnxnull.collision.verify import Checks, Outcomes, Trial, accumulator
from onnxnull.frontier import Frontier, Layer, Quantizer
from onnxnull.kernel.lattice.reduction import Integers
from onnxnull.kernel.maps.linear_map import Array, LinearMap
from onnxnull.kernel.maps.primitives import Identity
from onnxnull.kernel.maps.selection import NOTHING
from onnxnull.kernel.numerics.rounding_model import magnitude


def check_on_grid(frontier: Frontier, subject: Executable, trial: Trial, found: Outcomes) -> Checks:
    """Hold the claims of every layer against the runs."""
    quantizer = frontier.quantizer
    assert quantizer is not None
    stored = [subject.stored(x).astype(np.float64) for x in (trial.original, trial.colliding)]
    moved = _moved(quantizer, stored, found.pair)
    return Checks(
        tuple(
            LayerCheck(
                layer.node,
                _kernel_claim(layer, moved, trial, (found.before.seen[number], found.after.seen[number]), subject),
                _runtime_claim(layer, found.before.seen[number], found.after.seen[number], subject),
            )
            for number, layer in enumerate(frontier.layers)
        )
    )


def steps_between(quantizer: Quantizer, original: Array, colliding: Array) -> Steps:
    """The perturbation in steps, for evidence."""
    one, other = (Rounding.at(quantizer, x) for x in (original, colliding))
    change = np.abs(other.codes(colliding) - one.codes(original))
    return Steps(
        quantizer.node,
        quantizer.dynamic,
        float(one.scale),
        one.zero_point,
        one.low,
        one.high,
        int(np.count_nonzero(change)),
        int(change.max(initial=0)),
    )


def _moved(quantizer: Quantizer, stored: list[Array], pair: tuple[RunResult, RunResult]) -> Integers | str:
    """k₁ − k₀ for every entry of the input; or what of it the session does otherwise."""
    roundings = [Rounding.at(quantizer, x) for x in stored]
    if roundings[0] != roundings[1]:
        return "the two inputs have other scales or zero points"
    codes = [one.codes(x) for one, x in zip(roundings, stored, strict=True)]
    assert quantizer.path is not None, "a site's shapes are known"
    indices = quantizer.path.indices
    for mine, outcome in zip(codes, pair, strict=True):
        assert outcome.codes is not None, "the quantizer is watched"
        read = mine.ravel()[indices]
        if outcome.codes.shape != read.shape or np.any((outcome.codes.astype(np.int64) != read) & (indices != NOTHING)):
            return "the session makes other codes of an input than the quantizer's definition"
    return np.asarray(codes[1] - codes[0])


def _kernel_claim(layer: Layer, moved: Integers | str, trial: Trial, seen: tuple[Seen, Seen], subject: Executable) -> Claim:
    """The claim in whole numbers; refused where what dequantising rounded moves a layer of floats by much of its scale."""
    claim = _in_whole_numbers(layer, moved, trial.kind)
    before, after = seen
    if not claim.holds or isinstance(before, str) or isinstance(after, str) or before[1].dtype.kind in "iu":
        return claim
    reason = drowned(_reader(layer, before[0].shape), (before[0], after[0]), trial.tolerances[subject.precision])
    return claim if reason is None else Claim(claim.value, claim.bound, None, reason)


def _in_whole_numbers(layer: Layer, moved: Integers | str, kind: Kind) -> Claim:
    if isinstance(moved, str):
        return Claim(math.nan, None, math.inf, moved)
    if kind is Kind.QUANTIZER_CELL:
        return _nothing(np.abs(moved))
    assert layer.path is not None, "a site's shapes are known"
    linear_map = integer_layer(layer) @ layer.path
    change = moved.astype(np.float64)
    if magnitude(linear_map).apply(np.abs(change)).max(initial=0.0) >= 2.0**52:
        return Claim(math.nan, None, math.inf, "the products need more than 52 bits")
    return _nothing(np.abs(linear_map.apply(change)))  # sums of whole numbers below 2⁵³: exact


def _runtime_claim(layer: Layer, before: Seen, after: Seen, subject: Executable) -> Claim:
    if isinstance(before, str) or isinstance(after, str):
        return Claim(math.nan, None, None, before if isinstance(before, str) else str(after))
    if before[1].dtype.kind in "iu":
        return _nothing(np.abs(after[1].astype(np.float64) - before[1].astype(np.float64)))
    reader = _reader(layer, before[0].shape)
    unit = accumulator(subject, reader.op, before[1].dtype)
    return runtime_claim(reader, before[0], after[0], before[1], after[1], unit)


def _reader(layer: Layer, shape: tuple[int, ...]) -> Reader:
    """The layer of floats on its own activation."""
    op = "" if layer.view is None else layer.view.op_type
    return Reader(layer.node, op, layer.use.matrix(), partial(_on, layer, shape), Identity(shape), scale=layer.use.scale)


def _on(layer: Layer, shape: tuple[int, ...], blocks: Array) -> LinearMap:
    return layer.use.linear_map(blocks, shape)


def _nothing(values: Array | Integers) -> Claim:
    """The claim that all are 0."""
    largest = float(values.max(initial=0))
    return Claim(largest, 0.0, 0.0 if largest == 0 else math.inf)
