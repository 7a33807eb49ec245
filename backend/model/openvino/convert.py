"""Converts torch networks to OpenVINO's format and caches the files for later starts."""

from __future__ import annotations

import copy
import logging
import os
import shutil
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch
from torch import nn

from backend.heap import no_garbage_collection
from backend.model.checkpoint.components import Components
from backend.model.openvino.rewrites.convolutions import merge_convolutions
from backend.model.openvino.rewrites.group_norm import unfold_group_norms
from backend.model.openvino.rewrites.timesteps import keep_timesteps_precise
from backend.model.openvino.rewrites.upsampling import fuse_upsampling

logger = logging.getLogger(__name__)

PRECISE = ("group_means", "by_channel", "affine", "time_proj")
"""Modules always computed in float32: cheap, and their errors would affect whole channels."""
CONVERTING = threading.Lock()  # torch's tracing has global state
FORMAT = 5  # increase when networks are converted differently; older files are discarded


def import_openvino() -> Any:
    """Import openvino with its telemetry disabled.

    If `openvino_telemetry` can't be imported, openvino uses its own stub that sends nothing.

    Raises:
        ImportError: it is not installed, or has no build for this machine.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


def precisions() -> tuple[str, ...]:
    """OpenVINO's precisions on this CPU, the fastest first.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    capabilities = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("bf16", "f32") if "BF16" in capabilities else ("f32",)


def version() -> str:
    """OpenVINO's version and our conversion `FORMAT`, as "2026.4.1-5"."""
    return f"{import_openvino().get_version().split('-')[0]}-{FORMAT}"


class _UNet(nn.Module):
    def __init__(self, components: Components) -> None:
        super().__init__()
        self.unet = components.networks.unet

    def forward(
        self, latents: torch.Tensor, timesteps: torch.Tensor, prompt_embeds: torch.Tensor
    ) -> torch.Tensor:
        prediction: torch.Tensor = self.unet(
            latents, timesteps, encoder_hidden_states=prompt_embeds, return_dict=False
        )[0]
        return prediction


class _Decoder(nn.Module):
    def __init__(self, components: Components) -> None:
        super().__init__()
        self.vae = components.networks.vae

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        image: torch.Tensor = self.vae.decode(latents, return_dict=False)[0]
        return image


class _Encoder(nn.Module):
    def __init__(self, components: Components) -> None:
        super().__init__()
        self.vae = components.networks.vae

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        encoded = self.vae.encode(image)
        found: torch.Tensor = (
            encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.parameters
        )
        return found


class _TextEncoder(nn.Module):
    def __init__(self, components: Components) -> None:
        super().__init__()
        self.text_encoder = components.networks.text_encoder

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        embeds: torch.Tensor = self.text_encoder(input_ids, return_dict=False)[0]
        return embeds


class Converter:
    """Converts networks on demand and caches them in `folder`, one file per network and tracing.

    The folder's name is the model's revision, a dash and `version()`; sibling folders of the same
    revision and other versions are deleted when something is converted.

    The files are float32 with dynamic shapes; sizes and precision are set when compiling.
    """

    def __init__(self, components: Components, folder: Path) -> None:
        self._components = components
        self._folder = folder
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def unet(self, height: int, width: int) -> Path:
        """The UNet's file for this size in latent cells; most sizes share one file."""
        components = self._components
        factor = components.architecture.unet_scale_factor
        if height % factor == 0 and width % factor == 0:
            return self._file("unet", lambda: _UNet(components), self._unet_inputs(factor, factor))
        # For other sizes the UNet upsamples to explicit sizes, which tracing makes constants.
        return self._file(
            f"unet-{height}x{width}",
            lambda: _UNet(components),
            self._unet_inputs(height, width),
            doubles=False,
        )

    def decoder(self) -> Path:
        """The VAE decoder's file."""
        latents = torch.zeros(1, self._components.architecture.latent_channels, 8, 8)
        return self._file("decoder", lambda: _Decoder(self._components), {"latents": latents})

    def encoder(self) -> Path:
        """The autoencoder's first half: an image to its latents, or to their mean and log(var)."""
        side = 8 * self._components.architecture.vae_scale_factor
        image = torch.zeros(1, 3, side, side)
        return self._file("encoder", lambda: _Encoder(self._components), {"image": image})

    def text_encoder(self) -> Path:
        """The text encoder's file."""
        tokens = self._components.num_tokens
        input_ids = torch.zeros(1, tokens, dtype=torch.int64)
        return self._file(
            "text_encoder", lambda: _TextEncoder(self._components), {"input_ids": input_ids}
        )

    def _unet_inputs(self, height: int, width: int) -> dict[str, torch.Tensor]:
        architecture, tokens = self._components.architecture, self._components.num_tokens
        return {
            "latents": torch.zeros(2, architecture.unet_channels, height, width),
            "timesteps": torch.ones(2),
            "prompt_embeds": torch.zeros(2, tokens, architecture.hidden_size),
        }

    def _file(
        self,
        name: str,
        build: Callable[[], nn.Module],
        inputs: Mapping[str, torch.Tensor],
        *,
        doubles: bool = True,
    ) -> Path:
        path = self._folder / f"{name}.xml"
        if path.is_file():
            return path
        with CONVERTING:
            path = self._writable_folder() / path.name
            if not path.is_file():  # another thread has made it meanwhile
                self._discard_older()
                network = copy.deepcopy(build()).float().eval()
                merge_convolutions(network)
                if doubles:
                    fuse_upsampling(network)
                unfold_group_norms(network)
                keep_timesteps_precise(network)
                _convert(network, inputs, path)
        return path

    def _writable_folder(self) -> Path:
        """The cache folder, or a temporary one if it is not writable."""
        if self._temporary is None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                os.rmdir(tempfile.mkdtemp(dir=self._folder))
                return self._folder
            except OSError as error:
                logger.warning("networks are converted again at every start: %s", error)
                self._temporary = tempfile.TemporaryDirectory(prefix="text2image-openvino-")
        return Path(self._temporary.name)

    def _discard_older(self) -> None:
        """Delete this model's files from other versions, which are never read again."""
        revision = self._folder.name.removesuffix(version())
        if revision == self._folder.name or not self._folder.parent.is_dir():
            return
        for other in self._folder.parent.iterdir():
            if other.name.startswith(revision) and other != self._folder:
                shutil.rmtree(other, ignore_errors=True)


@torch.no_grad()
def _convert(network: nn.Module, inputs: Mapping[str, torch.Tensor], path: Path) -> None:
    """Convert `network` to the file `path`, and free its weights."""
    try:
        with no_garbage_collection():
            translated = _translate(network, inputs)
        _save(translated, path)
    finally:
        _forget(network)


def _translate(network: nn.Module, inputs: Mapping[str, torch.Tensor]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns about every shape that it makes constant
        openvino = import_openvino()
        frontend: Any = import_module("openvino.frontend.pytorch.ts_decoder")
        decoder = frontend.TorchScriptPythonDecoder(
            network,
            example_input=dict(inputs),
            trace_kwargs={"check_trace": False},  # it would trace twice more and compare
        )
        return openvino.convert_model(decoder, example_input=dict(inputs))


def _save(converted: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written elsewhere and then moved, so that a partial file is never used.
    aside = Path(tempfile.mkdtemp(dir=path.parent))
    try:
        import_openvino().save_model(converted, aside / path.name, compress_to_fp16=False)
        _mark_precise(aside / path.name)
        (aside / f"{path.stem}.bin").replace(path.with_suffix(".bin"))
        (aside / path.name).replace(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _mark_precise(path: Path) -> None:
    """Mark the layers of a saved network that OpenVINO must compute in float32.

    The Python API can't do this; "precise" is the attribute that OpenVINO's own passes use.
    """
    tree = ElementTree.parse(path)
    for layer in tree.iterfind("layers/layer"):
        modules = layer.get("name", "").split("/")[0].split(".")
        if modules[-1] in PRECISE and layer.get("type") != "Const":
            notes = layer.find("rt_info")
            if notes is None:
                notes = ElementTree.SubElement(layer, "rt_info")
            if notes.find("attribute[@name='precise']") is None:
                ElementTree.SubElement(notes, "attribute", name="precise", version="0")
    tree.write(path)


def _forget(network: nn.Module) -> None:
    """Free the weights now: torch caches traced modules, and the network has reference cycles."""
    for parameter in network.parameters():
        parameter.data = torch.empty(0)
    # torch has no public names for these. Without them it keeps the traced code, no weights.
    with suppress(AttributeError):
        torch._C._jit_clear_class_registry()
    with suppress(AttributeError):
        torch.jit._recursive.concrete_type_store = torch.jit._recursive.ConcreteTypeStore()
    with suppress(AttributeError):
        torch.jit._state._clear_class_state()
