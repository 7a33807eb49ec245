"""A finished job: its pictures, and what can be done with them."""

from __future__ import annotations

import random

import streamlit as st

from ui import form
from ui.components import html
from ui.components.actions import download_button, favourite_button, pin_button, zip_button
from ui.components.cards import cards
from ui.components.composer import submit_recipe
from ui.job import Job
from ui.session import address, owner, shared
from ui.storage.gallery import Picture


def result(job: Job) -> None:
    """Show what a job has made."""
    # Read anew: the visitor may have deleted or favoured them meanwhile.
    pictures = shared().gallery.get_many(owner(), [picture.id for picture in job.pictures])
    _unsaved(job)
    _withheld(job)
    if len(pictures) == 1:
        _single(job, pictures[0])
    elif pictures:
        _several(job, pictures)
    elif not job.unsaved and not job.withheld:
        st.html(html.empty("Deleted", "This picture is no longer in your gallery."))
    if pictures:
        st.html(html.announce("Your picture is ready"))
        for warning in job.warnings:
            st.caption(html.plain(warning))


def _single(job: Job, picture: Picture) -> None:
    src = address(picture)
    st.html(
        html.mat(
            html.picture(src, picture.prompt, picture.width, picture.height),
            picture.width,
            picture.height,
        )
        + f'<p class="ink-line"><span>Seed {picture.seed}</span>'
        f"<span>{picture.width} × {picture.height} · {html.seconds(picture.duration_ms)}</span></p>"
    )
    with st.container(horizontal=True, key="result-actions", gap="small"):
        download_button(picture, "result")
        _variation_button(job)
        st.button(
            "Keep seed",
            key="keep-seed",
            icon=":material/lock:",
            help="Lock this seed and change the rest",
            on_click=_keep_seed,
            args=(picture.seed,),
        )
        favourite_button(picture, "result")
        pin_button(picture, "result")


def _several(job: Job, pictures: list[Picture]) -> None:
    cards(pictures, key="result", min_width=220)
    seconds = html.seconds(job.elapsed_s * 1000)
    st.html(f'<p class="ink-line"><span>{len(pictures)} pictures</span><span>{seconds}</span></p>')
    with st.container(horizontal=True, key="result-actions", gap="small"):
        zip_button([picture.id for picture in pictures], "result")
        _variation_button(job)


def _variation_button(job: Job) -> None:
    st.button(
        "Variation",
        key="variation",
        icon=":material/casino:",
        help="The same with another seed",
        on_click=_vary,
        args=(job,),
    )


def _vary(job: Job) -> None:
    st.session_state["lock"] = False
    submit_recipe(job.recipe.with_seed(random.randrange(form.RANDOM_SEED_BELOW)))


def _keep_seed(seed: int) -> None:
    st.session_state["seed"] = seed
    st.session_state["lock"] = True


def _withheld(job: Job) -> None:
    if job.withheld:
        st.info(
            "The safety checker kept it back. Another seed or wording may pass."
            if job.withheld == 1
            else f"The safety checker kept {job.withheld} pictures back.",
            title="Withheld",
            icon=":material/visibility_off:",
        )
        if not job.pictures:
            _variation_button(job)


def _unsaved(job: Job) -> None:
    for number, item in enumerate(job.unsaved):
        st.warning(
            f"Download it now, or make room and try again. The reason: {item.reason}.",
            title="Made, but could not be kept",
            icon=":material/save:",
        )
        image = item.image
        st.image(image.data, width="stretch", output_format="PNG", alt=item.recipe.prompt)
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
