"""Endless random batches of captions and the latents of their scenes."""

import random
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from training.captions import Captions, Names
from training.latents import Encoded
from training.scenes import LARGE, Scene
from training.tokenizer import tokens_of

KNOWS_NOTHING = "thinking face"
"""What is drawn for a text that names nothing: a clean picture of a thing, not a blur of all."""
NOTHING_KNOWN = 0.03
"""Share of such texts."""


class CaptionBatch(NamedTuple):
    """Token ids (n, MAX_TOKENS), whether each text is not empty (n,), latents (n, c, 8, 8)."""

    tokens: Tensor
    is_told: Tensor
    latents: Tensor

    def to(self, device: torch.device) -> "CaptionBatch":
        return CaptionBatch(*(part.to(device, non_blocking=True) for part in self))


class Source(Protocol):
    """Of endless batches."""

    def batches(self, batch: int, seed: int, device: torch.device) -> Iterator[CaptionBatch]: ...


class Lessons:
    """Training data of text encoder and UNet, with new captions for every batch."""

    def __init__(
        self, encoded: Encoded, names: list[Names], tokenizer: CLIPTokenizer, nothing: int
    ) -> None:
        self.encoded, self.names, self.tokenizer = encoded, names, tokenizer
        self.blank = [row for row, scene in enumerate(encoded.scenes) if is_only(scene, nothing)]
        self.seed, self.batch = 0, 1

    def __iter__(self) -> Iterator[CaptionBatch]:
        rng = random.Random(f"{self.seed} 0")
        captions = Captions(self.names, rng)
        while True:
            yield self._batch(captions, rng)

    def _batch(self, captions: Captions, rng: random.Random) -> CaptionBatch:
        rows = rng.choices(range(len(self.encoded)), k=self.batch)
        texts = [captions(self.encoded.scenes[row]) for row in rows]
        for i in range(self.batch):
            if self.blank and rng.random() < NOTHING_KNOWN:
                rows[i], texts[i] = rng.choice(self.blank), captions.nothing_known()
        is_told = torch.tensor([bool(text) for text in texts])
        return CaptionBatch(tokens_of(self.tokenizer, texts), is_told, self.encoded.latents[rows])

    def batches(self, batch: int, seed: int, device: torch.device) -> Iterator[CaptionBatch]:
        self.batch, self.seed = batch, seed
        return (told.to(device) for told in self)


def is_only(scene: Scene, thing: int) -> bool:
    """Whether a scene shows only this thing, large and in its usual look."""
    return [(p.thing, p.tint, p.flat, p.mirrored, p.side) for p in scene.things] == [
        (thing, None, False, False, LARGE)
    ]
