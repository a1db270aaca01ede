"""Walks along a fibre {x : g(x) = g(x₀)} of a differentiable function, inside a box."""

from onnxnull.fiber.problem import Fiber
from onnxnull.fiber.walk import Reached, Stop, walk

__all__ = ["Fiber", "Reached", "Stop", "walk"]
