"""The evaluation's prompts, fixed beforehand, each with a seed and the expected picture.

A prompt specifies thing, colours and background completely, so that only one picture is right.
Training never sees these combinations, so they can't be memorised.
"""

import json
import random
from dataclasses import asdict, dataclass

from training import captions, paths
from training.latents import scene_of
from training.scenes import Placed, Scene, Scenes
from training.things import Thing

PAIRS = 100
"""Prompts for two things."""


@dataclass(frozen=True)
class Prompt:
    """A prompt, its seed, and the scene it describes."""

    text: str
    seed: int
    scene: Scene


def _named(things: list[Thing], placed: Placed, rng: random.Random) -> str:
    thing = things[placed.thing]
    noun = rng.choice([thing.label.lower(), *thing.aliases[:2]]).lower()
    noun = f"{placed.tint} {noun}" if placed.tint else noun
    return f"{captions.article(noun)} {noun}"


def _prompt(things: list[Thing], scene: Scene, seed: int, rng: random.Random) -> Prompt:
    subject = " and ".join(_named(things, placed, rng) for placed in scene.things)
    background = scene.background
    return Prompt(
        f"{subject} on {captions.article(background)} {background} background", seed, scene
    )


def make(things: list[Thing]) -> list[Prompt]:
    """One prompt for every thing with held-out colours, and PAIRS prompts for two things."""
    rng = random.Random(2026)
    scenes = Scenes(things, rng)
    singles: list[Scene] = []
    pairs: list[Scene] = []
    for index, thing in enumerate(things):
        tries = (scenes.held_out(index) for _ in range(400 if not thing.fills else 0))
        singles += [scene for scene in tries if scene is not None][:1]
    for _ in range(100 * PAIRS):
        scene = scenes.held_out_pair(rng.choice(scenes.solid))
        pairs += [scene] if scene is not None and len(pairs) < PAIRS else []
    return [_prompt(things, scene, seed, rng) for seed, scene in enumerate([*singles, *pairs])]


def write(prompts: list[Prompt]) -> None:
    lines = [json.dumps(asdict(prompt), separators=(",", ":")) for prompt in prompts]
    paths.PROMPTS.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def read() -> list[Prompt]:
    entries = json.loads(paths.PROMPTS.read_text("utf-8"))
    return [Prompt(**{**entry, "scene": scene_of(entry["scene"])}) for entry in entries]
