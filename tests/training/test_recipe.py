"""Every stage of the recipe in turn, on four things drawn here, with small networks."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from tests.training.small_networks import small_networks
from training import evaluate, judge, paths, prompts, recover, stages, strangers, unet
from training.__main__ import main
from training.checkpoints import weights
from training.pictures import to_tensor
from training.prompts import Prompt
from training.scenes import Scene, Scenes, centred, side_by_side
from training.schedule import Settings
from training.sprites import Sprites
from training.stages import Plan, Recipe

FEW = Settings(samples=8, batch=4, learning_rate=1e-3)
PLAN = Plan(
    first_round=FEW,
    second_round=FEW,
    text_encoder=FEW,
    unet=replace(FEW, samples=16),
    decoder=replace(FEW, batch=2, samples=4),
    encoder=replace(FEW, batch=2, samples=4),
    judge=replace(FEW, samples=32, batch=16),
    shards=2,
    rough=4,
)
CPU = torch.device("cpu")


@pytest.fixture(name="small_networks")
def all_small(monkeypatch: pytest.MonkeyPatch, sprites: Sprites, tmp_path: Path) -> None:
    small_networks(monkeypatch)
    monkeypatch.setattr(evaluate, "SEEN", 16)
    monkeypatch.setattr(evaluate, "STEPS", 2)
    monkeypatch.setattr(evaluate, "SEEDS", 2)
    some = strangers.read()[:8]
    monkeypatch.setattr(strangers, "read", lambda: some)
    monkeypatch.setattr(paths, "PROMPTS", tmp_path / "prompts.json")
    pair = Scene(side_by_side(centred(0), centred(1)), "red", "pair")
    told = Prompt("a ball and a box on a red background", 5, pair)
    prompts.write([prompts.make(sprites.things)[0], told])


def recipe(sprites: Sprites, cache: Path, plan: Plan = PLAN) -> Recipe:
    cache.mkdir(exist_ok=True)
    made = Recipe(plan, CPU, cache)
    made.sprites = sprites
    return made


@pytest.mark.timeout(900)  # some seconds of work, but cores may be shared
@pytest.mark.usefixtures("small_networks")
def test_every_stage_in_turn(sprites: Sprites, tmp_path: Path) -> None:
    made, folder = recipe(sprites, tmp_path / "cache"), tmp_path / "model"
    made.run(list(stages.STAGES)[:-2])
    assert made.encoded().latents.float().std() == pytest.approx(1, abs=0.15)
    assert made.samples() == 16

    before = weights(made.checkpoint("unet"))
    again = recipe(sprites, tmp_path / "cache")
    again.run(("text_encoder", "unet"))  # complete: nothing is trained further
    after = weights(again.checkpoint("unet"))
    assert all(torch.equal(before[name], after[name]) for name in before)

    made.export_model(folder)
    pipe = StableDiffusionPipeline.from_pretrained(folder)
    assert evaluate.Artist(pipe).draw(["a ball"], [1])[0].shape == (256, 256, 3)
    known = json.loads((folder / "abilities.json").read_text("utf-8"))
    assert [thing["name"] for thing in known["things"]] == ["ball", "box", "hill", "bar"]
    assert known["sizes"] == [{"width": 256, "height": 256}]

    made.evaluate_model(folder)
    numbers = json.loads((folder / "evaluation.json").read_text("utf-8"))
    assert numbers["samples"] == 16
    assert numbers["picture_db"] > 0
    assert numbers["strangers"] == 8
    known = json.loads((folder / "abilities.json").read_text("utf-8"))
    assert known["pairs_right"] == round(numbers["both_named"], 2)
    card = (folder / "README.md").read_text("utf-8")
    assert f"{numbers['picture_db']:.1f} dB" in card

    recovered = tmp_path / "recovered"
    recovered.mkdir()
    recover.recover(folder, recovered)
    averaged = torch.load(made.checkpoint("unet"), weights_only=True)["averaged"]
    found = weights(recovered / "unet.pt")
    assert all(torch.allclose(averaged[name], found[name], atol=1e-2) for name in averaged)
    encoder = weights(made.checkpoint("text_encoder"))
    found = weights(recovered / "text_encoder.pt")
    assert all(torch.allclose(encoder[name], found[name], atol=1e-2) for name in encoder)
    longer = replace(PLAN, unet=replace(PLAN.unet, samples=20))
    goes_on = recipe(sprites, recovered, longer)
    goes_on.run(("latents", "unet"))  # from recovered weights
    assert goes_on.samples() == 20


@pytest.mark.usefixtures("small_networks")
def test_an_interrupted_stage_goes_on(sprites: Sprites, tmp_path: Path) -> None:
    made = recipe(sprites, tmp_path)
    made.run(("autoencoder", "latents", "text_encoder"))
    longer = replace(PLAN, text_encoder=replace(PLAN.text_encoder, samples=16))
    state = torch.load(made.checkpoint("text_encoder"), weights_only=True)
    assert state["clock"]["samples"] == 8
    recipe(sprites, tmp_path, longer).run(("text_encoder",))
    state = torch.load(made.checkpoint("text_encoder"), weights_only=True)
    assert state["clock"]["samples"] == 16
    assert state["clock"]["steps"] == 4


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("small_networks")
def test_mild_guidance_and_a_traced_unet_train(sprites: Sprites, tmp_path: Path) -> None:
    """As on a GPU, but for the compiler's last step: what it traces is what the eager UNet does."""
    made = recipe(sprites, tmp_path)
    made.run(("autoencoder", "latents", "text_encoder"))
    reader, told = made.reader(), next(made.all_lessons().batches(4, 0, CPU))
    run = unet.Training(unet.build(), PLAN.unet, tmp_path / "unet.pt")
    batch = reader.noised(told)
    eager = run.predict(batch.noisy, batch.steps, batch.tokens)
    traced = torch.compile(run._predict, backend="eager")
    for mine, theirs in zip(eager, traced(batch.noisy, batch.steps, batch.tokens), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)
    run.clock.samples = 14  # late: the aim is near what is predicted for no text
    loss, _ = run.step(batch, reader.untold)
    assert loss < 0.5


def test_a_command_that_makes_no_sense_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["all", "unet"], ["recover", "export"]):
        monkeypatch.setattr("sys.argv", ["training", *words])
        with pytest.raises(SystemExit):
            main()
        assert "stand alone" in capsys.readouterr().err


def test_the_judge_names_what_it_is_shown(sprites: Sprites, tmp_path: Path) -> None:
    settings = Settings(samples=800, batch=32, learning_rate=3e-3)
    sprites = Sprites(sprites.things, judge.SIDE)
    model = judge.train(sprites, tmp_path / "judge.pt", settings)
    unseen = Scenes(sprites.things, random.Random(99))
    rows = [index % len(sprites.things) for index in range(40)]
    pictures = [sprites.render(unseen.training_single(row)) for row in rows]
    assert judge.accuracy(model, judge.whole(to_tensor(pictures)), rows)[0] > 0.6
