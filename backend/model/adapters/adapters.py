"""The adapters of a served model: what there is, and runtimes that have them."""

from __future__ import annotations

import atexit
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import psutil
import torch

from backend.config import Settings
from backend.errors import InvalidParams, ModelFailed, Violation
from backend.lru_cache import LruCache, Sized
from backend.model.adapters.adapter_set import AdapterSet, Used
from backend.model.adapters.embedding_file import read_embedding
from backend.model.adapters.folder import Folder
from backend.model.adapters.lora_file import read_changes, trigger_words
from backend.model.adapters.merge import MAX_HEADER_BYTES, Merged, Scaled, merge
from backend.model.checkpoint.components import Components, Networks
from backend.model.checkpoint.weights_file import read_table
from backend.model.runtime.cuda_graphs import CAPTURE, GraphRuntime
from backend.model.runtime.eager import TorchRuntime
from backend.model.runtime.protocol import Runtime
from backend.params import Adapter, Lora, ModelInfo

SCRATCH = "openvino-adapters-"


class Built(NamedTuple):
    """A runtime of its own, and what gives back its memory."""

    runtime: Runtime
    release: Callable[[], None]


class Adapters:
    """LoRAs and embeddings of two folders, for one model on one runtime. For any thread."""

    def __init__(self, settings: Settings, components: Components, runtime: Runtime) -> None:
        hidden_size = components.architecture.hidden_size
        self._cross_attention_dim = components.architecture.cross_attention_dim
        window = components.num_tokens - 2

        def read_lora(path: Path) -> Adapter:
            table = read_table(path, MAX_HEADER_BYTES)
            read_changes(table.shapes, self._cross_attention_dim)
            return Adapter(path.stem, trigger_words(table.metadata))

        self._components = components
        self._runtime = runtime
        self._scratch = _scratch_folder(settings.data_dir)
        self._loras = Folder(settings.lora_dir, read_lora)
        self._embeddings = Folder(
            settings.embeddings_dir,
            lambda path: read_embedding(path, hidden_size, window),
        )
        self.cache: LruCache[AdapterSet, Built] = LruCache(
            settings.adapter_memory_mb * 2**20, on_evict=lambda built: built.release()
        )

    def describe(self, info: ModelInfo) -> ModelInfo:
        """`info` with what there is now."""
        loras = self._loras.listing
        return replace(
            info,
            adapters=tuple(entry.value for entry in loras.entries.values()),
            refused_adapters=loras.refusals,
            embeddings=tuple(self._embeddings.listing.entries),
        )

    def vectors(self) -> dict[str, torch.Tensor]:
        """Of every embedding, by its name in lower case."""
        entries = self._embeddings.listing.entries
        return {name.lower(): entry.value for name, entry in entries.items()}

    @property
    def embeddings_version(self) -> int:
        """Changes with any file of an embedding."""
        return self._embeddings.version

    def used(self, loras: Sequence[Lora]) -> AdapterSet:
        """The set that a request asks for; what weighs nothing is left out.

        Raises:
            InvalidParams: a file is gone.
        """
        entries, found = self._loras.listing.entries, []
        for index, lora in enumerate(loras):
            entry = entries.get(lora.name)
            if entry is None:
                raise InvalidParams(
                    (Violation(f"loras[{index}].name", f"{lora.name} is gone.", "UNKNOWN"),)
                )
            if lora.scale:
                found.append(Used(lora.name, lora.scale, entry.stamp))
        return tuple(sorted(found))

    def runtime(self, adapters: AdapterSet) -> Runtime:
        """The one that has these LoRAs merged; slow when first asked.

        Raises:
            InvalidParams: one of them doesn't fit this model.
        """
        try:
            return self.cache.get(adapters, partial(self._build, adapters)).runtime
        except ModelFailed as error:
            raise InvalidParams((Violation("loras", str(error), "UNSUPPORTED"),)) from error

    # Building

    def _build(self, adapters: AdapterSet) -> Sized[Built]:
        entries = self._loras.listing.entries
        gone = [used.name for used in adapters if used.name not in entries]
        if gone:
            raise ModelFailed(f"{gone[0]} is gone.")
        files = [Scaled(entries[used.name].path, used.scale) for used in adapters]
        runtime = self._runtime
        if isinstance(runtime, (TorchRuntime, GraphRuntime)):
            return self._build_torch(runtime, files)
        return self._build_openvino(runtime, files)

    def _build_torch(
        self, runtime: TorchRuntime | GraphRuntime, files: list[Scaled]
    ) -> Sized[Built]:
        eager = runtime.eager if isinstance(runtime, GraphRuntime) else runtime
        networks = Networks(eager.text_encoder, eager.unet, eager.vae)
        with CAPTURE:  # on CUDA, no other thread may use the device while a graph is captured
            merged = merge(networks, files, self._cross_attention_dim)
        own = TorchRuntime(replace(self._components, read=lambda: merged.networks))
        if isinstance(runtime, GraphRuntime):
            graphs = GraphRuntime(own)
            return Sized(Built(graphs, graphs.drop), merged.num_bytes)
        return Sized(Built(own, lambda: None), merged.num_bytes)

    def _build_openvino(self, runtime: Runtime, files: list[Scaled]) -> Sized[Built]:
        from backend.model.openvino.runtime import OpenVinoRuntime

        assert isinstance(runtime, OpenVinoRuntime)
        merged: list[Merged] = []

        def read() -> Networks:
            merged[:] = [merge(self._components.read(), files, self._cross_attention_dim)]
            return merged[0].networks

        components = replace(self._components, read=read)
        folder = self._scratch / uuid4().hex
        own, num_bytes = runtime.adapted(components, folder)
        if merged[0].changes_text:
            num_bytes += own.keep_text_encoder()
        components.release()
        merged.clear()
        return Sized(Built(own, partial(_forget, own.forget, folder)), num_bytes)


@cache
def _scratch_folder(data_dir: Path) -> Path:
    """Of this process, for what OpenVINO converts; what dead processes left is deleted."""
    own = data_dir / f"{SCRATCH}{os.getpid()}"
    for folder in data_dir.glob(f"{SCRATCH}*"):
        pid = folder.name.removeprefix(SCRATCH)
        if folder == own or (pid.isdecimal() and not psutil.pid_exists(int(pid))):
            shutil.rmtree(folder, ignore_errors=True)
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    return own


def _forget(drop: Callable[[], None], folder: Path) -> None:
    drop()
    shutil.rmtree(folder, ignore_errors=True)
