"""multipart/form-data with pictures, as OpenAI's clients send it: bounded, in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from backend.source_picture import MAX_PICTURE_BYTES
from backend.transport.http.body import MAX_BODY_BYTES
from backend.transport.http.problem import malformed

MEDIA_TYPE = "multipart/form-data"
MAX_FORM_BYTES = MAX_PICTURE_BYTES + MAX_BODY_BYTES
MAX_FILES = 17  # OpenAI takes 16 images and a mask
MAX_FIELDS = 64
MAX_FIELD_BYTES = 64 * 1024
# Fields whose text is the value; that of others is JSON: 3, 7.5, true.
TEXTS = (
    "background",
    "model",
    "negative_prompt",
    "output_format",
    "prompt",
    "response_format",
    "scheduler",
    "size",
)

FORMS = ThreadPoolExecutor(1, thread_name_prefix="forms")


@dataclass(slots=True)
class Form:
    """Fields by name, and files in the order in which they came; `image[]` is `image`."""

    fields: dict[str, Any] = field(default_factory=dict)
    files: list[tuple[str, bytes]] = field(default_factory=list)

    def named(self, name: str) -> list[bytes]:
        """The files of that name."""
        return [data for found, data in self.files if found == name]


class _InMemory(MultiPartParser):
    spool_max_size = MAX_FORM_BYTES


async def parse(headers: Headers, body: bytes) -> Form:
    """Read a form off the event loop, one at a time.

    Raises:
        Problem: INVALID_ARGUMENT; it is no form, or has too many parts or too long ones.
    """
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(FORMS, lambda: asyncio.run(_parse(headers, body)))


async def _parse(headers: Headers, body: bytes) -> Form:
    async def stream() -> AsyncGenerator[bytes]:
        yield body

    parser = _InMemory(
        headers,
        stream(),
        max_files=MAX_FILES,
        max_fields=MAX_FIELDS,
        max_part_size=MAX_FIELD_BYTES,
    )
    try:
        parsed = await parser.parse()
    except MultiPartException as error:
        raise malformed(error.message) from None
    form = Form()
    for name, value in parsed.multi_items():
        name = name.removesuffix("[]")
        if isinstance(value, UploadFile):
            data = await value.read()
            if data or value.filename:  # browsers send a field without a file so
                form.files.append((name, data))
        else:
            form.fields[name] = value if name in TEXTS else _value(value)
    await parsed.close()
    return form


def _value(text: str) -> Any:
    """What a field's text says; text that is no JSON stays as it is, for its check to refuse."""
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text
