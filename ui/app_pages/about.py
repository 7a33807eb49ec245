"""The About page: what this is, how to call it from programs, shortcuts, and stored data."""

from __future__ import annotations

from collections import Counter

import streamlit as st

import client
from ui import example_pictures, form
from ui.components import html
from ui.components.header import NAME, page_header, short_name
from ui.components.sign_in import account
from ui.session import owner, shared
from ui.snippets import LANGUAGES, snippet
from ui.web import PROTO

SPOKEN = {"de": "German", "en": "English", "es": "Spanish", "fr": "French"}
SHORTCUTS = (
    ("Ctrl + Enter", "Generate"),
    ("Esc", "Cancel, or close the picture"),
    ("← →", "Previous and next picture"),
    ("F", "Favourite the open picture"),
)


def main() -> None:
    page_header("About")
    _model()
    _what()
    _api()
    _limits()
    _shortcuts()
    _privacy()
    account()


def _what() -> None:
    st.html(
        f'<div class="ink-hero">{html.MARK}<div><h2>{NAME}</h2>'
        "<p>Describe a picture and watch it form. Everything happens on your own machines: the "
        "model, the queue, the gallery. Nothing is sent anywhere else.</p></div></div>"
    )


def _model() -> None:
    """What the served model can draw, in words and pictures, if it declares abilities."""
    drawn = shared().monitor.abilities.model
    if drawn is None:
        st.html("<h2>The model</h2>")
        st.html(html.facts(_made_of()))
        _figures()
        return
    st.html("<h2>What this model draws</h2>")
    st.html(f'<p class="ink-lead ink-left">{html.escape(drawn.about)}</p>')
    sheet = "".join(
        html.picture(example_pictures.keep(example.thumbnail), example.prompt, 256, 256)
        for example in drawn.examples
        if example.thumbnail
    )
    if sheet:
        st.html(f'<div class="ink-contact">{sheet}</div>')
    st.html(html.facts([*_repertoire(drawn), *_made_of()]))
    _figures()


def _figures() -> None:
    """What was measured of the model, as its card tells."""
    sample = shared().monitor.look(patience_s=0)
    if sample is not None and sample.figures:
        st.html("<h2>How well it draws</h2>")
        st.html(html.facts((figure.name, figure.value) for figure in sample.figures))


def _made_of() -> list[tuple[str, object]]:
    """The model's own facts, as the service tells them."""
    sample = shared().monitor.look(patience_s=0)
    if sample is None or sample.status is None or not sample.status.models:
        return []
    model = sample.status.models[0]
    return [
        ("Model", short_name(model.name)),
        ("Licence of the weights", model.license or "not named in its model card"),
        ("Parameters", f"{model.num_parameters / 1e6:,.1f} million"),
        ("From", model.source),
        ("Runs on", f"{model.device}, {model.dtype}, {model.runtime}"),
    ]


def _repertoire(drawn: client.Abilities) -> list[tuple[str, object]]:
    groups = Counter(thing.group for thing in drawn.things)
    facts = [
        (group.capitalize(), f"{count} thing{'s' if count > 1 else ''}")
        for group, count in groups.items()
    ]
    return [
        *facts,
        ("Colours", ", ".join(word.name for word in drawn.colours)),
        ("Backgrounds", ", ".join(word.name for word in drawn.backgrounds)),
        ("Good sizes", ", ".join(f"{width} × {height}" for width, height in drawn.sizes)),
        ("Reads", f"{_languages(drawn)}, about {drawn.token_limit} words of a prompt"),
    ]


def _languages(drawn: client.Abilities) -> str:
    return ", ".join(SPOKEN.get(code, code) for code in drawn.languages)


def _api() -> None:
    abilities = shared().monitor.abilities
    form.settle(st.session_state, abilities)
    recipe = form.read(st.session_state, abilities)
    st.html("<h2>From your own programs</h2>")
    st.caption(
        "The studio's current settings as a request. Same settings, same seed, same picture."
    )
    language = st.segmented_control(
        "Language",
        list(LANGUAGES),
        key="language",
        default="Python",
        required=True,
        label_visibility="collapsed",
    )
    name = language or "Python"
    st.code(snippet(name, recipe, shared().settings.address), language=LANGUAGES[name])
    st.download_button(
        "Download text2image.proto",
        data=PROTO.read_bytes,
        file_name=PROTO.name,
        mime="text/plain",
        key="proto",
        on_click="ignore",
        icon=":material/download:",
    )


def _limits() -> None:
    abilities = shared().monitor.abilities
    st.html("<h2>What may be asked for</h2>")
    st.html(
        html.facts(
            [
                (
                    "Sides",
                    f"{abilities.min_size} to {abilities.max_size} pixels, "
                    f"in steps of {abilities.size_multiple}",
                ),
                ("Pixels", f"{abilities.max_pixels:,}"),
                ("Steps", f"1 to {abilities.max_steps}"),
                ("Pictures at once", f"1 to {abilities.max_images}"),
                ("Prompt", f"{abilities.max_prompt_characters:,} characters"),
                ("Noise schedulers", ", ".join(abilities.schedulers) or "unknown yet"),
                ("Your requests under way", f"{shared().jobs.max_per_owner} at a time"),
            ]
        )
    )


def _shortcuts() -> None:
    st.html("<h2>Keys</h2>")
    st.html(html.facts((keys, what) for keys, what in SHORTCUTS))


def _privacy() -> None:
    st.html(
        "<h2>What is kept</h2><p>Your pictures, their settings and a journal of your last jobs, in "
        "this installation's own database and folder, until you delete them. One cookie without "
        "your name tells your browser from others. Prompts stay out of the address bar, unless "
        "you ask for a link.</p>"
    )
    with st.popover("Delete all my pictures", icon=":material/delete_forever:", key="wipe"):
        st.markdown("All your pictures, grids and jobs, at once and for good.")
        if st.button("Delete everything", key="wipe-confirm", type="primary"):
            shared().jobs.forget(owner())
            count = shared().gallery.delete_everything(owner())
            shared().journal.forget(owner())
            st.toast(f"{count} pictures deleted.", icon=":material/delete:")


main()
