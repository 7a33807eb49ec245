"""Certificates for tests: an authority of our own, and what it issues."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Issued(NamedTuple):
    """PEM files."""

    cert: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """Issues certificates for localhost and 127.0.0.1; files go to `folder`."""

    folder: Path
    name: x509.Name
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, folder: Path, name: str = "Test CA") -> Authority:
        folder.mkdir(parents=True, exist_ok=True)
        authority = cls(folder, _name(name), ec.generate_private_key(ec.SECP256R1()))
        certificate = authority._sign(authority.name, authority.key, is_authority=True)
        authority.ca.write_bytes(certificate)
        return authority

    @property
    def ca(self) -> Path:
        """Its own certificate, as PEM file."""
        return self.folder / "ca.pem"

    def issue(self, name: str, *, host: str = "localhost", has_expired: bool = False) -> Issued:
        """A certificate, good for servers and clients, valid for an hour unless it has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        issued = Issued(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        issued.cert.write_bytes(self._sign(_name(name), key, False, host, has_expired))
        issued.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return issued

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        is_authority: bool,
        host: str = "localhost",
        has_expired: bool = False,
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=2 * has_expired)
        hosts: list[x509.GeneralName] = [x509.DNSName(host)]
        if host == "localhost":
            hosts.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
            # Python refuses certificates without these three since 3.13.
            .add_extension(own, critical=False)
            .add_extension(issuer, critical=False)
            .add_extension(_usage(is_authority), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


def _usage(is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
