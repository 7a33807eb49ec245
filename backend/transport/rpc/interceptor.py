"""The interceptor between grpc.aio and our servicers.

It closes what grpc.aio leaves open (see the tests): exception texts that leak to clients, a
leaked CancelledError that hangs them, malformed messages answered as UNKNOWN. And it counts the
calls in flight, so that a drain knows when the last one has been answered.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from backend.errors import BackendError
from backend.transport.rpc.errors import Refusal, internal, malformed, refusal

log = structlog.get_logger(__name__)

OURS = "/text2image."

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any  # grpc.RpcMethodHandler; its stubs know the synchronous API alone


class Guard(grpc.aio.ServerInterceptor):
    """Wraps the handlers of our own service; health and reflection look after themselves."""

    def __init__(self) -> None:
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def wait_idle(self) -> None:
        """Return once no call of our service is in flight."""
        await self._idle.wait()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(OURS):
            return handler
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._guard_stream(handler),
                response_serializer=handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._guard_unary(handler),
            response_serializer=handler.response_serializer,
        )

    def _guard_unary(self, handler: Handler) -> Any:
        async def call(data: bytes, context: Context) -> Any:
            with self._count():
                async with translate_errors(context):
                    return await handler.unary_unary(await _parse(handler, data, context), context)

        return call

    def _guard_stream(self, handler: Handler) -> Any:
        async def call(data: bytes, context: Context) -> AsyncIterator[Any]:
            with self._count():
                async with translate_errors(context):
                    request = await _parse(handler, data, context)
                    # Closed at once when the caller is gone, not when it is collected.
                    async with aclosing(handler.unary_stream(request, context)) as responses:
                        async for response in responses:
                            yield response

        return call

    @contextmanager
    def _count(self) -> Iterator[None]:
        self._in_flight += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            if self._in_flight == 0:
                self._idle.set()


async def _parse(handler: Handler, data: bytes, context: Context) -> Any:
    try:
        return handler.request_deserializer(data)
    except (DecodeError, UnicodeDecodeError):
        await abort(context, malformed())


@asynccontextmanager
async def translate_errors(context: Context) -> AsyncIterator[None]:
    """Turn what escapes into a status: ours by name, everything else as an opaque INTERNAL."""
    try:
        yield
    except grpc.aio.AbortError:
        raise
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # the caller left: grpc.aio needs to see this
        await _abort_internal(context)  # a cancelled inner future would hang the client
    except BackendError as error:
        request_id = uuid.uuid4().hex
        answer = refusal(error, request_id)
        if answer.status.code == grpc.StatusCode.INTERNAL.value[0]:
            log.error("request failed", request_id=request_id, error=str(error))
        await abort(context, answer)
    except Exception:
        await _abort_internal(context)


async def _abort_internal(context: Context) -> None:
    request_id = uuid.uuid4().hex
    log.exception("unhandled error", request_id=request_id)
    await abort(context, internal(request_id))


async def abort(context: Context, answer: Refusal) -> None:
    """End the call with the rich status. Always raises grpc's AbortError."""
    status = rpc_status.to_status(answer.status)
    # `abort_with_status` would drop what stands beside the details, such as the pushback.
    metadata = (*status.trailing_metadata, *answer.metadata)
    await context.abort(status.code, status.details, metadata)
