"""JSON of collisions: the fields of the schema, six digits, no NaN that JSON does not have, the same bytes every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Never

import numpy as np
import pytest

from onnxnull.collision.results import EightBit, Kind, RunVerdict, TraceStep
from onnxnull.evidence import collision_document
from onnxnull.evidence.provenance import Facts, model_facts
from onnxnull.inputs import Preprocessing
from tests.collision.bundles import LABELS, hand_made, hand_made_run, patch_model, searched

FACTS = Facts("m.onnx", "0" * 64, {"m.data": "1" * 64}, {"x": (1, 3, 8, 8)}, ("float64", "float32"), ("CPUExecutionProvider",))


def strict(text: str) -> Any:
    def refuse(constant: str) -> Never:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (-float("inf"), "-inf"),
        (1 / 3, 0.333333),
        (1e-320, 1e-320),
        (123456789.0, 123457000.0),
        (0.0, 0.0),
    ],
)
def test_numbers(value: float | None, written: float | str | None) -> None:
    found = collision_document.number(value)
    assert found == written
    assert type(found) is type(written)


def test_the_document() -> None:
    document = strict(collision_document.render(FACTS, [collision_document.entry(hand_made(), LABELS)]))
    assert document["schema"] == "onnxnull.collision/1"
    assert document["model"] == {"file": "m.onnx", "sha256": "0" * 64, "external_data": {"m.data": "1" * 64}}
    assert document["setup"]["input_shapes"] == {"x": [1, 3, 8, 8]}
    assert document["setup"]["preprocessing"] is None
    (entry,) = document["collisions"]
    assert entry["claim"] == {"kind": "kernel", "residual": 1e-16, "sigma": 0.0, "proof": None}
    assert entry["perturbation"]["parameters"] == {"seed": 0, "box": [0.0, 1.0]}
    assert (entry["arrays"], entry["inputs"], entry["eight_bit"]) == (None, None, None)
    assert entry["runs"][0]["session"]["options"] == {"threads": 2, "share": 0.5}
    assert entry["runs"][0]["verdict"] == "unbounded"


def test_a_claim_that_nothing_could_be_seen_of_has_no_value() -> None:
    runtime = collision_document.entry(hand_made())["runs"][0]["layers"][0]["runtime"]
    assert runtime == {"holds": None, "value": None, "bound": None, "ratio": None, "reason": "it sits in a branch"}


def test_a_change_that_is_no_number_is_not_lost() -> None:
    entry = collision_document.entry(hand_made(runs=(hand_made_run("float32", 1e-7, max_abs=float("nan")),)))
    text = collision_document.render(FACTS, [entry])
    assert strict(text)["collisions"][0]["runs"][0]["outputs"][0]["max_abs"] == "nan"


@pytest.mark.parametrize(
    ("precisions", "residual"), [(["float32", "float64"], 2e-8), (["native"], 1e-8), (["float16", "native"], 1e-8), ([], None)]
)
def test_the_residual_is_that_of_the_highest_precision(precisions: list[str], residual: float | None) -> None:
    runs = tuple(hand_made_run(precision, 1e-8 * (1 + number)) for number, precision in enumerate(precisions))
    assert collision_document.entry(hand_made(runs=runs))["claim"]["residual"] == residual


def test_a_residual_that_is_no_number_wins() -> None:
    broken = hand_made_run("float64", float("nan"))
    assert collision_document.entry(hand_made(runs=(hand_made_run("float64", 1.0), broken)))["claim"]["residual"] == "nan"


def test_predictions_have_labels_where_there_are_any() -> None:
    (found,) = collision_document.predictions(hand_made_run("float32", 0.0), ("cat", "dog"))
    assert found["output"] == "y"
    assert found["original"] == [
        [
            {"class": 1, "label": "dog", "score": 2.0},
            {"class": 2, "label": None, "score": 0.333333},
            {"class": 0, "label": "cat", "score": 0.1},
        ]
    ]
    assert [each["class"] for each in found["control"][0]] == [1, 0, 2]


def test_trace_eight_bits_and_preprocessing() -> None:
    step = TraceStep("t", "Relu", 0.1234567, None, float("inf"))
    run = hand_made_run("float32", 0.0, trace=[step])
    collision = hand_made(runs=(run,), eight_bit=EightBit(0.49999999, "float32", run.outputs), kind=Kind.NEAR_KERNEL)
    facts = Facts(**{name: getattr(FACTS, name) for name in Facts.__slots__} | {"preprocessing": Preprocessing(size=(8, 8))})
    document = strict(collision_document.render(facts, [collision_document.entry(collision)]))
    (entry,) = document["collisions"]
    trace = {"tensor": "t", "op": "Relu", "max_abs": 0.123457, "relative": None, "control": "inf"}
    assert entry["runs"][0]["trace"] == [trace]
    assert entry["eight_bit"]["rounded"] == 0.5
    assert entry["claim"]["kind"] == "near-kernel"
    assert document["setup"]["preprocessing"]["size"] == [8, 8]


def test_every_verdict_has_its_own_label() -> None:
    assert len({verdict.label for verdict in RunVerdict}) == len(RunVerdict)


def test_names_from_outside_are_ascii() -> None:
    text = collision_document.render(FACTS, [collision_document.entry(hand_made(source="\x1b[31m\u202e\udc80.png"))])
    assert text.isascii()
    assert "\x1b" not in text


def test_something_unknown_is_refused_rather_than_guessed() -> None:
    with pytest.raises(TypeError):
        collision_document.plain({"a": np.zeros(2)})


def test_bytes_repeat(tmp_path: Path) -> None:
    texts = []
    for _ in range(2):
        search, found = searched(patch_model(tmp_path / "m.onnx"))
        texts.append(collision_document.render(model_facts(search), [collision_document.entry(c) for c in found]))
    assert texts[0] == texts[1]
    assert str(tmp_path) not in texts[0]
