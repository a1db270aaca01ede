"""The baseline: an analysis report (`onnxnull.analysis/1`) of the models as they were, and what is worse than in it.

The file is input from outside: it is read field by field, and what does not fit is an error with the place where it is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from onnxnull import strict_json
from onnxnull.analysis.results import (
    FrontierReport,
    ModelReport,
    WeightReport,
    reads_together,
)
from onnxnull.errors import Code, OnnxnullError
from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.rank import Certainty, Notion

SCHEMA = "onnxnull.analysis/1"
Interval = tuple[int, int]
_CERTAINTIES = tuple(certainty.value for certainty in Certainty)
COUNTS = ("dead_outputs", "duplicate_outputs", "nearly_dead_outputs", "unread_inputs")


@dataclass(frozen=True, slots=True)
class BaselineWeight:
    """A weight as it was.

    Attributes:
        ranks: notion → rank; None where it was not computed.
        counts: of `COUNTS`.
        operators: input nullity of each node that uses it; None where that is no convolution on a known shape.
    """

    inputs: int
    outputs: int
    ranks: Mapping[Notion, int | None]
    counts: Mapping[str, int]
    operators: tuple[Interval | None, ...]


@dataclass(frozen=True, slots=True)
class BaselineModel:
    """A model as it was: its weights by (name, number among those of that name), its inputs by name → input nullity."""

    file: str
    sha256: str
    weights: Mapping[tuple[str, int], BaselineWeight]
    inputs: Mapping[str, Interval | None]


@dataclass(frozen=True, slots=True)
class Baseline:
    """A baseline file. `document` is the whole of it, as parsed."""

    file: str
    models: tuple[BaselineModel, ...]
    document: Mapping[str, Any]

    def model(self, file: str, alone: bool) -> BaselineModel | None:
        """The model of that path; else the only one of that file name; else, where there is one on both sides, that one."""
        same = [model for model in self.models if model.file == file]
        named = [model for model in self.models if PurePath(model.file).name == PurePath(file).name]
        for candidates in (same, named, self.models if alone else ()):
            if len(candidates) == 1:
                return candidates[0]
        return None


def load(path: Path) -> Baseline:
    """The baseline in a file.

    Raises:
        OnnxnullError: `baseline` where it holds none, `file-not-found` or `unreadable` where it cannot be read.
    """
    name = path.name if path.is_absolute() else str(path)
    try:
        document = strict_json.loads(path.read_bytes())
    except FileNotFoundError:
        raise OnnxnullError(Code.FILE_NOT_FOUND, f"no baseline at {name!r}", Code.BASELINE.remedy) from None
    except OSError as error:
        raise OnnxnullError(Code.UNREADABLE, f"{name!r}: {error.strerror}") from None
    except ValueError as error:
        raise OnnxnullError(Code.BASELINE, f"{name!r} is not JSON as onnxnull writes it: {error}") from None
    return parse(name, document)


def parse(name: str, document: Any) -> Baseline:
    """The baseline that parsed JSON holds; `name` is how errors call it. Raises as `load`."""
    reader = _Reader(name)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise reader.error(f"its schema is not {SCHEMA}")
    models = tuple(_model(reader, entry, f"models[{i}]") for i, entry in enumerate(reader.list(document, "models", "")))
    return Baseline(name, models, document)


def updated(old: Baseline | None, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The document of a new baseline: each entry takes the place of the old one of its model; the others stay."""
    kept = [] if old is None else list(old.document["models"])
    for entry in entries:
        file = entry["model"]["file"]
        was = None if old is None else old.model(file, alone=False)
        place = next((i for i, before in enumerate(kept) if was is not None and before["model"]["file"] == was.file), len(kept))
        kept[place : place + 1] = [entry]
    return {"schema": SCHEMA, "models": kept, "errors": []}


def weights_by_key(report: ModelReport) -> dict[tuple[str, int], WeightReport]:
    """Careless exporters repeat names: the number tells weights of one name apart."""
    return dict(zip(_numbered([weight.name for weight in report.weights]), report.weights, strict=True))


def worse_weight(old: BaselineWeight, new: WeightReport) -> list[str]:
    """What is worse about a weight of the same shape, in words; empty if nothing is."""
    found = []
    ranks = {notion: rank.value for notion in Notion if (rank := new.ranks.rank(notion)) is not None}
    fallen = {
        notion: (before, after)
        for notion, after in ranks.items()
        if (before := old.ranks.get(notion)) is not None and after < before
    }
    steps: dict[tuple[int, int], list[str]] = {}
    for notion, step in fallen.items():
        steps.setdefault(step, []).append(notion.value)
    for (before, after), notions in steps.items():
        found.append(f"rank {before:,} → {after:,} ({', '.join(notions)})")
    for name in COUNTS:
        before, after = old.counts[name], getattr(new, name)
        if after > before and (name != "unread_inputs" or reads_together(new)):
            found.append(f"{name.replace('_', ' ')} {before:,} → {after:,}")
    for was, now in _operators(old, new):
        if was is not None and now is None:
            found.append(f"input nullity {_words(was)} → not known")
        elif was is not None and now is not None and _wider(was, now):
            found.append(f"input nullity {_words(was)} → {_words(now)}")
    return found


def new_nullity(old: BaselineWeight, new: WeightReport) -> bool:
    """Whether input nullities of a weight are known now that the baseline does not know."""
    return any(was is None and now is not None for was, now in _operators(old, new))


def _operators(old: BaselineWeight, new: WeightReport) -> Iterable[tuple[Interval | None, Interval | None]]:
    """Input nullities, before and now, node by node where there are as many; else the largest of each."""
    before = old.operators
    after = tuple(None if node.operator is None else _interval(node.operator.float64) for node in new.nodes)
    if len(before) != len(after):
        before, after = (_all(before),), (_all(after),)
    return dict.fromkeys(zip(before, after, strict=True))


def worse_input(old: Interval | None, new: FrontierReport) -> str | None:
    """What is worse about an input, in words; None if nothing is."""
    if old is None:
        return None
    if new.input_nullity is None:
        return f"the network ignored {_words(old)} dimensions of it; what it ignores now is not known: {new.reason}"
    now = _interval(new.input_nullity)
    return f"the network ignores more of it: {_words(old)} → {_words(now)} dimensions" if _wider(old, now) else None


def _wider(old: Interval, new: Interval) -> bool:
    return new[0] > old[0] or new[1] > old[1]


def _all(intervals: Sequence[Interval | None]) -> Interval | None:
    """The largest ends, where a weight is used by more or fewer nodes than before."""
    known = [interval for interval in intervals if interval is not None]
    return (max(lower for lower, _ in known), max(upper for _, upper in known)) if known else None


def _interval(bounds: Bounds) -> Interval:
    return bounds.lower, bounds.upper


def _words(interval: Interval) -> str:
    lower, upper = interval
    return f"{lower:,}" if lower == upper else f"{lower:,}..{upper:,}"


def _numbered(names: Iterable[str]) -> list[tuple[str, int]]:
    seen: Counter[str] = Counter()
    keys = []
    for name in names:
        keys.append((name, seen[name]))
        seen[name] += 1
    return keys


@dataclass(frozen=True, slots=True)
class _Reader:
    """Takes fields out of parsed JSON; what is missing or of another type is an error."""

    file: str

    def error(self, what: str) -> OnnxnullError:
        return OnnxnullError(Code.BASELINE, f"{self.file!r}: {what}")

    def get(self, entry: Any, key: str, kind: type | tuple[type, ...], place: str) -> Any:
        found = entry.get(key, self) if isinstance(entry, dict) else self
        if found is self or not isinstance(found, kind) or isinstance(found, bool):
            raise self.error(f"{place}.{key} is not what it should be".lstrip("."))
        return found

    def list(self, entry: Any, key: str, place: str) -> list[Any]:
        found = self.get(entry, key, list, place)
        assert isinstance(found, list)
        return found

    def count(self, entry: Any, key: str, place: str, most: int | None) -> int:
        """A whole number from 0 to `most`."""
        found = self.get(entry, key, int, place)
        assert isinstance(found, int)
        if found < 0 or (most is not None and found > most):
            raise self.error(f"{place}.{key} is {found}, which it cannot be".lstrip("."))
        return found

    def interval(self, entry: Any, key: str, place: str, most: int) -> Interval | None:
        """None, or two whole numbers with 0 ≤ lower ≤ upper ≤ `most`."""
        found = self.get(entry, key, (list, type(None)), place)
        if found is None:
            return None
        if len(found) != 2 or not all(isinstance(end, int) and not isinstance(end, bool) for end in found):
            raise self.error(f"{place}.{key} is not a pair of whole numbers")
        if not 0 <= found[0] <= found[1] <= most:
            raise self.error(f"{place}.{key} is {found}, which it cannot be")
        return found[0], found[1]


def _model(reader: _Reader, entry: Any, place: str) -> BaselineModel:
    info = reader.get(entry, "model", dict, place)
    weights = reader.list(entry, "weights", place)
    names = [reader.get(weight, "name", str, f"{place}.weights[{i}]") for i, weight in enumerate(weights)]
    found = [_weight(reader, weight, f"{place}.weights[{i}]") for i, weight in enumerate(weights)]
    fronts = {}
    for i, front in enumerate(reader.list(entry, "frontier", place)):
        here = f"{place}.frontier[{i}]"
        known = reader.get(front, "input_nullity", (list, type(None)), here) is not None
        most = reader.count(front, "inputs", here, None) if known else 0
        fronts[reader.get(front, "input", str, here)] = reader.interval(front, "input_nullity", here, most)
    return BaselineModel(
        reader.get(info, "file", str, f"{place}.model"),
        reader.get(info, "sha256", str, f"{place}.model"),
        dict(zip(_numbered(names), found, strict=True)),
        fronts,
    )


def _weight(reader: _Reader, entry: Any, place: str) -> BaselineWeight:
    ranks = reader.get(entry, "rank", dict, place)
    inputs, outputs = (reader.count(entry, key, place, None) for key in ("inputs", "outputs"))
    values: dict[Notion, int | None] = {}
    for notion in Notion:
        optional = (dict, type(None)) if notion is Notion.EXACT else dict
        rank, here = reader.get(ranks, notion.value, optional, f"{place}.rank"), f"{place}.rank.{notion.value}"
        values[notion] = None if rank is None else reader.count(rank, "value", here, min(inputs, outputs))
        if rank is not None and reader.get(rank, "certainty", str, here) not in _CERTAINTIES:
            raise reader.error(f"{here}.certainty is none of {', '.join(_CERTAINTIES)}")
    operators: list[Interval | None] = []
    for i, node in enumerate(reader.list(entry, "nodes", place)):
        here = f"{place}.nodes[{i}]"
        operator = reader.get(node, "operator", (dict, type(None)), here)
        operators.append(None if operator is None else _operator(reader, operator, f"{here}.operator"))
    counts = {name: reader.count(entry, name, place, inputs if name == "unread_inputs" else outputs) for name in COUNTS}
    return BaselineWeight(inputs, outputs, values, counts, tuple(operators))


def _operator(reader: _Reader, entry: Any, place: str) -> Interval:
    shape = reader.list(entry, "input_shape", place)
    if not all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in shape):
        raise reader.error(f"{place}.input_shape is no shape")
    found = reader.interval(entry, "float64", place, math.prod(shape))
    if found is None:
        raise reader.error(f"{place}.float64 is not what it should be")
    return found
