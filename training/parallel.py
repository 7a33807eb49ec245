"""Two processes of one thread each that learn as one.

They meet once a step, to average their gradients, where the threads of one process would meet at
every operation: on cores that are shared with other work that costs far less waiting.
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from datetime import timedelta

import torch
from torch import distributed, nn

from training import paths

PATIENCE = timedelta(minutes=20)
"""How long one process waits for the others."""


def start_others(workers: int, arguments: list[str]) -> list[subprocess.Popen[bytes]]:
    """Start ranks 1 and up with the same command line."""
    (paths.cache() / "rendezvous").unlink(missing_ok=True)
    command = [sys.executable, "-m", "training", *arguments]
    return [
        subprocess.Popen([*command, "--rank", str(rank)], start_new_session=True)
        for rank in range(1, workers)
    ]


def join(rank: int, workers: int) -> None:
    """Meet the others through a file in the cache."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    store = f"file://{paths.cache() / 'rendezvous'}"
    distributed.init_process_group(
        "gloo", init_method=store, rank=rank, world_size=workers, timeout=PATIENCE
    )


def rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def workers() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter], elapsed: float) -> float:
    """Average gradients over the processes, and the time elapsed, which all must agree on."""
    if not distributed.is_initialized():
        return elapsed
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([torch.tensor([elapsed]), *(g.flatten() for g in gradients)])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    parts = flat[1:].split([g.numel() for g in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    return float(flat[0])
