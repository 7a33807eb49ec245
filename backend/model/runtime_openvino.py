"""OpenVINO on the CPU: static shapes, bfloat16 where the CPU has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backend.model.compiled_networks import CompiledNetworks, budget
from backend.model.components import Components
from backend.model.memory import machine_bytes
from backend.model.openvino_ir import Converter, import_openvino, version
from backend.model.openvino_trial import Trials, compile_network


def bucket(rows: int) -> int:
    """The row count that `rows` rows are filled up to: the next power of two."""
    return 1 << (rows - 1).bit_length()


class OpenVinoRuntime:
    """A `Runtime` that compiles one network per shape, the first time it is asked for.

    Tensors go in and out in float32; `precision` is what it computes in.
    """

    name = "openvino"
    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(
        self, components: Components, cache: Path, *, precision: str, num_threads: int
    ) -> None:
        """`precision` is `f32` or `bf16`; converted networks are kept in the folder `cache`.

        Raises:
            ImportError: OpenVINO isn't here.
        """
        self._core = import_openvino().Core()
        self._converter = Converter(components, cache)
        self._trials = Trials(cache)
        self._precision = precision
        self._num_threads = num_threads
        self._networks = CompiledNetworks(
            budget(components.architecture.num_parameters, machine_bytes())
        )

    @property
    def description(self) -> str:
        precision = {"f32": "float32", "bf16": "bfloat16"}[self._precision]
        return f"openvino {version()} {precision}, {self._num_threads} threads"

    def bucket(self, rows: int) -> int:
        """The row count that is computed for `rows` rows."""
        return bucket(rows)

    def warm(
        self, rows: int, latents: tuple[int, int, int], prompt_embeds: tuple[int, int]
    ) -> None:
        """Compile the UNet for the bucket of that many rows, and the decoder for one."""
        count = bucket(rows)
        self._unet([(count, *latents), (count,), (count, *prompt_embeds)])
        self._decoder([1, *latents])

    def encode(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Token ids [1, tokens] to prompt_embeds [1, tokens, hidden]."""
        shape = list(input_ids.shape)
        request = self._request(("text", *shape), self._converter.text_encoder, [shape])
        return torch.from_numpy(_infer(request, [input_ids.numpy()]))

    def denoise(
        self, latents: torch.Tensor, timesteps: torch.Tensor, prompt_embeds: torch.Tensor
    ) -> torch.Tensor:
        """One UNet call on up to the next bucket of rows; what fills it up is thrown away."""
        rows = latents.shape[0]
        filled = [_fill(tensor, bucket(rows)) for tensor in (latents, timesteps, prompt_embeds)]
        prediction = _infer(self._unet([tensor.shape for tensor in filled]), filled)
        return torch.from_numpy(prediction[:rows])

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents [1, channels, h, w], unscaled, to an image [1, 3, height, width] in -1 to 1."""
        request = self._decoder(latents.shape)
        return torch.from_numpy(_infer(request, [latents.contiguous().numpy()]))

    def _unet(self, shapes: Sequence[Sequence[int]]) -> Any:
        height, width = shapes[0][2:]
        key = ("unet", *shapes[0])
        return self._request(key, lambda: self._converter.unet(height, width), shapes)

    def _decoder(self, shape: Sequence[int]) -> Any:
        return self._request(("decoder", *shape), self._converter.decoder, [shape])

    def _request(
        self,
        key: tuple[object, ...],
        find: Callable[[], Path],
        shapes: Sequence[Sequence[int]],
    ) -> Any:
        """The compiled network for these input shapes."""

        def compile(path: Path) -> Any:
            settings = self._trials.settings(path, shapes, self._settings())
            return compile_network(self._core, path, shapes, settings)

        return self._networks.get(key, find, compile)

    def _settings(self) -> Mapping[str, object]:
        return {
            "INFERENCE_PRECISION_HINT": self._precision,
            "INFERENCE_NUM_THREADS": self._num_threads,
            "PERFORMANCE_HINT": "LATENCY",
        }


def _infer(request: Any, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    outputs = request.infer(list(inputs), share_inputs=True, share_outputs=True)
    return np.array(outputs[0], dtype=np.float32)  # a copy: the request reuses its own


def _fill(tensor: torch.Tensor, rows: int) -> NDArray[np.float32]:
    """[n, ...] to [rows, ...], repeating the last row."""
    missing = rows - tensor.shape[0]
    if missing:
        tensor = torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])])
    array: NDArray[np.float32] = tensor.float().contiguous().numpy()
    return array
