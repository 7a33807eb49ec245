"""Encodes pixels as PNG, JPEG or WEBP, with the generation parameters as metadata.

The metadata has two forms. One is AUTOMATIC1111's `parameters` text, which many programs read: the
prompt, a line "Negative prompt: …", a line of "Key: value" pairs; in a PNG text chunk, or in the
EXIF user comment of JPEG and WEBP. The other is the exact parameters as JSON, in a second text
chunk or in the EXIF maker note.
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
from backend.prompt_syntax import PromptSyntax
from backend.version import VERSION

QUALITY = 90  # of JPEG and WEBP, as promised in the proto file
PREVIEW_QUALITY = 75
HIRES_UPSCALER = "Lanczos"  # AUTOMATIC1111's name of what enlarges the first pass's picture
NOTE_PREFIX = b"text2image\0"  # precedes the JSON in the EXIF maker note

# Our noise scheduler: AUTOMATIC1111's sampler and schedule type (None: not written).
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
    "tcd": ("TCD", None),
}


@dataclass(frozen=True, slots=True)
class Provenance:
    """How one image was made: the parameters, its own seed, the model."""

    params: GenerationParams
    seed: int
    model: ModelInfo
    version: str

    def parameters(self) -> str:
        """The text in AUTOMATIC1111's format."""
        lines = [self._prompt_with_tags()]
        if self.params.negative_prompt:
            lines.append(f"Negative prompt: {self.params.negative_prompt}")
        pairs = (f"{key}: {_quote(value)}" for key, value in self._settings().items())
        lines.append(", ".join(pairs))
        return "\n".join(lines)

    def _prompt_with_tags(self) -> str:
        """LoRAs stand where AUTOMATIC1111's readers look for them."""
        tags = [f"<lora:{lora.name}:{lora.scale:g}>" for lora in self.params.loras]
        return " ".join([self.params.prompt, *tags])

    def json(self) -> str:
        """A JSON object with the proto file's field names."""
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
                **self._origin(),
                "loras": [{"name": lora.name, "scale": lora.scale} for lora in params.loras],
                "prompt_syntax": params.prompt_syntax.value,
                **({"clip_skip": params.clip_skip} if params.clip_skip != 1 else {}),
                "device": self.model.device,
                "dtype": self.model.dtype,
                "runtime": self.model.runtime,
                "version": self.version,
            },
            ensure_ascii=False,
        )

    def _origin(self) -> dict[str, float | str]:
        """Settings of a second pass; hashes of initial picture and mask, to recognise the files."""
        params = self.params
        origin: dict[str, float | str] = {}
        if params.upscaled is not None:
            origin = {"upscale": params.upscale, "upscale_strength": params.upscale_strength}
        if params.init_image is None:
            return origin
        origin["strength"] = params.strength
        origin["init_image_sha256"] = params.init_image.sha256
        if params.mask is not None:
            origin["mask_sha256"] = params.mask.sha256
        return origin

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
        if params.init_image is not None:
            settings["Denoising strength"] = f"{params.strength:g}"
        elif params.upscaled is not None:
            settings["Denoising strength"] = f"{params.upscale_strength:g}"
        if params.upscaled is not None:
            settings["Hires upscale"] = f"{params.upscale:g}"
            settings["Hires upscaler"] = HIRES_UPSCALER
        if params.clip_skip != 1:
            settings["Clip skip"] = str(params.clip_skip)
        if params.prompt_syntax is not PromptSyntax.PLAIN:
            settings["Prompt syntax"] = params.prompt_syntax.value
        settings["Version"] = f"text2image {self.version}"
        return settings


def _quote(value: str) -> str:
    """Quote a value that contains a separator, as AUTOMATIC1111 does."""
    return json.dumps(value, ensure_ascii=False) if set(value) & set(',:"\n') else value


def encode(pixels: NDArray[np.uint8], image_format: ImageFormat, provenance: Provenance) -> bytes:
    """Encode `pixels` ([height, width, 3], RGB) with the provenance as metadata."""
    image = Image.fromarray(pixels)
    out = io.BytesIO()
    if image_format is ImageFormat.PNG:
        image.save(out, "PNG", pnginfo=_png_info(provenance), compress_level=4)
    else:
        note = NOTE_PREFIX + provenance.json().encode("utf-8", errors="surrogatepass")
        exif = exif_block(provenance.parameters(), note, f"text2image {provenance.version}")
        image.save(out, image_format.value, quality=QUALITY, exif=exif, method=4)
    return out.getvalue()


def convert(png: bytes, image_format: ImageFormat, quality: int) -> bytes:
    """Convert one of our PNGs to JPEG or WEBP (quality 1 to 100), keeping its metadata."""
    image = Image.open(io.BytesIO(png))
    image.load()
    texts: dict[str, str] = getattr(image, "text", {})
    note = NOTE_PREFIX + texts.get("text2image", "").encode("utf-8", errors="surrogatepass")
    exif = exif_block(texts.get("parameters", ""), note, f"text2image {VERSION}")
    out = io.BytesIO()
    image.save(out, image_format.value, quality=quality, exif=exif, method=4)
    return out.getvalue()


def encode_plain(pixels: NDArray[np.uint8], image_format: ImageFormat) -> bytes:
    """Encode `pixels` ([height, width, 3], RGB) with nothing beside them."""
    out = io.BytesIO()
    options = {"compress_level": 4} if image_format is ImageFormat.PNG else {"quality": QUALITY}
    Image.fromarray(pixels).save(out, image_format.value, **options)
    return out.getvalue()


def encode_preview(pixels: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=PREVIEW_QUALITY)
    return out.getvalue()


def _png_info(provenance: Provenance) -> PngInfo:
    info = PngInfo()
    # add_text uses an iTXt chunk (UTF-8) for text that Latin-1 can't encode.
    info.add_text("parameters", provenance.parameters())
    info.add_text("text2image", provenance.json())
    return info
