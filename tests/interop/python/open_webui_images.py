"""Open WebUI's own image code, unconfigured but for addresses. Usage: … http://HOST:PORT

Its routers/images.py runs as it is; what that imports of the rest (database, files, users) is
replaced, except for the constants.
"""

import asyncio
import base64
import importlib
import importlib.abc
import importlib.machinery
import io
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import aiohttp
from fastapi import HTTPException
from PIL import Image

# As open_webui/config.py has them where nothing is set.
STORED = {
    "ENABLE_IMAGE_GENERATION": True,
    "IMAGE_GENERATION_ENGINE": "openai",
    "IMAGE_GENERATION_MODEL": "",
    "IMAGE_SIZE": "512x512",
    "IMAGE_STEPS": 50,
    "IMAGES_OPENAI_API_BASE_URL": f"{sys.argv[1]}/v1",
    "IMAGES_OPENAI_API_KEY": "",
    "IMAGES_OPENAI_API_VERSION": "",
    "IMAGES_OPENAI_API_PARAMS": {},
    "AUTOMATIC1111_BASE_URL": sys.argv[1],
    "AUTOMATIC1111_API_AUTH": "",
    "AUTOMATIC1111_PARAMS": {},
    "ENABLE_IMAGE_EDIT": True,
    "IMAGE_EDIT_ENGINE": "openai",
    "IMAGE_EDIT_MODEL": "",
    "IMAGE_EDIT_SIZE": "",
    "IMAGES_EDIT_OPENAI_API_BASE_URL": f"{sys.argv[1]}/v1",
    "IMAGES_EDIT_OPENAI_API_KEY": "",
    "IMAGES_EDIT_OPENAI_API_VERSION": "",
}
ADMIN = SimpleNamespace(id="me", role="admin")
REQUEST = MagicMock()
kept = []  # the pictures that it would have stored


class Stored:
    """Its table of settings."""

    @staticmethod
    async def get_many(*keys):
        return {key: STORED[name_of[key]] for key in keys if name_of.get(key) in STORED}

    @staticmethod
    async def upsert(updates):
        STORED.update({name_of[key]: value for key, value in updates.items()})


async def keep(request, file, **kwargs):
    kept.append(file.file.read())
    return SimpleNamespace(id=str(len(kept)), meta={}, filename=file.filename)


async def session():
    if not sessions:
        sessions.append(aiohttp.ClientSession())
    return sessions[0]


def nobody():
    return ADMIN


sessions = []
REPLACED = {
    "config": {
        "CACHE_DIR": Path(tempfile.mkdtemp()),
        "ENABLE_OPENAI_IMAGE_EDIT_NORMALIZATION": True,
        "IMAGE_AUTO_SIZE_MODELS_REGEX_PATTERN": "^gpt-image",
        "IMAGE_URL_RESPONSE_MODELS_REGEX_PATTERN": "^gpt-image",
    },
    "env": {
        "AIOHTTP_CLIENT_ALLOW_REDIRECTS": True,
        "AIOHTTP_CLIENT_SESSION_SSL": True,
        "ENABLE_FORWARD_USER_INFO_HEADERS": False,
    },
    "internal.db": {"get_async_session": nobody},
    "models.config": {"Config": Stored},
    "routers.files": {"upload_file_handler": keep},
    "utils.auth": {"get_admin_user": nobody, "get_verified_user": nobody},
    "utils.session_pool": {"get_session": session},
}
ITS_OWN = ("open_webui.routers.images", "open_webui.constants")


class Rest(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds every module of Open WebUI that isn't its own as one of stand-ins."""

    def find_spec(self, name, path, target=None):
        if name in ITS_OWN:
            folder = SOURCE.joinpath(*name.split(".")[1:-1])
            return importlib.machinery.PathFinder.find_spec(name, [str(folder)])
        if name.split(".")[0] == "open_webui":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        given = REPLACED.get(module.__name__.removeprefix("open_webui."), {})
        vars(module).update(given)
        module.__getattr__ = lambda name: MagicMock(name=name)


SOURCE = Path(find_spec("open_webui").origin).parent
sys.meta_path.insert(0, Rest())

images = importlib.import_module("open_webui.routers.images")
name_of = {key: name for name, key in images.IMAGE_CONFIG_KEYS.items()}


def png(data):
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return picture.size


async def ask(**fields):
    """The pictures that one click in the chat stores."""
    kept.clear()
    form = images.CreateImageForm(**fields)
    shown = await images.image_generations(REQUEST, form, user=ADMIN)
    assert len(shown) == len(kept) > 0
    return list(kept)


async def refusal(**fields):
    try:
        await ask(**fields)
    except HTTPException as error:
        return str(error.detail)
    raise AssertionError("it was not refused")


async def edit(data, **fields):
    kept.clear()
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    asked = images.EditImageForm(image=fields.pop("wrap", lambda uri: uri)(uri), **fields)
    await images.image_edits(REQUEST, asked, user=ADMIN)
    return list(kept)


async def main():
    [first] = await ask(prompt="a fox")
    assert png(first) == (512, 512)
    print("ok generate")

    STORED["IMAGES_OPENAI_API_PARAMS"] = {"steps": 2, "seed": 7}
    assert len(await ask(prompt="a fox", n=2, size="64x64")) == 2
    assert await ask(prompt="a fox", size="64x64") == await ask(prompt="a fox", size="64x64")
    print("ok our parameters")

    STORED.update(IMAGE_GENERATION_MODEL="gpt-image-1", IMAGE_SIZE="auto")
    [small] = await ask(prompt="a fox")
    print("ok size auto")

    [edited] = await edit(small, prompt="a red fox")
    assert png(edited) == png(small)
    assert edited != small
    assert len(await edit(small, prompt="a red fox", wrap=lambda uri: [uri], n=2)) == 2
    print("ok edit")

    STORED["IMAGE_GENERATION_MODEL"] = "stable-diffusion-9"
    assert "Not Found" in await refusal(prompt="a fox"), "all that it tells its people"
    print("ok refusal")

    STORED.update(IMAGE_GENERATION_ENGINE="automatic1111", IMAGE_STEPS=2, IMAGE_SIZE="64x64")
    form = images.ConnectionVerificationForm(engine="automatic1111", url=sys.argv[1] + "/", key="")
    assert await images.verify_connection(form)
    [model] = await images.get_models(REQUEST)
    assert model["id"]
    assert model["name"]
    print("ok automatic1111 menus")

    assert len(await ask(prompt="a fox", n=2, model=model["id"])) == 2
    STORED["AUTOMATIC1111_PARAMS"] = {"seed": 7, "sampler_name": "Euler", "cfg_scale": 5}
    asked = {"prompt": "a fox", "negative_prompt": "dull"}
    assert await ask(**asked) == await ask(**asked)
    print("ok automatic1111 generate")
    await sessions[0].close()


asyncio.run(main())
