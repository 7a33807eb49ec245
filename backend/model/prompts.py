"""Prompts to embeddings, each text encoded once and alone."""

from __future__ import annotations

from collections import OrderedDict

import torch
from transformers import CLIPTokenizer

from backend.model.runtime.protocol import Runtime

KEPT_TEXTS = 256  # 237 kB each for Stable Diffusion 1.4 in float32


class PromptEncoder:
    """Encodes texts and remembers the latest: most requests share their negative prompt."""

    def __init__(self, tokenizer: CLIPTokenizer, runtime: Runtime, kept: int = KEPT_TEXTS) -> None:
        self._tokenizer = tokenizer
        self._runtime = runtime
        self._kept = kept
        self._embeds: OrderedDict[str, torch.Tensor] = OrderedDict()

    def encode(self, text: str) -> torch.Tensor:
        """Embeddings [1, tokens, hidden] of `text`, cut to the model's number of tokens."""
        embeds = self._embeds.pop(text, None)
        if embeds is None:
            embeds = self._runtime.encode(self._tokenize(text))
        self._embeds[text] = embeds
        if len(self._embeds) > self._kept:
            self._embeds.popitem(last=False)
        return embeds

    @property
    def num_read(self) -> int:
        """The most tokens of a text that are read; its start and its end take two more."""
        return int(self._tokenizer.model_max_length) - 2

    def unread(self, text: str) -> str:
        """The end of `text` that the model does not read."""
        chunks = self._tokenizer(
            text,
            truncation=True,
            max_length=self._tokenizer.model_max_length,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )["offset_mapping"]
        if len(chunks) == 1:
            return ""
        start: int = chunks[1][1][0]  # behind the token that starts every chunk
        return text[start:]

    def _tokenize(self, text: str) -> torch.Tensor:
        tokens = self._tokenizer(
            [text],
            padding="max_length",
            max_length=self._tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        input_ids: torch.Tensor = tokens.input_ids  # [1, tokens]
        return input_ids
