"""What was searched and how: the model with every file of it, and what a later run needs to repeat the measurement."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnxnull.errors import Code, OnnxnullError
from onnxnull.graph.model import tensors_of

if TYPE_CHECKING:
    from onnxnull.collision.search import Search
    from onnxnull.inputs import Preprocessing


@dataclass(frozen=True, slots=True)
class Facts:
    """A model and the conditions of a search, for evidence.

    Attributes:
        file: the model's path as typed, only its last part where it is absolute.
        sha256: of the .onnx file.
        external: location as the model says it → SHA-256 of that file of external data.
        input_shapes: input → dimensions, where all of them are known.
        precisions, providers: what was asked for, in order.
        preprocessing: how images became inputs; None where nothing says it.
    """

    file: str
    sha256: str
    external: Mapping[str, str]
    input_shapes: Mapping[str, tuple[int, ...]]
    precisions: tuple[str, ...]
    providers: tuple[str, ...]
    preprocessing: Preprocessing | None = None


def model_facts(search: Search, preprocessing: Preprocessing | None = None) -> Facts:
    """The facts of a search. Reads every file of external data.

    Raises:
        OnnxnullError: a file of external data cannot be read.
    """
    import onnx_ir as ir

    model, execution = search.model, search.execution
    shapes = {}
    for described in model.inputs:
        if described.shape is not None and None not in described.shape:
            shapes[described.name] = tuple(int(size) for size in described.shape if size is not None)
    folder = Path(os.path.abspath(search.path)).parent
    # `open_model` has checked where they lie
    locations = {os.fspath(t.location) for t in tensors_of(model.graph) if isinstance(t, ir.ExternalTensor)}
    return Facts(
        file=model.file,
        sha256=model.sha256,
        external={location: sha256_of(folder / location) for location in sorted(locations)},
        input_shapes=shapes,
        precisions=tuple(precision.value for precision in execution.precisions),
        providers=tuple(provider.value for provider in execution.providers),
        preprocessing=preprocessing,
    )


def sha256_of(path: Path) -> str:
    """Hex digest of a file. Raises `OnnxnullError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise OnnxnullError(Code.FILE_NOT_FOUND, f"no such file: {path.name!r}") from None
    except OSError as error:
        raise OnnxnullError(Code.UNREADABLE, f"{path.name!r}: {error.strerror}") from None
