"""The studio in front of a model that declares what it draws, and of one that does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from proto import text2image_pb2 as pb
from tests.support.fake_service import FakeService
from tests.ui.pages import Visit, choose, generate, has, html_of, keys_of, on, shows, wait_for
from ui.connection import services
from ui.example_pictures import example_route, keep

WARNING = pb.GenerationWarning(
    field="prompt",
    description="I don't know “wolf”; the nearest I can draw is “dog face”.",
    reason="UNKNOWN_WORD",
    excerpt="wolf",
    alternatives=["dog face"],
)


@pytest.fixture
def declared(service: FakeService) -> pb.Abilities:
    """A model that draws two things and has a picture of one example."""
    abilities = service.status.models[0].abilities
    abilities.about = "One thing at a time."
    abilities.sizes.add(width=64, height=64)
    abilities.things.add(name="dog face", group="animals", emoji="🐶", synonyms=["dog"])
    abilities.things.add(name="apple", group="food", emoji="🍎")
    abilities.colours.add(name="red", words=["red"])
    abilities.backgrounds.add(name="teal", words=["teal"])
    abilities.examples.add(prompt="a red apple", seed=7, thumbnail=b"RIFF webp")
    abilities.examples.add(prompt="a dog", seed=8)
    return abilities


def test_the_wall_says_what_is_drawn_and_a_click_makes_that_very_picture(
    visit: Visit, service: FakeService, declared: pb.Abilities
) -> None:
    app = visit().run()
    assert "One thing at a time." in html_of(app)
    assert keep(b"RIFF webp") in html_of(app)
    app.button(key="open-wall-0").click().run()
    assert app.text_area(key="prompt").value == "a red apple"
    wait_for(app, shows("Seed 7"))
    assert (service.requests[0].prompt, service.requests[0].seed) == ("a red apple", 7)
    assert not has(app, "open-wall-0")


def test_the_status_is_asked_for_abilities_once_and_again_for_another_model(
    visit: Visit, service: FakeService, declared: pb.Abilities
) -> None:
    visit().run()
    monitor = services().monitor
    first = monitor.abilities.model
    assert first is not None
    monitor.look(max_age_s=0, patience_s=3)
    assert monitor.abilities.model is first
    service.status.models[0].revision = "another"
    declared.about = "Two things."
    monitor.look(max_age_s=0, patience_s=3)
    second = monitor.abilities.model
    assert second == replace(first, about="Two things.")


def test_the_picker_finds_things_by_any_word_and_writes_the_sentence(
    visit: Visit, declared: pb.Abilities
) -> None:
    app = visit().run()
    app.text_input(key="thing-search").set_value("DOG").run()
    choose(app, "thing", "dog face")
    choose(app, "thing-colour", "red")
    choose(app, "thing-background", "teal")
    assert app.text_area(key="prompt").value == "a red dog face on a teal background"
    app.text_input(key="thing-search").set_value("xyz").run()
    assert any("No such thing" in caption.value for caption in app.caption)


def test_a_surprise_is_made_at_once(
    visit: Visit, service: FakeService, declared: pb.Abilities
) -> None:
    app = visit().run()
    app.button(key="surprise").click().run()
    wait_for(app, shows("Seed 1234"))
    assert any(thing in service.requests[0].prompt for thing in ("dog face", "apple"))
    assert app.text_area(key="prompt").value == service.requests[0].prompt


def test_unknown_words_are_said_below_the_prompt_and_replaced_by_a_click(
    visit: Visit, service: FakeService, declared: pb.Abilities
) -> None:
    service.prompt_warnings = {"a Wolf": [WARNING]}
    app = visit().run()
    app.text_area(key="prompt").set_value("a Wolf").run()
    assert "I don&#x27;t know “wolf”" in html_of(app)
    app.button(key="instead-0-dog face").click().run()
    assert app.text_area(key="prompt").value == "a dog face"
    assert "don&#x27;t know" not in html_of(app)
    assert service.requests == []


def test_a_service_that_cannot_check_prompts_is_no_obstacle(
    visit: Visit, service: FakeService
) -> None:
    app = visit().run()
    service.prompt_warnings = None
    service.stop()
    app.text_area(key="prompt").set_value("a wolf").run()
    assert not app.exception


def test_the_same_note_stays_on_the_picture_with_what_to_draw_instead(
    visit: Visit, service: FakeService, declared: pb.Abilities
) -> None:
    service.warnings = [WARNING]
    app = wait_for(generate(visit().run(), "a wolf"), shows("Seed 1234"))
    assert any("nearest I can draw" in caption.value for caption in app.caption)
    service.warnings = []
    app.button(key="again-with-0-dog face").click().run()
    wait_for(app, lambda _app: len(service.requests) == 2)
    assert service.requests[1].prompt == "a dog face"


def test_only_what_the_model_is_good_at_is_offered_and_the_rest_is_an_experiment(
    visit: Visit, declared: pb.Abilities
) -> None:
    app = visit().run()
    (experiment,) = [e for e in app.expander if e.label == "Experiment"]
    assert "trained at 64 × 64" in experiment.caption[0].value
    assert experiment.slider[0].key == "guidance"


def test_about_opens_with_what_the_model_draws(visit: Visit, declared: pb.Abilities) -> None:
    seen = html_of(on("about", visit()))
    for text in ("One thing at a time.", "Animals", "1 thing<", "64 × 64", keep(b"RIFF webp")):
        assert text in seen


def test_a_model_that_declares_nothing_has_no_such_limits(visit: Visit) -> None:
    app = visit().run()
    assert not [e for e in app.expander if e.label == "Experiment"]
    assert [key for key in keys_of(app) if key.startswith("style-")]
    app.text_area(key="prompt").set_value("a cat").run()
    app.button(key="style-oil painting").click().run()
    assert app.text_area(key="prompt").value == "a cat, oil painting"


def test_example_pictures_are_served_by_their_content() -> None:
    client = TestClient(Starlette(routes=[example_route()]))
    answer = client.get(keep(b"a picture").removeprefix("."))
    assert answer.content == b"a picture"
    assert answer.headers["content-type"] == "image/webp"
    assert "immutable" in answer.headers["cache-control"]
    assert client.get(f"/example/{'0' * 32}.webp").status_code == 404
