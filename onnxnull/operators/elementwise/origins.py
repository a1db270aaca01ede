"""Where of constants, by a condition that a run computes.

Source: operator specifications of ai.onnx (opset 1 to 25).
"""

from __future__ import annotations

import numpy as np

from onnxnull.graph.constants import Constant, known
from onnxnull.graph.origins.exact import of_known
from onnxnull.graph.origins.operands import At, is_row, smaller
from onnxnull.graph.origins.rules import gives_origin
from onnxnull.graph.origins.slicing import one_of_values
from onnxnull.graph.origins.values import (
    Alternatives,
    Candidate,
    Origin,
    Unresolved,
    is_fill,
    is_single,
)


@gives_origin("Where")
def where(at: At) -> Origin | None:
    """Where (opset 9 to 16): one condition chooses; a condition for each entry masks."""
    data = [at.at(1), at.at(2)]
    known_ones = [h for h in data if h is not None and not (isinstance(h, Constant) and is_fill(h)) and not is_row(h)]
    if not known_ones:
        return None
    run_time = [i for i in (1, 2) if at.is_run_time(i)]
    single = isinstance(at.at(0), Constant) or is_single(at.shape(0))
    if run_time and not single and not smaller(at, 3 - run_time[0], run_time[0]):
        return None
    if isinstance(at.at(0), Constant):
        return (
            Unresolved("a run computes some of its entries") if run_time and smaller(at, 3 - run_time[0], run_time[0]) else None
        )
    if not single:
        return Unresolved("a condition that a run computes masks it, entry by entry")
    if run_time:
        kept = data[2 - run_time[0]] if run_time[0] == 1 else data[0]
        inner, outer = at.shape(3 - run_time[0]), at.target
        if inner is None or outer is None or inner != outer:
            return Unresolved("a run computes whether it is replaced") if smaller(at, 3 - run_time[0], run_time[0]) else None
        return one_of_values([kept], at.value(0))
    if isinstance(at.at(1), Constant) and isinstance(at.at(2), Constant) and at.shape(1) == at.shape(2):
        return one_of_values([at.at(2), at.at(1)], at.value(0))
    options = [known(np.array(flag).reshape((1,) * len(at.shape(0) or ())), "condition") for flag in (False, True)]
    cases = tuple(Candidate(option, when=((at.value(0), number),)) for number, option in enumerate(options))
    found = of_known(at.with_operand(0, Alternatives(cases)))
    if not isinstance(found, Alternatives):
        return found
    kept_cases = tuple(case for case in found.cases if not is_fill(case.constant)) or found.cases
    return Alternatives(kept_cases, found.copies, found.is_row, found.is_scaled)
