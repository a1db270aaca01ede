"""What comparing two models may say, as enumerations that explain themselves: a label, and what it means."""

from __future__ import annotations

import enum


class Told(enum.Enum):
    """An enumeration whose members are a label and what it means."""

    def __init__(self, label: str, meaning: str) -> None:
        self.label = label
        self.meaning = meaning


class Outcome(Told):
    """What is said of two files; the first five from the closest on, each includes the ones before it."""

    IDENTICAL = ("identical", "equal graphs up to names and order, every constant to the bit")
    SAME_GRAPH = (
        "same-graph",
        "equal graphs after rewrites that hold over the reals, constants up to the folding's own rounding",
    )
    ROUNDED = ("rounded", "the same, with constants or computations rounded to a narrower type")
    QUANTIZED = ("quantized", "the same up to a quantizer's grid; where activations are quantized, near on the given data")
    AGREES = ("agrees", "what no rewrite explains agrees on the inputs that ran, and so do all outputs")
    UNEXPLAINED = ("unexplained", "nothing different was found, and something is neither proved nor settled by runs")
    NOT_EXERCISED = ("not exercised", "an output was empty, constant or saturated for every input that ran")
    MAPPED = ("agrees after a map", "the outputs agree on the inputs that ran once an input is changed")
    DIFFERENT = ("different", "a constant, an attribute or a wire differs in its matched place, or outputs part")

    def within(self, limit: Outcome) -> bool:
        """Whether this is at least as close as `limit`; only of the first five."""
        order = list(Outcome)[:5]
        return self in order and order.index(self) <= order.index(limit)


class Verdict(Told):
    """How far apart two weights are, once both are in the same order; each includes the ones before it."""

    IDENTICAL = ("identical", "every number is the same, to the bit")
    ROUNDED = ("rounded", "the same up to rounding to the coarser of the two types")
    SCALED = ("scaled", "the same up to rounding and factors on inputs or outputs, as folding a BatchNormalization leaves them")
    QUANTIZED = ("quantized", "every entry is within one step of a grid of at most 16 bits that one of the two lies on")
    DIFFERENT = ("different", "further apart than rounding, factors and quantisation explain")

    def within(self, limit: Verdict) -> bool:
        """Whether this is at least as close as `limit`."""
        order = list(Verdict)
        return order.index(self) <= order.index(limit)


class Matched(Told):
    """Why two weights are taken for partners."""

    CONTENT = ("content", "their numbers belong together")
    NAME = ("name", "their numbers do not belong together, but their names and shapes are the same")
    ORDER = ("order", "neither numbers nor names belong together, but their shape and their place in the graph do")


class Order(Told):
    """In which order b holds the inputs (rows) or outputs (columns) of a."""

    SAME = ("same", "in the same order")
    LAYOUT = ("layout", "as after exchanging two axes, channels first or last (NCHW or NHWC)")
    PERMUTED = ("permuted", "in another order")


class Factors(Told):
    """What has to be multiplied so that two weights become the same."""

    NONE = ("none", "nothing")
    ONE = ("one", "the whole matrix, by one factor")
    OUTPUTS = ("outputs", "every output by its own factor")
    INPUTS = ("inputs", "every input by its own factor")
    BOTH = ("both", "inputs and outputs by factors of their own")


class InputMap(Told):
    """How an input of a becomes the one of b."""

    SAME = ("same", "as it is: the first layers read both alike")
    READ = ("read", "so that the first layers read the same numbers (layout, scaling and shift undone)")
    SHAPE = ("shape", "as it is: the shapes are the same; how the first layers read them was not compared")
    LAYOUT = ("layout", "axes exchanged: one has channels first, the other last")
    NONE = ("none", "not at all")


class Crossed(Told):
    """What a pair of inputs that collides on one model does on the other."""

    COLLIDES = ("collides", "it collides there too: every claim holds, or the outputs are the same to the bit")
    UNDECIDED = ("undecided", "no claim fails there, and the run shows nothing")
    NEARLY = (
        "nearly",
        "no collision there: the outputs move, at least ten times less than for an equally large change that is seen",
    )
    SEEN = ("seen", "no collision there: the outputs move as for any other change")
