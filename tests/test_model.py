"""The model: refusals, failures, and its status."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from backend.config import Settings
from backend.domain import Exactness
from backend.errors import InvalidParams, ModelFailed, NonFiniteOutput
from backend.model.batch import gather, scatter
from backend.model.noise_schedulers import RECIPES
from backend.model.pipeline import LatentDiffusion
from backend.model.prompts.chunks import Chunker
from backend.model.prompts.encoder import PromptEncoder
from tests.support.tiny_sd import (
    break_output,
    build_tiny_sd,
    flag_everything,
    flag_nothing,
    load_tiny,
    tiny_params,
)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> LatentDiffusion:
    return load_tiny(tiny_model)


def violations(refused: pytest.ExceptionInfo[InvalidParams]) -> dict[str, str]:
    return {violation.field: violation.description for violation in refused.value.violations}


# What is refused


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"scheduler": "karras"}, "scheduler"),
        ({"scheduler": "lcm", "num_inference_steps": 51}, "num_inference_steps"),
        ({"scheduler": "tcd", "num_inference_steps": 51}, "num_inference_steps"),
        ({"num_inference_steps": 1001}, "num_inference_steps"),
    ],
)
def test_what_the_model_cannot_do_is_refused(
    model: LatentDiffusion, changes: dict[str, Any], field: str
) -> None:
    assert [violation.field for violation in model.check(tiny_params(**changes))] == [field]
    assert model.check(tiny_params()) == []


def test_lcm_takes_fifty_steps(model: LatentDiffusion) -> None:
    trajectory = model.prepare(tiny_params(scheduler="lcm", num_inference_steps=50), 0)
    assert trajectory.num_evaluations == 50


# Rows


def test_rows_lie_side_by_side_with_timesteps_of_their_own(model: LatentDiffusion) -> None:
    guided = model.prepare(tiny_params(num_inference_steps=4), 0)
    plain = model.prepare(tiny_params(guidance_scale=0.5, num_inference_steps=2, seed=8), 0)
    rows = gather([guided, plain])
    assert rows.latents.shape == (3, 4, 8, 8)
    assert rows.timesteps.dtype == torch.float32
    assert rows.timesteps.tolist() == [751.0, 751.0, 501.0]
    assert torch.equal(rows.latents[0], rows.latents[1])
    assert not torch.equal(rows.prompt_embeds[0], rows.prompt_embeds[1])
    assert torch.equal(rows.prompt_embeds[1], rows.prompt_embeds[2])


def test_guidance_goes_from_the_unconditional_to_the_conditional_row(
    model: LatentDiffusion,
) -> None:
    guided = model.prepare(tiny_params(guidance_scale=3.0), 0)
    plain = model.prepare(tiny_params(guidance_scale=1.0), 0)
    predictions = torch.tensor([1.0, 2.0, 9.0]).reshape(3, 1, 1, 1)
    combined = scatter(predictions, [guided, plain])
    assert [float(one) for one in combined] == [1.0 + 3.0 * (2.0 - 1.0), 9.0]


def test_heun_and_pndm_evaluate_more_often_than_they_step(model: LatentDiffusion) -> None:
    counts = {
        name: model.prepare(tiny_params(scheduler=name, num_inference_steps=5), 0).num_evaluations
        for name in ("ddim", "pndm", "heun")
    }
    assert counts == {"ddim": 5, "pndm": 6, "heun": 9}


# Pictures


def test_values_that_are_no_numbers_are_never_a_black_picture(tmp_path: Path) -> None:
    folder = build_tiny_sd(tmp_path / "tiny")
    whole = load_tiny(folder)
    trajectory = whole.prepare(tiny_params(), 0)
    trajectory.latents = torch.full_like(trajectory.latents, math.inf)
    with pytest.raises(NonFiniteOutput):
        whole.decode(trajectory)
    assert whole.preview(trajectory).dtype == np.uint8
    break_output(folder)
    with pytest.raises(ModelFailed, match="not numbers"):
        load_tiny(folder)


def test_a_flagged_picture_is_black_and_says_so(tmp_path: Path) -> None:
    folder = build_tiny_sd(tmp_path / "tiny", safety_checker=True)
    flag_everything(folder)
    model = load_tiny(folder)
    picture = model.decode(model.prepare(tiny_params(width=96), 0))
    assert picture.nsfw_detected
    assert picture.pixels.shape == (64, 96, 3)
    assert not picture.pixels.any()
    without = load_tiny(folder, safety_checker=False)
    picture = without.decode(without.prepare(tiny_params(), 0))
    assert not picture.nsfw_detected
    assert picture.pixels.any()


def test_an_innocent_picture_passes_the_safety_checker_unchanged(tmp_path: Path) -> None:
    folder = build_tiny_sd(tmp_path / "tiny", safety_checker=True)
    flag_nothing(folder)
    checked, unchecked = load_tiny(folder), load_tiny(folder, safety_checker=False)
    picture = checked.decode(checked.prepare(tiny_params(), 0))
    assert not picture.nsfw_detected
    plain = unchecked.decode(unchecked.prepare(tiny_params(), 0))
    assert np.array_equal(picture.pixels, plain.pixels)


# Prompts


class CountingEncoder:
    """A runtime of which only encode is used."""

    def __init__(self) -> None:
        self.calls = 0

    def encode(self, input_ids: torch.Tensor, *_others: object) -> torch.Tensor:
        self.calls += 1
        return input_ids.float()[..., None]


def test_a_text_is_encoded_once_until_it_is_forgotten(model: LatentDiffusion) -> None:
    runtime: Any = CountingEncoder()
    encoder = PromptEncoder(Chunker(model.components.tokenizer), runtime, kept_bytes=2 * 16 * 4)
    for text in ("a", "b", "a", "c", "a"):  # b is the oldest when c comes
        encoder.encode(text)
    assert runtime.calls == 3
    encoder.encode("b")
    assert runtime.calls == 4


def test_texts_differ_and_have_the_models_length(model: LatentDiffusion) -> None:
    runtime: Any = CountingEncoder()
    encoder = PromptEncoder.plain(model.components.tokenizer, runtime)
    one, other = encoder.encode("a red cat"), encoder.encode("a red tree" * 50)
    assert one.shape == other.shape == (1, 16, 1)
    assert not torch.equal(one, other)


# What it says of itself


def test_the_model_describes_itself(tiny_model: Path, model: LatentDiffusion) -> None:
    info = model.info
    assert info.name == tiny_model.name
    assert (info.native_height, info.native_width, info.size_multiple) == (64, 64, 8)
    assert info.default_scheduler == "pndm"
    assert info.schedulers == tuple(RECIPES)
    assert (info.device, info.dtype) == ("cpu", "float32")
    assert info.num_parameters == sum(
        weight.numel() for network in model.components.read() for weight in network.parameters()
    )
    assert "torch" in info.runtime
    assert "1 thread" in info.runtime
    assert model.exactness is Exactness.CERTIFIED


def test_the_exactness_can_be_chosen(tiny_model: Path) -> None:
    assert load_tiny(tiny_model, exactness="tolerant").exactness is Exactness.TOLERANT


def test_a_coarse_autoencoder_demands_coarse_sizes(tmp_path: Path) -> None:
    folder = build_tiny_sd(
        tmp_path / "tiny", autoencoder="tiny", vae_scale_factor=16, sample_size=4
    )
    model = load_tiny(folder)
    assert model.info.size_multiple == 16
    limits = Settings().limits(model.info.size_multiple)
    (violation,) = tiny_params(height=72, scheduler="ddim").violations(limits, model.info)
    assert "multiple of 16" in violation.description


def test_a_models_own_schedule_is_kept(tmp_path: Path) -> None:
    folder = build_tiny_sd(
        tmp_path / "tiny", scheduler=DDPMScheduler, schedule={"beta_schedule": "linear"}
    )
    model = load_tiny(folder)
    assert model.info.default_scheduler == "ddpm"
    euler = model.prepare(tiny_params(scheduler="euler"), 0).noise_scheduler
    assert euler.config.beta_schedule == "linear"
