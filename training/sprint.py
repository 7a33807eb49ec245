"""The recipe on a GPU that is at hand for some minutes: every stage gets a share of the time.

Pictures are drawn beforehand (pool.py), as many as fit into the GPU's memory, and stay there.
"""

import logging
import random
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from training import (
    autoencoder,
    captions,
    decoder,
    joint,
    paths,
    pool,
    resident,
    rough,
    text_encoder,
    unet,
)
from training.checkpoints import Checkpoints
from training.schedule import Settings
from training.stages import Recipe
from training.tokenizer import tokens_of

log = logging.getLogger(__name__)

MEASURED = 4096
"""Pictures from which mean and scale of the latents are found."""
UPLOADED = 1024
"""Pictures that go to the GPU at a time."""
NOTHING_KNOWN = 8192
"""Texts that name nothing."""


@dataclass(frozen=True)
class Plan:
    """Settings of the stages, whose seconds are shares of the time, and how many pictures."""

    joint: Settings
    text_encoder: Settings
    unet: Settings
    decoder: Settings
    encoder: Settings
    rough: int
    """Scenes drawn anew for the decoder."""
    chunks: int
    """Of pool.CHUNK pictures."""


PLAN = Plan(
    joint=Settings(0, 64, 1e-3, seconds=0.20),
    text_encoder=Settings(0, 2048, 4e-3, seconds=0.26),
    unet=Settings(0, 1024, 2e-3, seconds=0.36),
    decoder=Settings(0, 64, 7e-4, level=0.2, seconds=0.14),
    encoder=Settings(0, 64, 1e-3, seconds=0.04),
    rough=32_768,
    chunks=256,
)


class Sprint:
    """All stages on one GPU, with checkpoints in the recipe's cache."""

    def __init__(self, recipe: Recipe, seconds: float, processes: int, plan: Plan = PLAN) -> None:
        self.recipe, self.seconds, self.plan = recipe, seconds, plan
        self.device = recipe.device
        self.filling = pool.Filling(
            recipe.sprites,
            recipe.names,
            recipe.words,
            recipe.nothing(),
            chunks=self.plan.chunks,
            processes=processes,
        )
        """Forked processes, which have to exist before CUDA is used."""

    def _timed(self, settings: Settings) -> Settings:
        assert settings.seconds is not None
        return settings.lasting(settings.seconds * self.seconds)

    @cached_property
    def unet_training(self) -> unet.Training:
        model = unet.build().to(self.device)
        settings, file = self._timed(self.plan.unet), self.recipe.checkpoint("unet")
        return unet.Training(model, settings, file, on_gpu=True)

    def run(self, *, early: bool = False) -> None:
        """Train all stages; if `early`, on those pictures that are drawn so far."""
        self.unet_training.warm_up()
        drawn = self.filling.finish(early=early)
        self.pool = pool.Pool(*(self._uploaded(part) for part in drawn.parts()))
        self.train_autoencoder()
        self.train_text_encoder()
        self.train_unet()
        self.train_decoder()
        self.train_encoder()

    def _uploaded(self, part: Tensor) -> Tensor:
        there = torch.empty(part.shape, dtype=part.dtype, device=self.device)
        for start in range(0, len(part), UPLOADED):
            there[start : start + UPLOADED] = part[start : start + UPLOADED].to(self.device)
        return there

    @cached_property
    def pictures(self) -> resident.Pictures:
        return resident.Pictures(self.pool.pictures)

    def train_autoencoder(self) -> None:
        settings = self._timed(self.plan.joint)
        self.small = self.recipe.small_autoencoder().train().to(self.device)
        self.vae = decoder.build().to(self.device)
        joint.train(self.small, self.vae, self.pictures.batches(settings.batch), settings)
        found = resident.encoded(self.small.encoder, self.pool.pictures[:MEASURED]).float()
        scale, mean = torch.std_mean(found, dim=(0, 2, 3))
        autoencoder.fold_normalisation(self.small.encoder, self.vae.decoder, mean, scale)
        paths.save_atomically(
            {"model": self.small.state_dict()}, self.recipe.checkpoint("autoencoder")
        )
        self.latents = resident.encoded(self.small.encoder, self.pool.pictures)

    @cached_property
    def lessons(self) -> resident.Lessons:
        typed = captions.Captions(self.recipe.names, random.Random(11))
        texts = [typed.nothing_known() for _ in range(NOTHING_KNOWN)]
        tokens = tokens_of(self.recipe.words, texts).to(self.device, self.pool.tokens.dtype)
        return resident.Lessons(self.pool, self.latents, tokens)

    def train_text_encoder(self) -> None:
        encoder = text_encoder.TextEncoder(self.recipe.words).to(self.device)
        settings, file = self._timed(self.plan.text_encoder), self.recipe.checkpoint("text_encoder")
        text_encoder.Training(encoder, settings, file).run(self.lessons)

    def train_unet(self) -> None:
        self.unet_training.run(self.lessons, self.recipe.reader())

    def train_decoder(self) -> None:
        model = unet.finished(self.recipe.checkpoint("unet")).to(self.device)
        count = min(self.plan.rough, len(self.pool))
        drawn = rough.drawn_anew(
            model,
            self.recipe.reader(),
            self.latents[:count],
            self.pool.tokens[:count, 0].long(),
            self.plan.unet.batch // 2,
        )
        settings, file = self._timed(self.plan.decoder), self.recipe.checkpoint("decoder")
        pairs = resident.Renderings(self.pool.pictures, self.latents, drawn, decoder.ROUGH)
        decoder.Training(self.vae, settings, file).run(pairs)

    def train_encoder(self) -> None:
        settings = self._timed(self.plan.encoder)
        images = self.pictures.batches(settings.batch)
        decoder.distil_encoder(self.vae, self.small, images, settings)
        file = self.recipe.checkpoint("encoder")
        Checkpoints(file, {"model": self.vae.encoder}, self.device).save()
