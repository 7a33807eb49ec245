"""Identifies browsers by a random id in a signed cookie, and signs picture URLs for them.

Independent of Streamlit, so that the HTTP routes can use it too.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
from pathlib import Path

from ui.storage.whole import sync_folder, write_draft, write_whole

LOG = logging.getLogger("inkling")

COOKIE = "inkling_id"
COOKIE_MAX_AGE_S = 400 * 24 * 3600  # browsers keep cookies no longer
ID_BYTES = 12
KEY_BYTES = 32
SIGNATURE_HEX = 32


class Signer:
    """Signs browser ids and picture URLs with this installation's secret."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def new_cookie(self) -> str:
        """A cookie value: a new id and its signature."""
        browser = secrets.token_hex(ID_BYTES)
        return f"{browser}.{self._sign('browser', browser)}"

    def browser_of(self, cookie: str | None) -> str | None:
        """The id in a cookie if its signature is valid, else None."""
        browser, _, signature = (cookie or "").partition(".")
        if not browser or not self._matches(signature, "browser", browser):
            return None
        return browser

    def picture_key(self, browser: str, picture_id: str) -> str:
        """A key that lets only `browser` fetch this picture."""
        return self._sign("picture", browser, picture_id)

    def may_see(self, browser: str | None, picture_id: str, key: str) -> bool:
        """Whether `key` was made for this browser and this picture."""
        return browser is not None and self._matches(key, "picture", browser, picture_id)

    def secret_for(self, purpose: str) -> str:
        """A derived secret for another purpose, for example the login cookie."""
        return self._sign("purpose", purpose)

    def _sign(self, *parts: str) -> str:
        message = "\n".join(parts).encode()
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()[:SIGNATURE_HEX]

    def _matches(self, signature: str, *parts: str) -> bool:
        return hmac.compare_digest(signature.encode(), self._sign(*parts).encode())


def load_signer(data_dir: Path) -> Signer:
    """The installation's signer; its secret is created at the first start.

    Raises:
        OSError: the folder is not writable, or the secret is unreadable or damaged.
    """
    path = data_dir / "secret"
    data_dir.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _write_once(path, secrets.token_bytes(KEY_BYTES))
    elif not path.stat().st_size:
        LOG.warning("%s was empty: made a new one; browsers get new ids", path)
        write_whole(path, secrets.token_bytes(KEY_BYTES), mode=0o600)
    key = path.read_bytes()
    if len(key) < KEY_BYTES:
        raise OSError(
            f"{path} holds {len(key)} bytes instead of {KEY_BYTES}: bring it back from a backup, "
            "or delete it, whereupon visitors who are not signed in lose their galleries"
        )
    return Signer(key)


def _write_once(path: Path, content: bytes) -> None:
    """Write the file, readable by its owner only, unless another process already did."""
    draft = write_draft(path, content, mode=0o600)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    except OSError:  # no hard links on this file system: a small race remains
        if not path.exists():
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)
