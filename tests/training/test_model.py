"""The model that ships: it loads as it is, is small, and its pictures follow the prompt."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from backend.model.noise_schedulers import RECIPES
from backend.model.pipeline import LatentDiffusion
from tests.support.tiny_sd import finish, load_tiny, tiny_params
from training import measures, paths
from training.evaluate import Artist
from training.export import size_mb
from training.pictures import Pixels


@pytest.fixture(scope="module")
def pipe() -> StableDiffusionPipeline:
    return StableDiffusionPipeline.from_pretrained(paths.MODEL)


STRANGE = ("zxqwv blorptastic", "", "a " * 200, "漢字 🦊 é")


@pytest.fixture(scope="module")
def pictures(pipe: StableDiffusionPipeline) -> dict[str, Pixels]:
    """Of every prompt in this module, drawn together."""
    texts = ["a cat", "a banana", "a dog on a blue background", *STRANGE]
    return dict(zip(texts, Artist(pipe).draw(texts, [1] * len(texts)), strict=True))


def test_it_loads_in_one_dtype_without_being_told(pipe: StableDiffusionPipeline) -> None:
    assert {pipe.unet.dtype, pipe.vae.dtype, pipe.text_encoder.dtype} == {torch.float32}
    assert pipe.safety_checker is None


def test_it_is_at_most_70_mb() -> None:
    assert size_mb(paths.MODEL) <= 70


def test_its_own_size_is_256_pixels(
    pipe: StableDiffusionPipeline, pictures: dict[str, Pixels]
) -> None:
    assert pipe.unet.config.sample_size * pipe.vae_scale_factor == 256
    assert pictures["a cat"].shape == (256, 256, 3)


def test_another_word_gives_another_picture(pictures: dict[str, Pixels]) -> None:
    cat, banana = pictures["a cat"], pictures["a banana"]
    assert np.abs(cat.astype(int) - banana).mean() > 10


def test_a_background_colour_is_obeyed(pictures: dict[str, Pixels]) -> None:
    seen = measures.background_of(pictures["a dog on a blue background"])
    assert measures.named(seen) == "blue"


@pytest.mark.parametrize("text", STRANGE)
def test_words_it_does_not_know_give_a_clean_picture(
    pictures: dict[str, Pixels], text: str
) -> None:
    """Noise differs from pixel to pixel; a picture is mostly smooth."""
    drawn = pictures[text].astype(int)
    assert np.abs(np.diff(drawn, axis=1)).mean() < 12


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> LatentDiffusion:
    return load_tiny(Path(paths.MODEL), data_dir=tmp_path_factory.mktemp("data"))


def drawn_by(model: LatentDiffusion, scheduler: str) -> Pixels:
    params = tiny_params(
        prompt="a dog", height=256, width=256, num_inference_steps=25, scheduler=scheduler
    )
    trajectory = model.prepare(params, 0)
    finish(model, trajectory)
    return model.decode(trajectory).pixels


def blurred(pixels: Pixels) -> list[float]:
    """Means of 16 x 16 pixels, in one row."""
    means: list[float] = pixels.reshape(16, 16, 16, 16, 3).mean(axis=(1, 3)).ravel().tolist()
    return means


@pytest.fixture(scope="module")
def usual_dog(served: LatentDiffusion) -> Pixels:
    return drawn_by(served, served.info.default_scheduler)


@pytest.mark.parametrize("scheduler", RECIPES)
def test_whichever_noise_scheduler_draws_it_it_is_the_same_dog(
    served: LatentDiffusion, usual_dog: Pixels, scheduler: str
) -> None:
    drawn = drawn_by(served, scheduler)
    assert np.corrcoef(blurred(drawn), blurred(usual_dog))[0, 1] > 0.9
