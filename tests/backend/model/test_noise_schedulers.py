"""Noise schedulers: supported combinations, and that images share no state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, LMSDiscreteScheduler

from backend.errors import ModelFailed
from backend.model.noise_schedulers import (
    RECIPES,
    NoiseSchedulers,
    fork,
    takes_generator,
    timesteps_of,
)
from tests.support.pretended_cuda import pretended_cuda
from tests.support.tiny_sd import SD_SCHEDULE, same


def objection(schedulers: NoiseSchedulers, name: str, steps: int) -> str:
    violation = schedulers.violation(name, steps)
    return violation.description if violation else ""


@pytest.mark.parametrize("name", ["pndm", "euler_ancestral"])
def test_schedulers_that_cannot_take_sample_prediction_are_refused(name: str) -> None:
    schedulers = NoiseSchedulers("DDIMScheduler", SD_SCHEDULE | {"prediction_type": "sample"})
    assert name not in schedulers.names
    assert "predicts the sample" in objection(schedulers, name, 10)
    with pytest.raises((NotImplementedError, ValueError)):  # diffusers itself says no
        step_through(schedulers, name, 1)


def test_lms_without_scipy_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.model.noise_schedulers.find_spec", lambda name: None)
    schedulers = NoiseSchedulers("DDIMScheduler", SD_SCHEDULE)
    assert "lms" not in schedulers.names
    assert "scipy" in objection(schedulers, "lms", 10)


def test_pndm_with_runge_kutta_steps_needs_four() -> None:
    schedulers = NoiseSchedulers("PNDMScheduler", SD_SCHEDULE | {"skip_prk_steps": False})
    assert "at least 4" in objection(schedulers, "pndm", 3)
    assert not objection(schedulers, "pndm", 4)
    assert math.isfinite(step_through(schedulers, "pndm", 4))


def test_a_scheduler_of_another_family_is_no_default() -> None:
    config = dict(FlowMatchEulerDiscreteScheduler().config)
    with pytest.raises(ModelFailed, match="FlowMatchEulerDiscreteScheduler"):
        NoiseSchedulers("FlowMatchEulerDiscreteScheduler", config)


@pytest.mark.usefixtures("two_torch_threads")
def test_to_set_one_up_takes_no_helpers_of_the_callers_thread() -> None:
    """They would be more than there are cores, beside the engine's, and all of them would doze.

    Once a number of threads is set, MKL shares out as little as a thousand square roots.
    """
    schedulers = NoiseSchedulers("DDIMScheduler", SD_SCHEDULE)
    with ThreadPoolExecutor(1) as thread:
        before = thread.submit(num_threads).result()
        for name in schedulers.names:
            thread.submit(schedulers.violation, name, 21).result()
            assert thread.submit(num_threads).result() == before, name


def num_threads() -> int:
    return psutil.Process().num_threads()


@pytest.mark.parametrize("name", ["ddim", "ddpm", "lcm", "tcd"])
def test_latents_are_clipped_only_where_the_model_asks_for_it(name: str) -> None:
    silent = {key: value for key, value in SD_SCHEDULE.items() if key != "clip_sample"}
    assert not NoiseSchedulers("DDIMScheduler", silent).create(name, 5).config.clip_sample
    asking = silent | {"clip_sample": True}
    assert NoiseSchedulers("DDIMScheduler", asking).create(name, 5).config.clip_sample


def step_through(schedulers: NoiseSchedulers, name: str, steps: int) -> float:
    """Largest value after all steps of a toy image, the model having said 0.1 everywhere."""
    noise_scheduler = schedulers.create(name, steps)
    sample = denoised(
        noise_scheduler,
        noise_scheduler.timesteps,
        torch.full((1, 1, 1, 1), 0.5),
        lambda sample: torch.full_like(sample, 0.1),
    )
    return float(sample.abs().max())


def denoised(
    noise_scheduler: Any,
    timesteps: Iterable[Any],
    noise: torch.Tensor,
    predict: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """What becomes of `noise` in all steps, `predict` being the model."""
    generator = torch.Generator().manual_seed(0)
    extra = {"generator": generator} if takes_generator(noise_scheduler) else {}
    sample: torch.Tensor = noise * noise_scheduler.init_noise_sigma
    for timestep in timesteps:
        noise_scheduler.scale_model_input(sample, timestep)
        prediction = predict(sample)
        sample = noise_scheduler.step(prediction, timestep, sample, **extra).prev_sample
    return sample


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("name", RECIPES)
def test_every_combination_that_is_not_refused_works(name: str, prediction_type: str) -> None:
    config = SD_SCHEDULE | {"prediction_type": prediction_type}
    schedulers = NoiseSchedulers("DDIMScheduler", config)
    if name not in schedulers.names:
        return
    for steps in (1, 2, 3, 4, 5, 7, 27, 50):
        assert not objection(schedulers, name, steps)
        assert math.isfinite(step_through(schedulers, name, steps)), steps


@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
@pytest.mark.parametrize("name", RECIPES)
def test_close_to_the_number_of_timesteps_a_request_works_or_is_refused(
    name: str, spacing: str
) -> None:
    config = SD_SCHEDULE | {"num_train_timesteps": 60, "timestep_spacing": spacing}
    schedulers = NoiseSchedulers("DDIMScheduler", config)
    for steps in (1, 2, 3, 29, 30, 31, 40, 57, 58, 59, 60):
        if objection(schedulers, name, steps):
            assert steps > 49, "only close to the number of timesteps"
            continue
        assert math.isfinite(step_through(schedulers, name, steps)), steps
    assert "at most" in objection(schedulers, name, 61)


@pytest.mark.parametrize(
    ("class_name", "settings", "expected"),
    [
        ("PNDMScheduler", {}, "pndm"),
        ("DDPMScheduler", {}, "ddpm"),
        ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}, "dpmpp_2m_karras"),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, "dpmpp_2m_sde"),
        ("DPMSolverMultistepScheduler", {}, "dpmpp_2m"),
    ],
)
def test_the_default_is_the_models_own(
    class_name: str, settings: dict[str, Any], expected: str
) -> None:
    assert NoiseSchedulers(class_name, SD_SCHEDULE | settings).default == expected


@pytest.mark.parametrize("name", RECIPES)
def test_a_fork_shares_nothing_that_steps_change(name: str) -> None:
    config = SD_SCHEDULE | {"skip_prk_steps": False}  # PNDM then sums up in place
    schedulers = NoiseSchedulers("DDIMScheduler", config)
    original = schedulers.create(name, 8)
    generator = torch.Generator().manual_seed(0)
    extra = {"generator": generator} if takes_generator(original) else {}
    sample = torch.ones(1, 1, 2, 2)
    for timestep in original.timesteps[:3]:
        original.scale_model_input(sample, timestep)
        original.step(sample * 0.1, timestep, sample, **extra)
    before = {name: _frozen(value) for name, value in vars(original).items()}
    twin = fork(original)
    for timestep in twin.timesteps[3:6]:
        twin.scale_model_input(sample, timestep)
        twin.step(sample * 0.2, timestep, sample, **extra)
    for attribute, value in before.items():
        assert same(value, vars(original)[attribute]), attribute


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("name", RECIPES)
def test_our_timesteps_lead_bit_for_bit_where_diffusers_tensors_do(
    name: str, prediction_type: str, dtype: torch.dtype
) -> None:
    config = SD_SCHEDULE | {"prediction_type": prediction_type}
    schedulers = NoiseSchedulers("DDIMScheduler", config)
    if name not in schedulers.names:
        return
    for steps in (2, 7, 20):
        ours, theirs = schedulers.create(name, steps), schedulers.create(name, steps)
        found = guessed(ours, timesteps_of(ours), dtype)
        assert torch.equal(found, guessed(theirs, theirs.timesteps, dtype)), steps


def guessed(noise_scheduler: Any, timesteps: Iterable[Any], dtype: torch.dtype) -> torch.Tensor:
    """A small image after all steps, the model having guessed."""
    generator = torch.Generator().manual_seed(1)

    def guess(sample: torch.Tensor) -> torch.Tensor:
        return torch.randn(sample.shape, generator=generator).to(dtype)

    return denoised(noise_scheduler, timesteps, guess(torch.empty(1, 4, 8, 8)), guess)


def _frozen(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    return [_frozen(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_unipc_for_gpus_is_the_same_sum(prediction_type: str, steps: int) -> None:
    """On a device whose updates are sums, against diffusers' own on the CPU."""
    theirs = NoiseSchedulers("DDIMScheduler", SD_SCHEDULE | {"prediction_type": prediction_type})
    generator = torch.Generator().manual_seed(steps)
    latents = torch.randn(1, 4, 8, 8, generator=generator)
    predictions = [torch.randn(1, 4, 8, 8, generator=generator) for _ in range(steps)]
    with pretended_cuda():
        found = []
        for device in ("cpu", "cuda:0"):
            scheduler, state = theirs.create("unipc", steps), latents.to(device)
            for timestep, prediction in zip(timesteps_of(scheduler), predictions, strict=True):
                state = scheduler.step(prediction.to(device), timestep, state, return_dict=False)[0]
            found.append(state.cpu())
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-4)


def test_lms_integrates_once_for_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """scipy's integrals took 10 ms of every image's every step."""
    calls = 0
    own = LMSDiscreteScheduler.get_lms_coefficient

    def counted(self: LMSDiscreteScheduler, *given: int) -> float:
        nonlocal calls
        calls += 1
        found: float = own(self, *given)
        return found

    monkeypatch.setattr(LMSDiscreteScheduler, "get_lms_coefficient", counted)
    schedulers = NoiseSchedulers("DDIMScheduler", SD_SCHEDULE)
    counts = []
    for _ in range(3):
        scheduler, state = schedulers.create("lms", 5), torch.ones(1, 4, 2, 2)
        for timestep in timesteps_of(scheduler):
            state = scheduler.step(0.1 * state, timestep, state, return_dict=False)[0]
        counts.append(calls)
    assert counts[0] > 0
    assert counts == [counts[0]] * 3
