"""The studio in front of a service with LoRAs and embeddings: all of them go into the prompt."""

from __future__ import annotations

import pytest

from proto import text2image_pb2 as pb
from tests.support.fake_service import FakeService
from tests.ui.pages import Visit, generate, has, shows, wait_for


@pytest.fixture
def adapters(service: FakeService) -> None:
    service.status.adapters.add(name="ink", trigger_words=["inkstyle", "in *ink*"])
    service.status.adapters.add(name="oil")
    service.status.embeddings.append("moody")


@pytest.mark.usefixtures("adapters")
def test_a_click_writes_a_lora_and_its_words_and_another_takes_it_out(visit: Visit) -> None:
    app = visit().run()
    app.text_area(key="prompt").set_value("a cat,").run()
    app.button(key="lora-ink").click().run()
    app.button(key="trigger-ink-inkstyle").click().run()
    app.button(key="embedding-moody").click().run()
    assert app.text_area(key="prompt").value == "a cat, inkstyle, moody <lora:ink:0.8>"
    app.button(key="lora-oil").click().run()
    app.button(key="lora-ink").click().run()
    assert app.text_area(key="prompt").value == "a cat, inkstyle, moody <lora:oil:0.8>"


@pytest.mark.usefixtures("adapters")
def test_the_request_asks_for_the_syntax(visit: Visit, service: FakeService) -> None:
    app = visit().run()
    app.button(key="lora-ink").click().run()
    generate(app, "a (cat:1.2) <lora:ink:0.8>")
    wait_for(app, shows("Seed"))
    assert service.requests[0].prompt_syntax == pb.PROMPT_SYNTAX_A1111
    assert service.requests[0].prompt == "a (cat:1.2) <lora:ink:0.8>"


def test_where_nothing_is_installed_nothing_is_offered(visit: Visit) -> None:
    app = visit().run()
    assert not has(app, "lora-ink")
    assert not any(expander.label == "LoRA" for expander in app.expander)
