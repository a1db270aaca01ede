"""onnxruntime's fused attention (com.microsoft) as products, Softmax and movements.

1. Attention(x, W, b): the columns of W are those of query, key and value; heads are consecutive columns; the scores are
   Q·Kᵀ·scale, scale = 1/√(columns of a head) unless given. MultiHeadAttention does the same of three inputs.
2. With masks, a past, or other sizes of the parts the node stays what it is.
"""

from __future__ import annotations

import math

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.rewrites import Const, ReadNode, Result, Value, rule
from onnxnull.comparison.graphs.rewrites.arithmetic import ONE
from onnxnull.comparison.graphs.rewrites.reductions import along
from onnxnull.comparison.graphs.terms import known

MICROSOFT = "com.microsoft"


def attended(node: ReadNode, q: Value, k: Value, v: Value, heads: int) -> Value | None:
    """Softmax(q·kᵀ·scale)·v for (batch, sequence, heads·size) operands."""
    shapes = [known(x.shape) for x in (q, k, v)]
    if any(shape is None or len(shape) != 3 or shape[2] % heads for shape in shapes):
        return None
    (batch, length, width), (_, other, _), (_, _, last) = (shape for shape in shapes if shape is not None)
    terms, size = node.terms, width // heads
    queries = terms.transpose(terms.reshape(q, (batch, length, heads, size)), [0, 2, 1, 3])
    keys = terms.transpose(terms.reshape(k, (batch, other, heads, size)), [0, 2, 3, 1])
    values = terms.transpose(terms.reshape(v, (batch, other, heads, last // heads)), [0, 2, 1, 3])
    scale = float(node.attribute("scale", 0.0)) or 1.0 / math.sqrt(size)
    factor = c.power(c.scalar(float(size)), -0.5) if not node.attribute("scale", 0.0) else c.scalar(scale)
    scores = terms.sum([(factor, terms.matmul(queries, keys, (batch, heads, length, other)))])
    mixed = terms.matmul(along(terms, "Softmax", scores, 3), values, (batch, heads, length, last // heads))
    return terms.reshape(terms.transpose(mixed, [0, 2, 1, 3]), (batch, length, last))


@rule("Attention", domain=MICROSOFT)
def attention(node: ReadNode) -> Result:
    """Rules 1 and 2."""
    x, weight, bias = node.operand(0), node.operand(1), node.operand(2)
    rest = [o for o in node.operands[3:] if o is not None]
    heads = int(node.attribute("num_heads", 0))
    odd = node.attribute("unidirectional", 0) or node.attribute("do_rotary", 0) or node.attribute("qkv_hidden_sizes")
    shape = None if x is None else known(x.shape)
    if rest or odd or not heads or x is None or shape is None or not isinstance(weight, Const) or len(weight.shape) != 2:
        return None
    width = weight.shape[1] // 3
    whole = node.terms.matmul(x, weight, (*shape[:-1], weight.shape[1]))
    if bias is not None:
        whole = node.terms.sum([(ONE, whole), (ONE, bias)])
    q, k, v = (node.terms.slice(whole, 2, i * width, (i + 1) * width) for i in range(3))
    found = attended(node, q, k, v, heads)
    return None if found is None or any(o is not None and o.value.uses() for o in node.view.outputs[1:]) else [found]


@rule("MultiHeadAttention", domain=MICROSOFT)
def multi_head(node: ReadNode) -> Result:
    """Rules 1 and 2."""
    q, k, v, bias = (node.operand(i) for i in range(4))
    rest = [o for o in node.operands[4:] if o is not None]
    heads = int(node.attribute("num_heads", 0))
    if rest or not heads or q is None or k is None or v is None or node.attribute("unidirectional", 0):
        return None
    if any(x.shape is None or len(x.shape) != 3 for x in (q, k, v)):
        return None
    if isinstance(bias, Const):
        width = (q.shape or ())[2]
        if width is None or bias.size != 3 * width:
            return None
        parts = [c.sliced(bias, 0, i * width, (i + 1) * width) for i in range(3)]
        q, k, v = (node.terms.sum([(ONE, x), (ONE, b)]) for x, b in zip((q, k, v), parts, strict=True))
    elif bias is not None:
        return None
    found = attended(node, q, k, v, heads)
    return None if found is None else [found]
