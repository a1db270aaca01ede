"""Nothing is green by accident: offsets, masks, saturation, ties, chaos, dead and constant outputs, channels of mixed sizes.

Pairs are made here, not by the search, so that each is what its case says: x₁ = x₀ + β·φ, φ in the kernel of the first weight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxnull.collision.judge import Tried, judgements
from onnxnull.collision.results import Collision, Decision, Judgement, Perturbation
from onnxnull.collision.search import Execution, Place, Search
from onnxnull.collision.yardstick import Yardstick
from onnxnull.graph.model import open_model
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.report.collision_text import render
from onnxnull.runtime.precision import Precision
from tests.collision.searches import saved
from tests.helpers import INT64, model, value, weight

node = helper.make_node
Q, P = 24, 6
W = weight(Q, P, seed=3)
HOLDS, BROKEN, UNDECIDED = Decision.HOLDS, Decision.BROKEN, Decision.UNDECIDED


def kernel_vector(w: np.ndarray, seed: int = 0) -> Array:
    """Of length 1, φᵀw = 0 up to the rounding of double arithmetic."""
    wide = w.astype(np.float64)
    basis, _ = np.linalg.qr(wide)
    phi: Array = np.random.default_rng(seed).standard_normal(len(w))
    for _ in range(2):
        phi = phi - basis @ (basis.T @ phi)
    return phi / np.linalg.norm(phi)


def tried(
    folder: Path,
    proto: onnx.ModelProto,
    x0: np.ndarray,
    x1: Array,
    control: Array | None = None,
    execution: Execution | None = None,
    **others: np.ndarray,
) -> Collision:
    """The pair on the model, as a bundle of it would be verified."""
    start = np.asarray(x0, dtype=np.float64)
    if control is None:
        way = np.random.default_rng(7).standard_normal(start.shape)
        control = start + np.linalg.norm(x1 - start) / np.linalg.norm(way) * way
    shapes = {"x": start.shape} | {name: array.shape for name, array in others.items()}
    search = Search(open_model(saved(folder, proto), input_shapes=shapes), Place(), execution or Execution())
    facts = Perturbation.measured("random", {}, start, x1, control)
    return search.verify_pair("test", (start, x1, control), others, facts)


def decisions(found: Collision) -> dict[str, Decision]:
    return {run.precision: run.verdict.decision for run in found.runs}


def behind(*nodes: onnx.NodeProto, w: np.ndarray = W, **constants: Any) -> onnx.ModelProto:
    """x 1×q → MatMul w → h, then these nodes, whose last output is the network's."""
    first = node("MatMul", ["x", "w"], ["h"], name="layer")
    kind = {"ArgMax": INT64, "Greater": TensorProto.BOOL}.get(nodes[-1].op_type, TensorProto.FLOAT)
    outputs = [value(nodes[-1].output[0], None, kind)]
    return model([first, *nodes], {"w": w, **constants}, inputs=[value("x", [1, len(w)])], outputs=outputs)


X0 = weight(1, Q, seed=1).astype(np.float64)
PHI = kernel_vector(W)[None]


@dataclass(frozen=True)
class Case:
    """A network behind the first layer, the length of the perturbation, and what each precision decides."""

    name: str
    proto: Callable[[], onnx.ModelProto]
    beta: float
    float64: Decision
    float32: Decision
    words: str = ""

    def __str__(self) -> str:
        return self.name


def sharp(op: str, **attributes: Any) -> Callable[[], onnx.ModelProto]:
    """A flat operator behind large scores."""

    def make() -> onnx.ModelProto:
        return behind(node("Mul", ["h", "c"], ["s"]), node(op, ["s"], ["y"], **attributes), c=np.float32(50))

    return make


def top() -> onnx.ModelProto:
    nodes = [node("Mul", ["h", "c"], ["s"]), node("TopK", ["s", "k"], ["values", "y"], axis=1)]
    constants = {"c": np.float32(50), "k": np.array([2])}
    first = node("MatMul", ["x", "w"], ["h"], name="layer")
    return model([first, *nodes], {"w": W, **constants}, inputs=[value("x", [1, Q])], outputs=[value("y", None, INT64)])


def clipped(through: str = "") -> onnx.ModelProto:
    nodes = [node("Mul", ["h", "c"], ["s"]), node("Clip", ["s", "low", "high"], ["k"])]
    nodes += [node("Reshape", ["k", "shape"], ["r"]), node("Transpose", ["r"], ["t"], perm=[1, 0]), node("Neg", ["t"], ["y"])]
    constants: dict[str, Any] = {"c": np.float32(50), "low": np.float32(-1), "high": np.float32(1), "shape": np.array([2, 3])}
    return behind(*nodes, **constants)


def masked() -> onnx.ModelProto:
    mask = np.zeros((1, P), np.float32)
    mask[0, [1, 4]] = -1e30
    return behind(node("Add", ["h", "m"], ["y"]), m=mask)


def masked_rows() -> onnx.ModelProto:
    """(N, T, C) with a mask over half of every row."""
    mask = np.zeros((1, 2, 3), np.float32)
    mask[0, 1] = -1e30
    return behind(node("Reshape", ["h", "s"], ["r"]), node("Add", ["r", "m"], ["y"]), s=np.array([1, 2, 3]), m=mask)


def dead() -> onnx.ModelProto:
    """h → −|h| − 1 → Relu: 0 everywhere, and what enters it lives."""
    nodes = [node("Abs", ["h"], ["a"]), node("Neg", ["a"], ["n"]), node("Sub", ["n", "one"], ["d"]), node("Relu", ["d"], ["y"])]
    return behind(*nodes, one=np.float32(1))


def dead_inside() -> onnx.ModelProto:
    """The same before another layer: nothing that is judged moves."""
    proto = dead()
    proto.graph.node.append(node("MatMul", ["y", "v"], ["z"], name="second"))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight(P, 2), "v"))
    proto.graph.output[0].name = "z"
    return proto


def two_outputs() -> onnx.ModelProto:
    """One lives, one is constant."""
    proto = behind(node("Mul", ["h", "zero"], ["y"]), zero=np.float32(0))
    proto.graph.output.append(value("h", None))
    return proto


def roots(*nodes: onnx.NodeProto) -> Callable[[], onnx.ModelProto]:
    """√h, NaN where h is negative: in two of six entries at x₀."""
    return lambda: behind(node("Sqrt", ["h"], ["s" if nodes else "y"]), *nodes, first=np.array([0]))


IN_A_CHANNEL, LABEL = node("Unsqueeze", ["s", "first"], ["y"]), node("ArgMax", ["s"], ["y"], axis=1)


def spliced(scale: float, last: onnx.NodeProto) -> onnx.ModelProto:
    """(Exp(scale·h₀..₂), last(h)₃..₅): some entries overflow where the scale is large."""
    nodes = [
        node("Split", ["h"], ["a", "b"], axis=1),
        *(node("Mul", ["a", "c"], ["m"]), node("Exp", ["m"], ["e"]), last),
        node("Concat", ["e", "l"], ["y"], axis=1),
    ]
    return behind(*nodes, c=np.float32(scale), zero=np.float32(0))


CASES = [
    Case("NaN in some entries", roots(), 1.0, UNDECIDED, UNDECIDED, "output 'y' is NaN for both inputs in 2 of its 6 entries"),
    Case("NaN in a channel", roots(IN_A_CHANNEL), 1.0, UNDECIDED, UNDECIDED, "is NaN for both"),
    Case("NaN enters a label", roots(LABEL), 1.0, UNDECIDED, UNDECIDED, "'s', which enters ArgMax"),
    Case("NaN, and the rest far from equal", roots(), 1e9, UNDECIDED, UNDECIDED),
    Case("masks of -Inf", lambda: behind(node("Relu", ["h"], ["r"]), node("Log", ["r"], ["y"])), 1.0, HOLDS, HOLDS),
    Case("overflow, and the rest lives", lambda: spliced(400, node("Neg", ["b"], ["l"])), 1.0, HOLDS, HOLDS),
    Case(
        "overflow, and the rest is constant",
        lambda: spliced(1e6, node("Mul", ["b", "zero"], ["l"])),
        1.0,
        UNDECIDED,
        UNDECIDED,
        "the control moves nothing",
    ),
    Case("plain", lambda: behind(node("Sin", ["h"], ["y"])), 1.0, HOLDS, HOLDS),
    Case("long", lambda: behind(node("Neg", ["h"], ["y"])), 1e8, UNDECIDED, UNDECIDED, "rounding drowns"),
    Case("too long for anything", lambda: behind(node("Neg", ["h"], ["y"])), 1e18, UNDECIDED, UNDECIDED, "rounding drowns"),
    Case("long for float32", lambda: behind(node("Neg", ["h"], ["y"])), 1e5, HOLDS, UNDECIDED, "higher precision"),
    Case("offset", lambda: behind(node("Add", ["h", "c"], ["y"]), c=np.float32(1e9)), 1.0, HOLDS, UNDECIDED),
    Case("mask", masked, 1.0, HOLDS, HOLDS),
    Case("mask, long", masked, 1e9, UNDECIDED, UNDECIDED),
    Case("masked rows", masked_rows, 1.0, HOLDS, HOLDS),
    Case("masked rows, long", masked_rows, 1e9, UNDECIDED, UNDECIDED),
    Case(
        "chaos",
        lambda: behind(node("Mul", ["h", "c"], ["m"]), node("Sin", ["m"], ["y"]), c=np.float32(1e8)),
        1.0,
        UNDECIDED,
        UNDECIDED,
        "rounding drowns",
    ),
    Case(
        "chaos for float32",
        lambda: behind(node("Mul", ["h", "c"], ["m"]), node("Sin", ["m"], ["y"]), c=np.float32(1e5)),
        1.0,
        HOLDS,
        UNDECIDED,
        "rounding drowns",
    ),
    Case("zeros", lambda: behind(node("Mul", ["h", "c"], ["y"]), c=np.float32(0)), 1.0, UNDECIDED, UNDECIDED, "control"),
    Case("dead", dead, 1.0, HOLDS, HOLDS),
    Case("dead, long", dead, 1e8, UNDECIDED, UNDECIDED, "rounding drowns"),
    Case("dead inside", dead_inside, 1.0, UNDECIDED, UNDECIDED, "the control moves nothing"),
    Case("one constant output", two_outputs, 1.0, HOLDS, HOLDS),
    Case("clipped, moved and turned", clipped, 1.0, HOLDS, HOLDS),
    Case("clipped, moved and turned, long", clipped, 1e8, UNDECIDED, UNDECIDED, "rounding drowns"),
    Case("top", top, 1.0, HOLDS, HOLDS),
    *(
        Case(f"{op}, {'long' if beta > 1 else 'short'}", sharp(op, **attributes), beta, decision, decision, words)
        for op, attributes in (
            *(("Sigmoid", {}), ("Tanh", {}), ("Softmax", {"axis": 1}), ("HardSigmoid", {}), ("Sign", {}), ("Softplus", {})),
            *(("Hardmax", {"axis": 1}), ("Relu", {}), ("ArgMax", {"axis": 1})),
        )
        for beta, decision, words in ((1.0, HOLDS, ""), (1e10, UNDECIDED, ""))
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_cases(case: Case, tmp_path: Path) -> None:
    found = tried(tmp_path, case.proto(), X0, X0 + case.beta * PHI)
    decided = decisions(found)
    for precision, wanted in (("float64", case.float64), ("float32", case.float32)):
        if wanted is UNDECIDED:  # where rounding is all there is, it may also turn what has to be equal
            assert decided[precision] in (UNDECIDED, BROKEN)
        else:
            assert decided[precision] is wanted, [run.why for run in found.runs]
    for run in found.runs:
        assert (run.why is None) is (run.verdict.decision is HOLDS)
    if case.words:
        assert case.words in " ".join(run.why or "" for run in found.runs)
    assert found.holds is (case.float64 is HOLDS and case.float32 is HOLDS)


@pytest.mark.parametrize("name", ["plain", "mask", "masked rows", "dead", "clipped, moved and turned", "Sigmoid, short", "top"])
@pytest.mark.parametrize("beside", [1e-3, 1.0])
def test_a_pair_beside_the_kernel_is_broken_everywhere(name: str, beside: float, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == name)
    other = X0 + PHI + beside * weight(1, Q, seed=9)
    assert set(decisions(tried(tmp_path, case.proto(), X0, other)).values()) == {BROKEN}


@pytest.mark.parametrize("op", ["Sqrt", "Log"])
@pytest.mark.parametrize("seed", range(3))
def test_an_entry_that_is_a_number_for_one_alone_is_broken(seed: int, op: str, tmp_path: Path) -> None:
    """Of scores beside 0, √ and log are NaN for one of the two."""
    scores = X0.astype(np.float32) @ W
    nearest = int(np.argmin(np.abs(scores)))
    proto = behind(node("Add", ["h", "c"], ["s"]), node(op, ["s"], ["y"]), c=np.float32(1e-5) - scores[0, nearest])
    step = np.linalg.lstsq(W.astype(np.float64).T, -1e-3 * np.eye(P)[nearest], rcond=None)[0]
    run = tried(tmp_path, proto, X0.astype(np.float32), X0 + kernel_vector(W, seed)[None] + step).runs[1]
    one, other = (np.isfinite(array[0, nearest]) for array in run.arrays["y"][:2])
    assert one != other
    assert run.verdict.decision is BROKEN


def test_entries_that_are_no_numbers_are_counted(tmp_path: Path) -> None:
    """In the report and as JSON; the finite entry of a channel with NaN keeps a noise of its own."""
    found = tried(tmp_path, roots(IN_A_CHANNEL)(), X0, X0 + PHI)
    for judged in (judged_of(found, precision, "y") for precision in ("float64", "float32")):
        assert (judged.nan, judged.infinite) == (2, 0)
    assert "2 entries NaN for both" in render(found)
    found = tried(tmp_path, spliced(400, node("Neg", ["b"], ["l"])), X0, X0 + PHI)
    assert judged_of(found, "float32", "y").infinite == 1
    assert "1 entry Inf for both" in render(found)


def test_what_overflows_at_float32_alone_has_a_noise_at_float64(tmp_path: Path) -> None:
    """The distance to float32 says nothing where that is Inf: it made noises infinite, above which no control was seen."""
    proto = spliced(60, node("Neg", ["b"], ["l"]))
    found = tried(tmp_path, proto, X0, X0 + PHI)
    assert found.runs[0].verdict.decision is HOLDS
    noise = judged_of(found, "float64", "y").noise
    assert noise is not None
    assert np.isfinite(noise)
    assert (
        tried(tmp_path, spliced(60, node("Neg", ["b"], ["l"])), X0, X0 + 1.001 * PHI + 1e-6).runs[0].verdict.decision is BROKEN
    )


def test_a_feature_far_from_zero_that_the_graph_normalises(tmp_path: Path) -> None:
    """One feature near 1.7e9 of sixteen, as a time in seconds: float32 moves the outputs by many times their size."""
    mean, scale = np.zeros(16, np.float32), np.ones(16, np.float32)
    mean[0], scale[0] = 1.7e9, 1e7
    nodes = [node("Sub", ["x", "m"], ["d"]), node("Div", ["d", "s"], ["n"]), node("MatMul", ["n", "w"], ["y"], name="layer")]
    w = weight(16, 3)
    proto = model(nodes, {"m": mean, "s": scale, "w": w}, inputs=[value("x", [1, 16])])
    for seed in range(6):
        x0 = np.random.default_rng(seed).standard_normal((1, 16))
        x0[0, 0] = 1.7e9 + 3e6 * x0[0, 0]
        x0 = x0.astype(np.float32).astype(np.float64)
        x1 = x0 + np.linalg.norm(x0) * kernel_vector(w / scale[:, None], seed)[None]
        found = tried(tmp_path, proto, x0, x1)
        assert decisions(found)["float32"] is not HOLDS
        assert not found.holds


def test_labels_of_the_graph_that_tie_are_equal_or_broken(tmp_path: Path) -> None:
    """An ArgMax behind logits that tie at x₀ up to rounding; the control need not turn it, only move what enters it."""
    x0 = X0.astype(np.float32)
    seen = set()
    for seed in range(24):
        scores = (x0 @ W).astype(np.float32)
        bias = np.full(P, -100, np.float32)
        bias[:2] = -scores[0, :2]
        proto = behind(node("Add", ["h", "b"], ["s"]), node("ArgMax", ["s"], ["y"], axis=1), b=bias)
        found = tried(tmp_path, proto, x0, x0 + kernel_vector(W, seed)[None])
        run = found.runs[1]
        labels = [int(array[0, 0]) for array in run.arrays["y"]]
        seen.add(labels[0] == labels[1])
        assert run.verdict.decision is (HOLDS if labels[0] == labels[1] else BROKEN), run.why
        (entering,) = [each for each in run.judged if each.enters == "ArgMax"]
        assert entering.seen
        assert entering.ties == 1
    assert seen == {True, False}


def test_truth_values_that_turn_are_broken(tmp_path: Path) -> None:
    """Greater than a threshold that the score has at x₀."""
    x0, seen = X0.astype(np.float32), set()
    for seed in range(24):
        proto = behind(node("Greater", ["h", "t"], ["y"]), t=(x0 @ W).astype(np.float32))
        run = tried(tmp_path, proto, x0, x0 + kernel_vector(W, seed)[None]).runs[1]
        same = bool(np.array_equal(run.arrays["y"][0], run.arrays["y"][1]))
        seen.add(same)
        assert (run.verdict.decision is BROKEN) is not same
    assert False in seen


def test_a_derived_label_that_ties_is_said(tmp_path: Path) -> None:
    w = W.copy()
    w[:, 1] = w[:, 0]
    run = tried(tmp_path, behind(node("Exp", ["h"], ["y"]), w=w), X0, X0 + kernel_vector(w[:, 1:])[None]).runs[1]
    assert run.verdict.decision is HOLDS
    best = int(np.argmax(run.arrays["y"][0]))
    assert [each.ties for each in run.judged] == [int(best in (0, 1))]


def test_what_nothing_reads_may_be_huge_and_hides_nothing(tmp_path: Path) -> None:
    """2⁵⁷ in an entry that no filter reads; the rest is unrelated to x₀."""
    conv = node("Conv", ["x", "w"], ["h"], name="stem", kernel_shape=[3, 3], strides=[2, 2])
    proto = model([conv, node("Relu", ["h"], ["y"])], {"w": weight(2, 3, 3, 3)}, inputs=[value("x", [1, 3, 8, 8])])
    x0, other = (weight(1, 3, 8, 8, seed=seed).astype(np.float64) for seed in (1, 2))
    other[0, 0, 7, 7] = 2.0**57
    found = tried(tmp_path, proto, x0, other)
    assert set(decisions(found).values()) == {BROKEN}
    noise = [each.noise for run in found.runs for each in run.judged]
    assert max(each for each in noise if each is not None) < 1e-4


@pytest.mark.parametrize("beta", [1e-9, 1e-30])
def test_a_control_that_rounding_swallows_shows_nothing(beta: float, tmp_path: Path) -> None:
    found = tried(tmp_path, behind(node("Neg", ["h"], ["y"])), X0, X0 + beta * PHI)
    assert decisions(found)["float32"] is not HOLDS
    assert not found.holds


def test_an_input_that_nothing_reads_shows_nothing(tmp_path: Path) -> None:
    proto = model([node("Relu", ["c"], ["y"])], {"c": weight(3)}, inputs=[value("x", [1, 5])])
    found = tried(tmp_path, proto, weight(1, 5), weight(1, 5, seed=1).astype(np.float64))
    assert set(decisions(found).values()) == {UNDECIDED}


def judged_of(found: Collision, precision: str, name: str) -> Judgement:
    (run,) = (run for run in found.runs if run.precision == precision)
    (judged,) = (each for each in run.judged if each.name == name)
    return judged


def test_the_scale_does_not_grow_with_the_change(tmp_path: Path) -> None:
    proto = behind(node("Neg", ["h"], ["y"]), w=W[:, :1])
    phi = kernel_vector(W[:, :1])[None]
    scales = [judged_of(tried(tmp_path, proto, X0, X0 + beta * phi), "float32", "y").scale for beta in (1.0, 1e3, 1e6)]
    assert len(set(scales)) == 1
    assert scales[0] is not None
    assert 0.1 < scales[0] < 100


@pytest.mark.parametrize("shape", [(1, 2, 3, 1), (1, 3, 1, 2), (1, 3, 2), (1, 2, 3), (6, 1), (6,)])
def test_a_large_channel_lends_a_small_one_nothing(shape: tuple[int, ...], tmp_path: Path) -> None:
    """Wherever the channels lie: half of the scores are 1e6 times as large, and the small ones move as those round."""
    axis = shape.index(2) if 2 in shape else None
    large = np.ones(shape, np.float32)
    if axis is None:
        large.flat[:3] = 1e6
    else:
        np.moveaxis(large, axis, 0)[0] = 1e6
    nodes = [node("Reshape", ["h", "s"], ["r"]), node("Mul", ["r", "c"], ["y"])]
    proto = behind(*nodes, s=np.array(shape), c=large)
    assert tried(tmp_path, proto, X0, X0 + PHI).holds
    scores = np.zeros(P)
    scores[int(np.flatnonzero(large.ravel() == 1)[0])] = 1e-3
    step = np.linalg.lstsq(W.astype(np.float64).T, scores, rcond=None)[0]
    found = tried(tmp_path, proto, X0, X0 + PHI + step)
    assert {each.decision for run in found.runs for each in run.judged} == {BROKEN}


def test_the_tolerance_is_an_option_and_only_decides_what_is_within_rounding(tmp_path: Path) -> None:
    proto, long = behind(node("Neg", ["h"], ["y"])), X0 + 1e5 * PHI
    loose = Execution(tolerances={Precision.FLOAT64: 1e-9, Precision.FLOAT32: 1.0})
    assert tried(tmp_path, proto, X0, long, execution=loose).holds
    assert not tried(tmp_path, proto, X0, long).holds
    beside = long + 3.0 * weight(1, Q, seed=9)
    assert not tried(tmp_path, proto, X0, beside, execution=loose).holds
    strict = replace(loose, tolerances={Precision.FLOAT64: 1e-30, Precision.FLOAT32: 1e-30})
    found = tried(tmp_path, proto, X0, X0 + PHI, execution=strict)
    assert set(decisions(found).values()) == {UNDECIDED}


def test_runs_agree_to_the_byte(tmp_path: Path) -> None:
    first, second = (tried(tmp_path, masked_rows(), X0, X0 + PHI) for _ in range(2))
    assert [run.judged for run in first.runs] == [run.judged for run in second.runs]


@pytest.mark.parametrize("shape", [(), (1,), (0,), (1, 1, 1, 1, 6)])
def test_outputs_of_any_rank_are_judged(shape: tuple[int, ...], tmp_path: Path) -> None:
    count = int(np.prod(shape))
    nodes = [node("Slice", ["h", "zero", "end", "one"], ["s"]), node("Reshape", ["s", "shape"], ["r"], allowzero=1)]
    constants: dict[str, Any] = {
        "zero": np.array([0]),
        "end": np.array([count]),
        "one": np.array([1]),
        "shape": np.array(shape, np.int64),
    }
    proto = behind(*nodes, **constants)
    proto.graph.output.append(value("h", None))
    assert tried(tmp_path, proto, X0, X0 + PHI).holds
    if count:
        assert not tried(tmp_path, proto, X0, X0 + PHI + 1e-3).holds


@pytest.mark.parametrize("between", [[], [node("Transpose", ["p"], ["q"], perm=[1, 0])]])
def test_probabilities_before_a_label_may_saturate(between: list[onnx.NodeProto], tmp_path: Path) -> None:
    """The logits show what the probabilities have no digits for; a probability that is an output itself is judged."""
    axis = 0 if between else 1
    nodes = [node("Mul", ["h", "c"], ["s"]), node("Softmax", ["s"], ["p"], axis=1), *between]
    nodes.append(node("ArgMax", [nodes[-1].output[0]], ["y"], axis=axis))
    for x1, decided in ((X0 + PHI, HOLDS), (X0 + PHI + 1e-4 * weight(1, Q, seed=9), BROKEN)):
        found = tried(tmp_path, behind(*nodes, c=np.float32(30)), X0, x1)
        assert [(each.name, each.enters) for each in found.runs[0].judged] == [("y", None), ("s", "Softmax")]
        assert set(decisions(found).values()) == {decided}


@pytest.mark.parametrize("labels", [True, False])
def test_what_is_counted_is_looked_at(labels: bool, tmp_path: Path) -> None:
    """The number of positions with a label, or of scores above 0: it may stay while all of them change."""
    nodes = [node("Reshape", ["h", "shape"], ["r"])]
    if labels:
        nodes += [node("ArgMax", ["r"], ["l"], axis=1), node("OneHot", ["l", "three", "ends"], ["o"])]
        nodes += [node("Gather", ["o", "first"], ["g"], axis=2), node("Cast", ["g"], ["k"], to=INT64)]
    else:
        nodes += [node("Greater", ["r", "zero"], ["g"]), node("Cast", ["g"], ["k"], to=INT64)]
    nodes.append(node("ReduceSum", ["k"], ["y"], keepdims=0))
    constants = {"shape": np.array([2, 3]), "three": np.array([3]), "ends": np.array([0, 1]), "first": np.array([0])}
    proto = behind(*nodes, zero=np.float32(0), **constants)
    proto.graph.output[0].type.tensor_type.elem_type = INT64
    for x1, decided in ((X0 + PHI, HOLDS), (X0 + 1e-4 * weight(1, Q, seed=9), BROKEN)):
        found = tried(tmp_path, proto, X0, x1)
        (judged,) = (each for each in found.runs[0].judged if each.enters is not None)
        assert (judged.name, judged.enters) == ("r", "ArgMax" if labels else "Greater")
        assert set(decisions(found).values()) == {decided}
        assert all(np.array_equal(*run.arrays["y"][:2]) for run in found.runs)


def test_rounding_that_a_sum_absorbs_is_noise(tmp_path: Path) -> None:
    """x + 10⁶ − 10⁶ loses what an ulp of x does not show: the distance between precisions does, at x₀ or at x₁."""
    nodes = [node("Add", ["x", "c"], ["a"]), node("Sub", ["a", "c"], ["b"]), node("MatMul", ["b", "w"], ["y"], name="layer")]
    proto = model(nodes, {"c": np.float32(1e6), "w": W}, inputs=[value("x", [1, Q])])
    x0 = np.rint(16 * X0) / 16  # on the grid of float32 near 10⁶: nothing is lost there
    run = tried(tmp_path, proto, x0, x0 + PHI).runs[1]
    assert run.verdict.decision is UNDECIDED
    assert run.why is not None
    assert "rounding on the way" in run.why
    assert tried(tmp_path, proto, x0, x0 + PHI, execution=Execution((Precision.FLOAT64,))).runs[0].verdict.decision is not HOLDS


@pytest.mark.parametrize(("value", "advice"), [(0.5, "its last digits are no finer"), (1e-3, "make the change smaller")])
def test_scores_that_hardly_move_are_told_what_helps(value: float, advice: str) -> None:
    """2⁻²⁴ is the last digit of 0.5, and 512 of those of 0.001: both are a hundredth of a scale of 6e-6, and within noise."""
    before, control = np.full((1, 3), value, np.float32), np.full((1, 3), value + 1e-5, np.float32)
    after = before + np.array([[2.0**-24, 0, 0]], np.float32)
    measure = Yardstick(np.full((1, 3), 2.0**-22), np.full((1, 3), 6e-6))
    (judged,) = judgements(Tried({"y": before}, {"y": after}, {"y": control}, {"y": measure}, 1e-3, {}, {}))
    assert judged.decision is UNDECIDED
    assert judged.why is not None
    assert advice in judged.why
