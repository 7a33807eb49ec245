"""The gRPC server: port, options, health, reflection, TLS and draining."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
from pathlib import Path
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from backend.config import Settings
from backend.engine.protocols import Backend
from backend.errors import ConfigError
from backend.transport.access.keyring import Keyring
from backend.transport.address import is_free, why_not
from backend.transport.descriptors import connections_per_server
from backend.transport.metrics import Metrics
from backend.transport.rpc import local_socket, reflection
from backend.transport.rpc.connections import Caretaker
from backend.transport.rpc.identity import Identifier
from backend.transport.rpc.interceptor import Guard
from backend.transport.rpc.secret_door import SecretDoor
from backend.transport.rpc.servicer import Text2ImageServicer
from backend.transport.rpc.tls import server_credentials
from backend.transport.tracing import tracer_of_environment
from proto import text2image_pb2 as pb
from proto import text2image_pb2_grpc as pb_grpc

log = structlog.get_logger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["Text2ImageService"].full_name
HEALTH_INTERVAL_S = 1.0
STOP_GRACE_S = 0.2

# Dead peers are only detected with all of keepalive_time, keepalive_timeout and
# http2.ping_timeout. so_reuseport is on by default and lets two servers share a port unnoticed.
OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 4 * 2**20),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.http2.max_concurrent_streams", 1000),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 30 * 60_000),
)


class _Health(health.aio.HealthServicer):
    """The standard health service; refreshes our service's state before each answer."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self._backend = backend

    async def refresh(self) -> None:
        """Set the current state; has no effect once graceful shutdown has begun."""
        answers = health_pb2.HealthCheckResponse
        is_ready = self._backend.is_ready
        await self.set(SERVICE, answers.SERVING if is_ready else answers.NOT_SERVING)

    async def Check(
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> Any:
        await self.refresh()
        return await super().Check(request, context)


class Server:
    """The gRPC server of a backend."""

    def __init__(self, settings: Settings, backend: Backend) -> None:
        self._settings = settings
        self._backend = backend
        self.metrics = Metrics()
        keyring = Keyring.of_file(settings.api_keys_file)
        self.identifier = Identifier(keyring, self.metrics.refused_caller)
        self._guard = Guard(
            self.identifier,
            self.metrics,
            settings.requests_per_minute,
            settings.concurrent_requests,
            tracer_of_environment(),
        )
        self._health = _Health(backend)
        self._max_connections = connections_per_server(settings.max_connections)
        self._server = self._new_server(self._guard)
        reflection.enable((SERVICE, health.SERVICE_NAME), self._server)
        self._door: grpc.aio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._socket_folder: Path | None = None
        self.local_target = ""
        self.local_secret = ""

    def _new_server(self, *interceptors: grpc.aio.ServerInterceptor) -> grpc.aio.Server:
        connections = ("grpc.max_allowed_incoming_connections", self._max_connections)
        server = grpc.aio.server(interceptors=interceptors, options=(*OPTIONS, connections))
        servicer = Text2ImageServicer(self._backend)
        pb_grpc.add_Text2ImageServiceServicer_to_server(servicer, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        return server

    async def start(self) -> int:
        """Open the port and return it.

        Raises:
            ConfigError: the port is in use, or the TLS files are invalid.
        """
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        await self._health.refresh()
        try:
            port = self._bind()
            self.local_target = self._bind_locally(port)
        except ConfigError:
            await self._close(None)
            raise
        await self._server.start()
        if self._door is not None:
            await self._door.start()
        caretaker = Caretaker(port, self._max_connections, self._guard.has_call_from)
        self._guard.hang_up = caretaker.hang_up
        self._tasks = [
            asyncio.create_task(self._follow_backend()),
            asyncio.create_task(caretaker.run()),
        ]
        return port

    def _bind(self) -> int:
        settings, address = self._settings, _address(self._settings)
        credentials = server_credentials(settings)

        def add(address: str) -> int:
            if credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, credentials)

        try:
            port = add(address)
        except RuntimeError:
            reason = why_not(settings.host, settings.port, "TEXT2IMAGE_PORT")
            raise ConfigError(f"Can't listen on {address}: {reason}.") from None
        if settings.host == "127.0.0.1" and is_free("::1", port):  # "localhost" means either
            with contextlib.suppress(RuntimeError):
                add(f"[::1]:{port}")
        return port

    def _bind_locally(self, port: int) -> str:
        """Open the target for this process's HTTP server: a Unix socket in a private folder.

        A Unix socket in a folder that is ours alone; on Windows, a port that wants a secret.
        """
        if not local_socket.is_supported():
            return self._open_door()
        self._socket_folder = local_socket.new_folder(port)
        target = f"unix:{self._socket_folder / local_socket.NAME}"
        try:
            self._server.add_insecure_port(target)
        except RuntimeError:
            raise ConfigError(f"Can't listen on {target}: is TMPDIR's path too long?") from None
        return target

    def _open_door(self) -> str:
        """A port of loopback, where the front is wanted at all."""
        if self._settings.http_port == 0:
            return ""
        self.local_secret = self.identifier.front_secret = secrets.token_hex(32)
        self._door = self._new_server(SecretDoor(self.local_secret), self._guard)
        try:
            return f"127.0.0.1:{self._door.add_insecure_port('127.0.0.1:0')}"
        except RuntimeError:
            raise ConfigError("Can't listen on any port of 127.0.0.1.") from None

    async def _close(self, grace_s: float | None) -> None:
        await self._server.stop(grace_s)
        if self._door is not None:
            await self._door.stop(grace_s)
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)

    async def _follow_backend(self) -> None:
        """Refresh the health state every second, for clients of the Watch rpc."""
        while True:
            await self._health.refresh()
            await asyncio.sleep(HEALTH_INTERVAL_S)

    async def drain(self) -> None:
        """Refuse new calls, answer running ones for at most `drain_s`, then close."""
        self._backend.drain()
        for task in self._tasks:
            task.cancel()
        await self._health.enter_graceful_shutdown()
        try:
            async with asyncio.timeout(self._settings.drain_s):
                await self._guard.wait_idle()
        except TimeoutError:
            log.warning(
                "still running after the drain time; ending it", drain_s=self._settings.drain_s
            )
        await self._close(STOP_GRACE_S)
        await self._backend.stop()


def _address(settings: Settings) -> str:
    host = settings.host.strip("[]")
    return f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"
