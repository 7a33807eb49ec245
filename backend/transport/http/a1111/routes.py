"""Maps paths to endpoints."""

from __future__ import annotations

from starlette.routing import Route

from backend.transport.http.a1111 import lists, pictures, progress
from backend.transport.http.a1111.img2img import img2img
from backend.transport.http.a1111.txt2img import txt2img
from backend.transport.http.a1111.upscalers import list_upscalers

PREFIX = "/sdapi/v1/"
PING = "/internal/ping"


def routes() -> list[Route]:
    return [
        _post("txt2img", txt2img),
        _post("img2img", img2img),
        _get("options", lists.get_options),
        _post("options", lists.set_options),
        _get("sd-models", lists.told(lists.models)),
        _get("samplers", lists.told(lists.list_samplers)),
        _get("schedulers", lists.told(lists.list_schedules)),
        _get("loras", lists.told(lists.loras)),
        _get("embeddings", lists.told(lists.embeddings)),
        _get("upscalers", lists.told(list_upscalers)),
        _get("memory", lists.told(lists.memory)),
        *(_get(path, lists.constant(answer)) for path, answer in lists.NOTHING.items()),
        *(_post(f"refresh-{what}", lists.constant(None)) for what in lists.REFRESHED),
        _get("progress", progress.progress),
        _post("interrupt", progress.interrupt),
        _post("skip", progress.skip),
        _post("png-info", pictures.png_info),
        _post("extra-single-image", pictures.extra_single_image),
        _post("interrogate", pictures.interrogate),
        Route(PING, lists.constant({}), methods=["GET"]),
    ]


def _get(path: str, endpoint: lists.Endpoint) -> Route:
    return Route(PREFIX + path, endpoint, methods=["GET"])


def _post(path: str, endpoint: lists.Endpoint) -> Route:
    return Route(PREFIX + path, endpoint, methods=["POST"])
