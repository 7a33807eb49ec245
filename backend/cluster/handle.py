"""What the front asks of a replica, and of what starts replicas."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from backend.cluster.replica import Item, Report
from backend.draft import Draft
from backend.errors import BackendError
from backend.params import GenerationParams, ModelInfo


class ReplicaLost(Exception):
    """The replica has died or does not answer; what it was doing has to be done elsewhere."""


class Handle(Protocol):
    """One replica, from outside: see `Replica`. Every method raises ReplicaLost."""

    @property
    def name(self) -> str: ...

    async def describe(self) -> tuple[ModelInfo, ...]: ...

    async def report(self, front: str) -> Report: ...

    async def examine(self, params: GenerationParams) -> int | BackendError: ...

    def generate(
        self, front: str, draft: Draft, client: str, deadline_s: float | None
    ) -> AsyncGenerator[Item, None]: ...

    async def leave(self) -> None:
        """End it in order, and its process."""

    async def kill(self, pid: int | None) -> None:
        """End its process, though it may not answer; `pid` where it is known."""


class Launcher(Protocol):
    """Starts replicas and finds running ones."""

    async def connect(self) -> None:
        """Reach the cluster, or start one here.

        Raises:
            ModelFailed: with one clear sentence.
        """

    async def find(self) -> list[Handle]:
        """Replicas that an earlier front has left running, with the same settings and version."""

    async def start(self) -> Handle:
        """Start a replica; returns before it answers."""

    async def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
