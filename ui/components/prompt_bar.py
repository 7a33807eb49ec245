"""The prompt bar: prompt, number of pictures, and the Generate button."""

from __future__ import annotations

from typing import Final

import streamlit as st

from ui import form
from ui.components.adapters import adapters
from ui.components.controls import controls
from ui.components.ideas import ideas
from ui.components.starting import chosen_start
from ui.components.submit import PROBLEMS, problem, submit
from ui.components.talk import talk
from ui.recipe import Abilities
from ui.session import shared

KEEP: Final = "session"  # keep widget values for the whole session, across pages
COUNTS = (1, 2, 4)


def prompt_bar(abilities: Abilities, num_active: int) -> None:
    """Draw the bar; Generate submits from within its callback."""
    form.settle(st.session_state, abilities)
    abilities = form.of_model(st.session_state, abilities)
    with st.container(key="bar", gap="small"):
        st.text_area(
            "Prompt",
            key="prompt",
            height=68,
            max_chars=abilities.max_prompt_characters,
            placeholder="What should the picture show?",
            label_visibility="collapsed",
            persist_state=KEEP,
        )
        problem("prompt")
        chosen_start()
        talk(st.session_state["prompt"], st.session_state["model"])
        with st.container(horizontal=True, key="bar-row", gap="small", vertical_alignment="center"):
            ideas(abilities)
            adapters(abilities)
            controls(abilities)
            _count(abilities)
            _generate_button(num_active)
        _problems_elsewhere()
        problem("queue")


def _count(abilities: Abilities) -> None:
    offered = {number for number in COUNTS if number <= abilities.max_images}
    st.segmented_control(
        "Pictures",
        sorted(offered | {st.session_state["count"]}),
        key="count",
        required=True,
        label_visibility="collapsed",
        format_func=lambda number: f"{number}×",
        persist_state=KEEP,
    )
    problem("count")


def _generate_button(num_active: int) -> None:
    limit = shared().jobs.max_per_owner
    label = f"Add to queue ({num_active} of {limit})" if num_active else "Generate"
    if num_active >= limit:
        label = f"Your queue is full ({num_active} of {limit})"
    st.button(
        label,
        key="generate",
        type="primary",
        icon=":material/ink_pen:",
        shortcut="Ctrl+Enter",
        disabled=num_active >= limit,
        on_click=submit,
    )


def _problems_elsewhere() -> None:
    """Show problems of settings in a closed sheet where they can be seen."""
    hidden = set(st.session_state.get(PROBLEMS, {})) - {"prompt", "count", "queue"}
    for field in sorted(hidden):
        problem(field)
