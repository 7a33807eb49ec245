"""The studio: a prompt on the left, the picture forming on the right."""

from __future__ import annotations

import streamlit as st

from ui import form
from ui.components import html
from ui.components.cards import cards
from ui.components.composer import JOB, PROBLEMS, composer, submit_recipe
from ui.components.header import page_header
from ui.components.lightbox import SUBMIT, lightbox, undo_bar
from ui.components.stage import stage
from ui.job import Job
from ui.recipe import Abilities, Recipe, fit
from ui.recipe_link import LINK_NAMES, from_link
from ui.session import owner, shared
from ui.storage.gallery import Search
from ui.storage.journal import Entry

RECENT = 8
SMALL_MODEL_PX = 256
# What a small model has learned, and what Stable Diffusion does well.
SMALL_EXAMPLES = ("a red apple", "a rocket on a blue background", "cat face", "a birthday cake")
EXAMPLES = (
    "a lighthouse at dusk, volumetric fog, 35 mm",
    "a bowl of ramen, woodblock print",
    "an astronaut's garden on Mars, watercolour",
)
MARKED = "_marked_job"


def main() -> None:
    """Draw the page."""
    shared().monitor.look()  # a first visitor waits a moment for the service's limits
    abilities = shared().monitor.abilities
    _bring_in(abilities)
    page_header("Studio", toast=False, explain=True)
    _notes()
    job = _current_job()
    _mark_refused_fields(job)
    undo_bar()
    num_active = _num_active()
    with st.container(horizontal=True, key="studio", gap="medium"):
        with st.container(border=True, key="composer", width=408):
            composer(abilities, num_active)
        with st.container(key="stage-live" if job else "stage", width="stretch"):
            interrupted = None if job else shared().journal.interrupted(owner())
            stage(job, "" if interrupted else html.empty(*_welcome()))
            if interrupted:
                _interrupted(interrupted, abilities)
            elif job is None:
                _examples(abilities)
    _recent()
    lightbox(Search())
    if _num_active() < num_active:
        st.rerun()  # one ended while this was drawn: the button still counts it


def _bring_in(abilities: Abilities) -> None:
    """Settings from another page, a link or before a reload, before the widgets are made."""
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
    """In a new session, as after a reload, go on with the settings of the job on the stage."""
    if "prompt" in st.session_state or form.PENDING in st.session_state:
        return
    job = _current_job()
    if job is not None:
        st.session_state[form.PENDING], _notes = fit(job.recipe, abilities)


def _notes() -> None:
    for note in st.session_state.pop(form.NOTES, []):
        st.info(html.plain(note), icon=":material/info:")


def _current_job() -> Job | None:
    """The job on the stage: the one under way longest, else the one submitted last."""
    active = [job for job in shared().jobs.of(owner()) if job.is_active]
    if active:
        st.session_state[JOB] = active[0].id
        return active[0]
    latest = shared().jobs.of(owner())[-1:]
    remembered = shared().jobs.get(owner(), st.session_state.get(JOB))
    return latest[0] if latest else remembered


def _mark_refused_fields(job: Job | None) -> None:
    """What the service refused is said beside the fields, once for each job."""
    if job is None or job.failure is None or st.session_state.get(MARKED) == job.id:
        return
    st.session_state[MARKED] = job.id
    st.session_state[PROBLEMS] = dict(job.failure.fields)


def _num_active() -> int:
    return sum(job.is_active for job in shared().jobs.of(owner()))


def _welcome() -> tuple[str, str]:
    return "Your picture appears here", "Describe it on the left, and watch it form."


def _examples(abilities: Abilities) -> None:
    small = max(abilities.native_width, abilities.native_height) <= SMALL_MODEL_PX
    with st.container(horizontal=True, horizontal_alignment="center", key="examples"):
        for number, example in enumerate(SMALL_EXAMPLES if small else EXAMPLES):
            st.button(example, key=f"example-{number}", on_click=_use_example, args=(example,))


def _use_example(example: str) -> None:
    st.session_state["prompt"] = example


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


def _recent() -> None:
    pictures = shared().gallery.page(owner(), Search(), 1, RECENT)
    if pictures:
        st.html('<h2 class="ink-small">Recent</h2>')
        cards(pictures, key="recent", min_width=120)


main()
