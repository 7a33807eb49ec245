"""Torch's threads, for what is too little work to share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def settle_torch_threads() -> None:
    """Settle how many threads torch computes with for the calling thread: as many as now.

    Else that is settled by its first computation, and were another thread within
    `one_torch_thread` just then, it would be one for good.
    """
    torch.get_num_threads()


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Inside, the calling thread computes alone.

    Torch's threads sleep while another library's compute: to wake them for a pass over one
    picture takes longer than the pass. And whoever calls torch from a thread of its own gets
    helpers of its own, in MKL for a thousand square roots; where they and the engine's are more
    than the cores, OpenMP sends all of them to sleep after every operation, and torch's steps take
    half as long again.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
