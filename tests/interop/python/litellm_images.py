"""LiteLLM. Usage: litellm_images.py http://HOST:PORT"""

import asyncio
import base64
import io
import sys

import litellm

litellm.suppress_debug_info = True  # else it prints where to ask for help at each refusal
settings = {"api_base": f"{sys.argv[1]}/v1", "api_key": "unused", "model": "openai/dall-e-3"}
quick = {"num_inference_steps": 3, "seed": 7}


def png_of(item):
    data = base64.b64decode(item.b64_json)
    assert data.startswith(b"\x89PNG")
    return data


made = litellm.image_generation(prompt="a fox", n=2, size="64x64", **settings)
assert len(made.data) == 2, made
print("ok generate")

asked = {"prompt": "a fox", "size": "64x64", **quick, **settings}
[first] = litellm.image_generation(**asked).data
[again] = asyncio.run(litellm.aimage_generation(**asked)).data
assert png_of(first) == png_of(again)
assert first.url.startswith(sys.argv[1]), first.url
print("ok our parameters")

picture = io.BytesIO(png_of(first))
picture.name = "fox.png"
[edited] = litellm.image_edit(image=picture, prompt="a red fox", **settings).data
assert png_of(edited) != png_of(first)
print("ok edit")


def refusal_of(model):
    try:
        litellm.image_generation(prompt="a fox", **{**settings, "model": model})
    except litellm.NotFoundError as error:
        return str(error)
    raise AssertionError("it was not refused")


assert "No such model." in refusal_of("openai/stable-diffusion-9")
print("ok refusal")
