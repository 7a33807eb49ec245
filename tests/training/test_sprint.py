"""The recipe for a GPU, on the CPU: every stage by the clock, from pictures drawn beforehand."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from tests.training.small_networks import small_networks
from training import (
    arithmetic,
    autoencoder,
    captions,
    evaluate,
    paths,
    pool,
    resident,
    sprint,
    stages,
    text_encoder,
    unet,
)
from training.latents import random_scenes
from training.pictures import to_tensor
from training.schedule import Clock, Settings
from training.sprites import Sprites
from training.tokenizer import tokens_of

CPU = torch.device("cpu")
PLAN = sprint.Plan(
    joint=Settings(0, 2, 1e-3, seconds=0.2),
    text_encoder=Settings(0, 4, 1e-3, seconds=0.2),
    unet=Settings(0, 4, 1e-3, seconds=0.3),
    decoder=Settings(0, 2, 1e-3, seconds=0.2),
    encoder=Settings(0, 2, 1e-3, seconds=0.1),
    rough=4,
    chunks=2,
)


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch, sprites: Sprites, tmp_path: Path) -> stages.Recipe:
    small_networks(monkeypatch)
    monkeypatch.setattr(evaluate, "STEPS", 2)
    monkeypatch.setattr(pool, "CHUNK", 8)
    monkeypatch.setattr(pool, "CAPTIONS", 3)
    monkeypatch.setattr(sprint, "NOTHING_KNOWN", 64)
    made = stages.Recipe(stages.CPU, CPU, tmp_path)
    made.sprites = sprites
    return made


def filled(recipe: stages.Recipe, chunks: int = 2) -> pool.Pool:
    return pool.Filling(
        recipe.sprites, recipe.names, recipe.words, 0, chunks=chunks, processes=2
    ).finish()


def test_a_pool_holds_scenes_with_their_captions(recipe: stages.Recipe) -> None:
    found = filled(recipe)
    scenes = [*random_scenes(recipe.sprites, 8, 0), *random_scenes(recipe.sprites, 8, 1)]
    drawn = torch.stack([torch.from_numpy(recipe.sprites.render(scene)) for scene in scenes])
    assert torch.equal(found.pictures, drawn)
    assert found.tokens.shape == (16, 3, 40)
    typed = captions.Captions(recipe.names, random.Random("captions 0"))
    texts = [typed(scenes[0]) for _ in range(3)]
    assert torch.equal(found.tokens[0].long(), tokens_of(recipe.words, texts))
    assert found.is_told[0].tolist() == [bool(text) for text in texts]


def test_a_pool_that_is_stopped_early_is_whole(recipe: stages.Recipe) -> None:
    filling = pool.Filling(recipe.sprites, recipe.names, recipe.words, 0, chunks=500, processes=1)
    while not filling._taken.value:
        pass
    found = filling.finish(early=True)
    assert 8 <= len(found) < 4000
    assert found.pictures.flatten(1).any(dim=1).all()


def test_batches_are_drawn_from_the_pool(recipe: stages.Recipe) -> None:
    found = filled(recipe)
    latents = torch.arange(16.0).view(16, 1, 1, 1).expand(16, 24, 8, 8).bfloat16()
    found.is_blank[:] = False
    found.is_blank[5] = True
    unknown = torch.full((4, 40), 7, dtype=torch.int16)
    lessons = resident.Lessons(found, latents, unknown)
    told = next(lessons.batches(200, 0, CPU))
    for tokens, picture in zip(told.tokens, told.latents, strict=True):
        row = int(picture[0, 0, 0])
        if (tokens == 7).all():
            assert row == 5
        else:
            assert (tokens == found.tokens[row].long()).all(dim=1).any()
    assert (told.tokens == 7).all(dim=1).sum() == 6
    images = next(resident.Pictures(found.pictures).batches(3))
    whole = to_tensor([picture.numpy() for picture in found.pictures])
    assert all(any(torch.equal(image, one) for one in whole) for image in images)


def test_seconds_count_where_they_are_given() -> None:
    clock = Clock(Settings(0, 4, 1.0, level=0.0).lasting(10))
    clock.seconds = 5.0
    assert clock.share == 0.5
    assert clock.settings.rate(clock.share) == pytest.approx(0.5)
    clock.seconds = 11.0
    assert clock.is_over()


@pytest.mark.timeout(900)
def test_every_stage_by_the_clock(
    recipe: stages.Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Compiling takes longer than all the rest; the next tests trace, and meet no compiler.
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    paths.save_atomically(
        {"model": autoencoder.build().state_dict()}, recipe.checkpoint("autoencoder")
    )
    sprint.Sprint(recipe, 1.0, 1, PLAN).run()
    folder = tmp_path / "model"
    recipe.export_model(folder)
    pipe = StableDiffusionPipeline.from_pretrained(folder)
    assert evaluate.Artist(pipe).draw(["a ball"], [1])[0].shape == (256, 256, 3)


@pytest.mark.timeout(900)
def test_after_the_warm_up_nothing_is_compiled(
    recipe: stages.Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(arithmetic, "has_native_bfloat16", lambda: False)  # a GPU is not asked
    found, encoder = (
        filled(recipe),
        autoencoder.build().encoder.to(memory_format=torch.channels_last),
    )
    latents = resident.encoded(encoder, found.pictures)
    lessons = resident.Lessons(found, latents, found.tokens[:2, 0])
    reader = unet.Reader(text_encoder.TextEncoder(recipe.words), recipe.words)
    run = unet.Training(unet.build(), PLAN.unet, tmp_path / "unet.pt", on_gpu=True)
    compiled: list[Any] = []

    def count(graph: Any, _: Any) -> Any:
        compiled.append(graph)
        return graph.forward

    run.predict = torch.compile(run._predict, backend=count)
    run.warm_up()
    assert compiled
    before = len(compiled)
    run.step(reader.noised(next(lessons.batches(4, 0, CPU))), reader.untold)
    assert len(compiled) == before


def test_a_unet_that_does_not_compile_trains_all_the_same(
    recipe: stages.Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(function: Any) -> Any:
        def compiled(*_: Any) -> Any:
            raise RuntimeError("no compiler")

        return compiled

    monkeypatch.setattr(torch, "compile", refuse)
    settings = replace(PLAN.unet, batch=2)
    run = unet.Training(unet.build(), settings, tmp_path / "unet.pt", on_gpu=True)
    run.warm_up()
    assert run.predict == run._predict
