"""The client library against a scripted service."""

from __future__ import annotations

import gc
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

import client as t2i
from client import (
    Abilities,
    Done,
    Example,
    FinishedImage,
    GenerationWarning,
    Progress,
    Queued,
    Text2ImageClient,
    Thing,
    Words,
)
from proto import text2image_pb2 as pb
from tests.support.fake_service import FakeService
from text2image.cli.status import table
from text2image.convert import event_from_pb, status_from_pb


def wait_idle(service: FakeService) -> bool:
    end = time.monotonic() + 60
    while service.active and time.monotonic() < end:
        time.sleep(0.01)
    return service.active == 0


# --- leaving ---


def test_leaving_the_loop_cancels_though_the_stream_is_still_named(
    service: FakeService, client: Text2ImageClient
) -> None:
    service.hang_at_step = 2
    stream = client.stream("x")
    for event in stream:
        if isinstance(event, Progress):
            break
    assert service.wait_cancelled()
    assert wait_idle(service)
    assert stream.request_id


def test_an_error_in_the_with_block_cancels(service: FakeService, client: Text2ImageClient) -> None:
    service.hang_at_step = 1
    with pytest.raises(RuntimeError, match="mine"), client.stream("x"):
        raise RuntimeError("mine")
    # The call may be over before the service saw it: what counts is that nothing runs on.
    assert wait_idle(service)


@pytest.mark.parametrize("step", [0, 2])
def test_cancel_from_another_thread_ends_a_blocked_loop(
    service: FakeService, client: Text2ImageClient, step: int
) -> None:
    service.queue = [0]
    service.hang_at_step = step
    stream = client.stream("x")
    events = iter(stream)
    seen = [next(events)]
    threading.Timer(0.2, stream.cancel).start()
    with pytest.raises(t2i.Cancelled):
        seen.extend(events)
    assert len(seen) == 1 + max(0, step - 1)
    assert service.wait_cancelled()


def test_a_finished_generation_is_not_seen_as_cancelled(
    service: FakeService, client: Text2ImageClient
) -> None:
    for event in client.stream("x"):
        if isinstance(event, Done):
            break
    gc.collect()
    assert wait_idle(service)
    assert not service.cancelled.is_set()


def test_closing_the_client_ends_its_streams(service: FakeService) -> None:
    service.hang_at_step = 1
    client = Text2ImageClient(service.address)
    stream = client.stream("x")
    threading.Timer(0.2, client.close).start()
    with pytest.raises(t2i.Cancelled):
        stream.result()
    assert service.wait_cancelled()


# --- what goes well ---


def test_a_stream_tells_the_whole_story(service: FakeService, client: Text2ImageClient) -> None:
    service.queue = [2, 0]
    events = list(client.stream("x", num_images=2, preview_interval=2, seed=7))
    assert [type(event) for event in events] == [
        *[Queued] * 2,
        *[Progress] * 3,
        *[FinishedImage] * 2,
        Done,
    ]
    assert [event.position for event in events if isinstance(event, Queued)] == [2, 0]
    steps = [event for event in events if isinstance(event, Progress)]
    assert [(event.step, event.num_steps) for event in steps] == [(1, 3), (2, 3), (3, 3)]
    assert [event.preview is not None for event in steps] == [False, True, False]
    images = [event for event in events if isinstance(event, FinishedImage)]
    assert [(event.index, event.image.seed) for event in images] == [(0, 7), (1, 8)]


def test_every_option_arrives_and_comes_back(
    service: FakeService, client: Text2ImageClient
) -> None:
    info = client.generate(
        "a red apple",
        negative_prompt="pears",
        height=72,
        width=80,
        num_inference_steps=4,
        guidance_scale=0.0,
        seed=0,
        num_images=2,
        scheduler="euler",
        model="fake",
        output_format=t2i.ImageFormat.WEBP,
        loras=(t2i.Lora("pixel", 0.5),),
        request_id="mine",
    ).info
    assert info.params == t2i.GenerationParams(
        prompt="a red apple",
        negative_prompt="pears",
        height=72,
        width=80,
        num_inference_steps=4,
        guidance_scale=0.0,
        seed=0,
        num_images=2,
        scheduler="euler",
        model="fake",
        output_format=t2i.ImageFormat.WEBP,
        loras=(t2i.Lora("pixel", 0.5),),
    )
    assert (info.request_id, info.exactness) == ("mine", t2i.Exactness.CERTIFIED)
    assert info.timings.total_ms == 37.0
    sent = service.requests[0]
    assert sent.HasField("seed")
    assert sent.HasField("guidance_scale")


def test_options_left_out_stay_unset(service: FakeService, client: Text2ImageClient) -> None:
    client.generate("x", seed=None)
    sent = service.requests[0]
    assert {field.name for field, _ in sent.ListFields()} == {"prompt", "request_id"}


def test_pictures_beyond_4_mb_arrive(service: FakeService, client: Text2ImageClient) -> None:
    service.picture = bytes(6 * 1024 * 1024)
    images = client.generate("x", num_images=2).images
    assert [len(image.data) for image in images] == [6 * 1024 * 1024] * 2


def test_a_withheld_picture_is_told_apart(service: FakeService, client: Text2ImageClient) -> None:
    service.nsfw = [1]
    images = client.generate("x", num_images=2).images
    assert [image.nsfw_detected for image in images] == [False, True]
    assert not images[1].data


def test_a_restarted_service_is_found_again(service: FakeService, client: Text2ImageClient) -> None:
    client.status()
    service.stop()
    with FakeService(port=service.port):
        client.wait_ready(timeout=10)
        assert client.generate("x").images


def test_threads_share_one_client(service: FakeService, client: Text2ImageClient) -> None:
    service.step_s = 0.01
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda seed: client.generate("x", seed=seed), range(8)))
    assert [result.images[0].seed for result in results] == list(range(8))


def test_status_is_typed(service: FakeService, client: Text2ImageClient) -> None:
    status = client.status()
    assert status.state is t2i.State.READY
    assert status.models[0].default_scheduler == "ddim"
    assert status.limits.max_pixels == 1024 * 1024
    assert status.schedulers == ("pndm", "ddim", "euler")


def test_replicas_of_a_cluster_arrive_and_are_printed(service: FakeService) -> None:
    service.status.replicas.add(
        name="r1",
        state="STATE_STUCK",
        message="A step hangs.",
        host="gpu7",
        device="cuda",
        running=2,
        process_memory_bytes=3 * 2**30,
    )
    with Text2ImageClient(service.address) as client:
        status = client.status()
    assert status.replicas == (
        t2i.ReplicaStatus("r1", t2i.State.STUCK, "A step hangs.", "gpu7", "cuda", 2, 3 * 2**30),
    )
    assert "r1: STUCK, cuda of gpu7, 2 running, 3.0 GiB" in table(status, service.address)


def test_a_newer_service_does_not_break_us() -> None:
    assert event_from_pb(pb.GenerateImageEvent(request_id="x")) is None
    status = pb.GetStatusResponse()
    status.ParseFromString(b"\x08\x63")  # state = 99
    assert status_from_pb(status).state is t2i.State.UNKNOWN


def test_key_and_caller_travel_with_every_call(service: FakeService) -> None:
    with Text2ImageClient(service.address, api_key="s3cret", client="studio") as client:
        client.generate("x")
        client.generate("x", client="alice")
    assert [seen["authorization"] for seen in service.metadata] == ["Bearer s3cret"] * 2
    assert [seen["x-text2image-client"] for seen in service.metadata] == ["studio", "alice"]


def test_the_address_comes_from_the_environment(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXT2IMAGE_ADDRESS", service.address)
    with Text2ImageClient() as client:
        assert client.status().state is t2i.State.READY


# --- waiting until it is ready ---


def test_wait_ready_waits_for_the_model(service: FakeService, client: Text2ImageClient) -> None:
    service.set_serving(False)
    service.status.state = pb.GetStatusResponse.STATE_STARTING
    threading.Timer(0.3, service.set_serving, [True]).start()
    started = time.monotonic()
    client.wait_ready(timeout=5)
    assert time.monotonic() - started > 0.25


def test_wait_ready_gives_up_in_time() -> None:
    with Text2ImageClient("127.0.0.1:1") as client, pytest.raises(t2i.DeadlineExceeded):
        client.wait_ready(timeout=0.5)


def test_wait_ready_does_not_wait_for_a_failed_model(
    service: FakeService, client: Text2ImageClient
) -> None:
    service.set_serving(False)
    service.status.state = pb.GetStatusResponse.STATE_FAILED
    service.status.message = "weights are truncated"
    with pytest.raises(t2i.ModelFailed, match="truncated"):
        client.wait_ready(timeout=5)


def test_abilities_come_where_asked_for(service: FakeService, client: Text2ImageClient) -> None:
    declared = service.status.models[0].abilities
    declared.about = "One thing at a time."
    declared.things.add(name="dog face", group="animals", emoji="🐶", synonyms=["dog"])
    declared.colours.add(name="red", words=["red", "crimson"])
    declared.sizes.add(width=64, height=32)
    declared.examples.add(prompt="a dog", seed=3, thumbnail=b"webp")
    assert client.status().models[0].abilities is None
    told = client.status(include_abilities=True).models[0].abilities
    assert told == Abilities(
        about="One thing at a time.",
        sizes=((64, 32),),
        things=(Thing("dog face", "animals", "🐶", ("dog",)),),
        colours=(Words("red", ("red", "crimson")),),
        examples=(Example("a dog", 3, b"webp"),),
    )


def test_a_prompt_can_be_checked(service: FakeService, client: Text2ImageClient) -> None:
    warning = pb.GenerationWarning(
        field="prompt", description="No.", reason="R", excerpt="wolf", alternatives=["dog"]
    )
    service.prompt_warnings = {"a wolf": [warning]}
    expected = GenerationWarning("prompt", "No.", "R", "wolf", ("dog",))
    assert client.check_prompt("a wolf") == (expected,)
    assert client.check_prompt("a dog") == ()


def test_a_picture_is_enlarged(client: Text2ImageClient) -> None:
    file = io.BytesIO()
    Image.new("RGB", (4, 2), "teal").save(file, "PNG")
    found = client.upscale(file.getvalue(), 3)
    assert (found.image.width, found.image.height, found.upscaler) == (12, 6, "fake")
    with Image.open(io.BytesIO(found.image.data)) as picture:
        assert picture.size == (12, 6)
        assert picture.getpixel((11, 5)) == (0, 128, 128)
