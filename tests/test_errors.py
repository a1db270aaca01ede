"""Error codes are a contract: unique, documented, and one line each."""

from __future__ import annotations

import re
from pathlib import Path

from onnxnull.errors import Code, ExitCode, OnnxnullError, one_line

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "analyze.md"


def test_every_code_is_documented_with_its_meaning_and_remedy() -> None:
    text = DOCUMENT.read_text(encoding="utf-8").partition("Error codes are stable")[2]
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.*) \| (.*) \|$", text, re.MULTILINE)
    assert sorted(rows) == sorted((code.code, code.meaning, code.remedy) for code in Code)


def test_codes_are_unique_and_stable_in_form() -> None:
    codes = [code.code for code in Code]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code) for code in codes)


def test_an_error_is_one_line_whatever_it_saw() -> None:
    error = OnnxnullError(Code.NOT_ONNX, "a\nb\x1b[31m" + "x" * 1000)
    error.file = "some\nfile"
    assert "\n" not in str(error)
    assert "\x1b" not in str(error)
    assert str(error).startswith("some file: error[not-onnx]: a b")
    assert len(one_line("x" * 1000)) == 300


def test_the_worst_exit_code_wins() -> None:
    assert ExitCode.worst([]) is ExitCode.PASS
    assert ExitCode.worst([ExitCode.NOTHING, ExitCode.PASS]) is ExitCode.NOTHING
    assert ExitCode.worst([ExitCode.NOTHING, ExitCode.VIOLATED]) is ExitCode.VIOLATED
    assert ExitCode.worst([ExitCode.VIOLATED, ExitCode.INCOMPLETE]) is ExitCode.INCOMPLETE
    assert ExitCode.worst([ExitCode.INCOMPLETE, ExitCode.USAGE]) is ExitCode.USAGE
