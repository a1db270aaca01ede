"""Does onnxruntime load a model? A session is created in a child process, of the checked bytes, and no node is run.

Graph optimisation is off, so that nothing is folded; there are no libraries of custom operators, and no metadata. What
onnxruntime says is told apart by the step at which it ends and by the type of its error (its status code), and by what its own
tables know, not by the words of a message: the graph is refused, or something in it is not known here, or it could not be found
out. An answer that is none of these is the last.
"""

from __future__ import annotations

import enum
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from onnxnull.errors import OnnxnullError, one_line
from onnxnull.graph.protobuf import all_nodes
from onnxnull.runtime.child import Child, DeadError
from onnxnull.runtime.transfer import Transfer, prepare

if TYPE_CHECKING:
    import onnx

    from onnxnull.graph.model import Model, Parsed

_MEMORY = 1 << 30, 4
"""Bytes that creating a session may take: so many, and so many times the bytes of the model."""
_SECONDS = 30, 10 << 20
"""Seconds of processor time that it may take: so many, and one more for so many bytes."""
_WALL = 10
"""How many times longer it may take by the clock: machines are busy."""
_LARGE = 256 << 20
"""After a model of so many bytes the child is started afresh, with all memory given back."""
_REFUSALS = ("InvalidGraph", "Fail", "InvalidArgument")
"""Errors of the step that resolves the graph: names, types, shapes, attributes (Graph::Resolve of onnxruntime)."""
_NO_MEMORY = re.compile(r"bad_alloc|[Ff]ailed to allocate|length_error|[Oo]ut of memory")
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")


class LoadOutcome(enum.Enum):
    """What came of it."""

    LOADS = "loads"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Loading:
    """Whether a model loads, and why not, in a clause.

    `REFUSED`: the graph breaks a rule of names, types, shapes or attributes. `UNKNOWN`: this onnxruntime has no such operator,
    operator set or kernel. `FAILED`: it was not found out: a crash, a limit, no onnxruntime, an answer not understood.
    """

    outcome: LoadOutcome
    why: str = ""


class Loader:
    """Loads one model after the other. Use it in a `with` statement."""

    def __init__(self, child: Child | None = None) -> None:
        self._child = child or Child()
        self._known: dict[tuple[str, str], list[int]] | None = None

    def __enter__(self) -> Loader:
        self._child.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._child.__exit__(kind, error, trace)

    def problem(self) -> str | None:
        """Why no session can be created here at all; None where one was."""
        if not self._child.ready():
            return one_line(self._child.problem)
        try:
            return None if self._takes(8, {}) else "onnxruntime refuses a model of one Identity"
        except DeadError as error:
            return one_line(error)

    @property
    def limits(self) -> tuple[str, ...]:
        """What the operating system limits in the child, once `problem` was asked for."""
        return self._child.limits

    @property
    def watched(self) -> tuple[str, ...]:
        """What we look at ourselves, since the system does not."""
        return self._child.watched

    def load(self, model: Model, deadline: float | None = None) -> Loading:
        """Whether onnxruntime loads `model`; it is given up at `deadline`, an instant of `time.monotonic()`."""
        if not self._child.ready():
            return Loading(LoadOutcome.FAILED, f"no session can be created here: {one_line(self._child.problem)}")
        try:
            transfer = prepare(model)
            answer = self._create(transfer, math.inf if deadline is None else max(0.1, deadline - time.monotonic()))
            if transfer.size > _LARGE:
                self._child.stop()
            return self._judge(answer, model.parsed)
        except (DeadError, OnnxnullError) as error:
            seen = error.seen if isinstance(error, OnnxnullError) else str(error)
            return Loading(LoadOutcome.FAILED, f"creating a session: {one_line(seen)}")

    def _create(self, transfer: Transfer, wall: float = math.inf) -> dict[str, Any]:
        memory = _MEMORY[0] + _MEMORY[1] * transfer.size
        seconds = _SECONDS[0] + transfer.size // _SECONDS[1]
        request = {"model": len(transfer.model), "beside": transfer.beside, "memory": memory, "seconds": seconds}

        def data() -> Iterator[bytes]:
            yield transfer.model
            yield from transfer.chunks()

        if not self._child.ready():
            raise DeadError(self._child.problem)
        return self._child.ask(request, data(), wall=min(wall, _WALL * seconds), memory=memory)

    def _judge(self, answer: Mapping[str, Any], parsed: Parsed) -> Loading:
        step, error = answer["step"], answer.get("error")
        if step == "done":
            return Loading(LoadOutcome.LOADS)
        if _NO_MEMORY.search(answer["message"]):
            return Loading(LoadOutcome.FAILED, "creating a session: it takes more memory than the limit")
        said = f"onnxruntime {self._child.onnxruntime}: {_PREFIX.sub('', one_line(answer['message'], 4000))}"
        if error == "NotImplemented":
            return Loading(LoadOutcome.UNKNOWN, one_line(said))
        if error == "InvalidGraph" or (step == "graph" and error in _REFUSALS):
            unknown = self._unknown(parsed)
            if unknown:
                more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
                names = f"onnxruntime {self._child.onnxruntime} does not know {', '.join(unknown[:3])}{more}"
                return Loading(LoadOutcome.UNKNOWN, one_line(names))
            return Loading(LoadOutcome.REFUSED, one_line(said))
        return Loading(LoadOutcome.FAILED, one_line(f"{error}: {said}"))

    def _unknown(self, parsed: Parsed) -> list[str]:
        """What this onnxruntime does not know of what a refused model consists of: tried, or looked up in its own tables.

        It looks at the operator sets of functions that nothing calls, too, though not at their nodes.
        """
        proto = parsed.proto
        found = [] if self._takes(proto.ir_version, {}) else [f"IR version {proto.ir_version}"]
        imports = [_versions(proto.opset_import), *(_versions(function.opset_import) for function in proto.functions)]
        idle = [_versions(function.opset_import) for function in parsed.uncalled]
        for domain, version in dict.fromkeys(pair for known in (*imports, *idle) for pair in known.items()):
            if not self._takes(8, {domain: version}):
                found.append(f"version {version} of the operator set {domain or 'ai.onnx'!r}")
        return found or list(self._unknown_operators(proto, imports))

    def _takes(self, ir_version: int, imports: Mapping[str, int]) -> bool:
        """Whether a model of one Identity loads that declares this."""
        from onnx import TensorProto, helper

        value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
        graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "probe", value[:1], value[1:])
        opsets = [helper.make_opsetid(domain, version) for domain, version in {"": 13, **imports}.items()]
        data = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version).SerializeToString()
        return bool(self._create(Transfer(data))["step"] in ("done", "kernels"))

    def _unknown_operators(self, proto: onnx.ModelProto, imports: list[dict[str, int]]) -> Iterator[str]:
        schemas = self._schemas()
        if schemas is None:
            return
        own = {(function.domain, function.name) for function in proto.functions}
        seen = set(own)
        for nodes, versions in zip([proto.graph.node, *(f.node for f in proto.functions)], imports, strict=True):
            for node in all_nodes(nodes):
                domain = _domain(node.domain)
                version, key = versions.get(domain), (domain, node.op_type)
                # no name, or a domain that is not imported, is a fault of the model, whatever is known here
                if (
                    key in seen
                    or not node.op_type
                    or version is None
                    or any(since <= version for since in schemas.get(key, ()))
                ):
                    continue
                seen.add(key)
                yield f"the operator {domain or 'ai.onnx'}::{node.op_type} (opset {version})"

    def _schemas(self) -> dict[tuple[str, str], list[int]] | None:
        if self._known is None and self._child.ready():
            answer = self._child.ask({"schemas": True}, [], wall=60)
            if answer["schemas"] is not None:
                self._known = {}
                for domain, name, since in answer["schemas"]:
                    self._known.setdefault((_domain(domain), name), []).append(since)
        return self._known


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _versions(opsets: Any) -> dict[str, int]:
    return {_domain(opset.domain): opset.version for opset in opsets}
