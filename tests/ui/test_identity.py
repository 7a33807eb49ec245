import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ui.identity import Signer, load_signer


@pytest.fixture
def signer() -> Signer:
    return Signer(b"secret")


def test_a_cookie_of_ours_names_its_browser(signer: Signer) -> None:
    cookie = signer.new_cookie()
    assert signer.browser_of(cookie) == cookie.split(".")[0]


@pytest.mark.parametrize("cookie", [None, "", ".", "abc", "abc.", "abc.def", "ä.ö", ".abc"])
def test_a_forged_cookie_names_nobody(signer: Signer, cookie: str | None) -> None:
    assert signer.browser_of(cookie) is None


def test_another_installation_s_cookie_names_nobody(signer: Signer) -> None:
    assert signer.browser_of(Signer(b"other").new_cookie()) is None


def test_a_picture_s_key_works_for_one_browser_and_one_picture(signer: Signer) -> None:
    key = signer.picture_key("me", "p1")
    assert signer.may_see("me", "p1", key)
    assert not signer.may_see("you", "p1", key)
    assert not signer.may_see("me", "p2", key)
    assert not signer.may_see(None, "p1", key)
    assert not signer.may_see("me", "p1", "")


def test_the_secret_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    cookie = load_signer(tmp_path / "new").new_cookie()
    secret = tmp_path / "new" / "secret"
    assert load_signer(tmp_path / "new").browser_of(cookie) is not None
    assert secret.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in secret.parent.iterdir()] == ["secret"]


def test_an_empty_secret_is_never_a_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    forged = Signer(b"").new_cookie()
    (tmp_path / "secret").touch()
    assert load_signer(tmp_path).browser_of(forged) is None
    assert "was empty" in caplog.text
    assert len((tmp_path / "secret").read_bytes()) == 32
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("length", [1, 16, 31])
def test_a_damaged_secret_stops_the_start_with_what_to_do(tmp_path: Path, length: int) -> None:
    (tmp_path / "secret").write_bytes(b"x" * length)
    with pytest.raises(OSError, match=f"holds {length} bytes.*backup"):
        load_signer(tmp_path)


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.EMLINK])
def test_a_file_system_without_hard_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def no_links(*_paths: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", no_links)
    cookie = load_signer(tmp_path).new_cookie()
    assert load_signer(tmp_path).browser_of(cookie) is not None
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_studios_that_start_together_agree_on_the_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        signers = list(pool.map(lambda _n: load_signer(tmp_path), range(8)))
    cookie = signers[0].new_cookie()
    assert all(signer.browser_of(cookie) for signer in signers)


def test_a_full_disk_leaves_no_secret_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        load_signer(tmp_path)
    assert list(tmp_path.iterdir()) == []
