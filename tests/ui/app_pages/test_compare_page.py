"""The compare page, with a scripted image server and no browser."""

import pytest

from tests.support.fake_service import FakeService
from tests.ui.conftest import png
from tests.ui.pages import OWNER, Visit, choose, html_of, keep, on, wait_for
from ui.connection import services
from ui.recipe import Recipe


def test_comparing_needs_two_pictures(visit: Visit) -> None:
    app = on("compare", visit())
    assert "Two pictures are needed" in html_of(app)
    assert "You have made none yet." in html_of(app)
    keep("a cat")
    app.run()
    assert "Make another one in the studio." in html_of(app)
    assert app.button(key="first").label == "Make one"


def test_two_pictures_are_compared_in_three_ways(visit: Visit) -> None:
    app = visit().run()
    keep("a cat", 1, "red"), keep("a dog", 2, "blue")
    app = on("compare", app)
    assert html_of(app).count('class="ink-differs"') == 2
    choose(app, "view", "Side by side")
    assert html_of(app).count('class="ink-mat"') == 2
    choose(app, "view", "Difference")
    assert any("They differ by" in caption.value for caption in app.caption)


def test_pinned_pictures_come_first(visit: Visit) -> None:
    app = visit().run()
    pinned = [keep(f"pinned {number}") for number in range(2)]
    keep("newer")
    app.session_state["_pins"] = [picture.id for picture in pinned]
    app = on("compare", app)
    sides = [app.selectbox(key=key).value for key in ("a", "b")]
    assert sides == [picture.id for picture in pinned]


def test_a_grid_is_made_watched_and_found_again(visit: Visit, service: FakeService) -> None:
    app = visit().run()
    app.text_area(key="prompt").set_value("a cat").run()
    app = on("compare", app)
    choose(app, "mode", "Grid")
    app.text_input(key="x-values-steps").set_value("2, 3").run()
    app.selectbox(key="y-axis").set_value("guidance").run()
    app.text_input(key="y-values-guidance").set_value("1, 5").run()
    assert app.button(key="make-grid").label == "Make 4 pictures"
    app.button(key="make-grid").click().run()
    batch = str(app.query_params["batch"])
    wait_for(app, lambda a: "4 of 4 pictures" in html_of(a))
    asked = {(request.num_inference_steps, request.guidance_scale) for request in service.requests}
    assert asked == {(2, 1.0), (3, 1.0), (2, 5.0), (3, 5.0)}
    assert len({request.seed for request in service.requests}) == 1
    again = on("compare", visit(), batch=batch)
    assert "4 of 4 pictures" in html_of(again)
    other = on("compare", visit("eve"), batch=batch)
    assert "pictures</span>" not in html_of(other)
    assert any("isn't yours" in toast.value for toast in other.toast)


def test_an_earlier_grid_brings_its_recipe_and_axes_back(visit: Visit) -> None:
    app = visit().run()
    app.text_area(key="prompt").set_value("a cat").run()
    app = on("compare", app)
    choose(app, "mode", "Grid")
    app.text_input(key="x-values-steps").set_value("2, 3").run()
    app.button(key="make-grid").click().run()
    batch = str(app.query_params["batch"])
    app.text_area(key="prompt").set_value("a dog").run()
    app.text_input(key="x-values-steps").set_value("4").run()
    assert app.text_area(key="prompt").value == "a dog"
    app.query_params.pop("batch")
    app.session_state["_planned_grid"] = ""
    again = on("compare", app, batch=batch)
    assert again.text_area(key="prompt").value == "a cat"
    assert again.text_input(key="x-values-steps").value == "2, 3"


def test_too_many_cells_are_refused_before_the_click_and_said_once(visit: Visit) -> None:
    app = on("compare", visit())
    choose(app, "mode", "Grid")
    numbers = ", ".join(str(number) for number in range(1, 18))
    app.text_input(key="x-values-steps").set_value(numbers).run()
    assert app.button(key="make-grid").disabled
    said = [caption.value for caption in app.caption if "At most 16" in caption.value]
    assert len(said) == 1
    assert not app.error


def test_the_estimate_comes_from_pictures_of_the_same_size(visit: Visit) -> None:
    app = visit().run()
    assert services().gallery.add(
        OWNER,
        png(),
        Recipe("a cat", width=64, height=64, steps=10, seed=1),
        duration_ms=1000,
    )
    app = on("compare", app)
    choose(app, "mode", "Grid")
    app.text_input(key="x-values-steps").set_value("10, 30").run()
    assert "Up to 4.0 s." in [caption.value for caption in app.caption]


def test_a_grid_can_be_cancelled(visit: Visit, service: FakeService) -> None:
    service.hang_at_step = 1
    app = visit().run()
    app.text_area(key="prompt").set_value("a cat").run()
    app = on("compare", app)
    choose(app, "mode", "Grid")
    app.text_input(key="x-values-steps").set_value("2, 3").run()
    app.button(key="make-grid").click().run()
    app.button(key="cancel-grid").click().run()
    wait_for(app, lambda a: html_of(a).count("Cancelled") == 2)


@pytest.mark.parametrize(
    ("values", "said"), [("", "commas"), ("ten", "not a number"), ("0", "1 to 150")]
)
def test_axes_that_make_no_grid_are_refused_in_words(visit: Visit, values: str, said: str) -> None:
    app = visit().run()
    app.text_area(key="prompt").set_value("a cat").run()
    app = on("compare", app)
    choose(app, "mode", "Grid")
    app.text_input(key="x-values-steps").set_value(values).run()
    app.button(key="make-grid").click().run()
    assert any(said in error.body for error in app.error)
