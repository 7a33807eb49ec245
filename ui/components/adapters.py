"""LoRAs and embeddings to choose from, and how weights are written: all of it in the prompt."""

from __future__ import annotations

import re
from typing import Final

import streamlit as st

import client
from ui.components import html
from ui.recipe import Abilities

DEFAULT_WEIGHT: Final = 0.8
SEARCH_FROM: Final = 8  # names
MAX_SHOWN: Final = 40
HELP = """
| write | to have |
| --- | --- |
| `(word)` | 1.1 times as much of it |
| `(word:1.4)` `(word:0.6)` | 1.4 or 0.6 times as much |
| `[word]` | a little less |
| `\\(` `\\)` | the bracket itself |
| `BREAK` | a new chunk of 75 tokens |
| `<lora:name:0.8>` | the LoRA of that name, at 0.8 |

Long prompts are read whole. 0.5 to 1.5 suits most weights.
"""


def adapters(abilities: Abilities) -> None:
    """A button that opens what is installed; nothing where nothing is."""
    if not abilities.adapters and not abilities.embeddings:
        return
    label = "LoRA" if abilities.adapters else "Embeddings"
    with st.popover(label, icon=":material/style:", key="adapters"):
        wanted = _search(len(abilities.adapters) + len(abilities.embeddings))
        shown = [one for one in abilities.adapters if _matches(one, wanted)]
        for adapter in shown[:MAX_SHOWN]:
            _adapter(adapter)
        names = [name for name in abilities.embeddings if wanted in name.casefold()]
        if names:
            st.caption("Embeddings, used by their names; many are for the negative prompt")
            _words(names[:MAX_SHOWN], "embedding")
        if len(shown) > MAX_SHOWN or len(names) > MAX_SHOWN:
            st.caption("There are more: search for them.")
        if not shown and not names:
            st.caption("None has that in its name.")


def weights_help() -> None:
    """How to write weights."""
    with st.expander("Weights in prompts", icon=":material/format_bold:"):
        st.markdown(HELP)


def _search(number: int) -> str:
    if number < SEARCH_FROM:
        return ""
    text = st.text_input(
        "Search adapters",
        key="adapter-search",
        placeholder="Search",
        icon=":material/search:",
        label_visibility="collapsed",
    )
    return (text or "").strip().casefold()


def _matches(adapter: client.Adapter, wanted: str) -> bool:
    texts = (adapter.name, *adapter.trigger_words)
    return any(wanted in text.casefold() for text in texts)


def _adapter(adapter: client.Adapter) -> None:
    is_used = _tag(adapter.name).search(st.session_state["prompt"]) is not None
    st.button(
        html.plain(adapter.name),
        key=f"lora-{adapter.name}",
        icon=":material/check:" if is_used else ":material/add:",
        help="Take it out of the prompt" if is_used else "Write it into the prompt",
        on_click=_toggle,
        args=(adapter.name,),
    )
    if adapter.trigger_words:
        _words(adapter.trigger_words, f"trigger-{adapter.name}")


def _words(words: list[str] | tuple[str, ...], key: str) -> None:
    with st.container(horizontal=True, gap="small"):
        for word in words:
            st.button(
                html.plain(word),
                key=f"{key}-{word}",
                type="tertiary",
                help="Write it into the prompt",
                on_click=_append,
                args=(word,),
            )


def _tag(name: str) -> re.Pattern[str]:
    return re.compile(rf"\s*<lora:\s*{re.escape(name)}\s*(?::[^<>]*)?>")


def _toggle(name: str) -> None:
    """Write the LoRA's tag into the prompt, or take it out."""
    prompt, used = _tag(name).subn("", st.session_state["prompt"])
    st.session_state["prompt"] = prompt.strip()
    if not used:
        st.session_state["prompt"] = f"{prompt} <lora:{name}:{DEFAULT_WEIGHT:g}>".strip()


def _append(words: str) -> None:
    """Write words at the prompt's end, in front of its LoRA tags."""
    prompt = st.session_state["prompt"]
    place = prompt.find("<lora:")
    text, tags = (prompt, "") if place < 0 else (prompt[:place], prompt[place:])
    text = text.strip().rstrip(",")
    joined = f"{text}, {words}" if text else words
    st.session_state["prompt"] = f"{joined} {tags}".strip()
