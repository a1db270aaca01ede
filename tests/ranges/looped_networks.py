"""Loops and a Scan whose states change their shape: which run, which fail in some round, and which may."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from .networks import FLOAT, INT64, Network, W, n

_BOOL = TensorProto.BOOL
WIDE = np.concatenate([W, W[:, :1]], axis=1)
"""(4, 5)."""


def _value(name: str, shape: Any = None, kind: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def looped(
    name: str, *body: NodeProto, rounds: int | None = 3, declared: Any = None, collected: bool = False, **constants: Any
) -> Network:
    """A Loop from x (2, 4) that hands on s → t, and may collect c. An input says how many rounds where none are given."""
    inputs = [_value("i", [], INT64), _value("go", [], _BOOL), _value("s", declared)]
    outputs = [_value("on", [], _BOOL), _value("t", declared), *([_value("c")] if collected else [])]
    graph = helper.make_graph([n("Identity", "go", "on"), *body], "body", inputs, outputs)
    nodes = [n("Loop", "m true x", "h all" if collected else "h", body=graph), n("ReduceSum", "all" if collected else "h", "y")]
    stored = {"true": np.array(True), **constants} | ({} if rounds is None else {"m": np.array(rounds)})
    given = {"x": (FLOAT, (2, 4))} | ({} if rounds is not None else {"m": (INT64, ())})
    return Network(name, nodes, stored, inputs=given)


def branched(name: str, then: str, other: str) -> Network:
    """A Loop whose state goes through W and one of two matrices, by the sign of an entry."""
    graphs = [
        helper.make_graph([n("MatMul", f"p {matrix}", f"b{i}")], f"branch{i}", [], [_value(f"b{i}")])
        for i, matrix in enumerate((then, other))
    ]
    body = [
        n("MatMul", "s w", "p"),
        n("ReduceMax", "s", "top", keepdims=0),
        n("Greater", "top zero", "above"),
        n("If", "above", "t", then_branch=graphs[0], else_branch=graphs[1]),
    ]
    return looped(name, *body, w=W, wide=WIDE, turned=WIDE.T, zero=0.0)


def scanning(name: str, *body: NodeProto, declared: Any = None) -> Network:
    """A Scan from x (2, 4) over three rows, whose state may not change its shape."""
    graph = helper.make_graph(list(body), "body", [_value("s", declared), _value("r", [1])], [_value("t", declared)])
    return Network(name, [n("Scan", "x rows", "y", body=graph, num_scan_inputs=1)], {"rows": np.ones((3, 1), np.float32)})


_GROWS = (n("Concat", "s s", "t", axis=1),)

FAILING = [
    looped("wider-after-a-product", n("MatMul", "s wide", "t"), wide=WIDE),
    looped("wider-and-declared", n("MatMul", "s wide", "t"), declared=[2, 4], wide=WIDE),
    looped("first-round", n("MatMul", "s turned", "t"), turned=WIDE.T),
    looped("grows-beside-a-bias", n("Add", "s b", "a"), n("Concat", "a a", "t", axis=1), b=np.ones((2, 4), np.float32)),
    looped(
        "third-round",
        n("Concat", "s e", "g", axis=1),
        n("Split", "g sizes", "t rest", axis=1),
        e=W[:2, :1],
        sizes=np.array([3, 2]),
    ),
    looped("collects-what-grows", n("Identity", "s", "c"), *_GROWS, collected=True),
    branched("either-branch", "wide", "wide"),
]
"""Each is an error, and fails when it runs."""

MAY_FAIL = [
    looped("as-often-as-asked", n("MatMul", "s wide", "t"), rounds=None, wide=WIDE),
    branched("one-branch", "turned", "w"),
]
"""Each is incomplete."""

LOOPED_HEALTHY = [
    looped("grows", *_GROWS),
    looped("grows-and-declared", *_GROWS, declared=[2, 4]),
    looped("once", n("MatMul", "s wide", "t"), rounds=1, wide=WIDE),
    looped("collects-what-stays", n("Identity", "i", "c"), *_GROWS, collected=False),
    looped("gains-an-axis", n("Unsqueeze", "s first", "t"), first=np.array([0])),
    looped("grows-and-shrinks", n("Concat", "s s", "g", axis=1), n("MatMul", "g tall", "t"), tall=np.concatenate([W, W])),
    scanning("state-stays", n("Add", "s r", "t")),
]
"""As `networks.HEALTHY`."""
