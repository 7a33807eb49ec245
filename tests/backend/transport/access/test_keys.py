"""The file of API keys, and the command that writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backend.__main__ import main
from backend.errors import ConfigError
from backend.transport.access.keys import ApiKey, digest, load_api_keys

SECRET = "0123456789abcdef"
OTHER = "fedcba9876543210"


class TestKeysFile:
    def read(self, folder: Path, content: Any) -> tuple[ApiKey, ...]:
        path = folder / "keys.json"
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, "utf-8")
        return load_api_keys(path)

    def test_a_good_one(self, tmp_path: Path) -> None:
        content = [{"name": "studio", "key": SECRET, "delegate": True}]
        assert self.read(tmp_path, content) == (ApiKey("studio", digest(SECRET), delegate=True),)

    def test_a_digest_opens_what_its_key_opens(self, tmp_path: Path) -> None:
        content = [{"name": "a", "sha256": digest(SECRET), "requests_per_minute": 5}]
        assert self.read(tmp_path, content) == (ApiKey("a", digest(SECRET), False, 5),)

    def test_two_keys_of_one_name_are_a_rotation(self, tmp_path: Path) -> None:
        content = [{"name": "a", "key": SECRET}, {"name": "a", "key": OTHER}]
        assert len(self.read(tmp_path, content)) == 2

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "{",
            "null",
            "7",
            "[]",
            "{}",
            '["key"]',
            [{"name": "a"}],
            [{"key": SECRET}],
            [{"name": "", "key": SECRET}],
            [{"name": 5, "key": SECRET}],
            [{"name": "a", "key": "short"}],
            [{"name": "a", "key": 1234567890123456}],
            [{"name": "a", "key": SECRET + " "}],
            [{"name": "a", "key": "schlüssel-schlüssel"}],
            [{"name": "a", "key": SECRET, "delegate": "false"}],
            [{"name": "a", "key": SECRET, "admin": True}],
            [{"name": "a", "key": SECRET}, {"name": "b", "key": SECRET}],
            [{"name": "a", "key": SECRET}, {"name": "b", "sha256": digest(SECRET)}],
            [{"name": "a", "key": SECRET, "sha256": digest(SECRET)}],
            [{"name": "a", "sha256": SECRET}],
            [{"name": "a", "sha256": digest(SECRET).upper()}],
            [{"name": "a", "key": SECRET, "requests_per_minute": -1}],
            [{"name": "a", "key": SECRET, "concurrent_requests": "5"}],
            [{"name": "a", "key": SECRET, "concurrent_requests": True}],
        ],
    )
    def test_a_bad_one_is_named_and_its_keys_are_not(self, tmp_path: Path, content: Any) -> None:
        with pytest.raises(ConfigError) as caught:
            self.read(tmp_path, content)
        text = str(caught.value)
        assert text.startswith(str(tmp_path / "keys.json"))
        assert "\n" not in text
        assert SECRET not in text

    def test_one_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"keys\.json"):
            load_api_keys(tmp_path / "keys.json")

    @pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
    def test_one_that_others_may_change_is_refused(self, tmp_path: Path, mode: int) -> None:
        path = tmp_path / "keys.json"
        path.write_text(json.dumps([{"name": "a", "key": SECRET}]), encoding="utf-8")
        path.chmod(mode)
        with pytest.raises(ConfigError, match="chmod 600"):
            load_api_keys(path)


class TestCommand:
    """`python -m backend keys …`"""

    @pytest.fixture
    def path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("TEXT2IMAGE_API_KEYS_FILE", str(tmp_path / "keys.json"))
        return tmp_path / "keys.json"

    def add(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
        assert main(["keys", "add", *arguments]) == 0
        return capsys.readouterr().out.strip()

    def test_a_key_is_told_once_and_kept_as_a_digest(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        first = self.add(capsys, "studio", "--delegate")
        second = self.add(capsys, "alice", "--requests-per-minute", "60")
        assert len(first) == len(second) == 43
        assert first not in path.read_text(encoding="utf-8")
        assert path.stat().st_mode & 0o777 == 0o600
        assert load_api_keys(path) == (
            ApiKey("studio", digest(first), delegate=True),
            ApiKey("alice", digest(second), requests_per_minute=60),
        )

    def test_keys_as_they_are_become_digests(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path.write_text(json.dumps([{"name": "old", "key": SECRET}]), encoding="utf-8")
        self.add(capsys, "new")
        assert SECRET not in path.read_text(encoding="utf-8")
        assert load_api_keys(path)[0] == ApiKey("old", digest(SECRET))

    def test_listing_shows_no_key(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        secret = self.add(capsys, "alice", "--concurrent-requests", "2")
        assert main(["keys", "list"]) == 0
        line = capsys.readouterr().out
        assert line.split() == [digest(secret)[:12], "alice", "2", "requests", "at", "once"]

    def test_revoking_by_name_or_digest(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        kept, gone = self.add(capsys, "alice"), self.add(capsys, "bob")
        self.add(capsys, "carol")
        assert main(["keys", "revoke", digest(gone)[:12]]) == 0
        assert main(["keys", "revoke", "carol"]) == 0
        assert main(["keys", "revoke", "nobody"]) == 1
        assert load_api_keys(path) == (ApiKey("alice", digest(kept)),)

    def test_no_file_is_one_clear_line(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("TEXT2IMAGE_API_KEYS_FILE", raising=False)
        assert main(["keys", "list"]) == 2
        assert capsys.readouterr().err.count("\n") == 1
