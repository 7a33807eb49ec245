"""The interface between the tools and the service."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Protocol

from text2image.status import ServiceStatus
from text2image.types import Event, GenerationOptions, Image


class Refused(Exception):
    """The service refused; the text tells an agent what to do."""


class Service(Protocol):
    """The service, called for one caller."""

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
        """Keep an image for a while; returns its URL, or "" if it is not kept."""
        ...

    def find(self, address: str) -> bytes | None:
        """The file of the picture at this address from `keep`; None: not, or no longer."""
        ...

    async def caller_is_gone(self) -> None:
        """Return when the caller has disconnected."""
        ...
