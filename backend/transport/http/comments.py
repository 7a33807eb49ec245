"""Reads the comments of the .proto file for the OpenAPI document; generated modules lack them."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import proto

CONTRACT = Path(proto.__path__[0]) / "text2image.proto"

_BLOCK = re.compile(r"(message|enum|service|oneof) (\w+) \{(\})?")
_MEMBER = re.compile(r"rpc (\w+)\(|[\w. ]+? (\w+) = \d+;")


@functools.cache
def comments() -> dict[str, str]:
    """Comments of messages, fields, enums and rpcs by full name, such as text2image.Lora.name."""
    return read(CONTRACT.read_text("utf-8"))


def read(text: str) -> dict[str, str]:
    """Comments of a .proto file formatted by `buf format` (one declaration per line)."""
    found: dict[str, str] = {}
    scope = re.findall(r"^package ([\w.]+);$", text, re.MULTILINE)
    pending: list[str] = []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("//"):
            pending.append(line.removeprefix("//").strip())
            continue
        if block := _BLOCK.match(line):
            kind, name, closed = block.groups()
            found[".".join([*filter(None, scope), name])] = " ".join(pending)
            if not closed:
                scope.append("" if kind == "oneof" else name)
        elif member := _MEMBER.match(line):
            name = member[1] or member[2]
            found[".".join([*filter(None, scope), name])] = " ".join(pending)
        elif line == "}":
            scope.pop()
        pending = []
    return {name: comment for name, comment in found.items() if comment}
