"""The gRPC server: health, reflection, what it refuses, and how it drains."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2

from backend.domain import State
from backend.engine.backend import LocalBackend
from backend.errors import ConfigError
from backend.transport.rpc.errors import PUSHBACK
from backend.transport.rpc.server import SERVICE, Server
from proto import text2image_pb2 as pb
from proto import text2image_pb2_grpc as pb_grpc
from tests.support.fakes import SECRET, FakeModel, Gate, loads, noise, settings, wide_costs
from tests.support.served import (
    GENERATE,
    STREAM,
    ask,
    detail,
    details_of,
    fields_of,
    open_channel,
    reason_of,
    refusal_of,
    send_raw,
    served,
    trailing,
    until,
)

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
DEFAULT_CLIENT_BYTES = 4 * 2**20


class TestPort:
    async def start(self, **changes: Any) -> str:
        wanted = settings(**changes)
        server = Server(wanted, LocalBackend(wanted, loads(FakeModel()), "1.0"))
        with pytest.raises(ConfigError) as caught:
            await server.start()
        return str(caught.value)

    async def test_a_second_server_on_the_same_port_is_refused(self) -> None:
        async with served() as running:
            text = await self.start(port=running.port)
            assert text.startswith(f"Can't listen on 127.0.0.1:{running.port}: another program")
            await running.stub.GetStatus(pb.GetStatusRequest(), timeout=15)

    async def test_an_address_of_another_machine(self) -> None:
        text = await self.start(host="192.0.2.1", allow_insecure=True)
        assert text == "Can't listen on 192.0.2.1:0: cannot assign requested address."

    async def test_a_name_that_is_none(self) -> None:
        text = await self.start(host="no-such-host.invalid", allow_insecure=True)
        assert text.startswith("Can't listen on no-such-host.invalid:0: ")

    @pytest.mark.parametrize("host", ["::1", "[::1]"])
    async def test_ipv6(self, host: str) -> None:
        async with bare_on(host) as port, open_channel(f"[::1]:{port}") as channel:
            stub: Any = pb_grpc.Text2ImageServiceStub(channel)
            await stub.GetStatus(pb.GetStatusRequest(), timeout=15)


@asynccontextmanager
async def bare_on(host: str) -> AsyncIterator[int]:
    wanted = settings(host=host)
    server = Server(wanted, LocalBackend(wanted, loads(FakeModel()), "1.0"))
    yield await server.start()
    await server.drain()


class TestRefusals:
    async def test_all_bad_fields_at_once(self) -> None:
        async with served() as running:
            request = ask("", height=100, width=1, guidance_scale=float("nan"), seed=-9,
                          num_inference_steps=0, num_images=99, output_format=9,
                          scheduler="magic", request_id="a b", preview_interval=-1)  # fmt: skip
            error = await refusal_of(running.stub.GenerateImage(request, timeout=15))
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert sorted(fields_of(error)) == sorted(
                ["output_format", "request_id", "prompt", "height", "width", "guidance_scale",
                 "num_inference_steps", "num_images", "seed", "preview_interval", "scheduler"]
            )  # fmt: skip

    @pytest.mark.parametrize("method", [GENERATE, STREAM])
    async def test_a_megabyte_of_prompt_is_refused_in_no_time_and_not_repeated(
        self, method: str
    ) -> None:
        model = FakeModel()
        async with served(model) as running:
            data = ask("hunter2 " * 131_072).SerializeToString()
            await running.stub.GetStatus(pb.GetStatusRequest(), timeout=15)
            started = time.process_time()
            error = await refusal_of(send_raw(running.channel, method, data))
            assert time.process_time() - started < 0.5
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert fields_of(error) == ["prompt"]
            assert "hunter2" not in repr(error) + str(list(details_of(error)))
            assert model.prepared == []

    async def test_an_unknown_model(self) -> None:
        async with served() as running:
            error = await refusal_of(running.stub.GenerateImage(ask(model="sd-9"), timeout=15))
            assert error.code() is grpc.StatusCode.NOT_FOUND
            assert detail(error, error_details_pb2.ResourceInfo).resource_name == "sd-9"

    async def test_a_message_over_4_mb(self) -> None:
        async with served() as running:
            error = await refusal_of(running.stub.GenerateImage(ask("x" * 2**22), timeout=15))
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    async def test_malformed_bytes(self) -> None:
        async with served() as running:
            error = await refusal_of(send_raw(running.channel, GENERATE, b"\x0a\x02\xff\xfe"))
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert error.details() == "malformed request message"

    async def test_what_goes_wrong_inside_stays_inside(self) -> None:
        model = FakeModel(fails_in={"bad": "decode"})
        async with served(model) as running:
            error = await refusal_of(running.stub.GenerateImage(ask("bad"), timeout=15))
            assert error.code() is grpc.StatusCode.INTERNAL
            assert SECRET not in repr(error) + str(list(details_of(error)))
            assert detail(error, error_details_pb2.RequestInfo).request_id

    async def test_values_that_are_no_numbers(self) -> None:
        async with served(FakeModel(fails_in={"bad": "nan"})) as running:
            error = await refusal_of(running.stub.GenerateImage(ask("bad"), timeout=15))
            assert error.code() is grpc.StatusCode.INTERNAL
            assert reason_of(error) == "NON_FINITE_OUTPUT"

    async def test_no_memory(self) -> None:
        async with served(FakeModel(oom_above=1)) as running:
            error = await refusal_of(running.stub.GenerateImage(ask(), timeout=15))
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert reason_of(error) == "OUT_OF_MEMORY"
            await running.stub.GenerateImage(ask(guidance_scale=1.0), timeout=15)

    async def test_a_deadline_that_cannot_be_met(self) -> None:
        cost = wide_costs()
        cost.steps[64, 64, 2] = 60_000.0
        model = FakeModel()
        async with served(model, loads(model, cost)) as running:
            error = await refusal_of(running.stub.GenerateImage(ask(), timeout=10))
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert reason_of(error) == "DEADLINE_UNMEETABLE"

    async def test_keys_are_asked_for_where_there_are_some(self, tmp_path: Path) -> None:
        keys = tmp_path / "keys.json"
        keys.write_text('[{"name": "alice", "key": "0123456789abcdef"}]', encoding="utf-8")
        async with served(api_keys_file=keys) as running:
            for call in (
                running.stub.GetStatus(pb.GetStatusRequest(), timeout=15),
                running.stub.GenerateImage(ask(), timeout=15),
            ):
                error = await refusal_of(call)
                assert error.code() is grpc.StatusCode.UNAUTHENTICATED
            good = (("authorization", "Bearer 0123456789abcdef"),)
            await running.stub.GenerateImage(ask(), timeout=15, metadata=good)

    async def test_nobody_is_asked_for_a_key_to_learn_the_health(self, tmp_path: Path) -> None:
        keys = tmp_path / "keys.json"
        keys.write_text('[{"name": "alice", "key": "0123456789abcdef"}]', encoding="utf-8")
        async with served(api_keys_file=keys) as running:
            assert await running.health_of("") == SERVING


class TestSizes:
    async def test_the_largest_answer_that_is_allowed_reaches_a_default_client(self) -> None:
        """Noise compresses worst, and the texts travel three times."""
        texts = {"prompt": "🦊" * 2000, "negative_prompt": "\x01" * 2000}
        async with served(FakeModel(pixels=noise), max_images=8) as running:
            sizes = []
            for width in range(384, 512, 16):
                request = ask(**texts, num_images=7, height=440, width=width)
                answer = await answer_or_none(running.stub.GenerateImage(request, timeout=60))
                if answer is None:
                    break
                sizes.append(answer.ByteSize())
            assert 0 < len(sizes) < 8, "the bound was never met"
            assert 0.9 * DEFAULT_CLIENT_BYTES < sizes[-1] <= DEFAULT_CLIENT_BYTES

    async def test_on_the_stream_no_message_is_larger_than_a_default_client_takes(self) -> None:
        async with served(FakeModel(pixels=noise)) as running:
            request = ask("🦊" * 2000, num_images=2, height=1024, width=1024)
            sizes = [event.ByteSize() async for event in running.stub.StreamGenerateImage(request)]
            assert 3 * 2**20 < max(sizes) <= DEFAULT_CLIENT_BYTES

    async def test_two_of_them_are_refused_in_one_message(self) -> None:
        async with served() as running:
            request = ask(num_images=2, height=1024, width=1024)
            error = await refusal_of(running.stub.GenerateImage(request, timeout=15))
            assert fields_of(error) == ["num_images"]
            assert "StreamGenerateImage" in str(error.details())


async def answer_or_none(call: Any) -> Any:
    """None where the answer would be too large."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        if fields_of(error) == ["num_images"]:
            return None
        raise


class TestDrain:
    async def test_what_runs_is_answered_what_is_new_is_refused_and_watchers_hold_nobody_up(
        self,
    ) -> None:
        gate = Gate()
        async with served(FakeModel(gate=gate)) as running:
            watch = running.health.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
            await watch.read()
            calling = asyncio.ensure_future(running.stub.GenerateImage(ask(), timeout=30))
            await asyncio.to_thread(gate.wait_arrived, 1)
            draining = asyncio.ensure_future(running.drain())
            await until(lambda: running.backend.status().state is State.DRAINING)
            error = await refusal_of(running.stub.GenerateImage(ask("new"), timeout=15))
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert reason_of(error) == "DRAINING"
            assert int(trailing(error)[PUSHBACK]) > 0
            assert not draining.done()
            gate.open()
            assert len((await calling).images) == 1
            started = time.monotonic()
            await draining
            assert time.monotonic() - started < 3

    async def test_it_does_not_wait_for_ever(self) -> None:
        gate = Gate()
        async with served(FakeModel(gate=gate), drain_s=0.2) as running:
            calling = asyncio.ensure_future(running.stub.GenerateImage(ask(), timeout=30))
            await asyncio.to_thread(gate.wait_arrived, 1)
            threading.Timer(1.0, gate.open).start()  # the step that it is in
            async with asyncio.timeout(10):
                await running.drain()
            error = await refusal_of(calling)
            assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)

    async def test_afterwards_the_port_is_free(self) -> None:
        async with served() as running:
            await running.drain()
            with socket.create_server(("127.0.0.1", running.port)):
                pass
