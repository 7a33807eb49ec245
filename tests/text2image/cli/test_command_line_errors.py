"""The command line where something goes wrong: exit codes, and nothing is lost."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import grpc
import pytest
from PIL import Image

from client import main
from tests.support.fake_service import Failure, FakeService, bad_request, error_info, retry_info
from text2image.cli import files, generate

pytestmark = pytest.mark.usefixtures("found")


def names() -> list[str]:
    return sorted(os.listdir())


@pytest.mark.parametrize(
    ("code", "reason", "exit_code"),
    [
        ("INVALID_ARGUMENT", "", 2),
        ("NOT_FOUND", "", 2),
        ("ALREADY_EXISTS", "", 2),
        ("UNAVAILABLE", "DRAINING", 3),
        ("RESOURCE_EXHAUSTED", "QUEUE_FULL", 4),
        ("RESOURCE_EXHAUSTED", "OUT_OF_MEMORY", 4),
        ("DEADLINE_EXCEEDED", "", 6),
        ("UNAUTHENTICATED", "", 1),
        ("PERMISSION_DENIED", "", 1),
        ("FAILED_PRECONDITION", "MODEL_FAILED", 1),
        ("UNIMPLEMENTED", "", 1),
        ("INTERNAL", "", 1),
    ],
)
def test_every_error_has_its_exit_code_and_leaves_no_file(
    service: FakeService,
    capsys: pytest.CaptureFixture[str],
    code: str,
    reason: str,
    exit_code: int,
) -> None:
    service.failure = Failure(grpc.StatusCode[code], "no, because", (error_info(reason),))
    service.fail_at_step = 1
    assert main(["generate", "x", "-o", "x.png", "--preview"]) == exit_code
    assert names() == []
    printed = capsys.readouterr()
    assert "no, because" in printed.err
    assert printed.out == ""


def test_every_bad_field_is_told(service: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    details = (bad_request(width="Must be a multiple of 8.", prompt="Say something."),)
    service.failure = Failure(grpc.StatusCode.INVALID_ARGUMENT, "two", details)
    assert main(["generate", "", "--json"]) == 2
    printed = capsys.readouterr()
    assert "width: Must be a multiple of 8." in printed.err
    assert "prompt: Say something." in printed.err
    violations = json.loads(printed.out)["error"]["violations"]
    assert [found["field"] for found in violations] == ["width", "prompt"]


def test_a_full_queue_says_when_to_come_back(
    service: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    details = (error_info("QUEUE_FULL"), retry_info(12))
    service.failure = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "The queue is full.", details)
    assert main(["generate", "x", "--json"]) == 4
    printed = capsys.readouterr()
    assert "Try again in 12 s." in printed.err
    assert json.loads(printed.out)["error"]["retry_after_s"] == 12


@pytest.mark.parametrize("command", [["status"], ["generate", "x"], ["status", "--wait", "0.1"]])
def test_nobody_there(
    service: FakeService, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    code = main([*command, "--address", "127.0.0.1:1", "--json"])
    assert code == (6 if "--wait" in command else 3)
    printed = capsys.readouterr()
    assert "127.0.0.1:1" in printed.err
    assert "error" in json.loads(printed.out)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["-o", "nowhere/x.png"], "nowhere"),
        (["-o", "x.gif"], "name it .png, .jpg or .webp"),
        (["-o", "x.png", "--format", "jpeg"], "don't go together"),
        (["-o", "taken.png"], "taken.png exists"),
        (["-o", "x.png", "--preview-file", "taken.png"], "taken.png exists"),
        (["-o", "new.png", "--num-images", "2"], "new-2.png exists"),
        (["-o", "folder.png"], "is a folder"),
        (["-o", "folder.png", "--overwrite"], "is a folder"),
        (["-o", "x" * 300 + ".png"], "File name too long"),
        (["-o", "x.jpg", "--preview-file", "x.jpg"], "at once"),
        (["--address", "http://here"], "HOST:PORT"),
        (["--tls-ca", "missing.pem"], "can't read missing.pem"),
        (["--tls-ca", "taken.png"], "not a PEM file"),
        (["--tls-cert", "taken.png"], "needs its key"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_generated(
    service: FakeService,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    Path("taken.png").touch()
    Path("new-2.png").touch()
    Path("folder.png").mkdir()
    assert main(["generate", "x", *arguments]) == 2
    assert complaint in capsys.readouterr().err
    assert service.requests == []
    assert names() == ["folder.png", "new-2.png", "taken.png"]


def test_a_key_that_no_header_carries_is_refused(
    service: FakeService, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXT2IMAGE_API_KEY", "geheim-ü")
    assert main(["status"]) == 2
    assert "geheim" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate"],
        ["generate", "x", "--steps", "many"],
        ["generate", "x", "--num-images", "0"],
        ["generate", "x", "--timeout", "nan"],
        ["generate", "x", "--lora", "pixel:strong"],
        ["generate", "x", "--step", "3"],
        ["paint"],
    ],
)
def test_wrong_usage_exits_with_2(service: FakeService, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert service.requests == []


def test_a_withheld_picture_has_no_file_and_its_own_exit_code(
    service: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    service.nsfw = [0]
    assert main(["generate", "x", "-o", "x.png", "--num-images", "2", "--save-metadata"]) == 5
    assert names() == ["x-2.json", "x-2.png"]
    printed = capsys.readouterr()
    assert "safety checker withheld picture 1" in printed.err
    assert printed.out == "x-2.png\n"


def test_a_picture_that_finds_its_disk_full_is_kept_elsewhere(
    service: FakeService,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def full(file: Path, data: bytes, overwrite: bool) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(generate, "write_file", full)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["generate", "x", "-o", "x.png"]) == 1
    printed = capsys.readouterr()
    kept = Path(printed.out.strip())
    assert kept.name == "x.png"
    assert f"can't write x.png: No space left on device. It is kept in {kept}" in printed.err
    Image.open(kept).load()


def test_a_picture_without_any_place_says_how_to_get_it(
    service: FakeService, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(generate, "write_file", full)
    monkeypatch.setattr(generate, "rescue_file", full)
    assert main(["generate", "x", "-o", "x.png"]) == 1
    assert f"--request-id {service.requests[0].request_id}" in capsys.readouterr().err


@pytest.mark.parametrize("hard_links", [True, False])
def test_a_file_that_appears_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hard_links: bool
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links on this file system")

    if not hard_links:
        monkeypatch.setattr(os, "link", no_links)
    taken = tmp_path / "taken.png"
    taken.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        files.write_file(taken, b"ours", overwrite=False)
    assert taken.read_bytes() == b"theirs"
    files.write_file(tmp_path / "free.png", b"ours", overwrite=False)
    files.write_file(taken, b"ours", overwrite=True)
    assert taken.read_bytes() == b"ours"
    assert sorted(os.listdir(tmp_path)) == ["free.png", "taken.png"]


def test_pictures_that_came_before_an_error_are_kept_and_told(
    service: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    service.cut_short = True
    assert main(["generate", "x", "-o", "x.png"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "x.png\n"
    assert "before it was done" in printed.err
    assert names() == ["x.png"]
