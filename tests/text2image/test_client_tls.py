"""The client library and the command line over TLS."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from client import State, Text2ImageClient, Tls, Unavailable, main
from tests.support.certificates import Authority
from tests.support.fake_service import FakeService


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def service(authority: Authority) -> Iterator[FakeService]:
    cert, key = authority.issue("server")
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), cert.read_bytes())],
        root_certificates=authority.ca.read_bytes(),
        require_client_auth=True,
    )
    with FakeService(credentials=credentials) as service:
        yield service


def test_plain_text_does_not_get_through(service: FakeService) -> None:
    with Text2ImageClient(service.address) as client, pytest.raises(Unavailable):
        client.status()


def test_an_authority_that_we_do_not_know_is_not_trusted(
    service: FakeService, authority: Authority, tmp_path: Path
) -> None:
    ours = authority.issue("ours")
    rogue = Authority.create(tmp_path, "Rogue CA")
    tls = Tls(rogue.ca, ours.cert, ours.key)
    with Text2ImageClient(service.address, tls=tls) as client, pytest.raises(Unavailable):
        client.status()


def test_without_a_certificate_of_ours_the_service_refuses(
    service: FakeService, authority: Authority
) -> None:
    with (
        Text2ImageClient(service.address, tls=Tls(authority.ca)) as client,
        pytest.raises(Unavailable),
    ):
        client.status()


@pytest.mark.parametrize("missing", ["cert", "key"])
def test_half_an_identity_is_refused(authority: Authority, missing: str) -> None:
    ours = authority.issue("ours")._asdict()
    ours[missing] = None
    with pytest.raises(ValueError, match="needs its key"):
        Text2ImageClient(tls=Tls(authority.ca, **ours))


def test_both_sides_know_each_other(service: FakeService, authority: Authority) -> None:
    ours = authority.issue("ours")
    with Text2ImageClient(
        service.address, tls=Tls(authority.ca, ours.cert, ours.key), api_key="s3cret"
    ) as client:
        assert client.status().state is State.READY
        assert client.generate("x").images
    assert service.metadata[-1]["authorization"] == "Bearer s3cret"


def test_the_command_line_takes_the_files(
    service: FakeService,
    authority: Authority,
    capsys: pytest.CaptureFixture[str],
) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    ours = authority.issue("ours")
    files = ["--tls-ca", authority.ca, "--tls-cert", ours.cert, "--tls-key", ours.key]
    assert main(["status", "--address", service.address, *map(str, files)]) == 0
    assert "READY" in capsys.readouterr().out
    signal.signal(signal.SIGTERM, handler)
