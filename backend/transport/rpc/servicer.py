"""The rpcs: each converts the request, calls the backend and converts the answer."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import grpc

from backend.domain import Done, FinishedImage
from backend.draft import REQUEST_ID
from backend.engine.protocols import Backend
from backend.errors import InvalidParams, UnknownModel, Violation
from backend.params import ModelInfo
from backend.prompt_syntax import PromptSyntax
from backend.transport.rpc.call import CURRENT, Call
from backend.transport.rpc.convert import (
    SYNTAX_FROM_PB,
    draft_from_pb,
    enlargement_from_pb,
    event_to_pb,
    image_to_pb,
    info_to_pb,
    warnings_to_pb,
)
from backend.transport.rpc.convert_status import status_to_pb
from proto import text2image_pb2 as pb
from proto import text2image_pb2_grpc as pb_grpc

# grpc's default receive limit of 4 MB, less room for the rest of the message.
MAX_ANSWER_BYTES = 4 * 2**20 - 16 * 1024

Context = grpc.aio.ServicerContext[Any, Any]


class Text2ImageServicer(pb_grpc.Text2ImageServiceServicer):
    """Implements the service with a Backend. Guard identifies callers and maps errors."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def GenerateImage(
        self, request: pb.GenerateImageRequest, context: Context
    ) -> pb.GenerateImageResponse:
        response = pb.GenerateImageResponse()
        images: dict[int, pb.Image] = {}
        request_id = _request_id(request)
        draft = draft_from_pb(request, request_id, max_answer_bytes=MAX_ANSWER_BYTES)
        call = CURRENT.get()
        call.request_id = request_id if REQUEST_ID.fullmatch(request_id) else "malformed"
        events = self._backend.submit(
            draft, client=call.client, deadline_s=context.time_remaining()
        )
        async with aclosing(events):
            async for event in events:
                if isinstance(event, FinishedImage):
                    images[event.index] = image_to_pb(event.image)
                elif isinstance(event, Done):
                    _note(call, event)
                    response.info.CopyFrom(info_to_pb(event))
        response.images.extend(images[index] for index in sorted(images))
        return response

    async def StreamGenerateImage(
        self, request: pb.GenerateImageRequest, context: Context
    ) -> AsyncIterator[pb.GenerateImageEvent]:
        request_id = _request_id(request)
        draft = draft_from_pb(request, request_id)
        call = CURRENT.get()
        call.request_id = request_id if REQUEST_ID.fullmatch(request_id) else "malformed"
        events = self._backend.submit(
            draft, client=call.client, deadline_s=context.time_remaining()
        )
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Done):
                    _note(call, event)
                yield event_to_pb(event, request_id)

    async def GetStatus(
        self, request: pb.GetStatusRequest, context: Context
    ) -> pb.GetStatusResponse:
        return status_to_pb(self._backend.status(), include_abilities=request.include_abilities)

    async def Upscale(self, request: pb.UpscaleRequest, context: Context) -> pb.UpscaleResponse:
        wanted = enlargement_from_pb(request)
        image = await self._backend.upscale(wanted)
        return pb.UpscaleResponse(image=image_to_pb(image), upscaler=wanted.upscaler)

    async def CheckPrompt(
        self, request: pb.CheckPromptRequest, context: Context
    ) -> pb.CheckPromptResponse:
        status = self._backend.status()
        if len(request.prompt) > status.limits.max_prompt_characters:
            text = f"At most {status.limits.max_prompt_characters:,} characters."
            raise InvalidParams((Violation("prompt", text, "TOO_LONG"),))
        model = _named(request.model, status.models)
        if model is None or model.abilities is None:
            return pb.CheckPromptResponse()
        return pb.CheckPromptResponse(
            warnings=warnings_to_pb(model.abilities.check(request.prompt, _syntax(request)))
        )


def _syntax(request: pb.CheckPromptRequest) -> PromptSyntax:
    return SYNTAX_FROM_PB.get(request.prompt_syntax, PromptSyntax.PLAIN)


def _named(name: str, models: Sequence[ModelInfo]) -> ModelInfo | None:
    """The model with this name, or the default one; None while no model is loaded.

    Raises:
        UnknownModel: no served model has this name.
    """
    for model in models:
        if name in ("", model.name):
            return model
    if name and models:
        raise UnknownModel(name, tuple(model.name for model in models))
    return None


def _note(call: Call, done: Done) -> None:
    call.model, call.timings = done.model.name, done.timings


def _request_id(request: pb.GenerateImageRequest) -> str:
    return request.request_id or uuid.uuid4().hex
