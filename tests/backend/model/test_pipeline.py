"""Failures of one image or one step must not affect others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler

from backend.errors import OutOfMemory
from backend.model.noise_schedulers import fork
from backend.model.pipeline import LatentDiffusion
from backend.model.trajectory import LatentTrajectory
from tests.support.tiny_sd import load_tiny, same, tiny_params


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> LatentDiffusion:
    return load_tiny(tiny_model)


class Intruder:
    """A runtime that does something else first whenever it denoises or decodes."""

    def __init__(self, runtime: Any, act: Callable[[], None]) -> None:
        self._runtime = runtime
        self._act = act

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def denoise(self, *tensors: torch.Tensor) -> Any:
        self._act()
        return self._runtime.denoise(*tensors)

    def decode(self, *tensors: torch.Tensor) -> Any:
        self._act()
        return self._runtime.decode(*tensors)


def out_of_cuda_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


def out_of_cpu_memory() -> None:
    torch.empty(2**60, dtype=torch.uint8)


def state(trajectory: LatentTrajectory) -> dict[str, Any]:
    """Everything a step may change, copied."""
    found = {
        name: list(value) if isinstance(value, list) else value
        for name, value in vars(fork(trajectory.noise_scheduler)).items()
    }
    found["latents"] = trajectory.latents.clone()
    found["generator"] = trajectory.generator.get_state()
    found["step_index"] = trajectory.step_index
    return found


@pytest.mark.parametrize("fail", [out_of_cuda_memory, out_of_cpu_memory])
@pytest.mark.parametrize("scheduler", ["pndm", "euler_ancestral", "unipc"])
def test_running_out_of_memory_commits_nothing(
    tiny_model: Path, scheduler: str, fail: Callable[[], None]
) -> None:
    model = load_tiny(tiny_model)
    undisturbed = [model.prepare(tiny_params(scheduler=scheduler, seed=s), 0) for s in (1, 2)]
    disturbed = [model.prepare(tiny_params(scheduler=scheduler, seed=s), 0) for s in (1, 2)]
    model.denoise_step(undisturbed)
    model.denoise_step(disturbed)
    before = [state(trajectory) for trajectory in disturbed]
    runtime = model.runtime
    model.runtime = Intruder(runtime, fail)
    with pytest.raises(OutOfMemory):
        model.denoise_step(disturbed)
    for trajectory, earlier in zip(disturbed, before, strict=True):
        now = state(trajectory)
        assert all(same(earlier[name], now[name]) for name in now)
    model.runtime = runtime
    while undisturbed[0].step_index < undisturbed[0].num_evaluations:
        model.denoise_step(undisturbed)
        model.denoise_step(disturbed)
    for one, other in zip(undisturbed, disturbed, strict=True):
        assert torch.equal(one.latents, other.latents)


def test_memory_that_ends_in_a_noise_scheduler_commits_nothing_either(
    model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (model.prepare(tiny_params(seed=seed), 0) for seed in (1, 2))
    before = first.latents.clone()
    monkeypatch.setattr(
        type(second.noise_scheduler), "step", _fails_for(second.latents, MemoryError())
    )
    with pytest.raises(OutOfMemory):
        model.denoise_step([first, second])
    assert torch.equal(first.latents, before)
    assert first.step_index == second.step_index == 0


def test_one_failing_trajectory_leaves_the_others_untouched(
    model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = model.prepare(tiny_params(seed=1), 0)
    model.denoise_step([alone])
    good, bad = (model.prepare(tiny_params(seed=seed), 0) for seed in (1, 2))
    failure = ZeroDivisionError("a bug")
    with monkeypatch.context() as patch:
        patch.setattr(type(bad.noise_scheduler), "step", _fails_for(bad.latents, failure))
        assert model.denoise_step([good, bad]) == [None, failure]
    assert (good.step_index, bad.step_index) == (1, 0)
    assert torch.allclose(good.latents, alone.latents, atol=1e-4)
    assert model.denoise_step([bad]) == [None], "it can go on once the cause is gone"


def _fails_for(latents: torch.Tensor, error: BaseException) -> Any:
    original = DDIMScheduler.step

    def step(self: Any, prediction: Any, timestep: Any, sample: Any, **more: Any) -> Any:
        if sample is latents:
            raise error
        return original(self, prediction, timestep, sample, **more)

    return step


def test_an_error_of_the_network_itself_is_passed_on(tiny_model: Path) -> None:
    def fail() -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    model = load_tiny(tiny_model)
    trajectory = model.prepare(tiny_params(), 0)
    model.runtime = Intruder(model.runtime, fail)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        model.denoise_step([trajectory])
    assert trajectory.step_index == 0


def test_memory_that_ends_while_decoding_is_named(tiny_model: Path) -> None:
    model = load_tiny(tiny_model)
    trajectory = model.prepare(tiny_params(), 0)
    model.runtime = Intruder(model.runtime, out_of_cuda_memory)
    with pytest.raises(OutOfMemory):
        model.decode(trajectory)
