from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from typing import Any

import httpx
import pytest

from backend.transport.http.body import MAX_BODY_BYTES
from backend.transport.http.compression import accepts_gzip, unpack
from backend.transport.http.problem import Problem
from proto import text2image_pb2 as pb
from tests.support.http_front import GENERATE, IMAGES, STATUS, STREAM, envelope, envelopes

JSON = {"content-type": "application/json"}
EMPTY = gzip.compress(b"{}")
GZIP = {"content-encoding": "gzip"}
CONNECT = {"content-type": "application/connect+proto", "connect-content-encoding": "gzip"}


# What is refused.


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "zstd"])
async def test_another_coding_is_415_and_the_known_ones_are_named(
    http: httpx.AsyncClient, coding: str
) -> None:
    headers = {**JSON, "content-encoding": coding}
    answer = await http.post(STATUS, content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unimplemented")
    assert answer.headers["accept-encoding"] == "gzip, identity"
    assert "gzip, identity" in answer.json()["message"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"\x1f\x8b", EMPTY[:-3], EMPTY + b"more"],
    ids=["nothing", "JSON", "two bytes", "cut short", "more"],
)
async def test_what_is_no_gzip_is_400(http: httpx.AsyncClient, body: bytes) -> None:
    answer = await http.post(STATUS, content=body, headers={**JSON, **GZIP})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")


def test_a_damaged_checksum_is_noticed() -> None:
    packed = bytearray(gzip.compress(b"a fox" * 100))
    packed[-6] ^= 1
    with pytest.raises(Problem):
        unpack(bytes(packed), 1000)


def test_a_bomb_costs_no_more_than_the_bound() -> None:
    bomb = gzip.compress(b" " * 20_000_000)
    tracemalloc.start()
    try:
        assert unpack(bomb, 1000) is None
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("path", [GENERATE, IMAGES])
async def test_a_bomb_is_413(http: httpx.AsyncClient, path: str) -> None:
    bomb = gzip.compress(b" " * 20_000_000)
    assert len(bomb) < MAX_BODY_BYTES
    answer = await http.post(path, content=bomb, headers={**JSON, **GZIP})
    assert answer.status_code == 413


async def test_a_bomb_in_a_stream_ends_the_stream(http: httpx.AsyncClient) -> None:
    body = envelope(gzip.compress(b"\0" * 7_000_000), 1)
    answer = await http.post(STREAM, content=body, headers=CONNECT)
    [(flags, end)] = envelopes(answer.content)
    assert (answer.status_code, flags) == (200, 2)
    assert json.loads(end)["error"]["code"] == "resource_exhausted"


async def test_what_is_packed_is_counted_unpacked(http: httpx.AsyncClient) -> None:
    body = gzip.compress(b'{"loras": [' + b"1," * 9000 + b"1]}")
    answer = await http.post(GENERATE, content=body, headers={**JSON, **GZIP})
    assert "more values than any request has" in answer.text


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("gzip", True),
        ("br;q=1, GZIP;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, br", False),
        ("identity", False),
        ("", False),
        ("x-gzip", False),
    ],
)
def test_who_takes_gzip(accepted: str, expected: bool) -> None:
    assert accepts_gzip(accepted) is expected


async def test_who_takes_no_gzip_gets_none(http: httpx.AsyncClient) -> None:
    headers = {"accept-encoding": "identity"}
    for path in ("/openapi.json", "/metrics"):
        answer = await http.get(path, headers=headers)
        assert "content-encoding" not in answer.headers
        assert answer.headers["vary"] == "Accept-Encoding"


# What works.


@pytest.mark.parametrize("coding", ["gzip", "GZip", "identity", "Identity"])
async def test_a_request_in_a_known_coding(http: httpx.AsyncClient, coding: str) -> None:
    content = b'{"prompt": "a fox", "seed": 3}'
    body = gzip.compress(content) if coding.lower() == "gzip" else content
    headers = {**JSON, "content-encoding": coding}
    answer = await http.post(GENERATE, content=body, headers=headers)
    assert answer.json()["images"][0]["seed"] == "3"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/openapi.json", None),
        ("GET", "/metrics", None),
        ("POST", IMAGES, {"prompt": "a fox", "size": "256x256"}),
        ("POST", GENERATE, {"prompt": "a fox", "height": 256, "width": 256, "num_images": 4}),
    ],
)
async def test_answers_are_packed_for_who_takes_them(
    http: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None
) -> None:
    plain = await http.request(method, path, json=body, headers={"accept-encoding": "identity"})
    async with http.stream(method, path, json=body) as answer:
        packed = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) == len(packed) < len(plain.content)
    assert zlib.decompress(packed, 31)[:20] == plain.content[:20]


async def test_a_short_answer_and_a_picture_are_not_packed(http: httpx.AsyncClient) -> None:
    assert "content-encoding" not in (await http.get("/health")).headers
    headers = {"accept": "image/png", "accept-encoding": "gzip"}
    answer = await http.post(GENERATE, json={"prompt": "a fox"}, headers=headers)
    assert "content-encoding" not in answer.headers


async def test_a_connect_stream_packed_both_ways(http: httpx.AsyncClient) -> None:
    request = pb.GenerateImageRequest(prompt="a fox", height=256, width=256, seed=7)
    body = envelope(gzip.compress(request.SerializeToString()), 1)
    headers = {**CONNECT, "connect-accept-encoding": "gzip"}
    answer = await http.post(STREAM, content=body, headers=headers)
    assert answer.headers["connect-content-encoding"] == "gzip"
    *events, (flags, end) = envelopes(answer.content)
    assert (flags, end) == (2, b"{}")
    packed = {flags for flags, _ in events}
    assert packed <= {0, 1}
    read = [
        pb.GenerateImageEvent.FromString(zlib.decompress(content, 31) if flags else content)
        for flags, content in events
    ]
    [image] = [event.image.image for event in read if event.HasField("image")]
    assert image.seed == 7
    assert all(len(content) < 1024 for flags, content in events if not flags)
