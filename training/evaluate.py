"""The evaluation: prompts and seeds fixed beforehand, of combinations that training never saw."""

import itertools
import json
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn
from torch.nn import functional as F

from training import arithmetic, captions, classifier, paths
from training.autoencoder import to_tensor
from training.data import (
    BACKGROUNDS,
    TINTS,
    Pixels,
    Scene,
    Sprites,
    Thing,
    is_held_out,
)

STEPS = 25
BORDER = 6
"""Width in pixels of the frame in which the background's colour is read."""
UNLIKE_BACKGROUND = 40
"""Distance in RGB from the background's colour at which a pixel counts as the object's."""
VARIED = ("a cat", "a car", "an apple", "a robot", "a house")
"""Prompts whose pictures over eight seeds are compared."""
SHOWN = (
    "a beautiful landscape with mountains",
    "a cyberpunk city at night",
    "a red apple",
    "a dog",
    "a blue cat on a yellow background",
    "pizza",
    "a rocket",
    "a green car on a pink background",
    "a tree on a blue background",
    "a guitar",
    "a purple mushroom",
    "a house",
    "a burger",
    "an airplane",
    "a frog",
    "birthday cake",
    "a robot",
    "a penguin on an orange background",
    "a castle",
    "a unicorn",
    "sunflower",
    "a bicycle",
    "a ghost",
    "a volcano",
)


@dataclass(frozen=True)
class Prompt:
    """A prompt, its seed, and what its picture must show."""

    text: str
    seed: int
    thing: str
    background: str | None
    tint: str | None


def _held_out(thing: Thing, part: str, colours: list[str]) -> list[str]:
    return [colour for colour in colours if is_held_out(thing.label, colour, part)]


def _choices(thing: Thing) -> list[tuple[str | None, str | None]]:
    """Combinations of background and object colour of which at least one pair is held out."""
    backgrounds = _held_out(thing, "background", list(BACKGROUNDS))
    tints = _held_out(thing, "object", list(TINTS))
    single = [(b, None) for b in backgrounds] + [(None, t) for t in tints]
    pairs = [(b, t) for b in backgrounds for t in TINTS if b != t]
    return [*single, *pairs[:3], *((b, t) for b in BACKGROUNDS for t in tints[:1] if b != t)]


def make_prompts(things: list[Thing]) -> list[Prompt]:
    """One for every thing that has held-out colours; a third each: background, object, both."""
    rng = random.Random(2026)
    prompts = []
    for index, thing in enumerate(things):
        wanted = ((True, False), (False, True), (True, True))[index % 3]
        choices = _choices(thing)
        fitting = [c for c in choices if (c[0] is not None, c[1] is not None) == wanted]
        if not choices or thing.fills:
            continue
        background, tint = rng.choice(fitting or choices)
        noun = rng.choice([thing.label.lower(), *thing.aliases[:2]])
        noun = f"{tint} {noun}" if tint else noun
        text = f"{captions.article(noun)} {noun}"
        if background:
            text += f" on {captions.article(background)} {background} background"
        prompts.append(Prompt(text, index, thing.label, background, tint))
    return prompts


def write_prompts(things: list[Thing]) -> None:
    prompts = [asdict(prompt) for prompt in make_prompts(things)]
    paths.PROMPTS.write_text(json.dumps(prompts, indent=1) + "\n")


def read_prompts() -> list[Prompt]:
    return [Prompt(**entry) for entry in json.loads(paths.PROMPTS.read_text())]


def draw(
    pipe: StableDiffusionPipeline, texts: list[str], seeds: list[int], batch: int = 16
) -> list[Pixels]:
    """Pictures at the default guidance and size, each from its own seed."""
    pipe.set_progress_bar_config(disable=True)
    pictures: list[Pixels] = []
    for start in range(0, len(texts), batch):
        some = slice(start, start + batch)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds[some]]
        with arithmetic.fastest():
            images = pipe(texts[some], num_inference_steps=STEPS, generator=generators).images
        pictures += [np.asarray(image) for image in images]
    return pictures


def background_of(picture: Pixels) -> Pixels:
    """The median colour of the frame around the picture."""
    inner = picture[BORDER:-BORDER, BORDER:-BORDER]
    mask = np.ones(picture.shape[:2], bool)
    mask[BORDER:-BORDER, BORDER:-BORDER] = False
    assert inner.size
    median: Pixels = np.median(picture[mask], axis=0)
    return median


def named(colour: Pixels) -> str:
    """The nearest of the twelve background colours, in RGB."""
    return min(BACKGROUNDS, key=lambda name: float(np.abs(colour - BACKGROUNDS[name]).sum()))


def object_colour(picture: Pixels) -> Pixels:
    """The mean colour of what is not background."""
    away = np.abs(picture.astype(np.float32) - background_of(picture)).sum(axis=-1)
    shown = picture[away > UNLIKE_BACKGROUND]
    mean: Pixels = (shown if len(shown) else picture.reshape(-1, 3)).mean(axis=0)
    return mean


def nearest_tint(picture: Pixels, index: int, background: str, sprites: Sprites) -> str:
    """Which of eleven colours renders the same thing nearest to the picture's mean colour."""
    seen = object_colour(picture)

    def distance(tint: str) -> float:
        rendering = sprites.render(Scene(index, background, tint))
        return float(np.abs(object_colour(rendering) - seen).sum())

    return min(TINTS, key=distance)


def thumbnails(pictures: list[Pixels]) -> Tensor:
    """Pictures as rows (n, 768) of 16 x 16 thumbnails, for distances."""
    return F.avg_pool2d(to_tensor(pictures), 8).flatten(1)


def rendered(scenes: list[Scene], sprites: Sprites, chunk: int = 256) -> Tensor:
    """Thumbnails (n, 768) of scenes, of which whole pictures would fill the memory."""
    chunks = [scenes[start : start + chunk] for start in range(0, len(scenes), chunk)]
    return torch.cat([thumbnails([sprites.render(scene) for scene in part]) for part in chunks])


def distances(left: Tensor, right: Tensor) -> Tensor:
    """Root mean square difference (n, m) of thumbnails, on a scale where white to black is 2."""
    apart: Tensor = torch.cdist(left, right) / left.shape[1] ** 0.5
    return apart


def vary(pipe: StableDiffusionPipeline, texts: tuple[str, ...] = VARIED) -> list[Pixels]:
    """Eight pictures of each prompt."""
    return draw(pipe, [text for text in texts for _ in range(8)], list(range(8)) * len(texts))


def diversity(pictures: list[Pixels]) -> float:
    """Mean distance between the eight pictures of one prompt."""
    prompts = thumbnails(pictures).view(len(pictures) // 8, 8, -1)
    pairs = list(itertools.combinations(range(8), 2))
    return float(torch.stack([distances(p, p)[i, j] for p in prompts for i, j in pairs]).mean())


def novelty(
    pictures: list[Pixels], prompts: list[Prompt], sprites: Sprites, training: list[Scene]
) -> dict[str, float]:
    """How near the pictures are to any training picture, and to the rendering never trained."""
    rows = thumbnails(pictures)
    seen = rendered(training, sprites)
    index = {thing.label: i for i, thing in enumerate(sprites.things)}
    nearest = distances(rows, seen).min(dim=1).values
    targets = []
    for prompt in prompts:
        scene = Scene(index[prompt.thing], prompt.background or "white", prompt.tint)
        both = [scene, Scene(**{**vars(scene), "mirrored": True})]
        targets.append(rendered(both, sprites))
    own = torch.stack([distances(r[None], t).min() for r, t in zip(rows, targets, strict=True)])
    return {
        "distance_to_nearest_training_picture": float(nearest.median()),
        "distance_to_unseen_rendering": float(own.median()),
        "nearer_to_unseen_rendering": float((own < nearest).float().mean()),
    }


def colours_right(
    pictures: list[Pixels], prompts: list[Prompt], sprites: Sprites
) -> dict[str, float]:
    index = {thing.label: i for i, thing in enumerate(sprites.things)}
    backgrounds, objects = [], []
    for picture, prompt in zip(pictures, prompts, strict=True):
        background = named(background_of(picture))
        if prompt.background:
            backgrounds.append(background == prompt.background)
        if prompt.tint:
            found = nearest_tint(picture, index[prompt.thing], background, sprites)
            objects.append(found == prompt.tint)
    return {
        "background_right": float(np.mean(backgrounds)),
        "object_colour_right": float(np.mean(objects)),
    }


def score(
    pipe: StableDiffusionPipeline,
    judge: nn.Module,
    sprites: Sprites,
    training: list[Scene],
    prompts: list[Prompt],
) -> dict[str, float]:
    """All the numbers of the model card that need no clock."""
    index = {thing.label: i for i, thing in enumerate(sprites.things)}
    pictures = draw(pipe, [p.text for p in prompts], [p.seed for p in prompts])
    rows = [index[prompt.thing] for prompt in prompts]
    first, five = classifier.accuracy(judge, to_tensor(pictures), rows)
    rng = random.Random(11)
    unseen = [sprites.render(classifier.unseen_scene(row, sprites, rng)) for row in rows]
    own_first, own_five = classifier.accuracy(judge, to_tensor(unseen), rows)
    return {
        "prompts": len(prompts),
        "object_first": first,
        "object_in_five": five,
        "classifier_first_on_renderings": own_first,
        "classifier_in_five_on_renderings": own_five,
        **colours_right(pictures, prompts, sprites),
        **novelty(pictures, prompts, sprites, training),
    }


def things_drawn(pipe: StableDiffusionPipeline, judge: nn.Module, sprites: Sprites) -> int:
    """How many things are named first by the classifier when asked for by their label."""
    texts = [f"{captions.article(t.label)} {t.label.lower()}" for t in sprites.things]
    pictures = draw(pipe, texts, list(range(len(texts))))
    with torch.no_grad():
        found = judge(to_tensor(pictures)).argmax(dim=1)
    return int((found == torch.arange(len(texts))).sum())


@torch.no_grad()
def reconstruction(pipe: StableDiffusionPipeline, sprites: Sprites) -> float:
    """PSNR in dB of encoding and decoding renderings of held-out combinations."""
    rng = random.Random(13)
    scenes = [classifier.unseen_scene(i, sprites, rng) for i in range(len(sprites.things))]
    images = to_tensor([sprites.render(scene) for scene in scenes])
    restored = torch.cat([pipe.vae(part).sample for part in images.split(32)]).clamp(-1, 1)
    errors = ((restored - images) / 2).square().mean(dim=(1, 2, 3))
    return float((-10 * errors.log10()).mean())


def seconds_per_picture(pipe: StableDiffusionPipeline, repeats: int = 3) -> float:
    """The best of some warm pictures, in torch; the service has faster runtimes."""
    times = []
    for seed in range(repeats):
        start = time.perf_counter()
        draw(pipe, ["a cat"], [seed])
        times.append(time.perf_counter() - start)
    return min(times)


def report(numbers: dict[str, float], folder: Path) -> None:
    rounded = {name: round(value, 4) for name, value in numbers.items()}
    (folder / "evaluation.json").write_text(json.dumps(rounded, indent=1) + "\n")
