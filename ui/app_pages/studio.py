"""The studio page: the prompt, the current picture below it, and the latest pictures."""

from __future__ import annotations

import time

import streamlit as st

import client
from ui import form
from ui.components import html
from ui.components.cards import show
from ui.components.filmstrip import filmstrip
from ui.components.header import page_header
from ui.components.lightbox import SUBMIT, lightbox, undo_bar
from ui.components.prompt_bar import prompt_bar
from ui.components.stage import stage
from ui.components.submit import (
    JOB,
    PROBLEMS,
    SHOWN,
    show_on_stage,
    submit_recipe,
)
from ui.components.wall import WALL, wall
from ui.job import Job
from ui.recipe import Abilities, Recipe, fit
from ui.recipe_link import LINK_NAMES, from_link
from ui.session import owner, shared
from ui.storage.gallery import Picture, Search
from ui.storage.journal import Entry

RECENT = WALL
MARKED = "_marked_job"
STARTED_OVER = "_started_over_job"


def main() -> None:
    shared().monitor.look()  # the first visitor waits briefly for the service's limits
    abilities = shared().monitor.abilities
    _bring_in(abilities)
    job = _current_job()
    if job is not None and _is_back_after(job):
        job = _start_over(job)
    _mark_refused_fields(job)
    num_active = _num_active()
    page_header("Studio", toast=False, explain=not _is_cut_off(job))
    prompt_bar(abilities, num_active)
    _notes()
    undo_bar()
    recent = shared().gallery.page(owner(), Search(), 1, RECENT)
    shown = shared().gallery.get(owner(), st.session_state.get(SHOWN, ""))
    interrupted = None if job or shown else shared().journal.interrupted(owner())
    if job or shown:
        stage(job, shown, next(iter(recent), None))
    elif interrupted:
        _interrupted(interrupted, abilities)
    else:
        wall(abilities, recent)
    if recent:
        is_active = job is not None and job.is_active
        filmstrip(recent, _on_stage(job, shown), show if is_active else show_on_stage)
    lightbox(Search())
    if _num_active() < num_active:
        st.rerun()  # a job ended during this run, so the button's count is outdated


def _on_stage(job: Job | None, shown: Picture | None) -> str | None:
    """The id of the picture on the stage."""
    if shown is not None:
        return shown.id
    return job.pictures[0].id if job is not None and job.pictures else None


def _bring_in(abilities: Abilities) -> None:
    """Load settings from another page, a link or a reload before the widgets are created."""
    _resume(abilities)
    linked = from_link(st.query_params.to_dict())
    if linked is not None:
        recipe, notes = fit(linked, abilities)
        st.session_state[form.PENDING] = recipe
        st.session_state[form.NOTES] = ["Settings loaded from the link.", *notes]
        for name in LINK_NAMES:
            st.query_params.pop(name, None)
    pending = st.session_state.pop(form.PENDING, None)
    if isinstance(pending, Recipe):
        form.settle(st.session_state, abilities)
        form.write(st.session_state, pending, abilities)
        st.session_state[PROBLEMS] = {}
    submitted = st.session_state.pop(SUBMIT, None)
    if isinstance(submitted, Recipe):
        submit_recipe(submitted)


def _resume(abilities: Abilities) -> None:
    """In a new session (after a reload), restore the settings of the job on the stage."""
    if "prompt" in st.session_state or form.PENDING in st.session_state:
        return
    job = _current_job()
    if job is not None:
        st.session_state[form.PENDING], _notes = fit(job.recipe, abilities)


def _notes() -> None:
    """Notes about an imported link or file, shown until the next generation starts."""
    notes = st.session_state.get(form.NOTES)
    if notes:
        st.info(html.plain(" ".join(notes)), icon=":material/info:")


def _current_job() -> Job | None:
    """The job on the stage: the longest running one, else the last one submitted."""
    active = [job for job in shared().jobs.of(owner()) if job.is_active]
    if active:
        st.session_state[JOB] = active[0].id
        return active[0]
    latest = shared().jobs.of(owner())[-1:]
    remembered = shared().jobs.get(owner(), st.session_state.get(JOB))
    return latest[0] if latest else remembered


def _mark_refused_fields(job: Job | None) -> None:
    """Show the service's violations beside the fields, once per job."""
    if job is None or job.failure is None or st.session_state.get(MARKED) == job.id:
        return
    st.session_state[MARKED] = job.id
    st.session_state[PROBLEMS] = dict(job.failure.fields)


def _num_active() -> int:
    return sum(job.is_active for job in shared().jobs.of(owner()))


def _is_back_after(job: Job) -> bool:
    """Whether the service answers again after this session's job failed because it didn't."""
    sample = shared().monitor.look(patience_s=0)
    if not _is_cut_off(job) or job.finished is None or sample is None or sample.status is None:
        return False
    failed_s_ago = time.monotonic() - job.finished
    return (
        sample.status.state is client.State.READY
        and time.time() - sample.at < failed_s_ago
        and st.session_state.get(JOB) == job.id
        and st.session_state.get(STARTED_OVER) != job.id  # only once
    )


def _start_over(job: Job) -> Job | None:
    recipe = job.recipe.with_seed(job.seed if job.seed is not None else job.recipe.seed)
    submit_recipe(recipe, job.start)
    again = _current_job()
    st.session_state[STARTED_OVER] = again.id if again else None
    return again


def _is_cut_off(job: Job | None) -> bool:
    """Whether the stage already says that the image server can't be reached."""
    return job is not None and job.failure is not None and job.failure.code == "UNAVAILABLE"


def _interrupted(entry: Entry, abilities: Abilities) -> None:
    recipe, _notes = fit(Recipe.from_dict(entry.recipe), abilities)
    st.html(html.empty("Interrupted by a restart", f"“{recipe.prompt[:120]}” was not finished."))
    with st.container(horizontal=True, horizontal_alignment="center", key="interrupted"):
        st.button(
            "Run it again",
            key="run-again",
            icon=":material/refresh:",
            on_click=submit_recipe,
            args=(recipe,),
        )


main()
