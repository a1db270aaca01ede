"""Networks of other types, opsets and storage, and quantized ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import version_converter

from tests.comparison.pairs.writing import (
    IDS,
    IMAGE,
    INCOMPLETE,
    NOT_DIFFERENT,
    PRODUCT,
    ROWS,
    alike,
    constant,
    network,
    same,
)

W33: dict[str, Any] = {"w": (4, 3, 3, 3)}
LONG = constant("long", (8, 16))
OLD = network(
    IMAGE,
    "c = Conv(x, w) r = Clip <min = 0.0, max = 6.0> (c) "
    'p = Pad <pads = [0,0,1,1,0,0,1,1]> (r) u = Upsample <mode = "nearest"> (p, s) '
    "f = Flatten(u) d = Dropout(f) y = Softmax(d)",
    W33 | {"s": [1.0, 1.0, 2.0, 2.0]},
    opset=9,
)
IMPORTED = network(ROWS, "t = MatMul(x, w) y = Relu(t)", {"w": (8, 4)})
older = onnx.ModelProto()
older.CopyFrom(IMPORTED)
older.graph.input.append(onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [8, 4]))
typed = onnx.ModelProto()
typed.CopyFrom(IMPORTED)
typed.graph.initializer[0].ClearField("raw_data")
typed.graph.initializer[0].float_data[:] = constant("w", (8, 4)).reshape(-1)
WEIGHT = constant("w", (16, 8))
SCALE = (np.abs(WEIGHT).max(0) / 127).astype(np.float32)
CODES = np.rint(WEIGHT / SCALE).astype(np.int8)
FLOAT = network(PRODUCT, "t = MatMul(x, w) y = Relu(t)", {"w": WEIGHT})
TABLE = constant("table", (40, 8))
STEP = np.float32(np.abs(TABLE).max() / 127)
QDQ = {"s": 0.05, "q": CODES, "ws": SCALE}
SIGNED = network(
    PRODUCT,
    "a = QuantizeLinear(x, s, z) b = DequantizeLinear(a, s, z) "
    "w = DequantizeLinear <axis = 1> (q, ws) t = MatMul(b, w) y = Relu(t)",
    QDQ | {"z": np.int8(0)},
)
UNSIGNED = network(
    PRODUCT,
    "a = QuantizeLinear(x, s, z) b = DequantizeLinear(a, s, z) "
    "w = DequantizeLinear <axis = 1> (q, ws) t = MatMul(b, w) y = Relu(t)",
    QDQ | {"z": np.uint8(128)},
)
dynamic = network(
    PRODUCT,
    "a, s, z = DynamicQuantizeLinear(x) i = MatMulInteger(a, q, z) "
    "f = Cast <to = 1> (i) k = Mul(s, ws) t = Mul(f, k) y = Relu(t)",
    {"q": CODES, "ws": SCALE},
)

PAIRS = [
    alike(
        "float16 with Casts at the interface",
        ROWS,
        "t = MatMul(x, w) y = Relu(t)",
        "h = Cast <to = 10> (x) t = MatMul(h, v) r = Relu(t) y = Cast <to = 1> (r)",
        {"w": LONG, "v": LONG.astype(np.float16)},
    ),
    same(
        "weights stored in float16",
        network(ROWS, "y = MatMul(x, w)", {"w": LONG}),
        network(ROWS, "w = Cast <to = 1> (v) y = MatMul(x, w)", {"v": LONG.astype(np.float16)}),
    ),
    same(
        "float64 inside",
        network(ROWS, "t = MatMul(x, w) y = Relu(t)", {"w": LONG}),
        network(
            ROWS, "d = Cast <to = 11> (x) t = MatMul(d, w) r = Relu(t) y = Cast <to = 1> (r)", {"w": LONG.astype(np.float64)}
        ),
    ),
    same(
        "identifiers as int32",
        network(IDS, "y = Gather(table, x)", {"table": (40, 8)}),
        network("int32[1,5] x", "y = Gather(table, x)", {"table": (40, 8)}),
    ),
    same(
        "softmax of opset 11 and 13",
        network(ROWS, "y = Softmax <axis = 2> (x)", opset=11),
        network(ROWS, "y = Softmax(x)", opset=13),
    ),
    same(
        "axes as an attribute and as an input",
        network(ROWS, "s = ReduceSum <axes = [2], keepdims = 0> (x) y = Unsqueeze <axes = [1]> (s)", opset=11),
        network(ROWS, "s = ReduceSum <keepdims = 0> (x, a) y = Unsqueeze(s, b)", {"a": [2], "b": [1]}, opset=13),
    ),
    same("a file of opset 9 brought to 13 by onnx", OLD, version_converter.convert_version(OLD, 13)),
    same("a file that lists its weights among the inputs, as old ones do", IMPORTED, older, NOT_DIFFERENT),
    same("numbers stored raw and typed", IMPORTED, typed),
    alike("a batch left open", "float[N,6,8] x", "y = Reshape(x, s)", "y = Flatten(x)", {"s": [-1, 48]}),
    same(
        "an int8 weight",
        FLOAT,
        network(PRODUCT, "w = DequantizeLinear <axis = 1> (q, s) t = MatMul(x, w) y = Relu(t)", {"q": CODES, "s": SCALE}),
    ),
    same(
        "an int8 weight multiplied out",
        FLOAT,
        network(PRODUCT, "c = Cast <to = 1> (q) w = Mul(c, s) t = MatMul(x, w) y = Relu(t)", {"q": CODES, "s": SCALE}),
    ),
    same(
        "a quantized table",
        network(IDS, "t = Gather(table, x) y = MatMul(t, v)", {"table": TABLE, "v": (8, 4)}),
        network(
            IDS,
            "g = Gather(q, x) t = DequantizeLinear(g, s, z) y = MatMul(t, v)",
            {"q": np.rint(TABLE / STEP).astype(np.int8), "s": STEP, "z": np.int8(0), "v": (8, 4)},
        ),
    ),
    same("quantized activations", FLOAT, SIGNED, INCOMPLETE),
    same("codes with and without a sign", SIGNED, UNSIGNED, NOT_DIFFERENT),
    same("activations quantized as they come", FLOAT, dynamic, INCOMPLETE),
]
