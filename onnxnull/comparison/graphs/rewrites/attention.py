"""onnxruntime's fused attention (com.microsoft) as products, Softmax and movements.

1. Attention(x, W, b): the columns of W are those of query, key and value; heads are consecutive columns; the scores are
   Q·Kᵀ·scale, scale = 1/√(columns of a head) unless given. MultiHeadAttention does the same of three inputs.
2. `attention_bias` (batch or 1, heads or 1, queries, keys) is added to the scores.
3. A mask (batch, keys) or (batch, queries, keys) of integers adds `mask_filter_value` (−10000 unless given) where it is not
   above 0. Exporters write (1 − mask)·filter, which is the same for masks of 0 and 1 alone: those that were cast from booleans.
4. With lengths as masks, a causal mask, a past, or other sizes of the parts the node stays what it is.
"""

from __future__ import annotations

import math

import numpy as np

from onnxnull.comparison.graphs import constants as c
from onnxnull.comparison.graphs.movements import ONE, ZERO
from onnxnull.comparison.graphs.rewrites import Const, ReadNode, Result, Term, Value, rule
from onnxnull.comparison.graphs.rewrites.normalization import number
from onnxnull.comparison.graphs.rewrites.reductions import along
from onnxnull.comparison.graphs.terms import known

MICROSOFT = "com.microsoft"


def attended(node: ReadNode, q: Value, k: Value, v: Value, heads: int, mask: Value | None, bias: Value | None) -> Value | None:
    """Softmax(q·kᵀ·scale + mask + bias)·v for (batch, sequence, heads·size) operands (rules 1 to 3)."""
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
    parts, shift = [(factor, terms.matmul(queries, keys, (batch, heads, length, other)))], ZERO
    if bias is not None:
        parts.append((ONE, bias))
    if mask is not None:
        shape = known(mask.shape)
        if shape not in ((batch, other), (batch, length, other)) or mask.kind != "i":
            return None
        shift = number(node.attribute("mask_filter_value", -10000.0))
        flags = terms.reshape(_kept(node, mask), (batch, 1, length if len(shape) == 3 else 1, other))
        parts.append((c.times(c.scalar(-1.0), shift), flags))
    scores = terms.sum(parts, shift)
    mixed = terms.matmul(along(terms, "Softmax", scores, 3), values, (batch, heads, length, last // heads))
    return terms.reshape(terms.transpose(mixed, [0, 2, 1, 3]), (batch, length, last))


def _kept(node: ReadNode, mask: Value) -> Value:
    """1 where a mask of integers is above 0, else 0."""
    terms = node.terms
    if isinstance(mask, Const):
        return c.const((mask.value > 0).astype(np.float64), dtype="float32", roots=mask.roots)

    def flag(t: Term) -> Value:
        if t.op == "FromBoolean":
            return terms.make("ToFloat", t.variables, shape=t.shape)
        above = terms.apply("Less", [c.const(np.array(0)), t], shape=t.shape, kind="b")
        return terms.make("ToFloat", [above], shape=t.shape)

    return terms.elementwise(mask, flag)


@rule("Attention", domain=MICROSOFT)
def attention(node: ReadNode) -> Result:
    """Rules 1 to 4."""
    x, weight, bias, mask, past, added = (node.operand(i) for i in range(6))
    rest = [o for o in (past, *node.operands[6:]) if o is not None]
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
    found = attended(node, q, k, v, heads, mask, added)
    return None if found is None or any(o is not None and o.value.uses() for o in node.view.outputs[1:]) else [found]


@rule("MultiHeadAttention", domain=MICROSOFT)
def multi_head(node: ReadNode) -> Result:
    """Rules 1 to 4."""
    q, k, v, bias, mask, added = (node.operand(i) for i in range(6))
    rest = [o for o in node.operands[6:] if o is not None]
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
    found = attended(node, q, k, v, heads, mask, added)
    return None if found is None or any(o is not None and o.value.uses() for o in node.view.outputs[1:]) else [found]
