"""The text encoder: from captions to the codes of what they tell.

To say a code it must first know the words. So while it learns codes, it also has to guess from
what it has read which thing, which colours, which size a caption tells: that takes a quarter off
its error. Muon, for its matrices, takes off as much again.
"""

import logging
import random
import time
from pathlib import Path

import torch
from diffusers.models.embeddings import TextTimeEmbedding
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training import arithmetic, paths
from training.captions import MAX_TOKENS, Caption, Names, caption
from training.clock import Clock, Schedule
from training.data import Scene
from training.meanings import CODE, Meanings, Settings
from training.muon import Together, optimizers

log = logging.getLogger(__name__)

TEXT_WIDTH = 256
HEADS = 4
GUESSING = 0.3
"""Weight of the guesses beside the codes."""


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

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The codes, and what the text encoder read them from: (n, MAX_TOKENS, TEXT_WIDTH)."""
        states: Tensor = self.text_encoder(tokens).last_hidden_state
        return self.pooling(states), states


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
        self.guess = nn.Linear(TEXT_WIDTH, sum(meanings.choices))
        learning = nn.ModuleList([words, self.guess])
        self.optimizer = Together(optimizers(learning, settings.learning_rate))
        if checkpoint.exists():
            state = torch.load(checkpoint, weights_only=True)
            words.load_state_dict(state["model"])
            if "optimizer" in state:  # recovered weights come without
                self.guess.load_state_dict(state["guess"])
                self.optimizer.load_state_dict(state["optimizer"])
                self.clock.load_state_dict(state["clock"])

    def save(self) -> None:
        state = {
            "model": self.words.state_dict(),
            "guess": self.guess.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "clock": self.clock.state_dict(),
        }
        paths.save_atomically(state, self.checkpoint)

    def _guessed(self, states: Tensor, rows: Tensor) -> Tensor:
        """Cross-entropy of guessing each column of rows (n, 5) from what was read."""
        guesses = self.guess(states.mean(dim=1)).float().split(self.meanings.choices, dim=1)
        losses = [F.cross_entropy(g, rows[:, column]) for column, g in enumerate(guesses)]
        return torch.stack(losses).sum()

    def loss(self, told: list[Caption]) -> tuple[Tensor, Tensor]:
        """Mean square difference between what the words say and the codes; and of the guesses."""
        rows = self.meanings.rows(told)
        tokens = tokens_of(self.tokenizer, [each.text for each in told])
        # For so few tokens plain matrix products beat the fused attention.
        with sdpa_kernel(SDPBackend.MATH), arithmetic.fastest():
            said, states = self.words(tokens)
            guessed = self._guessed(states, rows)
        return F.mse_loss(said.float(), self.meanings(rows)), guessed

    def run(self, scenes: list[Scene], names: list[Names]) -> None:
        rng = random.Random(self.clock.count)
        saved = time.monotonic()
        while not self.clock.is_over():
            told = [caption(names, scene, rng) for scene in rng.choices(scenes, k=self.batch)]
            loss, guessed = self.loss(told)
            self.clock.step(self.optimizer, loss + GUESSING * guessed)
            if self.clock.count % 100 == 0:
                seconds = self.clock.elapsed
                log.info("words %d steps %.0f s loss %.4f", self.clock.count, seconds, loss.item())
            if time.monotonic() - saved > 120:
                saved = time.monotonic()
                self.save()
        self.save()
