"""The album: a zip with the original files, a contact sheet, and an HTML page."""

from __future__ import annotations

import base64
import html
import io
import re
import zipfile
from dataclasses import dataclass
from datetime import datetime

from PIL import Image, ImageDraw

from ui.sessions.letters import Letters
from ui.sessions.room import Room, Session
from ui.sessions.sessions import Sessions
from ui.storage.decoding import make_thumbnail
from ui.storage.gallery import Gallery

COLUMNS = 6
SIDE = 256  # px, of a picture on the contact sheet
MARGIN = 40
CAPTION = 64
PER_SHEET = 60
PAPER, INK, SOFT = "#f6f4ee", "#1b1a26", "#5c5a68"
SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
STYLE = """
:root{color-scheme:light dark;--p:light-dark(#f6f4ee,#0e0e14);--c:light-dark(#fffefb,#191922);
--t:light-dark(#1b1a26,#ecebf2);--s:light-dark(#5c5a68,#a5a3b3);--e:light-dark(#ddd8cc,#2e2d39)}
body{margin:0;padding:clamp(1rem,4vw,4rem);background:var(--p);color:var(--t);font-family:system-ui,sans-serif}
h1{font:600 clamp(2rem,5vw,3.5rem)/1.1 ui-serif,Georgia,serif;letter-spacing:-.02em;margin:0}
header p{color:var(--s)}main{display:grid;gap:1.25rem;margin-top:2rem;
grid-template-columns:repeat(auto-fill,minmax(min(100%,15rem),1fr))}
figure{margin:0;padding:.75rem;background:var(--c);border:1px solid var(--e);border-radius:.75rem}
img{width:100%;height:auto;display:block;border-radius:.375rem}
figcaption{padding:.75rem .25rem .25rem;overflow-wrap:anywhere}
b{font:500 1.05rem/1.3 ui-serif,Georgia,serif;display:block}small{color:var(--s)}a{color:inherit}
"""
LEFT_OUT = "This computer has no font for some of the letters; index.html shows all of them."


@dataclass(frozen=True, slots=True)
class Item:
    """One picture of the album."""

    name: str  # file name
    prompt: str
    nickname: str
    data: bytes


def file_name(session: Session) -> str:
    """The zip's file name."""
    day = datetime.fromtimestamp(session.created_at / 1000)
    return f"{_slug(session.name) or 'session'}-{day:%Y-%m-%d}.zip"


def make(sessions: Sessions, gallery: Gallery, room: Room) -> bytes:
    """Zip all pictures of the wall, oldest first; files missing on the disk are listed."""
    items, missing = _items(sessions, gallery, room)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for item in items:
            archive.writestr(f"pictures/{item.name}", item.data)
        for number, start in enumerate(range(0, len(items), PER_SHEET), start=1):
            sheet = contact_sheet(room.session.name, items[start : start + PER_SHEET], start + 1)
            archive.writestr(f"contact-sheet-{number}.png", sheet)
        archive.writestr("index.html", page(room.session, items))
        if missing:
            archive.writestr("missing.txt", "\n".join(missing))
    return file.getvalue()


def _items(sessions: Sessions, gallery: Gallery, room: Room) -> tuple[list[Item], list[str]]:
    with sessions.lock:
        shown = [(p, room.guests[p.guest_id].nickname) for p in room.on_wall()[::-1]]
    owner = room.session.gallery_owner
    items, missing = [], []
    for number, (shown_picture, nickname) in enumerate(shown, start=1):
        picture = gallery.get(owner, shown_picture.id)
        name = f"{number:03d}-{_slug(nickname)}-{_slug(shown_picture.recipe.prompt)}".strip("-")
        try:
            if picture is None:
                raise FileNotFoundError
            named = f"{name}.{SUFFIXES[picture.mime_type]}"
            data = gallery.read(picture)
        except FileNotFoundError:
            missing.append(name)
            continue
        items.append(Item(named, shown_picture.recipe.prompt, nickname, data))
    return items, missing


def contact_sheet(title: str, items: list[Item], first: int) -> bytes:
    """A PNG of numbered pictures with captions; says so where letters had to be left out."""
    rows = -(-len(items) // COLUMNS)
    columns = min(COLUMNS, len(items))
    width = MARGIN + max(columns, 3) * (SIDE + MARGIN)
    height = 2 * MARGIN + 48 + rows * (SIDE + CAPTION + MARGIN)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    heading, large, small = Letters(36), Letters(18), Letters(15)
    heading.draw(draw, (MARGIN, MARGIN), title, INK, width - 2 * MARGIN)
    for index, item in enumerate(items):
        x = MARGIN + index % COLUMNS * (SIDE + MARGIN)
        y = 2 * MARGIN + 48 + index // COLUMNS * (SIDE + CAPTION + MARGIN)
        with Image.open(io.BytesIO(make_thumbnail(item.data))) as picture:
            picture.thumbnail((SIDE, SIDE))
            sheet.paste(picture, (x + (SIDE - picture.width) // 2, y + SIDE - picture.height))
        large.draw(draw, (x, y + SIDE + 10), f"{first + index}. {item.prompt}", INK, SIDE)
        small.draw(draw, (x, y + SIDE + 36), item.nickname, SOFT, SIDE)
    if heading.missing | large.missing | small.missing:
        small.draw(draw, (MARGIN, height - MARGIN + 2), LEFT_OUT, SOFT, width - 2 * MARGIN)
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=False)
    return file.getvalue()


def page(session: Session, items: list[Item]) -> str:
    """A page with embedded small versions of all pictures, and links to the originals."""
    figures = "\n".join(_figure(item) for item in items)
    day = datetime.fromtimestamp(session.created_at / 1000)
    name, theme = html.escape(session.name), html.escape(session.theme)
    people = len({item.nickname for item in items})
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}</title><style>{STYLE}</style><header><h1>{name}</h1><p>"
        f"{theme + ' · ' if theme else ''}{day:%d %B %Y} · {len(items)} pictures by {people} people"
        f"</p></header><main>{figures}</main></html>"
    )


def _figure(item: Item) -> str:
    small = base64.b64encode(make_thumbnail(item.data)).decode()
    prompt = html.escape(item.prompt)
    return (
        f'<figure><a href="pictures/{html.escape(item.name)}"><img loading="lazy" alt="{prompt}" '
        f'src="data:image/webp;base64,{small}"></a><figcaption><b>{prompt}</b>'
        f"<small>{html.escape(item.nickname)}</small></figcaption></figure>"
    )


def _slug(text: str) -> str:
    """Part of a file name that is valid on every system."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
