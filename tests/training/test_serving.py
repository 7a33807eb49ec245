"""A model as the recipe makes them, untrained, through the service's runtimes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from backend.model.choose_runtime import openvino_folder
from backend.model.openvino.runtime import OpenVinoRuntime
from backend.model.pipeline import LatentDiffusion
from backend.model.runtime.eager import TorchRuntime
from tests.support.networks import row_inputs
from tests.support.tiny_sd import finish, load_tiny, tiny_params
from training import captions, decoder, evaluate, export, sketches, tokenizer, unet
from training.phrases import MAX_TOKENS
from training.pictures import Pixels
from training.sprites import Sprites
from training.text_encoder import TextEncoder


@pytest.fixture(scope="module")
def folder(sprites: Sprites, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(4)
    made = tmp_path_factory.mktemp("served") / "model"
    words = tokenizer.build(captions.names(sprites.things), made.parent / "tokenizer")
    pipe = export.pipeline(
        unet.build((128, 32, 32)),
        TextEncoder(words, layers=1),
        decoder.build(16, (1, 1, 1, 0, 0, 0)),
        words,
    )
    export.save(pipe, made)
    return made


@pytest.fixture(scope="module")
def served(folder: Path) -> LatentDiffusion:
    return load_tiny(folder)


def drawn_by(model: LatentDiffusion, steps: int) -> Pixels:
    params = tiny_params(
        prompt="a red box", height=256, width=256, num_inference_steps=steps, scheduler="dpmpp_2m"
    )
    trajectory = model.prepare(params, 0)
    finish(model, trajectory)
    return model.decode(trajectory).pixels


def test_the_service_draws_what_diffusers_draws(folder: Path, served: LatentDiffusion) -> None:
    pipe = StableDiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(tiny_params().seed or 0)
    (image,) = pipe("a red box", num_inference_steps=4, generator=generator).images
    ours, theirs = drawn_by(served, 4).astype(int), np.asarray(image).astype(int)
    assert ours.shape == (256, 256, 3)
    assert np.abs(ours - theirs).max() <= 1


@pytest.mark.timeout(900)  # compiling takes seconds, but cores may be shared
def test_openvino_computes_what_torch_computes(served: LatentDiffusion, tmp_path: Path) -> None:
    components = served.components
    assert components.num_tokens == MAX_TOKENS
    theirs = TorchRuntime(components)
    ours = OpenVinoRuntime(
        components, openvino_folder(tmp_path, "r1"), precision="f32", num_threads=1
    )
    tokens = torch.arange(components.num_tokens)[None]
    torch.testing.assert_close(ours.encode(tokens), theirs.encode(tokens), rtol=1e-3, atol=1e-4)
    given = row_inputs(components, 2, 8, 8)
    torch.testing.assert_close(ours.denoise(*given), theirs.denoise(*given), rtol=1e-3, atol=1e-3)
    latents = torch.randn(1, sketches.CHANNELS, 8, 8)
    torch.testing.assert_close(ours.decode(latents), theirs.decode(latents), rtol=1e-3, atol=1e-3)


def test_a_prompt_longer_than_all_tokens_is_drawn(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "STEPS", 2)
    pipe = StableDiffusionPipeline.from_pretrained(folder)
    (picture,) = evaluate.Artist(pipe).draw(["a red box on a teal background " * 20], [1])
    assert picture.shape == (256, 256, 3)
