"""Errors as callers of the client library see them."""

from __future__ import annotations

import threading
import time

import grpc
import pytest
from google.rpc import error_details_pb2

import client as t2i
from client import Queued, Text2ImageClient
from tests.support.fake_service import Failure, FakeService, bad_request, error_info, retry_info
from tests.support.relay import Relay
from text2image import stream

CODES = [
    (grpc.StatusCode.INVALID_ARGUMENT, t2i.InvalidRequest),
    (grpc.StatusCode.OUT_OF_RANGE, t2i.InvalidRequest),
    (grpc.StatusCode.NOT_FOUND, t2i.NotFound),
    (grpc.StatusCode.ALREADY_EXISTS, t2i.Conflict),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, t2i.Exhausted),
    (grpc.StatusCode.FAILED_PRECONDITION, t2i.ModelFailed),
    (grpc.StatusCode.UNAUTHENTICATED, t2i.Unauthenticated),
    (grpc.StatusCode.PERMISSION_DENIED, t2i.PermissionDenied),
    (grpc.StatusCode.CANCELLED, t2i.Cancelled),
    (grpc.StatusCode.DEADLINE_EXCEEDED, t2i.DeadlineExceeded),
    (grpc.StatusCode.UNIMPLEMENTED, t2i.Incompatible),
    (grpc.StatusCode.INTERNAL, t2i.ServerError),
    (grpc.StatusCode.UNKNOWN, t2i.ServerError),
    (grpc.StatusCode.DATA_LOSS, t2i.ServerError),
]


@pytest.mark.parametrize(("code", "kind"), CODES)
def test_every_code_has_one_error_with_its_details(
    service: FakeService,
    client: Text2ImageClient,
    code: grpc.StatusCode,
    kind: type[t2i.Text2ImageError],
) -> None:
    service.failure = Failure(code, "no, because", (error_info("BECAUSE", hint="wait"),))
    with pytest.raises(t2i.Text2ImageError) as caught:
        client.generate("x", request_id="mine")
    error = caught.value
    assert type(error) is kind
    assert (error.code, error.reason) == (code.name, "BECAUSE")
    assert error.details.metadata == {"hint": "wait"}
    assert "no, because" in error.message
    assert error.request_id == "mine"


def test_a_refusal_names_every_bad_field(service: FakeService, client: Text2ImageClient) -> None:
    fields = {"width": "Must be a multiple of 8.", "prompt": "Say something."}
    service.failure = Failure(
        grpc.StatusCode.INVALID_ARGUMENT, "two bad fields", (bad_request(**fields),)
    )
    with pytest.raises(t2i.InvalidRequest) as caught:
        client.generate("x")
    assert {found.field: found.description for found in caught.value.violations} == fields


def test_a_full_queue_says_when_to_come_back(
    service: FakeService, client: Text2ImageClient
) -> None:
    service.failure = Failure(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "full", (error_info("QUEUE_FULL"), retry_info(1.5))
    )
    with pytest.raises(t2i.QueueFull) as caught:
        client.generate("x")
    assert caught.value.retry_after_s == 1.5


def test_pushback_alone_says_when_to_come_back_too(
    service: FakeService, client: Text2ImageClient
) -> None:
    service.failure = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", pushback_ms=2500)
    with pytest.raises(t2i.Exhausted) as caught:
        client.generate("x")
    assert caught.value.retry_after_s == 2.5


def test_the_service_names_the_request_and_the_resource(
    service: FakeService, client: Text2ImageClient
) -> None:
    service.failure = Failure(
        grpc.StatusCode.NOT_FOUND,
        "no such model",
        (
            error_details_pb2.RequestInfo(request_id="theirs"),
            error_details_pb2.ResourceInfo(resource_type="model", resource_name="sd99"),
        ),
    )
    with pytest.raises(t2i.NotFound) as caught:
        client.generate("x", request_id="mine")
    assert (caught.value.request_id, caught.value.details.resource) == ("theirs", "sd99")


def test_unreadable_details_do_not_hide_the_error(
    service: FakeService, client: Text2ImageClient
) -> None:
    garbage = b"\xff\xff not a status"
    service.failure = Failure(grpc.StatusCode.INTERNAL, "broken", raw_details=garbage)
    with pytest.raises(t2i.ServerError, match="broken") as caught:
        client.generate("x")
    assert caught.value.reason == ""


def test_a_stream_without_done_is_an_error(service: FakeService, client: Text2ImageClient) -> None:
    service.cut_short = True
    with pytest.raises(t2i.ServerError, match="before it was done"):
        client.generate("x")


@pytest.mark.parametrize("queue", [(), (0,)])
def test_a_service_that_dies_mid_stream_is_noticed(
    service: FakeService,
    client: Text2ImageClient,
    queue: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "BACKOFFS_S", (0.05, 0.1))
    service.queue = queue  # with it the service dies after its first word, else before
    service.hang_at_step = 1
    generation = client.stream("x")
    threading.Timer(0.2, service.stop).start()
    with pytest.raises(t2i.Unavailable):
        generation.result()


def test_nobody_there_names_the_address() -> None:
    with (
        Text2ImageClient("127.0.0.1:1") as client,
        pytest.raises(t2i.Unavailable, match=r"127\.0\.0\.1:1 can't be reached") as caught,
    ):
        client.status()
    assert caught.value.reason == ""


def test_a_deadline_ends_the_generation_on_both_sides(
    service: FakeService, client: Text2ImageClient
) -> None:
    service.hang_at_step = 1
    with pytest.raises(t2i.DeadlineExceeded):
        client.generate("x", timeout=0.3)
    assert service.wait_cancelled()


def test_a_peer_that_goes_silent_is_noticed(service: FakeService) -> None:
    service.queue = [0]
    service.hang_at_step = 0
    keepalive = t2i.Keepalive(time_s=0.5, timeout_s=0.5)
    with (
        Relay(service.port) as relay,
        Text2ImageClient(relay.address, keepalive=keepalive) as client,
    ):
        events = iter(client.stream("x"))
        assert isinstance(next(events), Queued)
        relay.silence()
        silent_since = time.monotonic()
        with pytest.raises(t2i.Unavailable):
            next(events)
        assert 0.4 < time.monotonic() - silent_since < 30  # without: hours


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 2**63),
        ("height", 2**31),
        ("num_inference_steps", 2.5),
        ("guidance_scale", "high"),
        ("negative_prompt", "\udcff"),
        ("output_format", "gif"),
        ("loras", ("pixel",)),
    ],
)
def test_what_the_wire_cannot_carry_is_refused_by_name(
    client: Text2ImageClient, name: str, value: object
) -> None:
    with pytest.raises(t2i.InvalidRequest) as caught:
        client.stream("x", **{name: value})  # type: ignore[arg-type]
    assert [found.field for found in caught.value.violations] == [name]


def test_an_unknown_option_is_a_programming_error(client: Text2ImageClient) -> None:
    with pytest.raises(TypeError, match="cfg_scale"):
        client.stream("x", cfg_scale=7)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "address",
    ["localhost", "http://localhost:50051", "a:0", "a:65536", ":50051", "::1:50051", "a b:1"],
)
def test_an_address_that_grpc_would_misread_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        Text2ImageClient(address)


def test_a_key_that_no_header_carries_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="printable ASCII") as caught:
        Text2ImageClient(api_key="geheim-ü\n")
    assert "geheim" not in str(caught.value)


def unavailable(seconds: float) -> Failure:
    details = (error_info("MODEL_LOADING"), retry_info(seconds))
    pushback_ms = round(seconds * 1000)
    return Failure(grpc.StatusCode.UNAVAILABLE, "loading", details, pushback_ms=pushback_ms)


def test_a_retry_keeps_its_request_id_and_heeds_the_pushback(
    service: FakeService, client: Text2ImageClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BACKOFFS_S", (60.0,) * 3)
    monkeypatch.setattr(stream, "MAX_PAUSE_S", 120.0)
    service.failure = unavailable(0.05)
    service.failures_left = 2
    started = time.monotonic()
    client.generate("x")
    assert 0.1 < time.monotonic() - started < 30
    assert len(service.requests) == 3
    assert len({request.request_id for request in service.requests}) == 1


def test_a_call_that_a_stopping_service_drops_is_tried_again(
    service: FakeService, client: Text2ImageClient
) -> None:
    service.failure = Failure(grpc.StatusCode.CANCELLED, "CANCELLED")
    service.failures_left = 1
    assert client.generate("x").images
    assert len({request.request_id for request in service.requests}) == 1
    service.failures_left, service.fail_at_step = 1, 2
    with pytest.raises(t2i.Unavailable, match="is stopping"):
        client.generate("x")


def test_a_service_that_stays_unavailable_says_why(
    service: FakeService, client: Text2ImageClient
) -> None:
    service.failure = unavailable(0.05)
    with pytest.raises(t2i.Unavailable, match=r"^loading$") as caught:
        client.generate("x")
    assert (caught.value.reason, caught.value.retry_after_s) == ("MODEL_LOADING", 0.05)
    assert len(service.requests) == 4


@pytest.mark.parametrize(("pushback_s", "timeout"), [(60.0, None), (60.0, 20.0)])
def test_a_pause_that_is_too_long_is_left_to_the_caller(
    service: FakeService, client: Text2ImageClient, pushback_s: float, timeout: float | None
) -> None:
    service.failure = unavailable(pushback_s)
    started = time.monotonic()
    with pytest.raises(t2i.Unavailable) as caught:
        client.generate("x", timeout=timeout)
    assert caught.value.retry_after_s == pushback_s
    assert time.monotonic() - started < 10


def test_a_pause_can_be_cancelled(service: FakeService, client: Text2ImageClient) -> None:
    service.failure = unavailable(4.0)
    generation = client.stream("x")
    threading.Timer(0.2, generation.cancel).start()
    started = time.monotonic()
    with pytest.raises(t2i.Cancelled):
        generation.result()
    assert time.monotonic() - started < 3.9


def test_nothing_is_tried_again_after_the_first_word(
    service: FakeService, client: Text2ImageClient
) -> None:
    service.failure = unavailable(0.05)
    service.fail_at_step = 2
    with pytest.raises(t2i.Unavailable):
        client.generate("x")
    assert len(service.requests) == 1
