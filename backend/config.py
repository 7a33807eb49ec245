"""The backend's settings, read from environment variables; a wrong one stops the start."""

from __future__ import annotations

import difflib
import importlib.util
import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from backend.errors import ConfigError
from backend.params import Limits

PREFIX = "TEXT2IMAGE_"
# Variables of the studio, the client and the training, which the backend ignores.
NEIGHBOURS = ("UI_", "OIDC_", "TRAINING_", "ADDRESS", "API_KEY", "DATABASE_URL", "TLS_CA")
WEIGHTS = (".safetensors", ".ckpt", ".pt", ".bin")
EMBEDDED_MODELS = Path(__file__).parent.parent / "models"

Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseSettings):
    """Every field is set by the variable TEXT2IMAGE_<NAME>; see docs/configuration.md."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: Port = 50051
    http_port: Port = 8080
    http_cors_origins: str = ""
    http_allowed_hosts: str = ""
    http_trusted_proxies: str = ""
    openai_aliases: str = (
        "dall-e-2 dall-e-3 gpt-image-1 gpt-image-1-mini gpt-image-1.5 "
        "dall-e-* gpt-image-* chatgpt-image-*"
    )

    model: str = "auto"
    revision: str | None = None
    vae: str | None = None
    models: Path | None = None
    model_memory_mb: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")] = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    runtime: Literal["auto", "torch", "openvino"] = "auto"
    exactness: Literal["auto", "certified", "tolerant"] = "auto"
    safety_checker: bool = True
    allow_pickle: bool = False
    lora_dir: Path | None = None
    embeddings_dir: Path | None = None
    upscaler_dir: Path | None = None
    adapter_memory_mb: Annotated[int, Field(ge=0, le=1_000_000)] = 2048
    gpu_memory_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    num_threads: Annotated[int, Field(ge=0)] = 0

    backend: Literal["local", "ray"] = "local"
    replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    max_replicas: Annotated[int, Field(ge=0, le=1000)] = 0
    scale_up_s: Annotated[FiniteFloat, Field(gt=0)] = 10.0
    scale_down_s: Annotated[FiniteFloat, Field(gt=0)] = 300.0
    replica_timeout_s: Annotated[FiniteFloat, Field(gt=0)] = 20.0

    max_connections: Annotated[int, Field(ge=16, le=100_000)] = 1000
    max_queue: Annotated[int, Field(ge=1, le=100_000)] = 64
    max_queue_per_client: Annotated[int, Field(ge=0, le=100_000)] = 0
    max_batch_rows: Annotated[int, Field(ge=0, le=1024)] = 0
    max_steps: Annotated[int, Field(ge=1, le=1000)] = 150
    max_pixels: Annotated[int, Field(ge=64 * 64)] = 1024 * 1024
    max_size: Annotated[int, Field(ge=64)] = 2048
    max_images: Annotated[int, Field(ge=1, le=64)] = 10
    result_ttl_s: Annotated[FiniteFloat, Field(ge=0)] = 300.0
    idle_unload_s: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    stuck_exit_s: Annotated[FiniteFloat, Field(ge=0)] = 120.0
    drain_s: Annotated[FiniteFloat, Field(ge=0)] = 30.0

    api_keys_file: Path | None = None
    requests_per_minute: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    concurrent_requests: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    allow_insecure: bool = False

    data_dir: Path = Path(".data")
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("model")
    @classmethod
    def _named(cls, model: str) -> str:
        if not model.strip() or not model.isprintable():
            raise ValueError("must be auto, a Hugging Face id, a folder or a .safetensors file")
        return model

    @field_validator("vae")
    @classmethod
    def _found(cls, vae: str | None) -> str | None:
        if vae is not None and not Path(vae).expanduser().exists() and not is_hub_id(vae):
            raise ValueError("no such file, folder or Hugging Face id")
        return vae

    @field_validator("models", "api_keys_file", "tls_cert", "tls_key", "tls_client_ca")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError(f"no such file: {path}")
        return path

    @field_validator("lora_dir", "embeddings_dir", "upscaler_dir")
    @classmethod
    def _existing(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_dir():
            raise ValueError(f"no such folder: {path}")
        return path

    @field_validator("upscaler_dir")
    @classmethod
    def _readable_upscalers(cls, path: Path | None) -> Path | None:
        if path is not None and importlib.util.find_spec("spandrel") is None:
            raise ValueError(
                'its networks need spandrel: pip install -c constraints.txt -e ".[esrgan]"'
            )
        return path

    @field_validator("http_trusted_proxies")
    @classmethod
    def _networks(cls, text: str) -> str:
        for network in text.split():
            ipaddress.ip_network(network)  # raises a ValueError that says what is wrong
        return text

    @field_validator("data_dir")
    @classmethod
    def _folder(cls, path: Path) -> Path:
        if path.exists() and not path.is_dir():
            raise ValueError("must be a folder, or a name free for one")
        return path

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError(
                f"{PREFIX}TLS_CERT and {PREFIX}TLS_KEY go together: set both or neither"
            )
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError(f"{PREFIX}TLS_CLIENT_CA needs {PREFIX}TLS_CERT and {PREFIX}TLS_KEY")
        if not self.is_loopback and self.tls_cert is None and not self.allow_insecure:
            raise ValueError(
                f"{PREFIX}HOST={self.host!r} is reachable from outside without TLS: set "
                f"{PREFIX}TLS_CERT and {PREFIX}TLS_KEY, or {PREFIX}ALLOW_INSECURE=1 on a "
                "network you trust"
            )
        if 0 < self.max_replicas < self.replicas:
            raise ValueError(
                f"{PREFIX}MAX_REPLICAS={self.max_replicas} must be 0 or at least "
                f"{PREFIX}REPLICAS={self.replicas}"
            )
        if self.port == self.http_port != 0:
            raise ValueError(f"{PREFIX}PORT and {PREFIX}HTTP_PORT must differ, or one of them be 0")
        return self

    @model_validator(mode="after")
    def _one_choice_of_models(self) -> Settings:
        if self.models is not None and self.model_fields_set & {"model", "revision", "vae"}:
            raise ValueError(
                f"{PREFIX}MODELS names all models: leave {PREFIX}MODEL, {PREFIX}REVISION and "
                f"{PREFIX}VAE unset"
            )
        if self.models is not None and self.backend == "ray":
            raise ValueError(f"{PREFIX}MODELS is not for {PREFIX}BACKEND=ray: replicas have one")
        return self

    @property
    def most_replicas(self) -> int:
        return self.max_replicas or self.replicas

    @property
    def is_loopback(self) -> bool:
        """Whether `host` is reachable from this machine only."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    def limits(self, size_multiple: int) -> Limits:
        """Limits for requests; sizes are multiples of `size_multiple` pixels."""
        smallest = -(-64 // size_multiple) * size_multiple
        return Limits(
            min_size=smallest,
            max_size=self.max_size - self.max_size % size_multiple,
            size_multiple=size_multiple,
            max_pixels=self.max_pixels,
            max_num_inference_steps=self.max_steps,
            max_num_images=self.max_images,
        )


def is_hub_id(text: str) -> bool:
    """Whether it has the form of a Hugging Face id, owner/name."""
    owner, _, name = text.partition("/")
    plain = all(
        part.replace("-", "").replace(".", "").replace("_", "").isalnum() for part in (owner, name)
    )
    return plain and not owner.startswith(".") and not name.endswith(WEIGHTS)


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        ConfigError: with one clear line that names every wrong variable.
    """
    _refuse_unknown(os.environ)
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(detail) for detail in error.errors())) from None


def _refuse_unknown(names: Iterable[str]) -> None:
    """Otherwise a mistyped name would silently leave its setting at the default."""
    known = [name.upper() for name in Settings.model_fields]
    ours = sorted(name for name in names if name.upper().startswith(PREFIX))
    unknown = [name for name in ours if not _is_known(name.upper().removeprefix(PREFIX), known)]
    if unknown:
        raise ConfigError("; ".join(_correct(name, known) for name in unknown))


def _is_known(name: str, known: Iterable[str]) -> bool:
    return name in known or name.startswith(NEIGHBOURS)


def _correct(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.upper().removeprefix(PREFIX), known, n=1)
    hint = f" Did you mean {PREFIX}{near[0]}?" if near else ""
    return f"{name}: there is no such setting.{hint}"


def _explain(detail: Any) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return str(message)
    return f"{PREFIX}{str(detail['loc'][0]).upper()}={detail['input']!r}: {message}"
