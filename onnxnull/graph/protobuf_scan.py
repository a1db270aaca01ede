"""The protobuf wire format of a model, walked once before protobuf's own library builds anything from it.

An empty message takes two bytes in a file and about a hundred in memory, and one in the other, thousands deep, ends the
library's own recursion: so messages, strings, nodes and nesting are counted first, and a file that is cut is told from one
that is something else.

Source: the protocol buffers encoding guide (varints; tags of field number and wire type); which fields hold messages is taken
from the descriptors of the installed onnx.
"""

from __future__ import annotations

import functools
import mmap
import re
from dataclasses import dataclass, field
from typing import Any

from onnxnull.errors import Code, OnnxnullError

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_DEEPEST = 96
"""Messages inside each other; protobuf's library stops at 100."""
_PER_NODE = 32
"""Messages and strings for each node that is allowed: attributes, names, types, dimensions, metadata."""


@dataclass(slots=True)
class _Message:
    """A kind of message: whether it is a NodeProto, and tag → kind of the messages in it that may hold others or strings."""

    is_node: bool
    children: dict[int, _Message] = field(default_factory=dict)


def _number_fields() -> bytes:
    """A regular expression for a run of fields that are numbers, of any kind of message."""
    alternatives = []
    for wire, content in ((_VARINT, rb"[\x80-\xff]{0,9}[\x00-\x7f]"), (_FIXED64, rb"[\s\S]{8}"), (_FIXED32, rb"[\s\S]{4}")):
        short, long = (re.escape(bytes(range(start + wire, start + 128, 8))) for start in (0, 128))
        # a tag of one byte, which is not that of field 0, or of several
        alternatives.append(rb"(?:(?!\x00)[" + short + rb"]|[" + long + rb"][\x80-\xff]{0,3}[\x00-\x7f])" + content)
    return rb"(?:" + rb"|".join(alternatives) + rb")*+"


_NUMBERS = re.compile(_number_fields())


class _Malformed(Exception):
    """These bytes are no message of this kind."""


def check(data: mmap.mmap | bytes, nodes: int) -> None:
    """Raise `OnnxnullError` unless `data` reads like a model of at most `nodes` nodes, not nested too deeply for protobuf."""
    try:
        _walk(data, nodes)
    except _Malformed:
        if _is_truncated(data):
            raise OnnxnullError(Code.TRUNCATED, "the file ends inside the model") from None
        raise OnnxnullError(Code.NOT_ONNX, "not an ONNX protobuf") from None


def _walk(data: mmap.mmap | bytes, most_nodes: int) -> None:
    kind, position, end = _model(), 0, len(data)
    open_messages: list[tuple[_Message, int]] = []
    nodes = parts = 0
    while True:
        run = _NUMBERS.match(data, position, end)
        position = run.end() if run is not None else position
        if position == end:
            if not open_messages:
                return
            kind, end = open_messages.pop()
            continue
        tag, position = _varint(data, position, end)
        wire = tag & 7
        if tag < 8:
            raise _Malformed
        if wire != _LENGTH:
            position = _after_number(data, position, end, wire)
            continue
        size, position = _varint(data, position, end)
        if size > end - position:
            raise _Malformed
        parts += 1
        if parts > most_nodes * _PER_NODE:
            raise OnnxnullError(Code.TOO_LARGE, f"more than {parts - 1} messages and strings; the limit goes with --max-nodes")
        child = kind.children.get(tag)
        if child is None:
            position += size
            continue
        nodes += child.is_node
        if nodes > most_nodes:
            raise OnnxnullError(Code.TOO_LARGE, f"more than {most_nodes} nodes", "raise --max-nodes if you trust the file")
        open_messages.append((kind, end))
        if len(open_messages) > _DEEPEST:
            raise OnnxnullError(
                Code.TOO_LARGE, "bodies or types inside each other, deeper than a protobuf may be", "export it flatter"
            )
        kind, end = child, position + size


def _after_number(data: mmap.mmap | bytes, position: int, end: int, wire: int) -> int:
    """The position behind a number."""
    if wire == _VARINT:
        return _varint(data, position, end)[1]
    width = {_FIXED64: 8, _FIXED32: 4}.get(wire)
    if width is None or position + width > end:
        raise _Malformed
    return position + width


def _varint(data: mmap.mmap | bytes, position: int, end: int) -> tuple[int, int]:
    """The varint at `position` and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _Malformed


@functools.cache
def _model() -> _Message:
    import onnx

    return _kind(onnx.ModelProto.DESCRIPTOR, {})


def _kind(descriptor: Any, known: dict[str, _Message]) -> _Message:
    if descriptor.full_name in known:
        return known[descriptor.full_name]
    made = known[descriptor.full_name] = _Message(descriptor.name == "NodeProto")
    for each in descriptor.fields:
        if each.message_type is not None and _may_hold_many(each.message_type):
            made.children[each.number << 3 | _LENGTH] = _kind(each.message_type, known)
    return made


def _may_hold_many(descriptor: Any) -> bool:
    """Whether a message may hold other messages, or any number of strings."""
    return any(each.message_type is not None or _is_list_of_strings(each) for each in descriptor.fields)


def _is_list_of_strings(described: Any) -> bool:
    return described.is_repeated and described.type in (described.TYPE_STRING, described.TYPE_BYTES)


def _is_truncated(data: mmap.mmap | bytes) -> bool:
    """Whether malformed `data` reads like a ModelProto of which the end is missing.

    True when every complete field at the top level has a number that ModelProto knows, and the last one claims more bytes
    than are left.
    """
    position, fields, end = 0, 0, len(data)
    known = {1: _VARINT, 5: _VARINT} | dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), _LENGTH)
    while position < end:
        try:
            tag, position = _varint(data, position, end)
            if known.get(tag >> 3) != tag & 7:
                return False
            value, position = _varint(data, position, end)
        except _Malformed:
            return fields > 0 and end - position < 10
        position += value if tag & 7 == _LENGTH else 0
        fields += 1
    return position > end and fields > 1
