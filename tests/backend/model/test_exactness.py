"""The same request gives the same image as diffusers, alone or in any batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler

from backend.engine.protocols import Pixels
from backend.model.measure.certify import RowShape, certified_row_counts
from backend.model.noise_schedulers import RECIPES
from backend.model.pipeline import LatentDiffusion
from backend.model.trajectory import LatentTrajectory
from backend.params import GenerationParams
from tests.support.oracle import DTYPES, Pair, assert_same
from tests.support.tiny_sd import build_tiny_sd, finish, load_tiny, tiny_params

COMPANY = (
    tiny_params(scheduler="ddim", num_inference_steps=6, guidance_scale=7.5, seed=1),
    tiny_params(scheduler="pndm", num_inference_steps=4, guidance_scale=3.0, prompt="the cat"),
    tiny_params(scheduler="euler_ancestral", num_inference_steps=5, negative_prompt="red", seed=5),
    tiny_params(scheduler="dpmpp_2m_sde", num_inference_steps=3, guidance_scale=1.0, seed=9),
    tiny_params(scheduler="heun", num_inference_steps=3, guidance_scale=12.0, prompt="tree"),
    tiny_params(scheduler="lcm", num_inference_steps=4, guidance_scale=0.0, seed=2**52),
    tiny_params(scheduler="unipc", num_inference_steps=5, guidance_scale=5.0, prompt="x" * 400),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_sd(tmp_path_factory.mktemp("epsilon") / "tiny")


@pytest.fixture(scope="module", params=DTYPES)
def pair(folder: Path, request: pytest.FixtureRequest) -> Pair:
    return Pair(folder, request.param)


@pytest.mark.parametrize("scheduler", RECIPES)
def test_alone_equals_diffusers(pair: Pair, scheduler: str) -> None:
    assert_same(pair, tiny_params(scheduler=scheduler, negative_prompt="the tree", seed=7))


@pytest.mark.parametrize("scheduler", ["pndm", "euler_ancestral", "dpmpp_2m_sde", "lcm", "tcd"])
def test_without_guidance_no_unconditional_row_is_computed(pair: Pair, scheduler: str) -> None:
    params = tiny_params(scheduler=scheduler, guidance_scale=1.0)
    assert pair.model.prepare(params, 0).num_rows == 1
    assert_same(pair, params)


def test_sizes_need_not_be_square_nor_native(pair: Pair) -> None:
    assert_same(pair, tiny_params(height=128, width=72))
    assert_same(pair, tiny_params(height=40, width=96, scheduler="euler"))


def test_an_image_of_several_is_the_one_of_its_own_seed(pair: Pair) -> None:
    of_three = pair.model.prepare(tiny_params(seed=5, scheduler="ddpm"), 2)
    alone = pair.model.prepare(tiny_params(seed=7, scheduler="ddpm"), 0)
    finish(pair.model, of_three)
    finish(pair.model, alone)
    assert torch.equal(of_three.latents, alone.latents)


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_other_prediction_types_equal_diffusers(
    tmp_path: Path, prediction_type: Any, dtype: str
) -> None:
    folder = build_tiny_sd(
        tmp_path / "tiny", prediction_type=prediction_type, scheduler=DDIMScheduler
    )
    pair = Pair(folder, dtype)
    for scheduler in pair.model.info.schedulers:
        assert_same(pair, tiny_params(scheduler=scheduler, num_inference_steps=3))


@pytest.mark.parametrize(
    "variation",
    [
        {"autoencoder": "tiny"},
        {"autoencoder": "tiny", "vae_scale_factor": 16, "latent_channels": 16, "sample_size": 4},
        {"vae_scale_factor": 4, "latent_channels": 3},
        {"tokens": 40, "schedule": {"timestep_spacing": "trailing"}},
        {"scheduler": EulerDiscreteScheduler, "schedule": {"use_karras_sigmas": True}},
    ],
    ids=str,
)
def test_other_architectures_equal_diffusers(tmp_path: Path, variation: dict[str, Any]) -> None:
    pair = Pair(build_tiny_sd(tmp_path / "tiny", **variation), "bfloat16")
    for scheduler in (pair.model.info.default_scheduler, "dpmpp_2m_karras"):
        assert_same(pair, tiny_params(scheduler=scheduler, width=96))


class CountingRuntime:
    """Counts the rows of every UNet call."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self.rows: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def denoise(self, latents: torch.Tensor, *others: torch.Tensor) -> Any:
        self.rows.append(len(latents))
        return self._runtime.denoise(latents, *others)


def run_together(model: LatentDiffusion, company: Sequence[GenerationParams]) -> Iterator[Pixels]:
    """Draw all requests, one more joining at every step and each leaving when it is done."""
    arrivals = [model.prepare(params, 0) for params in company]
    running: list[LatentTrajectory] = []
    for step in range(40):
        running += arrivals[step : step + 1]
        if step >= len(arrivals) - 1 and not running:
            break
        batch = running[::-1] if step % 2 else running  # slots change as well
        assert model.denoise_step(batch) == [None] * len(batch)
        running = [one for one in running if one.step_index < one.num_evaluations]
    return (model.decode(trajectory).pixels for trajectory in arrivals)


@pytest.mark.parametrize("dtype", DTYPES)
def test_company_changes_no_pixel(folder: Path, dtype: str) -> None:
    model = load_tiny(folder, dtype=dtype)
    alone = []
    for params in COMPANY:
        trajectory = model.prepare(params, 0)
        finish(model, trajectory)
        alone.append(model.decode(trajectory).pixels)
    counting = CountingRuntime(model.runtime)
    model.runtime = counting
    together = list(run_together(model, COMPANY))
    assert max(counting.rows) >= 8, "requests must have shared steps"
    tolerated = 0 if dtype == "bfloat16" else 1
    for own, shared in zip(alone, together, strict=True):
        assert np.abs(own.astype(int) - shared.astype(int)).max() <= tolerated


def test_bfloat16_rows_are_certified_and_the_probe_can_say_no(folder: Path) -> None:
    shape = RowShape(latents=(4, 8, 8), prompt_embeds=(16, 32))
    runtime = load_tiny(folder, dtype="bfloat16").runtime
    assert certified_row_counts(runtime, shape, (1, 2, 3, 8)) == {1, 2, 3, 8}

    class Sloppy(CountingRuntime):
        """Its result depends on how many rows there are beyond three."""

        def denoise(self, latents: torch.Tensor, *others: torch.Tensor) -> Any:
            result = super().denoise(latents, *others)
            return result + 1e-2 if len(latents) > 3 else result

    assert certified_row_counts(Sloppy(runtime), shape, (1, 2, 3, 4, 8)) == {1, 2, 3}


def test_the_probe_notices_a_result_that_depends_on_the_slot(folder: Path) -> None:
    shape = RowShape(latents=(4, 8, 8), prompt_embeds=(16, 32))
    runtime = load_tiny(folder, dtype="bfloat16").runtime

    class LastSlotOff(CountingRuntime):
        def denoise(self, latents: torch.Tensor, *others: torch.Tensor) -> Any:
            result = super().denoise(latents, *others)
            if len(latents) == 4:
                result = torch.cat([result[:-1], result[-1:] + 1e-2])
            return result

    assert certified_row_counts(LastSlotOff(runtime), shape, (3, 4)) == {3}


def test_the_probe_leaves_out_what_does_not_fit_into_memory(folder: Path) -> None:
    shape = RowShape(latents=(4, 8, 8), prompt_embeds=(16, 32))
    runtime = load_tiny(folder, dtype="bfloat16").runtime

    class Small(CountingRuntime):
        def denoise(self, latents: torch.Tensor, *others: torch.Tensor) -> Any:
            if len(latents) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().denoise(latents, *others)

    assert certified_row_counts(Small(runtime), shape, (1, 2, 8)) == {1, 2}
