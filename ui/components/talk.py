"""The service's warnings about the prompt while typing, with suggested replacements."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

import client
from ui.components import html
from ui.components.submit import JOB, PROBLEMS, SHOWN
from ui.session import shared

HTML = "<i hidden></i>\n"
SCRIPT = Path(__file__).with_name("talk.js").read_text("utf-8")
TYPED = "_typed"  # the prompt as typed, not submitted yet
DRAWN_WITH = ("prompt", "model", JOB, SHOWN, PROBLEMS)  # what a full run draws differently
PATIENCE_S = 0.5
MAX_CHECKED = 2000  # characters
MAX_NOTES = 3


def talk(prompt: str, model: str) -> None:
    """One line below the prompt, redrawn while typing. `prompt`: as last submitted."""
    st.session_state[TYPED] = None
    st.fragment(_talk)(prompt, model, _drawn())


def _drawn() -> Sequence[object]:
    return [st.session_state.get(key) for key in DRAWN_WITH]


def _talk(prompt: str, model: str, drawn: Sequence[object]) -> None:
    # Streamlit sends a click that comes within milliseconds of the text as one of this fragment.
    if _drawn() != drawn:
        st.rerun()
    with st.container(key="talk", horizontal=True, gap="small", vertical_alignment="center"):
        component = st.components.v2.component("inkling_talk", html=HTML, js=SCRIPT)
        component(key="typed", on_text_change=_take)
        typed = st.session_state.get(TYPED)
        text = prompt if typed is None else typed
        found = check(text, model)
        for number, warning in enumerate(found[:MAX_NOTES]):
            _note(number, warning, text)
        if len(found) > MAX_NOTES:
            st.caption(f"and {len(found) - MAX_NOTES} more")


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


def replaced(text: str, word: str, alternative: str) -> str:
    """The text with a word replaced by another, ignoring case."""
    whole = rf"(?<!\w){re.escape(word)}(?!\w)" if word[:1].isalnum() else re.escape(word)
    return re.sub(whole, lambda _match: alternative, text, flags=re.IGNORECASE)
