"""External data: what lies inside the model's folder is mapped, whatever leads out of it is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.flow import Flow
from onnxnull.graph.limits import Limits
from onnxnull.graph.model import open_model
from tests.helpers import all_uses, model, only_refusal, only_use, value, weight

W = weight(4, 3)
BYTES = W.tobytes()


def external(location: str | None, *, kind: int = TensorProto.FLOAT, dims: tuple[int, ...] = (4, 3), **entries: int) -> bytes:
    """A model whose only weight lies at `location`."""
    proto = model([helper.make_node("MatMul", ["x", "W"], ["y"])], inputs=[value("x", [2, 4])])
    tensor = proto.graph.initializer.add(name="W", data_type=kind, dims=dims, data_location=TensorProto.EXTERNAL)
    if location is not None:
        tensor.external_data.add(key="location", value=location)
    for key, number in entries.items():
        tensor.external_data.add(key=key, value=str(number))
    data: bytes = proto.SerializeToString()
    return data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """<tmp>/outside.bin, and <tmp>/model with weights.bin and sub/weights.bin."""
    (tmp_path / "outside.bin").write_bytes(BYTES)
    home = tmp_path / "model"
    (home / "sub").mkdir(parents=True)
    (home / "weights.bin").write_bytes(b"\0" * 16 + BYTES)
    (home / "sub" / "weights.bin").write_bytes(BYTES)
    return home


def write(folder: Path, data: bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(data)
    return path


def code_of(folder: Path, data: bytes, limits: Limits | None = None) -> Code:
    with pytest.raises(OnnxnullError) as caught:
        open_model(write(folder, data), limits=limits)
    assert "\n" not in str(caught.value)
    return caught.value.code


def check_weight(path: Path | str, limits: Limits | None = None) -> np.ndarray:
    array = only_use(all_uses(Flow(open_model(path, limits=limits)))).constant.array()
    np.testing.assert_array_equal(array, W)
    return array


def test_offset_and_subfolder(folder: Path) -> None:
    check_weight(write(folder, external("weights.bin", offset=16, length=48)))
    check_weight(write(folder, external("weights.bin", offset=16)))
    check_weight(write(folder, external("sub/weights.bin")))
    check_weight(write(folder, external("./sub/../sub/weights.bin")))


def test_it_is_mapped_and_not_copied(folder: Path) -> None:
    array = check_weight(write(folder, external("sub/weights.bin")))
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    assert type(base).__name__ in ("mmap", "memoryview")
    assert not array.flags.writeable


def test_a_huge_sparse_file_costs_no_memory(folder: Path) -> None:
    with (folder / "huge.bin").open("wb") as file:
        file.truncate(1 << 36)
    path = write(folder, external("huge.bin", dims=(1 << 17, 1 << 17)))
    assert only_refusal(all_uses(Flow(open_model(path)))).code is Code.CONSTANT
    use = only_use(all_uses(Flow(open_model(path, limits=Limits(constant_bytes=1 << 36)))))
    assert use.constant.array().shape == (1 << 17, 1 << 17)


def test_a_bare_file_name_from_the_models_own_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, external("sub/weights.bin"))
    monkeypatch.chdir(folder)
    check_weight("model.onnx")
    write(folder, external("../outside.bin"))
    with pytest.raises(OnnxnullError) as caught:
        open_model("model.onnx")
    assert caught.value.code is Code.EXTERNAL_ESCAPES


@pytest.mark.parametrize(
    "location", ["../outside.bin", "sub/../../outside.bin", "..", "", ".", "sub/..", "..\\outside.bin", "C:weights.bin", "a\0b"]
)
def test_locations_that_lead_out(location: str, folder: Path) -> None:
    assert code_of(folder, external(location)) is Code.EXTERNAL_ESCAPES


def test_absolute_locations(folder: Path) -> None:
    assert code_of(folder, external(str(folder / "sub" / "weights.bin"))) is Code.EXTERNAL_ESCAPES
    assert code_of(folder, external("/etc/passwd")) is Code.EXTERNAL_ESCAPES


def test_symbolic_links(folder: Path) -> None:
    (folder / "in.bin").symlink_to("sub/weights.bin")
    check_weight(write(folder, external("in.bin")))
    (folder / "out.bin").symlink_to(folder.parent / "outside.bin")
    assert code_of(folder, external("out.bin")) is Code.EXTERNAL_ESCAPES
    (folder / "away").symlink_to(folder.parent, target_is_directory=True)
    assert code_of(folder, external("away/outside.bin")) is Code.EXTERNAL_ESCAPES
    (folder / "dangling.bin").symlink_to("nowhere.bin")
    assert code_of(folder, external("dangling.bin")) is Code.EXTERNAL_MISSING
    (folder / "loop.bin").symlink_to("loop.bin")
    assert code_of(folder, external("loop.bin")) is Code.EXTERNAL_MISSING


def test_the_models_folder_may_itself_be_a_symbolic_link(folder: Path) -> None:
    write(folder, external("sub/weights.bin"))
    (folder.parent / "alias").symlink_to(folder, target_is_directory=True)
    check_weight(folder.parent / "alias" / "model.onnx")


def test_hard_links(folder: Path) -> None:
    os.link(folder.parent / "outside.bin", folder / "hard.bin")
    assert code_of(folder, external("hard.bin")) is Code.EXTERNAL_HARD_LINK
    check_weight(folder / "model.onnx", Limits(allow_hard_links=True))


def test_what_is_no_file(folder: Path) -> None:
    assert code_of(folder, external("nowhere.bin")) is Code.EXTERNAL_MISSING
    assert code_of(folder, external("sub")) is Code.EXTERNAL_MISSING
    os.mkfifo(folder / "pipe")
    assert code_of(folder, external("pipe")) is Code.EXTERNAL_MISSING
    assert code_of(folder, external("x" * 3000)) is Code.EXTERNAL_MISSING


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ({"offset": 17}, Code.EXTERNAL_SHORT),
        ({"offset": 1 << 40}, Code.EXTERNAL_SHORT),
        ({"offset": 1 << 80}, Code.EXTERNAL_SHORT),
        ({"offset": -1}, Code.INVALID_MODEL),
        ({"length": 47}, Code.INVALID_MODEL),
        ({"length": 64}, Code.INVALID_MODEL),
        ({"length": -1}, Code.INVALID_MODEL),
    ],
)
def test_offset_and_length(entries: dict[str, Any], code: Code, folder: Path) -> None:
    assert code_of(folder, external("weights.bin", **entries)) is code


def test_shape_and_type(folder: Path) -> None:
    assert code_of(folder, external("weights.bin", dims=(4, 5))) is Code.EXTERNAL_SHORT
    assert code_of(folder, external("weights.bin", dims=(1 << 40, 1 << 40))) is Code.EXTERNAL_SHORT
    assert code_of(folder, external("weights.bin", dims=(-4, -3))) is Code.INVALID_MODEL
    assert code_of(folder, external("weights.bin", kind=TensorProto.STRING)) is Code.INVALID_MODEL
    assert code_of(folder, external("weights.bin", kind=TensorProto.UNDEFINED)) is Code.INVALID_MODEL
    assert code_of(folder, external(None)) in (Code.INVALID_MODEL, Code.EXTERNAL_ESCAPES)


def test_data_of_constant_nodes_bodies_and_functions(folder: Path) -> None:
    proto = onnx.ModelProto.FromString(external("../outside.bin"))
    stored = proto.graph.initializer.pop()
    constant = helper.make_node("Constant", [], ["W"], value=stored)
    nodes = [constant, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    assert code_of(folder, proto.SerializeToString()) is Code.EXTERNAL_ESCAPES
    body = helper.make_graph([constant, helper.make_node("MatMul", ["x", "W"], ["b"])], "body", [], [value("b", None)])
    choose = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    inputs = [value("x", [2, 4]), value("c", [], TensorProto.BOOL)]
    assert code_of(folder, model([choose], inputs=inputs).SerializeToString()) is Code.EXTERNAL_ESCAPES
    function = helper.make_function("local", "F", ["x"], ["y"], nodes, [helper.make_opsetid("", 17)])
    call = helper.make_node("F", ["x"], ["z"], domain="local")
    made = model([call], inputs=inputs[:1], functions=[function], imports={"local": 1})
    assert code_of(folder, made.SerializeToString()) is Code.EXTERNAL_ESCAPES


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float64", "int8"])
def test_every_width(name: str, folder: Path) -> None:
    import ml_dtypes

    kinds = {
        "float16": (TensorProto.FLOAT16, np.dtype(np.float16)),
        "bfloat16": (TensorProto.BFLOAT16, np.dtype(ml_dtypes.bfloat16)),
        "float64": (TensorProto.DOUBLE, np.dtype(np.float64)),
        "int8": (TensorProto.INT8, np.dtype(np.int8)),
    }
    kind, dtype = kinds[name]
    stored = (W * 10).astype(dtype)
    (folder / "weights.bin").write_bytes(stored.tobytes())
    use = only_use(all_uses(Flow(open_model(write(folder, external("weights.bin", kind=kind))))))
    assert use.constant.array().dtype == dtype
    np.testing.assert_array_equal(use.constant.array(), stored)
