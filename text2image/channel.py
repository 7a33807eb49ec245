"""One persistent connection: where it goes, how it is secured, and how a dead peer is noticed."""

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
# A default client stops at 4 MB; one picture of 4096 x 4096 noise as PNG is 48 MB.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024

_HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):(?P<port>[0-9]{1,5})")
_TARGET_SCHEMES = ("dns:", "ipv4:", "ipv6:", "unix:")


@dataclass(frozen=True, slots=True)
class Keepalive:
    """How soon a peer that went silent is noticed: after `time_s` + `timeout_s` at the latest.

    The service refuses clients that ping more often than every 10 s on an idle connection.
    """

    time_s: float = 20.0
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files. `ca`: whom to trust (None: the system's roots). `cert`, `key`: who we are."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files.

        Raises:
            ValueError: where a file is not PEM, or a certificate comes without its key.
            OSError: where a file can't be read.
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
    """Open the channel to `address`; it connects on the first call, and again when it must.

    Raises:
        ValueError: where `address` is not HOST:PORT or a gRPC target such as unix:/run/t2i.sock.
    """
    check_address(address)
    options = _channel_options(address, keepalive)
    if tls is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, tls.credentials(), options)


def check_address(address: str) -> None:
    """Refuse what gRPC would misread, such as a missing port (it takes 443 then) or a URL."""
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
        # Without it gRPC waits a minute for the answer to a ping, whatever keepalive says.
        ("grpc.http2.ping_timeout_ms", round(keepalive.timeout_s * 1000)),
        # A request may wait in the queue for long with nothing to be said.
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
    # Not for generations: streams are tried again in `stream.py`, which says why.
    return {
        "methodConfig": [
            {
                "name": [
                    {"service": SERVICE, "method": "GetStatus"},
                    {"service": SERVICE, "method": "CheckPrompt"},
                ],
                "retryPolicy": {
                    "maxAttempts": 2,  # it is polled: the next poll is the better retry
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
