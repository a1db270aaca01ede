"""Gradients of an ONNX file: models of its derivatives, run by onnxruntime as any other model."""

from onnxnull.gradient.derivative import Derivative, jvp, vjp
from onnxnull.gradient.jacobian import Function, Jacobian, SampleJacobian

__all__ = ["Derivative", "Function", "Jacobian", "SampleJacobian", "jvp", "vjp"]
