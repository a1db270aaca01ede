"""Whether a twin computes what its file computes: held, on every run, against the file itself in onnxruntime.

1. The outputs at one input agree to `ROUNDINGS` unit roundoffs of every entry, or of a small typical one where that is more:
   nothing else is done.
2. Where they do not, the network may amplify its own rounding (x + 10⁹ − 10⁹). Then every node is looked at by itself. Each
   gets the tensors that the file's nodes computed, and may differ from what theirs made of the same by `TIMES` times what it
   does where these tensors are moved by one ulp, and by `APART` of the entry's size or of a typical one, or as in 1 where that
   is more. The first that differs by more, in the order of the graph, is named.
3. Where a layer runs by itself, and the rest behind it, what they give may differ from what the twin gives as a whole by as
   much as in 1, or by `TIMES` times what an ulp of the inputs moves it.

None is ever more than `MOST` of such a size. What the finer of the two precisions holds beyond the range of the coarser is
Inf there, and counts as Inf. u is the unit roundoff of the coarser of the two. Whole numbers, truth values
and texts are equal, or looked into as in 2.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.floats import UNIT_ROUNDOFFS, float_type, is_float
from onnxnull.operators.traits import is_within_one
from onnxnull.runtime.as_stored import SIXTEEN_BITS, computed_floats, stored_twin
from onnxnull.runtime.convert_floats import floats_of
from onnxnull.runtime.precision import Precision, Twin, twin
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.session import Runner

if TYPE_CHECKING:
    import onnx

    from onnxnull.graph.model import Parsed
    from onnxnull.kernel.maps.linear_map import Array

ROUNDINGS, MOST = 1024.0, 0.05
TIMES, RUNS = 16.0, 2
APART = 2.0**-10
"""Of an entry: what one node may lose at float32, sums of a few thousand terms included; more at coarser precisions."""
_UNITS = {11: 2.0**-53, 1: 2.0**-24, 10: 2.0**-11, 16: 2.0**-8}
"""TensorProto.DataType → unit roundoff."""
_SMALL = "the file rounds to 16 bits there, and onnxruntime here does not: see whether numbers are beyond the range of 16 bits"
_OF_ONE = 8.0
"""What onnxruntime's approximations lose is relative to 1, not to the value: up to 5.5 roundoffs in Tanh [measured]."""
Arrays = Mapping[str, np.ndarray]


class Original:
    """The file as it is, in onnxruntime on the CPU.

    Where onnxruntime has no kernel for the types of the file, its twin stands in for it: as stored where it computes in 16
    bits, else at float32. `model.parsed.once(Original)` is the one of a model.
    """

    def __init__(self, parsed: Parsed) -> None:
        self._proto = parsed.whole
        self._remark: str | None = None
        self._wholes: dict[Twin, tuple[Arrays, Arrays, Arrays]] = {}

    @functools.cached_property
    def _runner(self) -> Runner:
        try:
            return Runner(Twin(self._proto, Precision.NATIVE, ()))
        except OnnxnullError as error:
            if error.code is not Code.RUNTIME or "NOT_IMPLEMENTED" not in error.seen:
                raise
            if computed_floats(self._proto) & SIXTEEN_BITS:
                made, how = stored_twin(self._proto, Provider.CPU), "its nodes in float32, rounded to the types of the file"
            else:  # a convolution of doubles, say: the same nodes with onnxruntime's own kernels, nothing lowered
                made, how = twin(self._proto, Precision.FLOAT32, provider=Provider.CPU), "its float32 twin"
            missing = error.seen.partition("NOT_IMPLEMENTED : ")[2] or error.seen
            self._remark = f"onnxruntime does not run the file itself ({missing}): twins are held against {how}"
            self._proto = made.proto
            return Runner(Twin(self._proto, Precision.NATIVE, ()))

    @property
    def remark(self) -> str | None:
        """What stands in for the file, and why; None where it runs itself. Raises `OnnxnullError` where neither does."""
        return self._remark if self._runner else None

    @functools.cached_property
    def _kinds(self) -> frozenset[int]:
        return computed_floats(self._proto)

    def run(self, feeds: Arrays) -> dict[str, np.ndarray]:
        """The file's outputs."""
        return self._runner.run(feeds)

    def check(self, feeds: Arrays, expected: Arrays, outputs: Arrays, network: Twin, provider: Provider) -> None:
        """Compare what a twin, or what was made of it, gave.

        Args:
            feeds: every input of the file.
            expected: what `run` gave for them.
            outputs: of the network as it was run: the twin, or a twin with a part of it run on its own.

        Raises:
            OnnxnullError: `twin` where they differ by more than rounding, with the first node that does, and what running the
                model raises.
        """
        kinds = self._kinds | (frozenset() if network.precision is Precision.NATIVE else floats_of(network.proto))
        unit = max((_UNITS[kind] for kind in kinds if kind in _UNITS), default=_UNITS[1])
        if _near(expected, outputs, unit):
            return
        if not all(np.array_equal(each, again) for each, again in _pairs(expected, self.run(feeds))):
            return  # a random network; its own check says so
        whole, noise = self._whole(feeds, network, provider, unit)
        if not _near(whole, outputs, unit, noise):
            seen = "the part of the network that was run by itself, and the rest, do not give what the network gives"
            raise OnnxnullError(Code.TWIN, seen)

    def _whole(self, feeds: Arrays, network: Twin, provider: Provider, unit: float) -> tuple[Arrays, Arrays]:
        """What the twin gives as a whole, and by how much an ulp of its inputs moves it, after a look at its nodes.

        Done once for an input, however many layers are checked.
        """
        kept = self._wholes.get(network)
        if kept is None or kept[0].keys() != feeds.keys() or not all(np.array_equal(a, feeds[n]) for n, a in kept[0].items()):
            apart = self._first_apart(feeds, network, provider, unit)
            if apart is not None:
                seen = f"{apart.op_type} (node {apart.name or apart.output[0]!r}) is not what the file computes in onnxruntime"
                raise OnnxnullError(Code.TWIN, seen, _SMALL if _in_16_bits(network, self._kinds) else None)
            runner = Runner(network, provider=provider)
            outputs, noise = runner.run(feeds), dict[str, np.ndarray]()
            for run in range(RUNS):
                for name, array in runner.run({name: _by_an_ulp(each, unit, run) for name, each in feeds.items()}).items():
                    far = _distance(outputs[name], array, unit).max(initial=0.0)
                    noise[name] = np.maximum(noise.get(name, np.zeros(())), far)
            kept = self._wholes[network] = dict(feeds), outputs, noise
        return kept[1], kept[2]

    def _first_apart(self, feeds: Arrays, network: Twin, provider: Provider, unit: float) -> onnx.NodeProto | None:
        """The first node of the file that its twin does not compute; None where each is computed, to rounding."""
        made = {name for node in network.proto.graph.node for name in node.output if name}
        names = [name for node in self._proto.graph.node for name in node.output if name in made]
        seen = Runner(Twin(self._proto, Precision.NATIVE, ()), extra_outputs=names).run(feeds, names)
        seen = {name: array for name, array in seen.items() if isinstance(array, np.ndarray)}
        cut = Runner(_cut(network, seen), provider=provider)
        given = {**feeds, **{name: array for name, array in seen.items() if name in cut.inputs}}
        given = {name: array for name, array in given.items() if name in cut.inputs}
        own = cut.run(given)
        noise = {name: np.zeros(array.shape) for name, array in seen.items()}
        for run in range(RUNS):
            moved = {name: _by_an_ulp(array, unit, run) for name, array in given.items()}
            for name, array in cut.run(moved).items():
                name = name.removeprefix(_OWN)
                far = _distance(own[_OWN + name], array, unit)
                noise[name] = np.maximum(noise[name], far) if far.shape == noise[name].shape else np.full(far.shape, np.inf)
        nodes: list[onnx.NodeProto] = list(self._proto.graph.node)
        for node in nodes:
            for name in node.output:
                if name not in seen or _OWN + name not in own:
                    continue
                far = _distance(seen[name], own[_OWN + name], unit)
                slack = _OF_ONE * unit if is_within_one(node) else 0.0
                share = max(APART, min(MOST, ROUNDINGS * unit))
                allowed = slack + TIMES * _at_least_typical(noise[name]) + share * _sizes(seen[name])
                if far.shape != seen[name].shape or np.any(far > allowed):
                    return node
        return None


def _in_16_bits(network: Twin, kinds: frozenset[int]) -> bool:
    return network.precision is Precision.NATIVE and bool(kinds & SIXTEEN_BITS)


_OWN = "onnxnull/own/"


def _cut(network: Twin, seen: Arrays) -> Twin:
    """The twin with each of these tensors an input, and what its node makes of the others an output beside it."""
    import onnx
    from onnx import helper

    from onnxnull.runtime.types import infer

    proto = onnx.ModelProto()
    proto.CopyFrom(network.proto)
    infer(proto)
    kinds = {value.name: value.type.tensor_type.elem_type for value in [*proto.graph.value_info, *proto.graph.output]}
    del proto.graph.value_info[:]
    del proto.graph.output[:]
    for node in proto.graph.node:
        for index, name in enumerate(node.output):
            if name in seen and kinds.get(name):
                node.output[index] = _OWN + name
                proto.graph.input.append(helper.make_tensor_value_info(name, kinds[name], [None] * seen[name].ndim))
                proto.graph.output.append(helper.make_tensor_value_info(_OWN + name, kinds[name], None))
    return Twin(proto, network.precision, network.lowered)


def _by_an_ulp(array: np.ndarray, unit: float, run: int) -> np.ndarray:
    if not is_float(array):
        return array
    up = np.random.default_rng([7, run]).random(array.shape) < 0.5
    with np.errstate(over="ignore", under="ignore"):
        stored = array.astype(float_type(next(name for name, u in UNIT_ROUNDOFFS.items() if u == unit)))
        moved: NDArray[np.floating] = np.nextafter(stored, np.where(up, np.inf, -np.inf).astype(stored.dtype))
    return np.where(np.isfinite(moved), moved, stored)


def _pairs(one: Arrays, other: Arrays) -> Sequence[tuple[np.ndarray, np.ndarray]]:
    return [(array, other[name]) for name, array in one.items() if name in other and isinstance(array, np.ndarray)]


def _near(expected: Arrays, outputs: Arrays, unit: float, noise: Arrays | None = None) -> bool:
    """Whether all of them agree to `ROUNDINGS` unit roundoffs, or to `TIMES` the `noise` of an output."""
    for name, array in expected.items():
        if name not in outputs or not isinstance(array, np.ndarray):
            continue
        far = _distance(array, outputs[name], unit)
        allowed = min(MOST, ROUNDINGS * unit) * _sizes(array)
        if noise is not None:
            allowed = np.maximum(allowed, np.minimum(TIMES * noise[name], MOST * _sizes(array)))
        if far.shape != array.shape or np.any(far > allowed):
            return False
    return True


def _distance(one: np.ndarray, other: np.ndarray, unit: float) -> Array:
    """|other − one|: 0 between equal infinities, NaNs and texts, inf where one side is finite; for other shapes inf alone.

    Beyond the range of the coarser type, whose unit roundoff is given, numbers are infinite.
    """
    if one.shape != other.shape:
        return np.array(np.inf)
    if one.dtype.kind in "OSU" or other.dtype.kind in "OSU":
        return np.where(one == other, 0.0, np.inf)
    with np.errstate(invalid="ignore", over="ignore"):
        first, second = (_in_range(array, unit) for array in (one, other))
        same = (first == second) | (np.isnan(first) & np.isnan(second))
        far: Array = np.where(same, 0.0, np.abs(second - first))
    far[np.isnan(far)] = np.inf
    return far


def _in_range(array: np.ndarray, unit: float) -> Array:
    entries = array.astype(np.float64)
    largest = {2.0**-53: math.inf, 2.0**-11: 65504.0}.get(unit, 3.4028234663852886e38)  # bfloat16 has float32's range, nearly
    beyond = (np.abs(entries) > largest) & (array.dtype.kind == "f")
    found: Array = np.where(beyond, np.copysign(np.inf, entries), entries)
    return found


def _sizes(array: np.ndarray) -> Array:
    """|entry|, or a typical one where that is more; whole numbers, truth values and texts have no size."""
    if array.dtype.kind not in "fV":
        return np.zeros(array.shape)
    return _at_least_typical(np.nan_to_num(np.abs(array.astype(np.float64)), nan=0.0, posinf=0.0))


def _at_least_typical(sizes: Array) -> Array:
    """Every size, or the lower quartile of those above 0 where that is more; not that of masks of 10³⁰ among other entries."""
    some = sizes[(sizes > 0) & np.isfinite(sizes)]
    if not some.size:
        return sizes
    least, typical = np.quantile(some, [0.05, 0.25])
    found: Array = np.maximum(sizes, min(float(typical), 1000.0 * float(least)))
    return found
