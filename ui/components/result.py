"""Actions for the pictures on the stage, and the notes of a finished job."""

from __future__ import annotations

import random
from dataclasses import replace

import streamlit as st

from ui import form
from ui.components import easel, html
from ui.components.actions import download_button, favourite_button, pin_button, zip_button
from ui.components.cards import cards
from ui.components.ideas import another_take
from ui.components.importer import use
from ui.components.starting import start_buttons
from ui.components.submit import show_on_stage, submit_recipe
from ui.components.talk import replaced
from ui.job import Job, Unsaved
from ui.recipe import Recipe
from ui.session import shared
from ui.storage.gallery import Picture


def picture_actions(picture: Picture, job: Job | None) -> None:
    """The panel beside one picture: its prompt, warnings and actions."""
    st.html(f'<p class="ink-prompt">{html.escape(picture.prompt)}</p>')
    if job is not None:
        notes(job)
    with st.container(horizontal=True, key="result-actions", gap="small"):
        download_button(picture, "result")
        _more_button(picture.recipe)
        st.button(
            "Keep seed",
            key="keep-seed",
            icon=":material/lock:",
            help="Lock this seed and change the rest",
            on_click=_keep_seed,
            args=(picture.seed,),
        )
        st.button(
            "Reuse settings",
            key="reuse-settings",
            icon=":material/tune:",
            help="Bring its prompt and settings back",
            on_click=use,
            args=(picture.recipe,),
        )
        start_buttons(picture, "result")
        favourite_button(picture, "result")
        pin_button(picture, "result")
        if job is not None and len(job.pictures) > 1:
            st.button(
                f"All {len(job.pictures)}",
                key="back-to-all",
                icon=":material/grid_view:",
                on_click=show_on_stage,
                args=(None,),
            )


def finished(job: Job, pictures: list[Picture]) -> None:
    """Several pictures on the stage; each opens alone with all its actions."""
    columns = 1 if len(pictures) == 1 else 2 if len(pictures) <= 4 else 3
    cards(pictures, key="result", columns=columns, on_open=show_on_stage)
    seconds = html.seconds(job.elapsed_s * 1000)
    st.html(
        easel.line(f"{len(pictures)} pictures", seconds) + html.announce("Your pictures are ready")
    )


def batch_actions(job: Job, pictures: list[Picture]) -> None:
    """The panel beside several pictures."""
    st.html(f'<p class="ink-prompt">{html.escape(job.recipe.prompt)}</p>')
    notes(job)
    with st.container(horizontal=True, key="result-actions", gap="small"):
        zip_button([picture.id for picture in pictures], "result")
        _more_button(job.recipe)
    st.caption("Choose one to download, keep or compare it.")


def notes(job: Job) -> None:
    """Show the service's warnings."""
    for number, warning in enumerate(job.warnings):
        st.caption(html.plain(warning.description))
        for alternative in warning.alternatives[:2]:
            st.button(
                f"Draw {html.plain(alternative)} instead",
                key=f"again-with-{number}-{alternative}",
                icon=":material/swap_horiz:",
                on_click=_draw_instead,
                args=(job.recipe, warning.excerpt, alternative),
            )


def _draw_instead(recipe: Recipe, word: str, alternative: str) -> None:
    prompt = replaced(recipe.prompt, word, alternative)
    st.session_state["prompt"] = prompt
    submit_recipe(replace(recipe, prompt=prompt))


def _more_button(recipe: Recipe) -> None:
    st.button(
        "More like this",
        key="variation",
        icon=":material/casino:",
        help="Another seed, and another background where the model knows some",
        on_click=_vary,
        args=(recipe,),
    )


def _vary(recipe: Recipe) -> None:
    st.session_state["lock"] = False
    prompt = another_take(recipe.prompt, shared().monitor.abilities)
    seed = random.randrange(form.RANDOM_SEED_BELOW)
    submit_recipe(replace(recipe, prompt=prompt, seed=seed))


def _keep_seed(seed: int) -> None:
    st.session_state["seed"] = seed
    st.session_state["lock"] = True


def withheld(job: Job) -> None:
    """Say how many pictures the safety checker withheld."""
    if job.withheld:
        st.info(
            "The safety checker kept it back. Another seed or wording may pass."
            if job.withheld == 1
            else f"The safety checker kept {job.withheld} pictures back.",
            title="Withheld",
            icon=":material/visibility_off:",
        )
        if not job.pictures:
            _more_button(job.recipe)


def unsaved(job: Job, *, first_is_shown: bool) -> None:
    """Pictures that could not be saved to the gallery, with a way to save them.

    `first_is_shown`: the first one is on the stage already.
    """
    for number, item in enumerate(job.unsaved):
        st.warning(
            f"Download it now, or make room and try again. The reason: {item.reason}.",
            title="Made, but could not be kept",
            icon=":material/save:",
        )
        image = item.image
        if number or not first_is_shown:
            unsaved_picture(item)
        with st.container(horizontal=True, key=f"unsaved-{number}"):
            st.download_button(
                "Download",
                data=image.data,
                file_name=f"inkling-{image.seed}.png",
                mime=image.mime_type,
                key=f"download-unsaved-{number}",
                on_click="ignore",
                icon=":material/download:",
            )
            st.button(
                "Try to keep it",
                key=f"save-again-{number}",
                icon=":material/save:",
                on_click=shared().jobs.retry_save,
                args=(job,),
            )


def unsaved_picture(item: Unsaved) -> None:
    """The picture itself, which no address of the gallery leads to."""
    st.image(item.image.data, width="stretch", output_format="PNG", alt=item.recipe.prompt)
