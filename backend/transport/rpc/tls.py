"""Loads and checks the TLS files.

grpc's only error for an invalid file is that the port could not be opened.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc
import structlog

from backend.config import Settings
from backend.errors import ConfigError

log = structlog.get_logger(__name__)


def server_credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """Server credentials that follow changes of the files; None without TLS.

    Raises:
        ConfigError: names the invalid file.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    files = _Files(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    return grpc.dynamic_ssl_server_credentials(
        files.configuration,
        files.renewed,  # type: ignore[arg-type]  # None: unchanged
        require_client_authentication=settings.tls_client_ca is not None,
    )


class _Files:
    """The TLS files; grpc calls `renewed` at each handshake."""

    def __init__(self, certificate: Path, key: Path, authority: Path | None) -> None:
        self._certificate, self._key, self._authority = certificate, key, authority
        self._stamp = self._look()
        self.configuration = self._read()

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """The new configuration if the files have changed and are valid, else None."""
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return None
            configuration = self._read()
        except (ConfigError, OSError) as error:  # maybe half written: checked again next time
            log.warning("certificates not reloaded", server="grpc", error=str(error))
            return None
        self._stamp = stamp
        log.info("certificates reloaded", server="grpc")
        return configuration

    def _look(self) -> tuple[tuple[int, int], ...]:
        paths = (self._certificate, self._key, self._authority)
        stats = [path.stat() for path in paths if path is not None]
        return tuple((stat.st_mtime_ns, stat.st_size) for stat in stats)

    def _read(self) -> grpc.ServerCertificateConfiguration:
        key, certificate = _pem(self._key, "KEY"), _pem(self._certificate, "CERTIFICATE")
        _check_pair(self._certificate, self._key)
        if self._authority is None:
            return grpc.ssl_server_certificate_configuration([(key, certificate)])
        authority = _pem(self._authority, "CERTIFICATE")
        _check_authority(self._authority)
        return grpc.ssl_server_certificate_configuration([(key, certificate)], authority)


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
