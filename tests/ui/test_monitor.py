import time
from collections.abc import Iterator

import pytest

import client
from tests.support.fake_service import FakeService
from ui.monitor import Monitor, abilities_of
from ui.recipe import UNKNOWN


@pytest.fixture
def monitor(service: FakeService) -> Iterator[Monitor]:
    with client.Text2ImageClient(service.address) as channel:
        made = Monitor(channel)
        yield made
        made.close()


def test_the_first_look_waits_for_an_answer(monitor: Monitor) -> None:
    sample = monitor.look(patience_s=5)
    assert sample is not None
    assert sample.status is not None
    assert sample.status.state is client.State.READY
    assert monitor.abilities.native_width == 64
    assert monitor.abilities.schedulers == ("pndm", "ddim", "euler")


def test_many_looks_are_one_question(monitor: Monitor, service: FakeService) -> None:
    monitor.look(patience_s=5)
    before = len(monitor.history())
    for _ in range(50):
        monitor.look()
    assert len(monitor.history()) - before <= 1


def test_a_service_that_goes_and_comes_back_is_noticed(
    monitor: Monitor, service: FakeService
) -> None:
    monitor.look(patience_s=5)
    service.stop()
    end = time.monotonic() + 60
    while (sample := monitor.look(0.5, 0.5)) and sample.status and time.monotonic() < end:
        time.sleep(0.05)
    assert sample is not None
    assert sample.status is None
    assert sample.down_since is not None
    assert monitor.abilities.native_width == 64  # what is known stays known
    service.start()
    end = time.monotonic() + 60
    while (sample := monitor.look(0.5, 0.5)) and not sample.status and time.monotonic() < end:
        time.sleep(0.05)
    assert sample is not None
    assert sample.status is not None


def test_a_service_that_knows_no_limits_yet_gives_the_defaults(service: FakeService) -> None:
    service.status.limits.Clear()
    with client.Text2ImageClient(service.address) as channel:
        assert abilities_of(channel.status()) == UNKNOWN


def test_a_service_without_a_model_still_tells_its_limits(service: FakeService) -> None:
    del service.status.models[:]
    with client.Text2ImageClient(service.address) as channel:
        abilities = abilities_of(channel.status())
    assert abilities.max_size == 1024
    assert abilities.native_width == 512


def test_each_model_offers_its_own(service: FakeService) -> None:
    first = service.status.models[0]
    turbo = service.status.models.add(
        name="turbo",
        native_width=128,
        native_height=96,
        schedulers=["euler"],
        default_scheduler="euler",
        default_num_inference_steps=2,
        default_guidance_scale=0,
    )
    turbo.limits.CopyFrom(service.status.limits)
    turbo.limits.max_num_inference_steps = 4
    service.status.models.add(name="new", limits=service.status.limits)
    with client.Text2ImageClient(service.address) as channel:
        abilities = abilities_of(channel.status())
    assert abilities.models == (first.name, "turbo", "new")
    own = abilities.of("turbo")
    assert (own.native_width, own.native_height, own.max_steps) == (128, 96, 4)
    assert (own.schedulers, own.default_steps, own.default_guidance) == (("euler",), 2, 0.0)
    assert own.models == abilities.models
    assert not abilities.of("new").is_known  # it was never loaded: its size is not known
    assert abilities.of("") is abilities
