"""Small models, collisions of them and evidence bundles: what tests of bundles and of their replay share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from onnxnull.collision.cases import Case
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.results import (
    Change,
    Claim,
    Collision,
    Kind,
    LayerCheck,
    Perturbation,
    Run,
    RunVerdict,
    Space,
    TraceStep,
)
from onnxnull.collision.search import Execution, Place, Search
from onnxnull.collision.strategies.strategy import Method
from onnxnull.evidence.write_bundle import Bundle
from onnxnull.graph.model import open_model
from onnxnull.inputs import Preprocessing
from tests.helpers import model, value, weight
from tests.schemas import conforms

LABELS = ("cat", "dog", "owl")


def patch_model(path: Path, seed: int = 0) -> Path:
    """x 1×3×8×8 → Conv 4×4 of stride 4 to 6 channels → Relu → Flatten → Gemm to 3 classes, named "stem" and "head"."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], name="stem", kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "v", "b"], ["y"], name="head"),
    ]
    weights = {"w": weight(6, 3, 4, 4, seed=seed), "v": weight(24, 3, seed=seed + 1), "b": weight(3, seed=seed + 2)}
    proto = model(nodes, weights, inputs=[value("x", [1, 3, 8, 8])], outputs=[value("y", [1, 3])])
    path.write_bytes(proto.SerializeToString())
    return path


def two_input_model(path: Path) -> Path:
    """x 1×8 → MatMul to 3, times a second input "scale/../x" of shape 3."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"], name="mm"), helper.make_node("Mul", ["h", "scale/../x"], ["y"])]
    proto = model(
        nodes, {"w": weight(8, 3)}, inputs=[value("x", [1, 8]), value("scale/../x", [3])], outputs=[value("y", [1, 3])]
    )
    path.write_bytes(proto.SerializeToString())
    return path


def near_model(path: Path) -> Path:
    """x 1×6 → MatMul by a 6×6 weight whose last singular value is 1e-9 of the first: float64 weights."""
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.standard_normal((6, 6)))[0] for _ in range(2))
    w = u @ np.diag([1.0, 0.9, 0.8, 0.7, 0.6, 1e-9]) @ v
    double = onnx.TensorProto.DOUBLE
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="mm")
    proto = model([node], {"w": w}, inputs=[value("x", [1, 6], double)], outputs=[value("y", [1, 6], double)])
    path.write_bytes(proto.SerializeToString())
    return path


def searched(path: Path, place: Place | None = None, *, near: bool = False, cases: int = 1) -> tuple[Search, list[Collision]]:
    """A search and what it finds from random inputs in [0, 1]."""
    search = Search(open_model(path), place or Place(), Execution(), method=Method(Kind.NEAR_KERNEL if near else Kind.KERNEL))
    found: list[Collision] = []
    for seed in range(cases):
        rng = np.random.default_rng(seed)
        arrays = {i.name: rng.random([d or 1 for d in i.shape or ()]).astype(np.float32) for i in search.model.inputs}
        floats: Mapping[str, np.ndarray] = {name: array.astype(np.float64) for name, array in arrays.items()}
        found.extend(search.run(Case("random", floats), Recipe(seed=seed, beta=0.5)))
    return search, found


def bundled(folder: Path, path: Path, place: Place | None = None, **options: Any) -> Path:
    """A bundle of what `searched` finds."""
    search, found = searched(path, place, **options)
    with Bundle(folder, search, Preprocessing(), LABELS) as bundle:
        for collision in found:
            bundle.add(collision)
    conforms((folder / "collision.json").read_text())
    return folder


def hand_made(**changes: Any) -> Collision:
    """A collision of x 1×3×8×8 that nobody measured."""
    rng = np.random.default_rng(0)
    start = rng.random((1, 3, 8, 8))
    moved, beside = start + 0.1, start - 0.1
    given = {
        "source": "photo.png",
        "space": Space.INPUT,
        "where": "x",
        "weight": "",
        "op": "",
        "readers": ("stem",),
        "nullity": (42, 42),
        "kind": Kind.KERNEL,
        "perturbation": Perturbation("random", {"seed": 0, "box": [0.0, 1.0]}, 1.0, 0.1, 8.0, 192, 192, 0.0, 1.0),
        "original": start,
        "colliding": moved,
        "control": beside,
        "others": {},
        "runs": (hand_made_run("float32", 1e-7), hand_made_run("float64", 1e-16)),
    }
    return Collision(**(given | changes))  # type: ignore[arg-type]


def hand_made_run(precision: str, size: float, *, max_abs: float = 1e-6, trace: Sequence[TraceStep] = ()) -> Run:
    """A run of two outputs: class scores and a map per class."""
    scores = np.array([[0.1, 2.0, 1.0 / 3.0]], dtype=np.float32)
    maps = np.random.default_rng(1).random((1, 2, 4, 4)).astype(np.float32)
    change = Change("y", (1, 3), "float32", False, max_abs, 1e-6, 3.0, True, True, None)
    return Run(
        precision=precision,
        session={"provider": "CPUExecutionProvider", "options": {"threads": 2, "share": np.float32(0.5)}},
        layers=(LayerCheck("stem", Claim(size, 2 * size, 0.5), Claim(float("nan"), None, None, "it sits in a branch")),),
        outputs=(change,),
        control=(change,),
        verdict=RunVerdict.UNBOUNDED,
        arrays={"y": (scores, scores, scores[:, ::-1]), "map": (maps, maps, maps)},
        trace=tuple(trace),
    )


def document_of(folder: Path) -> dict[str, Any]:
    """collision.json of a bundle."""
    found: dict[str, Any] = json.loads((folder / "collision.json").read_text())
    return found


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change collision.json in place."""
    document = document_of(folder)
    change(document)
    (folder / "collision.json").write_text(json.dumps(document))


def forge(folder: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    """Change the arrays of a bundle of one, and everything in collision.json that follows from them, as a forger would."""
    names = ("original", "colliding", "control")
    arrays = {name: np.load(folder / f"{name}.npy") for name in names}
    change(arrays)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)

    def consistent(document: dict[str, Any]) -> None:
        (entry,) = document["collisions"]
        for name in names:
            entry["arrays"][name]["sha256"] = hashlib.sha256((folder / f"{name}.npy").read_bytes()).hexdigest()
        if len({array.shape for array in arrays.values()}) == 1:
            with np.errstate(over="ignore", invalid="ignore"):
                moved = arrays["colliding"] - arrays["original"]
                numbers = {
                    "l2": float(np.linalg.norm(moved)),
                    "linf": float(np.abs(moved).max()),
                    "original_l2": float(np.linalg.norm(arrays["original"])),
                    "control_l2": float(np.linalg.norm(arrays["control"] - arrays["original"])),
                }
            entry["perturbation"] |= numbers | {"changed": int(np.count_nonzero(moved)), "entries": moved.size}

    rewrite(folder, consistent)
