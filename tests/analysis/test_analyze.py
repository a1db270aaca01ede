"""`analyze`: the known numbers of real models, and small models whose numbers are plain."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxnull import ModelReport, OnnxnullError, analyze
from onnxnull.errors import Code
from onnxnull.kernel.rank import ExactPolicy
from tests.shared import matmul, random, save, shared_file

Numbers = tuple[int, int, int, int, int | None]


def paper(report: ModelReport) -> Numbers:
    """Weights, ν, μ, Σ nullity, first."""
    p = report.paper
    return p.weights, p.nu, p.mu, p.nullity, p.first_nullity


def network(path: Path, layers: Iterable[tuple[int, ...]]) -> Path:
    """A chain of Conv (out, in, kernel, kernel) and Gemm (out, in) nodes with random weights, flattened in between."""
    nodes, constants, value = [], {}, "x"
    for i, shape in enumerate(layers):
        constants[f"w{i}"] = random(*shape, seed=i)
        if len(shape) == 4:
            nodes.append(helper.make_node("Conv", [value, f"w{i}"], [f"v{i}"], pads=[shape[2] // 2] * 4))
        else:
            nodes += [
                helper.make_node("Flatten", [value], [f"f{i}"]),
                helper.make_node("Gemm", [f"f{i}", f"w{i}"], [f"v{i}"], transB=1),
            ]
        value = f"v{i}"
    return save(path, nodes, constants, inputs={"x": (1, None, None, None)}, output=value)


def squeezenet_1_1() -> list[tuple[int, ...]]:
    """SqueezeNet 1.1: a 3×3 stem of 64, eight fire modules (squeeze, expand 1×1, expand 3×3), a 1×1 classifier."""
    layers: list[tuple[int, ...]] = [(64, 3, 3, 3)]
    inputs = 64
    for squeeze, expand in ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)):
        layers += [(squeeze, inputs, 1, 1), (expand, squeeze, 1, 1), (expand, squeeze, 3, 3)]
        inputs = 2 * expand
    return [*layers, (1000, 512, 1, 1)]


def alexnet() -> list[tuple[int, ...]]:
    """AlexNet in one column, 64 filters of 11×11 first."""
    convolutions = [(64, 3, 11, 11), (192, 64, 5, 5), (384, 192, 3, 3), (256, 384, 3, 3), (256, 256, 3, 3)]
    return [*convolutions, (4096, 9216), (4096, 4096), (1000, 4096)]


def resnet_50() -> list[tuple[int, ...]]:
    """ResNet-50: a 7×7 stem, bottlenecks (1×1, 3×3, 1×1 and once a stage a 1×1 shortcut), a classifier."""
    layers: list[tuple[int, ...]] = [(64, 3, 7, 7)]
    inputs = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            layers += [(width, inputs, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)]
            layers += [(4 * width, inputs, 1, 1)] if block == 0 else []
            inputs = 4 * width
    return [*layers, (1000, 2048)]


class TestArchitectures:
    """Random weights of full rank in the published shapes give what the shapes alone say."""

    @pytest.mark.parametrize(
        ("name", "layers"), [("SqueezeNet", squeezenet_1_1()), ("AlexNet", alexnet()), ("ResNet-50", resnet_50())]
    )
    def test_shapes(self, name: str, layers: list[tuple[int, ...]]) -> None:
        with shared_file("reference/architectures.csv").open(encoding="utf-8") as file:
            row = next(row for row in csv.DictReader(file) if row["paper_model"] == name)
        counts = [(int(np.prod(shape[1:])), shape[0]) for shape in layers]
        assert len(counts) == int(row["weights"])
        assert sum(p < q for q, p in counts) == int(row["mu"])
        assert sum(max(0, q - p) for q, p in counts) == int(row["shape_nullity"])
        assert max(0, counts[0][0] - counts[0][1]) == int(row["first_shape_nullity"])

    def test_squeezenet(self, tmp_path: Path) -> None:
        self.check(tmp_path, "SqueezeNet", squeezenet_1_1())

    def test_alexnet_without_its_two_largest_layers(self, tmp_path: Path) -> None:
        layers = alexnet()
        report = analyze(network(tmp_path / "alexnet.onnx", [*layers[:5], layers[7]]), exact=ExactPolicy.NEVER)
        assert paper(report) == (6, 6, 6, 16515 - (9216 - 4096), 299)

    def check(self, folder: Path, name: str, layers: list[tuple[int, ...]]) -> None:
        with shared_file("reference/architectures.csv").open(encoding="utf-8") as file:
            row = next(row for row in csv.DictReader(file) if row["paper_model"] == name)
        n, _, mu, nullity, first = paper(analyze(network(folder / "net.onnx", layers), exact=ExactPolicy.NEVER))
        assert [str(v) for v in (n, mu, nullity, first)] == [
            row[k] for k in ("weights", "mu", "shape_nullity", "first_shape_nullity")
        ]


class TestCounting:
    """Each distinct stored constant counts once."""

    def test_one_constant_of_several_nodes_counts_once_with_all_its_nodes(self, tmp_path: Path) -> None:
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["a"], name="first"),
            helper.make_node("Relu", ["a"], ["r"]),
            helper.make_node("MatMul", ["r", "w"], ["y"], name="second"),
        ]
        report = analyze(save(tmp_path / "m.onnx", nodes, {"w": random(4, 4)}))
        assert [[node.name for node in weight.nodes] for weight in report.weights] == [["first", "second"]]
        assert paper(report) == (1, 0, 0, 0, 0)
        assert report.full.weights == 1

    def test_a_transpose_is_another_matrix_but_the_paper_counts_the_constant_once(self, tmp_path: Path) -> None:
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["a"], name="down"),
            helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
            helper.make_node("MatMul", ["a", "wt"], ["y"], name="up"),
        ]
        report = analyze(save(tmp_path / "m.onnx", nodes, {"w": random(6, 2)}))
        assert [(w.inputs, w.outputs, w.in_paper) for w in report.weights] == [(6, 2, True), (2, 6, False)]
        assert paper(report) == (1, 1, 1, 4, 4)
        assert (report.full.weights, report.full.rank_deficient, report.full.nullity) == (2, 1, 4)

    def test_equal_numbers_in_two_initializers_are_two_weights(self, tmp_path: Path) -> None:
        nodes = [helper.make_node("MatMul", ["x", "u"], ["a"]), helper.make_node("MatMul", ["a", "v"], ["y"])]
        report = analyze(save(tmp_path / "m.onnx", nodes, {"u": random(3, 3), "v": random(3, 3)}))
        assert [weight.name for weight in report.weights] == ["u", "v"]

    def test_percentages_are_truncated(self, tmp_path: Path) -> None:
        shapes = [(2, 2), (2, 2), (2, 1)]
        nodes = [helper.make_node("MatMul", ["x" if i == 0 else f"v{i - 1}", f"w{i}"], [f"v{i}"]) for i in range(3)]
        nodes[-1].output[0] = "y"
        report = analyze(save(tmp_path / "m.onnx", nodes, {f"w{i}": random(*s, seed=i) for i, s in enumerate(shapes)}))
        assert (report.paper.nu_percent, report.paper.mu_percent) == (33, 33)

    def test_conv_transpose_is_in_full_only(self, tmp_path: Path) -> None:
        node = helper.make_node("ConvTranspose", ["x", "w"], ["y"])
        report = analyze(save(tmp_path / "m.onnx", [node], {"w": random(5, 2, 1, 1)}, inputs={"x": (1, 5, 4, 4)}))
        assert paper(report) == (0, 0, 0, 0, None)
        assert (report.full.weights, report.full.nullity) == (1, 3)


class TestNumbers:
    """What is reported of one weight."""

    def test_grouped_convolution(self, tmp_path: Path) -> None:
        """Two groups of 4 inputs and 3 outputs: block-diagonal 8×6 of rank 6; stacked 4×6 of rank 4."""
        node = helper.make_node("Conv", ["x", "w"], ["y"], group=2)
        report = analyze(save(tmp_path / "m.onnx", [node], {"w": random(6, 4, 1, 1)}, inputs={"x": (1, 8, 5, 5)}))
        (weight,) = report.weights
        assert (weight.inputs, weight.outputs, weight.ranks.float64.value, weight.nodes[0].groups) == (8, 6, 6, 2)
        assert weight.stacked is not None
        assert (weight.stacked.inputs, weight.stacked.outputs, weight.stacked.float32.value) == (4, 6, 4)
        assert paper(report) == (1, 0, 0, 0, 0)
        assert (report.full.rank_deficient, report.full.nullity) == (1, 2)

    def test_dead_duplicate_and_unread(self, tmp_path: Path) -> None:
        w = np.array([[1, 0, 1, 2, 1, 0], [2, 0, 2, 5, 2, 0], [0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0]], np.float32)
        (weight,) = analyze(matmul(tmp_path / "m.onnx", w)).weights
        assert (weight.dead_outputs, weight.duplicate_outputs, weight.unread_inputs) == (2, 2, 1)
        assert weight.ranks.exact is not None
        assert {weight.ranks.float32.value, weight.ranks.float64.value, weight.ranks.exact.value} == {2}

    @pytest.mark.parametrize(
        ("array", "name"),
        [
            (random(5, 3, dtype=np.float16), "float16"),
            (random(5, 3), "float32"),
            (random(5, 3, dtype=np.float64), "float64"),
            (random(5, 3).astype(ml_dtypes.bfloat16), "bfloat16"),
        ],
    )
    def test_types(self, tmp_path: Path, array: np.ndarray, name: str) -> None:
        kind = {"float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE, "bfloat16": TensorProto.BFLOAT16}
        tensor = onnx.TensorProto(
            name="w", dims=array.shape, data_type=kind.get(name, TensorProto.FLOAT), raw_data=array.tobytes()
        )
        (weight,) = analyze(matmul(tmp_path / "m.onnx", tensor, dtype=tensor.data_type)).weights
        sigma = np.linalg.svd(array.astype(np.float64), compute_uv=False)
        assert weight.dtype == name
        assert weight.ranks.float64.value == 3
        np.testing.assert_allclose((weight.ranks.sigma_max, weight.ranks.sigma_min), sigma[[0, -1]], rtol=1e-6)

    @pytest.mark.parametrize("alpha", [0.0, -2.0])
    def test_alpha(self, tmp_path: Path, alpha: float) -> None:
        w = random(3, 3)
        node = helper.make_node("Gemm", ["x", "w"], ["y"], alpha=alpha)
        (weight,) = analyze(save(tmp_path / "m.onnx", [node], {"w": w})).weights
        assert weight.ranks.float64.value == (3 if alpha else 0)
        expected = abs(alpha) * np.linalg.norm(w.astype(float), 2)
        assert weight.ranks.sigma_max == pytest.approx(expected, rel=1e-6)

    def test_alpha_zero_makes_every_output_dead(self, tmp_path: Path) -> None:
        node = helper.make_node("Gemm", ["x", "w"], ["y"], alpha=0.0)
        (weight,) = analyze(save(tmp_path / "m.onnx", [node], {"w": random(3, 2)})).weights
        assert (weight.dead_outputs, weight.unread_inputs, weight.duplicate_outputs) == (2, 3, 0)


class TestIncomplete:
    """What could not be analysed is listed, never dropped."""

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_nonfinite_weight(self, tmp_path: Path, bad: float) -> None:
        w = random(4, 3)
        w[1, 2] = bad
        report = analyze(matmul(tmp_path / "m.onnx", w))
        assert not report.complete
        assert report.weights == ()
        ((node, op, code, reason),) = [(u.node, u.op, u.code, u.reason) for u in report.unsupported]
        assert (node, op, code) == ("mm", "MatMul", Code.NONFINITE)
        assert "'w'" in reason

    def test_the_other_weights_are_analysed(self, tmp_path: Path) -> None:
        nodes = [helper.make_node("MatMul", ["x", "bad"], ["a"]), helper.make_node("MatMul", ["a", "good"], ["y"])]
        report = analyze(save(tmp_path / "m.onnx", nodes, {"bad": np.full((2, 2), np.nan, np.float32), "good": random(2, 2)}))
        assert [weight.name for weight in report.weights] == ["good"]
        assert len(report.unsupported) == 1

    def test_model_without_weights(self, tmp_path: Path) -> None:
        report = analyze(save(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], {}))
        assert report.complete
        assert report.weights == ()
        assert paper(report) == (0, 0, 0, 0, None)
        assert (report.full.weights, report.full.rank_deficient, report.full.nullity) == (0, 0, 0)

    def test_unknown_file(self, tmp_path: Path) -> None:
        with pytest.raises(OnnxnullError) as caught:
            analyze(tmp_path / "absent.onnx")
        assert caught.value.code is Code.FILE_NOT_FOUND
        assert caught.value.file == str(tmp_path / "absent.onnx")


def test_progress_goes_from_weight_to_weight_up_to_all(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "u"], ["a"]), helper.make_node("MatMul", ["a", "v"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, {"u": random(3, 3), "v": random(3, 3, seed=1)})
    calls: list[tuple[int, int, str]] = []
    analyze(path, progress=lambda done, total, name: calls.append((done, total, name)))
    assert {total for _, total, _ in calls} == {2}
    assert [done for done, _, _ in calls] == sorted({done for done, _, _ in calls})
    assert all(name for _, _, name in calls)
    assert "v" in {name for _, _, name in calls}


def test_the_path_as_typed_is_the_file_unless_it_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matmul(tmp_path / "sub" / "m.onnx", random(2, 2))
    monkeypatch.chdir(tmp_path)
    assert analyze("sub/m.onnx").model.file == "sub/m.onnx"
    assert analyze(tmp_path / "sub" / "m.onnx").model.file == "m.onnx"
