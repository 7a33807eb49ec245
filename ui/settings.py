"""The studio's settings, read from environment variables; a wrong one stops the start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import URL

PREFIX = "TEXT2IMAGE_"
MIN_PASSWORD = 8
OIDC_NAMES = ("METADATA_URL", "CLIENT_ID", "CLIENT_SECRET", "REDIRECT_URI")


class SettingsError(ValueError):
    """An invalid setting; the message names the variable."""


@dataclass(frozen=True, slots=True)
class Oidc:
    """An OpenID Connect provider, in the form that `st.login` needs."""

    metadata_url: str
    client_id: str
    client_secret: str
    redirect_uri: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Every field is set by the variable TEXT2IMAGE_<NAME>."""

    address: str
    data_dir: Path
    database_url: str
    host: str
    is_open: bool  # to visitors from beyond this machine, without the host's password
    host_password: str
    allowed_hosts: tuple[str, ...]
    max_jobs: int
    quota_bytes: int
    oidc: Oidc | None


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment, or from `environ` instead.

    Raises:
        SettingsError: with one line that names the variable and says what it must be.
    """
    env = os.environ if environ is None else environ
    data_dir = Path(env.get(f"{PREFIX}DATA_DIR") or ".data").absolute()
    in_folder = URL.create("sqlite", database=str(data_dir / "gallery.db"))
    default_database = in_folder.render_as_string()
    return Settings(
        address=env.get(f"{PREFIX}ADDRESS") or "127.0.0.1:50051",
        data_dir=data_dir,
        database_url=database_url(env.get(f"{PREFIX}DATABASE_URL") or default_database),
        host=env.get(f"{PREFIX}UI_HOST") or "127.0.0.1",
        is_open=_is_on(env, "UI_OPEN"),
        host_password=_password(env),
        allowed_hosts=_hosts(env),
        max_jobs=_number(env, "UI_MAX_JOBS", default=4, low=1, high=64),
        quota_bytes=_number(env, "UI_QUOTA_MB", default=4096, low=1, high=10**9) * 2**20,
        oidc=_oidc(env),
    )


def database_url(url: str) -> str:
    """Use psycopg 3 for PostgreSQL, however the URL spells its name."""
    for spelling in ("postgres://", "postgresql://"):
        if url.startswith(spelling):
            return "postgresql+psycopg://" + url.removeprefix(spelling)
    return url


def _number(env: Mapping[str, str], name: str, *, default: int, low: int, high: int) -> int:
    text = env.get(PREFIX + name) or str(default)
    if not text.isdecimal() or not low <= int(text) <= high:
        raise SettingsError(f"{PREFIX}{name}={text!r}: must be a whole number, {low} to {high}")
    return int(text)


def _is_on(env: Mapping[str, str], name: str) -> bool:
    text = env.get(PREFIX + name) or "0"
    if text not in ("0", "1"):
        raise SettingsError(f"{PREFIX}{name}={text!r}: must be 0 or 1")
    return text == "1"


def _password(env: Mapping[str, str]) -> str:
    text = env.get(f"{PREFIX}UI_PASSWORD", "")
    if text and len(text) < MIN_PASSWORD:
        raise SettingsError(f"{PREFIX}UI_PASSWORD: must have {MIN_PASSWORD} characters or more")
    return text


def _hosts(env: Mapping[str, str]) -> tuple[str, ...]:
    """Names that the studio is reached by: those given, its own and that of signing in."""
    sign_in = urlsplit(env.get(f"{PREFIX}OIDC_REDIRECT_URI", "")).hostname
    own = [name for name in (env.get(f"{PREFIX}UI_HOST"), sign_in) if name]
    return (*env.get(f"{PREFIX}UI_ALLOWED_HOSTS", "").split(), *own)


def _oidc(env: Mapping[str, str]) -> Oidc | None:
    found = {name: env.get(f"{PREFIX}OIDC_{name}", "") for name in OIDC_NAMES}
    if not any(found.values()):
        return None
    missing = [f"{PREFIX}OIDC_{name}" for name, value in found.items() if not value]
    if missing:
        raise SettingsError(f"signing in needs {', '.join(missing)} as well")
    return Oidc(**{name.lower(): value for name, value in found.items()})
