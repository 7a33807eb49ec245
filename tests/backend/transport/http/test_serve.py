from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from pathlib import Path

import httpx
import pytest

from backend.errors import ConfigError
from backend.transport.http import create_app, serve_http
from backend.transport.http.certificates import Tls
from backend.transport.http.serve import DEAD_PEERS
from tests.support.certificates import Authority
from tests.support.fake_service import FakeService
from tests.support.http_front import GENERATE, STATUS, STREAM


async def test_a_port_that_is_taken_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}"):
            await serve_http(create_app("127.0.0.1:1"), "127.0.0.1", port)


async def test_a_host_that_is_unknown_is_one_clear_error() -> None:
    with pytest.raises(ConfigError, match=r"no-such-host\.invalid"):
        await serve_http(create_app("127.0.0.1:1"), "no-such-host.invalid", 0)


async def test_tls_files_that_are_none_are_one_clear_error(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("junk", encoding="utf-8")
    with pytest.raises(ConfigError, match="TLS files"):
        await serve_http(create_app("127.0.0.1:1"), "127.0.0.1", 0, Tls(junk, junk))


async def test_signals_stay_with_the_backend() -> None:
    before = signal.getsignal(signal.SIGTERM)
    server = await serve_http(create_app("127.0.0.1:1"), "127.0.0.1", 0)
    assert signal.getsignal(signal.SIGTERM) is before
    await server.stop()


async def test_ipv6_is_served() -> None:
    server = await serve_http(create_app("127.0.0.1:1"), "[::1]", 0)
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://[::1]:{server.port}/healthz")
    await server.stop()
    assert answer.status_code == 200


async def test_connections_notice_a_peer_whose_network_is_gone() -> None:
    server = await serve_http(create_app("127.0.0.1:1"), "127.0.0.1", 0)
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.get(f"http://127.0.0.1:{server.port}/healthz")
        [connection] = server._server.server_state.connections
        assert connection.transport is not None
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        for name, value in DEAD_PEERS.items():
            if hasattr(socket, name):
                assert sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value
    await server.stop()


async def test_stopping_lets_what_runs_finish_and_takes_nothing_new() -> None:
    with FakeService(num_steps=3, step_s=0.2) as service:
        server = await serve_http(create_app(service.address), "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.port}"
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            running = asyncio.create_task(client.post(STREAM, json={"prompt": "a fox"}))
            while not service.active:
                await asyncio.sleep(0.01)
            await server.stop(grace_s=10)
            assert "event: done" in (await running).text
            with pytest.raises(httpx.ConnectError):
                await client.post(STATUS, json={})


async def test_stopping_cuts_off_what_outlasts_the_grace() -> None:
    with FakeService(hang_at_step=1) as service:
        server = await serve_http(create_app(service.address), "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.port}"
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            running = asyncio.create_task(client.post(STREAM, json={"prompt": "a fox"}))
            while not service.active:
                await asyncio.sleep(0.01)
            await asyncio.wait_for(server.stop(grace_s=0.1), 5)
            assert await asyncio.to_thread(service.wait_cancelled)
            assert (await running).status_code == 500


async def test_https_with_certificates_for_both_sides(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path / "ours")
    server_files, client_files = authority.issue("server"), authority.issue("client")
    tls = Tls(server_files.cert, server_files.key, authority.ca)
    server = await serve_http(create_app("127.0.0.1:1"), "127.0.0.1", 0, tls)
    url = f"https://localhost:{server.port}/healthz"
    trusting = ssl.create_default_context(cafile=str(authority.ca))
    async with httpx.AsyncClient(verify=trusting, trust_env=False) as stranger:
        with pytest.raises(httpx.TransportError):
            await stranger.get(url)
    trusting.load_cert_chain(client_files.cert, client_files.key)
    async with httpx.AsyncClient(verify=trusting, trust_env=False) as client:
        assert (await client.get(url)).status_code == 200
    await server.stop()


class TestForwardedFor:
    """The header that a proxy names the client with: anybody can send it."""

    async def caller(self, header: bytes, *trusted: str) -> str:
        """Whom the service was told to answer for."""
        with FakeService() as service:
            app = create_app(service.address)
            server = await serve_http(app, "127.0.0.1", 0, trusted_proxies=trusted)
            async with httpx.AsyncClient(trust_env=False) as client:
                url = f"http://127.0.0.1:{server.port}{GENERATE}"
                headers = [(b"x-forwarded-for", header)]
                answer = await client.post(url, json={"prompt": "a fox"}, headers=headers)
            await server.stop()
            assert answer.status_code == 200
            return service.metadata[0]["x-text2image-client"]

    async def test_nobody_chooses_an_address(self) -> None:
        assert await self.caller(b"10.1.2.3") == "127.0.0.1"

    async def test_a_trusted_proxy_does(self) -> None:
        assert await self.caller(b"10.1.2.3", "127.0.0.0/8") == "10.1.2.3"
        assert await self.caller(b"10.1.2.3", "10.0.0.0/8") == "127.0.0.1"

    @pytest.mark.parametrize("header", ["ä".encode(), b"a b", b"\xff", b"", b"x" * 1000])
    async def test_what_is_no_address_is_no_error(self, header: bytes) -> None:
        assert await self.caller(header) == "127.0.0.1"
        assert await self.caller(header, "127.0.0.1") in ("127.0.0.1", "unknown")
