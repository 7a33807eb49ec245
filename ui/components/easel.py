"""The stage's square as HTML: a picture in its frame, and the line below it."""

from __future__ import annotations

from ui.components import html


def frame(inner: str) -> str:
    """The square frame shared by all states of the stage."""
    return f'<figure class="ink-frame">{inner}</figure>'


def large(src: str, alt: str, width: int, height: int, extra: str = "") -> str:
    """The picture, enlarged at most three times. Sizes in pixels."""
    return (
        f'<img class="ink-large {extra}" src="{html.escape(src)}" alt="{html.escape(alt)}" '
        f'width="{width}" height="{height}" style="--w:{width};--h:{height}" decoding="async">'
    )


def under(src: str, width: int, height: int, extra: str = "") -> str:
    """A picture below the next one: the last preview or the previous picture."""
    return large(src, "", width, height, f"ink-under {extra}")


def blank() -> str:
    """The frame before the first picture."""
    return f'<div class="ink-blank">{html.MARK}</div>'


def line(left: str, right: str, percent: int | None = None, *, waiting: bool = False) -> str:
    """A progress bar and a short text below the frame. Without `percent` the bar is invisible."""
    words = (
        f'<p class="ink-line"><span>{html.escape(left)}</span><span>{html.escape(right)}</span></p>'
    )
    if percent is None:
        return f'<div class="ink-bar ink-idle"></div>{words}'
    return (
        f'<div class="ink-bar{" ink-waiting" if waiting else ""}" role="progressbar" '
        'aria-label="Progress" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent}"><i style="width:{percent}%"></i></div>{words}'
    )
