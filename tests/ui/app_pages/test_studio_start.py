"""Starting from a picture in the studio and from the gallery."""

import io

import pytest
from PIL import Image

from tests.support.fake_service import FakeService
from tests.ui.pages import OWNER, Visit, generate, has, keep, on, shows, wait_for
from ui.connection import services
from ui.storage.gallery import Search


def kept() -> bytes:
    """The file of the owner's latest picture."""
    gallery = services().gallery
    return gallery.read(gallery.page(OWNER, Search(), 1, 1)[0])


def test_a_finished_picture_is_started_from_until_it_is_put_away(
    visit: Visit, service: FakeService
) -> None:
    app = wait_for(generate(visit().run()), shows("Seed 1234"))
    assert not has(app, "start-remove")
    first = kept()
    app.button(key="start-from-result").click().run()
    assert has(app, "start-remove")
    app.slider(key="start-strength").set_value(0.4).run()
    app = wait_for(generate(app, "a blue cat"), lambda app: len(service.requests) == 2)
    request = service.requests[1]
    assert (request.prompt, request.init_image) == ("a blue cat", first)
    assert request.strength == pytest.approx(0.4)
    wait_for(app, lambda app: has(app, "start-from-result"))
    app.button(key="start-remove").click().run()
    assert not has(app, "start-remove")
    wait_for(generate(app, "a red cat"), lambda app: len(service.requests) == 3)
    assert not service.requests[2].init_image
    assert not service.requests[2].HasField("strength")


def test_a_picture_is_drawn_again_twice_as_large(visit: Visit, service: FakeService) -> None:
    app = wait_for(generate(visit().run()), shows("Seed 1234"))
    first = kept()
    app.button(key="upscale-result").click().run()
    wait_for(app, lambda app: len(service.requests) == 2)
    request = service.requests[1]
    assert (request.width, request.height, request.seed) == (128, 128, 1234)
    assert (request.init_image, request.prompt) == (first, "a cat")
    assert request.strength == pytest.approx(0.35)
    assert not has(app, "start-remove")


def test_a_picture_of_the_gallery_is_started_from(visit: Visit, service: FakeService) -> None:
    app = visit().run()
    picture = keep("a barn")
    app = on("gallery", app, picture=picture.id)
    if not has(app, "start-from-lightbox"):
        app.button(key=f"open-gallery-{picture.id}").click().run()
    app.button(key="start-from-lightbox").click().run()
    app = on("studio", app)
    assert has(app, "start-remove")
    assert app.text_area(key="prompt").value == "a barn"


def white_corner() -> bytes:
    """A mask's file of a kept picture's size."""
    mask = Image.new("L", Image.open(io.BytesIO(kept())).size)
    mask.paste(255, (0, 0, 5, 5))
    file = io.BytesIO()
    mask.save(file, "PNG")
    return file.getvalue()


def test_a_masks_file_is_sent_and_goes_with_the_picture(visit: Visit, service: FakeService) -> None:
    app = wait_for(generate(visit().run()), shows("Seed 1234"))
    app.button(key="start-from-result").click().run()
    app.button(key="mask-open").click().run()
    app.file_uploader(key="mask-file").set_value(("m.png", b"no picture", "image/png")).run()
    assert "It can't be used" in app.error[0].value
    mask = white_corner()
    app.file_uploader(key="mask-file").set_value(("m.png", mask, "image/png")).run()
    assert app.slider(key="start-strength").value == 1.0
    app = wait_for(generate(app, "a blue cat"), lambda app: len(service.requests) == 2)
    request = service.requests[1]
    assert Image.open(io.BytesIO(request.mask)).getbbox() == (0, 0, 5, 5)
    assert request.strength == 1.0
    wait_for(app, lambda app: has(app, "start-from-result"))
    app.button(key="start-from-result").click().run()
    wait_for(generate(app, "a red cat"), lambda app: len(service.requests) == 3)
    assert service.requests[2].init_image
    assert not service.requests[2].mask


def test_a_mask_is_taken_away(visit: Visit, service: FakeService) -> None:
    app = wait_for(generate(visit().run()), shows("Seed 1234"))
    app.button(key="start-from-result").click().run()
    app.button(key="mask-open").click().run()
    app.file_uploader(key="mask-file").set_value(("m.png", white_corner(), "image/png")).run()
    assert not has(app, "mask-remove")
    app.button(key="mask-open").click().run()
    app.button(key="mask-remove").click().run()
    assert app.slider(key="start-strength").value == pytest.approx(0.6)
    wait_for(generate(app), lambda app: len(service.requests) == 2)
    assert service.requests[1].init_image
    assert not service.requests[1].mask
