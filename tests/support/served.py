"""The real gRPC server in this process, on a port of its own, and ways to call it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from backend.domain import State
from backend.engine.backend import LocalBackend
from backend.engine.loading import Load
from backend.transport.rpc.server import SERVICE, Server
from proto import text2image_pb2 as pb
from proto import text2image_pb2_grpc as pb_grpc
from tests.support.fakes import FakeModel, loads, settings

TIMEOUT_S = 30.0
GENERATE = f"/{SERVICE}/GenerateImage"
STREAM = f"/{SERVICE}/StreamGenerateImage"
STATUS = f"/{SERVICE}/GetStatus"
DETAILS: Sequence[type[Any]] = (
    error_details_pb2.BadRequest,
    error_details_pb2.ErrorInfo,
    error_details_pb2.RetryInfo,
    error_details_pb2.ResourceInfo,
    error_details_pb2.RequestInfo,
)
Detail = TypeVar("Detail")


@dataclass
class Served:
    """A running server, and a channel to it."""

    server: Server
    backend: LocalBackend
    port: int
    channel: grpc.aio.Channel
    model: FakeModel
    drained: bool = field(default=False)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def stub(self) -> Any:
        return pb_grpc.Text2ImageServiceStub(self.channel)

    @property
    def health(self) -> Any:
        return health_pb2_grpc.HealthStub(self.channel)

    async def health_of(self, service: str = SERVICE) -> int:
        request = health_pb2.HealthCheckRequest(service=service)
        answer = await self.health.Check(request, timeout=TIMEOUT_S)
        return int(answer.status)

    async def counters(self) -> Any:
        return (await self.stub.GetStatus(pb.GetStatusRequest(), timeout=TIMEOUT_S)).counters

    async def drain(self) -> None:
        self.drained = True
        await self.server.drain()


@asynccontextmanager
async def served(
    model: FakeModel | None = None,
    load: Load | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    **changes: Any,
) -> AsyncIterator[Served]:
    """A server whose model is loaded; gates are opened and all is stopped at the end."""
    model = model or FakeModel()
    backend = LocalBackend(settings(**changes), load or loads(model), "1.0")
    server = Server(settings(**changes), backend)
    port = await server.start()
    await backend.start()
    async with open_channel(f"127.0.0.1:{port}", credentials) as channel:
        running = Served(server, backend, port, channel, model)
        try:
            yield running
        finally:
            if model.gate is not None:
                model.gate.open()
            if not running.drained:
                await server.drain()


def open_channel(
    address: str, credentials: grpc.ChannelCredentials | None = None
) -> grpc.aio.Channel:
    """A channel of its own connection: grpc shares connections between equal channels."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    if credentials is None:
        return grpc.aio.insecure_channel(address, options)
    return grpc.aio.secure_channel(address, credentials, options)


def ask(prompt: str = "a red apple", **changes: Any) -> pb.GenerateImageRequest:
    """A request for three steps unless `changes` say otherwise."""
    given: dict[str, Any] = {"num_inference_steps": 3, "seed": 1}
    return pb.GenerateImageRequest(prompt=prompt, **(given | changes))


async def send_raw(channel: Any, path: str, data: bytes) -> None:
    """Call the method at `path` with raw bytes; its answers are ignored, its errors raised."""
    if path == STREAM:
        async for _ in channel.unary_stream(path)(data, timeout=TIMEOUT_S):
            pass
    else:
        await channel.unary_unary(path)(data, timeout=TIMEOUT_S)


async def until(condition: Any, timeout_s: float = 60.0) -> None:
    """Wait until `condition()` holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


async def until_state(running: Served, state: State) -> None:
    await until(lambda: running.backend.status().state is state)


async def refusal_of(call: Any) -> grpc.aio.AioRpcError:
    """The error that `call` must end with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def details_of(error: grpc.aio.AioRpcError) -> Iterator[Any]:
    """The rich details of an error, unpacked."""
    status: Any = rpc_status.from_call(error)  # type: ignore[arg-type]
    for packed in status.details if status is not None else ():
        for kind in DETAILS:
            if packed.Is(kind.DESCRIPTOR):
                message = kind()
                packed.Unpack(message)
                yield message


def detail(error: grpc.aio.AioRpcError, kind: type[Detail]) -> Detail:
    """The one detail of that kind."""
    (found,) = (one for one in details_of(error) if isinstance(one, kind))
    return found


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The reason in its ErrorInfo."""
    return str(detail(error, error_details_pb2.ErrorInfo).reason)


def fields_of(error: grpc.aio.AioRpcError) -> list[str]:
    """The fields in its BadRequest."""
    return [str(one.field) for one in detail(error, error_details_pb2.BadRequest).field_violations]


def trailing(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """Its trailing metadata."""
    return {str(key): value for key, value in error.trailing_metadata()}
