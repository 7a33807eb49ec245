"""Encodes prompts to embeddings, with an LRU cache."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from transformers import CLIPTokenizer

from backend.model.adapters.adapter_set import AdapterSet
from backend.model.prompts.chunks import Chunker, Token
from backend.model.runtime.protocol import Runtime
from backend.prompt_syntax import PromptSyntax

KEPT_BYTES = 64 * 2**20  # 256 texts of one chunk for Stable Diffusion 1.4 in float32


class Reading(NamedTuple):
    """How texts are interpreted; see `text2image.proto`."""

    syntax: PromptSyntax = PromptSyntax.PLAIN
    clip_skip: int = 1
    adapters: AdapterSet = ()
    embeddings: int = 0  # changes with the vectors that names stand for


PLAIN = Reading()


class PromptEncoder:
    """Encodes texts one by one; caches embeddings, since most requests share a negative prompt."""

    def __init__(self, chunker: Chunker, runtime: Runtime, kept_bytes: int = KEPT_BYTES) -> None:
        self._chunker = chunker
        self._runtime = runtime
        self._kept_bytes = kept_bytes
        self._held_bytes = 0
        self._embeds: OrderedDict[Hashable, torch.Tensor] = OrderedDict()

    @classmethod
    def plain(cls, tokenizer: CLIPTokenizer, runtime: Runtime) -> PromptEncoder:
        """An encoder without textual inversion embeddings."""
        return cls(Chunker(tokenizer), runtime)

    def encode(
        self, text: str, reading: Reading = PLAIN, runtime: Runtime | None = None
    ) -> torch.Tensor:
        """Embeddings [1, chunks * tokens, hidden] of `text`; `runtime` has `reading.adapters`."""
        key = (text, reading)
        embeds = self._embeds.get(key)
        if embeds is None:
            chunks = self._chunker.split(text, reading.syntax).chunks
            embeds = torch.cat(
                [self._encode(runtime, chunk, reading.clip_skip) for chunk in chunks], dim=1
            )
            self._embeds[key] = embeds
            self._held_bytes += embeds.nbytes
        self._embeds.move_to_end(key)
        while self._held_bytes > self._kept_bytes and len(self._embeds) > 1:
            _, oldest = self._embeds.popitem(last=False)
            self._held_bytes -= oldest.nbytes
        return embeds

    def encode_pair(
        self, negative: str, text: str, reading: Reading, runtime: Runtime | None = None
    ) -> torch.Tensor:
        """Embeddings [2, tokens, hidden]; the shorter prompt is padded with empty chunks."""
        pair = [self.encode(one, reading, runtime) for one in (negative, text)]
        longest = max(embeds.shape[1] for embeds in pair)
        if any(embeds.shape[1] < longest for embeds in pair):
            empty = self.encode("", reading, runtime)
            pair = [_filled_up(embeds, longest, empty) for embeds in pair]
        return torch.cat(pair)

    def _encode(
        self, runtime: Runtime | None, chunk: Sequence[Token], clip_skip: int
    ) -> torch.Tensor:
        input_ids, vectors = self._chunker.tensors(chunk)
        embeds = (runtime or self._runtime).encode(input_ids, clip_skip, vectors)
        if all(token.weight == 1.0 for token in chunk):
            return embeds
        return weigh(embeds, self._chunker.weights(chunk))


def _filled_up(embeds: torch.Tensor, tokens: int, empty: torch.Tensor) -> torch.Tensor:
    missing = (tokens - embeds.shape[1]) // empty.shape[1]
    return torch.cat([embeds, *[empty] * missing], dim=1)


def weigh(embeds: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """Scale each token's embedding, then all of them to restore the original mean.

    As AUTOMATIC1111's web UI does by default (its modules/sd_emphasis.py). If the mean is near
    zero, the ratio of means is meaningless, so the mean is not restored.

    Args:
        embeds: [1, tokens, hidden] of one chunk.
        weights: one per token.
    """
    factors = torch.tensor(weights, device=embeds.device)
    exact = embeds.float()
    weighted = exact * factors[:, None]
    ratio = exact.mean() / weighted.mean()
    within = (1 / factors.abs().max() <= ratio) & (ratio * factors.abs().min() <= 1)
    return (weighted * torch.where(within, ratio, torch.ones_like(ratio))).to(embeds.dtype)
