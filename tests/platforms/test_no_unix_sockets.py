"""Windows: grpc has no Unix sockets, so the HTTP front comes by a port of loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from backend.transport.http import create_app, serve_http
from backend.transport.rpc import local_socket
from backend.transport.rpc.secret_door import HEADER
from backend.transport.rpc.server import Server
from proto import text2image_pb2 as pb
from proto import text2image_pb2_grpc as pb_grpc
from tests.support.certificates import Authority
from tests.support.http_front import GENERATE, STATUS
from tests.support.served import open_channel, refusal_of, served


@pytest.fixture(autouse=True)
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_socket, "is_supported", lambda: False)


@asynccontextmanager
async def front_of(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(server.local_target, secret=server.local_secret)
    http = await serve_http(app, "127.0.0.1", 0)
    base_url = f"http://127.0.0.1:{http.port}"
    async with httpx.AsyncClient(base_url=base_url, timeout=20, trust_env=False) as client:
        yield client
    await http.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1"])
async def test_json_is_served_wherever_the_backend_listens(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # which grpc would ask: nobody listens
    async with served(host=host, http_port=8080) as running, front_of(running.server) as http:
        assert (await http.get("/readyz")).status_code == 200
        answer = await http.post(GENERATE, json={"prompt": "a cat", "numInferenceSteps": 1})
        assert answer.status_code == 200
        assert len(answer.json()["images"]) == 1


async def test_beside_tls_with_certificates_of_callers(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path / "ours")
    files = authority.issue("server")
    tls: dict[str, Any] = {
        "tls_cert": files.cert,
        "tls_key": files.key,
        "tls_client_ca": authority.ca,
    }
    async with served(http_port=8080, **tls) as running, front_of(running.server) as http:
        assert (await http.post(STATUS, json={})).status_code == 200


async def test_the_port_hears_nobody_but_the_front() -> None:
    async with (
        served(http_port=8080) as running,
        open_channel(running.server.local_target) as channel,
    ):
        stub: Any = pb_grpc.Text2ImageServiceStub(channel)
        for metadata in ((), ((HEADER, "wrong"),), ((HEADER, ""),)):
            call = stub.GetStatus(pb.GetStatusRequest(), metadata=metadata, timeout=15)
            error = await refusal_of(call)
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_there_is_no_such_port_without_json() -> None:
    async with served(http_port=0) as running:
        assert running.server.local_target == ""
        await running.stub.GetStatus(pb.GetStatusRequest(), timeout=15)


async def test_callers_are_told_apart_behind_the_front() -> None:
    """Each is its own client, and a wrong key locks out its address, not the front's."""
    clients: list[str] = []

    async with served(http_port=8080) as running:
        identify = running.server.identifier.identify

        def note(context: Any) -> Any:
            caller = identify(context)
            clients.append(f"{caller.client} {caller.address}")
            return caller

        running.server.identifier.identify = note  # type: ignore[method-assign]
        async with front_of(running.server) as http:
            assert (await http.post(STATUS, json={})).status_code == 200
    assert clients == ["unix/127.0.0.1 127.0.0.1"]
