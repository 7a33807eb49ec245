"""Checks of the container files without building them; `make images-check` builds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from backend.config import PREFIX, Settings

ROOT = Path(__file__).parent.parent.parent
DOCKERFILES = ("Dockerfile.backend", "Dockerfile.ui")
PINNED = re.compile(r"[\w./-]+:\d[\w.-]*\d[\w.-]*(@sha256:[0-9a-f]{64})?")

compose: Any = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
services: dict[str, Any] = compose["services"]


def lines(name: str, instruction: str) -> list[str]:
    """The arguments of every such instruction, continuation lines joined."""
    text = (ROOT / name).read_text("utf-8").replace("\\\n", " ")
    return re.findall(rf"^{instruction} (.*)$", text, re.MULTILINE)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_has_nothing_to_say(name: str) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    if sys.platform == "win32" and not hadolint.exists():
        pytest.skip("hadolint has no wheel for Windows")
    result = subprocess.run([hadolint, ROOT / name], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images_are_pinned_unprivileged_and_watched(name: str) -> None:
    base = lines(name, "ARG")[0]
    assert PINNED.fullmatch(base.removeprefix("BASE="))
    assert lines(name, "FROM") == ["${BASE} AS build", "${BASE}"]
    assert lines(name, "USER") == ["10001"]
    assert len(lines(name, "HEALTHCHECK")) == 1
    assert lines(name, "VOLUME")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_is_there_and_reaches_the_build(name: str) -> None:
    allowed = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE)
    copied = [line.split()[:-1] for line in lines(name, "COPY") if "--from" not in line]
    for source in [source for sources in copied for source in sources]:
        assert (ROOT / source).exists(), source
        assert source in allowed, source


def test_the_studio_gets_nothing_of_the_backend() -> None:
    copied = " ".join(lines("Dockerfile.ui", "COPY"))
    assert "backend" not in copied
    assert "models" not in copied
    assert "-r locks/ui.txt" in (ROOT / "Dockerfile.ui").read_text("utf-8")


def test_every_backend_setting_in_the_files_exists() -> None:
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    in_image = set(re.findall(rf"({PREFIX}\w+)=", (ROOT / "Dockerfile.backend").read_text("utf-8")))
    in_compose = set(services["backend-cpu"]["environment"])
    assert (in_image | in_compose) - known == set()


def test_ports_are_on_loopback_alone() -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("name", services)
def test_every_service_is_confined(name: str) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert "/tmp" in service["tmpfs"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"\$\{[A-Z]+_MEMORY_LIMIT:-\d+g\}", service["mem_limit"])
    assert 0 < service["pids_limit"] <= 2048
    assert service["volumes"]


def test_only_the_database_has_capabilities_to_become_its_user() -> None:
    assert {name for name, service in services.items() if "cap_add" in service} == {"postgres"}
    assert "SYS_ADMIN" not in services["postgres"]["cap_add"]


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_the_studio_waits_for_its_backend(device: str) -> None:
    waits = services[f"ui-{device}"]["depends_on"]
    assert waits == {f"backend-{device}": {"condition": "service_healthy"}}
    assert services[f"backend-{device}"]["profiles"] == [device]
    assert services[f"ui-{device}"]["profiles"] == [device]
    assert services[f"backend-{device}"]["networks"]["default"]["aliases"] == ["backend"]


def test_only_the_gpu_profile_asks_for_a_gpu() -> None:
    [device] = services["backend-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert "deploy" not in services["backend-cpu"]


def test_plain_up_means_the_cpu_profile() -> None:
    assert "COMPOSE_PROFILES=cpu" in (ROOT / ".env").read_text("utf-8").splitlines()


def test_the_database_is_optional_pinned_and_has_no_password_of_ours() -> None:
    postgres = services["postgres"]
    assert postgres["profiles"] == ["postgres"]
    assert PINNED.fullmatch(postgres["image"])
    assert postgres["environment"]["POSTGRES_PASSWORD"] == "${POSTGRES_PASSWORD:-}"


def test_draining_ends_before_docker_kills() -> None:
    grace = services["backend-cpu"]["stop_grace_period"]
    drain = Settings.model_fields["drain_s"].default
    assert int(grace.removesuffix("s")) > drain
