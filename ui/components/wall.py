"""The wall: example pictures of what the model can do; a click generates one again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st

import client
from ui import example_pictures, form
from ui.components import html
from ui.components.submit import submit_recipe
from ui.example_sheet import place, sheet
from ui.recipe import Abilities
from ui.session import address, shared
from ui.storage.gallery import Picture

WALL = 24
SIDE = 256  # pixels
# Prompts that Stable Diffusion handles well, if neither model nor visitor has pictures.
PROMPTS = (
    "a lighthouse at dusk, volumetric fog, 35 mm",
    "a bowl of ramen, woodblock print",
    "an astronaut's garden on Mars, watercolour",
    "a fox in the snow, oil painting",
    "an old library, isometric, soft light",
    "a street market in the rain, cinematic",
)


@dataclass(frozen=True, slots=True)
class Brick:
    """One picture of the wall: its URL (may be missing), its place in that file, its recipe."""

    prompt: str
    seed: int | None = None
    source: str = ""
    place: str = ""


def wall(abilities: Abilities, pictures: list[Picture]) -> None:
    """Draw the model's examples, else the visitor's own pictures, else only prompts."""
    bricks = _bricks(abilities, pictures)
    with st.container(key="lead"):
        st.html(f'<p class="ink-lead">{html.escape(_lead(abilities))}</p>')
    with st.container(key="wall"):
        width = 104 if bricks[0].source else 220
        grid = st.grid("auto", min_column_width=width, gap="small", key="grid-wall")
        for number, brick in enumerate(bricks):
            with grid.cell():
                _draw(number, brick)


def _lead(abilities: Abilities) -> str:
    """One sentence on what the model draws."""
    if abilities.model is not None and abilities.model.about:
        return abilities.model.about
    return "Describe a picture, or begin with one of these."


def _bricks(abilities: Abilities, pictures: list[Picture]) -> list[Brick]:
    examples = abilities.model.examples if abilities.model else ()
    if examples:
        return _examples(examples[:WALL])
    if pictures:
        return [Brick(p.prompt, p.seed, address(p, "thumb")) for p in pictures[:WALL]]
    return [Brick(prompt) for prompt in PROMPTS]


def _examples(examples: Sequence[client.Example]) -> list[Brick]:
    thumbnails = tuple(example.thumbnail for example in examples)
    try:
        together = example_pictures.keep(sheet(thumbnails))
    except OSError:  # some have none
        return [
            Brick(e.prompt, e.seed, example_pictures.keep(e.thumbnail) if e.thumbnail else "")
            for e in examples
        ]
    return [
        Brick(e.prompt, e.seed, together, place(number, examples))
        for number, e in enumerate(examples)
    ]


def _draw(number: int, brick: Brick) -> None:
    with st.container(key=f"{'card' if brick.source else 'word'}-wall-{number}", gap=None):
        if brick.place:
            st.html(html.part_of(brick.source, brick.place))
        elif brick.source:
            st.html(html.thumbnail(brick.source, SIDE, SIDE))
        st.button(
            html.plain(brick.prompt),
            key=f"open-wall-{number}" if brick.source else f"example-{number}",
            on_click=_make,
            args=(brick,),
            width="stretch",
            wrap=not brick.source,
        )


def _make(brick: Brick) -> None:
    """Put its prompt into the bar and generate exactly its picture."""
    st.session_state["prompt"] = brick.prompt
    recipe = form.read(st.session_state, shared().monitor.abilities)
    seed = recipe.seed if brick.seed is None else brick.seed
    submit_recipe(replace(recipe, seed=seed, count=1))
