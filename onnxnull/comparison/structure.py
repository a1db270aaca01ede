"""What the nodes of partners do beside multiplying: how often a weight is used, and over which patches of an image.

Compared are the number of nodes that use the weight, whether a convolution is a transposed one, and of convolutions strides,
dilations, paddings and groups, with ONNX's defaults where a node leaves them out. A product against a convolution (1×1, or
patches) has nothing to compare.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnxnull.graph.view import NodeView
from onnxnull.operators import LinearUse
from onnxnull.weights import Weight

_NUMBERS = {"strides": 1, "dilations": 1, "pads": 0, "output_padding": 0}
"""Lists of numbers, one per axis, and what each number is where the list is left out."""


def unlike(a: Sequence[Weight], b: Sequence[Weight]) -> Iterator[str]:
    """What the nodes of two partners do not have in common, in words; several weights of one side are one together."""
    counts = [{len(weight.uses) for weight in side} for side in (a, b)]
    if counts[0] != counts[1]:
        first, second = (" and ".join(map(str, sorted(found))) for found in counts)
        yield f"used {first} times in one model and {second} times in the other"
    kinds = [sorted({kind for weight in side for kind in _kinds(weight)}) for side in (a, b)]
    if all(kinds) and kinds[0] != kinds[1]:
        first, second = (" and ".join(found) for found in kinds)
        yield f"used with {first} in one model and with {second} in the other"


def _kinds(weight: Weight) -> Iterator[str]:
    """How the weight is moved over images, once per use; nothing for a product."""
    for view, use in weight.uses:
        if use.on_images:
            yield _kind(view, use)


def _kind(view: NodeView, use: LinearUse) -> str:
    """Everything that says which patches a convolution reads, defaults left out."""
    automatic = view.attribute("auto_pad", "NOTSET")
    parts = ["transposed convolution"] if "Transpose" in view.op_type else []
    for name, default in _NUMBERS.items():
        numbers = list(view.attribute(name, None) or ())
        if any(number != default for number in numbers) and not (name == "pads" and automatic != "NOTSET"):
            parts.append(f"{name} {'×'.join(map(str, numbers))}")
    if automatic not in ("NOTSET", "VALID"):
        parts.append(f"auto_pad {automatic}")
    if use.groups != 1:
        parts.append(f"group {use.groups}")
    return ", ".join(parts) or "no stride, dilation, padding or group"
