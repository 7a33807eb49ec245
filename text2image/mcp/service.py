"""What the tools need of the service, however it is reached."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Protocol

from text2image.types import Event, GenerationOptions, Image, ServiceStatus


class Refused(Exception):
    """What the service refused, in a sentence that tells an agent what to do."""


class Service(Protocol):
    """The service on behalf of one caller."""

    def generate(self, prompt: str, options: GenerationOptions) -> AsyncGenerator[Event, Any]:
        """The events of a generation; closing the iterator cancels it.

        Raises:
            Refused: while iterating.
        """
        ...

    async def status(self) -> ServiceStatus:
        """Raises Refused."""
        ...

    def keep(self, image: Image) -> str:
        """The address where the picture can be read for a while; empty where it is not kept."""
        ...

    async def caller_is_gone(self) -> None:
        """Return once nobody waits for the answer any more."""
        ...
