"""Loads the TLS files for HTTPS and reloads them when they change."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0

Stamps = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS files; with a client CA, clients must present a certificate."""

    cert: Path
    key: Path
    client_ca: Path | None = None


class Certificates:
    """The TLS context for new connections; follows changes of the files."""

    def __init__(self, tls: Tls) -> None:
        """Raises OSError or ssl.SSLError if a file is invalid."""
        self._tls = tls
        self._stamps = self._stamp()
        self._looked_s = time.perf_counter()
        self._context = self._load()

    def context(self) -> ssl.SSLContext:
        """The current context; while changed files are invalid, the previous one."""
        if time.perf_counter() - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = time.perf_counter()
            self._look()
        return self._context

    def _look(self) -> None:
        try:
            stamps = self._stamp()
            if stamps != self._stamps:
                self._context, self._stamps = self._load(), stamps
                log.info("certificates reloaded", server="http")
        except (OSError, ssl.SSLError) as error:  # maybe half written: checked again next time
            log.warning("certificates not reloaded", server="http", error=str(error))

    def _stamp(self) -> Stamps:
        paths = (self._tls.cert, self._tls.key, self._tls.client_ca)
        stats = [path.stat() for path in paths if path is not None]
        return tuple((stat.st_mtime_ns, stat.st_size) for stat in stats)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._tls.cert, self._tls.key)
        if self._tls.client_ca is not None:
            context.load_verify_locations(self._tls.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context
