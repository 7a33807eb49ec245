"""Where grpc has no Unix sockets: a port of loopback on which only the HTTP front is heard."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

HEADER = "x-text2image-front"

Handler = Any  # grpc.RpcMethodHandler; its stubs know the synchronous API alone


class SecretDoor(grpc.aio.ServerInterceptor):
    """Refuses calls that don't bring the secret: every program of this machine reaches the port."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        metadata = dict(handler_call_details.invocation_metadata or ())
        if is_secret(metadata.get(HEADER), self._secret):
            return await continuation(handler_call_details)
        return grpc.unary_unary_rpc_method_handler(_refuse)


def is_secret(shown: object, secret: str) -> bool:
    """Whether a caller shows the secret; never where there is none."""
    return bool(secret) and hmac.compare_digest(str(shown).encode(), secret.encode())


async def _refuse(_data: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "This port is the HTTP front's alone.")
