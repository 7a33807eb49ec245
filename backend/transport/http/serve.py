"""Runs uvicorn in the backend's event loop, without its signal handlers and logs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import uvicorn
from starlette.types import ASGIApp

from backend.errors import ConfigError
from backend.transport.address import explain, is_free
from backend.transport.http.certificates import Certificates, Tls
from backend.transport.http.listener import Listener, PortDeadlines
from webserver.protocol import TimedProtocol
from webserver.waiting import Wait

# A peer that lost its network is disconnected after half a minute, which cancels its generation.
# Units: seconds, seconds, a count, milliseconds.
DEAD_PEERS = {
    "TCP_KEEPIDLE": 15,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 30_000,
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits on connections."""

    max_connections: int = 1000
    deadlines: PortDeadlines = field(default_factory=PortDeadlines)


class _QuietServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, bounds: Bounds, tls: Certificates | None) -> None:
        super().__init__(config)
        self.exit = asyncio.Event()
        self._bounds = bounds
        self._tls = tls

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Like uvicorn's, but with our listener instead of asyncio's, which has no limits."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise ConfigError("HTTP could not start; the log says why.")
        deadlines = self._bounds.deadlines

        def make_protocol(
            on_wait: Callable[[Wait], None], on_lost: Callable[[], None]
        ) -> TimedProtocol:
            return TimedProtocol(
                deadlines,
                on_wait,
                on_lost,
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
            )

        listener = Listener(
            sockets or [],
            make_protocol,
            self._bounds.max_connections,
            deadlines,
            self._tls.context if self._tls is not None else None,
        )
        self.servers = [listener]  # type: ignore[list-item]
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        # uvicorn ticks ten times a second; once is enough for the Date header.
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.exit.wait(), 1.0)


class HttpServer:
    """A running HTTP server. `port` is the bound one."""

    def __init__(self, server: _QuietServer, sockets: list[socket.socket]) -> None:
        self.port: int = sockets[0].getsockname()[1]
        self._server = server
        self._task = asyncio.create_task(server.serve(sockets))

    async def started(self) -> None:
        while not self._server.started:
            await asyncio.wait({self._task}, timeout=0.01)
            if self._task.done():
                self._task.result()

    async def stop(self, grace_s: float = 1.0) -> None:
        """Refuse new requests, let running ones finish for `grace_s` seconds, then close."""
        # For uvicorn, 0 means no limit.
        self._server.config.timeout_graceful_shutdown = max(grace_s, 0.01)  # type: ignore[assignment]
        self._server.should_exit = True
        self._server.exit.set()
        await self._task


async def serve_http(
    app: ASGIApp,
    host: str,
    port: int,
    tls: Tls | None = None,
    bounds: Bounds | None = None,
    trusted_proxies: Sequence[str] = (),
) -> HttpServer:
    """Serve `app` until `stop()`; port 0 picks a free one.

    `trusted_proxies`: addresses and networks whose X-Forwarded-For header is trusted.

    Raises:
        ConfigError: the port is in use, the host unknown or a TLS file invalid.
    """
    sockets = [_listen(host, port)]
    if host == "127.0.0.1" and is_free("::1", port := sockets[0].getsockname()[1]):
        with contextlib.suppress(ConfigError):  # "localhost" means either
            sockets.append(_listen("::1", port))
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=[*trusted_proxies],
    )
    try:
        certificates = Certificates(tls) if tls is not None else None
    except (OSError, ssl.SSLError) as error:
        for sock in sockets:
            sock.close()
        raise ConfigError(f"The TLS files can't be used for HTTP: {error}") from None
    config.load()
    server = HttpServer(_QuietServer(config, bounds or Bounds(), certificates), sockets)
    await server.started()
    return server


def _listen(host: str, port: int) -> socket.socket:
    bare = host.strip("[]")
    try:
        family, *_, address = socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM)[0]
        sock = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        reason = explain(error, "TEXT2IMAGE_HTTP_PORT", port)
        raise ConfigError(f"HTTP can't listen on {host}:{port}: {reason}.") from None
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in DEAD_PEERS.items():
        if hasattr(socket, name):  # Linux; accepted sockets inherit it
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return sock
