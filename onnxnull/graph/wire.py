"""The outermost level of the protobuf wire format, to tell a truncated model from a file that is something else.

Source: the protocol buffers encoding guide (varints; tags of field number and wire type) and the fields of ModelProto in
`onnx.proto` (ONNX 1.21): ir_version = 1 and model_version = 5 are varints, the others length-delimited.
"""

from __future__ import annotations

_VARINT, _LENGTH = 0, 2
_WIRE_TYPES = {1: _VARINT, 5: _VARINT} | dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), _LENGTH)


def is_truncated_model(data: memoryview) -> bool:
    """Whether `data` reads like a ModelProto of which the end is missing.

    True when every complete field at the top level has a number that ModelProto knows, and the last one claims more bytes
    than are left.
    """
    position, fields = 0, 0
    while position < len(data):
        tag, position = _varint(data, position)
        if tag is None:
            return fields > 0
        number, wire = tag >> 3, tag & 7
        if _WIRE_TYPES.get(number) != wire:
            return False
        value, position = _varint(data, position)
        if value is None:
            return fields > 0
        if wire == _LENGTH:
            position += value
            if position > len(data):
                return fields > 0
        fields += 1
    return False


def _varint(data: memoryview, position: int) -> tuple[int | None, int]:
    """The varint at `position` and the position behind it; None where the data ends inside it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            return None, position
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
    return None, position
