"""The service's warnings about the prompt while typing, with suggested replacements."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

import client
from ui.components import html
from ui.session import shared

HTML = "<i hidden></i>\n"
SCRIPT = Path(__file__).with_name("talk.js").read_text("utf-8")
TYPED = "_typed"  # the prompt as typed, not submitted yet
REPLACED = "_replaced"
PATIENCE_S = 0.5
MAX_CHECKED = 2000  # characters
SHOWN = 3  # notes at once


def talk(prompt: str, model: str) -> None:
    """One line below the prompt, redrawn while typing. `prompt`: as last submitted."""
    st.session_state[TYPED] = None
    st.fragment(_talk)(prompt, model)


def _talk(prompt: str, model: str) -> None:
    if st.session_state.pop(REPLACED, False):
        st.rerun()  # only a full run draws the prompt
    with st.container(key="talk", horizontal=True, gap="small", vertical_alignment="center"):
        component = st.components.v2.component("inkling_talk", html=HTML, js=SCRIPT)
        component(key="typed", on_text_change=_take)
        typed = st.session_state.get(TYPED)
        text = prompt if typed is None else typed
        found = check(text, model)
        for number, warning in enumerate(found[:SHOWN]):
            _note(number, warning, text)
        if len(found) > SHOWN:
            st.caption(f"and {len(found) - SHOWN} more")


def _take() -> None:
    st.session_state[TYPED] = st.session_state["typed"].text


def check(text: str, model: str) -> Sequence[client.GenerationWarning]:
    """The service's warnings, or none if it does not answer."""
    if not text.strip() or len(text) > MAX_CHECKED:
        return ()
    try:
        return shared().service.check_prompt(
            text, model=model, prompt_syntax=client.PromptSyntax.A1111, timeout=PATIENCE_S
        )
    except client.Text2ImageError:
        return ()


def _note(number: int, warning: client.GenerationWarning, text: str) -> None:
    st.html(f'<span class="ink-note">{html.escape(short(warning))}</span>', width="content")
    for alternative in warning.alternatives[:2]:
        st.button(
            html.plain(alternative),
            key=f"instead-{number}-{alternative}",
            icon=":material/swap_horiz:",
            help=f"Write “{alternative}” instead",
            on_click=_replace,
            args=(text, warning.excerpt, alternative),
        )


def short(warning: client.GenerationWarning) -> str:
    """A warning without the part that its buttons repeat."""
    if warning.reason == "UNKNOWN_WORD" and warning.excerpt:
        return f"I don't know “{warning.excerpt}”" + (". Near:" if warning.alternatives else ".")
    return warning.description


def _replace(text: str, word: str, alternative: str) -> None:
    st.session_state["prompt"] = replaced(text, word, alternative)
    st.session_state[TYPED] = None
    st.session_state[REPLACED] = True


def replaced(text: str, word: str, alternative: str) -> str:
    """The text with a word replaced by another, ignoring case."""
    whole = rf"(?<!\w){re.escape(word)}(?!\w)" if word[:1].isalnum() else re.escape(word)
    return re.sub(whole, lambda _match: alternative, text, flags=re.IGNORECASE)
