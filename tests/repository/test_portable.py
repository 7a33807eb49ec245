"""What would work on one system alone: text without an encoding, where ruff can't see it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SOURCES = (
    "backend",
    "bench",
    "client.py",
    "scripts",
    "tests",
    "text2image",
    "training",
    "ui",
    "webserver",
)
SUSPECTS = re.compile(r"\.(read_text\(\)|write_text\(|open\(\s*[\"'][rwaxt+]+[\"'])")


def python_files() -> Iterator[Path]:
    for name in SOURCES:
        path = ROOT / name
        yield from [path] if path.is_file() else path.rglob("*.py")


def without_encoding(source: str) -> list[int]:
    """Lines of calls that read or write text in whatever encoding the machine has."""
    if not SUSPECTS.search(source):  # parsing takes long
        return []
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [call.lineno for call in calls if _lacks_encoding(call)]


def _lacks_encoding(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute):
        return False
    if "encoding" in {keyword.arg for keyword in call.keywords}:
        return False
    match call.func.attr, call.args:
        case ("read_text", []) | ("write_text", [_]):
            return True
        case "open", [ast.Constant(value=str(mode)), *_]:
            return set(mode) <= set("rwax+t")
    return False


def test_no_text_is_in_the_machines_encoding() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in python_files()
        for line in without_encoding(path.read_text("utf-8"))
    ]
    assert found == []


def test_what_lacks_one_is_found() -> None:
    for bad in ("(a / b).read_text()", "a.write_text(x)", "a.open('w')", "a().open('r+')"):
        assert without_encoding(bad) == [1], bad
    for good in (
        "a.read_text('utf-8')",
        "a.read_text(encoding='utf-8')",
        "a.write_text(x, 'utf-8')",
        "a.open('rb')",
        "visitor.open('/gallery')",
    ):
        assert without_encoding(good) == [], good
