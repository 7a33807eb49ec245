"""Streams of the Connect protocol: envelopes, and how they end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import grpc
import httpx
import pytest
from prometheus_client import generate_latest

from backend.transport.access.keyring import Keyring
from backend.transport.access.keys import ApiKey, digest
from backend.transport.http import create_app
from backend.transport.metrics import Metrics
from backend.transport.rpc.identity import Identifier
from proto import text2image_pb2 as pb
from tests.support.fake_service import Failure, FakeService, retry_info
from tests.support.http_front import GENERATE, STREAM, envelope, envelopes

CONNECT_JSON = {"content-type": "application/connect+json"}
CONNECT_PROTO = {"content-type": "application/connect+proto"}


async def test_hanging_up_on_a_connect_stream_cancels(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    service.hang_at_step = 2
    body = envelope(b'{"prompt": "a fox"}')
    async with http.stream("POST", STREAM, content=body, headers=CONNECT_JSON) as answer:
        assert answer.status_code == 200
        await anext(answer.aiter_bytes())
    assert await asyncio.to_thread(service.wait_cancelled)


async def test_a_connect_stream_in_json(http: httpx.AsyncClient) -> None:
    answer = await http.post(STREAM, content=envelope(b'{"prompt": "a"}'), headers=CONNECT_JSON)
    assert answer.headers["content-type"] == "application/connect+json"
    *events, (flags, end) = envelopes(answer.content)
    assert (flags, json.loads(end)) == (2, {})
    kinds = [next(k for k in json.loads(e) if k != "requestId") for _, e in events]
    assert kinds == ["progress", "progress", "progress", "image", "done"]


async def test_a_connect_stream_in_protobuf(http: httpx.AsyncClient) -> None:
    body = envelope(pb.GenerateImageRequest(prompt="a fox").SerializeToString())
    answer = await http.post(STREAM, content=body, headers=CONNECT_PROTO)
    *events, (flags, _) = envelopes(answer.content)
    assert flags == 2
    assert pb.GenerateImageEvent.FromString(events[-1][1]).HasField("done")


async def test_a_connect_stream_tells_its_error_at_the_end(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    service.failure = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "Full.", (retry_info(4),))
    service.fail_at_step = 2
    answer = await http.post(STREAM, content=envelope(b'{"prompt": "a"}'), headers=CONNECT_JSON)
    assert answer.status_code == 200
    *events, (_, end) = envelopes(answer.content)
    assert len(events) == 1
    assert json.loads(end)["error"]["code"] == "resource_exhausted"
    assert json.loads(end)["metadata"] == {"retry-after": ["4"]}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "unimplemented"),
        (b"\x00\x00", "invalid_argument"),
        (envelope(b"{}")[:-1], "invalid_argument"),
        (envelope(b"{}") * 2, "unimplemented"),
        (envelope(b"{}", 2), "invalid_argument"),
        (b"{}junk", "invalid_argument"),
        (envelope(b"x", 1), "internal"),
    ],
)
async def test_a_broken_envelope_is_an_error_at_the_end(
    http: httpx.AsyncClient, body: bytes, code: str
) -> None:
    answer = await http.post(STREAM, content=body, headers=CONNECT_JSON)
    assert ended_with(answer)["code"] == code


def ended_with(answer: httpx.Response) -> dict[str, Any]:
    """The error of a stream that is nothing but its end."""
    assert answer.status_code == 200
    [(flags, end)] = envelopes(answer.content)
    assert flags == 2
    error: dict[str, Any] = json.loads(end)["error"]
    return error


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        ({"connect-protocol-version": "2"}, envelope(b"{}"), "invalid_argument"),
        ({"connect-timeout-ms": "soon"}, envelope(b'{"prompt": "a"}'), "invalid_argument"),
        ({"connect-content-encoding": "foo"}, envelope(b"{}"), "unimplemented"),
        ({"content-encoding": "br"}, envelope(b"{}"), "unimplemented"),
        ({}, envelope(b'{"prompt": "' + b"a" * 7_000_000 + b'"}'), "resource_exhausted"),
        ({}, envelope(b'{"steps": 1}'), "invalid_argument"),
    ],
)
async def test_a_stream_that_is_refused_is_a_stream(
    http: httpx.AsyncClient, headers: dict[str, str], body: bytes, code: str
) -> None:
    answer = await http.post(STREAM, content=body, headers={**CONNECT_JSON, **headers})
    assert answer.headers["content-type"] == CONNECT_JSON["content-type"]
    assert ended_with(answer)["code"] == code


async def test_a_stream_without_the_key_it_needs_is_a_stream_and_counts_as_refused(
    service: FakeService,
) -> None:
    identifier = Identifier(Keyring((ApiKey("alice", digest("0123456789abcdef")),)))
    metrics = Metrics()
    app = create_app(service.address, identifier=identifier, metrics=metrics)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        answer = await http.post(STREAM, content=envelope(b"{}"), headers=CONNECT_JSON)
    assert ended_with(answer)["code"] == "unauthenticated"
    assert 'status="401"' in generate_latest(metrics.registry).decode()


@pytest.mark.parametrize(
    ("verb", "headers", "status"),
    [("POST", {"content-type": "text/plain"}, 415), ("GET", {}, 405)],
)
async def test_what_only_http_refuses_has_no_code_of_connects(
    http: httpx.AsyncClient, verb: str, headers: dict[str, str], status: int
) -> None:
    answer = await http.request(verb, GENERATE, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, "unknown")
