"""Every state of the studio page, with a scripted image server and no browser."""

import time

import grpc
import pytest

from proto import text2image_pb2 as pb
from tests.support.fake_service import Failure, FakeService, error_info, retry_info
from tests.ui.conftest import png
from tests.ui.pages import (
    OWNER,
    Visit,
    choose,
    generate,
    has,
    html_of,
    keep,
    keys_of,
    shows,
    wait_for,
)
from ui.components import prompt_bar
from ui.components.wall import PROMPTS
from ui.connection import services
from ui.recipe import Abilities, Recipe
from ui.storage.gallery import Search

CODE = grpc.StatusCode
STATES = pb.GetStatusResponse


def test_the_idle_studio_invites(visit: Visit) -> None:
    app = wait_for(visit().run(), shows("Ready · fake"))
    assert "begin with one of these" in html_of(app)
    assert app.button(key="generate").label == "Generate"
    assert app.text_area(key="prompt").label == "Prompt"


def test_an_example_fills_the_prompt_and_generates(visit: Visit, service: FakeService) -> None:
    app = visit().run()
    app.button(key="example-0").click().run()
    assert app.text_area(key="prompt").value == PROMPTS[0]
    wait_for(app, shows("Seed 1234"))
    assert service.requests[0].prompt == PROMPTS[0]


def test_an_empty_prompt_is_said_beside_it_and_nothing_is_sent(
    visit: Visit, service: FakeService
) -> None:
    app = generate(visit().run(), "   ")
    assert [error.body for error in app.error] == ["Say what the picture should show\\."]
    assert service.requests == []
    assert "begin with one of these" in html_of(app)


def test_a_picture_is_made_shown_and_kept(visit: Visit, service: FakeService) -> None:
    app = wait_for(generate(visit().run()), shows("Seed 1234"))
    for key in ("variation", "keep-seed", "favourite-result", "pin-result"):
        assert has(app, key)
    assert "/img/" in html_of(app)
    assert [key for key in keys_of(app) if key.startswith("open-film-")]
    request = service.requests[0]
    assert (request.prompt, request.width, request.num_inference_steps) == ("a cat", 64, 30)
    assert request.scheduler == "ddim"
    assert service.metadata[0]["x-text2image-client"] == "s-ada"
    assert app.text_area(key="prompt").value == "a cat"


def test_running_shows_step_preview_and_time_left(visit: Visit, service: FakeService) -> None:
    service.step_s, service.hang_at_step = 0.1, 20
    app = wait_for(generate(visit().run()), shows("data:image/jpeg"))
    seen = html_of(app)
    assert 'role="progressbar"' in seen
    assert "of 30" in seen
    assert "left" in seen
    assert app.button(key="generate").label == "Add to queue (1 of 4)"
    app.button(key="cancel").click().run()
    wait_for(app, shows("Nothing was kept"))
    assert app.button(key="generate").label == "Generate"
    assert app.text_area(key="prompt").value == "a cat"


def test_a_job_that_ends_while_the_page_is_drawn_is_counted_no_more(
    visit: Visit, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.step_s = 0.1
    app = wait_for(generate(visit().run()), shows("data:image/jpeg"))
    (job,) = services().jobs.active("s-ada")

    draw = prompt_bar.prompt_bar

    def slow_bar(abilities: Abilities, num_active: int) -> None:
        draw(abilities, num_active)
        job.cancel()
        while job.is_active:
            time.sleep(0.01)

    monkeypatch.setattr(prompt_bar, "prompt_bar", slow_bar)
    app.run()
    assert app.button(key="generate").label == "Generate"


def test_the_queue_tells_the_place(visit: Visit, service: FakeService) -> None:
    service.queue, service.queue_s = [2], 60.0
    app = wait_for(generate(visit().run()), shows("2 ahead of you"))
    assert has(app, "cancel")
    app.button(key="cancel").click().run()
    wait_for(app, shows("Cancelled"))


def test_a_slow_server_is_waited_for_in_words(visit: Visit, service: FakeService) -> None:
    service.hang_at_step = 0
    app = generate(visit().run())
    assert "Sending…" in html_of(app)
    job = services().jobs.active("s-ada")[0]
    job.created -= 5
    app.run()
    assert "Still waiting" in html_of(app)
    job.cancel()


def test_a_loading_model_is_explained_and_waited_for(visit: Visit, service: FakeService) -> None:
    service.status.state = STATES.STATE_STARTING
    service.status.message = "Loading sd14 (40 %)"
    details = (error_info("MODEL_LOADING"), retry_info(0.1))
    service.failure = Failure(CODE.UNAVAILABLE, "Loading sd14", details)
    app = generate(visit().run())
    assert any("starts by itself" in info.body for info in app.info)
    assert "Loading the model" in html_of(app)
    wait_for(app, shows("Loading sd14"))
    service.failure = None
    wait_for(app, shows("Seed 1234"))


def test_a_model_that_was_unloaded_is_said_to_load(visit: Visit, service: FakeService) -> None:
    service.status.models[0].loaded = False
    service.status.message = "Unloaded after 900 s without a request."
    service.hang_at_step = 0
    app = generate(visit().run())
    assert "The model is loading" in html_of(app)
    for job in services().jobs.active("s-ada"):
        job.cancel()


def test_a_reload_finds_the_job_again(visit: Visit, service: FakeService) -> None:
    service.hold_at_step = 5
    generate(visit().run(), "a red balloon")
    again = wait_for(visit().run(), shows("Step "))
    assert again.text_area(key="prompt").value == "a red balloon"
    service.hold_at_step = None
    wait_for(again, shows("Seed 1234"))


def test_others_do_not_see_it(visit: Visit) -> None:
    wait_for(generate(visit("ada").run()), shows("Seed 1234"))
    other = visit("eve").run()
    assert "begin with one of these" in html_of(other)
    assert not [key for key in keys_of(other) if key.startswith("open-film-")]


def test_up_to_four_jobs_may_wait(visit: Visit, service: FakeService) -> None:
    service.hang_at_step = 0
    app = visit().run()
    for number in range(4):
        app = generate(app, f"cat {number}")
    assert "Also under way" in html_of(app)
    assert app.button(key="generate").disabled
    assert app.button(key="generate").label == "Your queue is full (4 of 4)"
    for job in services().jobs.active("s-ada"):
        job.cancel()


def test_an_interrupted_job_can_be_run_again(visit: Visit) -> None:
    app = visit().run()
    journal = services().journal
    journal.open("j1", "s-ada", Recipe("a lost cat", width=64, height=64).to_dict())
    journal.interrupt_own_jobs()
    app = visit().run()
    assert "Interrupted by a restart" in html_of(app)
    app.button(key="run-again").click().run()
    wait_for(app, shows("Seed 1234"))


def test_a_link_fills_the_form_and_leaves_the_address(visit: Visit, service: FakeService) -> None:
    app = visit(prompt="a “dog”", seed="42", steps="9999", w="128", h="64").run()
    assert app.text_area(key="prompt").value == "a “dog”"
    assert app.number_input(key="seed").value == 42
    assert "prompt" not in app.query_params
    assert any("Settings loaded" in info.body for info in app.info)
    assert any("9999 → 150" in info.body.replace("\\", "") for info in app.info)
    app.button(key="generate").click().run()
    wait_for(app, shows("Seed 42"))
    request = service.requests[0]
    assert (request.width, request.height, request.num_inference_steps) == (128, 64, 150)


def test_a_locked_seed_is_sent_and_the_dice_rolls_another(
    visit: Visit, service: FakeService
) -> None:
    app = visit().run()
    app.toggle(key="lock").set_value(True).run()
    app.number_input(key="seed").set_value(7).run()
    wait_for(generate(app), shows("Seed 7"))
    app.button(key="dice").click().run()
    assert app.number_input(key="seed").value != 7
    assert service.requests[0].seed == 7


def test_keeping_a_seed_locks_it(visit: Visit) -> None:
    app = wait_for(generate(visit().run()), shows("Seed 1234"))
    app.button(key="keep-seed").click().run()
    assert app.number_input(key="seed").value == 1234


def test_several_pictures_come_as_cards(visit: Visit, service: FakeService) -> None:
    app = visit().run()
    choose(app, "count", 4)
    wait_for(generate(app), shows("4 pictures"))
    assert service.requests[0].num_images == 4
    tiles = [key for key in keys_of(app) if key.startswith("open-result-")]
    assert len(tiles) == 4
    app.button(key=tiles[2]).click().run()
    assert "Seed 1236" in html_of(app)
    for key in ("download-result", "favourite-result", "pin-result", "keep-seed", "variation"):
        assert app.get_by_key(key) is not None
    app.button(key="back-to-all").click().run()
    assert [key for key in keys_of(app) if key.startswith("open-result-")] == tiles


def test_a_number_of_pictures_from_a_link_is_offered(visit: Visit, service: FakeService) -> None:
    app = visit(prompt="a cat", n="3").run()
    wait_for(generate(app), shows("3 pictures"))
    assert service.requests[0].num_images == 3


def test_the_filmstrip_puts_pictures_on_the_stage(visit: Visit) -> None:
    app = visit().run()
    for number, colour in enumerate(("red", "lime", "blue")):
        keep(f"cat {number}", seed=number, colour=colour)
    app.run()
    tiles = [key for key in keys_of(app) if key.startswith("open-film-")]
    assert len(tiles) == 3
    assert app.button(key="film-next").disabled
    app.button(key=tiles[0]).click().run()
    assert "Seed 2" in html_of(app)
    app.button(key="film-next").click().run()
    assert "Seed 1" in html_of(app)
    app.button(key="favourite-result").click().run()
    assert [p.seed for p in services().gallery.page(OWNER, Search(favourites=True), 1)] == [1]
    app.button(key="film-previous").click().run()
    assert "Seed 2" in html_of(app)
    assert app.button(key="film-previous").disabled
    app.button(key="zoom").click().run()
    assert app.query_params["img"] == tiles[0].removeprefix("open-film-")


def test_settings_can_be_reset_and_the_prompt_stays(visit: Visit, service: FakeService) -> None:
    app = visit(prompt="a cat", steps="7", n="3", seed="5", cfg="2").run()
    app.button(key="reset").click().run()
    wait_for(generate(app, app.text_area(key="prompt").value or ""), shows("Seed 1234"))
    request = service.requests[0]
    assert (request.prompt, request.num_inference_steps, request.num_images) == ("a cat", 30, 1)
    assert request.guidance_scale == 7.5


def test_a_size_that_takes_long_to_start_is_not_called_a_queue(
    visit: Visit, service: FakeService
) -> None:
    service.queue, service.queue_s = [0], 30.0
    app = wait_for(generate(visit().run()), shows("Starting…"))
    job = services().jobs.active("s-ada")[0]
    job.created -= 5
    app.run()
    assert "Getting ready for 64 × 64" in html_of(app)
    assert "You are next" not in html_of(app)
    job.cancel()


def test_the_next_picture_forms_over_the_last_one(visit: Visit, service: FakeService) -> None:
    app = wait_for(generate(visit().run()), shows("Seed 1234"))
    service.hang_at_step = 0
    generate(app, "a dog")
    assert "ink-dim" in html_of(app)
    for job in services().jobs.active("s-ada"):
        job.cancel()


def test_an_offline_studio_promises_no_size_and_sends_none(
    visit: Visit, service: FakeService
) -> None:
    service.status_failure = Failure(CODE.UNAVAILABLE, "away")
    app = visit().run()
    assert not any("512" in caption.value for caption in app.caption)
    wait_for(generate(app), shows("Seed 1234"))
    request = service.requests[0]
    assert not request.HasField("width")
    assert not request.HasField("height")


def test_custom_shape_and_quality_are_sent(visit: Visit, service: FakeService) -> None:
    app = visit().run()
    choose(app, "aspect", "Custom")
    app.number_input(key="width").set_value(96)
    choose(app, "quality", "Custom")
    app.slider(key="steps").set_value(4).run()
    wait_for(generate(app), shows("Seed 1234"))
    request = service.requests[0]
    assert (request.width, request.height, request.num_inference_steps) == (96, 64, 4)


def test_settings_last_across_pages(visit: Visit) -> None:
    app = visit().run()
    app.text_area(key="prompt").set_value("kept").run()
    app.slider(key="guidance").set_value(3.0).run()
    app.switch_page("app_pages/gallery.py").run()
    app.switch_page("app_pages/studio.py").run()
    assert app.text_area(key="prompt").value == "kept"
    assert app.slider(key="guidance").value == 3.0


def test_pasted_parameters_fill_the_form(visit: Visit) -> None:
    app = visit().run()
    app.text_area(key="pasted").set_value("a dog\nSteps: 12, Seed: 99, Size: 128x128").run()
    app.button(key="use-pasted").click().run()
    assert app.text_area(key="prompt").value == "a dog"
    assert app.number_input(key="seed").value == 99
    app.text_area(key="pasted").set_value("rubbish").run()
    app.button(key="use-pasted").click().run()
    assert any("not settings" in error.body for error in app.error)


def test_a_dropped_picture_without_settings_is_refused_in_words(visit: Visit) -> None:
    app = visit().run()
    app.file_uploader(key="dropped-studio").upload("x.png", png()).run()
    assert any("carries no settings" in error.body for error in app.error)


def test_a_database_that_does_not_answer_is_said_and_tried_again(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXT2IMAGE_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    app = visit().run()
    assert app.exception  # the launcher's hook turns it into a notice
    monkeypatch.delenv("TEXT2IMAGE_DATABASE_URL")
    assert "begin with one of these" in html_of(visit().run())
