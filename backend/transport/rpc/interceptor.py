"""The interceptor between grpc.aio and our servicers.

It fixes what grpc.aio leaves open (see the tests): exception texts sent to clients, a stray
CancelledError that hangs them, malformed messages answered as UNKNOWN. It identifies callers
before parsing their message, refuses messages that are too expensive to parse, and counts calls in
flight, so that draining knows when the last one has been answered.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager, nullcontext, suppress
from typing import Any

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from backend import heap
from backend.errors import BackendError
from backend.transport.access.limits import Limiter
from backend.transport.metrics import Metrics
from backend.transport.rpc.call import CURRENT, Call
from backend.transport.rpc.errors import Refusal, internal, malformed, refusal, too_many_fields
from backend.transport.rpc.identity import Caller, Identifier, metadata_of, peer_end
from backend.transport.tracing import Tracer
from backend.transport.wire import TooManyFields, check
from proto import text2image_pb2 as pb

log = structlog.get_logger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["Text2ImageService"]
UNLIMITED = ("GetStatus",)  # clients poll it
LOOK_EVERY_S = 0.25
LARGE_BYTES = 2**20
TRIM_AFTER_S = 1.0
# A client that answers pings but reads no events is disconnected after UNREAD_S; a shutdown
# ignores it after UNREAD_AT_STOP_S.
UNREAD_S = 300.0
UNREAD_AT_STOP_S = 2.0
PREFIX = f"/{SERVICE.full_name}/"


Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any  # grpc.RpcMethodHandler; its type stubs only cover the synchronous API


class Guard(grpc.aio.ServerInterceptor):
    """Wraps the handlers of our own service, not those of health and reflection."""

    def __init__(
        self,
        identifier: Identifier,
        metrics: Metrics | None = None,
        requests_per_minute: int = 0,
        concurrent_requests: int = 0,
        tracer: Tracer | None = None,
    ) -> None:
        """The limits apply to each client whose key doesn't set its own; 0: no limit."""
        self._identifier = identifier
        self._metrics = metrics or Metrics()
        self._tracer = tracer or Tracer()
        self._limiter = Limiter()
        self._requests_per_minute = requests_per_minute
        self._concurrent_requests = concurrent_requests
        self.hang_up: Callable[[tuple[str, int]], None] = lambda peer: None
        self._unread: dict[Context, float] = {}  # since when an event is waiting to be read
        self._in_flight = 0
        self._peers: Counter[tuple[str, int]] = Counter()
        self._trimming: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    async def wait_idle(self) -> None:
        """Return once no call is in flight, ignoring those whose client doesn't read."""
        while self._in_flight > self._num_unread():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), LOOK_EVERY_S)

    def has_call_from(self, address: tuple[str, int]) -> bool:
        """Whether a call from this client address (host, port) is in flight."""
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

    # grpc keeps the frames of an aborted call until garbage collection, so these functions must
    # not hold the message or an error with its traceback.

    def _guard_unary(self, handler: Handler, method: MethodDescriptor) -> Any:
        async def call(data: bytes, context: Context) -> Any:
            answering = self._answer(handler, method, data, context)
            del data
            with self._count(context), self._tell(method, context) as told:
                answer = await answering
                if isinstance(answer, Refusal):
                    told.code = answer.code
                    await abort(context, answer)
                return answer

        return call

    def _guard_stream(self, handler: Handler, method: MethodDescriptor) -> Any:
        async def call(data: bytes, context: Context) -> None:
            events = self._events(handler, method, data, context)
            del data
            with self._count(context), self._tell(method, context) as told:
                # Close immediately when the caller is gone, not at garbage collection.
                async with aclosing(events):
                    async for event in events:
                        if isinstance(event, Refusal):
                            told.code = event.code
                            await abort(context, event)
                        if told.first_event_s is None:
                            told.first_event_s = told.total_s
                        await self._write(context, event)

        return call

    async def _answer(
        self, handler: Handler, method: MethodDescriptor, data: bytes, context: Context
    ) -> Any:
        """The handler's answer, or the Refusal to abort with."""
        try:
            with self._admit(handler, method, data, context) as request:
                return await handler.unary_unary(request, context)
        except BaseException as error:
            return _translate(error)

    async def _events(
        self, handler: Handler, method: MethodDescriptor, data: bytes, context: Context
    ) -> AsyncGenerator[Any]:
        """The handler's events; if it fails, the last is the Refusal to abort with."""
        try:
            with self._admit(handler, method, data, context) as request:
                async with aclosing(handler.unary_stream(request, context)) as responses:
                    async for response in responses:
                        yield response
        except GeneratorExit:
            raise
        except BaseException as error:
            yield _translate(error)

    @contextmanager
    def _admit(
        self, handler: Handler, method: MethodDescriptor, data: bytes, context: Context
    ) -> Iterator[Any]:
        """Identify the caller, check its limits, then parse the request."""
        if len(data) >= LARGE_BYTES:
            self._trim_soon()
        caller = self._identifier.identify(context)
        CURRENT.get().client = caller.client
        with self._limit(method, caller):
            check(data, method.input_type)
            yield handler.request_deserializer(data)

    def _limit(self, method: MethodDescriptor, caller: Caller) -> AbstractContextManager[None]:
        if method.name in UNLIMITED:
            return nullcontext()
        per_minute, at_once = self._requests_per_minute, self._concurrent_requests
        if caller.key is not None and caller.key.requests_per_minute is not None:
            per_minute = caller.key.requests_per_minute
        if caller.key is not None and caller.key.concurrent_requests is not None:
            at_once = caller.key.concurrent_requests
        return self._limiter.hold(caller.client, per_minute, at_once)

    @contextmanager
    def _tell(self, method: MethodDescriptor, context: Context) -> Iterator[Call]:
        """Log, count and trace the call once it is over."""
        call = Call(method.name)
        CURRENT.set(call)
        try:
            with self._tracer.span(call, metadata_of(context)):
                yield call
        except (asyncio.CancelledError, GeneratorExit):
            call.code = "CANCELLED"
            raise
        finally:
            self._metrics.ended(call)

    async def _write(self, context: Context, event: Any) -> None:
        """Send an event; disconnects a client that doesn't read it within `UNREAD_S`."""
        peer, begun_s = peer_end(context.peer()), time.perf_counter()
        self._unread[context] = begun_s
        try:
            # No timeout for our HTTP server: its connection is shared by all its clients.
            async with asyncio.timeout(UNREAD_S if peer[1] else None):
                await context.write(event)
        except TimeoutError:
            log.warning("a client takes nothing; its connection is ended", address=peer[0])
            await asyncio.to_thread(self.hang_up, peer)
            raise asyncio.CancelledError from None
        finally:
            del self._unread[context]

    def _num_unread(self) -> int:
        since_s = time.perf_counter() - UNREAD_AT_STOP_S
        return sum(begun_s < since_s for begun_s in self._unread.values())

    def _trim_soon(self) -> None:
        """Return memory to the operating system shortly after a large message."""
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
    """The status for an error: ours by type, anything else as an opaque INTERNAL."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise error  # the caller cancelled: grpc.aio must see it
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
    # Includes CancelledError of an inner future: raising that would hang the client.
    log.error("unhandled error", request_id=request_id, exc_info=error)
    return internal(request_id)


async def abort(context: Context, answer: Refusal) -> None:
    """End the call with the rich status. Always raises grpc's AbortError."""
    status = rpc_status.to_status(answer.status)
    # `abort_with_status` would drop our additional metadata, such as the pushback.
    metadata = (*status.trailing_metadata, *answer.metadata)
    await context.abort(status.code, status.details, metadata)
