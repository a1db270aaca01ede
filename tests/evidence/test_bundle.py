"""Evidence bundles: what lies where, the same bytes every time, and nobody's files lost whatever happens."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxnull.collision.results import Collision, EightBit, Space, TraceStep
from onnxnull.collision.search import Execution, Place, Search
from onnxnull.errors import Code, OnnxnullError
from onnxnull.evidence import arrays
from onnxnull.evidence.provenance import model_facts
from onnxnull.evidence.write_bundle import Bundle, check
from onnxnull.graph.model import open_model
from onnxnull.inputs import Preprocessing
from tests.collision.bundles import (
    LABELS,
    bundled,
    document_of,
    hand_made,
    hand_made_run,
    patch_model,
    two_input_model,
)

TENSORS = {"original.npy", "colliding.npy", "control.npy"}
PICTURES = {"original.png", "colliding.png", "perturbation.png", "figure.png"}


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Search:
    return Search(open_model(patch_model(tmp_path_factory.mktemp("model") / "m.onnx")), Place(), Execution())


def unseen(where: str = "layer") -> Collision:
    """A hidden layer's, of which no picture is drawn."""
    hidden = np.zeros((1, 16, 4, 4))
    return hand_made(space=Space.ACTIVATION, where=where, original=hidden, colliding=hidden + 1, control=hidden - 1, runs=())


def write(folder: Path, search: Search, *collisions: Any, force: bool = False) -> None:
    with Bundle(folder, search, Preprocessing(), LABELS, force=force) as bundle:
        for collision in collisions:
            bundle.add(collision)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_one_collision_lies_in_the_folder_itself(tmp_path: Path, search: Search) -> None:
    collision = hand_made()
    write(tmp_path / "out", search, collision)
    masks = {"mask-original.png", "mask-colliding.png"}
    assert set(os.listdir(tmp_path / "out")) == {"collision.json"} | TENSORS | PICTURES | masks
    (entry,) = document_of(tmp_path / "out")["collisions"]
    for which in ("original", "colliding", "control"):
        found = entry["arrays"][which]
        assert found == {"file": f"{which}.npy", "sha256": digest(tmp_path / "out" / f"{which}.npy")}
        assert np.array_equal(np.load(tmp_path / "out" / f"{which}.npy"), getattr(collision, which))
    assert set(entry["pictures"]) == PICTURES | masks
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".onnxnull")]


def test_several_lie_in_folders_with_harmless_names(tmp_path: Path, search: Search) -> None:
    places = ["../../etc/pässwd\n", "", "x" * 500, ".." * 3, "\x1b[31m", "a/b.png"]
    write(tmp_path / "out", search, *(unseen(where) for where in places))
    document = document_of(tmp_path / "out")
    folders = [entry["arrays"]["original"]["file"].split("/")[0] for entry in document["collisions"]]
    names = ["etc-passwd", "collision", "x" * 40, "collision", "31m", "a-b.png"]
    assert folders == [f"{number:03}-{name}" for number, name in enumerate(names, start=1)]
    assert set(os.listdir(tmp_path / "out")) == {"collision.json", *folders}
    for entry in document["collisions"]:
        for found in entry["arrays"].values():
            assert digest(tmp_path / "out" / found["file"]) == found["sha256"]


def test_bytes_repeat(tmp_path: Path) -> None:
    path = two_input_model(tmp_path / "m.onnx")
    for name in ("a", "b"):
        bundled(tmp_path / name, path, cases=2)
        os.utime(path, (1e9, 1e9))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_other_inputs_are_kept_under_harmless_names(tmp_path: Path) -> None:
    bundled(tmp_path / "out", two_input_model(tmp_path / "m.onnx"))
    (entry,) = document_of(tmp_path / "out")["collisions"]
    assert entry["inputs"] == {"file": "inputs.npz", "sha256": digest(tmp_path / "out/inputs.npz"), "names": ["scale/../x"]}
    with np.load(tmp_path / "out/inputs.npz", allow_pickle=False) as archive:
        assert archive.files == ["input000"]
        assert archive["input000"].shape == (3,)


def test_pixels_where_the_original_was_an_image(tmp_path: Path, search: Search) -> None:
    from PIL import Image

    run = hand_made_run("float32", 0.0)
    start = np.zeros((1, 3, 8, 8))
    start[:, 0] = 1.0  # red
    collision = hand_made(original=start, eight_bit=EightBit(0.1, "float32", run.outputs))
    write(tmp_path / "out", search, collision)
    with Image.open(tmp_path / "out/original.png") as image:
        assert image.size == (8, 8)
        assert image.getpixel((0, 0)) == (255, 0, 0)


def test_a_hidden_layer_has_no_picture_and_a_trace_has_one(tmp_path: Path, search: Search) -> None:
    write(tmp_path / "hidden", search, unseen())
    assert set(os.listdir(tmp_path / "hidden")) == {"collision.json"} | TENSORS
    run = hand_made_run("float32", 0.0, trace=[TraceStep("t", "Relu", 1e-7, None, 0.1)])
    write(tmp_path / "traced", search, hand_made(runs=(run,)))
    assert (tmp_path / "traced/trace.png").stat().st_size > 1000


def test_vectors_and_scalars_can_be_drawn(tmp_path: Path, search: Search) -> None:
    for number, shape in enumerate([(1, 100), (2, 3, 4, 5, 6), ()]):
        start = np.zeros(shape)
        given = {"original": start, "colliding": start + 1, "control": start, "runs": ()}
        write(tmp_path / str(number), search, hand_made(**given))
        assert (tmp_path / str(number) / "figure.png").is_file()


def test_external_data_is_listed(tmp_path: Path) -> None:
    path = patch_model(tmp_path / "m.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    facts = model_facts(Search(open_model(path), Place(), Execution()))
    assert facts.external == {"w.bin": digest(tmp_path / "w.bin")}
    assert (facts.file, facts.sha256) == ("m.onnx", digest(path))
    assert facts.input_shapes == {"x": (1, 3, 8, 8)}


def refused(action: Callable[[], object]) -> str:
    with pytest.raises(OnnxnullError) as caught:
        action()
    assert caught.value.code is Code.OUTPUT
    return caught.value.seen


def test_what_is_there_is_not_replaced(tmp_path: Path, search: Search) -> None:
    write(tmp_path / "out", search, unseen())
    before = contents(tmp_path / "out")
    assert "is there already" in refused(lambda: check(tmp_path / "out"))
    assert "is there already" in refused(lambda: write(tmp_path / "out", search, unseen()))
    assert contents(tmp_path / "out") == before


def test_force_replaces_a_bundle_and_an_empty_folder(tmp_path: Path, search: Search) -> None:
    write(tmp_path / "out", search, unseen(), unseen())
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    for name in ("out", "empty", "link"):
        write(tmp_path / name, search, unseen("other"), force=True)
        assert document_of(tmp_path / name)["collisions"][0]["where"] == "other"
    assert (tmp_path / "link").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["empty", "link", "out"]
    assert not (tmp_path / "out/001-layer").exists()


@pytest.mark.parametrize(
    "make",
    [
        lambda out: (out / "thesis.txt").write_text("mine"),
        lambda out: (out / "collision.json").unlink(),
        lambda out: (out / "collision.json").write_text("{}"),
        lambda out: (out / "collision.json").write_text("[" * 100_000),
        lambda out: (out / "collision.json").write_text('{"schema": "onnxnull.proofs/1"}'),
        lambda out: (out / "thesis").mkdir(),
        lambda out: ((out / "003-mine").mkdir(), (out / "003-mine/thesis.txt").write_text("mine")),
        lambda out: ((out / "figure.png").unlink(missing_ok=True), (out / "figure.png").mkdir()),
        lambda out: ((out / "trace.png").symlink_to("/etc/passwd"),),
    ],
    ids=range(9),
)
def test_force_never_deletes_what_is_not_ours(make: Callable[[Path], object], tmp_path: Path, search: Search) -> None:
    write(tmp_path / "out", search, unseen(), unseen())
    make(tmp_path / "out")
    before = contents(tmp_path / "out")
    refused(lambda: check(tmp_path / "out", force=True))
    refused(lambda: write(tmp_path / "out", search, unseen(), force=True))
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("name", ["file", "absent/out", "file/out"])
def test_places_where_no_folder_can_be(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(lambda: check(tmp_path / name, force=True))


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "not writable" in refused(lambda: check(tmp_path / "locked/out"))


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), OnnxnullError(Code.RUNTIME, "no")])
def test_a_failure_leaves_everything_as_it_was(error: BaseException, tmp_path: Path, search: Search) -> None:
    write(tmp_path / "out", search, unseen())
    before = contents(tmp_path)

    def fail(name: str, force: bool) -> None:
        with Bundle(tmp_path / name, search, Preprocessing(), force=force) as bundle:
            bundle.add(unseen())
            raise error

    for name, force in (("out", True), ("new", False)):
        with pytest.raises(type(error)):
            fail(name, force)
    assert contents(tmp_path) == before
    assert os.listdir(tmp_path) == ["out"]


def test_a_full_disk_is_an_error_in_one_line(tmp_path: Path, search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(arrays, "write_array", full)
    assert "No space left" in refused(lambda: write(tmp_path / "out", search, unseen()))
    assert os.listdir(tmp_path) == []


def test_the_old_bundle_comes_back_where_the_new_one_cannot_move_in(
    tmp_path: Path, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "out", search, unseen())
    before = contents(tmp_path)
    rename = Path.rename

    def refuse_the_new(self: Path, target: Path) -> Path:
        if target == tmp_path / "out" and self.name != "old":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_the_new)
    refused(lambda: write(tmp_path / "out", search, unseen("new"), force=True))
    assert contents(tmp_path) == before
    assert os.listdir(tmp_path) == ["out"]


def test_what_appeared_meanwhile_is_not_replaced(tmp_path: Path, search: Search) -> None:
    def late() -> None:
        with Bundle(tmp_path / "out", search, Preprocessing()) as bundle:
            bundle.add(unseen())
            (tmp_path / "out").mkdir()
            (tmp_path / "out/thesis.txt").write_text("mine")

    refused(late)
    assert contents(tmp_path) == {"out/thesis.txt": b"mine"}


def test_nothing_found_leaves_nothing(tmp_path: Path, search: Search) -> None:
    write(tmp_path / "out", search)
    assert os.listdir(tmp_path) == []


def test_others_may_read_a_bundle(tmp_path: Path, search: Search) -> None:
    umask = os.umask(0o022)
    try:
        write(tmp_path / "out", search, unseen())
    finally:
        os.umask(umask)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"PK\x03\x04",
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }", b"\0" * 8),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", b"\0" * 8),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (True,), }", b"\0" * 8),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"\0" * 8),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", b"\0" * 9),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", np.float64(np.nan).tobytes()),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", np.float64(np.inf).tobytes()),
        npy("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }", b"\0" * 8),
        npy("__import__('os').system('false')"),
        npy("(" * 3000),
    ],
    ids=range(13),
)
def test_damaged_and_hostile_arrays(data: bytes) -> None:
    with pytest.raises(arrays.MalformedError):
        arrays.parse_array(data)


def test_archives_are_what_was_written_and_nothing_else(tmp_path: Path) -> None:
    given: list[np.ndarray] = [np.arange(3), np.ones((2, 2), dtype=np.float32), np.array(True)]
    arrays.write_arrays(tmp_path / "a.npz", given)
    data = (tmp_path / "a.npz").read_bytes()
    assert all(np.array_equal(a, b) for a, b in zip(arrays.parse_arrays(data, 3), given, strict=True))
    for count in (0, 2, 4):
        with pytest.raises(arrays.MalformedError):
            arrays.parse_arrays(data, count)
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:  # a bomb is compressed
        archive.writestr("input000.npy", b"\0" * 1_000_000)
    for bad in ((tmp_path / "b.npz").read_bytes(), data[:-30], b"", b"PK"):
        with pytest.raises(arrays.MalformedError):
            arrays.parse_arrays(bad, 1)


def test_objects_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        arrays.write_array(tmp_path / "a.npy", np.array([{}]))
    assert json.dumps(arrays.write_array(tmp_path / "b.npy", np.array([1.0], dtype=">f8")))
    assert np.load(tmp_path / "b.npy").dtype.str == "<f8"
