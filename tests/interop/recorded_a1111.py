"""What programs send to A1111's API, from the connect button to the picture, as their sources do.

`sees` are what the program reads of an answer: where it fails, so does the program.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Json = Any


@dataclass(frozen=True)
class Call:
    """One request. `body` may need what an earlier answer said: a function of the last one."""

    method: str
    path: str
    sees: Callable[[Json], Any]
    body: Json | Callable[[Json], Json] = None


@dataclass(frozen=True)
class Program:
    name: str
    source: str
    calls: tuple[Call, ...]


API = "/sdapi/v1/"
TXT2IMG = API + "txt2img"


def names(key: str = "name") -> Callable[[Json], Any]:
    return lambda answer: [item[key] for item in answer]


def picture(answer: Json) -> Any:
    return answer["images"][0]


def as_librechat_reads(answer: Json) -> Any:
    info = json.loads(answer["info"])
    assert isinstance(info["seed"], int)
    assert (info["width"], info["height"]) == (64, 64)
    assert info["infotexts"][0].split("\n").pop().startswith("Steps: 22, Sampler: ")
    return answer["images"][0]


def with_model(options: Json) -> Json:
    return {**options, "sd_model_checkpoint": options["sd_model_checkpoint"]}


OPEN_WEBUI = Program(
    "Open WebUI, engine automatic1111",
    "https://github.com/open-webui/open-webui backend/open_webui/routers/images.py",
    (
        Call("GET", API + "options", lambda options: options["sd_model_checkpoint"]),
        Call(
            "GET", API + "sd-models", lambda models: [(m["title"], m["model_name"]) for m in models]
        ),
        Call("GET", API + "options", lambda options: options["sd_model_checkpoint"]),
        Call("POST", API + "options", lambda answer: answer, with_model),
        Call(
            "POST",
            TXT2IMG,
            picture,
            {
                "prompt": "a red apple",
                "batch_size": 1,
                "width": 64,
                "height": 64,
                "steps": 2,
                "negative_prompt": "blurry",
                # "Additional Parameters" of its settings
                "sampler_name": "DPM++ 2M Karras",
                "scheduler": "Automatic",
                "cfg_scale": 7,
            },
        ),
    ),
)

SILLYTAVERN = Program(
    "SillyTavern, source auto",
    "https://github.com/SillyTavern/SillyTavern src/endpoints/stable-diffusion.js, "
    "public/scripts/extensions/stable-diffusion/index.js",
    (
        Call("GET", API + "options", lambda options: options["sd_model_checkpoint"]),
        Call("GET", API + "sd-models", names("title")),
        Call("GET", API + "samplers", names()),
        Call("GET", API + "schedulers", names()),
        Call("GET", API + "upscalers", lambda found: found[0]["name"] == "None"),
        Call("GET", API + "latent-upscale-modes", names()),
        Call("GET", API + "sd-vae", names("model_name")),
        Call("GET", API + "sd-modules", names("model_name")),
        Call("GET", API + "progress", lambda told: (told["progress"], told["state"]["job_count"])),
        Call("GET", API + "options", lambda options: "forge_preset" not in options),
        Call(
            "POST",
            TXT2IMG,
            picture,
            {
                "url": "http://localhost:8080",
                "auth": "",
                "prompt": "a red apple",
                "negative_prompt": "blurry",
                "sampler_name": "Euler a",
                "scheduler": "automatic",
                "steps": 2,
                "cfg_scale": 7,
                "width": 64,
                "height": 64,
                "restore_faces": False,
                "enable_hr": False,
                "hr_upscaler": "Latent",
                "hr_scale": 1,
                "hr_additional_modules": [],
                "denoising_strength": 0.7,
                "hr_second_pass_steps": 0,
                "override_settings": {"CLIP_stop_at_last_layers": 1},
                "override_settings_restore_afterwards": True,
                "clip_skip": 1,
                "save_images": True,
                "send_images": True,
                "do_not_save_grid": False,
                "do_not_save_samples": False,
            },
        ),
    ),
)

SDCPP = Program(
    "SillyTavern, source stable-diffusion.cpp",
    "https://github.com/SillyTavern/SillyTavern src/endpoints/stable-diffusion.js",
    (
        Call("OPTIONS", "/v1/images/generations", lambda answer: answer is None),
        Call("GET", "/v1/models", lambda answer: answer["data"][0]["id"]),
        Call(
            "POST",
            TXT2IMG,
            picture,
            {
                "prompt": "a red apple",
                "negative_prompt": "blurry",
                "width": 64,
                "height": 64,
                "steps": 2,
                "cfg_scale": 7,
                "seed": 7,
                "batch_size": 1,
                "sampler_name": "euler_a",
                "scheduler": "discrete",
            },
        ),
    ),
)

LIBRECHAT = Program(
    "LibreChat, tool stable-diffusion",
    "https://github.com/danny-avila/LibreChat "
    "api/app/clients/tools/structured/StableDiffusion.js (there with 1024x1024)",
    (
        Call(
            "POST",
            TXT2IMG,
            as_librechat_reads,
            {
                "prompt": "a red apple, studio light, sharp, detailed, round, fresh, shiny",
                "negative_prompt": "blurry, dark, grey, flat, dull, cropped, noisy",
                "cfg_scale": 4.5,
                "steps": 22,
                "width": 64,
                "height": 64,
            },
        ),
    ),
)

SWARMUI = Program(
    "SwarmUI, backend Auto WebUI by URL",
    "https://github.com/mcmonkeyprojects/SwarmUI AutoWebUIAPIAbstractBackend.cs",
    (
        Call("GET", API + "options", lambda options: options["sd_model_checkpoint"]),
        Call("GET", API + "samplers", names()),
        Call("GET", API + "sd-models", names("title")),
        Call(
            "POST",
            API + "options",
            lambda answer: answer,
            lambda models: {"sd_model_checkpoint": models[0]["title"]},
        ),
        Call(
            "POST",
            TXT2IMG,
            picture,
            {
                "prompt": "a red apple",
                "negative_prompt": "blurry",
                "seed": 7,
                "steps": 2,
                "width": 64,
                "height": 64,
                "batch_size": 1,
                "cfg_scale": 7.0,
                "subseed": -1,
                "subseed_strength": 0.0,
                "sampler_name": "Euler",
            },
        ),
    ),
)

PROGRAMS = (OPEN_WEBUI, SILLYTAVERN, SDCPP, LIBRECHAT, SWARMUI)
