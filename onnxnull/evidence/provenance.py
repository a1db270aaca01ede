"""What was searched and how: the model with every file of it, and what a later run needs to repeat the measurement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxnull.errors import errors_of

if TYPE_CHECKING:
    from onnxnull.collision.search import Search
    from onnxnull.graph.model import Model, Parsed
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
        OnnxnullError: a file of external data is no longer the one that was checked.
    """
    model, execution = search.model, search.execution
    shapes = {}
    for described in model.inputs:
        if described.shape is not None and None not in described.shape:
            shapes[described.name] = tuple(int(size) for size in described.shape if size is not None)
    return Facts(
        file=model.file,
        sha256=model.sha256,
        external=external_digests(model),
        input_shapes=shapes,
        precisions=tuple(precision.value for precision in execution.precisions),
        providers=tuple(provider.value for provider in execution.providers),
        preprocessing=preprocessing,
    )


def external_digests(model: Model) -> Mapping[str, str]:
    """Location → SHA-256 of every file of external data. Raises as `model_facts`."""
    return model.parsed.once(_digests)


def _digests(parsed: Parsed) -> Mapping[str, str]:
    with errors_of(parsed.path):
        return parsed.files.digests()
