"""Starting from a picture in the studio and from the gallery."""

import io

import pytest
from PIL import Image

from tests.support.fake_service import FakeService
from tests.ui.pages import OWNER, Visit, choose, generate, has, html_of, keep, on, shows, wait_for
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


def test_a_model_of_one_size_has_its_pictures_enlarged_without_drawing(
    visit: Visit, service: FakeService
) -> None:
    service.status.models[0].abilities.sizes.add(width=64, height=64)
    app = wait_for(generate(visit().run()), shows("Seed 1234"))
    with Image.open(io.BytesIO(kept())) as picture:
        before = picture.size
    app.button(key="upscale-result").click().run()
    assert len(service.requests) == 1
    larger = services().gallery.page(OWNER, Search(), 1)[0]
    with Image.open(io.BytesIO(kept())) as picture:
        assert picture.size == (larger.width, larger.height) == (2 * before[0], 2 * before[1])
    assert (larger.upscale, larger.upscale_strength, larger.seed) == (2, 0, 1234)
    assert (larger.recipe.width, larger.recipe.upscale) == (before[0], 1)
    seen = html_of(on("gallery", app, img=larger.id))
    assert "<dt>Enlarged</dt><dd>2× by Lanczos</dd>" in seen


def test_an_enlargement_that_fails_is_told_and_nothing_is_lost(
    visit: Visit, service: FakeService
) -> None:
    service.status.models[0].abilities.sizes.add(width=64, height=64)
    app = wait_for(generate(visit().run()), shows("Seed 1234"))
    service.stop()
    app.button(key="upscale-result").click().run()
    assert "can't be enlarged" in app.toast[0].value.replace("\\", "")
    assert services().gallery.count(OWNER) == 1


def test_how_a_picture_was_drawn_is_kept_and_comes_back(visit: Visit, service: FakeService) -> None:
    app = visit().run()
    app.number_input(key="clip_skip").set_value(2)
    choose(app, "upscale", 1.5)
    app.slider(key="upscale_strength").set_value(0.3).run()
    app = wait_for(generate(app, "a cat <lora:pixel:0.8>"), shows("Seed 1234"))
    request = service.requests[0]
    assert (request.clip_skip, request.upscale) == (2, 1.5)
    assert request.upscale_strength == pytest.approx(0.3)
    picture = services().gallery.page(OWNER, Search(), 1)[0]
    seen = html_of(on("gallery", app, img=picture.id))
    for name, value in (("Clip skip", "2"), ("LoRAs", "pixel 0.8")):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in seen
    assert "1.5×, drawn again at strength 0.3" in seen
    app.button(key="reset").click().run() if has(app, "reset") else None
    app.button(key="reuse").click().run()
    app = on("studio", app)
    assert app.number_input(key="clip_skip").value == 2
    assert app.session_state["upscale"] == 1.5
    assert app.slider(key="upscale_strength").value == pytest.approx(0.3)


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
