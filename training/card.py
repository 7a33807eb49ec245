"""Writes the model card from the measured numbers."""

from pathlib import Path
from typing import Any

from training import phrases
from training.sketches import CHANNELS

CARD = """\
---
license: mit
library_name: diffusers
pipeline_tag: text-to-image
---
# text2image-mini

A small latent diffusion model, 256 x 256 pixels, in the look of 3D emoji or flat drawings: "a green
cat on a blue background", "two penguins in the snow", "an astronaut riding a horse". It is there so
that the service has something of its own to draw on any computer, offline, in about a second.

Asked by its name, it draws {things_drawn} of {things} things so that a judge, a network trained on
renderings alone, recognises them. `abilities.json` lists them all.

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

{things} things by some names each, in English, German, Spanish and French, and by their emoji;
twelve background colours, eight landscapes, eleven object colours, two looks; two and three of a
kind, two things side by side or one above the other; "small", "on the left", "facing right".

## Measured

By `python -m training evaluate`, 25 steps, the pipeline's default guidance, {prompts} prompts for
one thing and {pairs} for two, with seeds, fixed before training
(`training/evaluation_prompts.json`). Every prompt asks for a combination that no training picture
has, and tells all: so there is one picture that it should be, the rendering.

| measure | value |
| --- | --- |
| picture against that rendering | {picture_db:.1f} dB PSNR |
| the same, two things | {two_things_db:.1f} dB PSNR |
| gradient energy against the renderings' | {sharpness:.0%} |
| object named first / among the first five by the judge | {object_first:.1%} / \
{object_in_five:.1%} |
| the judge on those renderings | {judge_first_on_renderings:.1%} / \
{judge_in_five_on_renderings:.1%} |
| two things, both named first (the judge on renderings) | {both_named:.1%} \
({judge_both_on_renderings:.1%}) |
| things named first when asked for by their label | {things_drawn} of {things} |
| background colour right | {background_right:.1%} |
| object colour right | {object_colour_right:.1%} |
| prompts of strangers (`training/strangers.json`) drawn right or honestly warned of | \
{strangers_right} of {strangers} |
| autoencoder, unseen renderings | {autoencoder_db:.1f} dB PSNR |
| median distance to the nearest training picture | {distance_to_nearest_training_picture:.3f} |
| median distance to the rendering asked for, never trained on | \
{distance_to_unseen_rendering:.3f} |
| pictures nearer to that rendering than to any training picture | \
{nearer_to_unseen_rendering:.1%} |
| mean distance between pictures of one prompt, eight seeds | {diversity:.3f} |
| size on disk | {size_mb:.1f} MB |
| one picture in torch on two cores, 25 steps | {seconds_torch:.2f} s |

Distances are root mean square differences of 16 x 16 thumbnails, where white to black is 2.
The denoiser learned from {samples} samples.

## Limits

* Only what is listed above; no text, no photographs.
* A word that it does not know spoils the picture of those beside it. The service leaves such words
  out and says so; diffusers alone does not.
* 256 x 256 is the only size it was trained for: a sketch has eight by eight places. Other multiples
  of 32 run, and are no good.
* At most {tokens} tokens of a prompt are read.
* Detail finer than the autoencoder keeps is lost: small parts (wheels' spokes, letters) blur.

## How it was made

`training/` is the whole recipe.

1. **Autoencoder.** A small `AutoencoderTiny` makes 8 x 8 x {channels} latents of 128 x 128 pixels.
   With it, scenes are encoded once.
2. **Text encoder.** A `CLIPTextModel` whose last {places} tokens, which are padding, learn from
   captions alone to say the mean latents that fit: a sketch, each token 2 x 2 places of it.
3. **Denoiser.** A UNet reads the sketch by cross-attention. Keys and values are set beforehand so
   that each place can find its token, and attention that looks elsewhere is a loss of its own:
   left to the denoising loss, that search takes longer than all that follows.
4. **Decoder.** One with more channels, more blocks and one more level makes 256 x 256 pixels of
   the same latents, as the encoder makes them and as the denoiser leaves them.

## Data and licences

| what | from | licence |
| --- | --- | --- |
| pictures | Fluent Emoji, (c) Microsoft Corporation; `@lobehub/fluent-emoji-3d` 1.1.0, \
`@iconify-json/fluent-emoji-flat` 1.2.6 | MIT |
| labels | `emojibase-data` 17.0.0, (c) Miles Johnson | MIT |
| keywords | `emojilib` 4.0.3, (c) Mu-An Chiou | MIT |
| near words | WordNet 3.0, (c) Princeton University; all-MiniLM-L6-v2 | WordNet, Apache-2.0 |

The weights are under the MIT licence.
"""


def write(numbers: dict[str, Any], folder: Path) -> None:
    text = CARD.format(
        **numbers, tokens=phrases.WORDS - 2, places=phrases.PLACES, channels=CHANNELS
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
