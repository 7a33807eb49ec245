"""The whole path on a pretended CUDA device: every noise scheduler, previews, decode, checker.

A tensor on the wrong side raises there, as on a GPU; what is launched and waited for is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.engine.cost import CostModel
from backend.engine.loading import NOW
from backend.errors import DeviceLost, NonFiniteOutput, OutOfMemory
from backend.model.devices import visible_gpus
from backend.model.measure.fidelity import psnr
from backend.model.measure.subject import ModelSubject
from backend.model.memory import free_bytes, release
from backend.model.noise_schedulers import RECIPES
from backend.model.pipeline import LatentDiffusion
from backend.model.trajectory import LatentTrajectory
from bench.subject import Subject
from tests.support.pretended_cuda import Counts, Device, pretended_cuda
from tests.support.tiny_sd import (
    build_tiny_sd,
    finish,
    flag_everything,
    load_tiny,
    tiny_params,
)

MOST_LAUNCHES = 20  # outside of the networks, per image and step
DRAWS_NOISE = ("ddpm", "euler_ancestral", "dpmpp_2m_sde", "lcm")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_sd(tmp_path_factory.mktemp("cuda") / "tiny", safety_checker=True)


@pytest.fixture(scope="module")
def gpu() -> Iterator[Device]:
    with pretended_cuda() as device:
        yield device


@pytest.fixture(scope="module", params=["float16", "bfloat16"])
def model(request: pytest.FixtureRequest, folder: Path, gpu: Device) -> LatentDiffusion:
    return load_tiny(folder, device="auto", dtype=request.param, runtime="auto")


@pytest.fixture(scope="module")
def reference(folder: Path) -> LatentDiffusion:
    return load_tiny(folder, device="cpu", dtype="float32", runtime="torch")


def prepared(model: LatentDiffusion, scheduler: str, **changes: Any) -> LatentTrajectory:
    return model.prepare(tiny_params(scheduler=scheduler, num_inference_steps=6, **changes), 0)


def test_what_is_told_of_the_model(folder: Path, gpu: Device) -> None:
    info = load_tiny(folder, device="auto", dtype="auto", runtime="auto").info
    assert (info.device, info.dtype) == ("cuda:0", "float16")
    assert "graphs" in info.runtime


@pytest.mark.parametrize("scheduler", RECIPES)
def test_every_noise_scheduler_draws_and_waits_once_a_step(
    model: LatentDiffusion, reference: LatentDiffusion, gpu: Device, scheduler: str
) -> None:
    ours, theirs = prepared(model, scheduler), prepared(reference, scheduler)
    alone = prepared(model, scheduler, guidance_scale=1.0)
    for _ in range(3):
        assert model.denoise_step([ours, alone]) == [None, None]
    gpu.counts = Counts()
    assert model.denoise_step([ours, alone]) == [None, None]
    assert gpu.counts.replays == 1
    assert gpu.counts.syncs == {"event": 1}, scheduler
    assert gpu.counts.launches / 2 <= MOST_LAUNCHES, gpu.counts
    assert model.preview(ours).std() > 0
    finish(model, ours)
    finish(reference, theirs)
    picture = model.decode(ours)
    assert psnr(picture.pixels, reference.decode(theirs).pixels) > 25


def test_a_step_waits_for_the_one_before_it(model: LatentDiffusion, gpu: Device) -> None:
    trajectory = prepared(model, "ddim")
    model.denoise_step([trajectory])
    first_ms = gpu.queued_ms
    model.denoise_step([trajectory])
    assert first_ms <= gpu.done_ms < gpu.queued_ms


def test_decoding_copies_eight_bit_pixels_once(model: LatentDiffusion, gpu: Device) -> None:
    trajectory = prepared(model, "ddim")
    finish(model, trajectory)
    gpu.counts = Counts()
    picture = model.decode(trajectory)
    assert gpu.counts.syncs == {"copy to host": 1, "item": 1}
    gpu.counts = Counts()
    assert picture.pixels.dtype == np.uint8
    assert not picture.nsfw_detected
    assert gpu.counts.syncs  # only now the safety checker has looked


def test_a_flagged_picture_is_black(folder: Path, gpu: Device, tmp_path: Path) -> None:
    flagging = build_tiny_sd(tmp_path / "flagging", safety_checker=True)
    flag_everything(flagging)
    model = load_tiny(flagging, device="cuda", dtype="float16")
    trajectory = prepared(model, "ddim")
    finish(model, trajectory)
    picture = model.decode(trajectory)
    assert picture.nsfw_detected
    assert not picture.pixels.any()


def test_values_that_are_no_numbers_are_told(model: LatentDiffusion) -> None:
    trajectory = prepared(model, "ddim")
    trajectory.latents = torch.full_like(trajectory.latents, float("nan"))
    with pytest.raises(NonFiniteOutput):
        model.decode(trajectory)


def test_gpus_are_told_by_their_own_names(gpu: Device) -> None:
    assert visible_gpus() == ("0123abcd-0000-1111-2222-333344445555",)


def test_memory_for_batches_leaves_room_for_a_decoding(model: LatentDiffusion, gpu: Device) -> None:
    torch.cuda.reset_peak_memory_stats()
    before = free_bytes(model.runtime.device, 1.0)
    scratch = torch.zeros(1 << 24, device="cuda")  # 64 MiB that come and go
    del scratch
    assert before - free_bytes(model.runtime.device, 1.0) == pytest.approx(1 << 26, rel=0.1)
    assert free_bytes(model.runtime.device, 0.25) < 0.3 * gpu.total_bytes


def test_a_rows_memory_is_that_of_its_eager_call(model: LatentDiffusion) -> None:
    subject = ModelSubject(model.components, model.runtime, NOW)
    subject.step(64, 64, 4)  # captured: a replay allocates next to nothing
    assert subject.step_bytes(64, 64, 4) > 4 * subject.step_bytes(64, 64, 1) / 2 > 10_000


def test_benchmarks_feed_the_device_and_wait_for_it(model: LatentDiffusion, gpu: Device) -> None:
    bench = Subject(model, CostModel(), "", 64, 64)
    gpu.counts = Counts()
    bench.bare(0, steps=2)
    assert gpu.counts.syncs["event"] == 1
    assert gpu.done_ms == gpu.queued_ms


def test_times_are_the_devices_own(model: LatentDiffusion, gpu: Device) -> None:
    trajectory = prepared(model, "ddim")
    model.denoise_step([trajectory])
    before_ms = gpu.queued_ms
    lap = model.start_lap()
    assert lap is not None
    model.denoise_step([trajectory])
    lap.stop()
    took_ms = gpu.queued_ms - before_ms
    assert lap.ms() is None  # the device is a step behind
    model.denoise_step([trajectory])
    assert lap.ms() == pytest.approx(took_ms)
    assert lap.is_typical


def test_a_step_that_captures_is_no_measurement(model: LatentDiffusion) -> None:
    trajectory = prepared(model, "ddim", height=128, width=64)
    lap = model.start_lap()
    assert lap is not None
    model.denoise_step([trajectory])
    lap.stop()
    assert not lap.is_typical


def test_out_of_memory_leaves_everything_as_it_was(model: LatentDiffusion, gpu: Device) -> None:
    trajectory = prepared(model, "ddim", height=256, width=256)
    gpu.taken_by_others = gpu.total_bytes - gpu.reserved
    with pytest.raises(OutOfMemory):
        model.denoise_step([trajectory])
    assert trajectory.step_index == 0
    gpu.taken_by_others = 0
    assert model.denoise_step([trajectory]) == [None]


def test_a_lost_device_is_told_wherever_it_shows(model: LatentDiffusion, gpu: Device) -> None:
    trajectory = prepared(model, "ddim")
    model.denoise_step([trajectory])
    picture = model.decode(trajectory)
    lap = model.start_lap()
    assert lap is not None
    lap.stop()
    asked: list[Callable[[], object]] = [
        lambda: prepared(model, "ddim"),
        lambda: model.denoise_step([trajectory]),
        lambda: model.decode(trajectory),
        lambda: model.preview(trajectory),
        lambda: picture.pixels,
        lap.ms,
        model.start_lap,
    ]
    gpu.poison()
    try:
        for ask in asked:
            with pytest.raises(DeviceLost, match="device-side assert"):
                ask()
        release()  # survives it
    finally:
        gpu.fault = ""
