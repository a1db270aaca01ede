"""Execution providers: which one runs a model, and float32 that is float32.

NVIDIA's libraries round the operands of float32 products to TF32 unless told otherwise: `NVIDIA_TF32_OVERRIDE=0` has to be in
the environment before the first of them loads, and `use_tf32=0` goes into the provider's options. `onnxruntime` is imported
here and nowhere else in the package.
"""

from __future__ import annotations

import enum
import functools
import os
from typing import TYPE_CHECKING, Any, Literal

from onnxnull.errors import Code, OnnxnullError, one_line

if TYPE_CHECKING:
    import onnxruntime

Request = Literal["auto", "cuda", "cpu"]


class Provider(enum.Enum):
    """An execution provider of onnxruntime, under its own name."""

    CPU = "CPUExecutionProvider"
    CUDA = "CUDAExecutionProvider"

    @property
    def options(self) -> list[tuple[str, dict[str, str]]]:
        """Providers and their options for a session: the CPU provider takes what CUDA has no kernel for."""
        cpu: list[tuple[str, dict[str, str]]] = [(Provider.CPU.value, {})]
        if self is Provider.CPU:
            return cpu
        return [(self.value, {"use_tf32": "0", "cudnn_conv_algo_search": "DEFAULT"}), *cpu]


@functools.cache
def load() -> Any:
    """The onnxruntime module, imported with TF32 off and quiet.

    Raises:
        OnnxnullError: with code `provider` where it is not installed or does not load.
    """
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    try:
        import onnxruntime
    except ImportError as error:
        raise OnnxnullError(Code.PROVIDER, f"onnxruntime does not load: {one_line(error)}", "install onnxruntime") from None
    onnxruntime.set_default_logger_severity(4)  # what goes wrong is raised as well
    return onnxruntime


def choose(request: Request) -> Provider:
    """The provider that runs: the one asked for, or for "auto" CUDA where it works and the CPU elsewhere.

    Raises:
        OnnxnullError: with code `provider` where CUDA is asked for and does not work.
    """
    if request == "cpu":
        load()
        return Provider.CPU
    problem = cuda_problem()
    if problem is None:
        return Provider.CUDA
    if request == "cuda":
        raise OnnxnullError(Code.PROVIDER, f"CUDA was asked for and {problem}")
    return Provider.CPU


@functools.cache
def cuda_problem() -> str | None:
    """Why the CUDA provider does not run here; None where it does: a session of one node is made and run."""
    import numpy as np
    from onnx import TensorProto, helper

    runtime = load()
    if Provider.CUDA.value not in runtime.get_available_providers():
        return "this build of onnxruntime has no CUDA provider"
    preload()
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "cuda", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    try:
        session = runtime.InferenceSession(model.SerializeToString(), options(1), providers=Provider.CUDA.options)
        if session.get_providers()[:1] != [Provider.CUDA.value]:
            return "the CUDA provider does not load (its libraries, the driver or the device are missing)"
        session.run(None, {"x": np.eye(2, dtype=np.float32)})
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no common base
        return f"it does not run: {one_line(error)}"
    return None


def preload() -> None:
    """Load NVIDIA's libraries from their Python packages, where onnxruntime can."""
    runtime = load()
    if hasattr(runtime, "preload_dlls"):
        import contextlib
        import io

        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
            runtime.preload_dlls()


def options(threads: int) -> onnxruntime.SessionOptions:
    """Session options for evidence: the graph as it is, one node after the other, deterministic, a fixed number of threads."""
    runtime = load()
    chosen = runtime.SessionOptions()
    chosen.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    chosen.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    chosen.use_deterministic_compute = True
    chosen.intra_op_num_threads = threads
    chosen.inter_op_num_threads = 1
    chosen.log_severity_level = 4
    chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return chosen
