"""Every stage of the recipe, on four things drawn here."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw

from training import (
    autoencoder,
    captions,
    classifier,
    denoiser,
    evaluate,
    export,
    meanings,
    recover,
    vocabulary,
    words,
)
from training.data import BACKGROUNDS, SIZE, Scene, Sprites, Thing, is_held_out, may_train
from training.muon import orthogonal

SECOND = 1 / 60
"""A training time in minutes."""


def draw_things(folder: Path) -> list[Thing]:
    """Four shapes on transparent ground, as the emoji are."""
    shapes: dict[str, Callable[[ImageDraw.ImageDraw], None]] = {
        "ball": lambda pen: pen.ellipse((8, 8, 248, 248), "tomato"),
        "box": lambda pen: pen.rectangle((20, 20, 236, 236), "steelblue"),
        "hill": lambda pen: pen.polygon([(128, 16), (240, 240), (16, 240)], "seagreen"),
        "bar": lambda pen: pen.rectangle((8, 100, 248, 156), "gold"),
    }
    things = []
    for label, shape in shapes.items():
        image = Image.new("RGBA", (256, 256))
        shape(ImageDraw.Draw(image))
        image.save(folder / f"{label}.png")
        file = str(folder / f"{label}.png")
        things.append(Thing(label, (f"round {label}",), (), True, False, file))
    return things


@pytest.fixture(scope="module")
def sprites(tmp_path_factory: pytest.TempPathFactory) -> Sprites:
    return Sprites(draw_things(tmp_path_factory.mktemp("things")))


def test_a_scene_is_rendered_in_its_colours(sprites: Sprites) -> None:
    picture = sprites.render(Scene(0, background="blue", tint="green"))
    assert picture.shape == (SIZE, SIZE, 3)
    assert evaluate.named(evaluate.background_of(picture)) == "blue"
    assert evaluate.nearest_tint(picture, 0, "blue", sprites) == "green"


def test_a_mirrored_scene_is_the_mirror_image(sprites: Sprites) -> None:
    plain, mirrored = sprites.render(Scene(2)), sprites.render(Scene(2, mirrored=True))
    assert (plain[:, ::-1] == mirrored).all()


def test_training_never_sees_the_pairs_that_are_held_out() -> None:
    thing = Thing("cat", (), (), True, False, "")
    held = [c for c in BACKGROUNDS if is_held_out("cat", c, "background")]
    assert all(not may_train(thing, Scene(0, background=colour)) for colour in held)


def test_the_prompts_ask_for_what_is_held_out() -> None:
    for prompt in evaluate.read_prompts():
        pairs = [(prompt.background, "background"), (prompt.tint, "object")]
        assert any(is_held_out(prompt.thing, c, part) for c, part in pairs if c), prompt


def test_a_caption_names_the_thing_and_its_colours(sprites: Sprites) -> None:
    names = captions.names(sprites.things)
    scene = Scene(1, background="teal", tint="red")
    told = [captions.caption(names, scene, random.Random(seed)) for seed in range(200)]
    texts = {each.text for each in told}
    assert "" in texts
    assert all("red" in text and "box" in text for text in texts if text)
    assert any("teal background" in text for text in texts)
    for each in told:
        mentions_it = any(word in each.text for word in captions.COLOUR_WORDS["teal"])
        assert each.background == ("teal" if mentions_it else None)


def test_what_a_caption_does_not_tell_has_a_code_of_its_own(sprites: Sprites) -> None:
    table = meanings.Meanings(len(sprites.things), size=600)
    rows = table.rows([captions.Caption(), captions.Caption("a box", thing=1, background="teal")])
    assert rows[0].tolist() == [4, 12, 11, 0, 0]
    assert rows[1].tolist() == [1, 7, 11, 0, 0]
    assert table(rows).shape == (2, meanings.CODE)


def test_a_vocabulary_is_learned_once(sprites: Sprites, tmp_path: Path) -> None:
    names = captions.names(sprites.things)
    first, again = (vocabulary.build(names, tmp_path) for _ in range(2))
    assert first.get_vocab() == again.get_vocab()
    assert first("a box on teal") == again("a box on teal")


def test_orthogonal_has_singular_values_near_one() -> None:
    values = torch.linalg.svdvals(orthogonal(torch.randn(2, 32, 64)))
    assert values.min() > 0.4
    assert values.max() < 1.4


def test_orthogonal_stays_finite_for_a_matrix_of_low_rank() -> None:
    low = torch.randn(1, 256, 2) @ torch.randn(1, 2, 512)
    assert torch.linalg.svdvals(orthogonal(low)).max() < 1.4


def test_a_wider_decoder_does_the_same_at_first() -> None:
    thin = autoencoder.build(autoencoder.Shape(16, (2, 1, 1, 0, 0)), width=16)
    wide = autoencoder.widened(thin, autoencoder.Shape(32, (3, 1, 2, 0, 0)))
    latents = torch.randn(2, autoencoder.CHANNELS, 8, 8)
    assert torch.allclose(wide.decoder(latents), thin.decoder(latents), atol=1e-5)
    first = wide.decoder.layers[3].conv[0].weight
    assert not torch.equal(first[:, :16], first[:, 16:])  # the copies can part


def test_halving_an_easy_pictures_error_gains_as_much_as_a_hard_ones() -> None:
    images = torch.zeros(2, 3, 8, 8)

    def nepers(easy: float, hard: float) -> float:
        restored = images + torch.tensor([easy, hard]).view(2, 1, 1, 1)
        plain, told = (autoencoder.Settings(1, decibels=weight) for weight in (0.0, 1.0))
        with_it = autoencoder.loss(restored, images, told)
        return float(with_it - autoencoder.loss(restored, images, plain))

    before = nepers(0.01, 0.2)
    assert before - nepers(0.005, 0.2) == pytest.approx(before - nepers(0.01, 0.1), rel=1e-3)
    assert before - nepers(0.005, 0.2) == pytest.approx(0.693, rel=1e-2)


def assert_near(weights: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> None:
    """Equal but for the rounding to float16."""
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        assert torch.allclose(value, others[name], atol=1e-2), name


@pytest.mark.timeout(900)  # a few seconds of work, but cores may be shared
def test_every_stage_in_turn(sprites: Sprites, tmp_path: Path) -> None:
    names = captions.names(sprites.things)
    tokenizer = vocabulary.build(names, tmp_path / "tokenizer")

    thin = autoencoder.build(autoencoder.Shape(16, (1, 1, 1, 1, 0)), width=16)
    quick = autoencoder.Settings(3 * SECOND, batch=2)
    autoencoder.train(thin, sprites, quick, tmp_path / "vae.pt")
    autoencoder.train(thin, sprites, quick, tmp_path / "vae.pt")  # resumes, and is complete
    vae = autoencoder.widened(thin, autoencoder.Shape(32, (2, 1, 1, 1, 0)))
    alone = autoencoder.Settings(
        SECOND, batch=2, crop=SIZE, level=0.5, decoder_only=True, decibels=0.1
    )
    autoencoder.train(vae, sprites, alone, tmp_path / "decoder.pt")

    encoded = denoiser.encode(vae, sprites, variants=4)
    scale, mean = torch.std_mean(encoded.latents.float(), dim=(0, 2, 3))
    export.fold_normalisation(vae, mean, scale)
    encoded = denoiser.encode(vae, sprites, variants=4)
    assert encoded.latents.float().std() == pytest.approx(1, abs=0.1)

    briefly = meanings.Settings(2 * SECOND, batch=8)
    codes, again = (
        meanings.learn_codes(encoded.scenes, encoded.latents, names, briefly, tmp_path)
        for _ in range(2)
    )
    assert torch.equal(codes.thing.weight, again.thing.weight)

    unet = denoiser.build_unet((32, 32, 32))
    settings = denoiser.Settings(4 * SECOND, batch=8, late_batch=8)
    run = denoiser.Training(unet, settings, tmp_path / "denoiser.pt")
    run.run(denoiser.Batches(encoded, names, codes, seed=0))
    resumed = denoiser.Training(unet, settings, tmp_path / "denoiser.pt")
    assert resumed.samples == run.samples > 0
    unet.load_state_dict(resumed.averaged)

    reader = words.Words(tokenizer)
    lessons = words.Lessons(reader, tokenizer, codes, briefly, tmp_path / "words.pt")
    lessons.run(encoded.scenes, names)
    assert words.Lessons(reader, tokenizer, codes, briefly, tmp_path / "words.pt").clock.is_over()

    export.save(export.pipeline(unet, reader, vae, tokenizer), tmp_path / "model")
    recover.save_directions(codes.directions, tmp_path / "model")
    pipe = StableDiffusionPipeline.from_pretrained(tmp_path / "model")
    judge = classifier.train(sprites, tmp_path / "classifier.pt", samples=128)
    prompts = [evaluate.Prompt("a red box on a teal background", 1, "box", "teal", "red")]
    numbers = evaluate.score(pipe, judge, sprites, encoded.scenes, prompts)
    assert numbers["prompts"] == 1
    assert evaluate.diversity(evaluate.vary(pipe, ("a ball",))) > 0

    numbers["samples"] = run.samples
    evaluate.report(numbers, tmp_path / "model")
    cache = tmp_path / "cache"
    cache.mkdir()
    recover.recover(tmp_path / "model", cache)
    assert vocabulary.build(names, cache / "tokenizer").get_vocab() == tokenizer.get_vocab()
    found = denoiser.Training(denoiser.build_unet((32, 32, 32)), settings, cache / "denoiser.pt")
    assert (found.clock.elapsed, found.samples) == (0, run.samples)
    assert_near(found.averaged, resumed.averaged)
    heard = words.Words(tokenizer)
    words.Lessons(heard, tokenizer, codes, briefly, cache / "words.pt")
    assert_near(heard.state_dict(), reader.state_dict())
    learned = meanings.learn_codes(encoded.scenes, encoded.latents, names, briefly, cache)
    assert_near(learned.directions.state_dict(), codes.directions.state_dict())
