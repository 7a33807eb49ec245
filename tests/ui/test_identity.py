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
