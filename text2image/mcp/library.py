"""Implements `Service` with the client library for one caller; keeps the latest images."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import AsyncGenerator
from typing import Any

from mcp import MCPError
from mcp.server import ServerRequestContext
from mcp.types import (
    INVALID_PARAMS,
    BlobResourceContents,
    ListResourcesResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
)

from text2image.client import Text2ImageClient
from text2image.errors import Text2ImageError
from text2image.mcp.service import Refused
from text2image.status import ServiceStatus
from text2image.types import Event, GenerationOptions, Image

Context = ServerRequestContext[Any, Any]

SCHEME = "text2image://pictures/"
MAX_KEPT_BYTES = 64 * 2**20  # the oldest are dropped first


class LibraryService:
    """A `Service` that uses the client library."""

    def __init__(self, client: Text2ImageClient) -> None:
        self._client = client
        self._kept: dict[str, Image] = {}

    async def generate(self, prompt: str, options: GenerationOptions) -> AsyncGenerator[Event, Any]:
        try:
            stream = self._client.stream(prompt, **options)
            events = iter(stream)
            try:
                while (event := await asyncio.to_thread(next, events, None)) is not None:
                    yield event
            finally:
                stream.cancel()
        except Text2ImageError as error:
            raise Refused(str(error)) from None

    async def status(self) -> ServiceStatus:
        try:
            return await asyncio.to_thread(self._client.status)
        except Text2ImageError as error:
            raise Refused(str(error)) from None

    def keep(self, image: Image) -> str:
        address = f"{SCHEME}{uuid.uuid4().hex}"
        self._kept[address] = image
        while sum(len(kept.data) for kept in self._kept.values()) > MAX_KEPT_BYTES:
            del self._kept[next(iter(self._kept))]
        return address

    def find(self, address: str) -> bytes | None:
        image = self._kept.get(address)
        return image.data if image is not None else None

    async def caller_is_gone(self) -> None:
        """Never returns: this process exits with its caller."""
        await asyncio.Event().wait()

    async def list_resources(
        self, ctx: Context, params: PaginatedRequestParams | None
    ) -> ListResourcesResult:
        """The latest images."""
        resources = [
            Resource(name=f"text2image-{image.seed}", uri=address, mime_type=image.mime_type)
            for address, image in self._kept.items()
        ]
        return ListResourcesResult(resources=resources)

    async def read_resource(
        self, ctx: Context, params: ReadResourceRequestParams
    ) -> ReadResourceResult:
        image = self._kept.get(str(params.uri))
        if image is None:
            raise MCPError(INVALID_PARAMS, "No such picture, or no longer.")
        blob = base64.b64encode(image.data).decode()
        found = BlobResourceContents(uri=params.uri, mime_type=image.mime_type, blob=blob)
        return ReadResourceResult(contents=[found])
