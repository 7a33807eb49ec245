"""Renders scenes and tokenises their captions in several processes, into memory that they share.

A GPU learns faster than pictures can be drawn one by one; so many are drawn first, and training
takes random ones of them from the GPU's memory (resident.py).
"""

import logging
import mmap
import multiprocessing
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from training.captions import Captions, Names
from training.latents import random_scenes
from training.lessons import is_only
from training.phrases import MAX_TOKENS
from training.sprites import Sprites
from training.tokenizer import tokens_of

log = logging.getLogger(__name__)

CAPTIONS = 16
"""Captions of each scene."""
CHUNK = 512
"""Scenes that a process draws at a time."""


@dataclass(frozen=True)
class Pool:
    """Pictures (n, SIZE, SIZE, 3), and their captions' token ids (n, CAPTIONS, MAX_TOKENS)."""

    pictures: Tensor
    tokens: Tensor
    is_told: Tensor
    """Whether each caption (n, CAPTIONS) is not empty."""
    is_blank: Tensor
    """Whether each picture (n,) is one for texts that name nothing."""

    def __len__(self) -> int:
        return len(self.pictures)

    def parts(self) -> tuple[Tensor, ...]:
        return self.pictures, self.tokens, self.is_told, self.is_blank

    def first(self, count: int) -> "Pool":
        return Pool(*(part[:count] for part in self.parts()))


def _shared(*shape: int, dtype: Any) -> Tensor:
    """Zeros in memory that forked processes share."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return torch.from_numpy(np.frombuffer(mmap.mmap(-1, size), dtype=dtype).reshape(shape))


class Filling:
    """Fills a pool in the background, from its construction until it is full or stopped."""

    def __init__(
        self,
        sprites: Sprites,
        names: list[Names],
        tokenizer: CLIPTokenizer,
        nothing: int,
        *,
        chunks: int,
        processes: int,
    ) -> None:
        self.sprites, self.names, self.tokenizer = sprites, names, tokenizer
        self.nothing, self.chunks = nothing, chunks
        count = chunks * CHUNK
        self.pool = Pool(
            _shared(count, sprites.size, sprites.size, 3, dtype=np.uint8),
            _shared(count, CAPTIONS, MAX_TOKENS, dtype=np.int16),
            _shared(count, CAPTIONS, dtype=np.bool_),
            _shared(count, dtype=np.bool_),
        )
        forked = multiprocessing.get_context("fork")
        self._taken = forked.Value("i", 0)
        self._stop = forked.Event()
        self._processes = [forked.Process(target=self._work, daemon=True) for _ in range(processes)]
        for process in self._processes:
            process.start()

    def _take(self) -> int:
        with self._taken.get_lock():
            self._taken.value += 1
            return int(self._taken.value) - 1

    def _work(self) -> None:
        torch.set_num_threads(1)
        while not self._stop.is_set():
            chunk = self._take()
            if chunk >= self.chunks:
                break
            self._fill(chunk)

    def _fill(self, chunk: int) -> None:
        scenes = random_scenes(self.sprites, CHUNK, seed=chunk)
        captions = Captions(self.names, random.Random(f"captions {chunk}"))
        for row, scene in enumerate(scenes, chunk * CHUNK):
            self.pool.pictures[row] = torch.from_numpy(self.sprites.render(scene))
            texts = [captions(scene) for _ in range(CAPTIONS)]
            self.pool.tokens[row] = tokens_of(self.tokenizer, texts)
            self.pool.is_told[row] = torch.tensor([bool(text) for text in texts])
            self.pool.is_blank[row] = is_only(scene, self.nothing)

    def finish(self, *, early: bool = False) -> Pool:
        """Wait until the pool is full, or, if `early`, until the chunks in work are."""
        if early:
            self._stop.set()
        for process in self._processes:
            process.join()
            if process.exitcode:
                raise RuntimeError(f"drawing pictures ended with exit code {process.exitcode}")
        count = min(self._taken.value, self.chunks) * CHUNK
        log.info("pool: %d pictures", count)
        return self.pool.first(count)
