"""Settings: what is wrong in the environment is told in one line that names the variable."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from backend.config import Settings, load_settings
from backend.errors import ConfigError


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith("TEXT2IMAGE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def pem(tmp_path: Path) -> str:
    path = tmp_path / "some.pem"
    path.write_text("-", encoding="utf-8")
    return str(path)


def load(monkeypatch: pytest.MonkeyPatch, **values: str) -> Settings:
    for name, value in values.items():
        monkeypatch.setenv(f"TEXT2IMAGE_{name}", value)
    return load_settings()


def refused(monkeypatch: pytest.MonkeyPatch, **values: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(monkeypatch, **values)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_the_documented_defaults() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.http_port) == ("127.0.0.1", 50051, 8080)
    assert (settings.model, settings.device, settings.dtype) == ("auto", "auto", "auto")
    assert settings.max_pixels == 1024 * 1024
    assert settings.safety_checker is True
    assert settings.allow_pickle is False
    assert settings.data_dir == Path(".data")


def test_values_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch, PORT="1234", MODEL="/models/x", DEVICE="cuda:1", SAFETY_CHECKER="0",
        DRAIN_S="1.5",
    )  # fmt: skip
    assert (settings.port, settings.model, settings.device) == (1234, "/models/x", "cuda:1")
    assert settings.safety_checker is False
    assert settings.drain_s == 1.5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("PORT", ""),
        ("PORT", "50051.5"),
        ("HTTP_PORT", "99999"),
        ("MODEL", " "),
        ("MODEL", "/models/\udcff"),
        ("DEVICE", "gpu"),
        ("DEVICE", "cuda:one"),
        ("DTYPE", "fp16"),
        ("RUNTIME", "onnx"),
        ("EXACTNESS", "rough"),
        ("SAFETY_CHECKER", "maybe"),
        ("ALLOW_PICKLE", "2"),
        ("GPU_MEMORY_FRACTION", "0"),
        ("GPU_MEMORY_FRACTION", "1.1"),
        ("GPU_MEMORY_FRACTION", "nan"),
        ("MAX_QUEUE", "0"),
        ("MAX_STEPS", "1001"),
        ("MAX_PIXELS", "100"),
        ("MAX_IMAGES", "65"),
        ("RESULT_TTL_S", "-1"),
        ("RESULT_TTL_S", "inf"),
        ("DRAIN_S", "nan"),
        ("API_KEYS_FILE", "/nowhere/keys.json"),
        ("TLS_CERT", "/nowhere/cert.pem"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "loud"),
        ("DATA_DIR", "/etc/hostname"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    text = refused(monkeypatch, **{name: value})
    assert text.startswith(f"TEXT2IMAGE_{name}={value!r}: ")
    assert len(text) < 300


def test_all_wrong_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = refused(monkeypatch, PORT="x", DTYPE="y", MAX_QUEUE="z")
    assert all(f"TEXT2IMAGE_{name}=" in text for name in ("PORT", "DTYPE", "MAX_QUEUE"))


class TestUnknownNames:
    def test_a_mistyped_name_is_refused_with_the_right_one(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = refused(monkeypatch, PROT="1234", HOSTT="0.0.0.0")
        assert "TEXT2IMAGE_PROT: there is no such setting. Did you mean TEXT2IMAGE_PORT?" in text
        assert "Did you mean TEXT2IMAGE_HOST?" in text

    def test_one_like_nothing_is_refused_without_a_guess(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = refused(monkeypatch, WOMBAT="1")
        assert text == "TEXT2IMAGE_WOMBAT: there is no such setting."

    @pytest.mark.parametrize(
        "name",
        ["UI_HOST", "UI_MAX_JOBS", "OIDC_CLIENT_ID", "ADDRESS", "API_KEY", "DATABASE_URL",
         "TLS_CA", "TRAINING_CACHE"],
    )  # fmt: skip
    def test_those_of_the_studio_and_the_client_pass(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        load(monkeypatch, **{name: "anything"})

    def test_case_does_not_matter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("text2image_port", "1234")
        assert load_settings().port == 1234

    def test_in_code_a_mistyped_name_is_refused_too(self) -> None:
        with pytest.raises(ValidationError):
            Settings(prot=1)  # type: ignore[call-arg]


class TestTogether:
    def test_tls_needs_both_files(self, monkeypatch: pytest.MonkeyPatch, pem: str) -> None:
        text = refused(monkeypatch, TLS_CERT=pem)
        assert "TEXT2IMAGE_TLS_KEY" in text

    def test_client_certificates_need_tls(self, monkeypatch: pytest.MonkeyPatch, pem: str) -> None:
        text = refused(monkeypatch, TLS_CLIENT_CA=pem)
        assert "TEXT2IMAGE_TLS_CLIENT_CA needs" in text

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", ""])
    def test_beyond_loopback_without_tls_it_does_not_start(
        self, monkeypatch: pytest.MonkeyPatch, host: str
    ) -> None:
        text = refused(monkeypatch, HOST=host)
        assert text.startswith(f"TEXT2IMAGE_HOST={host!r} is reachable from outside without TLS")

    def test_unless_told_otherwise(self, monkeypatch: pytest.MonkeyPatch, pem: str) -> None:
        assert load(monkeypatch, HOST="0.0.0.0", ALLOW_INSECURE="1").host == "0.0.0.0"
        monkeypatch.delenv("TEXT2IMAGE_ALLOW_INSECURE")
        assert load(monkeypatch, TLS_CERT=pem, TLS_KEY=pem).host == "0.0.0.0"

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
    def test_loopback_needs_none(self, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        assert load(monkeypatch, HOST=host).is_loopback

    def test_one_port_for_two_servers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "TEXT2IMAGE_HTTP_PORT" in refused(monkeypatch, PORT="9000", HTTP_PORT="9000")
        assert load(monkeypatch, PORT="0", HTTP_PORT="0").http_port == 0


def test_limits_fit_the_models_multiple() -> None:
    limits = Settings(max_size=1000, max_pixels=100_000).limits(size_multiple=48)
    assert (limits.min_size, limits.max_size, limits.size_multiple) == (96, 960, 48)
    assert limits.max_pixels == 100_000


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1
