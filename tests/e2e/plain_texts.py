"""A page of texts as people write them, each in every place that Streamlit reads as Markdown."""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from ui.components.html import plain

TEXTS = (
    ":material/delete: x",
    ":streamlit: logo :smile: :+1: :red[colour] :material_delete:",
    "a -> b -- c >= d <- e <-> f <= g ~= h",
    "-> at the start, at the end --",
    "&lt;b&gt; &copy; 2024 &amp;",
    "<b>bold</b> **bold** __bold__ `code` ~~gone~~ $x^2$ $$y$$",
    "[link](http://a.b) ![picture](x) <http://a.b> [^1] [x]: y",
    "https://example.com/a_b?c=d www.example.com someone@example.com",
    "# no heading",
    "1. no list",
    "- no list either",
    "> no quotation",
    "| a | b |",
    "--- and === and ***",
    "back\\slash \\* and {braces} (brackets:1.2)",
    "猫 🦊 “quoted” it's 50 % & more",
    "    no code",
    "====",
)


def main() -> None:
    """Draw the page."""
    for number, text in enumerate(TEXTS):
        with st.container(key=f"text-{number}"):
            st.button(plain(text), key=f"button-{number}")
            st.caption(plain(text))
            st.info(plain(text))


if __name__ == "__main__":
    main()
