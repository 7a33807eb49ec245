"""What the studio page says when something fails, and what it offers then."""

import grpc
import pytest

from proto import text2image_pb2 as pb
from tests.support.fake_service import Failure, FakeService, bad_request, error_info, retry_info
from tests.ui.pages import Visit, generate, has, html_of, shows, wait_for

CODE = grpc.StatusCode
STATES = pb.GetStatusResponse


FAILURES = {
    "full": (
        Failure(CODE.RESOURCE_EXHAUSTED, "x", (error_info("QUEUE_FULL"), retry_info(60))),
        "The queue is full",
    ),
    "memory": (
        Failure(CODE.RESOURCE_EXHAUSTED, "x", (error_info("OUT_OF_MEMORY"),)),
        "Not enough memory for 64 × 64",
    ),
    "quota": (
        Failure(CODE.RESOURCE_EXHAUSTED, "x", (error_info("QUOTA"),)),
        "You reached your limit",
    ),
    "internal": (Failure(CODE.INTERNAL, "internal error"), "The image server hit an error"),
    "deadline": (Failure(CODE.DEADLINE_EXCEEDED, "late"), "This took too long"),
    "no model": (Failure(CODE.FAILED_PRECONDITION, "broken"), "The model could not be loaded"),
    "key": (Failure(CODE.UNAUTHENTICATED, "who"), "Not let in"),
    "old": (Failure(CODE.UNIMPLEMENTED, "what"), "another version"),
    "lost": (Failure(CODE.UNAVAILABLE, "gone"), "can't be reached"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_every_failure_says_what_to_do_and_keeps_the_prompt(
    visit: Visit, service: FakeService, name: str
) -> None:
    failure, title = FAILURES[name]
    service.failure = failure
    app = generate(visit().run())
    wait_for(app, lambda a: any(title in error.proto.title for error in a.error))
    assert app.text_area(key="prompt").value == "a cat"
    assert any(failure.code.name in code.value for code in app.code)


def test_a_refused_field_is_said_beside_it(visit: Visit, service: FakeService) -> None:
    refused = (bad_request(guidance_scale="Must be 0 to 50.", prompt="No *stars*."),)
    service.failure = Failure(CODE.INVALID_ARGUMENT, "bad", refused)
    app = generate(visit().run())
    wait_for(app, lambda a: len(a.error) == 3)
    assert "No \\*stars\\*\\." in [error.body for error in app.error]


def test_trying_again_after_a_failure_works(visit: Visit, service: FakeService) -> None:
    service.failure = Failure(CODE.INTERNAL, "internal error")
    app = generate(visit().run())
    wait_for(app, lambda a: has(a, "retry"))
    service.failure = None
    app.button(key="retry").click().run()
    wait_for(app, shows("Seed 1234"))


def test_too_little_memory_offers_a_smaller_size(visit: Visit, service: FakeService) -> None:
    service.failure = Failure(CODE.RESOURCE_EXHAUSTED, "x", (error_info("OUT_OF_MEMORY"),))
    app = visit(w="512", h="384", prompt="a cat").run()
    app.button(key="generate").click().run()
    wait_for(app, lambda a: has(a, "retry"))
    assert app.button(key="retry").label == "Try 384 × 288"
    service.failure = None
    app.button(key="retry").click().run()
    wait_for(app, shows("384 × 288"))


def test_an_unreachable_server_is_said_and_the_studio_stays(
    visit: Visit, service: FakeService
) -> None:
    service.stop()
    app = visit().run()
    wait_for(app, lambda a: any("can't be reached" in w.body for w in a.warning))
    assert "Offline" in html_of(app)
    assert not app.button(key="generate").disabled


def test_a_job_that_was_cut_off_starts_over_when_the_server_is_back(
    visit: Visit, service: FakeService
) -> None:
    away = Failure(CODE.UNAVAILABLE, "gone")
    service.failure, service.fail_at_step, service.status_failure = away, 2, away
    app = visit(prompt="a cat", seed="7").run()
    app.button(key="generate").click().run()
    wait_for(app, lambda a: any("went away" in error.proto.title for error in a.error))
    assert "starts by itself" in app.error[0].body
    assert not app.warning  # said once, not twice
    app.run()
    assert len(service.requests) == 1
    service.failure = service.status_failure = None
    wait_for(app, shows("Seed 7"))
    assert [request.seed for request in service.requests] == [7, 7]


def test_a_failed_model_is_said(visit: Visit, service: FakeService) -> None:
    service.status.state = STATES.STATE_FAILED
    service.status.message = "The file is broken."
    app = visit().run()
    assert "No model" in html_of(app)
    assert any("could not be loaded" in error.proto.title for error in app.error)


def test_a_withheld_picture_is_explained(visit: Visit, service: FakeService) -> None:
    service.nsfw = [0]
    app = generate(visit().run())
    wait_for(app, lambda a: any(info.proto.title == "Withheld" for info in a.info))
    assert has(app, "variation")


def test_a_full_disk_still_gives_the_picture(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    app = visit().run()
    with monkeypatch.context() as patched:
        patched.setattr("ui.storage.files.PictureFiles.write", full)
        generate(app)
        wait_for(app, lambda a: bool(a.warning))
    assert "No space left on device" in app.warning[0].body
    assert "ink-frame" not in html_of(app)  # the stage shows it, and not an older one
    app.button(key="save-again-0").click().run()
    wait_for(app, shows("Seed 1234"))
