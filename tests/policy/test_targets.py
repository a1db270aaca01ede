"""Which models an argument names, how reports call them, and that what names none is told of."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxnull.policy import targets


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """a/one.onnx, a/b/two.ONNX, c/one.onnx, a/.cache/three.onnx, a/text.txt, empty/, '[1].onnx'."""
    for name in ("a/one.onnx", "a/b/two.ONNX", "c/one.onnx", "a/.cache/three.onnx", "a/text.txt", "[1].onnx", "1.onnx"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        (["a"], ["a/b/two.ONNX", "a/one.onnx"]),
        (["a/"], ["a/b/two.ONNX", "a/one.onnx"]),
        (["*/*.onnx"], ["a/one.onnx", "c/one.onnx"]),
        (["**/one.onnx"], ["a/one.onnx", "c/one.onnx"]),
        (["c/one.onnx", "a", "a/one.onnx", "./c/one.onnx"], ["c/one.onnx", "a/b/two.ONNX", "a/one.onnx"]),
        (["[1].onnx"], ["[1].onnx"]),
        (["absent.onnx"], ["absent.onnx"]),
        (["a/text.txt"], ["a/text.txt"]),
        (["../{name}/a"], ["../{name}/a/b/two.ONNX", "../{name}/a/one.onnx"]),
        (["{root}/a/one.onnx"], ["one.onnx"]),
        (["{root}/a"], ["b/two.ONNX", "one.onnx"]),
        (["{root}/*/one.onnx"], ["a/one.onnx", "c/one.onnx"]),
        (["{root}/a/one.onnx", "{root}/c/one.onnx"], ["a/one.onnx", "c/one.onnx"]),
    ],
)
def test_what_is_named(arguments: list[str], files: list[str], folder: Path) -> None:
    filled = [argument.format(root=folder, name=folder.name) for argument in arguments]
    found, failures = targets.find(filled)
    assert [target.file for target in found] == [file.format(name=folder.name) for file in files]
    assert failures == []
    assert all(Path(target.path).exists() for target in found if target.file != "absent.onnx")


@pytest.mark.parametrize(
    ("argument", "files"),
    [
        ("d", ["d/here.onnx", "d/to_a/b/two.ONNX", "d/to_a/one.onnx"]),
        ("d/*", ["d/here.onnx", "d/to_a/b/two.ONNX", "d/to_a/one.onnx"]),
        ("[a-d]", ["a/b/two.ONNX", "a/one.onnx", "c/one.onnx", "d/here.onnx"]),
        ("{root}/d", ["here.onnx", "to_a/b/two.ONNX", "to_a/one.onnx"]),
    ],
)
def test_links_to_folders_and_folders_of_a_pattern(argument: str, files: list[str], folder: Path) -> None:
    """d/here.onnx, d/to_a → a, and two links that lead in a circle."""
    (folder / "d").mkdir()
    (folder / "d/here.onnx").touch()
    (folder / "d/to_a").symlink_to(folder / "a")
    (folder / "d/circle").symlink_to(folder / "d")
    (folder / "a/b/back").symlink_to(folder / "d")
    found, failures = targets.find([argument.format(root=folder)])
    assert sorted(target.file for target in found) == files
    assert failures == []


@pytest.mark.parametrize("argument", ["empty", "*.onx", "a/**/*.pb", "{root}/empty", "{root}/no/*.onnx", "[x].onnx"])
def test_what_names_nothing(argument: str, folder: Path) -> None:
    found, failures = targets.find([argument.format(root=folder), "a/one.onnx"])
    assert [target.file for target in found] == ["a/one.onnx"]
    assert [error.code.code for error in failures] == ["file-not-found"]
    assert str(folder) not in str(failures[0])
