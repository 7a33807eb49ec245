"""A chooser of things, colours and backgrounds that the model can draw; writes the prompt."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import streamlit as st

import client
from ui.components.submit import submit
from ui.components.wall import PROMPTS
from ui.recipe import Abilities
from ui.session import shared

ALL = "All"
BACKGROUND = re.compile(r"\s+on an? (?P<name>[\w ]{1,20}) background", re.IGNORECASE)
STYLES = (
    "watercolour",
    "oil painting",
    "woodblock print",
    "pencil sketch",
    "35 mm photograph",
    "isometric",
    "pixel art",
    "stained glass",
)
SWATCHES = {
    "red": "🔴",
    "orange": "🟠",
    "yellow": "🟡",
    "green": "🟢",
    "teal": "🩵",
    "blue": "🔵",
    "purple": "🟣",
    "pink": "🩷",
    "brown": "🟤",
    "black": "⚫",
    "gray": "🩶",
    "white": "⚪",
}


def ideas(abilities: Abilities) -> None:
    """A button that opens the chooser, and one that picks at random."""
    model = abilities.model
    label = f"{len(model.things)} things" if model and model.things else "Ideas"
    with st.popover(label, icon=":material/category:", key="ideas"):
        if model and model.things:
            _things(model)
        else:
            _styles()
    st.button("Surprise me", key="surprise", icon=":material/casino:", on_click=_surprise)


def _things(model: client.Abilities) -> None:
    text = st.text_input(
        "Search things",
        key="thing-search",
        placeholder="Search",
        icon=":material/search:",
        label_visibility="collapsed",
    )
    groups = list(dict.fromkeys(thing.group for thing in model.things))
    group = st.segmented_control(
        "Group",
        [ALL, *groups],
        key="thing-group",
        default=ALL,
        required=True,
        format_func=lambda name: str(name).capitalize(),
        label_visibility="collapsed",
    )
    found = [
        thing
        for thing in model.things
        if group in (ALL, thing.group) and _matches(thing, text or "")
    ]
    emoji = {thing.name: thing.emoji for thing in model.things}
    names = [thing.name for thing in found]
    if st.session_state.get("thing") not in names:
        st.session_state["thing"] = None
    if found:
        with st.container(key="things", height=220):
            st.pills(
                "Thing",
                names,
                key="thing",
                format_func=lambda name: f"{emoji[name]} {name}".strip(),
                on_change=_write,
                label_visibility="collapsed",
            )
    else:
        st.caption("No such thing among this model's words.")
    _swatches("Colour", "thing-colour", model.colours)
    _swatches("Background", "thing-background", model.backgrounds)


def _matches(thing: client.Thing, text: str) -> bool:
    wanted = text.strip().lower()
    return any(wanted in word for word in (thing.name, thing.emoji, *thing.synonyms))


def _swatches(label: str, key: str, words: Sequence[client.Words]) -> None:
    if words:
        st.pills(
            label,
            [word.name for word in words],
            key=key,
            format_func=lambda name: f"{SWATCHES.get(name, '')} {name}".strip(),
            on_change=_write,
        )


def _write() -> None:
    """Write the choice into the prompt as a sentence."""
    thing = st.session_state.get("thing")
    if thing:
        st.session_state["prompt"] = sentence(
            thing,
            st.session_state.get("thing-colour") or "",
            st.session_state.get("thing-background") or "",
        )


def sentence(thing: str, colour: str = "", background: str = "") -> str:
    """For example: a red apple on a teal background."""
    text = _with_article(f"{colour} {thing}".strip())
    return f"{text} on {_with_article(background)} background" if background else text


def another_take(prompt: str, abilities: Abilities) -> str:
    """The same thing on another background, if the model knows backgrounds.

    For a small model, pictures of the same prompt differ little between seeds.
    """
    model = abilities.model
    if model is None or not model.backgrounds:
        return prompt
    found = BACKGROUND.search(prompt)
    now = found["name"].lower() if found else ""
    others = [b.name for b in model.backgrounds if now not in (b.name, *b.words)]
    ending = f" on {_with_article(random.choice(others))} background"
    return BACKGROUND.sub(ending, prompt, count=1) if found else prompt.rstrip(" .,") + ending


def _with_article(words: str) -> str:
    return f"{'an' if words[:1] in 'aeiou' else 'a'} {words}"


def _styles() -> None:
    st.caption("Add a style to the prompt.")
    with st.container(horizontal=True, key="styles"):
        for style in STYLES:
            st.button(style, key=f"style-{style}", on_click=_add_style, args=(style,))


def _add_style(style: str) -> None:
    prompt = st.session_state["prompt"].strip().rstrip(",")
    if style not in prompt:
        st.session_state["prompt"] = f"{prompt}, {style}" if prompt else style


def _surprise() -> None:
    """Pick a random prompt and generate it."""
    st.session_state["prompt"] = surprise(shared().monitor.abilities)
    st.session_state["lock"] = False
    submit()


def surprise(abilities: Abilities) -> str:
    """A random prompt that the model is good at."""
    model = abilities.model
    if not model or not model.things:
        return random.choice(PROMPTS)
    colour = random.choice(model.colours).name if model.colours and random.random() < 0.5 else ""
    backgrounds = [b.name for b in model.backgrounds if b.name != colour]
    background = random.choice(backgrounds) if backgrounds and random.random() < 0.5 else ""
    return sentence(random.choice(model.things).name, colour, background)
