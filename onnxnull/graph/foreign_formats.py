"""Recognise what is often met under the name of an ONNX file and is none, by its first bytes."""

from __future__ import annotations

import re

# first bytes (a regular expression) → what it is, what to do; the more particular pattern stands first
_FORMATS = tuple(
    (re.compile(pattern, re.DOTALL), what, remedy)
    for pattern, what, remedy in (
        (rb"version https://git-lfs\.github\.com/", "a Git LFS pointer, not the model", "fetch the model with `git lfs pull`"),
        (rb".{4}ORTM", "onnxruntime's own format (.ort)", "use the .onnx file that it was converted from"),
        (rb".{4}TFL3", "a TensorFlow Lite model", "convert it with tf2onnx (--tflite)"),
        (rb"\x1f\x8b", "a gzip archive", "unpack it first (gunzip)"),
        (rb"\x28\xb5\x2f\xfd", "a Zstandard archive", "unpack it first (unzstd)"),
        (rb"\xfd7zXZ\x00", "an xz archive", "unpack it first (unxz)"),
        (
            rb"PK\x03\x04.{26,200}?(?:data\.pkl|\.data/serialization_id|byteorder|constants\.pkl)",
            "a PyTorch checkpoint or TorchScript file",
            "export the network with torch.onnx.export",
        ),
        (
            rb"PK\x03\x04.{26,60}?(?:metadata\.json|config\.json|model\.weights\.h5)",
            "a Keras model (.keras)",
            "export it with model.export(..., format='onnx') or tf2onnx",
        ),
        (rb"PK(?:\x03\x04|\x05\x06)", "a zip archive", "unpack it first, and name the .onnx file inside"),
        (rb"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras .h5)", "export it with model.export(..., format='onnx') or tf2onnx"),
        (rb"\x80[\x02-\x05]", "a Python pickle (an older PyTorch checkpoint?)", "export the network with torch.onnx.export"),
        (rb".{5}\x00{3}\{", "a safetensors file: weights without a network", "export the network that they belong to to ONNX"),
        (rb"GGUF", "a GGUF file", "export the network to ONNX"),
        (rb"\s*<\?xml.{0,200}?<net\b", "an OpenVINO model", "use the .onnx file that it was converted from"),
        (rb"(?i)\s*<(?:!doctype html|html|head|body)", "an HTML page, not the model", "download the file itself, not its page"),
    )
)
HEAD = 512
"""How many of a file's first bytes `recognise` looks at."""


def recognise(head: bytes) -> tuple[str, str] | None:
    """What a file that is no ONNX model seems to be, and what to do about it; None where that is not known.

    Args:
        head: the first `HEAD` bytes.
    """
    for pattern, what, remedy in _FORMATS:
        if pattern.match(head):
            return what, remedy
    return None
