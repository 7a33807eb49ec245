from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator

import grpc
import httpx
import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse

from backend.transport.http import sse
from backend.transport.http.lingering import Lingering
from tests.support.fake_service import Failure, FakeService, retry_info
from tests.support.http_front import STREAM, parse_events

FOX = {"message": json.dumps({"prompt": "a fox"})}


async def test_a_failure_before_the_first_event_keeps_its_status(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    service.failure = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "Full.", (retry_info(1),))
    answer = await http.post(STREAM, json={"prompt": "a fox"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


async def test_a_failure_under_way_is_the_last_event(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    service.failure = Failure(grpc.StatusCode.INTERNAL, "internal error")
    service.fail_at_step = 2
    events = parse_events((await http.post(STREAM, json={"prompt": "a fox"})).text)
    assert [event.name for event in events] == ["progress", "failed"]
    assert events[-1].data == {"code": "internal", "message": "internal error"}


@pytest.mark.parametrize(
    "params", [{}, {"prompt": "a fox"}, {**FOX, "seed": "1"}, {"message": "{"}, {"message": "[]"}]
)
async def test_a_query_other_than_one_message_is_400(
    http: httpx.AsyncClient, params: dict[str, str]
) -> None:
    assert (await http.get(STREAM, params=params)).status_code == 400


async def test_a_client_that_accepts_no_events_is_406(http: httpx.AsyncClient) -> None:
    headers = {"accept": "application/json"}
    answer = await http.post(STREAM, json={"prompt": "a fox"}, headers=headers)
    assert answer.status_code == 406


async def test_the_story_by_post(http: httpx.AsyncClient, service: FakeService) -> None:
    service.queue = [1, 0]
    answer = await http.post(STREAM, json={"prompt": "a fox", "preview_interval": 2})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    events = parse_events(answer.text)
    names = [event.name for event in events]
    assert names == ["queued", "queued", "progress", "progress", "progress", "image", "done"]
    assert events[0].data["queued"] == {"position": 1, "estimatedWaitMs": "0", "message": ""}
    assert events[3].data["progress"]["preview"]["mimeType"] == "image/jpeg"


async def test_the_story_by_get_as_eventsource_asks(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    headers = {"accept": "text/event-stream"}
    text = (await http.get(STREAM, params=FOX, headers=headers)).text
    assert text.startswith("retry: 1000\nevent: ")
    events = parse_events(text)
    assert [event.name for event in events][-2:] == ["image", "done"]
    [request] = service.requests
    assert {event.id for event in events} == {request.request_id, "finished"}


async def test_an_eventsource_that_comes_back_after_the_end_is_stopped(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    answer = await http.get(STREAM, params=FOX, headers={"last-event-id": "finished"})
    assert answer.status_code == 204
    assert service.requests == []


async def test_an_eventsource_that_was_cut_off_joins_its_request_again(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    await http.get(STREAM, params=FOX, headers={"last-event-id": "abc"})
    named = {"message": json.dumps({"prompt": "a fox", "requestId": "mine"})}
    await http.get(STREAM, params=named, headers={"last-event-id": "abc"})
    assert [request.request_id for request in service.requests] == ["abc", "mine"]


async def test_a_caller_that_hangs_up_cancels(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    service.hang_at_step = 2
    async with http.stream("POST", STREAM, json={"prompt": "a fox"}) as answer:
        await anext(answer.aiter_bytes())
    assert await asyncio.to_thread(service.wait_cancelled)


async def test_an_eventsource_that_stays_away_cancels_after_its_grace(
    http: httpx.AsyncClient, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "GRACE_S", 0.3)
    service.hang_at_step = 2
    async with http.stream("GET", STREAM, params=FOX) as answer:
        await anext(answer.aiter_bytes())
    assert not await asyncio.to_thread(service.wait_cancelled, 0.1)
    assert await asyncio.to_thread(service.wait_cancelled)


async def test_an_eventsource_that_saw_nothing_cancels_at_once(
    http: httpx.AsyncClient, service: FakeService
) -> None:
    service.hang_at_step = 1
    with pytest.raises(httpx.ReadTimeout):
        await http.get(STREAM, params=FOX, timeout=httpx.Timeout(5, read=0.3))
    assert await asyncio.to_thread(service.wait_cancelled, sse.GRACE_S / 2)


async def test_who_stays_sees_all_and_what_fails_is_raised() -> None:
    async def messages() -> AsyncGenerator[int]:
        for number in range(3):
            yield number
        raise ValueError("no more")

    reader = Lingering().outlive(messages(), 1)
    assert [await anext(reader) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="no more"):
        await anext(reader)


async def test_messages_go_on_without_their_reader_until_the_service_stops() -> None:
    seen, ended = asyncio.Event(), asyncio.Event()

    async def messages() -> AsyncGenerator[int]:
        try:
            for number in range(5):
                yield number
            seen.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    lingering = Lingering()
    reader = lingering.outlive(messages(), 60)
    assert await anext(reader) == 0
    await reader.aclose()
    await asyncio.wait_for(seen.wait(), 20)
    assert not ended.is_set()
    await lingering.stop()
    assert ended.is_set()


async def test_a_silent_stream_beats_and_loses_no_event() -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.sleep(0.1)
        yield b"two"

    async def receive() -> dict[str, str]:
        await asyncio.Event().wait()
        raise AssertionError

    request = Request({"type": "http", "headers": []}, receive)
    response = await sse.respond(request, slow(), heartbeat_s=0.02)  # type: ignore[arg-type]
    assert isinstance(response, StreamingResponse)
    chunks = [chunk async for chunk in response.body_iterator]
    assert (chunks[0], chunks[-1]) == (b"one", b"two")
    assert set(chunks[1:-1]) == {b": still here\n\n"}
