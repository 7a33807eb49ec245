"""The card of a failed job: what happened, and a button that helps."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from ui.components import html
from ui.components.submit import JOB, submit_recipe
from ui.failures import Failure, Remedy
from ui.job import Job
from ui.recipe import Recipe
from ui.session import shared
from ui.start import Start

SMALLER = 0.75


def failure_card(job: Job) -> None:
    failure = job.failure
    if failure is None:
        raise ValueError("this job did not fail")
    st.error(_text(failure), title=failure.title, icon=":material/error:")
    st.html(html.announce(f"{failure.title}. {failure.text}"))
    _remedy(job, failure)
    if failure.technical:
        with st.expander("Details for whoever runs the server"):
            st.code(failure.technical, language=None, wrap_lines=True)


def _text(failure: Failure) -> str:
    """The sentence as plain text: server messages must not be interpreted as Markdown."""
    text = html.plain(failure.text)
    if failure.retry_after_s:
        text += f" Try again in about {html.seconds(failure.retry_after_s * 1000)}."
    return text


def _remedy(job: Job, failure: Failure) -> None:
    if failure.remedy is Remedy.SMALLER:
        smaller = _smaller(job.recipe)
        label = f"Try {smaller.width} × {smaller.height}"
        st.button(
            label,
            key="retry",
            icon=":material/compress:",
            on_click=_again,
            args=(smaller, job.start),
        )
        return
    if failure.remedy is Remedy.TRY_AGAIN:
        same = job.recipe.with_seed(job.seed if job.seed is not None else job.recipe.seed)
        st.button(
            "Try again",
            key="retry",
            icon=":material/refresh:",
            on_click=_again,
            args=(same, job.start),
        )


def _smaller(recipe: Recipe) -> Recipe:
    """The recipe at three quarters of its height and width, rounded to allowed sizes."""
    abilities = shared().monitor.abilities
    multiple = abilities.size_multiple
    width, height = (
        max(abilities.min_size, int(side * SMALLER) // multiple * multiple)
        for side in (recipe.width, recipe.height)
    )
    return replace(recipe, width=width, height=height)


def _again(recipe: Recipe, start: Start | None) -> None:
    st.session_state.pop(JOB, None)
    submit_recipe(recipe, start)
