"""Keyboard shortcuts that respect the focus: Esc cancels, arrows move along the filmstrip."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

HTML = "<i hidden></i>\n"
SCRIPT = Path(__file__).with_name("keys.js").read_text("utf-8")


def keys() -> None:
    """Listen for keys while the page is open."""
    component = st.components.v2.component("inkling_keys", html=HTML, js=SCRIPT)
    component(key="keys", height=1, on_scheme_change=lambda: None)
