"""The settings of a generation. Limits and choices come from the service."""

from __future__ import annotations

import random
from typing import Final

import streamlit as st

from ui import form
from ui.components.adapters import weights_help
from ui.components.header import short_name
from ui.components.importer import paste_settings
from ui.components.starting import drop_start
from ui.form import CUSTOM, RANDOM_SEED_BELOW
from ui.recipe import (
    ASPECTS,
    QUALITIES,
    Abilities,
)
from ui.session import shared

KEEP: Final = "session"
UPSCALES = (1.0, 1.5, 2.0)


def controls(abilities: Abilities) -> None:
    """A button that opens the settings: a popover on desktops, a sheet on phones."""
    with st.popover("Settings", icon=":material/tune:", key="settings"):
        _model(abilities)
        _quality(abilities)
        if abilities.trained_sizes:
            _trained_shapes(abilities)
        else:
            _shape(abilities)
        _seed(abilities)
        st.text_area(
            "Negative prompt",
            key="negative",
            height=68,
            max_chars=abilities.max_negative_characters,
            placeholder="What it should not show",
            persist_state=KEEP,
        )
        if abilities.trained_sizes:
            _experiment(abilities)
        else:
            _guidance(abilities)
            _scheduler(abilities)
            _clip_skip(abilities)
            _second_pass(abilities)
        st.button("Reset settings", key="reset", icon=":material/restart_alt:", on_click=_reset)
        weights_help()
        with st.expander("Start from a picture", icon=":material/brush:"):
            drop_start()
        with st.expander("Import settings", icon=":material/content_paste_go:"):
            paste_settings("studio")


def _reset() -> None:
    """Reset everything except the prompt to the defaults."""
    for key in set(form.DEFAULTS) - {"prompt"} | {"width", "height"}:
        st.session_state.pop(key, None)
    form.settle(st.session_state, shared().monitor.abilities)


def _model(abilities: Abilities) -> None:
    if len(abilities.models) > 1:
        st.selectbox(
            "Model",
            ["", *abilities.models[1:]],
            key="model",
            format_func=lambda name: short_name(name or abilities.models[0]),
            on_change=_use_defaults,
            persist_state=KEEP,
        )


def _use_defaults() -> None:
    state = st.session_state
    form.use_defaults(state, form.of_model(state, shared().monitor.abilities))


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


def _shape(abilities: Abilities) -> None:
    if not abilities.is_known:
        st.caption("The picture's size is chosen when the image server answers.")
        return
    st.segmented_control(
        "Shape", [*ASPECTS, CUSTOM], key="aspect", required=True, persist_state=KEEP
    )
    if st.session_state["aspect"] == CUSTOM:
        _custom_size(abilities)
    else:
        _scale(abilities)


def _trained_shapes(abilities: Abilities) -> None:
    """A choice of the shapes the model was trained for, if there are several."""
    shapes = abilities.trained_shapes
    if len(shapes) > 1:
        now = st.session_state["aspect"]
        st.segmented_control(
            "Shape",
            shapes if now in shapes else [*shapes, now],
            key="aspect",
            required=True,
            persist_state=KEEP,
        )


def _experiment(abilities: Abilities) -> None:
    """Settings that this model handles badly, for experiments."""
    sizes = ", ".join(f"{width} × {height}" for width, height in abilities.trained_sizes)
    with st.expander("Experiment", icon=":material/science:"):
        st.caption(
            f"This model was trained at {sizes}: other sizes melt or repeat what it draws, and "
            "other values seldom help."
        )
        if len(abilities.trained_shapes) < 2:
            _shape(abilities)
        _guidance(abilities)
        _scheduler(abilities)
        _clip_skip(abilities)
        _second_pass(abilities)


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


def _seed(abilities: Abilities) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", key="seed-row"):
        st.toggle(
            "Lock seed",
            key="lock",
            help="The same seed and settings make the same picture.",
            persist_state=KEEP,
        )
        if st.session_state["lock"]:
            st.number_input(
                "Seed", 0, abilities.max_seed, step=1, key="seed", width=230, persist_state=KEEP
            )
            st.button(
                "Roll", icon=":material/casino:", key="dice", on_click=_roll, help="Another seed"
            )


def _roll() -> None:
    st.session_state["seed"] = random.randrange(RANDOM_SEED_BELOW)


def _guidance(abilities: Abilities) -> None:
    st.slider(
        "Guidance",
        0.0,
        abilities.max_guidance if st.session_state["guidance"] > 20 else 20.0,
        step=0.5,
        key="guidance",
        persist_state=KEEP,
        help="How closely to follow the prompt. 7 to 8 suits most; at 1 or less it follows "
        "loosely, in half the time.",
    )


def _scheduler(abilities: Abilities) -> None:
    if len(abilities.schedulers) > 1:
        st.selectbox(
            "Noise scheduler",
            ["", *abilities.schedulers],
            key="scheduler",
            format_func=lambda name: name or f"The model's own ({abilities.default_scheduler})",
            persist_state=KEEP,
        )


def _clip_skip(abilities: Abilities) -> None:
    """For text encoders of several layers."""
    if abilities.num_text_layers > 1:
        st.number_input(
            "Clip skip",
            1,
            abilities.num_text_layers,
            step=1,
            key="clip_skip",
            persist_state=KEEP,
            help="Which layer of the text encoder is read, counted from its end. Many checkpoints "
            "for drawings want 2.",
        )


def _second_pass(abilities: Abilities) -> None:
    """Draw the picture a second time, larger."""
    now = st.session_state["upscale"]
    st.segmented_control(
        "Second pass",
        sorted({*UPSCALES, now}),
        key="upscale",
        required=True,
        format_func=lambda scale: "Off" if scale == 1 else f"{scale:g}×",
        help="The finished picture is enlarged and drawn again with the same settings.",
        persist_state=KEEP,
    )
    if now > 1:
        st.slider(
            "What the second pass may change",
            form.STRENGTH_STEP,
            1.0,
            step=form.STRENGTH_STEP,
            key="upscale_strength",
            persist_state=KEEP,
        )
