"""Opens the persistent gRPC channel: address, TLS and keepalive."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc

SERVICE = "text2image.Text2ImageService"
DEFAULT_ADDRESS = "127.0.0.1:50051"
# gRPC's default is 4 MB; a 4096 x 4096 PNG of noise has 48 MB.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024

_HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):(?P<port>[0-9]{1,5})")
_TARGET_SCHEMES = ("dns:", "ipv4:", "ipv6:", "unix:")


@dataclass(frozen=True, slots=True)
class Keepalive:
    """A dead peer is detected after at most `time_s` + `timeout_s` seconds.

    The service refuses clients that ping more often than every 10 s on an idle connection.
    """

    time_s: float = 20.0
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files. `ca`: trusted roots (None: the system's). `cert`, `key`: the client's own."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the PEM files.

        Raises:
            ValueError: a file is not PEM, or only one of certificate and key is given.
            OSError: a file can't be read.
        """
        if (self.cert is None) != (self.key is None):
            raise ValueError("A client certificate needs its key, and a key its certificate.")
        ca, cert, key = (_read_pem(path) for path in (self.ca, self.cert, self.key))
        return grpc.ssl_channel_credentials(ca, key, cert)


def _read_pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    pem = path.read_bytes()
    if b"-----BEGIN " not in pem:  # gRPC would only fail at the handshake, without naming the file
        raise ValueError(f"{path} is not a PEM file.")
    return pem


def open_channel(address: str, tls: Tls | None, keepalive: Keepalive) -> grpc.Channel:
    """Open a channel to `address`; it connects on the first call and reconnects by itself.

    Raises:
        ValueError: `address` is not HOST:PORT or a gRPC target such as unix:/run/t2i.sock.
    """
    check_address(address)
    options = _channel_options(address, keepalive)
    if tls is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, tls.credentials(), options)


def check_address(address: str) -> None:
    """Refuse addresses that gRPC would misread: without a port (it assumes 443), or a URL."""
    if address.startswith(_TARGET_SCHEMES):
        return
    match = _HOST_PORT.fullmatch(address)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        raise ValueError(
            f"An address is HOST:PORT, for example {DEFAULT_ADDRESS}, not {address!r}."
        )


def _channel_options(address: str, keepalive: Keepalive) -> list[tuple[str, int | str]]:
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", round(keepalive.time_s * 1000)),
        ("grpc.keepalive_timeout_ms", round(keepalive.timeout_s * 1000)),
        # Otherwise gRPC waits a minute for the answer to a ping, whatever keepalive_timeout says.
        ("grpc.http2.ping_timeout_ms", round(keepalive.timeout_s * 1000)),
        # A request can wait in the queue for a long time without any data.
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 500),
        ("grpc.max_reconnect_backoff_ms", 2000),
        ("grpc.min_reconnect_backoff_ms", 5000),  # also the limit for one attempt to connect
        ("grpc.enable_http_proxy", 0 if _is_local(address) else 1),
        ("grpc.service_config", json.dumps(_service_config())),
    ]


def _is_local(address: str) -> bool:
    match = _HOST_PORT.fullmatch(address)
    if match is None:
        return address.startswith("unix:")
    host = match["host"].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _service_config() -> Mapping[str, object]:
    # Not for generations: `stream.py` retries streams itself, and explains why.
    return {
        "methodConfig": [
            {
                "name": [
                    {"service": SERVICE, "method": "GetStatus"},
                    {"service": SERVICE, "method": "CheckPrompt"},
                ],
                "retryPolicy": {
                    "maxAttempts": 2,  # polled anyway, so the next poll is a retry
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
