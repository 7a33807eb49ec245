"""Finds the batch sizes whose results are bitwise equal to an image computed alone."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import torch

from backend.engine.loading import NOW, IdleTime
from backend.model.failures import is_out_of_memory
from backend.model.runtime.protocol import Runtime

SEEDS = (0, 1)
PAIR = 2  # rows of one image with guidance


class RowShape(NamedTuple):
    """Shapes of one row of a UNet call."""

    latents: tuple[int, int, int]  # channels, h, w
    prompt_embeds: tuple[int, int]  # tokens, hidden
    num_train_timesteps: int = 1000


def certified_row_counts(
    runtime: Runtime, shape: RowShape, candidates: Iterable[int], idle: IdleTime = NOW
) -> frozenset[int]:
    """The `candidates` at which images can share a UNet call without changing by a single bit.

    For each count, a pair of rows is placed first, in the middle and last among random rows. Its
    result must be bitwise equal to both rows computed separately (images without guidance) and to
    the pair computed alone (an image with guidance). A single image is always exact and needs no
    certificate. Counts that don't fit into memory are not certified.

    Args:
        runtime: the runtime to test.
        shape: shape of one row; results hold for this size only.
        candidates: row counts, 1 and up.
        idle: runs the work while the engine is idle.
    """
    batches = [_RandomRows(runtime, shape, seed, idle) for seed in SEEDS]
    return frozenset(
        count for count in candidates if all(_is_certified(batch, count) for batch in batches)
    )


class _RandomRows:
    """A random pair of rows with its result alone, and random rows to put around it."""

    def __init__(self, runtime: Runtime, shape: RowShape, seed: int, idle: IdleTime) -> None:
        self._runtime = runtime
        self._idle = idle
        self._shape = shape
        self._generator = torch.Generator("cpu").manual_seed(seed)
        self._pair = self._draw(PAIR)
        one_by_one = [self._denoise(self._slice(self._pair, row)) for row in range(PAIR)]
        self._expected = (torch.cat(one_by_one), self._denoise(self._pair))

    def matches_at(self, slot: int, count: int) -> bool:
        """Whether the pair at position `slot` of `count` rows gives the same result as alone."""
        mates = self._draw(count - PAIR)
        rows = [
            torch.cat([mate[:slot], own, mate[slot:]])
            for own, mate in zip(self._pair, mates, strict=True)
        ]
        found = self._denoise(rows)[slot : slot + PAIR]
        return all(torch.equal(found, expected) for expected in self._expected)

    def _draw(self, rows: int) -> list[torch.Tensor]:
        def normal(*shape: int) -> torch.Tensor:
            noise = torch.randn(shape, generator=self._generator)
            return noise.to(self._runtime.device, self._runtime.dtype)

        most = self._shape.num_train_timesteps
        timesteps = torch.randint(0, most, (rows,), generator=self._generator).float()
        latents = normal(rows, *self._shape.latents)
        return [latents, timesteps, normal(rows, *self._shape.prompt_embeds)]

    def _denoise(self, rows: list[torch.Tensor]) -> torch.Tensor:
        return self._idle.run(partial(self._runtime.denoise, *rows))

    @staticmethod
    def _slice(rows: list[torch.Tensor], row: int) -> list[torch.Tensor]:
        return [part[row : row + 1] for part in rows]


def _is_certified(rows: _RandomRows, count: int) -> bool:
    if count < PAIR:
        return True
    slots = sorted({0, (count - PAIR) // 2, count - PAIR})
    try:
        return all(rows.matches_at(slot, count) for slot in slots)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
