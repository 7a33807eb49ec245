"""Previews: cheap, similar to the image, and never harmful."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.model.pipeline import LatentDiffusion
from backend.model.preview import fit_projector, published_projector
from tests.support.tiny_sd import build_tiny_sd, load_tiny, tiny_params


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> LatentDiffusion:
    return load_tiny(tiny_model)


def test_a_preview_shows_where_the_picture_is_heading(tmp_path: Path) -> None:
    folder = build_tiny_sd(tmp_path / "tiny", autoencoder="tiny", prediction_type="v_prediction")
    model = load_tiny(folder)
    trajectory = model.prepare(tiny_params(width=96), 0)
    assert model.preview(trajectory).shape == (32, 48, 3), "before the first step, too"
    while trajectory.step_index < trajectory.num_evaluations:
        model.denoise_step([trajectory])
        preview = model.preview(trajectory)
    pixels = model.decode(trajectory).pixels.astype(float)
    small = pixels.reshape(32, 2, 48, 2, 3).mean((1, 3))
    likeness = np.corrcoef(preview.ravel().astype(float), small.ravel())[0, 1]
    assert likeness > 0.7


def test_the_published_map_gives_one_pixel_per_cell() -> None:
    latents = torch.zeros(1, 4, 6, 9)
    latents[0, 0, 2, 3] = 1.0
    pixels = published_projector().project(latents)
    assert pixels.shape == (6, 9, 3)
    assert pixels[0, 0].tolist() == [128, 128, 128]
    assert pixels[2, 3].tolist() == [165, 154, 154]  # 127.5 * (1 + 0.298, 0.207, 0.208)


@pytest.mark.parametrize("native", [(64, 64), (8, 8), (4, 6)])
def test_a_linear_autoencoder_is_fitted_exactly(native: tuple[int, int]) -> None:
    factors = torch.tensor([[0.3, -0.2, 0.1], [0.1, 0.4, -0.3]])

    def decode(latents: torch.Tensor) -> torch.Tensor:
        image = torch.einsum("bchw,cr->brhw", latents, factors)
        return image.repeat_interleave(8, 2).repeat_interleave(8, 3)

    projector = fit_projector(decode, channels=2, vae_scale_factor=8, native=native)
    latents = torch.randn(1, 2, 5, 7, generator=torch.Generator().manual_seed(0))
    expected = ((decode(latents)[0] / 2 + 0.5).clamp(0, 1) * 255).permute(1, 2, 0).numpy()
    found = projector.project(latents).astype(float)
    assert found.shape == (20, 28, 3)
    assert np.abs(found - expected[::2, ::2]).max() < 3


def test_previews_never_raise(model: LatentDiffusion) -> None:
    trajectory = model.prepare(tiny_params(scheduler="lms"), 0)
    model.denoise_step([trajectory])
    for value in (math.nan, math.inf, 1e38):
        trajectory.latents = torch.full_like(trajectory.latents, value)
        assert trajectory.last_prediction is not None
        trajectory.last_prediction = trajectory.last_prediction._replace(
            prediction=trajectory.latents, timestep=5000.0
        )
        assert model.preview(trajectory).dtype == np.uint8


def test_a_preview_costs_next_to_nothing(model: LatentDiffusion) -> None:
    trajectory = model.prepare(tiny_params(num_inference_steps=20), 0)
    model.denoise_step([trajectory])
    step = _median_ms(lambda: model.denoise_step([trajectory]))
    preview = _median_ms(lambda: model.preview(trajectory))
    # The network of these tests is a thousandth of Stable Diffusion's: 2 % of a step there is
    # more than one whole step here.
    assert preview < step / 4


def _median_ms(act: Callable[[], object], times: int = 9) -> float:
    found = []
    for _ in range(times):
        start = time.process_time()
        act()
        found.append((time.process_time() - start) * 1000)
    return statistics.median(found)
