"""The model card, written from the measured numbers."""

from pathlib import Path

CARD = """\
---
license: mit
library_name: diffusers
pipeline_tag: text-to-image
---
# text2image-mini

A small latent diffusion model made to draw one thing at a time, 128 x 128 pixels, in the look of
3D emoji, on a plain background: "a green cat on a blue background". It is there so that the
service has something of its own to draw on any computer, offline, in about a second.

Asked by its name, it draws {things_drawn} of {things} things so that a classifier recognises them.
Asked for what it was never shown together, it gets the background right in
{background_right:.1%} of the pictures, the object's colour in {object_colour_right:.1%}, and the
object itself in {object_first:.1%}.

![Pictures for 24 prompts](sheet.png)

Five prompts, eight seeds each:

![Eight pictures for each of five prompts](variety.png)

## Use

```python
from diffusers import StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained("models/text2image-mini")
pipe("a penguin on an orange background", num_inference_steps=25).images[0]
```

diffusers' `DDIMScheduler` and `DDPMScheduler` clip latents to ±1 unless they are told otherwise,
and a third of these is beyond that: give them `clip_sample=False`. The service does.

## What it was taught

{things} things (animals, plants, food, places, vehicles, weather, sports, clothes, household
things, faces; listed in `training/things.txt`) by some names each; twelve background colours;
eleven object colours; "small", "facing right" or "mirrored".

## Measured

By `python -m training evaluate`, 25 steps, the pipeline's default guidance, {prompts} prompts and
seeds that were fixed before the denoiser was trained (`training/evaluation_prompts.json`). Every
prompt asks for a thing with a background or object colour that no training picture of it has.

| measure | value |
| --- | --- |
| object named first / among the first five, by a classifier | {object_first:.1%} / \
{object_in_five:.1%} |
| the same classifier on unseen renderings | {classifier_first_on_renderings:.1%} / \
{classifier_in_five_on_renderings:.1%} |
| things named first when asked for by their label | {things_drawn} of {things} |
| background colour right | {background_right:.1%} |
| object colour right | {object_colour_right:.1%} |
| autoencoder, unseen renderings | {psnr_db:.1f} dB PSNR |
| median distance to the nearest training picture | {distance_to_nearest_training_picture:.3f} |
| median distance to the rendering asked for, never trained on | \
{distance_to_unseen_rendering:.3f} |
| pictures nearer to that rendering than to any training picture | \
{nearer_to_unseen_rendering:.1%} |
| mean distance between pictures of one prompt, eight seeds | {diversity:.3f} |
| size on disk | {size_mb:.1f} MB |
| one picture in torch on two cores, 25 steps | {seconds_torch:.2f} s |

Distances are root mean square differences of 16 x 16 thumbnails, where white to black is 2. The
classifier (`training/classifier.py`) was trained on renderings alone and shares nothing with the
model.

## Limits

* Only what is listed above; no scenes of several things, no text, no people, no photographs.
* 128 x 128 is the only size it was trained for and evaluated at. Other multiples of 16 run (64, 256
  and 512 were tried).
* At most {tokens} tokens of a prompt are read.
* English words.
* Detail finer than the autoencoder keeps is lost: small parts (wheels' spokes, letters) blur.

## How it was made

`training/` is the whole recipe; everything was trained from scratch on two CPU cores.

1. **Autoencoder.** An `AutoencoderTiny` makes 8 x 8 x {channels} latents of a picture.
2. **Codes.** A small network that is thrown away afterwards learns to sketch latents from a list of
   what a caption tells (thing, background, colour, small, mirrored). A code is such a sketch in the
   main directions in which latents differ.
3. **Denoiser.** A `UNet2DConditionModel` of three resolutions (8 x 8, 4 x 4, 2 x 2) learns, told
   the codes, to predict velocities under Stable Diffusion's noise schedule with `beta_end` 0.02:
   from {samples:,} noisy latents.
4. **Words.** A two-layer `CLIPTextModel` with a small vocabulary of its own, and the pooling of the
   UNet's text conditioning, learn from captions alone to say the codes, and while they learn, to
   guess what each caption tells.
5. **Decoder.** Then the autoencoder's decoder, made twice as wide and some blocks deeper without
   changing what it does, trains on alone: it comes to know details that the latents do not carry.

{history}
## Data and licences

| what | from | licence |
| --- | --- | --- |
| pictures | Fluent Emoji (3D), (c) Microsoft Corporation; `@lobehub/fluent-emoji-3d` 1.1.0 | MIT |
| labels | `emojibase-data` 17.0.0, (c) Miles Johnson | MIT |
| keywords | `emojilib` 4.0.3, (c) Mu-An Chiou | MIT |

The weights are under the MIT licence.
"""

HISTORY = """\
These weights differ from a run of the recipe in three points: the decoder was trained alone for
19.5 minutes before it was made wider, and of its 160 minutes afterwards the first 100 ran with the
squared error itself in the loss, at a learning rate that fell to nothing by then, in part beside
other work; the words had 48 minutes of one core instead of 40 of two; and the denoiser
learned its first 432,352 samples from a quarter of the scenes, fewer of them in other colours, told
cruder codes, and for the first 134,000 half of the things were mirrored and no caption said so.
"""
"""How the weights in `models/` differ from a run of the recipe: to be emptied by the next one."""


def write(numbers: dict[str, float], folder: Path) -> None:
    from training.autoencoder import CHANNELS
    from training.captions import MAX_TOKENS

    text = CARD.format(**numbers, history=HISTORY, tokens=MAX_TOKENS, channels=CHANNELS)
    (folder / "README.md").write_text(text)
