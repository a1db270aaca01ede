"""The input frontier: the linear layers through which a network reads an input, and what their joint kernel is (design §2).

`find` walks the graph; `joint_nullity` bounds the kernel's dimension; `KernelProjector` and `pull_back` work in it.
"""

from onnxnull.frontier.kernel import joint_nullity
from onnxnull.frontier.projection import KernelProjector, kernel_share, project_on_kernel, pull_back
from onnxnull.frontier.quantizer import Quantizer
from onnxnull.frontier.walk import Frontier, Layer, find

__all__ = [
    "Frontier",
    "KernelProjector",
    "Layer",
    "Quantizer",
    "find",
    "joint_nullity",
    "kernel_share",
    "project_on_kernel",
    "pull_back",
]
