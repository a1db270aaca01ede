"""`examine()`: what is installed, which execution providers run here and at which precisions, and what to do about the rest."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from onnxnull.errors import OnnxnullError
from onnxnull.version import __version__

if TYPE_CHECKING:
    from onnxnull.runtime.precision import Precision
    from onnxnull.runtime.providers import Provider

_PACKAGES = ("onnx", "onnx-ir", "numpy", "scipy", "python-flint", "onnxruntime", "onnxruntime-gpu")
_CUDA = (
    "install the extra `cuda` on a machine with an NVIDIA driver: pip install 'onnxnull[cuda]'; the CPU provider does without"
)
_BOTH = "they overwrite each other: pip uninstall onnxruntime onnxruntime-gpu, then install onnxnull again"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One line of the examination.

    Attributes:
        state: "ok", "missing" (optional, and not there) or "broken" (onnxnull needs it, or it gives wrong results).
        remedy: what to do; None where nothing is to be done.
    """

    subject: str
    state: str
    seen: str
    remedy: str | None = None


def examine() -> tuple[Diagnosis, ...]:
    """Every finding, in the order in which they matter. Runs models of one node; nothing is changed."""
    return (*_installed(), *_providers(), _loading())


def _installed() -> list[Diagnosis]:
    found = {name: _version(name) for name in _PACKAGES}
    versions = ", ".join(f"{name} {version}" for name, version in found.items() if version is not None)
    findings = [Diagnosis("versions", "ok", f"onnxnull {__version__}, Python {platform.python_version()}, {versions}")]
    if found["onnxruntime"] is not None and found["onnxruntime-gpu"] is not None:
        findings.append(Diagnosis("onnxruntime", "broken", "onnxruntime and onnxruntime-gpu are both installed", _BOTH))
    return findings


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _providers() -> list[Diagnosis]:
    from onnxnull.runtime.providers import Provider, cuda_problem

    try:
        problem = cuda_problem()
    except OnnxnullError as error:
        return [Diagnosis("onnxruntime", "broken", error.seen, error.remedy)]
    findings = _precisions(Provider.CPU)
    if problem is not None:
        return [*findings, Diagnosis(Provider.CUDA.value, "missing", problem, _CUDA)]
    return [*findings, *_precisions(Provider.CUDA)]


def _loading() -> Diagnosis:
    """Whether a session can be created in a child process, as `check` does it, and what limits it there."""
    from onnxnull.runtime.loading import Loader

    subject = "sessions in a child process"
    with Loader() as loader:
        problem = loader.problem()
        if problem is not None:
            return Diagnosis(
                subject, "broken", problem, "`onnxnull check` needs it: install onnxnull and onnxruntime in this Python"
            )
        kept, watched = loader.limits, loader.watched
    seen = f"work; the system limits {', '.join(kept) or 'nothing'}; we watch {' and '.join(watched)}"
    return Diagnosis(subject, "ok", seen if "memory" in (*kept, *watched) else f"{seen}; nobody limits memory")


def _precisions(provider: Provider) -> list[Diagnosis]:
    """Which precisions the provider runs a convolution and a product at, and whether its float32 is float32."""
    from onnxnull.runtime.canary import CanaryShape, check_float32
    from onnxnull.runtime.precision import Precision

    findings = []
    for precision in (Precision.FLOAT64, Precision.FLOAT32, Precision.FLOAT16):
        subject = f"{provider.value} {precision.value}"
        try:
            executed, lowered = _run(provider, precision)
        except OnnxnullError as error:
            state = "missing" if precision is Precision.FLOAT16 else "broken"
            findings.append(Diagnosis(subject, state, error.seen, error.remedy))
            continue
        seen = "runs" if executed == precision.value else f"runs at {executed}"
        findings.append(Diagnosis(subject, "ok", f"{seen}{f', {lowered} lowered' if lowered else ''}"))
    try:
        check_float32(
            provider, [CanaryShape("Conv", (1, 3, 32, 32), (8, 3, 3, 3), (1, 1)), CanaryShape("MatMul", (4, 64), (64, 16))]
        )
        findings.append(Diagnosis(f"{provider.value} canary", "ok", "float32 products are computed in float32"))
    except OnnxnullError as error:
        findings.append(Diagnosis(f"{provider.value} canary", "broken", error.seen, error.remedy))
    return findings


def _run(provider: Provider, precision: Precision) -> tuple[str, str]:
    """Run a convolution and a product; the precision that executed and what was lowered."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    from onnxnull.runtime.session import Runner

    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(shape).astype(np.float32) for shape in ((4, 3, 3, 3), (6, 2))]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "v"], ["y"])],
        "doctor",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights[0], "w"), numpy_helper.from_array(weights[1], "v")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    runner = Runner(model, precision, provider=provider)
    runner.run({"x": rng.standard_normal((1, 3, 8, 8))})
    return runner.precision.value, ", ".join(runner.lowered)
