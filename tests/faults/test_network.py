"""Networks that go silent, clients that never read, and bytes that are no gRPC."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from google.protobuf.message import DecodeError

from backend.engine.protocols import Pixels
from backend.images import encode_preview
from backend.transport.rpc import interceptor, server
from proto import text2image_pb2 as pb
from proto import text2image_pb2_grpc as pb_grpc
from tests.support.fakes import FakeModel, FakeTrajectory, Gate
from tests.support.relay import Relay
from tests.support.served import (
    GENERATE,
    STREAM,
    Served,
    ask,
    open_channel,
    send_raw,
    served,
    until,
)
from tests.support.zero_window import until_cut_off

SOONER = 20  # times


def impatient() -> tuple[tuple[str, Any], ...]:
    """The server's own options, with all that waits waiting less."""
    waits = ("_time_ms", "_timeout_ms")
    return tuple(
        (name, value // SOONER if name.endswith(waits) else value) for name, value in server.OPTIONS
    )


async def test_a_network_that_went_silent_frees_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "OPTIONS", impatient())
    gate = Gate()
    async with served(FakeModel(gate=gate)) as running:
        with Relay(running.port) as relay:
            async with open_channel(relay.address) as channel:
                stub: Any = pb_grpc.Text2ImageServiceStub(channel)
                call = asyncio.ensure_future(
                    stub.GenerateImage(ask(num_inference_steps=100), timeout=60)
                )
                await asyncio.to_thread(gate.wait_arrived, 1)
                relay.silence()
                started = time.monotonic()
                await until(lambda: running.backend.status().running == 0)
                # 20 s of keepalive_time and 10 s of ping_timeout, made sooner; grpc's own
                # default would have been a minute, or never
                assert time.monotonic() - started < 30
                call.cancel()
        gate.open()
        assert (await running.counters()).cancelled == 1


def test_dead_peers_are_looked_for_with_all_three_settings() -> None:
    """Any one of them alone notices nothing: see the module's comment."""
    options = dict(server.OPTIONS)
    for name in ("keepalive_time_ms", "keepalive_timeout_ms", "http2.ping_timeout_ms"):
        assert 0 < options[f"grpc.{name}"] <= 30_000
    assert options["grpc.so_reuseport"] == 0
    assert options["grpc.max_receive_message_length"] == 4 * 2**20


NOISE = np.random.default_rng(1).integers(0, 256, (512, 512, 3), np.uint8)
PREVIEWS = 400


class Heavy(FakeModel):
    """Its previews are far larger than previews are."""

    def preview(self, trajectory: FakeTrajectory) -> Pixels:
        return NOISE


async def test_a_client_that_never_reads_holds_up_nobody_and_fills_no_memory() -> None:
    async with served(Heavy(), max_steps=1000) as running:
        await running.stub.GenerateImage(ask("warm up", preview_interval=1), timeout=30)
        before = psutil.Process().memory_info().rss
        request = ask("never read", num_inference_steps=PREVIEWS, preview_interval=1)
        call = running.stub.StreamGenerateImage(request)
        await until(lambda: running.backend.status().counters.completed == 2, timeout_s=60)
        grown = psutil.Process().memory_info().rss - before
        # both ends of the connection are in this process
        assert grown < PREVIEWS * len(encode_preview(NOISE)) / 2, f"{grown / 2**20:.0f} MB"
        events = [event async for event in call]
        assert events[-1].WhichOneof("event") == "done"
        assert len(events) < PREVIEWS / 2


# More than grpc buffers for a client.
UNREAD = ask(num_inference_steps=PREVIEWS, preview_interval=1).SerializeToString()


async def test_a_client_whose_window_stays_shut_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It answers pings, so that it counts as alive."""
    monkeypatch.setattr(interceptor, "UNREAD_S", 0.5)
    async with served(Heavy(), max_steps=1000) as running:
        async with asyncio.timeout(60):
            await until_cut_off(running.port, STREAM, UNREAD)
        assert len((await running.stub.GenerateImage(ask("next"), timeout=30)).images) == 1


async def test_a_stop_does_not_wait_for_a_client_whose_window_stays_shut() -> None:
    async with served(Heavy(), max_steps=1000) as running:
        silent = asyncio.create_task(until_cut_off(running.port, STREAM, UNREAD))
        await until(lambda: running.backend.status().counters.completed == 1, 60)
        started = time.monotonic()
        await running.drain()  # has 30 s
        assert time.monotonic() - started < 25
        await asyncio.wait_for(silent, 30)


GARBAGE = {
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a TLS hello": bytes.fromhex("16030100a5010000a10303") + bytes(160),
    "a bad preface": b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + b"\xff" * 64,
    "a frame of 16 MB": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff\xff\xff\x00" + bytes(5 + 4096),
    "noise": random.Random(1).randbytes(4096),
    "nothing": b"",
}


@pytest.mark.parametrize("kind", GARBAGE)
async def test_garbage_on_the_port_disturbs_nobody(kind: str) -> None:
    gate = Gate()
    async with served(FakeModel(gate=gate)) as running:
        call = asyncio.ensure_future(running.stub.GenerateImage(ask(), timeout=30))
        await asyncio.to_thread(gate.wait_arrived, 1)
        await asyncio.to_thread(send_garbage, running.port, GARBAGE[kind])
        gate.open()
        assert len((await call).images) == 1
        assert len((await running.stub.GenerateImage(ask("next"), timeout=30)).images) == 1


def send_garbage(port: int, data: bytes) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.settimeout(0.05)
            try:
                connection.sendall(data)
                connection.recv(65536)
            except OSError:
                continue  # closed, or nothing to say


class TestFuzz:
    """Whatever bytes come, the answer is a picture or a refusal that names the fault."""

    ALLOWED = {
        grpc.StatusCode.OK,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,  # another model's name
        grpc.StatusCode.ALREADY_EXISTS,  # the same id, other parameters
    }
    LIMITS: dict[str, Any] = {"max_pixels": 128 * 128, "max_steps": 20, "max_images": 2}

    async def codes(self, running: Served, messages: list[bytes]) -> dict[grpc.StatusCode, int]:
        found: dict[grpc.StatusCode, int] = {}
        for data in messages:
            try:
                await send_raw(running.channel, GENERATE, data)
                code = grpc.StatusCode.OK
            except grpc.aio.AioRpcError as error:
                code = error.code()
            found[code] = found.get(code, 0) + 1
        return found

    async def test_mutated_messages(self) -> None:
        chance = random.Random(7)
        messages = [mutated(valid(chance), chance) for _ in range(600)]
        async with served(**self.LIMITS) as running:
            found = await self.codes(running, messages)
            assert found.keys() <= self.ALLOWED
            assert found[grpc.StatusCode.OK] > 20
            assert found[grpc.StatusCode.INVALID_ARGUMENT] > 20
            counters = await running.counters()
            assert counters.failed == 0

    async def test_bytes_that_never_were_a_message(self) -> None:
        chance = random.Random(8)
        messages = [chance.randbytes(chance.randrange(1, 60)) for _ in range(200)]
        async with served(**self.LIMITS) as running:
            found = await self.codes(running, messages)
            assert found.keys() <= {grpc.StatusCode.INVALID_ARGUMENT}


def valid(chance: random.Random) -> bytes:
    """A good request in which many fields are set."""
    request = ask(
        chance.choice(["a cat", "ein Füchslein 🦊", "x" * 200]),
        negative_prompt=chance.choice(["", "dog"]),
        height=chance.choice([64, 72, 128]),
        width=chance.choice([64, 72, 128]),
        guidance_scale=chance.choice([0.0, 1.0, 7.5]),
        num_images=chance.choice([1, 2]),
        scheduler=chance.choice(["", "pndm", "heun"]),
        output_format=chance.choice([0, 1, 2, 3]),
        preview_interval=chance.choice([0, 1]),
    )
    return request.SerializeToString()


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, cut out or doubled; sometimes none."""
    out = bytearray(data)
    for _ in range(chance.choice([0, 1, 1, 2, 5])):
        place = chance.randrange(len(out))
        match chance.randrange(4):
            case 0:
                out[place] = chance.randrange(256)
            case 1:
                del out[place : place + chance.randrange(1, 4)]
            case 2:
                out[place:place] = chance.randbytes(chance.randrange(1, 4))
            case _:
                out[place] ^= 1 << chance.randrange(8)
        if not out:
            break
    return bytes(out)


def test_the_mutations_reach_both_sides_of_the_parser() -> None:
    chance = random.Random(7)
    parsed = 0
    for _ in range(600):
        try:
            pb.GenerateImageRequest.FromString(mutated(valid(chance), chance))
            parsed += 1
        except DecodeError:
            continue
    assert 100 < parsed < 550
