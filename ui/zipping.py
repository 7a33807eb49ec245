"""Pictures under names that say what is in them, alone and in one zip file."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable

from ui.storage.gallery import Gallery, Picture

SUFFIX = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
NAME_CHARACTERS = 40


def file_name(picture: Picture) -> str:
    """A name that says what is in it, on every file system."""
    words = re.sub(r"[^\w]+", "-", picture.prompt.lower(), flags=re.ASCII).strip("-")
    stem = words[:NAME_CHARACTERS].rstrip("-") or "picture"
    return f"{stem}-{picture.seed}.{SUFFIX[picture.mime_type]}"


def zip_pictures(gallery: Gallery, pictures: Iterable[Picture]) -> bytes:
    """A zip of the originals; pictures are packed already, so they are only stored.

    What somebody removed from the disk is named in `missing.txt`.
    """
    file = io.BytesIO()
    used: set[str] = set()
    missing = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for picture in pictures:
            name = file_name(picture)
            if name in used:
                name = f"{picture.id[:8]}-{name}"
            used.add(name)
            try:
                archive.writestr(name, gallery.read(picture))
            except FileNotFoundError:
                missing.append(name)
        if missing:
            archive.writestr("missing.txt", "\n".join(missing))
    return file.getvalue()
