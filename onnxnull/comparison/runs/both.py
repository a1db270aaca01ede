"""Runs two models on the same inputs and judges all outputs, what enters their last operators, and tensors on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnxnull.comparison.runs.outputs import TensorPair, judge
from onnxnull.comparison.runs.samples import COUNT, SIZES, Feeds
from onnxnull.errors import ExitCode, OnnxnullError
from onnxnull.graph.model import Model
from onnxnull.runtime.convert_floats import floats_of
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.session import Runner

_FINAL = frozenset(
    [
        "Softmax",
        "LogSoftmax",
        "Hardmax",
        "Sigmoid",
        "HardSigmoid",
        "Tanh",
        "Clip",
        "ArgMax",
        "ArgMin",
        "TopK",
        "NonMaxSuppression",
        "Greater",
        "Less",
        "Equal",
        "Floor",
        "Round",
        "Ceil",
        "Sign",
        "Erf",
    ]
)
_THROUGH = frozenset(
    ["Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Gather", "Slice", "DequantizeLinear"]
)
_TRIES = 4
_BFLOAT16 = 16
"""TensorProto's number."""


@dataclass(frozen=True, slots=True)
class Runs:
    """What both models gave.

    Attributes:
        samples: how many inputs; `drawn`: whether they were drawn (else the user's).
        outputs: every output, and what enters the last operators.
        tensors: matched tensors in the order of the network.
        reason: why nothing was compared; None where it was.
        overflows: inputs on which one of the models gave numbers that are not finite, left out because its type is narrower.
        widened: whether bfloat16 was computed in float32, since the provider has no kernels for it.
    """

    samples: int = 0
    drawn: bool = True
    outputs: tuple[TensorPair, ...] = ()
    tensors: tuple[TensorPair, ...] = ()
    reason: str | None = None
    overflows: int = 0
    widened: bool = False

    @property
    def not_exercised(self) -> tuple[TensorPair, ...]:
        """Outputs that are empty, constant or saturated for every input, and what enters them too."""
        moved = {judged.enters for judged in self.outputs if judged.enters is not None and judged.exercised}
        return tuple(j for j in self.outputs if j.enters is None and not j.exercised and j.a not in moved)

    def parted(self, limit: float) -> tuple[TensorPair, ...]:
        """Outputs that part by more than the limit; indices where what enters them parts, or nothing that is known does."""
        entering = {judged.enters: judged for judged in self.outputs if judged.enters is not None}
        found = []
        for judged in self.outputs:
            within = entering.get(judged.a) if judged.discrete else None
            if judged.ratio > (0.0 if judged.discrete else limit) and not (within is not None and 0.0 <= within.ratio <= limit):
                found.append(judged)
        return tuple(found)


def run_both(
    a: Model,
    b: Model,
    makers: Sequence[Callable[[int], Feeds]],
    outputs: Sequence[tuple[str, str]],
    to_b: Callable[[Feeds], Feeds],
    *,
    provider: Provider = Provider.CPU,
    tensors: Sequence[tuple[str, str]] = (),
    drawn: bool = True,
    narrow: bool = False,
) -> Runs:
    """Run both on each input.

    Args:
        makers: inputs of a, as functions of the try.
        outputs: in pairs. tensors: matched tensors to be fetched beside them.
        to_b: inputs of a → inputs of b.
        narrow: whether inputs on which only one overflows are left out.
    """
    entering = [(name, pair) for name, other in outputs if (pair := _entering(a, b, name, other)) is not None]
    wanted = [[pair[side] for _, pair in entering] + [pair[side] for pair in tensors] for side in (0, 1)]
    try:
        runners = [_runner(side, extra, provider) for side, extra in zip((a, b), wanted, strict=True)]
    except OnnxnullError as error:
        return Runs(reason=told(error), drawn=drawn)
    got: list[tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]] = []
    overflows, failure = 0, None
    names = [name for name, _ in outputs]
    for make in makers:
        for attempt in range(_TRIES):
            try:
                feeds = make(attempt)
                first = runners[0].run(feeds)
                second = runners[1].run(to_b(feeds))
            except OnnxnullError as error:
                failure = told(error)
                continue
            finite = [
                all(_finite(found[name]) for name in side)
                for found, side in ((first, names), (second, [o for _, o in outputs]))
            ]
            if not any(finite) and attempt + 1 < _TRIES and drawn:
                continue
            if finite[0] != finite[1] and narrow:
                overflows += 1
            else:
                got.append((first, second))
            break
    if not got:
        return Runs(reason=failure or "no input gave finite numbers in both", drawn=drawn, overflows=overflows)

    alike = [got[i:j] for i, j in SIZES if len(got) == COUNT] if drawn else []

    def judged(pair: tuple[str, str], enters: str | None = None) -> TensorPair:
        parts = [
            judge(*pair, [one[pair[0]] for one, _ in some], [other[pair[1]] for _, other in some], enters)
            for some in (got, *alike)
        ]
        worst = max(parts, key=lambda part: part.ratio)  # large inputs would hide what small ones show
        whole, exercised = parts[0], any(part.exercised for part in parts)
        return replace(worst, exercised=exercised, snr=whole.snr, agreement=whole.agreement, least=whole.least)

    found = [judged(pair) for pair in outputs] + [judged(pair, name) for name, pair in entering]
    widened = any(runner.precision is not Precision.NATIVE for runner in runners)
    return Runs(len(got), drawn, tuple(found), tuple(judged(pair) for pair in tensors), None, overflows, widened)


def _runner(model: Model, extra: Sequence[str], provider: Provider) -> Runner:
    """As the file is, or in float32 where the provider has no kernel for its bfloat16."""
    wanted = list(dict.fromkeys(extra))
    try:
        return Runner(model, Precision.NATIVE, provider=provider, extra_outputs=wanted)
    except OnnxnullError as error:
        if "NOT_IMPLEMENTED" not in error.seen or _BFLOAT16 not in floats_of(model.parsed.whole):
            raise
    return Runner(model, Precision.FLOAT32, provider=provider, extra_outputs=wanted)


def _finite(array: object) -> bool:
    return not isinstance(array, np.ndarray) or array.dtype.kind != "f" or bool(np.isfinite(array).any()) or array.size == 0


def _entering(a: Model, b: Model, name: str, other: str) -> tuple[str, str] | None:
    """The tensors that enter the last operators of an output's chain in both models; None where one has none."""
    one, two = _deepest(a, name), _deepest(b, other)
    return None if one is None or two is None else (one, two)


def _deepest(model: Model, name: str) -> str | None:
    made = {value.name: node for node in model.graph for value in node.outputs}
    found, now = None, name
    while (node := made.get(now)) is not None and node.inputs and node.inputs[0] is not None:
        if node.op_type in _FINAL:
            place = 1 if node.op_type == "NonMaxSuppression" and len(node.inputs) > 1 and node.inputs[1] is not None else 0
            value = node.inputs[place]
            assert value is not None
            found = now = value.name or ""
        elif node.op_type in _THROUGH:
            now = node.inputs[0].name or ""
        else:
            break
    return found if found in made else None


def told(error: OnnxnullError) -> str:
    """Code and what was seen; what to do, where it was not that there is nothing to find."""
    remedy = "" if error.exit_code is ExitCode.NOTHING else f"; {error.remedy}"
    return f"[{error.code.code}] {error.seen}{remedy}"
