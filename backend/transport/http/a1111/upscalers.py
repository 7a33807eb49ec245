"""What enlarges pictures, by A1111's names: resampling filters, and the service's networks."""

from __future__ import annotations

from PIL import Image
from starlette.requests import Request

from backend.transport.http.a1111.problem import not_found
from backend.transport.http.body import unless_disconnected
from backend.transport.http.problem import Json
from backend.transport.http.upstream import SERVICE, Upstream, caller_of
from backend.upscale import LANCZOS
from proto import text2image_pb2 as pb

UPSCALE = SERVICE.methods_by_name["Upscale"]
# A1111's name: the resampling filter. None: no change.
FILTERS = {
    "None": None,
    "Lanczos": Image.Resampling.LANCZOS,
    "Nearest": Image.Resampling.NEAREST,
}
SCALE = 4  # A1111's value for upscalers that support any scale
# Names that programs have built in, and those of the files that A1111 means.
FILES = {
    "R-ESRGAN 4x+": "RealESRGAN_x4plus",
    "R-ESRGAN 4x+ Anime6B": "RealESRGAN_x4plus_anime_6B",
}


def list_upscalers(status: pb.GetStatusResponse) -> list[Json]:
    return [
        {"name": name, "model_name": None, "model_path": None, "model_url": None, "scale": SCALE}
        for name in (*FILTERS, *_networks(status))
    ]


def find_network(name: str, status: pb.GetStatusResponse) -> str | None:
    """The service's name of the network, by its own or by A1111's; None if there is none."""
    networks = _networks(status)
    return next((found for found in (name, FILES.get(name)) if found in networks), None)


def unknown(status: pb.GetStatusResponse) -> Exception:
    known = ", ".join(one["name"] for one in list_upscalers(status))
    return not_found(f"Upscaler not found. There are: {known}.")


async def enlarge(request: Request, data: bytes, scale: float, network: str) -> bytes:
    """A PNG of the picture in the file `data`, `scale` times as large.

    Raises:
        Problem: what the service refused.
    """
    upstream: Upstream = request.app.state.upstream
    message = pb.UpscaleRequest(
        image=data, scale=scale, upscaler=network, output_format=pb.IMAGE_FORMAT_PNG
    )
    call = upstream.call(UPSCALE, message, caller_of(request))
    answer = await unless_disconnected(request, call)
    assert isinstance(answer, pb.UpscaleResponse)
    return answer.image.data


def _networks(status: pb.GetStatusResponse) -> list[str]:
    return [name for name in status.upscalers if name != LANCZOS and name not in FILTERS]
