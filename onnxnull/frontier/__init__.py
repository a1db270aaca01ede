"""The input frontier: the linear layers through which a network reads an input, and what their joint kernel is (design §2).

`find` walks the graph; `joint_nullity` bounds the kernel's dimension; `JointKernel` projects on it.
"""

from onnxnull.frontier.nullity import joint_nullity
from onnxnull.frontier.projection import JointKernel
from onnxnull.frontier.quantizer import Quantizer
from onnxnull.frontier.walk import Frontier, Layer, find

__all__ = ["Frontier", "JointKernel", "Layer", "Quantizer", "find", "joint_nullity"]
