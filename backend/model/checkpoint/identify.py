"""Identifies a single weights file by the names and shapes of its tensors."""

from __future__ import annotations

from backend.model.checkpoint.weights_file import Shapes

WANTED = "a file must be a whole checkpoint of Stable Diffusion 1.x or 2.x"
UNET = "model.diffusion_model."
FIRST_CONVOLUTION = f"{UNET}input_blocks.0.0.weight"
LATENT_CHANNELS = 4
INPAINTING_CHANNELS = 2 * LATENT_CHANNELS + 1  # with the mask and the masked picture
# By the UNet's number of input channels: the latents plus other inputs.
BY_CHANNELS = {
    5: "a depth-to-image model",
    7: "an upscaling model",
    8: "an instruct-pix2pix model",
}
# Name prefixes that only this kind of file has; the more specific ones first.
BY_BEGINNING = {
    "lora_": "a LoRA adapter",
    "lycoris_": "a LoRA adapter",
    "control_model.": "a ControlNet",
    "controlnet_": "a ControlNet",
    "input_hint_block.": "a ControlNet",
    f"{UNET}double_blocks.": "a Flux model",
    "double_blocks.": "a Flux model",
    f"{UNET}joint_blocks.": "a Stable Diffusion 3 model",
    "joint_blocks.": "a Stable Diffusion 3 model",
    "transformer_blocks.": "a diffusion transformer's weights",
    "conditioner.embedders.": "a Stable Diffusion XL model",
    "text_encoders.": "a Stable Diffusion 3 model",
    "emb_params": "an embedding (textual inversion)",
    "string_to_param": "an embedding (textual inversion)",
    "down_blocks.": "the UNet of a folder in diffusers layout",
    "text_model.": "a text encoder alone",
    "model.0.": "an upscaler's weights",
    "body.0.": "an upscaler's weights",
}
BY_PART = {".lora_up.": "a LoRA adapter", ".lora_A.": "a LoRA adapter"}
VAE_BEGINNINGS = ("first_stage_model.", "encoder.", "decoder.", "quant_conv.", "post_quant_conv.")


def other_kind(shapes: Shapes) -> str | None:
    """An error text if the file is no checkpoint that we serve. Takes original names."""
    for beginning, kind in BY_BEGINNING.items():
        if any(name.startswith(beginning) for name in shapes):
            return f"It is {kind}: {WANTED}."
    for part, kind in BY_PART.items():
        if any(part in name for name in shapes):
            return f"It is {kind}: {WANTED}."
    if shapes and all(name.startswith(VAE_BEGINNINGS) for name in shapes):
        return f"It is an autoencoder (VAE) alone: {WANTED}."
    channels = shapes.get(FIRST_CONVOLUTION, (0, LATENT_CHANNELS))[1:2]
    if channels and channels[0] in BY_CHANNELS:
        return (
            f"It is {BY_CHANNELS[channels[0]]}: its UNet has {channels[0]} input channels, "
            f"one that draws from text alone has {LATENT_CHANNELS}. Use such a one."
        )
    if shapes and not any(name.startswith(("model.", "model_ema.")) for name in shapes):
        return f"It holds no UNet, no known part of one: {WANTED}."
    return None
