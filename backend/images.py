"""Pixels to PNG, JPEG or WEBP bytes that carry the story of how they were made.

The text follows the `parameters` form that AUTOMATIC1111's web UI writes and many programs read:
the prompt, a line "Negative prompt: …", a line of "Key: value" pairs. PNG holds it in a text chunk,
JPEG and WEBP in EXIF's user comment. Beside it stand the exact parameters as JSON, in a second text
chunk or in the maker note.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from backend.exif import exif_block
from backend.params import GenerationParams, ImageFormat, ModelInfo

QUALITY = 90  # of JPEG and WEBP, as the contract says
PREVIEW_QUALITY = 75
NOTE_PREFIX = b"text2image\0"  # in front of the JSON within EXIF's maker note

# Our name of a noise scheduler: AUTOMATIC1111's sampler and, where it says so, schedule type.
SAMPLERS = {
    "pndm": ("PLMS", None),
    "ddim": ("DDIM", None),
    "ddpm": ("DDPM", None),
    "euler": ("Euler", None),
    "euler_ancestral": ("Euler a", None),
    "dpmpp_2m": ("DPM++ 2M", None),
    "dpmpp_2m_karras": ("DPM++ 2M", "Karras"),
    "dpmpp_2m_sde": ("DPM++ 2M SDE", None),
    "unipc": ("UniPC", None),
    "heun": ("Heun", None),
    "lms": ("LMS", None),
    "lcm": ("LCM", None),
}


@dataclass(frozen=True, slots=True)
class Story:
    """How one picture came about: the request, the very seed, the model."""

    params: GenerationParams
    seed: int
    model: ModelInfo
    version: str

    def parameters(self) -> str:
        """The story as AUTOMATIC1111's readers know it."""
        lines = [self.params.prompt]
        if self.params.negative_prompt:
            lines.append(f"Negative prompt: {self.params.negative_prompt}")
        pairs = (f"{key}: {_quote(value)}" for key, value in self._settings().items())
        lines.append(", ".join(pairs))
        return "\n".join(lines)

    def json(self) -> str:
        """The story as one JSON object, in the words of the contract."""
        params = self.params
        return json.dumps(
            {
                "prompt": params.prompt,
                "negative_prompt": params.negative_prompt,
                "height": params.height,
                "width": params.width,
                "guidance_scale": params.guidance_scale,
                "num_inference_steps": params.num_inference_steps,
                "seed": self.seed,
                "scheduler": params.scheduler,
                "model": self.model.name,
                "model_revision": self.model.revision,
                "loras": [{"name": lora.name, "scale": lora.scale} for lora in params.loras],
                "device": self.model.device,
                "dtype": self.model.dtype,
                "runtime": self.model.runtime,
                "version": self.version,
            },
            ensure_ascii=False,
        )

    def _settings(self) -> dict[str, str]:
        params = self.params
        sampler, schedule = SAMPLERS[params.scheduler]
        settings = {"Steps": str(params.num_inference_steps), "Sampler": sampler}
        if schedule is not None:
            settings["Schedule type"] = schedule
        settings |= {
            "CFG scale": np.format_float_positional(np.float32(params.guidance_scale), trim="-"),
            "Seed": str(self.seed),
            "Size": f"{params.width}x{params.height}",
            "Model": self.model.name,
            "Model hash": self.model.revision[:10],
        }
        if params.loras:
            settings["Lora"] = " ".join(f"{lora.name}:{lora.scale:g}" for lora in params.loras)
        settings["Version"] = f"text2image {self.version}"
        return settings


def _quote(value: str) -> str:
    """Quote like AUTOMATIC1111 where a value could be taken for several."""
    return json.dumps(value, ensure_ascii=False) if set(value) & set(',:"\n') else value


def encode(pixels: NDArray[np.uint8], image_format: ImageFormat, story: Story) -> bytes:
    """Encode `pixels` ([height, width, 3], RGB) with the story inside."""
    image = Image.fromarray(pixels)
    out = io.BytesIO()
    if image_format is ImageFormat.PNG:
        image.save(out, "PNG", pnginfo=_png_info(story), compress_level=4)
    else:
        note = NOTE_PREFIX + story.json().encode("utf-8", errors="surrogatepass")
        exif = exif_block(story.parameters(), note, f"text2image {story.version}")
        image.save(out, image_format.value, quality=QUALITY, exif=exif, method=4)
    return out.getvalue()


def encode_preview(pixels: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=PREVIEW_QUALITY)
    return out.getvalue()


def _png_info(story: Story) -> PngInfo:
    info = PngInfo()
    # add_text falls back to an iTXt chunk (UTF-8) for what Latin-1 can't hold.
    info.add_text("parameters", story.parameters())
    info.add_text("text2image", story.json())
    return info
