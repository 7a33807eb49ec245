"""What a caption means, as a code that the UNet reads: learned from pictures, then put into words.

To learn from noisy pictures and from sentences at once which thing looks how takes a small network
very long. Apart, each is quick. First every thing and every colour gets a code of its own, by
drawing latents from the codes with a throw-away network: no text, no noise. Then the UNet learns to
denoise, told the codes. And the text encoder learns, from captions alone, to say the codes.
"""

import logging
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.models.embeddings import TextTimeEmbedding
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training import paths
from training.captions import MAX_TOKENS, Caption, Names, caption
from training.clock import Clock, Schedule
from training.data import BACKGROUNDS, SMALL, SMALL_OFFSETS, TINTS, Scene

log = logging.getLogger(__name__)

CODE = 512
"""Width of a code, which is that of the UNet's time embedding."""
TEXT_WIDTH = 192
HEADS = 4
PLACES = 2 * len(SMALL_OFFSETS) + 2


@dataclass(frozen=True)
class Settings:
    minutes: float
    batch: int = 256
    learning_rate: float = 2e-3


class Meanings(nn.Module):
    """Codes of what captions tell: the sum of what each part of it adds, normalised."""

    def __init__(self, things: int) -> None:
        super().__init__()
        self.things = things
        self.thing = nn.Embedding(things + 1, CODE)
        self.background = nn.Embedding(len(BACKGROUNDS) + 1, CODE)
        self.tint = nn.Embedding(len(TINTS) + 1, CODE)
        self.small = nn.Embedding(2, CODE)
        self.norm = nn.LayerNorm(CODE)

    def rows(self, captions: list[Caption]) -> Tensor:
        """Rows (n, 4) in the four tables; the last row of a table is for what isn't told."""
        return torch.tensor([self._row(told) for told in captions])

    def _row(self, told: Caption) -> tuple[int, int, int, int]:
        backgrounds, tints = list(BACKGROUNDS), list(TINTS)
        return (
            self.things if told.thing is None else told.thing,
            len(backgrounds) if told.background is None else backgrounds.index(told.background),
            len(tints) if told.tint is None else tints.index(told.tint),
            int(told.small),
        )

    def forward(self, rows: Tensor) -> Tensor:
        """Codes (n, CODE) of rows (n, 4)."""
        thing, background, tint, small = rows.unbind(1)
        parts = self.thing(thing) + self.background(background) + self.tint(tint)
        codes: Tensor = self.norm(parts + self.small(small))
        return codes


def _place(scene: Scene) -> list[float]:
    """What no caption tells: the side the thing looks to, and where a small one stands."""
    corners = [float(scene.side == SMALL and scene.x == offset) for offset in SMALL_OFFSETS]
    corners += [float(scene.side == SMALL and scene.y == offset) for offset in SMALL_OFFSETS]
    return [float(scene.mirrored), float(scene.side > SMALL), *corners]


class Sketcher(nn.Sequential):
    """Draws latents (n, size) from a code and a place; needed only to learn the codes."""

    def __init__(self, size: int, width: int = 1024) -> None:
        super().__init__(
            nn.Linear(CODE + PLACES, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, size),
        )


def learn_codes(
    scenes: list[Scene], latents: Tensor, names: list[Names], settings: Settings, file: Path
) -> Meanings:
    """The codes with which latents (n, c, h, w) of scenes are drawn best; loaded where they are."""
    meanings = Meanings(len(names))
    if file.exists():
        meanings.load_state_dict(torch.load(file, weights_only=True))
        return meanings.requires_grad_(False)
    flat, places = latents.flatten(1), torch.tensor([_place(scene) for scene in scenes])
    sketcher = Sketcher(flat.shape[1])
    parameters = [*meanings.parameters(), *sketcher.parameters()]
    optimizer = torch.optim.AdamW(parameters, settings.learning_rate, betas=(0.9, 0.98), fused=True)
    clock, rng = Clock(Schedule(settings.minutes, settings.learning_rate)), random.Random(3)
    while not clock.is_over():
        picked = rng.choices(range(len(scenes)), k=settings.batch)
        told = [caption(names, scenes[row], rng) for row in picked]
        with torch.autocast("cpu", torch.bfloat16):
            drawn = sketcher(torch.cat([meanings(meanings.rows(told)), places[picked]], dim=1))
        loss = F.mse_loss(drawn.float(), flat[picked].float())
        clock.step(optimizer, loss)
        if clock.count % 500 == 0:
            log.info("codes %d steps %.0f s loss %.4f", clock.count, clock.elapsed, loss.item())
    paths.save_atomically(meanings.state_dict(), file)
    return meanings.requires_grad_(False)


class Words(nn.Module):
    """Text encoder and pooling: token ids (n, MAX_TOKENS) to codes (n, CODE)."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=TEXT_WIDTH,
                intermediate_size=3 * TEXT_WIDTH,
                num_hidden_layers=2,
                num_attention_heads=HEADS,
                max_position_embeddings=MAX_TOKENS,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        self.pooling = TextTimeEmbedding(TEXT_WIDTH, CODE, HEADS)

    def forward(self, tokens: Tensor) -> Tensor:
        codes: Tensor = self.pooling(self.text_encoder(tokens).last_hidden_state)
        return codes


def tokens_of(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids (n, MAX_TOKENS)."""
    ids: Tensor = tokenizer(
        texts, padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    return ids


class Lessons:
    """Teaching the text encoder to say the codes; goes on from its checkpoint."""

    def __init__(
        self,
        words: Words,
        tokenizer: CLIPTokenizer,
        meanings: Meanings,
        settings: Settings,
        checkpoint: Path,
    ) -> None:
        self.words, self.tokenizer, self.meanings = words, tokenizer, meanings
        self.batch, self.checkpoint = settings.batch, checkpoint
        self.clock = Clock(Schedule(settings.minutes, settings.learning_rate))
        self.optimizer = torch.optim.AdamW(
            words.parameters(), settings.learning_rate, betas=(0.9, 0.98), fused=True
        )
        if checkpoint.exists():
            state = torch.load(checkpoint, weights_only=True)
            words.load_state_dict(state["model"])
            if "optimizer" in state:  # recovered weights come without
                self.optimizer.load_state_dict(state["optimizer"])
                self.clock.load_state_dict(state["clock"])

    def save(self) -> None:
        state = {
            "model": self.words.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "clock": self.clock.state_dict(),
        }
        paths.save_atomically(state, self.checkpoint)

    def loss(self, told: list[Caption]) -> Tensor:
        """Mean square difference between what the words say and the codes of what they tell."""
        codes = self.meanings(self.meanings.rows(told))
        tokens = tokens_of(self.tokenizer, [each.text for each in told])
        # For so few tokens plain matrix products beat the fused attention.
        with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", torch.bfloat16):
            said = self.words(tokens)
        return F.mse_loss(said.float(), codes)

    def run(self, scenes: list[Scene], names: list[Names]) -> None:
        rng = random.Random(self.clock.count)
        saved = time.monotonic()
        while not self.clock.is_over():
            told = [caption(names, scene, rng) for scene in rng.choices(scenes, k=self.batch)]
            loss = self.loss(told)
            self.clock.step(self.optimizer, loss)
            if self.clock.count % 100 == 0:
                seconds = self.clock.elapsed
                log.info("words %d steps %.0f s loss %.4f", self.clock.count, seconds, loss.item())
            if time.monotonic() - saved > 120:
                saved = time.monotonic()
                self.save()
        self.save()
