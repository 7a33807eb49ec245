"""`localhost` leads to ::1 first on Windows and macOS: both loopback addresses are served."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from typing import Any

import httpx
import pytest

from backend import __main__ as main
from backend.transport.address import explain, free_port, is_free
from backend.transport.http import create_app, serve_http
from proto import text2image_pb2 as pb
from proto import text2image_pb2_grpc as pb_grpc
from tests.support.served import open_channel, served


async def test_grpc_and_json_are_served_on_both() -> None:
    async with served() as running:
        http = await serve_http(create_app(running.server.local_target), "127.0.0.1", 0)
        async with open_channel(f"[::1]:{running.port}") as channel:
            stub: Any = pb_grpc.Text2ImageServiceStub(channel)
            await stub.GetStatus(pb.GetStatusRequest(), timeout=15)
        async with httpx.AsyncClient(timeout=20, trust_env=False) as client:
            for host in ("[::1]", "127.0.0.1"):
                assert (await client.get(f"http://{host}:{http.port}/healthz")).status_code == 200
        await http.stop()
        assert is_free("::1", http.port)


async def test_another_program_on_one_of_them_is_left_alone() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as theirs:
        port = theirs.getsockname()[1]
        async with served(port=port) as running:
            await running.stub.GetStatus(pb.GetStatusRequest(), timeout=15)
            assert running.port == port


def test_a_port_that_windows_reserves_is_explained_and_another_suggested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    error = OSError(errno.EACCES, "An attempt was made (while attempting to bind on address ...)")
    text = explain(error, "TEXT2IMAGE_PORT", 50051)
    suggested = int(text.rpartition(" ")[2])
    assert "netsh int ipv4 show excludedportrange" in text
    assert "TEXT2IMAGE_PORT" in text
    assert suggested == free_port(50051) < 49152  # outside of the ranges
    with socket.create_server(("127.0.0.1", suggested)):
        assert free_port(50051) != suggested


def test_what_the_system_says_is_passed_on_where_its_number_is_another_systems() -> None:
    """Winsock's 10049 is "Unknown error 10049" to os.strerror."""
    error = OSError(10049, "The requested address is not valid (while attempting to bind on ...)")
    assert explain(error, "TEXT2IMAGE_PORT") == "the requested address is not valid"


def test_windows_gets_a_loop_that_goes_on_listening() -> None:
    assert main.loop_factory("win32") is asyncio.SelectorEventLoop
    assert main.loop_factory("linux") is None
