"""Whatever happens in a handler, a client gets a status, and never an exception's text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from backend import errors
from backend.transport.access.keyring import Keyring
from backend.transport.access.keys import ApiKey, digest
from backend.transport.rpc import interceptor
from backend.transport.rpc.errors import PUSHBACK
from backend.transport.rpc.identity import Identifier
from backend.transport.rpc.interceptor import Guard
from proto import text2image_pb2 as pb
from proto import text2image_pb2_grpc as pb_grpc
from tests.support.served import (
    GENERATE,
    STREAM,
    ask,
    detail,
    details_of,
    open_channel,
    reason_of,
    send_raw,
    trailing,
    until,
)

SECRET = "secret /etc/passwd"
METHODS = ["unary", "stream"]

Behaviour = Callable[[Any], Awaitable[None]]


class Scripted(pb_grpc.Text2ImageServiceServicer):
    """Does `behaviour`, then answers."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    async def GenerateImage(self, request: Any, context: Any) -> pb.GenerateImageResponse:
        await self._behaviour(context)
        return pb.GenerateImageResponse()

    async def StreamGenerateImage(
        self, request: Any, context: Any
    ) -> AsyncIterator[pb.GenerateImageEvent]:
        yield pb.GenerateImageEvent(request_id="first")
        await self._behaviour(context)
        yield pb.GenerateImageEvent(request_id="last")


class Guarded:
    """A guarded server of a scripted service."""

    def __init__(self, guard: Guard, channel: grpc.aio.Channel) -> None:
        self.guard = guard
        self.channel = channel
        self._stub: Any = pb_grpc.Text2ImageServiceStub(channel)

    async def call(self, method: str, timeout: float = 5.0) -> int:
        """Answers received."""
        if method == "unary":
            await self._stub.GenerateImage(ask(), timeout=timeout)
            return 1
        events = self._stub.StreamGenerateImage(ask(), timeout=timeout)
        try:
            return len([event async for event in events])
        finally:
            events.cancel()  # grpc.aio forgets to where the request has only just been sent


@asynccontextmanager
async def guarded(
    behaviour: Behaviour, identifier: Identifier | None = None
) -> AsyncIterator[Guarded]:
    guard = Guard(identifier or Identifier())
    server = grpc.aio.server(interceptors=(guard,))
    pb_grpc.add_Text2ImageServiceServicer_to_server(Scripted(behaviour), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with open_channel(f"127.0.0.1:{port}") as channel:
        yield Guarded(guard, channel)
    await server.stop(None)


def raising(error: BaseException) -> Behaviour:
    async def behaviour(context: Any) -> None:
        raise error

    return behaviour


async def refused(behaviour: Behaviour, method: str = "unary") -> grpc.aio.AioRpcError:
    async with guarded(behaviour) as service:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.call(method)
        return caught.value


@pytest.mark.parametrize("method", METHODS)
async def test_a_good_call_passes(method: str) -> None:
    async def behaviour(context: Any) -> None:
        return

    async with guarded(behaviour) as service:
        assert await service.call(method) == METHODS.index(method) + 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "error", [ValueError(SECRET), MemoryError(SECRET), errors.GenerationFailed(SECRET)]
)
async def test_unexpected_errors_say_nothing_but_an_id(method: str, error: Exception) -> None:
    found = await refused(raising(error), method)
    assert found.code() is grpc.StatusCode.INTERNAL
    request_id = detail(found, error_details_pb2.RequestInfo).request_id
    assert found.details() == f"internal error (request {request_id})"
    assert SECRET not in repr(found) + str(list(details_of(found)))


@pytest.mark.parametrize("method", METHODS)
async def test_a_leaked_cancelled_error_does_not_hang_the_client(method: str) -> None:
    async def behaviour(context: Any) -> None:
        inner = asyncio.get_running_loop().create_future()
        inner.cancel()
        await inner

    found = await refused(behaviour, method)
    assert found.code() is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize("method", METHODS)
async def test_an_abort_keeps_its_code(method: str) -> None:
    async def behaviour(context: Any) -> None:
        await context.abort(grpc.StatusCode.OUT_OF_RANGE, "mine")

    found = await refused(behaviour, method)
    assert (found.code(), found.details()) == (grpc.StatusCode.OUT_OF_RANGE, "mine")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", ["cancel", "deadline"])
async def test_a_caller_who_leaves_cancels_the_handler(method: str, how: str) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def behaviour(context: Any) -> None:
        began.set()
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()

    async with guarded(behaviour) as service:
        timeout = 0.3 if how == "deadline" else 20
        calling = asyncio.ensure_future(service.call(method, timeout))
        await began.wait()
        if how == "cancel":
            calling.cancel()
        async with asyncio.timeout(20):
            await ended.wait()
        with pytest.raises((asyncio.CancelledError, grpc.aio.AioRpcError)):
            await calling
        async with asyncio.timeout(20):
            await service.guard.wait_idle()


@pytest.mark.parametrize("method", [GENERATE, STREAM])
@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x02\xff\xfe", b"\x0a\xff\xff\xff\xff\x0f"])
async def test_malformed_messages_are_the_callers_fault(method: str, data: bytes) -> None:
    async with guarded(raising(AssertionError("not reached"))) as service:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send_raw(service.channel, method, data)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details() == "malformed request message"


async def test_an_unknown_method_is_unimplemented() -> None:
    async with guarded(raising(AssertionError("not reached"))) as service:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send_raw(service.channel, GENERATE + "s", b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("method", METHODS)
async def test_calls_in_flight_are_counted_until_they_are_answered(method: str) -> None:
    go_on, began = asyncio.Event(), asyncio.Event()

    async def behaviour(context: Any) -> None:
        began.set()
        await go_on.wait()

    async with guarded(behaviour) as service:
        await service.guard.wait_idle()
        calling = asyncio.ensure_future(service.call(method))
        await began.wait()
        idle = asyncio.ensure_future(service.guard.wait_idle())
        await asyncio.sleep(0.02)
        assert not idle.done()
        go_on.set()
        await calling
        await until(idle.done)


class TestOurErrors:
    """Each of our errors has its code, and the details that go with it."""

    @pytest.mark.parametrize(
        ("error", "code", "reason"),
        [
            (errors.ModelFailed("m"), grpc.StatusCode.FAILED_PRECONDITION, "MODEL_FAILED"),
            (errors.NonFiniteOutput("m"), grpc.StatusCode.INTERNAL, "NON_FINITE_OUTPUT"),
            (errors.OutOfMemory("m"), grpc.StatusCode.RESOURCE_EXHAUSTED, "OUT_OF_MEMORY"),
            (errors.DeadlineUnmeetable("m"), grpc.StatusCode.RESOURCE_EXHAUSTED,
             "DEADLINE_UNMEETABLE"),
        ],
    )  # fmt: skip
    async def test_those_where_waiting_does_not_help(
        self, error: Exception, code: grpc.StatusCode, reason: str
    ) -> None:
        found = await refused(raising(error))
        assert (found.code(), found.details(), reason_of(found)) == (code, "m", reason)
        assert PUSHBACK not in trailing(found)

    @pytest.mark.parametrize(
        ("error", "code", "reason"),
        [
            (errors.QueueFull("m", 1.5), grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL"),
            (errors.QuotaSpent("m", 1.5), grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA"),
            (errors.ModelLoading("m", 1.5), grpc.StatusCode.UNAVAILABLE, "MODEL_LOADING"),
            (errors.Draining("m", 1.5), grpc.StatusCode.UNAVAILABLE, "DRAINING"),
        ],
    )
    @pytest.mark.parametrize("method", METHODS)
    async def test_those_where_it_does_say_how_long(
        self, error: Exception, code: grpc.StatusCode, reason: str, method: str
    ) -> None:
        found = await refused(raising(error), method)
        assert (found.code(), reason_of(found)) == (code, reason)
        assert detail(found, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 1500
        assert trailing(found)[PUSHBACK] == "1500"

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (errors.RequestConflict("m"), grpc.StatusCode.ALREADY_EXISTS),
            (errors.Unauthenticated("m"), grpc.StatusCode.UNAUTHENTICATED),
            (errors.NotAllowed("m"), grpc.StatusCode.PERMISSION_DENIED),
        ],
    )
    async def test_plain_ones(self, error: Exception, code: grpc.StatusCode) -> None:
        assert (await refused(raising(error))).code() is code

    async def test_an_unknown_model_is_named_but_not_in_full(self) -> None:
        found = await refused(raising(errors.UnknownModel("x" * 10_000, ("fake",))))
        assert found.code() is grpc.StatusCode.NOT_FOUND
        resource = detail(found, error_details_pb2.ResourceInfo)
        assert (resource.resource_type, resource.resource_name) == ("model", "x" * 200)
        assert found.details() == "No such model. Served: fake."

    async def test_every_bad_field_with_its_reason(self) -> None:
        violations = (errors.Violation("prompt", "Empty.", "REQUIRED"), errors.Violation("x", "y"))
        found = await refused(raising(errors.InvalidParams(violations)))
        assert found.code() is grpc.StatusCode.INVALID_ARGUMENT
        told = detail(found, error_details_pb2.BadRequest).field_violations
        assert [(one.field, one.description, one.reason) for one in told] == [
            ("prompt", "Empty.", "REQUIRED"),
            ("x", "y", "INVALID"),
        ]

    async def test_a_thousand_bad_fields_still_reach_the_client(self) -> None:
        violations = tuple(errors.Violation(f"loras[{n}].name", "x" * 900) for n in range(1000))
        found = await refused(raising(errors.InvalidParams(violations)))
        assert found.code() is grpc.StatusCode.INVALID_ARGUMENT
        told = detail(found, error_details_pb2.BadRequest).field_violations
        assert told[0].field == "loras[0].name"

    @pytest.mark.parametrize("error", [errors.ModelFailed, errors.ModelLoading, errors.QueueFull])
    async def test_a_long_message_still_reaches_the_client(
        self, error: type[errors.BackendError]
    ) -> None:
        found = await refused(raising(error("🦊" * 100_000)))
        assert found.code() is not grpc.StatusCode.INTERNAL
        assert (found.details() or "").startswith("🦊")


class TestBeforeParsing:
    """Two million empty LoRAs are 4 MB: seconds of work and a gigabyte, were they parsed."""

    DATA = pb.GenerateImageRequest(loras=[pb.Lora()]).SerializeToString() * 2_000_000

    @pytest.mark.parametrize("path", [GENERATE, STREAM])
    async def test_too_many_fields_are_refused(self, path: str) -> None:
        async with guarded(lambda context: asyncio.sleep(0)) as running:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await send_raw(running.channel, path, self.DATA)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details() == "The message has more fields than any request has."

    @pytest.mark.parametrize("path", [GENERATE, STREAM])
    async def test_strangers_are_refused_first(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: Any) -> bool:
            raise AssertionError("a stranger's message was looked at")

        monkeypatch.setattr(interceptor, "check", fail)
        keyring = Keyring((ApiKey("alice", digest("0123456789abcdef")),))
        async with guarded(lambda context: asyncio.sleep(0), Identifier(keyring)) as running:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await send_raw(running.channel, path, b"\xff")
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
