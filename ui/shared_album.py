"""The page behind an album's link: its pictures, to look at and to download, for a while.

Whoever has the link sees it, without a login: so it names nobody and changes nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeSerializer
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from ui.components import html
from ui.identity import Signer
from ui.storage.albums import MAX_PICTURES, Album, Albums
from ui.storage.files import MIME_TYPES, PictureFiles
from ui.storage.gallery import Gallery, Picture, Search
from ui.styled_page import LINK
from ui.zipping import file_name, zip_pictures

HEADERS = {"Cache-Control": "no-store", "X-Robots-Tag": "noindex"}
KEPT = "private, max-age=3600"  # a picture may be seen for so long after the link's end
GONE = "This link has expired, or its owner has ended it."


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where albums are found."""

    albums: Albums
    gallery: Gallery
    files: PictureFiles


class Links:
    """Makes and reads the signed part of an album's address."""

    def __init__(self, signer: Signer) -> None:
        self._serializer = URLSafeSerializer(signer.secret_for("album links"), salt="album")

    def make(self, album_id: str, share_key: str, until: int) -> str:
        """What stands behind `?k=`, good until then, in seconds since 1970."""
        return str(self._serializer.dumps([album_id, share_key, until]))

    def read(self, key: str) -> tuple[str, str] | None:
        """The album and its share key, or None: not ours, or too old."""
        try:
            album_id, share_key, until = self._serializer.loads(key)
        except (BadData, ValueError, TypeError):
            return None
        return (album_id, share_key) if time.time() < until else None


def album_routes(shelf: Callable[[], Shelf], signer: Signer, base: str = "") -> list[Route]:
    """The page, its pictures and the zip file, below `base`."""
    links = Links(signer)

    def answering(answer: Callable[[Request, Shelf, Album], Response]) -> Callable[..., Response]:
        def route(request: Request) -> Response:
            named = links.read(request.query_params.get("k", ""))
            found = shelf()
            album = found.albums.shared(*named) if named else None
            return answer(request, found, album) if album else _gone(request)

        return route

    return [
        Route(f"{base}/album", answering(_page)),
        Route(f"{base}/album/pictures.zip", answering(_zip)),
        Route(f"{base}/album/{{id}}/{{kind}}", answering(_picture)),
    ]


def _page(request: Request, shelf: Shelf, album: Album) -> Response:
    key = request.query_params["k"]
    pictures = _pictures(shelf, album)
    cards = "".join(_card(picture, key) for picture in pictures)
    count = f"{len(pictures)} picture{'' if len(pictures) == 1 else 's'}"
    body = (
        f'<header class="ink-shared"><h1>{html.escape(album.name)}</h1><p>{count}'
        + (f' · <a href="./album/pictures.zip?k={key}">Download all</a>' if pictures else "")
        + f'</p></header><main class="ink-shelf">{cards}</main>'
    )
    return HTMLResponse(_document(album.name, body), headers=HEADERS)


def _card(picture: Picture, key: str) -> str:
    alt = html.escape(picture.prompt)
    return (
        f'<figure><a href="./album/{picture.id}/full?k={key}"><img src="./album/{picture.id}/thumb'
        f'?k={key}" alt="{alt}" width="{picture.width}" height="{picture.height}" loading="lazy">'
        f"</a><figcaption>{alt}</figcaption></figure>"
    )


def _picture(request: Request, shelf: Shelf, album: Album) -> Response:
    picture_id, kind = request.path_params["id"], request.path_params["kind"]
    picture = next((p for p in _pictures(shelf, album) if p.id == picture_id), None)
    if picture is None:
        return _gone(request)
    wanted = shelf.files.thumbnail if kind == "thumb" else shelf.files.original
    path = wanted(picture.id)
    if path is None:
        return _gone(request)
    return FileResponse(
        path,
        media_type=MIME_TYPES.get("".join(path.suffixes), "image/webp"),
        filename=file_name(picture),
        content_disposition_type="inline",
        headers=HEADERS | {"Cache-Control": KEPT},
    )


def _zip(_request: Request, shelf: Shelf, album: Album) -> Response:
    name = re.sub(r"\W+", "-", album.name.lower(), flags=re.ASCII).strip("-") or "album"
    headers = HEADERS | {"Content-Disposition": f'attachment; filename="{name}.zip"'}
    data = zip_pictures(shelf.gallery, _pictures(shelf, album))
    return Response(data, media_type="application/zip", headers=headers)


def _pictures(shelf: Shelf, album: Album) -> list[Picture]:
    return shelf.gallery.page(album.owner, Search(album=album.id), 1, MAX_PICTURES)


def _gone(request: Request) -> Response:
    if request.url.path.endswith("/album"):
        body = html.empty("Nothing to see here", GONE)
        return HTMLResponse(_document("Album", body), 404, headers=HEADERS)
    return PlainTextResponse(GONE, 404, headers=HEADERS)


def _document(title: str, body: str) -> str:
    """A page by itself, in the studio's dress."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title>{LINK}</head>"
        f'<body class="ink-alone">{body}</body></html>'
    )
