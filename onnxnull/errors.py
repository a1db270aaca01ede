"""Every error that a user can meet: a stable code, what was seen, what to do about it.

The codes are a contract: scripts may match on them. `Code` is the whole list; each member carries what the code means and
what usually helps. An error that stops the analysis of a model is raised as `OnnxnullError`; a weight that could not be
analysed is listed in the report as `Unsupported` (see `onnxnull.analysis.results`) under one of the same codes.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator
from contextlib import contextmanager


class ExitCode(enum.IntEnum):
    """Exit codes of the command line (design §6). Several at once: the first of 4, 2, 1, 3, 0 that occurred."""

    PASS = 0
    VIOLATED = 1
    INCOMPLETE = 2
    NOTHING = 3
    USAGE = 4

    @classmethod
    def worst(cls, codes: list[ExitCode]) -> ExitCode:
        """The one that a run with several outcomes ends with; `PASS` for an empty list."""
        order = (cls.USAGE, cls.INCOMPLETE, cls.VIOLATED, cls.NOTHING, cls.PASS)
        return next((code for code in order if code in codes), cls.PASS)


class Code(enum.Enum):
    """Stable code of an error → (what it means, what to do)."""

    FILE_NOT_FOUND = ("file-not-found", "no such file", "check the path")
    NOT_A_FILE = ("not-a-file", "the path is not a regular file", "name the .onnx file itself")
    UNREADABLE = ("unreadable", "the file cannot be read", "check its permissions")
    NOT_ONNX = ("not-onnx", "the file is not an ONNX model", "export the network to ONNX first")
    TRUNCATED = ("truncated", "the file ends before the model does", "copy or download it again")
    INVALID_MODEL = ("invalid-model", "the model breaks the rules of ONNX", "check it with onnx.checker, export it again")
    EXTERNAL_MISSING = ("external-data-missing", "external data is missing", "put the data file beside the model")
    EXTERNAL_SHORT = ("external-data-short", "external data ends too early", "copy the data file again")
    EXTERNAL_CHANGED = (
        "external-data-changed",
        "external data is not the file that was checked",
        "run again when nothing writes to it",
    )
    EXTERNAL_ESCAPES = (
        "external-data-escapes",
        "external data lies outside the model's folder",
        "move the data beside the model, or do not trust this file",
    )
    EXTERNAL_HARD_LINK = (
        "external-data-hard-link",
        "external data is a hard link, which may lead out of the model's folder",
        "if you trust it (package caches use hard links), pass --allow-hard-links",
    )
    TOO_LARGE = ("too-large", "a size is above the limit", "raise the limit if you trust the file")
    INPUT_SHAPE = ("input-shape", "the input shape does not fit the model", "use --input-shape NAME:D0,D1,...")
    NOTHING_LINEAR = ("nothing-linear", "the model holds no linear weight", "there is nothing to analyse in it")
    NONFINITE = ("nonfinite-weight", "the weight holds NaN or Inf", "repair the training or the export of this weight")
    OPERATOR = ("unsupported-operator", "the operator is not analysed yet", "see the list of operators in docs/operators.md")
    CONSTANT = ("unevaluated-constant", "a constant expression could not be evaluated", "simplify the export")
    SHAPE = ("unknown-shape", "a shape is needed and unknown", "give it with --input-shape NAME:D0,D1,...")
    TIME = ("time-limit", "the time limit was reached", "raise --time-limit")
    DATA = ("data", "an input could not be read or does not fit the model", "see `onnxnull analyze --help`")
    PROOFS = ("proofs", "the file holds no proofs of onnxnull", "make it with `onnxnull prove MODEL -o FILE`")
    PROVIDER = ("provider", "the execution provider is not available", "see `onnxnull doctor`, or use --provider cpu")
    TF32 = ("tf32", "float32 is not computed in float32 here", "set NVIDIA_TF32_OVERRIDE=0 before the program starts")
    NO_DOUBLE_KERNEL = (
        "no-double-kernel",
        "an operator can neither run in float64 nor be lowered",
        "run the model as it is (precision native or float32)",
    )
    TWIN = (
        "twin",
        "the model at another precision does not compute what the file computes in onnxruntime",
        "this is a bug in onnxnull: report it, with the model if you may share it; --precision native needs no twin",
    )
    NO_GRADIENT = (
        "no-gradient",
        "an operator between the input and the outputs has no gradient",
        "choose outputs, or an input, that it does not lie between",
    )
    RUNTIME = ("runtime", "onnxruntime refused the model", "run it with onnxruntime alone to see its own messages")
    INJECTIVE = (
        "injective",
        "no two different inputs of these layers collide",
        "look further inside: --layer NAME, --layer all, or --space patches",
    )
    UNDECIDED = ("undecided", "what ran shows nothing", "see docs/collide.md on what is verified")
    NOT_FOUND = (
        "not-found",
        "no collision of the wanted kind was found; that there is none is not proved",
        "ask for another one: --seed, --beta, --box, --epsilon or --region",
    )
    NOT_GUARANTEED = (
        "not-guaranteed",
        "the network reads the input past its first linear layers, so their collisions need not be its own",
        "look at single layers: --layer NAME or --layer all",
    )
    LAYER = ("layer", "the model has no such linear layer", "`onnxnull analyze` lists them")
    NOT_CONVERGED = (
        "not-converged",
        "the projection on the kernel did not reach its accuracy",
        "try another --seed, --space patches or --layer",
    )
    EVIDENCE = (
        "evidence",
        "the folder holds no evidence that can be trusted",
        "make it again with `onnxnull collide ... -o DIR`",
    )
    POLICY = ("policy", "the policy of the gate cannot be used", "see docs/check.md")
    BASELINE = ("baseline", "the file holds no baseline", "make it with `onnxnull baseline MODEL... -o FILE`")
    PRECISION = (
        "precision",
        "the model does not run at this precision",
        "leave out --precision, or ask for native: a quantized model runs as it is",
    )
    OUTPUT = ("output", "the output file cannot be written", "check the folder and its permissions")
    INTERNAL = (
        "internal-error",
        "onnxnull met an error of its own",
        "this is a bug in onnxnull: report it, with the model if you may share it",
    )

    def __init__(self, code: str, meaning: str, remedy: str) -> None:
        self.code = code
        self.meaning = meaning
        self.remedy = remedy


class OnnxnullError(Exception):
    """A user's problem, told in one line: `FILE: error[code]: what was seen; what to do`.

    Args:
        code: which of the stable codes.
        seen: what was found, with the name concerned.
        remedy: what to do, where something better than the code's own advice is known.
        file: the model's path as the user gave it; where it is not known yet, `errors_of` says it.
    """

    def __init__(self, code: Code, seen: str, remedy: str | None = None, file: str | None = None) -> None:
        self.code = code
        self.seen = one_line(seen)
        self.remedy = remedy or code.remedy
        self.file = file
        super().__init__(code, self.seen, self.remedy)

    def __str__(self) -> str:
        line = f"error[{self.code.code}]: {self.seen}; {self.remedy}"
        return line if self.file is None else f"{one_line(self.file)}: {line}"

    def about(self, file: str) -> OnnxnullError:
        """The same error, of this file."""
        return OnnxnullError(self.code, self.seen, self.remedy, file)

    @property
    def exit_code(self) -> ExitCode:
        """What the command line exits with when this is the only outcome."""
        return ExitCode.NOTHING if self.code in _NOTHING else ExitCode.INCOMPLETE


@contextmanager
def errors_of(file: str | os.PathLike[str] | None, collected: list[OnnxnullError] | None = None) -> Iterator[None]:
    """Say of every `OnnxnullError` raised inside which file it is about; the outermost has the last word.

    Args:
        file: as the user gave it; None says nothing.
        collected: takes the error, which then ends the block and nothing else; None lets it pass on.
    """
    try:
        yield
    except OnnxnullError as error:
        error.file = error.file if file is None else os.fspath(file)
        if collected is None:
            raise
        collected.append(error)


_NOTHING = (Code.NOTHING_LINEAR, Code.INJECTIVE, Code.NOT_FOUND, Code.NOT_GUARANTEED)


def one_line(text: object, limit: int = 300) -> str:
    """`text` on one line of at most `limit` characters: names in a model come from outside and may hold anything."""
    flat = "".join(c if c.isprintable() else " " for c in " ".join(str(text).split()))
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
