"""One network in two forms: which verdict, which partners, which orders, which inputs, which exit code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from onnxnull import Running, compare, open_model
from onnxnull.collision.results import Change, Decision, Run, RunVerdict
from onnxnull.comparison.carried_collisions import _crossed
from onnxnull.comparison.results import Comparison, Pair
from onnxnull.comparison.verdicts import Crossed, Factors, InputMap, Matched, Order, Outcome, Verdict
from onnxnull.errors import Code, ExitCode, OnnxnullError
from onnxnull.kernel.rank import Notion
from tests.helpers import model, value

from .networks import (
    CONVOLUTIONS,
    PRODUCTS,
    WEIGHTS,
    Network,
    folded,
    network,
    normalised_inside,
    permuted,
    with_weight,
    write,
)

NET = network()
I, R, S, Q, D = Verdict  # closest first
FOLDED = {**dict.fromkeys(CONVOLUTIONS, S), **dict.fromkeys(PRODUCTS, I)}


@dataclass(frozen=True)
class Form:
    """A second form of the network, and what comparing the plain one with it has to say.

    Attributes:
        verdicts: of each weight, in the order of the first model; one for all.
        orders: (inputs, outputs) of the weights that are not in the same order.
        factors: of the weights that have some.
        worst: what a collision of the plain network does on it, at the precision where it does worst.
        outcome: what is said of the files.
    """

    write: Callable[[Path], Path]
    verdicts: dict[str, Verdict] | Verdict
    mapped: InputMap = InputMap.SAME
    orders: dict[str, tuple[Order, Order]] | None = None
    factors: dict[str, Factors] | None = None
    worst: Crossed = Crossed.COLLIDES
    moved: frozenset[str] = frozenset()
    outcome: Outcome = Outcome.SAME_GRAPH


def form(net: Network = NET, **how: object) -> Callable[[Path], Path]:
    return lambda path: write(path, net, **how)


PERMUTED = {
    **dict.fromkeys(("stem", "depthwise"), (Order.SAME, Order.PERMUTED)),
    **dict.fromkeys(("pointwise", "dense", "q", "k", "v"), (Order.PERMUTED, Order.PERMUTED)),
    "head": (Order.PERMUTED, Order.SAME),
}
OUTPUTS = dict.fromkeys(CONVOLUTIONS, Factors.OUTPUTS)
FORMS = {
    "itself": Form(form(), I, outcome=Outcome.IDENTICAL),
    "renamed and reordered": Form(
        form(prefix="other/", backwards=True), I, moved=frozenset({"q", "k"}), outcome=Outcome.IDENTICAL
    ),
    "transposed": Form(form(transposed=True), I),
    "folded": Form(form(folded(NET)), FOLDED, factors=OUTPUTS, worst=Crossed.NEARLY),
    "float16": Form(form(dtype=np.float16), R, worst=Crossed.NEARLY, outcome=Outcome.ROUNDED),
    "folded, float16": Form(
        form(folded(NET), dtype=np.float16),
        {**dict.fromkeys(CONVOLUTIONS, S), **dict.fromkeys(PRODUCTS, R)},
        factors=OUTPUTS,
        worst=Crossed.NEARLY,
        outcome=Outcome.ROUNDED,
    ),
    "int8": Form(form(bits=8), Q, worst=Crossed.NEARLY, outcome=Outcome.QUANTIZED),
    "folded, int8, renamed": Form(
        form(folded(NET), bits=8, prefix="i"), Q, factors=OUTPUTS, worst=Crossed.NEARLY, outcome=Outcome.QUANTIZED
    ),
    "int8 per tensor, transposed": Form(
        form(bits=8, per_tensor=True, transposed=True), Q, worst=Crossed.NEARLY, outcome=Outcome.QUANTIZED
    ),
    "permuted channels": Form(form(permuted(NET), prefix="p"), I, orders=PERMUTED, outcome=Outcome.AGREES),
    "permuted, folded, int8": Form(
        form(folded(permuted(NET)), bits=8, prefix="p"),
        Q,
        orders=PERMUTED,
        factors=OUTPUTS,
        worst=Crossed.NEARLY,
        outcome=Outcome.UNEXPLAINED,
    ),
    "channels last": Form(
        form(channels_last=True, flat_last=True),
        I,
        InputMap.LAYOUT,
        orders={"dense": (Order.LAYOUT, Order.SAME)},
        outcome=Outcome.MAPPED,
    ),
    "preprocessing inside": Form(form(preprocessing=True, channels_last=True), I, InputMap.READ, outcome=Outcome.MAPPED),
    "colours the other way": Form(
        form(with_weight(NET, "stem", NET.weights["stem"][:, ::-1])),
        I,
        InputMap.READ,
        orders={"stem": (Order.PERMUTED, Order.SAME)},
        outcome=Outcome.MAPPED,
    ),
    "another network": Form(form(network(1)), D, InputMap.SHAPE, worst=Crossed.SEEN, outcome=Outcome.DIFFERENT),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("plain") / "plain.onnx", NET)


def by_name(comparison: Comparison) -> dict[str, Pair]:
    return {pair.a.nodes[0]: pair for pair in comparison.pairs}


@pytest.mark.parametrize("name", FORMS)
def test_forms(name: str, plain: Path, tmp_path: Path) -> None:
    expected = FORMS[name]
    found = compare(open_model(plain), open_model(expected.write(tmp_path / "other.onnx")), running=Running())
    pairs = by_name(found)
    assert set(pairs) == set(WEIGHTS)
    assert not found.only_a
    assert not found.only_b
    verdicts = expected.verdicts if isinstance(expected.verdicts, dict) else dict.fromkeys(WEIGHTS, expected.verdicts)
    assert {node: pair.verdict for node, pair in pairs.items()} == verdicts
    same = D not in verdicts.values()
    assert all(pair.b.nodes[0].endswith(node) for node, pair in pairs.items())
    assert {pair.matched for pair in pairs.values()} == {Matched.CONTENT if same else Matched.NAME}
    orders = {node: (pair.inputs, pair.outputs) for node, pair in pairs.items()}
    assert orders == {**dict.fromkeys(WEIGHTS, (Order.SAME, Order.SAME)), **(expected.orders or {})}
    factors = {node: pair.scale.factors for node, pair in pairs.items() if pair.scale.factors is not Factors.NONE}
    assert factors == (expected.factors or {})
    assert all(pair.scale.explained for pair in pairs.values())
    assert {node for node, pair in pairs.items() if pair.moved} == expected.moved
    assert found.outcome is expected.outcome
    (entry,) = found.inputs
    assert entry.mapped is expected.mapped
    assert entry.nullity_a is not None
    assert entry.nullity_a.lower == entry.nullity_a.upper == 19 * 16  # the stem's 16 patches of 27, rank 8
    assert entry.nullity_a == entry.nullity_b
    for crossing in found.crossings:
        assert crossing.reason is None
        assert max((run.crossed for run in crossing.runs), key=list(Crossed).index) is expected.worst


def test_ranks_stand_side_by_side(plain: Path, tmp_path: Path) -> None:
    weight = NET.weights["dense"].copy()
    weight[:, 7] = weight[:, 2]
    pair = by_name(compare(open_model(plain), open_model(write(tmp_path / "b.onnx", with_weight(NET, "dense", weight)))))[
        "dense"
    ]
    assert pair.verdict is D
    assert pair.matched is Matched.CONTENT
    assert [side.ranks.nullity(Notion.FLOAT64) for side in (pair.a, pair.b) if side.ranks is not None] == [232, 233]
    assert pair.angle.degrees is not None
    assert pair.angle.degrees < 1e-5  # the larger kernel holds the smaller one


@pytest.mark.parametrize("name", ["folded, float16", "int8"])
def test_angles_are_those_of_the_null_spaces(name: str, plain: Path, tmp_path: Path) -> None:
    """Against SciPy's null spaces and angles, of the numbers that the other file stores."""
    from scipy.linalg import null_space, subspace_angles

    from onnxnull.analysis.weights import find_weights
    from onnxnull.comparison.matching import matrix_of
    from onnxnull.graph.flow import Flow

    other = FORMS[name].write(tmp_path / "other.onnx")
    stored = [{w.node.name: matrix_of(w) for w in find_weights(Flow(open_model(path)))[0]} for path in (plain, other)]
    for node, pair in by_name(compare(open_model(plain), open_model(other))).items():
        first, second = (matrices[node] for matrices in stored)
        if len(first) > 1 or first.shape[1] <= first.shape[2]:
            continue
        expected = np.degrees(subspace_angles(null_space(first[0].T), null_space(second[0].T)).max())
        assert pair.angle.degrees == pytest.approx(expected, rel=1e-6)
        assert not pair.angle.at_least


class TestFused:
    """Query, key and value as one weight, on either side."""

    @pytest.mark.parametrize("net", [NET, permuted(NET)], ids=["as they are", "permuted"])
    @pytest.mark.parametrize("split_first", [True, False])
    def test_fused(self, net: Network, split_first: bool, plain: Path, tmp_path: Path) -> None:
        fused = write(tmp_path / "fused.onnx", net, fused=True, prefix="f")
        found = compare(*map(open_model, (plain, fused) if split_first else (fused, plain)), running=Running())
        (whole,) = (pair for pair in found.pairs if len(pair.a.names) + len(pair.b.names) > 2)
        parts, one = (whole.a, whole.b) if split_first else (whole.b, whole.a)
        assert parts.names == ("q.weight", "k.weight", "v.weight")
        assert one.names == ("fqkv.weight",)
        assert (one.inputs, one.outputs, parts.outputs) == (24, 48, 48)
        assert whole.verdict is I
        assert found.outcome is (Outcome.SAME_GRAPH if net is NET else Outcome.AGREES)
        assert not found.only_a
        assert not found.only_b

    def test_a_part_that_differs(self, plain: Path, tmp_path: Path) -> None:
        net = with_weight(NET, "k", network(3).weights["k"])
        found = compare(open_model(plain), open_model(write(tmp_path / "fused.onnx", net, fused=True)), running=Running())
        assert found.exit_code() is ExitCode.VIOLATED
        whole = [pair for pair in found.pairs if len(pair.a.names) == 3]
        assert [pair.verdict for pair in whole] == [D]

    def test_a_fused_operator(self, tmp_path: Path) -> None:
        """com.microsoft's Attention against its MatMuls, Softmax and the rest."""
        rng, node = np.random.default_rng(0), helper.make_node
        q, k, v = (rng.standard_normal((16, 16)).astype(np.float32) for _ in range(3))
        fused = model(
            [node("Attention", ["x", "w", "b"], ["y"], "attention", domain="com.microsoft", num_heads=2)],
            {"w": np.concatenate([q, k, v], axis=1), "b": np.zeros(48, np.float32)},
            inputs=[value("x", [1, 4, 16])],
            imports={"com.microsoft": 1},
        )
        nodes = [node("MatMul", ["x", f"w{part}"], [part], part) for part in "qkv"]
        nodes += [node("Reshape", [part, "heads"], [f"{part}4"]) for part in "qkv"]
        orders = {"q": [0, 2, 1, 3], "k": [0, 2, 3, 1], "v": [0, 2, 1, 3]}
        nodes += [node("Transpose", [f"{part}4"], [f"{part}t"], perm=perm) for part, perm in orders.items()]
        nodes += [
            node("MatMul", ["qt", "kt"], ["product"]),
            node("Mul", ["product", "scale"], ["scores"]),
            node("Softmax", ["scores"], ["weights"], axis=-1),
            node("MatMul", ["weights", "vt"], ["o"]),
            node("Transpose", ["o"], ["ot"], perm=[0, 2, 1, 3]),
            node("Reshape", ["ot", "flat"], ["y"]),
        ]
        constants = {"wq": q, "wk": k, "wv": v, "heads": [1, 4, 2, 8], "flat": [1, 4, 16], "scale": np.float32(8**-0.5)}
        split = model(nodes, constants, inputs=[value("x", [1, 4, 16])])
        for name, proto in (("fused", fused), ("split", split)):
            (tmp_path / name).write_bytes(proto.SerializeToString())
        found = compare(open_model(tmp_path / "split"), open_model(tmp_path / "fused"), running=Running())
        (pair,) = found.pairs
        assert (pair.a.names, pair.b.names, pair.verdict) == (("wq", "wk", "wv"), ("w",), I)
        assert found.outcome is Outcome.SAME_GRAPH


def test_many_weights_of_one_shape(tmp_path: Path) -> None:
    """A chain of 520 products; each second one differs a little in the other file."""
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((2, 2)).astype(np.float32) for _ in range(520)]
    for name, step in (("a", 0.0), ("b", 5e-8)):
        nodes = [helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"], f"n{i}") for i in range(520)]
        constants = {f"w{i}": w + step * (i % 2) * w for i, w in enumerate(weights)}
        proto = model(nodes, constants, inputs=[value("x0", [1, 2])])
        (tmp_path / name).write_bytes(proto.SerializeToString())
    found = compare(open_model(tmp_path / "a"), open_model(tmp_path / "b"))
    assert len(found.pairs) == 520
    assert all(pair.a.names == pair.b.names for pair in found.pairs)
    assert {pair.verdict for pair in found.pairs} == {I, R}


class TestWhatIsNotTheSame:
    """The weights may belong together and the networks still differ."""

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (
                lambda n: replace(n, biases={**n.biases, "dense": n.biases["dense"] + 0.5}),
                "constant dense.bias at Add 'dense.add'",
            ),
            (lambda n: with_weight(n, "v", 2 * n.weights["v"]), "constant v.weight at MatMul 'v'"),
            (lambda n: with_weight(n, "head", n.weights["head"][:, ::-1]), "constant head.weight at MatMul 'head'"),
            (lambda n: with_weight(with_weight(n, "q", n.weights["k"]), "k", n.weights["q"]), "output 'head_out' parts"),
            (lambda n: with_weight(n, "q", _touched(n.weights["q"], 1e-3)), "constant q.weight"),
            (lambda n: with_weight(n, "depthwise", _touched(n.weights["depthwise"], 1e-4)), "depthwise.weight"),
        ],
        ids=["a bias", "a factor", "classes in another order", "two weights exchanged", "an entry", "an entry of a filter"],
    )
    def test_it_is_seen(self, change: Callable[[Network], Network], told: str, plain: Path, tmp_path: Path) -> None:
        found = compare(
            open_model(plain), open_model(write(tmp_path / "other.onnx", change(NET))), running=Running(), weights=False
        )
        assert found.exit_code() is ExitCode.VIOLATED
        assert [reason for reason in found.because if told in reason]

    def test_without_a_run_it_is_not_settled(self, plain: Path, tmp_path: Path) -> None:
        swapped = with_weight(with_weight(NET, "q", NET.weights["k"]), "k", NET.weights["q"])
        for net in (swapped, permuted(NET)):
            found = compare(open_model(plain), open_model(write(tmp_path / "other.onnx", net)), weights=False)
            assert found.outcome is Outcome.UNEXPLAINED
            assert found.exit_code() is ExitCode.INCOMPLETE

    def test_factors_that_cancel_agree(self, plain: Path, tmp_path: Path) -> None:
        """Cross-layer equalisation: max(0, x·s) = s·max(0, x) for s > 0."""
        s = np.random.default_rng(0).uniform(0.1, 8.0, 24).astype(np.float32)
        weights = {"dense": NET.weights["dense"] * s, **{name: NET.weights[name] / s[:, None] for name in ("q", "k", "v")}}
        equal = replace(NET, weights={**NET.weights, **weights}, biases={**NET.biases, "dense": NET.biases["dense"] * s})
        other = write(tmp_path / "other.onnx", equal)
        assert compare(open_model(plain), open_model(other), weights=False).exit_code() is ExitCode.INCOMPLETE
        found = compare(open_model(plain), open_model(other), running=Running())
        pairs = by_name(found)
        assert found.outcome is Outcome.AGREES
        assert [found.exit_code(limit) for limit in (Outcome.QUANTIZED, Outcome.AGREES)] == [ExitCode.INCOMPLETE, ExitCode.PASS]
        assert (pairs["dense"].scale.factors, pairs["q"].scale.factors) == (Factors.OUTPUTS, Factors.INPUTS)
        assert not pairs["q"].scale.explained
        assert pairs["dense"].scale.least == pytest.approx(s.min(), rel=1e-6)
        assert pairs["dense"].scale.most == pytest.approx(s.max(), rel=1e-6)

    @pytest.mark.parametrize("bits", [4, 8])
    def test_quantized_networks_that_do_something_else(self, bits: int, plain: Path, tmp_path: Path) -> None:
        head, dense = NET.weights["head"], NET.biases["dense"]
        for net in (
            with_weight(NET, "head", np.roll(head, 1, axis=1)),
            with_weight(NET, "head", -head),
            replace(NET, biases={**NET.biases, "dense": dense + 20}),
        ):
            found = compare(open_model(plain), open_model(write(tmp_path / "other.onnx", net, bits=bits)), weights=False)
            assert found.outcome is Outcome.DIFFERENT

    @pytest.mark.parametrize(("weight", "mul", "same"), [(3, 3, False), (3, 1, True)])
    def test_factors_beside_a_weight(self, weight: int, mul: int, same: bool, tmp_path: Path) -> None:
        numbers = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
        for name, own, factor in (("a", 1, 3), ("b", weight, mul)):
            nodes = [helper.make_node("MatMul", ["x", "w"], ["c"], "fc"), helper.make_node("Mul", ["c", "m"], ["y"], "mul")]
            constants = {"w": numbers * np.float32(own), "m": np.float32(factor)}
            proto = model(nodes, constants, inputs=[value("x", [1, 8])])
            (tmp_path / name).write_bytes(proto.SerializeToString())
        found = compare(open_model(tmp_path / "a"), open_model(tmp_path / "b"))
        assert found.pairs[0].scale.explained is same
        assert found.outcome is (Outcome.SAME_GRAPH if same else Outcome.DIFFERENT)

    def test_the_limit(self, plain: Path, tmp_path: Path) -> None:
        found = compare(open_model(plain), open_model(write(tmp_path / "other.onnx", NET, dtype=np.float16)), weights=False)
        limits = (Outcome.IDENTICAL, Outcome.SAME_GRAPH, Outcome.ROUNDED, Outcome.QUANTIZED)
        assert [found.exit_code(limit) for limit in limits] == [ExitCode.VIOLATED] * 2 + [ExitCode.PASS] * 2

    def test_an_input_map_is_allowed_by_its_name(self, plain: Path, tmp_path: Path) -> None:
        path = write(tmp_path / "b.onnx", NET, channels_last=True)
        found = compare(open_model(plain), open_model(path), running=Running(), weights=False)
        assert (found.outcome, found.input_map) == (Outcome.MAPPED, "image:nhwc")
        assert found.exit_code() is ExitCode.VIOLATED
        for allowed, code in (("image:nhwc", ExitCode.PASS), ("image:bgr", ExitCode.VIOLATED)):
            again = compare(open_model(plain), open_model(path), running=Running(), weights=False, allowed_map=allowed)
            assert again.exit_code() is code


def _touched(weight: np.ndarray, by: float) -> np.ndarray:
    changed = weight.copy()
    changed.flat[5] += by
    return changed


def test_preprocessing_folded_into_the_first_weight(tmp_path: Path) -> None:
    inside = write(tmp_path / "inside.onnx", NET, preprocessing=True)
    found = compare(open_model(inside), open_model(write(tmp_path / "folded.onnx", normalised_inside(NET))), running=Running())
    stem = by_name(found)["stem"]
    assert (stem.verdict, stem.scale.factors, stem.scale.nodes_a) == (S, Factors.INPUTS, ("normalised",))
    assert found.inputs[0].mapped is InputMap.SAME
    assert found.outcome is Outcome.SAME_GRAPH


def test_permuted_duplicates(tmp_path: Path) -> None:
    """Dead inputs, equal inputs, dead and equal outputs, two equal weights: exchanged at will, and still the same."""
    weight = NET.weights["dense"].copy()
    weight[:, 3] = 0.0
    weight[:, 4] = weight[:, 5]
    weight[10:12] = 0.0
    weight[12] = weight[13]
    net = with_weight(with_weight(NET, "dense", weight), "k", NET.weights["q"])
    found = compare(
        open_model(write(tmp_path / "a.onnx", net)),
        open_model(write(tmp_path / "b.onnx", permuted(net), prefix="x", backwards=True)),
        running=Running(),
    )
    assert {pair.verdict for pair in found.pairs} == {I}
    assert found.outcome is Outcome.AGREES


class TestWithoutPartner:
    def test_a_layer_less(self, plain: Path, tmp_path: Path) -> None:
        import onnx

        model = onnx.load(plain)
        (head,) = (node for node in model.graph.node if node.name == "head")
        model.graph.node.remove(head)
        model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("sum_out", onnx.TensorProto.FLOAT, [1, 16]))
        path = tmp_path / "b.onnx"
        onnx.save(model, path)
        found = compare(open_model(plain), open_model(path), running=Running())
        assert [side.names for side in found.only_a] == [("head.weight",)]
        assert not found.only_b
        assert (found.only_a[0].inputs, found.only_a[0].outputs) == (16, 10)
        assert found.outcome is Outcome.DIFFERENT
        turned = compare(open_model(path), open_model(plain))
        assert [side.names for side in turned.only_b] == [("head.weight",)]

    def test_a_weight_that_is_not_analysed(self, plain: Path, tmp_path: Path) -> None:
        net = with_weight(NET, "q", np.full_like(NET.weights["q"], np.nan))
        found = compare(open_model(write(tmp_path / "a.onnx", net)), open_model(plain))
        assert [gap.code for gap in found.unsupported_a] == [Code.NONFINITE]
        assert found.outcome is Outcome.DIFFERENT


def test_errors_name_the_file(plain: Path, tmp_path: Path) -> None:
    for paths in ((plain, tmp_path / "absent.onnx"), (tmp_path / "absent.onnx", plain)):
        with pytest.raises(OnnxnullError) as caught:
            compare(*map(open_model, paths))
        assert caught.value.code is Code.FILE_NOT_FOUND
        assert "absent.onnx" in str(caught.value)
    with pytest.raises(OnnxnullError, match="neither model has an input 'nothing'") as caught:
        compare(open_model(plain), open_model(plain), input_shapes={"nothing": (1,)})
    assert caught.value.code is Code.INPUT_SHAPE


@pytest.mark.parametrize("verdict", RunVerdict, ids=lambda verdict: str(verdict.label))
def test_only_a_run_that_holds_collides_on_the_other(verdict: RunVerdict) -> None:
    """An undecided one showed nothing."""
    still, moved = (Change("y", (1,), "float32", far == 0.0, far, far, far, None, None, None) for far in (0.0, 1.0))
    run = Run("float32", {}, (), (still,), (moved,), verdict, {})
    expected = {Decision.HOLDS: Crossed.COLLIDES, Decision.UNDECIDED: Crossed.UNDECIDED, Decision.BROKEN: Crossed.NEARLY}
    assert _crossed(run) is expected[verdict.decision]
