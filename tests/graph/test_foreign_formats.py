"""A file that is no ONNX model says what it is instead, by the first bytes that its makers write."""

from __future__ import annotations

import gzip
import io
import lzma
import pickle
import zipfile
from pathlib import Path

import pytest

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.model import open_model


def archive(*names: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        for name in names:
            file.writestr(name, "content")
    return held.getvalue()


FILES = {
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "onnxruntime's own format": b"\x18\0\0\0ORTM" + bytes(60),
    "a TensorFlow Lite model": b"\x1c\0\0\0TFL3" + bytes(60),
    "a gzip archive": gzip.compress(b"model"),
    "a Zstandard archive": b"\x28\xb5\x2f\xfd" + bytes(60),
    "an xz archive": lzma.compress(b"model"),
    "a PyTorch checkpoint": archive("resnet18/data.pkl", "resnet18/byteorder", "resnet18/data/0"),
    "a Keras model": archive("metadata.json", "config.json", "model.weights.h5"),
    "a zip archive": archive("model.onnx", "README.md"),
    "a zip archive, ": archive(),
    "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(60),
    "a Python pickle": pickle.dumps({"layer.weight": [0.0]}, protocol=2),
    "a safetensors file": (80).to_bytes(8, "little")
    + b'{"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    + bytes(25),
    "a GGUF file": b"GGUF\x03\0\0\0" + bytes(60),
    "an OpenVINO model": b'<?xml version="1.0"?>\n<net name="resnet" version="11">\n',
    "an HTML page": b"\n<!DOCTYPE html><html><body>Not found</body></html>",
    "an HTML page, ": b"<HTML><HEAD>",
}


@pytest.mark.parametrize("what", FILES)
def test_it_says_what_the_file_is(what: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(FILES[what])
    with pytest.raises(OnnxnullError) as caught:
        open_model(path)
    assert caught.value.code is Code.NOT_ONNX
    assert caught.value.seen.startswith(what.rstrip(", "))
    assert caught.value.remedy != Code.NOT_ONNX.remedy


def test_what_it_does_not_know_it_does_not_name(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("a text about models")
    with pytest.raises(OnnxnullError, match="not an ONNX protobuf") as caught:
        open_model(path)
    assert caught.value.remedy == Code.NOT_ONNX.remedy
