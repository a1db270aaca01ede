"""Every command line that the documents show is run, and must print what they show; their links lead somewhere.

In ```console fences a line `$ onnxnull ...` is a command, and the lines up to the next command or the end of the fence are
its output. A line `...` stands for any number of lines left out; a command that shows no output must succeed. Other commands
(`$ scripts/demo`) are collected, not run.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import onnxnull as package
from onnxnull.cli.main import _COMMANDS
from onnxnull.documents import schemas
from tests.cli.console import onnxnull

ROOT = Path(__file__).resolve().parents[1]
OMITTED = "..."
_CODE = re.compile(r"^ *```.*?^ *``` *$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^( *)```console *\n(.*?)^\1``` *$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Example:
    """A command line and the lines that follow it."""

    command: str
    output: tuple[str, ...]

    @property
    def arguments(self) -> list[str] | None:
        """Of `onnxnull`; None for another program."""
        program, *arguments = shlex.split(self.command, comments=True)
        return arguments if program == "onnxnull" else None


def examples(text: str) -> list[Example]:
    """The commands in the console fences of a Markdown text. A command that ends in a backslash goes on in the next line."""
    found = []
    for indent, body in _FENCE.findall(text):
        command, output = None, list[str]()
        lines = iter(line.removeprefix(indent) for line in body.splitlines())
        for line in lines:
            if not line.startswith("$ "):
                output.append(line)
                continue
            if command is not None:
                found.append(Example(command, _without_blank_end(output)))
            command, output = line[2:], []
            while command.endswith("\\"):
                command = command[:-1] + next(lines).removeprefix("> ").strip()
        if command is not None:
            found.append(Example(command, _without_blank_end(output)))
    return found


def matches(shown: tuple[str, ...], printed: tuple[str, ...]) -> bool:
    """Whether `printed` is what is shown, where `...` stands for any number of lines."""
    if not shown:
        return not printed
    if shown[0].strip() == OMITTED:
        return any(matches(shown[1:], printed[i:]) for i in range(len(printed) + 1))
    return bool(printed) and shown[0] == printed[0] and matches(shown[1:], printed[1:])


def _without_blank_end(lines: list[str]) -> tuple[str, ...]:
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return tuple(line.rstrip() for line in lines)


def documents() -> list[Path]:
    """README.md, the pages in docs/ whoever adds them, and the models' card."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "models" / "README.md"]


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_show_what_commands_print(path: Path, tmp_path: Path) -> None:
    """In the order of the page: what one command wrote, the next may read."""
    shown = [example for example in examples(path.read_text(encoding="utf-8")) if example.arguments is not None]
    if not shown:
        pytest.skip("it shows no command")
    for example in shown:
        check(example, tmp_path)


def check(example: Example, temporary: Path) -> None:
    """Run a command and compare what it prints with what is shown; /tmp is a folder of the test's own."""
    assert example.arguments is not None
    if any(name.startswith("../shared/") and not (ROOT / name).exists() for name in example.arguments):
        return  # a model that is not part of this repository
    arguments = [name.replace("/tmp/", f"{temporary}/", 1) if name.startswith("/tmp/") else name for name in example.arguments]
    run = onnxnull(*arguments, cwd=ROOT)
    stdout, stderr = (text.replace(f"{temporary}/", "/tmp/") for text in (run.stdout, run.stderr))
    if not example.output:
        assert run.returncode == 0, f"$ {example.command}\n{stderr}"
    if matches(example.output, _without_blank_end(stdout.splitlines())):
        return
    # A document may show what a person sees in the terminal: the report, and what stderr says.
    both = _without_blank_end((stderr + stdout).splitlines())
    assert matches(example.output, both), f"$ {example.command}\n{stdout}{stderr}"


def test_the_readme_shows_commands() -> None:
    found = examples((ROOT / "README.md").read_text(encoding="utf-8"))
    assert any(example.arguments is not None for example in found)
    assert all(example.output for example in found if example.arguments is not None)


def links(path: Path) -> list[str]:
    """Targets of the links and pictures of a document that lie in this repository."""
    prose = _CODE.sub("", path.read_text(encoding="utf-8"))
    return [target for target in _LINK.findall(prose) if "://" not in target]


def anchors(path: Path) -> set[str]:
    """What GitHub calls the headings of a document."""
    prose = re.sub(r"^ *```.*?^ *``` *$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = (title.lower() for title in re.findall(r"^#+ (.*)$", prose, re.MULTILINE))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for link in links(path):
        target, _, anchor = link.partition("#")
        found = (path.parent / target).resolve() if target else path
        assert found.is_relative_to(ROOT), link
        assert found.exists(), link
        assert not anchor or anchor in anchors(found), link


def test_the_index_leads_to_every_page() -> None:
    reached: set[Path] = set()
    ahead = {ROOT / "docs" / "README.md"}
    while ahead:
        reached |= ahead
        targets = {(path.parent / link.partition("#")[0]).resolve() for path in ahead for link in links(path)}
        ahead = {path for path in targets if path.suffix == ".md"} - reached
    assert set(documents()) <= reached


def test_every_public_name_has_its_place_in_an_example() -> None:
    shown = "".join(
        re.findall(r"^```python *\n(.*?)^``` *$", (ROOT / "docs/api.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    )
    assert [name for name in package.__all__ if f"onnxnull.{name}" not in shown] == ["ModelReport"]  # what `analyze` returns


def test_every_command_and_every_schema_is_in_a_page() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in documents())
    assert [name for name in _COMMANDS if f"onnxnull {name}" not in pages] == []
    json_page = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    assert [name for name in schemas.names() if f"| `{name}` |" not in json_page] == []


SAMPLE = """
# Title

```console
$ scripts/demo
```

Text with `$ onnxnull inline`, and another fence:

```python
$ onnxnull not this
```

1. a list

   ```console
   $ onnxnull analyze 'a b.onnx'   # a comment
   one

   ...
   two

   $ onnxnull check \\
   >     m.onnx
   ```
"""


class TestExtractor:
    """The extractor itself."""

    def test_examples(self) -> None:
        assert examples(SAMPLE) == [
            Example("scripts/demo", ()),
            Example("onnxnull analyze 'a b.onnx'   # a comment", ("one", "", "...", "two")),
            Example("onnxnull check m.onnx", ()),
        ]

    def test_arguments(self) -> None:
        assert [example.arguments for example in examples(SAMPLE)] == [None, ["analyze", "a b.onnx"], ["check", "m.onnx"]]

    def test_a_text_without_commands(self) -> None:
        assert examples("# Title\n\n```\n$ onnxnull x\n```\n") == []

    @pytest.mark.parametrize(
        ("shown", "printed", "same"),
        [
            ("a b", "a b", True),
            ("a b", "a b c", False),
            ("a b c", "a b", False),
            ("a ...", "a", True),
            ("a ...", "a b c", True),
            ("a ... c", "a b b c", True),
            ("a ... c", "a b b", False),
            ("... b ... d", "a b c b d", True),
            ("...", "", True),
            ("", "a", False),
            ("", "", True),
        ],
    )
    def test_matches(self, shown: str, printed: str, same: bool) -> None:
        assert matches(tuple(shown.split()), tuple(printed.split())) == same


def _scripts() -> list[tuple[str, str]]:
    return [
        (f"{path.relative_to(ROOT)}-{number}", body)
        for path in documents()
        for number, body in enumerate(
            re.findall(r"^```python *\n(.*?)^``` *$", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        )
    ]


@pytest.mark.parametrize("script", [pytest.param(body, id=label) for label, body in _scripts()])
def test_every_python_example_runs(script: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=ROOT, check=True)
