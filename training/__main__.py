"""`python -m training STAGE`: one stage of the recipe, or `all` of them in order.

Every stage goes on from what the cache holds and does nothing once it is complete. `recover` fills
an empty cache with the weights that ship, so that training goes on from them.
"""

import argparse
import json
import logging
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline

from training import (
    autoencoder,
    captions,
    card,
    classifier,
    denoiser,
    evaluate,
    export,
    meanings,
    paths,
    recover,
    vocabulary,
    words,
)
from training.data import Scene, Sprites, contact_sheet, download, read_things

log = logging.getLogger(__name__)

VARIANTS = 256
"""Scenes of each thing whose latents the denoiser learns from."""
MINUTES = {
    "first round": 19.0,
    "second round": 14.0,
    "codes": 5.0,
    "denoiser": 110.0,
    "words": 40.0,
    "decoder": 160.0,
}
"""Training times on two cores."""
JUDGED = 24_000
"""Renderings that the evaluation's classifier is trained on."""
STAGES = ("recover", "autoencoder", "denoiser", "words", "decoder", "export", "evaluate", "all")


def load_sprites() -> Sprites:
    return Sprites(read_things(download()))


def checkpoint(stage: str) -> Path:
    return paths.cache() / f"{stage}.pt"


def train_autoencoder(sprites: Sprites, minutes: float | None) -> None:
    """Two rounds, each with its own rise and fall of the learning rate."""
    model = autoencoder.build(autoencoder.THIN)
    first = autoencoder.Settings(minutes or MINUTES["first round"])
    autoencoder.train(model, sprites, first, checkpoint("first_round"))
    second = autoencoder.Settings(
        minutes or MINUTES["second round"], learning_rate=1e-3, squared=1.0
    )
    autoencoder.train(model, sprites, second, checkpoint("autoencoder"))


def load_autoencoder(sprites: Sprites) -> AutoencoderTiny:
    """The frozen encoder with standard latents, and the decoder that ships, as far as it is."""
    file = checkpoint("decoder")
    if not file.exists():
        thin = autoencoder.build(autoencoder.THIN)
        thin.load_state_dict(torch.load(checkpoint("autoencoder"), weights_only=True)["model"])
        latents = denoiser.encode(thin, sprites, 4).latents.float()
        scale, mean = torch.std_mean(latents, dim=(0, 2, 3))
        export.fold_normalisation(thin, mean, scale)
        wide = autoencoder.widened(thin, autoencoder.SHIPPED)
        paths.save_atomically({"model": wide.state_dict()}, file)
    vae = autoencoder.build(autoencoder.SHIPPED)
    vae.load_state_dict(torch.load(file, weights_only=True)["model"])
    return vae


def train_decoder(sprites: Sprites, minutes: float | None) -> None:
    """On whole pictures, by their PSNR too; the encoder stays, and so do the latents."""
    settings = autoencoder.Settings(
        minutes or MINUTES["decoder"],
        batch=6,
        crop=128,
        learning_rate=7e-4,
        level=0.5,
        decoder_only=True,
        decibels=0.1,
    )
    autoencoder.train(load_autoencoder(sprites), sprites, settings, checkpoint("decoder"))


def load_latents(sprites: Sprites) -> denoiser.Encoded:
    file = checkpoint("latents")
    if not file.exists():
        encoded = denoiser.encode(load_autoencoder(sprites), sprites, VARIANTS)
        scenes = [vars(scene) for scene in encoded.scenes]
        paths.save_atomically({"scenes": scenes, "latents": encoded.latents}, file)
    state = torch.load(file, weights_only=True)
    return denoiser.Encoded([Scene(**scene) for scene in state["scenes"]], state["latents"])


def learn_codes(sprites: Sprites, encoded: denoiser.Encoded) -> meanings.Meanings:
    settings = meanings.Settings(MINUTES["codes"])
    names = captions.names(sprites.things)
    return meanings.learn_codes(encoded.scenes, encoded.latents, names, settings, paths.cache())


def train_denoiser(sprites: Sprites, minutes: float | None) -> None:
    names, encoded = captions.names(sprites.things), load_latents(sprites)
    codes = learn_codes(sprites, encoded)
    settings = denoiser.Settings(minutes or MINUTES["denoiser"])
    run = denoiser.Training(denoiser.build_unet(), settings, checkpoint("denoiser"))
    run.run(denoiser.Batches(encoded, names, codes, seed=run.clock.count))


def train_words(sprites: Sprites, minutes: float | None) -> None:
    names, encoded = captions.names(sprites.things), load_latents(sprites)
    tokenizer = vocabulary.build(names, paths.cache() / "tokenizer")
    lessons = words.Lessons(
        words.Words(tokenizer),
        tokenizer,
        learn_codes(sprites, encoded),
        meanings.Settings(minutes or MINUTES["words"], batch=128, learning_rate=4e-3),
        checkpoint("words"),
    )
    lessons.run(encoded.scenes, names)


def export_model(sprites: Sprites) -> None:
    """The averaged weights and the latest decoder into the folder that ships."""
    tokenizer = vocabulary.build(captions.names(sprites.things), paths.cache() / "tokenizer")
    reader, unet = words.Words(tokenizer), denoiser.build_unet()
    reader.load_state_dict(torch.load(checkpoint("words"), weights_only=True)["model"])
    unet.load_state_dict(torch.load(checkpoint("denoiser"), weights_only=True)["averaged"])
    pipe = export.pipeline(unet, reader, load_autoencoder(sprites), tokenizer)
    export.save(pipe, paths.MODEL)
    recover.save_directions(learn_codes(sprites, load_latents(sprites)).directions, paths.MODEL)
    log.info("%s: %.1f MB", paths.MODEL, export.size_mb(paths.MODEL))


def _samples() -> int:
    """How many the denoiser has learned from; without its checkpoint, as the last report says."""
    if checkpoint("denoiser").exists():
        return int(torch.load(checkpoint("denoiser"), weights_only=True)["samples"])
    return int(json.loads((paths.MODEL / "evaluation.json").read_text())["samples"])


def evaluate_model(sprites: Sprites) -> None:
    """Score the folder that ships; numbers, sheets and model card go into it."""
    pipe = StableDiffusionPipeline.from_pretrained(paths.MODEL)
    judge = classifier.train(sprites, checkpoint("classifier"), JUDGED)
    seen = denoiser.random_scenes(sprites.things, VARIANTS)
    numbers = evaluate.score(pipe, judge, sprites, seen, evaluate.read_prompts())
    numbers["things"] = len(sprites.things)
    numbers["things_drawn"] = evaluate.things_drawn(pipe, judge, sprites)
    numbers["psnr_db"] = evaluate.reconstruction(pipe, sprites)
    numbers["samples"] = _samples()
    numbers["size_mb"] = export.size_mb(paths.MODEL)
    numbers["seconds_torch"] = evaluate.seconds_per_picture(pipe)
    shown = evaluate.draw(pipe, list(evaluate.SHOWN), list(range(len(evaluate.SHOWN))))
    contact_sheet(shown, 8).save(paths.MODEL / "sheet.png", optimize=True)
    varied = evaluate.vary(pipe)
    numbers["diversity"] = evaluate.diversity(varied)
    contact_sheet(varied, 8).save(paths.MODEL / "variety.png", optimize=True)
    evaluate.report(numbers, paths.MODEL)
    card.write(json.loads((paths.MODEL / "evaluation.json").read_text()), paths.MODEL)
    log.info("%s", numbers)


def run(stage: str, minutes: float | None) -> None:
    if stage == "recover":
        recover.recover(paths.MODEL, paths.cache())
        return
    sprites = load_sprites()
    if stage in ("autoencoder", "all"):
        train_autoencoder(sprites, minutes)
    if stage in ("denoiser", "all"):
        train_denoiser(sprites, minutes)
    if stage in ("words", "all"):
        train_words(sprites, minutes)
    if stage in ("decoder", "all"):
        train_decoder(sprites, minutes)
    if stage in ("export", "all"):
        export_model(sprites)
    if stage in ("evaluate", "all"):
        evaluate_model(sprites)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--minutes", type=float, help="how long to train this stage in all")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    run(arguments.stage, arguments.minutes)


if __name__ == "__main__":
    main()
