"""The baseline: an analysis report (`onnxnull.analysis/1`) of the models as they were, and what is worse than in it.

The file is input from outside: what does not fit its type is an error with the place where it is.
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
from onnxnull.documents.base import read
from onnxnull.documents.baseline import ReadAnalysis, ReadRank, ReadReport, ReadWeight
from onnxnull.errors import Code, OnnxnullError
from onnxnull.kernel.bounds import Bounds
from onnxnull.kernel.rank import Notion

SCHEMA = "onnxnull.analysis/1"
Interval = tuple[int, int]
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
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise OnnxnullError(Code.BASELINE, f"{name!r}: its schema is not {SCHEMA}")
    try:
        models = tuple(_model(entry, f"models[{i}]") for i, entry in enumerate(read(document, ReadAnalysis).models))
    except ValueError as error:
        raise OnnxnullError(Code.BASELINE, f"{name!r}: {error}") from None
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


def _model(entry: ReadReport, place: str) -> BaselineModel:
    weights = [_weight(weight, f"{place}.weights[{i}]") for i, weight in enumerate(entry.weights)]
    fronts = {
        front.input: _within(front.input_nullity, front.inputs or 0, f"{place}.frontier[{i}].input_nullity")
        for i, front in enumerate(entry.frontier)
    }
    keys = _numbered([weight.name for weight in entry.weights])
    return BaselineModel(entry.model.file, entry.model.sha256, dict(zip(keys, weights, strict=True)), fronts)


def _weight(entry: ReadWeight, place: str) -> BaselineWeight:
    inputs, outputs = entry.inputs, entry.outputs
    values: dict[Notion, int | None] = {}
    for notion in Notion:
        rank: ReadRank | None = getattr(entry.rank, notion.value)
        most = min(inputs, outputs)
        values[notion] = None if rank is None else _at_most(rank.value, most, f"{place}.rank.{notion.value}.value")
    operators = tuple(
        None
        if node.operator is None
        else _within(node.operator.float64, math.prod(node.operator.input_shape), f"{place}.nodes[{i}].operator.float64")
        for i, node in enumerate(entry.nodes)
    )
    counts = {
        name: _at_most(getattr(entry, name), inputs if name == "unread_inputs" else outputs, f"{place}.{name}")
        for name in COUNTS
    }
    return BaselineWeight(inputs, outputs, values, counts, operators)


def _at_most(count: int, most: int, place: str) -> int:
    if count > most:
        raise ValueError(f"{place} is {count}, which it cannot be")
    return count


def _within(interval: Interval | None, most: int, place: str) -> Interval | None:
    if interval is not None and not interval[0] <= interval[1] <= most:
        raise ValueError(f"{place} is {list(interval)}, which it cannot be")
    return interval
