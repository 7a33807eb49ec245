"""POST /sdapi/v1/txt2img: pictures from text, with A1111's "hires fix" as our second pass."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from backend.images import HIRES_UPSCALER
from backend.transport.http.a1111.generate import answer, message_for, read_json
from backend.transport.http.a1111.hires import SecondPass, second_pass
from backend.transport.http.a1111.options import find_model
from backend.transport.http.a1111.request import Float, Generation, Int, Text, read_request
from backend.transport.http.a1111.upscalers import find_network
from proto import text2image_pb2 as pb

# A1111's defaults.
DEFAULT_SCALE = 2.0
DEFAULT_STRENGTH = 0.75


class Txt2Img(Generation):
    """The supported fields of A1111's request. `hr_resize_x` and `_y`: 0 for "not given"."""

    enable_hr: bool | None = None
    hr_scale: Float = None
    hr_resize_x: Int = None
    hr_resize_y: Int = None
    hr_upscaler: Text = None
    denoising_strength: Float = None

    def message(
        self, status: pb.GetStatusResponse, options: dict[str, Any]
    ) -> pb.GenerateImageRequest:
        message = super().message(status, options)
        if self.enable_hr and self._network(status) is None:
            message.upscale = self._scale(message, status)
            message.upscale_strength = self._strength
        return message

    def second_pass(
        self, message: pb.GenerateImageRequest, status: pb.GetStatusResponse
    ) -> SecondPass | None:
        network = self._network(status)
        if not self.enable_hr or network is None:
            return None
        width, height = _size(message, status)
        scale = self._scale(message, status)
        return second_pass(network, scale, self._strength, (height, width), status.limits)

    def upscaler_warnings(self, status: pb.GetStatusResponse) -> list[str]:
        known = self.hr_upscaler in (None, "", HIRES_UPSCALER) or self._network(status) is not None
        if not self.enable_hr or known:
            return []
        return [f"hr_upscaler: {HIRES_UPSCALER} is what enlarges here."]

    @property
    def _strength(self) -> float:
        strength = self.denoising_strength
        return DEFAULT_STRENGTH if strength is None else strength

    def _network(self, status: pb.GetStatusResponse) -> str | None:
        return find_network(self.hr_upscaler or "", status)

    def _scale(self, message: pb.GenerateImageRequest, status: pb.GetStatusResponse) -> float:
        """How many times as large: so much that it fits where a size is given, else `hr_scale`."""
        width, height = _size(message, status)
        sides = ((self.hr_resize_x, width), (self.hr_resize_y, height))
        ratios = [wanted / side for wanted, side in sides if wanted and side > 0]
        if ratios:
            return min(ratios)
        return DEFAULT_SCALE if self.hr_scale is None else self.hr_scale


def _size(message: pb.GenerateImageRequest, status: pb.GetStatusResponse) -> tuple[int, int]:
    """Width and height of the first pass."""
    model = find_model(message.model, status.models)
    width = message.width or (model.native_width if model else 0)
    return width, message.height or (model.native_height if model else 0)


async def txt2img(request: Request) -> Response:
    body = await read_json(request)
    asked = read_request(body, Txt2Img)
    message, status = await message_for(request, asked)
    return await answer(request, asked, message, status, body)
