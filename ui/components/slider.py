"""Two overlaid pictures with a divider that can be moved by pointer and arrow keys."""

from __future__ import annotations

import streamlit as st

from ui.session import address
from ui.storage.gallery import Picture

HTML = """
<figure class="pair">
  <img class="left" alt=""><img class="right" alt="">
  <div class="line" aria-hidden="true"><i></i></div>
  <input type="range" min="0" max="100" value="50" aria-label="How much of the left picture">
</figure>
"""
CSS = """
.pair { position: relative; margin: 0 auto; overflow: hidden; border-radius: 3px; max-width: 100%;
  width: min(100%, calc(62vh * var(--ratio, 1))); aspect-ratio: var(--ratio, 1);
  background: var(--st-secondary-background-color); }
.pair img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; }
.pair .right { clip-path: inset(0 0 0 var(--at, 50%)); }
.pair .line { position: absolute; inset-block: 0; left: var(--at, 50%); width: 2px;
  margin-left: -1px; background: #fff; box-shadow: 0 0 0 1px rgb(0 0 0 / .35); }
.pair .line i { position: absolute; top: 50%; left: 50%; width: 2.25rem; height: 2.25rem;
  border-radius: 50%; transform: translate(-50%, -50%); background: #fff;
  box-shadow: 0 1px 6px rgb(0 0 0 / .4); }
.pair .line i::before { content: "‹ ›"; position: absolute; inset: 0; display: grid;
  place-items: center; font: 600 1.1rem/1 system-ui; color: #1b1a26; letter-spacing: .1em; }
.pair input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0;
  opacity: 0; cursor: ew-resize; }
.pair:focus-within { outline: 3px solid var(--st-primary-color); outline-offset: 3px; }
"""
JS = """
export default function ({ data, parentElement }) {
  const pair = parentElement.querySelector(".pair");
  const range = pair.querySelector("input");
  for (const side of ["left", "right"]) {
    const img = pair.querySelector("." + side);
    if (img.getAttribute("src") !== data[side].src) img.src = data[side].src;
    img.alt = data[side].alt;
  }
  pair.style.setProperty("--ratio", data.ratio);
  const move = () => pair.style.setProperty("--at", range.value + "%");
  range.addEventListener("input", move);
  move();
  return () => range.removeEventListener("input", move);
}
"""


def slider(left: Picture, right: Picture) -> None:
    component = st.components.v2.component("inkling_pair", html=HTML, css=CSS, js=JS)
    component(
        key="pair",
        data={
            "left": {"src": address(left), "alt": f"Left: {left.prompt}"},
            "right": {"src": address(right), "alt": f"Right: {right.prompt}"},
            "ratio": left.width / left.height,
        },
    )
