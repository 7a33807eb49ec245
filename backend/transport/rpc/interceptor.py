"""The interceptor between grpc.aio and our servicers.

It closes what grpc.aio leaves open (see the tests): exception texts that leak to clients, a
leaked CancelledError that hangs them, malformed messages answered as UNKNOWN. Callers are
identified before their message is parsed, and messages that would cost more to parse than an
honest one are not. And it counts the calls in flight, so that a drain knows when the last one has
been answered.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from backend import heap
from backend.errors import BackendError
from backend.transport.rpc.call import CURRENT, Call
from backend.transport.rpc.errors import Refusal, internal, malformed, refusal, too_many_fields
from backend.transport.rpc.identity import Identifier, peer_end
from backend.transport.wire import is_bounded
from proto import text2image_pb2 as pb

log = structlog.get_logger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["Text2ImageService"]
LARGE_BYTES = 2**20
TRIM_AFTER_S = 1.0
PREFIX = f"/{SERVICE.full_name}/"


class TooManyFields(Exception):
    """A message that would cost more to parse than any request."""


Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any  # grpc.RpcMethodHandler; its stubs know the synchronous API alone


class Guard(grpc.aio.ServerInterceptor):
    """Wraps the handlers of our own service; health and reflection look after themselves."""

    def __init__(self, identifier: Identifier) -> None:
        self._identifier = identifier
        self._in_flight = 0
        self._peers: Counter[tuple[str, int]] = Counter()
        self._trimming: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    async def wait_idle(self) -> None:
        """Return once no call of our service is in flight."""
        await self._idle.wait()

    def has_call_from(self, address: tuple[str, int]) -> bool:
        """Whether a call of this client's end of a connection is in flight."""
        return self._peers[address] > 0

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(PREFIX):
            return handler
        method = SERVICE.methods_by_name[handler_call_details.method.removeprefix(PREFIX)]
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._guard_stream(handler, method),
                response_serializer=handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._guard_unary(handler, method),
            response_serializer=handler.response_serializer,
        )

    # grpc keeps the frames of an aborted call, and what is in them, until the garbage collector
    # comes: none of these holds the message, or an error with its traceback.

    def _guard_unary(self, handler: Handler, method: MethodDescriptor) -> Any:
        async def call(data: bytes, context: Context) -> Any:
            answering = self._answer(handler, method, data, context)
            del data
            with self._count(context):
                answer = await answering
                if isinstance(answer, Refusal):
                    await abort(context, answer)
                return answer

        return call

    def _guard_stream(self, handler: Handler, method: MethodDescriptor) -> Any:
        async def call(data: bytes, context: Context) -> AsyncIterator[Any]:
            events = self._events(handler, method, data, context)
            del data
            with self._count(context):
                # Closed at once when the caller is gone, not when it is collected.
                async with aclosing(events):
                    async for event in events:
                        if isinstance(event, Refusal):
                            await abort(context, event)
                        yield event

        return call

    async def _answer(
        self, handler: Handler, method: MethodDescriptor, data: bytes, context: Context
    ) -> Any:
        """The handler's answer, or the Refusal to abort with."""
        try:
            return await handler.unary_unary(self._admit(handler, method, data, context), context)
        except BaseException as error:
            return _translate(error)

    async def _events(
        self, handler: Handler, method: MethodDescriptor, data: bytes, context: Context
    ) -> AsyncGenerator[Any]:
        """What the handler streams; at the end maybe the Refusal to abort with."""
        try:
            request = self._admit(handler, method, data, context)
            async with aclosing(handler.unary_stream(request, context)) as responses:
                async for response in responses:
                    yield response
        except GeneratorExit:
            raise
        except BaseException as error:
            yield _translate(error)

    def _admit(
        self, handler: Handler, method: MethodDescriptor, data: bytes, context: Context
    ) -> Any:
        """Identify the caller, then parse the request."""
        if len(data) >= LARGE_BYTES:
            self._trim_soon()
        CURRENT.set(Call(method.name, self._identifier.identify(context)))
        if not is_bounded(data, method.input_type):
            raise TooManyFields
        return handler.request_deserializer(data)

    def _trim_soon(self) -> None:
        """Once large messages are done with, the memory for them goes back to the machine."""
        if self._trimming is None or self._trimming.done():
            self._trimming = asyncio.create_task(_trim_after(TRIM_AFTER_S))

    @contextmanager
    def _count(self, context: Context) -> Iterator[None]:
        peer = peer_end(context.peer())
        self._in_flight += 1
        self._peers[peer] += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer]
            if self._in_flight == 0:
                self._idle.set()


async def _trim_after(delay_s: float) -> None:
    await asyncio.sleep(delay_s)
    await asyncio.to_thread(heap.trim)


def _translate(error: BaseException) -> Refusal:
    """What escaped, as a status: ours by name, everything else as an opaque INTERNAL."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise error  # the caller left: grpc.aio needs to see this
    elif isinstance(error, grpc.aio.AbortError) or not isinstance(error, Exception):
        raise error
    elif isinstance(error, TooManyFields):
        return too_many_fields()
    elif isinstance(error, DecodeError | UnicodeDecodeError):
        return malformed()
    request_id = uuid.uuid4().hex
    if isinstance(error, BackendError):
        answer = refusal(error, request_id)
        if answer.status.code == grpc.StatusCode.INTERNAL.value[0]:
            log.error("request failed", request_id=request_id, error=str(error))
        return answer
    # a cancelled inner future among them: raised on, it would hang the client
    log.error("unhandled error", request_id=request_id, exc_info=error)
    return internal(request_id)


async def abort(context: Context, answer: Refusal) -> None:
    """End the call with the rich status. Always raises grpc's AbortError."""
    status = rpc_status.to_status(answer.status)
    # `abort_with_status` would drop what stands beside the details, such as the pushback.
    metadata = (*status.trailing_metadata, *answer.metadata)
    await context.abort(status.code, status.details, metadata)
