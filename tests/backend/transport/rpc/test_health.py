"""Health and reflection, the standard services that tools use."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from backend.domain import State
from backend.engine import watchdog
from backend.engine.backend import LocalBackend
from backend.engine.loading import Loaded, OnProgress
from backend.errors import ModelFailed
from backend.transport.rpc.errors import PUSHBACK
from backend.transport.rpc.server import SERVICE, Server
from proto import text2image_pb2 as pb
from proto import text2image_pb2_grpc as pb_grpc
from tests.support.fakes import FakeModel, Gate, settings, wide_costs
from tests.support.served import (
    ask,
    detail,
    open_channel,
    reason_of,
    refusal_of,
    served,
    trailing,
    until_state,
)

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class TestReflection:
    async def test_clients_find_every_service_and_message(self) -> None:
        async with served() as running:

            def look() -> tuple[set[str], set[str]]:
                with grpc.insecure_channel(running.address) as channel:
                    database = ProtoReflectionDescriptorDatabase(channel)
                    file = database.FindFileContainingSymbol(SERVICE)
                    return set(database.get_services()), {m.name for m in file.service[0].method}

            services, methods = await asyncio.to_thread(look)
            assert {SERVICE, "grpc.health.v1.Health"} <= services
            assert methods == {
                "GenerateImage",
                "StreamGenerateImage",
                "GetStatus",
                "CheckPrompt",
                "Upscale",
            }

    async def test_new_clients_ask_for_v1(self) -> None:
        v1, alpha = "grpc.reflection.v1", "grpc.reflection.v1alpha"
        async with served() as running:
            told = {}
            for package in (v1, alpha):
                call = running.channel.stream_stream(
                    f"/{package}.ServerReflection/ServerReflectionInfo",
                    request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                    response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
                )
                symbols = (SERVICE, f"{v1}.ServerReflection")
                asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
                asked += [
                    reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
                    for symbol in symbols
                ]
                told[package] = [answer async for answer in call(iter(asked), timeout=15)]
        listed, ours, itself = told[v1]
        names = {service.name for service in listed.list_services_response.service}
        assert {SERVICE, f"{v1}.ServerReflection", f"{alpha}.ServerReflection"} <= names
        [file] = ours.file_descriptor_response.file_descriptor_proto
        assert b"Text2ImageService" in file
        [file] = itself.file_descriptor_response.file_descriptor_proto
        assert descriptor_pb2.FileDescriptorProto.FromString(file).package == v1
        assert told[v1] == told[alpha]


class TestHealth:
    async def test_a_step_that_is_stuck_is_told_until_it_ends(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(watchdog, "LEAST_S", 0.3)
        monkeypatch.setattr(watchdog, "LOOK_EVERY_S", 0.05)
        gate = Gate()
        async with served(FakeModel(gate=gate), stuck_exit_s=0) as running:
            call = asyncio.ensure_future(running.stub.GenerateImage(ask(), timeout=60))
            await until_state(running, State.STUCK)
            assert await running.health_of() == NOT_SERVING
            assert await running.health_of("") == SERVING
            told = await running.stub.GetStatus(pb.GetStatusRequest(), timeout=15)
            assert told.state == pb.GetStatusResponse.STATE_STUCK
            error = await refusal_of(running.stub.GenerateImage(ask(), timeout=15))
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert reason_of(error) == "STUCK"
            assert error.details() == told.message
            gate.open()
            await call
            await until_state(running, State.READY)
            assert await running.health_of() == SERVING

    async def test_from_starting_to_ready_to_draining(self) -> None:
        go_on = threading.Event()

        def load(on_progress: OnProgress) -> Loaded:
            assert go_on.wait(20)
            return Loaded(FakeModel(), wide_costs())

        async with bare(load) as (server, backend, channel):
            health: Any = health_pb2_grpc.HealthStub(channel)
            watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=30)
            assert (await watch.read()).status == NOT_SERVING
            process = await health.Check(health_pb2.HealthCheckRequest(), timeout=15)
            assert process.status == SERVING
            stub: Any = pb_grpc.Text2ImageServiceStub(channel)
            told = await stub.GetStatus(pb.GetStatusRequest(), timeout=15)
            assert told.state == pb.GetStatusResponse.STATE_STARTING
            go_on.set()
            assert (await watch.read()).status == SERVING
            told = await stub.GetStatus(pb.GetStatusRequest(), timeout=15)
            assert told.state == pb.GetStatusResponse.STATE_READY
            draining = asyncio.ensure_future(server.drain())
            assert (await watch.read()).status == NOT_SERVING
            assert backend.status().state is State.DRAINING
            await draining

    async def test_an_unknown_service_is_not_found(self) -> None:
        async with served() as running:
            request = health_pb2.HealthCheckRequest(service="nonsense")
            error = await refusal_of(running.health.Check(request, timeout=15))
            assert error.code() is grpc.StatusCode.NOT_FOUND

    async def test_a_failed_model_is_not_serving_and_says_why(self) -> None:
        def load(on_progress: OnProgress) -> Loaded:
            raise ModelFailed("/models/x has no unet.")

        async with served(load=load) as running:
            assert await running.health_of() == NOT_SERVING
            assert await running.health_of("") == SERVING
            told = await running.stub.GetStatus(pb.GetStatusRequest(), timeout=15)
            assert told.state == pb.GetStatusResponse.STATE_FAILED
            assert told.message == "/models/x has no unet."
            error = await refusal_of(running.stub.GenerateImage(ask(), timeout=15))
            assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert reason_of(error) == "MODEL_FAILED"
            assert error.details() == "/models/x has no unet."

    async def test_while_the_model_loads_clients_are_told_to_come_back(self) -> None:
        go_on = threading.Event()

        def load(on_progress: OnProgress) -> Loaded:
            go_on.wait(20)
            return Loaded(FakeModel(), wide_costs())

        async with bare(load) as (_, _, channel):
            stub: Any = pb_grpc.Text2ImageServiceStub(channel)
            error = await refusal_of(stub.GenerateImage(ask(), timeout=15))
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert reason_of(error) == "MODEL_LOADING"
            assert detail(error, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() > 0
            assert int(trailing(error)[PUSHBACK]) > 0
            go_on.set()


@asynccontextmanager
async def bare(load: Any) -> AsyncIterator[tuple[Server, LocalBackend, grpc.aio.Channel]]:
    """A server that may still be loading."""
    backend = LocalBackend(settings(), load, "1.0")
    server = Server(settings(), backend)
    port = await server.start()
    starting = asyncio.create_task(backend.start())
    async with open_channel(f"127.0.0.1:{port}") as channel:
        yield server, backend, channel
        starting.cancel()
        await server.drain()
