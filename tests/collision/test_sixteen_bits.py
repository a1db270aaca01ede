"""Models with float16 or bfloat16 inside are judged as the file too: what its casts merge shows nothing of a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxnull.collision import search as searching
from onnxnull.collision.cases import Case
from onnxnull.collision.executables import AtInput, computes_in_16_bits, networks_twin
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.results import Collision, Kind
from onnxnull.collision.search import Execution, Place, Search
from onnxnull.collision.strategies.strategy import Method
from onnxnull.errors import Code, OnnxnullError
from onnxnull.evidence.replay import replay
from onnxnull.graph.model import open_model
from onnxnull.policy.config import RunSettings
from onnxnull.policy.outputs import run_outputs
from onnxnull.policy.run_request import RunRequest
from onnxnull.runtime.precision import Precision
from onnxnull.runtime.providers import Provider
from onnxnull.runtime.session import Runner
from tests.collision.bundles import bundled
from tests.collision.searches import collision, dense, labels, saved
from tests.helpers import BOOL, FLOAT, model, value
from tests.runtime.test_as_stored import BRAIN, HALF, KINDS, NUMPY, body, numbers

node = helper.make_node
X = np.random.default_rng(1).standard_normal((1, 12)).astype(np.float32)
LAYER = node("MatMul", ["x", "w"], ["y"], name="mm")
AFTER_A_CAST = [
    node("MatMul", ["h", "w"], ["a"], name="head"),
    node("Relu", ["a"], ["r"]),
    node("MatMul", ["r", "v"], ["z"]),
    node("Cast", ["z"], ["y"], to=FLOAT),
]
"""From a tensor h of 16 bits to an output of float32."""


def network(
    nodes: Sequence[onnx.NodeProto], kind: int = HALF, ends: tuple[int, int] | None = None, **constants: float
) -> onnx.ModelProto:
    """x 1×12 → y, with weights w 12×4 and v 4×3 of `kind`; `ends` are the types of x and y."""
    stored: dict[str, np.ndarray] = {"w": numbers(12, 4, kind=kind), "v": numbers(4, 3, seed=1, kind=kind)}
    stored |= {name: np.array(number).astype(NUMPY[kind]) for name, number in constants.items()}
    read = {name for each in nodes for name in each.input}
    first, last = ends or (kind, kind)
    return model(
        nodes,
        {name: array for name, array in stored.items() if name in read},
        inputs=[value("x", [1, 12], first)],
        outputs=[value("y", None, last)],
    )


def kept(nodes: Sequence[onnx.NodeProto] = (), kind: int = HALF, **constants: float) -> onnx.ModelProto:
    """float32 in, a cast to 16 bits, steps from g to h, the layers, float32 out: a mixed-precision export."""
    return network(
        [node("Cast", ["x"], ["g" if nodes else "h"], to=kind), *nodes, *AFTER_A_CAST], kind, (FLOAT, FLOAT), **constants
    )


@KINDS
def test_such_a_model_is_judged_as_it_is_too(kind: int, tmp_path: Path) -> None:
    path = saved(tmp_path, dense(numbers(9, 4, kind=kind), kind=kind))
    found = collision(path, {"x": np.random.default_rng(1).standard_normal((1, 9))})
    assert [run.precision for run in found.runs] == ["float64", "float32", "native"]
    assert found.holds
    native = found.runs[-1]
    ((layer,), (output,)) = native.layers, native.judged
    assert layer.kernel.holds
    assert layer.runtime.holds
    assert layer.kernel.value > 1e-5, "16 bits cost something"
    assert output.seen
    assert (native.tolerance, native.session["lowered"]) == (5e-2, ["MatMul"])
    (note,) = native.notes
    assert note == "the file as it stores numbers: MatMul in float32 here, and what they give rounded to the file's 16 bits"
    before, after, _ = native.arrays["y"]
    weights = numbers(9, 4, kind=kind).astype(np.float32)
    for x, y in ((found.original, before), (found.colliding, after)):
        assert y.dtype == NUMPY[kind]
        np.testing.assert_array_equal(y, (x.astype(NUMPY[kind]).astype(np.float32) @ weights).astype(NUMPY[kind]))
    np.testing.assert_array_equal(found.original, found.original.astype(NUMPY[kind]).astype(float))


def test_onnxruntime_without_such_kernels_is_said(tmp_path: Path) -> None:
    path = saved(tmp_path, dense(numbers(9, 4, kind=BRAIN), kind=BRAIN))
    caveat = collision(path, {"x": np.ones((1, 9))}).caveat or ""
    assert "onnxruntime does not run the file itself (Could not find an implementation for MatMul(13)" in caveat
    path = saved(tmp_path, dense(numbers(9, 4, kind=HALF), kind=HALF))
    assert collision(path, {"x": np.ones((1, 9))}).caveat is None


@KINDS
def test_layers_inside_a_mixed_precision_export(kind: int, tmp_path: Path) -> None:
    found = collision(saved(tmp_path, kept(kind=kind)), {"x": X}, place=Place(layer="head"))
    assert [run.verdict.label for run in found.runs] == ["rounding", "rounding", found.runs[-1].verdict.label]
    assert found.holds
    assert found.runs[-1].layers[0].kernel.holds


@pytest.mark.parametrize("asked", [(Precision.FLOAT64,), (Precision.FLOAT32,), (Precision.NATIVE,)])
def test_no_choice_of_precisions_leaves_the_file_out(asked: tuple[Precision, ...], tmp_path: Path) -> None:
    found = collision(saved(tmp_path, network([LAYER])), {"x": X}, precisions=asked)
    assert [run.precision for run in found.runs] == list(dict.fromkeys([*(each.value for each in asked), "native"]))


def test_its_tolerance_is_that_of_float16_or_its_own(tmp_path: Path) -> None:
    opened = open_model(saved(tmp_path, network([LAYER])))
    half, native = Precision.FLOAT16, Precision.NATIVE
    cases: list[tuple[dict[Precision, float], float]] = [({}, 5e-2), ({half: 1e-2}, 1e-2), ({native: 2e-2, half: 1e-2}, 2e-2)]
    for given, tau in cases:
        assert Search(opened, Place(), Execution(tolerances=given)).execution.tolerances[Precision.NATIVE] == tau
    opened = open_model(saved(tmp_path, dense(np.eye(3, dtype=np.float32))))
    assert Search(opened, Place(), Execution()).execution.tolerances[Precision.NATIVE] == 1e-3


SUB = {"then_branch": body([node("Cast", ["x"], ["t"], to=HALF), node("Cast", ["t"], ["u"], to=FLOAT)], "u")}
WITHIN: dict[str, tuple[list[onnx.NodeProto], bool]] = {
    "float32 alone": ([node("Relu", ["x"], ["y"])], False),
    "a cast": ([node("Cast", ["x"], ["h"], to=HALF), node("Cast", ["h"], ["y"], to=FLOAT)], True),
    "bfloat16": ([node("Cast", ["x"], ["h"], to=BRAIN), node("Cast", ["h"], ["y"], to=FLOAT)], True),
    "like a constant": ([node("CastLike", ["x", "v"], ["h"]), node("Cast", ["h"], ["y"], to=FLOAT)], True),
    "in a branch": ([node("If", ["flag"], ["y"], else_branch=body([node("Relu", ["x"], ["e"])], "e"), **SUB)], True),
    "weights that are cast": ([node("Cast", ["w"], ["f"], to=FLOAT), node("MatMul", ["x", "f"], ["y"])], False),
    "what a constant fills": (
        [
            node("Shape", ["x"], ["s"]),
            node("ConstantOfShape", ["s"], ["h"], value=helper.make_tensor("one", HALF, [1], [1.0])),
            node("Cast", ["h"], ["f"], to=FLOAT),
            node("Add", ["x", "f"], ["y"]),
        ],
        True,
    ),
    "of a contributed operator": (
        [
            node("Cast", ["x"], ["h"], to=HALF),
            node("FastGelu", ["h"], ["g"], domain="com.microsoft"),
            node("Cast", ["g"], ["y"], to=FLOAT),
        ],
        True,
    ),
    "a dequantized activation": (
        [
            node("QuantizeLinear", ["x", "one"], ["q"]),
            node("DequantizeLinear", ["q", "half"], ["h"]),
            node("Cast", ["h"], ["y"], to=FLOAT),
        ],
        True,
    ),
}


@pytest.mark.parametrize("name", WITHIN)
def test_16_bits_are_found_wherever_they_are(name: str, tmp_path: Path) -> None:
    nodes, there = WITHIN[name]
    stored = {"w": numbers(12, 4), "v": numbers(4, 3), "one": np.float32(1), "half": np.float16(1)}
    read = {each for n in nodes for each in n.input}
    inputs = [value("x", [1, 12])] + ([value("flag", [], BOOL)] if "flag" in read else [])
    proto = model(
        nodes,
        {key: array for key, array in stored.items() if key in read},
        inputs=inputs,
        opset=21,
        imports={"com.microsoft": 1},
        ir_version=10,
    )
    assert computes_in_16_bits(open_model(saved(tmp_path, proto))) == there


def test_16_bits_in_a_local_function(tmp_path: Path) -> None:
    imports = [helper.make_opsetid("", 17)]
    inner = [node("Cast", ["a"], ["b"], to=HALF), node("Cast", ["b"], ["c"], to=FLOAT)]
    function = helper.make_function("here", "Round", ["a"], ["c"], inner, imports)
    proto = model(
        [node("Round", ["x"], ["y"], domain="here")], inputs=[value("x", [1, 12])], imports={"here": 1}, functions=[function]
    )
    assert computes_in_16_bits(open_model(saved(tmp_path, proto)))


@dataclass(frozen=True, eq=False)
class Attempt:
    """A pair that holds at float64 and float32 and shows nothing of the file: how it ends."""

    proto: onnx.ModelProto
    recipe: Recipe
    ends: str
    x: Any = None
    place: Place | None = None
    fiber: bool = False

    def run(self, folder: Path) -> tuple[str, Collision | None]:
        """A decision with the reason of the first run that does not hold, or the error."""
        path, x = saved(folder, self.proto), X if self.x is None else self.x
        method = Method(Kind.FIBER if self.fiber else Kind.KERNEL)
        search = Search(open_model(path), self.place or Place(), Execution(), method=method)
        try:
            (found,) = search.run(Case("random", {"x": x}), self.recipe)
        except OnnxnullError as error:
            return f"{error.code.code}: {error.seen}", None
        why = next((run.why for run in found.runs if run.why), "")
        return f"{found.decision.label}: {why}", found


_SAME, _TOLD = "undecided: rounding on the way makes the two inputs the same", "not-found: no change of this kernel"
_REFUSED = "undecided: the kernel claim is refused: rounding on the way moves the layer"
_NOTHING = "undecided: the control moves nothing"
SHIFTED = [node("Add", ["x", "c"], ["s"]), node("MatMul", ["s", "w"], ["y"], name="mm")]
ATTEMPTS = {
    "shorter than an ulp of float16": Attempt(network([LAYER]), Recipe(beta=1e-4), _TOLD),
    "shorter than an ulp of bfloat16": Attempt(network([LAYER], BRAIN), Recipe(beta=1e-3), _TOLD),
    "next to a constant of 2000": Attempt(network(SHIFTED, c=2000.0), Recipe(beta=3.0), _REFUSED),
    "next to a constant of 400, bfloat16": Attempt(network(SHIFTED, BRAIN, c=400.0), Recipe(beta=3.0), _REFUSED),
    "all of it lost in a sum": Attempt(network(SHIFTED, c=3000.0), Recipe(beta=0.1), _SAME),
    "beyond the range of float16": Attempt(
        network(
            [
                node("MatMul", ["x", "w"], ["a"], name="mm"),
                node("Mul", ["a", "c"], ["b"]),
                node("Div", ["b", "c"], ["d"]),
                node("MatMul", ["d", "v"], ["y"]),
            ],
            c=60000.0,
        ),
        Recipe(beta=1.0),
        "twin: Div",
    ),
    "a layer behind a cast, next to 3000": Attempt(
        kept([node("Add", ["g", "c"], ["h"])], c=3000.0), Recipe(beta=1.0), _TOLD, place=Place(layer="head")
    ),
    "a fibre within an ulp of the cast": Attempt(kept(), Recipe(beta=1e-5), _SAME, fiber=True),
    "a fibre of which the cast leaves half": Attempt(kept(), Recipe(beta=1e-3), _NOTHING, fiber=True),
    "a fibre far from 0": Attempt(kept(), Recipe(beta=0.5), _NOTHING, X + 2000, fiber=True),
    "a fibre within an ulp of bfloat16": Attempt(kept(kind=BRAIN), Recipe(beta=1e-4), _SAME, fiber=True),
    "a fibre behind a step and a cast": Attempt(
        network([node("Neg", ["x"], ["m"]), node("Cast", ["m"], ["h"], to=HALF), *AFTER_A_CAST], ends=(FLOAT, FLOAT)),
        Recipe(beta=1e-5),
        _SAME,
        -X,
        fiber=True,
    ),
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_what_the_file_merges_is_never_green(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a run of the file each of these pairs holds."""
    attempt = ATTEMPTS[name]
    ends, _ = attempt.run(tmp_path)
    assert ends.startswith(attempt.ends), ends
    monkeypatch.setattr(searching, "computes_in_16_bits", lambda model: False)
    before, _ = attempt.run(tmp_path)
    assert before == "holds: "


def test_the_report_says_what_a_cast_merges(tmp_path: Path) -> None:
    _, found = ATTEMPTS["a fibre of which the cast leaves half"].run(tmp_path)
    assert found is not None
    x0, x1 = (x.astype(np.float32) for x in (found.original, found.colliding))
    changed, same = np.count_nonzero(x0 != x1), np.count_nonzero((x0 != x1) & (x0.astype(np.float16) == x1.astype(np.float16)))
    assert 0 < same < changed
    assert found.runs[-1].notes[1:] == (f"rounding on the way makes {same} of {changed} changed entries the same",)
    assert [len(run.notes) for run in found.runs] == [0, 0, 2]


def test_a_long_fibre_of_a_mixed_precision_export_holds(tmp_path: Path) -> None:
    ends, found = Attempt(kept(), Recipe(beta=1.0), "", fiber=True).run(tmp_path)
    assert (ends, found is not None and labels(found)) == (
        "holds: ",
        {"float64": "equal", "float32": "equal", "native": "equal"},
    )


def test_an_ulp_behind_a_cast_is_one_of_16_bits(tmp_path: Path) -> None:
    """Noise of a fibre: one ulp of float32 would mostly vanish in the cast."""
    execution = Execution((Precision.NATIVE,))
    search = Search(open_model(saved(tmp_path, kept())), Place(), execution, method=Method(Kind.FIBER))
    (found,) = search.run(Case("random", {"x": X}), Recipe(beta=1.0))
    (output,) = found.runs[0].judged
    assert output.noise is not None
    assert output.noise > 2.0**-12 * float(np.abs(found.runs[0].arrays["y"][0]).max())


def test_an_input_that_float16_only_widens(tmp_path: Path) -> None:
    """float16 in, cast to float32: x is stored as the file's input, and so is its ulp."""
    proto = model(
        [node("Cast", ["x"], ["h"], to=FLOAT), node("MatMul", ["h", "w"], ["y"], name="mm")],
        {"w": numbers(12, 4).astype(np.float32)},
        inputs=[value("x", [1, 12], HALF)],
    )
    opened = open_model(saved(tmp_path, proto))
    search = Search(opened, Place(), Execution())
    (found,) = search.run(Case("random", {"x": X}), Recipe(beta=1.0))
    assert found.holds
    subject = AtInput(networks_twin(opened, Precision.NATIVE, Provider.CPU), Provider.CPU, search._site, {})
    assert (subject.unit, subject.stored(found.colliding).dtype) == (2.0**-11, np.dtype(np.float16))
    assert found.runs[-1].session["lowered"] == []
    assert found.runs[-1].notes == ()


def test_whole_numbers_stay_beside_16_bits(tmp_path: Path) -> None:
    """DynamicQuantizeLinear, integers, then float16: the codes collide to the last bit, and the rest runs as it is stored."""
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("MatMulInteger", ["q", "i", "z"], ["n"], name="integers"),
        node("Cast", ["n"], ["f"], to=HALF),
        node("Cast", ["s"], ["t"], to=HALF),
        node("Mul", ["f", "t"], ["h"]),
        node("MatMul", ["h", "v"], ["y"], name="floats"),
    ]
    stored = {"i": np.random.default_rng(0).integers(-9, 9, (12, 4), dtype=np.int8), "v": numbers(4, 2)}
    path = saved(tmp_path, model(nodes, stored, inputs=[value("x", [1, 12])], outputs=[value("y", None, HALF)]))
    found = collision(path, {"x": X})
    assert labels(found) == {"native": "bitwise"}
    assert found.runs[0].session["lowered"] == ["MatMul", "Mul"]
    assert collision(path, {"x": X}, place=Place(layer="floats")).runs[0].tolerance == 5e-2


@KINDS
def test_replay_judges_the_file_too(kind: int, tmp_path: Path) -> None:
    path = saved(tmp_path, dense(numbers(9, 4, kind=kind), kind=kind))
    bundled(tmp_path / "bundle", path)
    (found,) = replay(tmp_path / "bundle", path)
    assert found.confirmed
    assert [run.precision for run, _ in found.pairs] == ["float64", "float32", "native"]
    (alone,) = replay(tmp_path / "bundle", path, precisions=[Precision.FLOAT64])
    assert [run.precision for run, _ in alone.pairs] == ["float64", "native"]


def test_an_error_names_the_file_that_does_not_run_at_all(tmp_path: Path) -> None:
    """Convolutions of bfloat16 came with opset 22: before, the file is no model, and nothing stands in for it."""
    proto = model(
        [node("Conv", ["x", "f"], ["y"])],
        {"f": numbers(2, 3, 1, 1, kind=BRAIN)},
        inputs=[value("x", [1, 3, 4, 4], BRAIN)],
        outputs=[value("y", None, BRAIN)],
    )
    search = Search(open_model(saved(tmp_path, proto)), Place(), Execution())
    with pytest.raises(OnnxnullError) as refused:
        list(search.run(Case("random", {"x": np.ones((1, 3, 4, 4))}), Recipe(beta=1.0)))
    assert refused.value.code is Code.RUNTIME
    assert "bfloat16" in refused.value.seen


@KINDS
def test_a_trace_names_the_operators_of_the_file(kind: int, tmp_path: Path) -> None:
    execution = Execution((Precision.FLOAT32,), trace=True)
    (found,) = Search(open_model(saved(tmp_path, network([LAYER], kind))), Place(), execution).run(
        Case("random", {"x": X}), Recipe(beta=1.0)
    )
    assert [[(step.tensor, step.op) for step in run.trace] for run in found.runs] == [[("y", "MatMul")]] * 2


def test_the_gate_runs_the_file_as_it_is_stored(tmp_path: Path) -> None:
    """Products beyond 65,504: onnxruntime's CPU provider computes them in float32, and float16 holds none of them."""
    attempt = ATTEMPTS["beyond the range of float16"]
    path = saved(tmp_path, attempt.proto)
    assert np.isfinite(Runner(open_model(path)).run({"x": X})["y"]).all()
    found = run_outputs(RunRequest(open_model(path), RunSettings()))
    assert found.problem is None
    assert {**(found.nan or {}), **(found.infinite or {})}.keys() == {"y"}
    found = run_outputs(RunRequest(open_model(saved(tmp_path, network([LAYER], BRAIN))), RunSettings()))
    assert (found.runs, found.outputs, found.nan, found.infinite, found.constant) == (8, 1, {}, {}, ())
