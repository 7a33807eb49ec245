"""Opens the persistent gRPC channel: address, TLS and keepalive."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc

from text2image.targets import Target

SERVICE = "text2image.Text2ImageService"
# gRPC's default is 4 MB; a 4096 x 4096 PNG of noise has 48 MB.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024


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


def open_channel(target: Target, tls: Tls | None, keepalive: Keepalive) -> grpc.Channel:
    """Open a channel to `target`; it connects on the first call and reconnects by itself.

    Raises:
        ValueError: `tls` with a list of addresses, which no certificate could be checked against.
    """
    options = _channel_options(target, keepalive)
    if tls is None:
        return grpc.insecure_channel(target.name, options)
    if target.is_list:
        raise ValueError(
            "With TLS, several services need one name, which their certificates have: "
            "dns:///HOST:PORT."
        )
    return grpc.secure_channel(target.name, tls.credentials(), options)


def _channel_options(target: Target, keepalive: Keepalive) -> list[tuple[str, int | str]]:
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
        ("grpc.enable_http_proxy", 1 if target.uses_proxy else 0),
        ("grpc.service_config", json.dumps(_service_config(target.is_several))),
    ]


def _service_config(is_several: bool) -> Mapping[str, object]:
    # Not for generations: `stream.py` retries streams itself, and explains why.
    balancing: Mapping[str, object] = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": SERVICE},
    }
    return {
        **(balancing if is_several else {}),
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
        ],
    }
