"""Makes the RayBackend, where the extra `cluster` is installed."""

from __future__ import annotations

from importlib.util import find_spec

from backend.cluster.backend import RayBackend
from backend.config import Settings
from backend.errors import ConfigError
from backend.startup import loader, upscalers


def ray_backend(settings: Settings, version: str) -> RayBackend:
    """A backend whose replicas run on Ray.

    Raises:
        ConfigError: ray is not installed.
    """
    if find_spec("ray") is None:
        raise ConfigError(
            "TEXT2IMAGE_BACKEND=ray needs Ray: python scripts/install.py backend cluster."
        )
    from backend.cluster.launcher import RayLauncher

    launcher = RayLauncher(settings, version, loader)
    return RayBackend(settings, launcher, version, upscalers(settings))
