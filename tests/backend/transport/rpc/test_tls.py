"""Mutual TLS: only the right certificates are accepted, and changes apply at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives import serialization

from backend.engine.backend import LocalBackend
from backend.errors import ConfigError
from backend.transport.rpc.server import Server
from proto import text2image_pb2 as pb
from proto import text2image_pb2_grpc as pb_grpc
from tests.support.certificates import Authority, Issued
from tests.support.fakes import FakeModel, Gate, loads, settings
from tests.support.served import Served, ask, open_channel, served, until


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def rogue(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("rogue"), "Rogue CA")


def trusting(authority: Authority, identity: Issued | None = None) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        authority.ca.read_bytes(),
        identity.key.read_bytes() if identity else None,
        identity.cert.read_bytes() if identity else None,
    )


@asynccontextmanager
async def tls_server(
    ours: Authority, identity: Issued, server: Issued | None = None, **changes: Any
) -> AsyncIterator[Served]:
    cert, key = server or ours.issue("server")
    async with served(
        credentials=trusting(ours, identity),
        tls_cert=cert,
        tls_key=key,
        tls_client_ca=ours.ca,
        **changes,
    ) as running:
        yield running


async def status(running: Served, credentials: grpc.ChannelCredentials | None) -> Any:
    async with open_channel(running.address, credentials) as channel:
        stub: Any = pb_grpc.Text2ImageServiceStub(channel)
        return await stub.GetStatus(pb.GetStatusRequest(), timeout=15)


async def assert_unavailable(
    running: Served, credentials: grpc.ChannelCredentials | None, server_is_well: bool = True
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await status(running, credentials)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE  # not DEADLINE_EXCEEDED
    if server_is_well:
        await running.stub.GetStatus(pb.GetStatusRequest(), timeout=15)


async def test_the_right_certificates_get_through(ours: Authority) -> None:
    async with tls_server(ours, ours.issue("alice")) as running:
        answer = await running.stub.GenerateImage(ask(), timeout=15)
        assert len(answer.images) == 1


async def test_a_caller_is_known_by_its_certificate(ours: Authority) -> None:
    alice, bob = ours.issue("alice"), ours.issue("bob")
    async with tls_server(ours, alice) as running:
        await running.stub.GenerateImage(ask(request_id="mine"), timeout=15)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await running.stub.GenerateImage(ask(request_id="mine", seed=2), timeout=15)
        assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
        async with open_channel(running.address, trusting(ours, bob)) as channel:
            stub: Any = pb_grpc.Text2ImageServiceStub(channel)
            await stub.GenerateImage(ask(request_id="mine", seed=2), timeout=15)


class TestRefused:
    async def test_a_client_without_a_certificate(self, ours: Authority) -> None:
        async with tls_server(ours, ours.issue("alice")) as running:
            await assert_unavailable(running, trusting(ours))

    async def test_a_client_of_another_authority(self, ours: Authority, rogue: Authority) -> None:
        async with tls_server(ours, ours.issue("alice")) as running:
            await assert_unavailable(running, trusting(ours, rogue.issue("alice")))

    async def test_a_client_whose_certificate_has_expired(self, ours: Authority) -> None:
        async with tls_server(ours, ours.issue("alice")) as running:
            await assert_unavailable(running, trusting(ours, ours.issue("old", has_expired=True)))

    async def test_plain_text(self, ours: Authority) -> None:
        async with tls_server(ours, ours.issue("alice")) as running:
            await assert_unavailable(running, None)

    async def test_a_server_that_the_client_does_not_trust(
        self, ours: Authority, rogue: Authority
    ) -> None:
        async with tls_server(ours, ours.issue("alice")) as running:
            await assert_unavailable(running, trusting(rogue, ours.issue("alice")))

    async def test_a_server_of_another_name(self, ours: Authority) -> None:
        alice = ours.issue("alice")
        server = ours.issue("elsewhere", host="elsewhere.example")
        async with tls_server(ours, alice, server) as running:
            await assert_unavailable(running, trusting(ours, alice), server_is_well=False)

    async def test_a_server_whose_certificate_has_expired(self, ours: Authority) -> None:
        alice = ours.issue("alice")
        async with tls_server(ours, alice, ours.issue("old", has_expired=True)) as running:
            await assert_unavailable(running, trusting(ours, alice), server_is_well=False)

    async def test_tls_to_a_plain_server(self, ours: Authority) -> None:
        async with served() as running:
            await assert_unavailable(running, trusting(ours, ours.issue("alice")))

    async def test_all_that_while_others_are_served(self, ours: Authority) -> None:
        gate = Gate()
        alice = ours.issue("alice")
        cert, key = ours.issue("server")
        async with served(
            FakeModel(gate=gate), credentials=trusting(ours, alice), tls_cert=cert, tls_key=key,
            tls_client_ca=ours.ca,
        ) as running:  # fmt: skip
            calling = asyncio.ensure_future(running.stub.GenerateImage(ask(), timeout=15))
            await until(lambda: running.backend.status().running == 1)
            await assert_unavailable(running, trusting(ours), server_is_well=False)
            gate.open()
            assert len((await calling).images) == 1


class TestFiles:
    """A bad file stops the start, and the error names it."""

    async def start(self, **files: Path) -> str:
        changed = settings(**files)
        server = Server(changed, LocalBackend(changed, loads(FakeModel()), "1.0"))
        with pytest.raises(ConfigError) as caught:
            await server.start()
        return str(caught.value)

    async def test_a_key_that_is_garbage(self, ours: Authority, tmp_path: Path) -> None:
        key = tmp_path / "bad.key"
        key.write_text(
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", encoding="utf-8"
        )
        text = await self.start(tls_cert=ours.issue("server").cert, tls_key=key)
        assert f"{key}: can't be read" in text

    async def test_a_certificate_that_is_garbage(self, ours: Authority, tmp_path: Path) -> None:
        cert = tmp_path / "bad.pem"
        cert.write_text(
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", encoding="utf-8"
        )
        text = await self.start(tls_cert=cert, tls_key=ours.issue("server").key)
        assert text.startswith(f"{cert} and ")

    async def test_the_key_of_another_certificate(self, ours: Authority) -> None:
        cert, key = ours.issue("server").cert, ours.issue("other").key
        text = await self.start(tls_cert=cert, tls_key=key)
        assert text == f"{key}: is not the key of {cert}."

    async def test_the_two_mixed_up(self, ours: Authority) -> None:
        cert, key = ours.issue("server")
        text = await self.start(tls_cert=key, tls_key=cert)
        assert text == f"{cert}: not a PEM file with a KEY."

    async def test_a_key_with_a_password(self, ours: Authority, tmp_path: Path) -> None:
        cert, key = ours.issue("server")
        locked = tmp_path / "locked.key"
        private = serialization.load_pem_private_key(key.read_bytes(), None)
        locked.write_bytes(
            private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"secret"),
            )
        )
        text = await self.start(tls_cert=cert, tls_key=locked)
        assert text == f"{locked}: is encrypted; give a key without a password."

    async def test_an_authority_that_is_garbage(self, ours: Authority, tmp_path: Path) -> None:
        cert, key = ours.issue("server")
        authority = tmp_path / "ca.pem"
        authority.write_text(
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", encoding="utf-8"
        )
        text = await self.start(tls_cert=cert, tls_key=key, tls_client_ca=authority)
        assert text == f"{authority}: can't be read as a certificate."


async def test_renewed_certificates_are_used_without_a_restart(tmp_path: Path) -> None:
    old, new = Authority.create(tmp_path / "old"), Authority.create(tmp_path / "new")
    before, after = old.issue("alice"), new.issue("alice")
    cert, key = old.issue("server")
    renewed = new.issue("server")
    async with tls_server(old, before, Issued(cert, key)) as running:
        await running.stub.GetStatus(pb.GetStatusRequest(), timeout=15)
        await status(running, trusting(old, before))
        cert.write_bytes(b"half written")
        await status(running, trusting(old, before))
        new_authority = new.ca.read_bytes()
        old_trust = trusting(old, before)
        cert.write_bytes(renewed.cert.read_bytes())
        key.write_bytes(renewed.key.read_bytes())
        old.ca.write_bytes(new_authority)
        await status(running, trusting(new, after))
        await assert_unavailable(running, old_trust, server_is_well=False)
        await running.stub.GetStatus(pb.GetStatusRequest(), timeout=15)  # connected before
