"""A1111's clients: webuiapi, and what other programs send until they have a picture."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import webuiapi
from PIL import Image

from tests.interop.live import Live, until
from tests.interop.recorded_a1111 import PROGRAMS, TXT2IMG, Program

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def http(live: Live) -> Iterator[httpx.Client]:
    """As the programs call: basic authentication, with nothing filled in."""
    headers = {"authorization": "Basic Og=="}
    with httpx.Client(base_url=live.http, headers=headers, timeout=300, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def webui(live: Live) -> Any:
    api = webuiapi.WebUIApi(host="127.0.0.1", port=live.http_port, steps=2)
    api.session.trust_env = False
    return api


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_from_the_connect_button_to_the_picture(program: Program, http: httpx.Client) -> None:
    last: Any = None
    for call in program.calls:
        body = call.body(last) if callable(call.body) else call.body
        answer = http.request(call.method, call.path, json=body)
        assert answer.is_success, f"{program.name}, {call.path}: {answer.text}"
        last = answer.json() if answer.content else None
        seen = call.sees(last)
        assert seen is not False
    image = Image.open(io.BytesIO(base64.b64decode(seen)))
    assert (image.format, image.size) == ("PNG", (64, 64))
    assert len(image.convert("RGB").getcolors(64 * 64) or ()) > 1


def test_webuiapi_makes_pictures_and_reads_them(webui: Any, live: Live) -> None:
    asked = {"sampler_name": "DPM++ 2M", "scheduler": "Karras", "width": 128, "height": 64}
    made = webui.txt2img(prompt="a fox", negative_prompt="dull", seed=11, n_iter=2, **asked)
    assert [image.size for image in made.images] == [(128, 64), (128, 64)]
    assert made.images[0].tobytes() != made.images[1].tobytes()
    assert (made.info["seed"], made.info["all_seeds"]) == (11, [11, 12])
    assert made.info["sd_model_name"] == live.status().models[0].name
    again = webui.txt2img(prompt="a fox", negative_prompt="dull", seed=12, **asked)
    assert again.image.tobytes() == made.images[1].tobytes()
    read = webui.png_info(made.image)
    assert read.info == made.info["infotexts"][0]
    assert read.parameters["Schedule type"] == "Karras"
    large = webui.extra_single_image(made.image, upscaler_1="Lanczos", upscaling_resize=2)
    assert large.image.size == (256, 128)


def test_webuiapi_starts_from_a_picture(webui: Any) -> None:
    size = {"width": 64, "height": 64}
    first = webui.txt2img(prompt="a fox", seed=3, **size).image
    mask = Image.new("L", (64, 64))
    mask.paste(255, (32, 0, 64, 64))
    fields = {"prompt": "a red fox", "seed": 4, "steps": 4, "denoising_strength": 0.5, **size}
    changed = webui.img2img(images=[first], **fields)
    assert changed.image.tobytes() != first.tobytes()
    assert changed.info["denoising_strength"] == 0.5
    assert "Denoising strength: 0.5" in changed.info["infotexts"][0]
    masked = webui.img2img(images=[first], mask_image=mask, **fields).image
    assert masked.tobytes() != changed.image.tobytes()


def test_webuiapi_draws_larger_in_a_second_pass(webui: Any) -> None:
    fields = {"prompt": "a fox", "seed": 3, "width": 64, "height": 64}
    hires = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": webuiapi.HiResUpscaler.Latent}
    made = webui.txt2img(**fields, **hires, denoising_strength=0.5)
    assert made.image.size == (128, 128)
    assert "Hires upscale: 2, Hires upscaler: Lanczos" in made.info["infotexts"][0]
    assert len(made.info["warnings"]) == 1
    again = webui.txt2img(**fields, **hires, denoising_strength=1.0)
    assert again.image.tobytes() != made.image.tobytes()


def test_webuiapi_refreshes_and_is_told_that_pictures_are_not_described(webui: Any) -> None:
    webui.refresh_checkpoints()
    with pytest.raises(RuntimeError, match="404"):
        webui.interrogate(Image.new("RGB", (64, 64)))


def test_webuiapi_fills_its_menus(webui: Any, live: Live) -> None:
    title = webui.util_get_current_model()
    assert title.startswith(live.status().models[0].name)
    webui.util_set_model(title, find_closest=False)
    webui.set_options(webui.get_options())
    samplers = webui.util_get_sampler_names()
    assert len(samplers) == len(live.status().schedulers)
    assert {"Euler a", "DPM++ 2M Karras", "PLMS"} <= set(samplers)
    assert webui.util_get_scheduler_names() == ["automatic", "karras"]
    assert webui.get_memory()["ram"]["total"] > 0
    assert webui.get_embeddings().keys() == {"loaded", "skipped"}
    assert (
        webui.get_prompt_styles() == webui.get_face_restorers() == webui.get_hypernetworks() == []
    )
    webui.util_wait_for_ready()


def test_webuiapi_says_what_is_wrong(webui: Any) -> None:
    with pytest.raises(RuntimeError) as caught:
        webui.txt2img(prompt="a fox", sampler_name="DPM fast")
    status, text = caught.value.args
    assert status == 404
    assert "Sampler not found" in text


def test_webuiapi_follows_and_interrupts(webui: Any, live: Live) -> None:
    cancelled = live.status().counters.cancelled
    found: list[Any] = []
    size = {"width": 256, "height": 256}
    work = threading.Thread(
        target=lambda: found.append(webui.txt2img(prompt="a slow fox", steps=150, **size))
    )
    work.start()
    until(lambda: webui.get_progress()["current_image"] is not None, timeout_s=60)
    told = webui.get_progress()
    assert 0 < told["progress"] < 1
    assert told["state"]["sampling_steps"] == 150
    webui.interrupt()
    until(lambda: live.is_idle)
    work.join()
    assert found[0].images == []
    assert live.status().counters.cancelled == cancelled + 1


def test_hanging_up_frees_the_model(http: httpx.Client, live: Live) -> None:
    cancelled = live.status().counters.cancelled
    body = {"prompt": "a slow fox", "steps": 150, "width": 256, "height": 256}
    with pytest.raises(httpx.ReadTimeout):
        http.post(TXT2IMG, json=body, timeout=httpx.Timeout(10, read=0.5))
    until(lambda: live.is_idle)
    assert live.status().counters.cancelled == cancelled + 1
