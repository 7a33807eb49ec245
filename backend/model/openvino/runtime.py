"""Runs the networks with OpenVINO on the CPU, compiled for static shapes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from backend.lru_cache import LruCache, Sized
from backend.model.checkpoint.components import Components
from backend.model.devices import count_threads
from backend.model.memory import machine_bytes
from backend.model.openvino.convert import Converter, import_openvino, version
from backend.model.runtime.protocol import NO_VECTORS, Moments, Vectors
from backend.model.runtime.text_encoder import encode_text

if TYPE_CHECKING:
    from transformers import CLIPTextModel


SHARE_OF_MEMORY = 0.4  # for compiled networks; the rest is for activations and other programs
MAX_NETWORKS = 48


def bucket(rows: int) -> int:
    """The row count that `rows` are padded to: the next power of two."""
    return 1 << (rows - 1).bit_length()


def num_parts(rows: int, num_threads: int) -> int:
    """Number of parts into which `rows` are split; parts are computed in parallel.

    Threads that share a network wait for each other after every layer; with one part each they
    don't. Like a bucket it is a power of two, and it divides the number of threads evenly.
    """
    return min(1 << (rows.bit_length() - 1), num_threads & -num_threads)


def budget(num_parameters: int, memory_bytes: int) -> int:
    """Bytes of compiled networks: a share of memory, but at least one image's networks."""
    return max(int(SHARE_OF_MEMORY * memory_bytes), 4 * num_parameters)


class OpenVinoRuntime:
    """A `Runtime` that compiles one network per shape on first use.

    Inputs and outputs are float32; `precision` is that of the UNet's and decoder's computation.
    """

    name = "openvino"
    remark = ""
    num_captures = 0
    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(
        self, components: Components, cache: Path, *, precision: str, num_threads: int
    ) -> None:
        """`precision` is `f32` or `bf16`; `cache` is the folder for converted networks.

        Raises:
            ImportError: OpenVINO is not installed.
        """
        self._components = components
        self._own = ""  # part of the keys of networks with adapters
        self._text_encoder: CLIPTextModel | None = None  # torch's, once it is needed
        self._reads_by_torch = False  # always
        self._core = import_openvino().Core()
        self._converter = self._plain_converter = Converter(components, cache)
        self._precision = precision
        self._num_threads = num_threads
        self._channels = components.architecture.latent_channels
        self._networks: LruCache[tuple[object, ...], _Network] = LruCache(
            budget(components.architecture.num_parameters, machine_bytes()), MAX_NETWORKS
        )

    @property
    def description(self) -> str:
        precision = {"f32": "float32", "bf16": "bfloat16"}[self._precision]
        return f"openvino {version()} {precision}, {count_threads(self._num_threads)}"

    @property
    def num_bytes(self) -> int:
        """Once in float32, as they are converted."""
        return 4 * self._components.architecture.num_parameters

    def bucket(self, rows: int) -> int:
        return bucket(rows)

    def adapted(self, components: Components, folder: Path) -> tuple[OpenVinoRuntime, int]:
        """One for other weights of the same networks, and the bytes of its UNet.

        The autoencoder is shared, and the memory for compiled networks; the UNet is converted
        into `folder` now.
        """
        own = copy.copy(self)
        own._components, own._own = components, folder.name
        own._converter = Converter(components, folder)
        find = partial(own._converter.unet, *[components.architecture.unet_scale_factor] * 2)
        with self._networks.building:
            return own, _weight_bytes(find())

    def keep_text_encoder(self) -> int:
        """Encode by torch from now on, since its weights differ; their bytes."""
        self._text_encoder, self._reads_by_torch = None, True
        return sum(weight.nbytes for weight in self._torch_text_encoder().parameters())

    def forget(self) -> None:
        """Give back the memory of what is compiled for this one alone."""
        self._networks.drop(lambda key: self._own in key)

    def warm(
        self, rows: int, latents: tuple[int, int, int], prompt_embeds: tuple[int, int]
    ) -> None:
        """Compile the UNet for the bucket of `rows`, and the decoder for one image.

        The other networks are only converted. Converting is Python's work and compiling isn't,
        so that other threads can use the decoder, which is first, while the UNet is converted.
        """
        count = bucket(rows)
        self._decoder([1, self._channels, *latents[1:]])
        self._converter.unet(*latents[1:])
        with ThreadPoolExecutor(1) as aside:
            shapes = [(count, *latents), (count,), (count, *prompt_embeds)]
            compiling = aside.submit(self._unet, shapes)
            self._plain_converter.text_encoder()
            self._plain_converter.encoder()
            compiling.result()

    def encode(
        self, input_ids: torch.Tensor, clip_skip: int = 1, vectors: Vectors = NO_VECTORS
    ) -> torch.Tensor:
        """Token ids [1, tokens] to prompt_embeds [1, tokens, hidden].

        Always in float32: it runs once per prompt, and every step depends on it. By torch where
        the converted network can't: it reads the last layer, of tokens.
        """
        if clip_skip != 1 or vectors or self._reads_by_torch:
            return encode_text(self._torch_text_encoder(), input_ids, clip_skip, vectors)
        shape = list(input_ids.shape)
        network = self._network(
            ("text", *shape), self._plain_converter.text_encoder, [shape], "f32"
        )
        return torch.from_numpy(network([input_ids.numpy()]))

    def denoise(
        self, latents: torch.Tensor, timesteps: torch.Tensor, prompt_embeds: torch.Tensor
    ) -> torch.Tensor:
        """One UNet call, padded to the next bucket; the padding's results are discarded."""
        rows = latents.shape[0]
        filled = [_fill(tensor, bucket(rows)) for tensor in (latents, timesteps, prompt_embeds)]
        prediction = self._unet([tensor.shape for tensor in filled])(filled)
        return torch.from_numpy(prediction[:rows])

    def encode_picture(self, image: torch.Tensor) -> Moments:
        """An image [1, 3, height, width] in -1 to 1 to its latents; in float32, as texts are."""
        shape = list(image.shape)
        network = self._network(("encoder", *shape), self._plain_converter.encoder, [shape], "f32")
        return moments_of(torch.from_numpy(network([image.contiguous().numpy()])), self._channels)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents [1, channels, h, w], unscaled, to an image [1, 3, height, width] in -1 to 1."""
        return torch.from_numpy(self._decoder(latents.shape)([latents.contiguous().numpy()]))

    def _torch_text_encoder(self) -> CLIPTextModel:
        """torch's own, read from disk when it is first needed."""
        if self._text_encoder is None:
            text_encoder: CLIPTextModel = self._components.networks.text_encoder.float()
            self._components.release()
            self._text_encoder = text_encoder
        return self._text_encoder

    def _unet(self, shapes: Sequence[Sequence[int]]) -> _Network:
        rows, _, height, width = shapes[0]
        return self._network(
            ("unet", self._own, *shapes[0], *shapes[2]),
            lambda: self._converter.unet(height, width),
            shapes,
            self._precision,
            num_parts(rows, self._num_threads),
        )

    def _decoder(self, shape: Sequence[int]) -> _Network:
        key = ("decoder", *shape)
        return self._network(key, self._plain_converter.decoder, [shape], self._precision)

    def _network(
        self,
        key: tuple[object, ...],
        find: Callable[[], Path],
        shapes: Sequence[Sequence[int]],
        precision: str,
        parts: int = 1,
    ) -> _Network:
        """The network compiled for inputs of these shapes, split into `parts`."""

        def build() -> Sized[_Network]:
            path = find()
            num_bytes = _weight_bytes(path)
            self._networks.make_room(num_bytes)
            part = [[shape[0] // parts, *shape[1:]] for shape in shapes]
            settings = {
                "INFERENCE_PRECISION_HINT": precision,
                "INFERENCE_NUM_THREADS": self._num_threads,
                "NUM_STREAMS": parts,
            }
            return Sized(_Network(compile_network(self._core, path, part, settings)), num_bytes)

        return self._networks.get(key, build)


def moments_of(parameters: torch.Tensor, channels: int) -> Moments:
    """What the encoder says, [1, channels or twice as many, h, w], as diffusers reads it."""
    if parameters.shape[1] == channels:
        return Moments(parameters, None)
    mean, logvar = parameters.chunk(2, dim=1)
    return Moments(mean, torch.exp(0.5 * logvar.clamp(-30.0, 20.0)))


class _Network:
    """A compiled network; its infer requests compute their parts of the rows in parallel.

    Not thread-safe: inputs are copied into the requests' memory.
    """

    def __init__(self, requests: Sequence[Any]) -> None:
        self._requests = requests
        self._inputs = [[own.data for own in request.input_tensors] for request in requests]
        self._outputs = [request.output_tensors[0].data for request in requests]

    def __call__(self, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        with ExitStack() as running:
            for number, request in enumerate(self._requests):
                for own, rows in zip(self._inputs[number], inputs, strict=True):
                    own[...] = rows[number * len(own) : (number + 1) * len(own)]
                request.start_async()
                running.callback(request.wait)
        return np.concatenate(self._outputs, dtype=np.float32)


def compile_network(
    core: Any, path: Path, shapes: Sequence[Sequence[int]], settings: Mapping[str, object]
) -> list[Any]:
    """Compile for static input `shapes`; returns one infer request per stream in `settings`."""
    model = core.read_model(path)
    model.reshape({port: list(shape) for port, shape in zip(model.inputs, shapes, strict=True)})
    compiled = core.compile_model(model, "CPU", dict(settings))
    return [compiled.create_infer_request() for _ in range(int(str(settings["NUM_STREAMS"])))]


def _weight_bytes(path: Path) -> int:
    """Bytes of a converted network's weights: an estimate of the compiled network's."""
    return path.with_suffix(".bin").stat().st_size


def _fill(tensor: torch.Tensor, rows: int) -> NDArray[np.float32]:
    """[n, ...] to [rows, ...], repeating the last row."""
    missing = rows - tensor.shape[0]
    if missing:
        tensor = torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])])
    array: NDArray[np.float32] = tensor.float().contiguous().numpy()
    return array
