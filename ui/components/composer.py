"""The composer: what to make. Its limits and choices come from the service."""

from __future__ import annotations

import random
from typing import Final

import streamlit as st

from ui import form
from ui.components import html
from ui.components.header import short_name
from ui.components.importer import paste_popover
from ui.form import CUSTOM, RANDOM_SEED_BELOW
from ui.jobs import TooManyJobs
from ui.recipe import (
    ASPECTS,
    MAX_GUIDANCE,
    MAX_NEGATIVE_CHARACTERS,
    MAX_SEED,
    QUALITIES,
    Abilities,
    Recipe,
    problems,
)
from ui.session import owner, shared

PROBLEMS = "_problems"
JOB = "_job"
KEEP: Final = "session"  # widget values last while the session does, across pages


def composer(abilities: Abilities, num_active: int) -> None:
    """Draw the composer; Generate submits from within its callback."""
    form.settle(st.session_state, abilities)
    _prompt(abilities)
    _shape(abilities)
    _quality(abilities)
    _seed()
    _generate_button(num_active)
    _more(abilities)


def submit() -> None:
    """Check what the widgets hold and start a job, or note what is wrong with it."""
    recipe = form.read(st.session_state, shared().monitor.abilities)
    submit_recipe(recipe)


def submit_recipe(recipe: Recipe) -> None:
    """Start a job of this recipe, or note what is wrong with it."""
    found = problems(recipe, shared().monitor.abilities)
    st.session_state[PROBLEMS] = found
    if found:
        return
    try:
        st.session_state[JOB] = shared().jobs.submit(owner(), recipe).id
    except TooManyJobs as error:
        st.session_state[PROBLEMS] = {"queue": f"Wait a moment: {error}."}


def _prompt(abilities: Abilities) -> None:
    st.text_area(
        "Prompt",
        key="prompt",
        height=112,
        max_chars=abilities.max_prompt_characters,
        placeholder="What should the picture show?",
        persist_state=KEEP,
    )
    _problem("prompt")
    with st.expander("Negative prompt", expanded=bool(st.session_state["negative"])):
        st.text_area(
            "Negative prompt",
            key="negative",
            height=80,
            max_chars=MAX_NEGATIVE_CHARACTERS,
            placeholder="What it should not show",
            label_visibility="collapsed",
            persist_state=KEEP,
        )
        _problem("negative_prompt")


def _shape(abilities: Abilities) -> None:
    st.segmented_control(
        "Shape", [*ASPECTS, CUSTOM], key="aspect", required=True, persist_state=KEEP
    )
    if st.session_state["aspect"] == CUSTOM:
        _custom_size(abilities)
    else:
        _scale(abilities)
    _problem("width")
    _problem("height")


def _custom_size(abilities: Abilities) -> None:
    with st.container(horizontal=True, key="custom-size"):
        for name in ("Width", "Height"):
            st.number_input(
                f"{name} in pixels",
                abilities.min_size,
                abilities.max_size,
                step=abilities.size_multiple,
                key=name.lower(),
                persist_state=KEEP,
            )


def _scale(abilities: Abilities) -> None:
    scales = abilities.scales(st.session_state["aspect"])
    width, height = form.size(st.session_state, abilities)
    with st.container(horizontal=True, vertical_alignment="center", key="scale-row"):
        if len(scales) > 1:
            st.segmented_control(
                "Size",
                scales,
                key="scale",
                required=True,
                label_visibility="collapsed",
                persist_state=KEEP,
            )
        st.caption(f"{width} × {height} pixels")


def _quality(abilities: Abilities) -> None:
    offered = [name for name, number in QUALITIES.items() if number <= abilities.max_steps]
    st.segmented_control(
        "Quality",
        [*offered, CUSTOM],
        key="quality",
        required=True,
        format_func=lambda name: f"{name} {QUALITIES[name]}" if name in QUALITIES else name,
        help="More steps take longer and bring out more detail.",
        persist_state=KEEP,
    )
    if st.session_state["quality"] == CUSTOM:
        st.slider("Steps", 1, abilities.max_steps, key="steps", persist_state=KEEP)
    _problem("steps")


def _seed() -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", key="seed-row"):
        st.toggle(
            "Lock seed",
            key="lock",
            help="The same seed and settings make the same picture.",
            persist_state=KEEP,
        )
        if st.session_state["lock"]:
            st.number_input("Seed", 0, MAX_SEED, step=1, key="seed", width=150, persist_state=KEEP)
            st.button(
                "Roll", icon=":material/casino:", key="dice", on_click=_roll, help="Another seed"
            )
    _problem("seed")


def _roll() -> None:
    st.session_state["seed"] = random.randrange(RANDOM_SEED_BELOW)


def _generate_button(num_active: int) -> None:
    limit = shared().jobs.max_per_owner
    label = f"Add to queue ({num_active} of {limit})" if num_active else "Generate"
    st.button(
        label,
        key="generate",
        type="primary",
        icon=":material/ink_pen:",
        width="stretch",
        shortcut="Ctrl+Enter",
        disabled=num_active >= limit,
        on_click=submit,
    )
    _problem("queue")


def _more(abilities: Abilities) -> None:
    with st.expander("More settings", key="more"):
        st.slider(
            "Guidance",
            0.0,
            MAX_GUIDANCE if st.session_state["guidance"] > 20 else 20.0,
            step=0.5,
            key="guidance",
            persist_state=KEEP,
            help="How closely to follow the prompt. 7 to 8 suits most; 1 or less ignores it.",
        )
        _problem("guidance")
        st.number_input(
            "Pictures",
            1,
            abilities.max_images,
            key="count",
            persist_state=KEEP,
            help="Each gets the next seed.",
        )
        _problem("count")
        if len(abilities.schedulers) > 1:
            st.selectbox(
                "Noise scheduler",
                ["", *abilities.schedulers],
                key="scheduler",
                format_func=lambda name: name or f"The model's own ({abilities.default_scheduler})",
                persist_state=KEEP,
            )
        _problem("scheduler")
        if len(abilities.models) > 1:
            st.selectbox(
                "Model",
                ["", *abilities.models[1:]],
                key="model",
                format_func=lambda name: short_name(name or abilities.models[0]),
                persist_state=KEEP,
            )
        _problem("model")
        paste_popover("studio")


def _problem(field: str) -> None:
    text = st.session_state.get(PROBLEMS, {}).get(field)
    if text:
        st.error(html.plain(text), icon=":material/error:")
