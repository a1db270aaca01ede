"""What this process may use, and BLAS on one thread."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import threadpoolctl

from onnxnull import machine
from onnxnull.analysis.analyze import analyze
from onnxnull.machine import one_blas_thread, usable_processors, workers_for

MODELS = Path(__file__).resolve().parents[1] / "models"


def blas_threads() -> set[int]:
    return {int(pool["num_threads"]) for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}


def test_blas_has_one_thread_inside_and_what_it_had_outside() -> None:
    scipy.linalg.cholesky(np.eye(2))
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        with one_blas_thread(), one_blas_thread():
            assert blas_threads() == {1}
        assert blas_threads() == {2}
        seen: list[set[int]] = []
        analyze(MODELS / "digits_mlp.onnx", progress=lambda *_: seen.append(blas_threads()))
        assert seen
        assert all(threads == {1} for threads in seen)
        assert blas_threads() == {2}


@pytest.mark.parametrize(
    ("quotas", "expected"),
    [([], 8), (["max 100000"], 8), (["250000 100000"], 3), (["max 100000", "50000 100000"], 1), ([""], 8)],
)
def test_processors_are_those_of_the_affinity_and_of_every_quota(
    quotas: list[str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = [tmp_path / str(number) for number in range(len(quotas))]
    for group, quota in zip(groups, quotas, strict=True):
        group.mkdir()
        (group / "cpu.max").write_text(quota)
    monkeypatch.setattr(machine, "_groups", lambda: groups)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert usable_processors() == expected


def test_workers_are_no_more_than_the_memory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(machine, "_groups", list)
    monkeypatch.setattr(machine, "_free_memory", lambda: 10e9)
    assert [workers_for(each) for each in (0.0, 1e9, 2e9, 1e12)] == [8, 5, 2, 1]
    monkeypatch.setattr(machine, "_free_memory", lambda: math.inf)
    assert workers_for(1e12) == 8


def test_memory_is_what_the_groups_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    monkeypatch.setattr(machine, "_groups", lambda: [tmp_path])
    assert machine._free_memory() == 600_000
    (tmp_path / "memory.max").write_text("max\n")
    assert machine._free_memory() > 600_000
