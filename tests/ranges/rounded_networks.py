"""Small networks whose output holds nothing but rounding, and healthy ones that come near that."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from onnxnull.ranges.results import Effect

from .networks import FLOAT, IMAGE, Network, W, n

_MEANS = ("ReduceMean", "GlobalAveragePool")


def limited(
    op: str, then: str, bound: float, *after: NodeProto, effect: Effect | None = Effect.ROUNDING, **more: Any
) -> Network:
    """A function or a mean whose values end at 1 or −1, then a Min or a Max with a bound."""
    inputs = IMAGE if op == "GlobalAveragePool" else {"x": (FLOAT, (2, 4))}
    before = [n("Clip", "x one", "c"), n(op, "c", "h")] if op in _MEANS else [n(op, "x", "h")]
    nodes = [*before, n(then, "h b", "g" if after else "y"), *after]
    constants = {"one": 1.0, "b": bound, **more}
    return Network(f"{op}-{then}-{bound}{'-on' if after else ''}", nodes, constants, effect, inputs=inputs)


def offset(name: str, by: float, kind: int = FLOAT, effect: Effect | None = None) -> Network:
    """A number from 0 to 1 beside a large one."""
    large = np.asarray(by, helper.tensor_dtype_to_np_dtype(kind))
    return Network(name, [n("Sigmoid", "x", "s"), n("Cast", "s", "d", to=kind), n("Add", "d by", "y")], {"by": large}, effect)


ROUNDED_BROKEN = [
    limited("ReduceMean", "Min", 1.0),
    limited("ReduceMean", "Min", 1.0, n("Sub", "g one", "d"), n("Mul", "d huge", "y"), huge=1e9),
    limited("GlobalAveragePool", "Min", 1.0, n("Flatten", "g", "f"), n("MatMul", "f w", "y"), w=W),
    limited("Sigmoid", "Max", 1.0),
    limited("Tanh", "Min", -1.0, n("MatMul", "g w", "y"), w=W),
    limited("Softmax", "Max", 1.0),
    limited("LogSoftmax", "Max", 0.0, n("Exp", "g", "e"), n("MatMul", "e w", "y"), w=W),
    limited("Cos", "Max", 1.0),
    offset("beside-a-billion", 1e9, effect=Effect.ROUNDING),
]
"""As `networks.BROKEN`."""

ROUNDED_HEALTHY = [
    limited("ReduceMean", "Min", 1.5, effect=None),
    limited("Sigmoid", "Max", 0.5, effect=None),
    limited("Tanh", "Min", 0.0, effect=None),
    limited("Softmax", "Max", 1e-7, effect=None),
    offset("beside-a-million", 1e6),
    offset("beside-a-billion-in-doubles", 1e9, TensorProto.DOUBLE),
]
"""As `networks.HEALTHY`."""
