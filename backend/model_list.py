"""The file that TEXT2IMAGE_MODELS names: the served models, one TOML table each."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backend.config import Settings, is_hub_id
from backend.errors import ConfigError
from backend.params import DEFAULT_GUIDANCE_SCALE, DEFAULT_NUM_INFERENCE_STEPS, Lora

MAX_NAME_CHARACTERS = 100
OVERRIDES = ("dtype", "max_steps", "max_pixels", "max_size", "max_images")  # names of settings

Scale = Annotated[float, Field(ge=-2, le=2)]


class ModelEntry(BaseModel):
    """One served model. What is not given is as the settings say.

    `source` is what MODEL takes; `vae` an id, folder or file that replaces the checkpoint's
    autoencoder; `steps` and `guidance_scale` are defaults of requests, `loras` are applied to
    every request that does not name them itself.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Annotated[str, Field(min_length=1)]
    revision: str | None = None
    vae: Annotated[str, Field(min_length=1)] | None = None
    dtype: Literal["auto", "float32", "float16", "bfloat16"] | None = None
    steps: Annotated[int, Field(ge=1, le=1000)] = DEFAULT_NUM_INFERENCE_STEPS
    guidance_scale: Annotated[float, Field(ge=0, le=50)] = DEFAULT_GUIDANCE_SCALE
    loras: dict[str, Scale] = {}
    max_steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    max_pixels: Annotated[int, Field(ge=64 * 64)] | None = None
    max_size: Annotated[int, Field(ge=64)] | None = None
    max_images: Annotated[int, Field(ge=1, le=64)] | None = None

    def settings(self, common: Settings) -> Settings:
        """`common` with what this model has of its own."""
        own = {name: value for name in OVERRIDES if (value := getattr(self, name)) is not None}
        return common.model_copy(
            update={
                "model": self.source,
                "revision": self.revision,
                "vae": self.vae,
                "models": None,
                **own,
            }
        )

    @property
    def default_loras(self) -> tuple[Lora, ...]:
        return tuple(Lora(name, scale) for name, scale in self.loras.items())


class Named(NamedTuple):
    """An entry and its name."""

    name: str
    entry: ModelEntry


def read_model_list(path: Path) -> dict[str, ModelEntry]:
    """The models by name, the default first. Paths are relative to the file.

    Raises:
        ConfigError: with one clear line.
    """
    where = f"TEXT2IMAGE_MODELS={path}"
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{where}: can't be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: is not TOML: {error}.") from None
    if not tables:
        raise ConfigError(f"{where}: names no model. Write one table for each, such as [photo].")
    try:
        return {name: _entry(name, table, path.parent) for name, table in tables.items()}
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _entry(name: str, table: Any, folder: Path) -> ModelEntry:
    if not isinstance(table, dict):
        raise ConfigError(f"{name} stands outside of a table: write one for each model, [{name}].")
    if not name.strip() or not name.isprintable() or len(name) > MAX_NAME_CHARACTERS:
        raise ConfigError(
            f"[{name[:MAX_NAME_CHARACTERS]!r}]: a name has 1 to {MAX_NAME_CHARACTERS} "
            "printable characters."
        )
    try:
        entry = ModelEntry.model_validate(table)
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(name, detail) for detail in error.errors())) from None
    vae = None if entry.vae is None else _found(entry.vae, folder)
    if vae is not None and not Path(vae).exists() and not is_hub_id(vae):
        raise ConfigError(f"[{name}] vae: no such file, folder or Hugging Face id: {vae}.")
    return entry.model_copy(update={"vae": vae, "source": _found(entry.source, folder)})


def _found(source: str, folder: Path) -> str:
    """A path relative to `folder` if there is something, else as it is: an id."""
    local = folder / Path(source).expanduser()
    return str(local) if local.exists() else source


def _explain(name: str, detail: Any) -> str:
    key = ".".join(map(str, detail["loc"]))
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, ModelEntry.model_fields, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"[{name}] {key}: there is no such setting.{hint}"
    if detail["type"] == "missing":
        return f"[{name}] {key} is missing: a Hugging Face id, a folder or a .safetensors file."
    return f"[{name}] {key}={detail['input']!r}: {detail['msg']}."
