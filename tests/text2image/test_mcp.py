"""`python -m text2image.mcp`: the tools on stdin and stdout, over a fake service."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from mcp import Client, MCPError, StdioServerParameters

from tests.support.fake_service import FakeService

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def service() -> Iterator[FakeService]:
    with FakeService() as running:
        yield running


def command(address: str) -> StdioServerParameters:
    args = ["-m", "text2image.mcp", "--address", address]
    return StdioServerParameters(command=sys.executable, args=args, cwd=ROOT)


async def test_a_program_starts_it_makes_a_picture_and_reads_it(service: FakeService) -> None:
    told: list[tuple[float, float | None]] = []
    begun = asyncio.Event()

    async def follow(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total))
        begun.set()

    async with Client(command(service.address)) as client:
        fields = {"prompt": "a fox", "seed": 5, "steps": 2, "format": "jpeg"}
        result = await client.call_tool("generate_image", fields, progress_callback=follow)
        picture, link, text = cast(list[Any], result.content)
        assert (picture.type, link.type, text.type) == ("image", "resource_link", "text")
        assert base64.b64decode(picture.data).startswith(b"\xff\xd8")
        assert told == [(1, 2), (2, 2)]
        [read] = cast(list[Any], (await client.read_resource(link.uri)).contents)
        assert read.blob == picture.data
        assert [str(one.uri) for one in (await client.list_resources()).resources] == [link.uri]
        with pytest.raises(MCPError):
            await client.read_resource("text2image://pictures/none")
        status = await client.call_tool("get_status", {})
        assert status.structured_content["state"] == "ready"

        service.hang_at_step = 2
        begun.clear()
        call = client.call_tool("generate_image", {"prompt": "a"}, progress_callback=follow)
        going = asyncio.create_task(call)
        await asyncio.wait_for(begun.wait(), 10)
        going.cancel()
        assert await asyncio.to_thread(service.wait_cancelled)

        service.stop()
        failed = await client.call_tool("get_status", {})
        assert failed.is_error


async def test_a_wrong_address_ends_it_with_a_sentence() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "text2image.mcp", "--address", "nowhere"),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await process.communicate()
    assert process.returncode == 2
    assert b"An address is HOST:PORT" in complaint
