"""`python -m backend`: starts the backend and its servers."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import structlog

from backend import logs
from backend.config import Settings, load_settings
from backend.engine.backend import LocalBackend
from backend.engine.protocols import Backend
from backend.engine.turns import Turns
from backend.errors import ConfigError, ModelFailed
from backend.startup import check, offers, upscalers
from backend.transport.access import command as keys
from backend.transport.descriptors import connections_per_server, raise_limit
from backend.transport.http.app import create_app
from backend.transport.http.certificates import Tls
from backend.transport.http.serve import Bounds, HttpServer, serve_http
from backend.transport.rpc.server import Server
from backend.version import VERSION

log = structlog.get_logger(__name__)

DESCRIPTION = "The backend of Text2Image. Its settings come from the environment: TEXT2IMAGE_…"
EXIT_CONFIG = 2
EXIT_DEVICE_LOST = 3
FAREWELL_S = 2.0  # time for health checks and callers to be informed
# SIGHUP: the terminal was closed. Windows does not have it.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # the last on Windows, from scripts.demo
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))


async def serve(settings: Settings) -> int:
    """Serve until a signal arrives, then drain. Returns the process's exit code.

    When the device is lost only a new process can recover, so this one exits and leaves the
    restart to its supervisor.

    Raises:
        ConfigError: the servers can't start with these settings.
    """
    raise_limit()
    stop, lost = _stop_on_signals(), asyncio.Event()
    backend = new_backend(settings, lost.set)
    server = Server(settings, backend)
    port = await server.start()
    try:
        http = await start_http(settings, server)
    except ConfigError:
        await server.drain()
        raise
    log.info("listening", grpc=port, http=http.port if http else None, version=VERSION)
    starting = asyncio.create_task(backend.start())
    await _first(stop, lost)
    if lost.is_set():
        log.critical("the device is lost: the process ends", exit_code=EXIT_DEVICE_LOST)
        await asyncio.sleep(FAREWELL_S)
        return EXIT_DEVICE_LOST
    log.info("draining")
    starting.cancel()
    await server.drain()
    if http is not None:
        await http.stop()
    log.info("stopped")
    return 0


def new_backend(settings: Settings, on_device_lost: Callable[[], None]) -> Backend:
    """An engine in this process, or a cluster of them.

    Raises:
        ConfigError: what the settings name is not installed.
    """
    if settings.backend == "ray":
        from backend.cluster.connect import ray_backend

        return ray_backend(settings, VERSION)
    turns = Turns()
    return LocalBackend(
        settings, offers(settings, turns), VERSION, on_device_lost, upscalers(settings), turns
    )


async def _first(*events: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


async def start_http(settings: Settings, server: Server) -> HttpServer | None:
    """Start the HTTP server, which forwards to our gRPC server; None if it is turned off."""
    if settings.http_port == 0:
        return None
    app = create_app(
        server.local_target,
        cors_origins=settings.http_cors_origins.split(),
        allowed_hosts=[settings.host, *settings.http_allowed_hosts.split()],
        identifier=server.identifier,
        metrics=server.metrics,
        openai_aliases=settings.openai_aliases.split(),
        result_ttl_s=settings.result_ttl_s,
        secret=server.local_secret,
    )
    tls = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        tls = Tls(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    bounds = Bounds(connections_per_server(settings.max_connections))
    proxies = settings.http_trusted_proxies.split()
    return await serve_http(app, settings.host, settings.http_port, tls, bounds, proxies)


def loop_factory(platform: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """asyncio's own choice, but on Windows.

    There its default loop stops listening for good when a connection is reset at the wrong moment.
    """
    return asyncio.SelectorEventLoop if platform == "win32" else None


def _stop_on_signals() -> asyncio.Event:
    """An event set by Ctrl-C, SIGTERM or SIGHUP; a second signal kills the process."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        loop.call_soon_threadsafe(stop.set)

    for number in SIGNALS:
        signal.signal(number, on_signal)
    return stop


def main(arguments: Sequence[str]) -> int:
    """Run the backend.

    Returns:
        0 after a drain, 1 if the check failed, 2 if it can't start, 3 if the device was lost.
    """
    parser = argparse.ArgumentParser(prog="python -m backend", description=DESCRIPTION)
    parser.add_argument(
        "--check", action="store_true", help="compare the runtimes on this machine, and end"
    )
    keys.add_parser(parser.add_subparsers(dest="command", metavar="COMMAND"))
    wanted = parser.parse_args(arguments)
    try:
        if wanted.command == "keys":
            file = os.environ.get("TEXT2IMAGE_API_KEYS_FILE")
            return keys.run(wanted, Path(file) if file else None)
        settings = load_settings()
        logs.configure(settings.log_format, settings.log_level)
        if wanted.check:
            return 0 if check(settings) else 1
        with asyncio.Runner(loop_factory=loop_factory(sys.platform)) as runner:
            code = runner.run(serve(settings))
            if code:
                _leave(code)  # normal cleanup could wait for the lost device
    except (ConfigError, ModelFailed) as error:
        print(f"text2image: {error}", file=sys.stderr)
        return EXIT_CONFIG
    if threading.active_count() > 1:
        # The loader or calibration thread may be inside a compiler, whose own threads abort the
        # process during a normal exit. Everything that needed cleanup is done.
        _leave(0)
    return 0


def _leave(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
