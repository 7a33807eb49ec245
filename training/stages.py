"""The stages of the recipe, each from checkpoints to a checkpoint."""

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline
from transformers import CLIPTokenizer

from training import (
    abilities,
    autoencoder,
    captions,
    card,
    decoder,
    evaluate,
    export,
    judge,
    latents,
    lessons,
    packages,
    paths,
    prompts,
    recover,
    rough,
    text_encoder,
    tokenizer,
    unet,
)
from training.checkpoints import weights
from training.schedule import Settings
from training.sprites import Sprites
from training.things import read_things

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """How long each stage trains, and on how much data."""

    first_round: Settings
    second_round: Settings
    text_encoder: Settings
    unet: Settings
    decoder: Settings
    encoder: Settings
    judge: Settings
    shards: int
    rough: int
    """Scenes drawn anew for the decoder."""

    def scaled(self, share: float) -> "Plan":
        """A copy with this share of the samples."""
        parts = ((field.name, getattr(self, field.name)) for field in fields(self))
        fewer: dict[str, Any] = {
            name: replace(part, samples=round(part.samples * share))
            for name, part in parts
            if isinstance(part, Settings)
        }
        return replace(self, **fewer)


CPU = Plan(
    first_round=Settings(80_000, 16, 2e-3, level=0.0),
    second_round=Settings(60_000, 16, 1e-3, level=0.0),
    text_encoder=Settings(2_000_000, 32, 3e-3),
    unet=Settings(1_200_000, 16, 1e-3),
    decoder=Settings(60_000, 6, 7e-4),
    encoder=Settings(20_000, 8, 1e-3),
    judge=judge.SETTINGS,
    shards=8,
    rough=8192,
)
"""For two cores: some eighteen hours."""


class Recipe:
    """All stages on one device, with checkpoints in the cache."""

    def __init__(self, plan: Plan, device: torch.device, cache: Path | None = None) -> None:
        self.plan, self.device = plan, device
        self.cache = paths.cache() if cache is None else cache

    def run(self, stages: Iterable[str]) -> None:
        for stage in stages:
            log.info("stage %s", stage)
            STAGES[stage](self)

    def checkpoint(self, name: str) -> Path:
        return self.cache / f"{name}.pt"

    @cached_property
    def sprites(self) -> Sprites:
        return Sprites(read_things(packages.download()))

    @cached_property
    def small_sprites(self) -> Sprites:
        return Sprites(self.sprites.things, autoencoder.SIZE)

    @cached_property
    def names(self) -> list[captions.Names]:
        return captions.names(self.sprites.things)

    @cached_property
    def words(self) -> CLIPTokenizer:
        return tokenizer.build(self.names, self.cache / "tokenizer")

    def small_autoencoder(self) -> AutoencoderTiny:
        model = autoencoder.build()
        model.load_state_dict(weights(self.checkpoint("autoencoder")))
        return model.eval()

    def train_autoencoder(self) -> None:
        """Train in two rounds, each with its own learning rate schedule."""
        if self.checkpoint("autoencoder").exists():
            return
        model, sprites, device = autoencoder.build(), self.small_sprites, self.device
        rounds = (
            (self.plan.first_round, autoencoder.Weights(), "first_round"),
            (self.plan.second_round, autoencoder.Weights(squared=1.0), "second_round"),
        )
        for settings, parts, name in rounds:
            autoencoder.train(model, sprites, settings, parts, self.checkpoint(name), device)
        model.cpu()
        scenes = latents.random_scenes(sprites, min(4096, latents.SHARD), seed=1)
        scale, mean = torch.std_mean(
            latents.encode(model.encoder, sprites, scenes).latents.float(), dim=(0, 2, 3)
        )
        autoencoder.fold_normalisation(model.encoder, model.decoder, mean, scale)
        paths.save_atomically({"model": model.state_dict()}, self.checkpoint("autoencoder"))

    def encode_scenes(self) -> None:
        encoder = self.small_autoencoder().encoder
        encoder.to(memory_format=torch.channels_last)
        latents.write_shards(encoder, self.small_sprites, self.plan.shards, self.cache / "latents")

    def encoded(self) -> latents.Encoded:
        return latents.read_shards(self.cache / "latents")

    def nothing(self) -> int:
        """The thing that is drawn for a text that names nothing."""
        labels = [thing.label for thing in self.sprites.things]
        return labels.index(lessons.KNOWS_NOTHING) if lessons.KNOWS_NOTHING in labels else 0

    def all_lessons(self) -> lessons.Lessons:
        return lessons.Lessons(self.encoded(), self.names, self.words, self.nothing())

    def train_text_encoder(self) -> None:
        encoder = text_encoder.TextEncoder(self.words).to(self.device)
        run = text_encoder.Training(
            encoder, self.plan.text_encoder, self.checkpoint("text_encoder")
        )
        run.run(self.all_lessons())

    def finished_text_encoder(self) -> text_encoder.TextEncoder:
        encoder = text_encoder.TextEncoder(self.words)
        encoder.load_state_dict(weights(self.checkpoint("text_encoder")))
        return encoder.eval()

    def reader(self) -> unet.Reader:
        return unet.Reader(self.finished_text_encoder().to(self.device), self.words)

    def train_unet(self) -> None:
        run = unet.Training(unet.build(), self.plan.unet, self.checkpoint("unet"))
        run.run(self.all_lessons(), self.reader())

    def vae(self) -> AutoencoderTiny:
        model = decoder.build()
        if self.checkpoint("decoder").exists():
            model.load_state_dict(weights(self.checkpoint("decoder")))
        else:
            decoder.start_from(model, self.small_autoencoder())
        if self.checkpoint("encoder").exists():
            model.encoder.load_state_dict(weights(self.checkpoint("encoder")))
        return model

    def train_decoder(self) -> None:
        """Train on latents from the encoder and from the denoiser."""
        drawn = None
        if self.checkpoint("unet").exists():
            model = unet.finished(self.checkpoint("unet")).to(self.device)
            encoded, count = self.encoded(), self.plan.rough
            drawn = rough.draw_anew(model, self.reader(), encoded, self.names, count)
        run = decoder.Training(
            self.vae().to(self.device), self.plan.decoder, self.checkpoint("decoder")
        )
        run.run(decoder.Renderings(self.sprites, self.encoded(), drawn))

    def train_encoder(self) -> None:
        """Train the shipped encoder to give the small one's latents."""
        if self.checkpoint("encoder").exists():
            return
        vae, settings = self.vae(), self.plan.encoder
        pictures = decoder.random_pictures(self.sprites, settings.batch)
        decoder.distil_encoder(vae, self.small_autoencoder(), pictures, settings)
        paths.save_atomically({"model": vae.encoder.state_dict()}, self.checkpoint("encoder"))

    def export_model(self, folder: Path = paths.MODEL) -> None:
        """Write the averaged weights and the latest decoder to the shipped folder."""
        vae, small = self.vae(), self.small_autoencoder()
        model = unet.finished(self.checkpoint("unet"))
        pipe = export.pipeline(model, self.finished_text_encoder(), vae, self.words)
        export.save(pipe, folder)
        recover.save_encoder(small, folder)
        abilities.write(self.sprites.things, folder)
        log.info("%s: %.1f MB", folder, export.size_mb(folder))

    def samples(self) -> int:
        """Number of samples the UNet was trained on, from its checkpoint."""
        file = self.checkpoint("unet")
        state = torch.load(file, weights_only=True) if file.exists() else {}
        return int(state.get("clock", {}).get("samples", 0))

    def evaluate_model(self, folder: Path = paths.MODEL) -> None:
        """Evaluate the shipped folder; writes numbers, contact sheets and model card into it."""
        pipe = StableDiffusionPipeline.from_pretrained(folder)
        size = pipe.unet.config.sample_size * pipe.vae_scale_factor
        sprites = Sprites(self.sprites.things, size)
        model = judge.train(sprites, self.checkpoint("judge"), self.plan.judge)
        numbers = evaluate.score(pipe, model, sprites, prompts.read(), folder)
        numbers["samples"] = self.samples()
        numbers["size_mb"] = export.size_mb(folder)
        evaluate.report(numbers, folder)
        abilities.note_pairs(numbers["both_named"], folder)
        card.write(json.loads((folder / "evaluation.json").read_text("utf-8")), folder)
        log.info("%s", numbers)


STAGES: dict[str, Callable[[Recipe], None]] = {
    "autoencoder": Recipe.train_autoencoder,
    "latents": Recipe.encode_scenes,
    "text_encoder": Recipe.train_text_encoder,
    "unet": Recipe.train_unet,
    "decoder": Recipe.train_decoder,
    "encoder": Recipe.train_encoder,
    "export": Recipe.export_model,
    "evaluate": Recipe.evaluate_model,
}
