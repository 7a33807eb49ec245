"""The check for GPUs, rehearsed with tiny models: on a pretended CUDA device, and on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.gpu_check import failures, right
from bench.gpu_check.__main__ import LONG, QUICK, check, report
from bench.gpu_check.memory import unloading
from bench.gpu_check.stage import Bench, Found
from tests.support.pretended_cuda import pretended_cuda
from tests.support.tiny_sd import build_tiny_sd


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_sd(tmp_path_factory.mktemp("gpu-check") / "tiny")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibrations that measure little, and don't wait for a busy machine to calm down."""
    monkeypatch.setattr("backend.engine.calibration.MOST_ROWS", 2)
    monkeypatch.setattr("backend.engine.calibration.FEWEST_SAMPLES", 1)
    monkeypatch.setattr("backend.engine.calibration.MOST_SAMPLES", 1)
    monkeypatch.setattr("backend.engine.calibration.PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr("backend.model.measure.costs.GRACE_S", 0.0)


def bench(folder: Path, scratch: Path, device: str) -> Bench:
    return Bench(
        scratch,
        device=device,
        embedded=folder,
        large=folder,
        steps=2,
        rows=(1, 2),
        repeats=1,
        callers=(1, 2),
        compiles=False,
    )


def rehearsed(bench: Bench, *stages: Any) -> dict[str, Any]:
    """What was found, by stage and by what."""
    lines = check(bench, lambda line: None, stages, limit_s=3600)
    assert "expectations met" in report(lines)
    assert not [line for line in lines if line["what"] in ("failed", "left out")]
    return {f"{line['stage']}: {line['what']}": line["value"] for line in lines}


def test_on_a_pretended_device(folder: Path, tmp_path: Path) -> None:
    # diffusers' own pipeline beside ours is left to the CPU: here it takes a minute.
    quick = [stage for stage in QUICK if stage is not right.noise_schedulers]
    with pretended_cuda():
        found = rehearsed(bench(folder, tmp_path, "cuda"), *quick, *LONG, unloading)
    assert found["versions: device"] == "cuda:0: Pretended GPU"
    assert found["networks: a graph of 2 rows computes as eagerly"] is True
    assert found["networks: graphs"] > 0
    assert found["mixed_crowd: pictures of a mixed crowd"] == 7
    assert found["beside_others: captures beside another thread"] == 2
    assert found["unloading: allocated after release, MiB"] < 1
    assert found["throughput: ours, 2 callers, pictures/s"] > 0


def test_on_the_cpu(folder: Path, tmp_path: Path) -> None:
    found = rehearsed(bench(folder, tmp_path, "cpu"), *QUICK, *LONG)
    assert found["embedded_on_both: embedded model against the CPU, dB"] >= 35
    assert found["noise_schedulers: pndm against diffusers"] == "equal"


@pytest.mark.e2e
def test_processes_of_their_own(folder: Path, tmp_path: Path) -> None:
    found = rehearsed(
        bench(folder, tmp_path, "cpu"),
        failures.first_picture,
        failures.too_large,
        failures.second_device,
        failures.lost_device,
    )
    assert found["too_large: the next that fits"] == 1
    assert found["lost_device: a lost device"] == "not checked"


def test_a_stage_that_fails_is_told_and_the_next_begun(folder: Path, tmp_path: Path) -> None:
    def broken(_: Bench) -> Any:
        yield Found("cards", int("none"))

    def wrong(_: Bench) -> Any:
        yield Found("answer", 41, "42", False)

    told: list[dict[str, Any]] = []
    tell: Callable[[dict[str, Any]], None] = told.append
    lines = check(bench(folder, tmp_path, "cpu"), tell, (broken, wrong, right.versions))
    assert lines == told
    assert [line["stage"] for line in lines[:2]] == ["broken", "wrong"]
    assert lines[0]["value"] == "ValueError: invalid literal for int() with base 10: 'none'"
    text = report(lines)
    assert "| wrong | answer | 41 | 42 | **not met** |" in text
    assert "0 of 2 expectations met." in text


def test_there_is_an_end(folder: Path, tmp_path: Path) -> None:
    (line,) = check(bench(folder, tmp_path, "cpu"), lambda _: None, (right.versions,), limit_s=-1)
    assert (line["what"], line["ok"]) == ("left out", False)
