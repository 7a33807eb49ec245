"""POST /sdapi/v1/txt2img: pictures from text, with A1111's "hires fix" as our second pass."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from backend.images import HIRES_UPSCALER
from backend.transport.http.a1111.generate import answer, message_for, read_json
from backend.transport.http.a1111.options import find_model
from backend.transport.http.a1111.request import Float, Generation, Int, Text, read_request
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
        if self.enable_hr:
            message.upscale = self._scale(message, status)
            strength = self.denoising_strength
            message.upscale_strength = DEFAULT_STRENGTH if strength is None else strength
        return message

    @property
    def warnings(self) -> list[str]:
        if self.enable_hr and self.hr_upscaler not in (None, "", HIRES_UPSCALER):
            return [f"hr_upscaler: {HIRES_UPSCALER} is what enlarges here."]
        return []

    def _scale(self, message: pb.GenerateImageRequest, status: pb.GetStatusResponse) -> float:
        """How many times as large: so much that it fits where a size is given, else `hr_scale`."""
        model = find_model(message.model, status.models)
        sides = (
            (self.hr_resize_x, message.width or (model.native_width if model else 0)),
            (self.hr_resize_y, message.height or (model.native_height if model else 0)),
        )
        ratios = [wanted / side for wanted, side in sides if wanted and side > 0]
        if ratios:
            return min(ratios)
        return DEFAULT_SCALE if self.hr_scale is None else self.hr_scale


async def txt2img(request: Request) -> Response:
    body = await read_json(request)
    asked = read_request(body, Txt2Img)
    message, status = await message_for(request, asked)
    return await answer(request, asked, message, status, body)
