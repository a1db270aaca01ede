"""`onnxnull collide`: what it exits with, what it says, and what it leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxnull.cli.main import main
from onnxnull.runtime.providers import cuda_problem
from tests.collision.bundles import document_of
from tests.helpers import model, value, weight

from .collide_models import node, write
from .console import ROOT, onnxnull

VIT = ROOT / "models/digits_vit.onnx"
SAMPLES = ROOT / "models/samples/digits_vit"


def test_nothing_to_find_says_the_proof_and_what_to_do(here: Path, collide: Any) -> None:
    code, _, err = collide("overlapping.onnx", "--random", 0)
    assert code == 3
    assert "injective" in err
    assert "1×3×8×8" in err
    assert "(proved " in err
    assert "--layer all" in err
    assert "--space patches" in err
    code, _, err = collide("residual.onnx", "--random", 0)
    assert code == 3
    assert "shows the input's values" in err
    assert "--layer NAME" in err


def test_a_near_kernel_is_never_sold_as_a_collision(here: Path, collide: Any) -> None:
    code, out, err = collide("near.onnx", "--random", 0, "--near-kernel", "--beta", 1)
    assert "this is no collision" in out
    assert "float64 on CPUExecutionProvider: near (no collision" in out
    assert "1e-09" in out
    _, text, _ = collide("near.onnx", "--random", 0, "--near-kernel", "--beta", 1, "--format", "json")
    (entry,) = json.loads(text)["collisions"]
    assert entry["claim"]["kind"] == "near-kernel"
    assert entry["claim"]["sigma"] == pytest.approx(1e-9, rel=1e-4)
    assert {run["verdict"] for run in entry["runs"]} == {"near"}
    assert (code, err) == (0, "")


def test_near_kernels_of_all_layers(here: Path, collide: Any) -> None:
    """Of weights of full rank at the float64 cut-off too: those are the ones that have nothing else."""
    rng = np.random.default_rng(0)
    (near,) = (onnx.numpy_helper.to_array(tensor) for tensor in onnx.load("near.onnx").graph.initializer)
    double = onnx.TensorProto.DOUBLE
    nodes = [node("MatMul", ["x", "a"], ["h"], name="first"), node("MatMul", ["h", "b"], ["y"], name="second")]
    x, y = value("x", [1, 6], double), value("y", [1, 6], double)
    proto = model(nodes, {"a": rng.standard_normal((6, 6)), "b": near}, inputs=[x], outputs=[y])
    (here / "deep.onnx").write_bytes(proto.SerializeToString())
    _, out, _ = collide("deep.onnx", "--random", 0, "--layer", "all", "--near-kernel", "--precision", "float64")
    assert "second" in out
    assert "near" in out


def test_a_layer_without_a_collision_does_not_end_the_search(here: Path, collide: Any) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["s"], name="stem", pads=[1, 1, 1, 1]),
        node("Flatten", ["s"], ["f"]),
        node("Gemm", ["f", "v"], ["y"], name="head"),
    ]
    write(here / "deep.onnx", nodes, {"w": weight(8, 3, 3, 3), "v": weight(512, 3)}, [value("x", [1, 3, 8, 8])])
    _, out, err = collide("deep.onnx", "--random", 0, "--layer", "all", "--space", "tensors")
    assert "'stem' is injective" in err
    assert out.startswith("head")


def test_weights_that_were_skipped_are_named(here: Path, collide: Any) -> None:
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("MatMulInteger", ["q", "w", "z", "z"], ["n"], name="integers"),  # a zero point that the network computes
        node("Cast", ["n"], ["f"], to=onnx.TensorProto.FLOAT),
        node("MatMul", ["f", "v"], ["y"], name="floats"),
    ]
    constants = {"w": np.random.default_rng(0).integers(0, 9, (9, 4), dtype=np.uint8), "v": weight(4, 2)}
    write(here / "quantized.onnx", nodes, constants, [value("x", [3, 9])])
    code, out, err = collide("quantized.onnx", "--random", 0, "--layer", "all")
    assert "floats" in out
    assert "integers" in out + err
    assert code == 2
    constants["v"] = weight(4, 4)
    write(here / "quantized.onnx", nodes, constants, [value("x", [3, 9])])
    code, _, err = collide("quantized.onnx", "--random", 0, "--layer", "all")
    assert "integers" in err
    assert code == 2


KEYS = {"schema", "versions", "model", "setup", "collisions"}
ENTRY = {
    "source",
    "space",
    "where",
    "weight",
    "op",
    "readers",
    "nullity",
    "caveat",
    "holds",
    "decision",
    "claim",
    "quantizer",
    "perturbation",
    "shape",
    "arrays",
    "inputs",
    "pictures",
    "runs",
    "eight_bit",
}
RUN = {
    *("precision", "verdict", "why", "notes", "merged", "tolerance", "session", "layers", "outputs", "control", "judged"),
    *("predictions", "trace"),
}


def test_json_is_the_contract_and_byte_identical(here: Path, collide: Any) -> None:
    arguments = ("m.onnx", "--input", "pictures/0.png", "--trace", "--labels", "labels.txt", "--format", "json")
    code, out, _ = collide(*arguments)
    assert collide(*arguments) == (code, out, "")
    document = json.loads(out)
    assert (code, set(document), document["schema"]) == (0, KEYS, "onnxnull.collision/1")
    assert document["model"]["file"] == "m.onnx"
    assert len(document["model"]["sha256"]) == 64
    assert document["setup"]["precisions"] == ["float64", "float32"]
    (entry,) = document["collisions"]
    assert set(entry) == ENTRY
    assert (entry["holds"], entry["nullity"], entry["readers"]) == (True, [168, 168], ["stem"])
    assert entry["source"] == "pictures/0.png"
    for run in entry["runs"]:
        assert set(run) == RUN
        assert [step["tensor"] for step in run["trace"]] == ["h", "r", "f", "y"]
        assert [found["label"] for found in run["predictions"][0]["original"][0]] != [None] * 3
    assert {run["verdict"] for run in entry["runs"]} == {"rounding"}
    assert entry["eight_bit"]["rounded"] <= 0.5


def test_a_bundle_is_written_and_replay_confirms_it(here: Path, collide: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = collide("m.onnx", "--input", "pictures", "-o", "out", "--trace", "--labels", "labels.txt")
    assert code == 0
    assert out.rstrip().endswith("evidence: out; verify it again with: onnxnull replay out m.onnx")
    document = document_of(here / "out")
    assert [entry["source"] for entry in document["collisions"]] == [f"pictures/{n}.png" for n in range(3)]
    assert list((here / "out").rglob("*.png"))
    monkeypatch.setattr("sys.argv", ["onnxnull", "replay", "out"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0


@pytest.mark.parametrize("place", [["--layer", "all"], ["--layer", "head"], ["--space", "patches", "--pattern", "repeat"]])
def test_bundles_of_layers_are_confirmed_too(
    place: list[str], here: Path, collide: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert collide("m.onnx", "--random", 0, *place, "-o", "out")[0] == 0
    monkeypatch.setattr("sys.argv", ["onnxnull", "replay", "out"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0


def test_an_existing_folder_is_kept_unless_forced(here: Path, collide: Any) -> None:
    assert collide("m.onnx", "--random", 0, "-o", "out")[0] == 0
    before = (here / "out/collision.json").read_bytes()
    code, out, err = collide("m.onnx", "--random", 1, "-o", "out")
    assert (code, out) == (2, "")
    assert "--force" in err
    assert (here / "out/collision.json").read_bytes() == before
    assert collide("m.onnx", "--random", 1, "-o", "out", "--force")[0] == 0
    assert (here / "out/collision.json").read_bytes() != before


def test_a_folder_that_is_no_bundle_is_kept_even_if_forced(here: Path, collide: Any) -> None:
    code, _, err = collide("m.onnx", "--random", 1, "-o", "pictures", "--force")
    assert code == 2
    assert "error[output]" in err
    assert len(list((here / "pictures").iterdir())) == 3


def test_a_failed_search_leaves_no_folder(here: Path, collide: Any) -> None:
    before = sorted(here.iterdir())
    assert collide("square.onnx", "--random", 0, "-o", "out")[0] == 3
    assert collide("m.onnx", "--input", "good.npy", "--box", "-0.1,0.1", "-o", "out")[0] == 2
    assert sorted(here.iterdir()) == before


def test_every_image_of_a_folder_is_a_case(here: Path, collide: Any) -> None:
    code, out, _ = collide("m.onnx", "--input", "pictures")
    assert code == 0
    assert [line.split(" · ")[0] for line in out.splitlines() if " · " in line] == [f"pictures/{n}.png" for n in range(3)]


def test_every_sample_of_an_open_batch_is_a_case(here: Path, collide: Any) -> None:
    code, out, _ = collide("batch.onnx", "--input", "three.npy", "--format", "json")
    assert code == 0
    assert [entry["source"] for entry in json.loads(out)["collisions"]] == [f"three.npy[{n}]" for n in range(3)]


def test_all_layers_are_a_line_each(here: Path, collide: Any) -> None:
    code, out, _ = collide("m.onnx", "--random", 0, "--layer", "all")
    lines = out.splitlines()
    assert (code, [line.split()[:2] for line in lines]) == (0, [["stem", "Conv"], ["head", "Gemm"]])
    assert all("float64 rounding" in line and "float32 rounding" in line for line in lines)


def test_the_trace_is_a_table_of_both_precisions(here: Path, collide: Any) -> None:
    code, out, _ = collide("m.onnx", "--random", 0, "--trace")
    table = out[out.index("max |Δ| from layer to layer") :].splitlines()
    assert (code, table[1].split()) == (0, ["tensor", "op", "float64", "float32", "control"])
    rows = [line.split() for line in table[2:6]]
    assert [row[:2] for row in rows] == [["h", "Conv"], ["r", "Relu"], ["f", "Flatten"], ["y", "Gemm"]]
    for row in rows:
        double, single, control = map(float, row[2:])
        assert double < 1e-12 < single < 1e-4 < control


def test_labels_name_the_classes(here: Path, collide: Any) -> None:
    code, out, _ = collide("m.onnx", "--random", 0, "--labels", "labels.txt")
    assert code == 0
    original = next(line for line in out.splitlines() if line.split()[:1] == ["original"])
    assert all(name in original for name in ("cat", "dog", "owl"))


def test_a_region_and_a_mask_of_the_same_pixels_are_the_same(here: Path, collide: Any) -> None:
    def colliding(*where: str) -> np.ndarray:
        assert collide("m.onnx", "--input", "good.npy", "--box", "-1,1", *where, "-o", "out", "--force")[0] == 0
        (path,) = (here / "out").rglob("colliding.npy")
        return np.asarray(np.load(path))

    masked, bounded = colliding("--mask", "half.png"), colliding("--region", "0,0,8,4")
    np.testing.assert_array_equal(masked, bounded)
    good = np.load("good.npy")
    np.testing.assert_array_equal(masked[..., 4:], good[..., 4:])
    assert np.any(masked[..., :4] != good[..., :4])


def test_pixels_stay_valid_in_the_models_units(here: Path, collide: Any) -> None:
    """--preset half: from −1 to 1, and the largest change is taken without being asked for."""
    code, out, _ = collide("m.onnx", "--input", "pictures/0.png", "--preset", "half", "--format", "json", "-o", "out")
    assert code == 0
    (path,) = (here / "out").rglob("colliding.npy")
    assert -1.0 <= np.load(path).min() < -0.9 < 0.9 < np.load(path).max() <= 1.0
    (entry,) = json.loads(out)["collisions"]
    assert entry["perturbation"]["parameters"]["box"] == [-1.0, 1.0]
    assert entry["perturbation"]["linf"] > 0.5


def images(path: Path, *inputs: onnx.ValueInfoProto) -> None:
    """z is read by a Relu, the image x by a Conv of 4×4 patches; `inputs` says in which order the model has them."""
    nodes = [
        node("Conv", ["x", "w"], ["h"], name="stem", strides=[4, 4]),
        node("ReduceMean", ["h"], ["a"], keepdims=0),
        node("Relu", ["z"], ["r"]),
        node("ReduceMean", ["r"], ["b"], keepdims=0),
        node("Add", ["a", "b"], ["y"]),
    ]
    write(path, nodes, {"w": weight(6, 3, 4, 4)}, list(inputs))


@pytest.mark.parametrize("shape", [[1, 2], [1, 1, 4, 4]])
def test_the_box_and_the_region_are_those_of_the_input_that_changes(shape: list[int], here: Path, collide: Any) -> None:
    images(here / "two.onnx", value("z", shape), value("x", [1, 3, 8, 8]))
    np.savez(here / "two.npz", z=np.zeros(shape, np.float32), x=np.load("good.npy"))
    where = ("--region", "4,2,4,6", "--preset", "half")
    code, _, err = collide("two.onnx", "--input", "two.npz", *where, "-o", "out")
    assert code == 0, err
    colliding = np.load(next((here / "out").rglob("colliding.npy")))
    assert -1.0 <= colliding.min() <= colliding.max() <= 1.0
    changed = np.argwhere(colliding != np.load("good.npy"))
    assert changed.min(axis=0).tolist() == [0, 0, 4, 2]


@pytest.mark.parametrize("preset", ["half", "imagenet"])
def test_inputs_of_other_channels_get_boxes_of_their_own(preset: str, here: Path, collide: Any) -> None:
    images(here / "two.onnx", value("x", [1, 3, 8, 8]), value("z", [1, 1, 4, 4]))
    code, _, err = collide("two.onnx", "--random", 0, "--preset", preset)
    assert "Traceback" not in err
    assert code == (0 if preset == "half" else 2)  # means of three colours do not fit a grey image


def test_a_batch_of_cases_goes_on_after_one_without_a_collision(here: Path, collide: Any) -> None:
    """The worst outcome is the exit code, and every case is told."""
    np.save("corner.npy", np.full((1, 3, 8, 8), 0.5, np.float32))
    code, out, err = collide("m.onnx", "--input", "corner.npy", "--input", "good.npy", "--toward", "corner.npy")
    assert code == 3
    assert "corner.npy: error[not-found]" in err
    assert "good.npy · input 'x'" in out


@pytest.mark.skipif(cuda_problem() is None, reason="CUDA works here")
def test_cuda_is_never_replaced_by_the_cpu(here: Path, collide: Any) -> None:
    code, out, err = collide("m.onnx", "--random", 0, "--provider", "cuda")
    assert (code, out) == (2, "")
    assert "error[provider]: CUDA was asked for" in err


def test_the_console_entry_in_a_process_of_its_own(here: Path) -> None:
    """Work of less than a second says nothing on stderr; the same on stdout as another time."""
    done = onnxnull("collide", "m.onnx", "--random", "0", "--format", "json", cwd=here, fresh=True)
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if not line.endswith(" s)")] == []
    assert done.stdout == onnxnull("collide", "m.onnx", "--random", "0", "--format", "json", cwd=here).stdout
    failed = onnxnull("collide", "m.onnx", "--input", "absent.png", cwd=here)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert "Traceback" not in failed.stderr


class OverAtOnce:
    """A `threading.Timer` whose time is over when it starts, however busy the machine is."""

    def __init__(self, _: float, function: Callable[[], None]) -> None:
        self.start = function

    def cancel(self) -> None:
        """Too late."""

    def join(self) -> None:
        """No thread to wait for."""


def test_progress_is_told_after_a_second_and_on_stderr_only(here: Path, collide: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("m.onnx", "--random", 0, "--format", "json")
    monkeypatch.setattr("onnxnull.cli.progress._PATIENCE", 600.0)
    code, quiet, err = collide(*arguments)
    assert (code, err) == (0, "")
    monkeypatch.setattr("threading.Timer", OverAtOnce)
    monkeypatch.setattr("onnxnull.cli.progress._INTERVAL", 0.0)
    code, out, err = collide(*arguments)
    assert (code, out) == (0, quiet)
    steps = [line.rpartition(" (")[0] for line in err.splitlines()]
    assert {"finding the kernel", "projecting on the kernel", "running float64", "running float32"} <= set(steps)


def test_a_shipped_model_and_its_samples(collide: Any) -> None:
    code, out, _ = collide(VIT, "--input", SAMPLES / "3.png", "--toward", SAMPLES / "8.png", "--format", "json")
    assert code == 0
    (entry,) = json.loads(out)["collisions"]
    assert entry["source"] == "3.png"  # absolute paths stay at home
    assert str(ROOT) not in out
    for run in entry["runs"]:
        assert run["outputs"][0]["top1"] is True
        assert 1000 * run["outputs"][0]["max_abs"] < run["control"][0]["max_abs"]
