"""Models that take each other's place leave nothing behind: no memory, descriptor or thread."""

from __future__ import annotations

import gc
from pathlib import Path

from bench.held import POOL_THREADS
from bench.model_switches import held, rotating, switch

WARMING, SWITCHES = 5, 10
MOST_GROWTH_BYTES = 45 * 2**20  # keeping every model's weights would take 75


async def test_ten_switches(tmp_path: Path) -> None:
    async with rotating(tmp_path) as backend:
        await switch(backend, 0, WARMING)
        before, frozen = held(), gc.get_freeze_count()
        await switch(backend, WARMING, SWITCHES)
        after = held()
    assert gc.get_freeze_count() == frozen, "what is frozen is never collected: a whole model each"
    assert after.descriptors <= before.descriptors
    assert after.threads <= before.threads + POOL_THREADS
    assert after.resident_bytes - before.resident_bytes < MOST_GROWTH_BYTES
