"""LoRAs and embeddings: diffusers' own pictures with the same files, alone and in company."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from backend.engine.protocols import Pixels
from backend.errors import InvalidParams, ModelFailed
from backend.model.adapters.adapter_set import AdapterSet
from backend.model.adapters.merge import Scaled, merge
from backend.model.checkpoint.components import Networks
from backend.model.noise_schedulers import RECIPES
from backend.model.pipeline import LatentDiffusion
from backend.params import GenerationParams, Lora
from backend.prompt_syntax import PromptSyntax
from tests.support.lora_files import write_lora
from tests.support.tiny_sd import finish, load_tiny, tiny_params

HIDDEN = 32
INK = (Lora("ink", 0.8),)
WITH_TEXT = (*INK, Lora("words"))
BOTH = (Lora("ink", 0.7), Lora("oil", -1.5))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A LoRA in each naming, an embedding in each form."""
    folder = tmp_path_factory.mktemp("adapters")
    networks = load_tiny(tiny_model).components.networks
    metadata = {"ss_tag_frequency": '{"a": {"inky": 9, "cat": 3}, "b": {"cat": 9}}'}
    write_lora(folder / "ink.safetensors", networks, seed=1, text=False, metadata=metadata)
    write_lora(folder / "oil.safetensors", networks, "diffusers", seed=2)
    write_lora(folder / "old.safetensors", networks, "old_diffusers", seed=3, text=False)
    write_lora(folder / "edges.safetensors", networks, "diffusers", seed=4, convolutions=True)
    write_lora(folder / "words.safetensors", networks, seed=5, unet=False)
    # diffusers 0.42 overlooks most of a kohya file's text encoder: it gets the same, renamed.
    (folder / "twins").mkdir()
    write_lora(folder / "twins/words.safetensors", networks, "diffusers", seed=5, unet=False)
    generator = torch.Generator().manual_seed(0)
    (folder / "embeddings").mkdir()
    for name, key, shape in (
        ("moody", "emb_params", (3, HIDDEN)),
        ("flat", "flat", (HIDDEN,)),
    ):
        vectors = torch.randn(shape, generator=generator)
        save_file({key: vectors}, folder / "embeddings" / f"{name}.safetensors")
    return folder


@pytest.fixture(scope="module")
def load(folder: Path, tiny_model: Path) -> Callable[..., LatentDiffusion]:
    def load(**settings: Any) -> LatentDiffusion:
        dirs = {"lora_dir": folder, "embeddings_dir": folder / "embeddings"}
        return load_tiny(tiny_model, **(dirs | settings))

    return load


@pytest.fixture(scope="module")
def model(load: Callable[..., LatentDiffusion]) -> LatentDiffusion:
    return load()


def draw(model: LatentDiffusion, params: GenerationParams) -> Pixels:
    trajectory = model.prepare(params, 0)
    finish(model, trajectory)
    return model.decode(trajectory).pixels


def oracle(tiny_model: Path, folder: Path, params: GenerationParams) -> Pixels:
    """Diffusers' pipeline with diffusers' loader and peft."""
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_model, local_files_only=True)
    recipe = RECIPES[params.scheduler]
    noise_scheduler = getattr(diffusers, recipe.class_name)
    pipeline.scheduler = noise_scheduler.from_config(pipeline.scheduler.config, **recipe.settings)
    for network in (pipeline.unet, pipeline.vae):
        network.to(memory_format=torch.channels_last)
    pipeline.set_progress_bar_config(disable=True)
    for lora in params.loras:
        twin, file = (folder / part / f"{lora.name}.safetensors" for part in ("twins", ""))
        file = twin if twin.exists() else file
        pipeline.load_lora_weights(str(file), adapter_name=lora.name)
    if params.loras:
        names = [lora.name for lora in params.loras]
        pipeline.set_adapters(names, [lora.scale for lora in params.loras])
    for name in ("moody", "flat"):
        if name in params.prompt + params.negative_prompt:
            file = folder / "embeddings" / f"{name}.safetensors"
            pipeline.load_textual_inversion(str(file), token=name)
    images = pipeline(
        params.prompt,
        negative_prompt=params.negative_prompt,
        height=params.height,
        width=params.width,
        guidance_scale=params.guidance_scale,
        num_inference_steps=params.num_inference_steps,
        eta=0.3 if params.scheduler == "tcd" else 0.0,  # the pipeline passes 0 over its default
        generator=torch.Generator("cpu").manual_seed(params.seed),
    ).images
    return np.asarray(images[0])


def far(one: Pixels, other: Pixels) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize(
    "loras",
    [INK, (Lora("oil"),), (Lora("old", 2.0),), (Lora("edges", -0.5),), (Lora("words"),), BOTH],
    ids=str,
)
def test_a_lora_is_diffusers_own(
    model: LatentDiffusion, tiny_model: Path, folder: Path, loras: tuple[Lora, ...]
) -> None:
    params = tiny_params(loras=loras, negative_prompt="the tree")
    found = draw(model, params)
    assert far(found, oracle(tiny_model, folder, params)) <= 1
    assert far(found, draw(model, tiny_params(negative_prompt="the tree"))) > 2


@pytest.mark.parametrize(("scheduler", "steps"), [("lcm", 4), ("tcd", 4), ("tcd", 8)])
@pytest.mark.parametrize("guidance_scale", [0.0, 1.0, 1.5])
def test_with_the_noise_schedulers_of_few_steps(
    model: LatentDiffusion,
    tiny_model: Path,
    folder: Path,
    scheduler: str,
    steps: int,
    guidance_scale: float,
) -> None:
    few: dict[str, Any] = {
        "scheduler": scheduler,
        "num_inference_steps": steps,
        "guidance_scale": guidance_scale,
    }
    params = tiny_params(loras=INK, **few)
    found = draw(model, params)
    assert far(found, oracle(tiny_model, folder, params)) <= 1
    assert far(found, draw(model, tiny_params(**few))) > 2


@pytest.mark.parametrize("prompt", ["a moody cat", "Moody, flat", "a flat cat, red"])
def test_an_embedding_is_diffusers_own(
    model: LatentDiffusion, tiny_model: Path, folder: Path, prompt: str
) -> None:
    params = tiny_params(prompt=prompt.lower(), negative_prompt="flat")
    found = draw(model, params)
    assert far(found, oracle(tiny_model, folder, params)) <= 1
    assert far(found, draw(model, tiny_params(prompt="a cat", negative_prompt="red"))) > 2
    assert np.array_equal(draw(model, tiny_params(prompt=prompt, negative_prompt="Flat")), found)


def test_an_embedding_is_part_of_no_other_word(model: LatentDiffusion) -> None:
    split = model._chunker.split
    vectors = [
        sum(token.vector is not None for token in split(text, PromptSyntax.PLAIN).chunks[0])
        for text in ("moody", "moodyish", "a (moody:1.2) cat", "moody flat")
    ]
    assert vectors == [3, 0, 3, 4]


def test_what_there_is_is_told(model: LatentDiffusion) -> None:
    told = {adapter.name: adapter.trigger_words for adapter in model.info.adapters}
    assert set(told) == {"ink", "oil", "old", "edges", "words"}
    assert told["ink"] == ("cat", "inky")
    assert model.info.embeddings == ("flat", "moody")


def test_equal_sets_share_weights_and_others_keep_theirs(model: LatentDiffusion) -> None:
    one = model.prepare(tiny_params(loras=BOTH), 0)
    other = model.prepare(tiny_params(loras=BOTH[::-1]), 0)
    assert one.adapters == other.adapters
    runtime: Any = model._adapters.runtime(one.adapters)
    base: Any = model.runtime
    shared = {id(weight) for weight in base.unet.parameters()}
    own = [weight for weight in runtime.unet.parameters() if id(weight) not in shared]
    assert 0 < len(own) < len(shared)
    plain = model.prepare(tiny_params(loras=(Lora("ink", 0.0),)), 0)
    assert plain.adapters == ()


def assert_company_changes_nothing(
    model: LatentDiffusion, atol: float, loras: tuple[Lora, ...] = INK
) -> None:
    """Requests of one adapter set, eight rows together."""
    company = [
        tiny_params(loras=loras, seed=1),
        tiny_params(loras=loras, seed=2, scheduler="euler_ancestral", prompt="moody cat"),
        tiny_params(loras=loras, seed=3, scheduler="tcd", negative_prompt="flat"),
        tiny_params(loras=loras, seed=4, guidance_scale=3.0, prompt="the tree"),
    ]
    alone = [model.prepare(params, 0) for params in company]
    for trajectory in alone:
        finish(model, trajectory)
    together = [model.prepare(params, 0) for params in company]
    assert sum(trajectory.num_rows for trajectory in together) == 8
    while together[0].step_index < together[0].num_evaluations:
        assert model.denoise_step(together) == [None] * 4
    for own, shared in zip(alone, together, strict=True):
        torch.testing.assert_close(own.latents, shared.latents, rtol=0, atol=atol)


def test_company_of_eight_rows_changes_no_bit(load: Callable[..., LatentDiffusion]) -> None:
    assert_company_changes_nothing(load(dtype="bfloat16"), atol=0)


def test_openvino_draws_what_torch_draws(
    load: Callable[..., LatentDiffusion], model: LatentDiffusion
) -> None:
    ours = load(runtime="openvino")
    long = {"prompt": "the red (cat:1.3) " * 9, "prompt_syntax": PromptSyntax.A1111}
    with_text = {"loras": WITH_TEXT}
    for changes in (with_text, {"prompt": "a moody cat"}, {"clip_skip": 2}, long):
        params = tiny_params(**changes)
        assert far(draw(ours, params), draw(model, params)) <= 2, changes
    assert_company_changes_nothing(ours, atol=1e-3, loras=WITH_TEXT)
    scratch = ours._adapters._scratch
    assert len(list(scratch.iterdir())) == 1
    for built in ours._adapters.cache._values.values():
        built.value.release()
    assert list(scratch.iterdir()) == [], "what is evicted leaves no file"


def test_kohyas_alpha_counts_for_the_text_encoder(
    load: Callable[..., LatentDiffusion], folder: Path, tmp_path: Path
) -> None:
    tensors = load_file(folder / "words.safetensors")
    half = {n: one / 2 if n.endswith(".alpha") else one for n, one in tensors.items()}
    save_file(half, tmp_path / "words.safetensors")
    halved = draw(load(lora_dir=tmp_path), tiny_params(loras=(Lora("words", 1.0),)))
    assert far(halved, draw(load(), tiny_params(loras=(Lora("words", 0.5),)))) <= 1


def test_many_sets_stay_within_the_budget(load: Callable[..., LatentDiffusion]) -> None:
    model = load(adapter_memory_mb=1)
    cache = model._adapters.cache
    expected = draw(model, tiny_params(loras=INK))
    one = cache.num_bytes
    cache._budget_bytes = 4 * one
    for number in range(20):
        model.get_ready(tiny_params(loras=(Lora("ink", 0.05 * (number + 1)),)))
        assert cache.num_bytes <= 4 * one
    assert np.array_equal(draw(model, tiny_params(loras=INK)), expected)


def test_a_trajectory_outlives_the_weights_it_began_with(
    load: Callable[..., LatentDiffusion],
) -> None:
    model = load()
    expected = draw(model, tiny_params(loras=INK))
    trajectory = model.prepare(tiny_params(loras=INK), 0)
    model.denoise_step([trajectory])
    model._adapters.cache._budget_bytes = 0
    model.get_ready(tiny_params(loras=(Lora("oil"),)))
    finish(model, trajectory)
    assert np.array_equal(model.decode(trajectory).pixels, expected)


def test_files_come_and_go(tmp_path: Path, folder: Path, tiny_model: Path) -> None:
    model = load_tiny(tiny_model, lora_dir=tmp_path)
    assert model.info.adapters == ()

    def look() -> tuple[str, ...]:
        model._adapters._loras._looked_s = -10.0
        return model.info.loras

    shutil.copy(folder / "ink.safetensors", tmp_path / "mine.safetensors")
    assert look() == ("mine",)
    before: AdapterSet = model.prepare(tiny_params(loras=(Lora("mine"),)), 0).adapters
    shutil.copy(folder / "old.safetensors", tmp_path / "mine.safetensors")
    assert look() == ("mine",)
    assert model.prepare(tiny_params(loras=(Lora("mine"),)), 0).adapters != before
    (tmp_path / "mine.safetensors").unlink()
    assert look() == ()
    with pytest.raises(InvalidParams, match="mine is gone"):
        model.prepare(tiny_params(loras=(Lora("mine"),)), 0)


def test_a_lora_for_another_network_is_refused_in_a_sentence(
    tmp_path: Path, tiny_model: Path, model: LatentDiffusion
) -> None:
    networks: Networks = model.components.networks
    file = write_lora(tmp_path / "odd.safetensors", networks)
    renamed = {
        name.replace("_down_blocks_0", "_down_blocks_9"): one
        for name, one in load_file(file).items()
    }
    save_file(renamed, file)
    odd = load_tiny(tiny_model, lora_dir=tmp_path)
    with pytest.raises(InvalidParams, match="modules that this model doesn't have"):
        odd.get_ready(tiny_params(loras=(Lora("odd"),)))


@pytest.mark.parametrize(("part", "value"), [(".lora_up.", "nan"), (".alpha", "inf")])
def test_a_lora_of_other_than_numbers_is_refused(
    part: str, value: str, tmp_path: Path, model: LatentDiffusion
) -> None:
    networks: Networks = model.components.networks
    file = write_lora(tmp_path / "odd.safetensors", networks, text=False)
    tensors = load_file(file)
    name = next(name for name in tensors if part in name)
    save_file({**tensors, name: torch.full_like(tensors[name], float(value))}, file)
    with pytest.raises(ModelFailed, match=r"odd: .* not all numbers"):
        merge(networks, [Scaled(file, 1.0)], HIDDEN)
