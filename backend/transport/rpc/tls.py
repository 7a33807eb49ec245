"""The server's certificate and whom it trusts, checked before grpc sees them.

grpc says of a bad file no more than that the port could not be opened.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc

from backend.config import Settings
from backend.errors import ConfigError


def server_credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """What the settings ask for; None without TLS.

    Raises:
        ConfigError: a file is no good, and which one.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    key, certificate = _pem(settings.tls_key, "KEY"), _pem(settings.tls_cert, "CERTIFICATE")
    _check_pair(settings.tls_cert, settings.tls_key)
    if settings.tls_client_ca is None:
        return grpc.ssl_server_credentials([(key, certificate)])
    authority = _pem(settings.tls_client_ca, "CERTIFICATE")
    _check_authority(settings.tls_client_ca)
    return grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)


def _pem(path: Path, kind: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}.") from None
    if f"{kind}-----".encode() not in content:
        raise ConfigError(f"{path}: not a PEM file with a {kind}.")
    return content


def _check_pair(certificate: Path, key: Path) -> None:
    def refuse_password() -> str:
        raise ConfigError(f"{key}: is encrypted; give a key without a password.")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, refuse_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"{key}: is not the key of {certificate}.") from None
        raise ConfigError(
            f"{certificate} and {key}: can't be read as a certificate and its key."
        ) from None


def _check_authority(path: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except ssl.SSLError:
        raise ConfigError(f"{path}: can't be read as a certificate.") from None
