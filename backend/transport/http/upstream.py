"""Calls the rpcs over one channel to the gRPC port."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from starlette.requests import Request

from backend.transport.http.credentials import authorization_of
from backend.transport.http.problem import Problem, from_rpc_error, malformed
from backend.transport.rpc.secret_door import HEADER
from proto import text2image_pb2

SERVICE = text2image_pb2.DESCRIPTOR.services_by_name["Text2ImageService"]
CLIENT_METADATA = "x-text2image-client"
TRACE_PARENT = re.compile(r"[0-9a-f-]{55}")
# Flags in a request's state: an rpc was called; it was refused although its status is 200.
FORWARDED, REFUSED = "forwarded", "refused"

# A picture may be larger than gRPC's default of 4 MB; the caller is ours.
# Its port is on this machine: no proxy is asked.
_OPTIONS = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of an rpc, and its timeout in seconds (None: no limit)."""

    metadata: tuple[tuple[str, str], ...]
    timeout_s: float | None


def caller_of(request: Request) -> Caller:
    """The HTTP client's address, credentials and Connect-Timeout-Ms.

    Raises:
        Problem: the timeout is not a number of at most ten digits, or the credentials not text.
    """
    request.scope.setdefault("state", {})[FORWARDED] = True
    metadata = []
    if request.client is not None:
        metadata.append((CLIENT_METADATA, _address(request.client.host)))
    if authorization := authorization_of(request.scope):
        if not (authorization.isascii() and authorization.isprintable()):
            raise Problem(grpc.StatusCode.UNAUTHENTICATED, "The Authorization header is malformed.")
        metadata.append(("authorization", authorization))
    parent = request.headers.get("traceparent", "")
    if TRACE_PARENT.fullmatch(parent):
        metadata.append(("traceparent", parent))
    return Caller(tuple(metadata), _timeout_s(request.headers.get("connect-timeout-ms")))


def _address(host: str) -> str:
    """The address, or one common name for invalid ones passed on by a trusted proxy."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return "unknown"


def _timeout_s(milliseconds: str | None) -> float | None:
    if milliseconds is None:
        return None
    if not (milliseconds.isascii() and milliseconds.isdigit() and len(milliseconds) <= 10):
        raise malformed("Connect-Timeout-Ms must be a number of at most ten digits.")
    return int(milliseconds) / 1000


class Upstream:
    """Forwards calls to the gRPC port at `target`. Created inside the running event loop.

    `secret` opens that port where it is a `SecretDoor`.
    """

    def __init__(self, target: str, secret: str = "") -> None:
        self._channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
        self._opening = ((HEADER, secret),) if secret else ()

    async def close(self) -> None:
        await self._channel.close()

    async def call(self, method: MethodDescriptor, request: Message, caller: Caller) -> Message:
        """One unary rpc.

        Raises:
            Problem: what the gRPC port answered.
        """
        rpc = self._channel.unary_unary(
            path_of(method),
            request_serializer=_serialize,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        try:
            return await rpc(
                request, metadata=(*caller.metadata, *self._opening), timeout=caller.timeout_s
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None

    async def stream(
        self, method: MethodDescriptor, request: Message, caller: Caller
    ) -> AsyncGenerator[Any]:
        """One server-streaming rpc; closing the iterator cancels it.

        Raises:
            Problem: what the gRPC port answered.
        """
        rpc = self._channel.unary_stream(
            path_of(method),
            request_serializer=_serialize,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        metadata = (*caller.metadata, *self._opening)
        call = rpc(request, metadata=metadata, timeout=caller.timeout_s)
        try:
            async for message in call:
                yield message
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()

    async def is_serving(self) -> bool:
        """Whether the service can generate now, by the standard health protocol."""
        request = health_pb2.HealthCheckRequest(service=SERVICE.full_name)
        stub: Any = health_pb2_grpc.HealthStub(self._channel)
        try:
            answer = await stub.Check(request, metadata=self._opening, timeout=2)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def path_of(method: MethodDescriptor) -> str:
    """The rpc's path, such as /text2image.Text2ImageService/GenerateImage."""
    return f"/{method.containing_service.full_name}/{method.name}"


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
