"""A second pass over a picture that a network enlarged: A1111's "hires fix" with ESRGAN."""

from __future__ import annotations

from typing import NamedTuple

from backend.source_picture import MAX_UPSCALE, upscaled_size
from backend.transport.http.problem import Json, bad_fields
from proto import text2image_pb2 as pb


class SecondPass(NamedTuple):
    """What is done with each picture of the first pass."""

    network: str
    scale: float
    strength: float
    height: int
    width: int

    def message(
        self, first: pb.GenerateImageRequest, seed: int, enlarged: bytes
    ) -> pb.GenerateImageRequest:
        """The request that draws an enlarged picture anew, as the service's own second pass."""
        message = pb.GenerateImageRequest()
        message.CopyFrom(first)
        message.seed, message.num_images = seed, 1
        message.height, message.width = self.height, self.width
        message.init_image, message.strength = enlarged, self.strength
        return message

    @property
    def parameters(self) -> Json:
        """As in the infotext."""
        return {"Hires upscale": self.scale, "Hires upscaler": self.network}


def second_pass(
    network: str,
    scale: float,
    strength: float,
    size: tuple[int, int],
    limits: pb.GetStatusResponse.Limits,
) -> SecondPass:
    """`size`: height and width of the first pass.

    Raises:
        Problem: the larger picture is too large, which is said before the first is drawn.
    """
    enlarged = upscaled_size(*size, scale, max(1, limits.size_multiple))
    if enlarged is None:
        text = f"Must be above 1, and at most {MAX_UPSCALE:g}."
        raise bad_fields([("upscale", text, "OUT_OF_RANGE")])
    height, width = enlarged
    if height * width > limits.max_pixels or max(enlarged) > limits.max_size:
        text = (
            f"The larger picture may have {limits.max_size} pixels a side and "
            f"{limits.max_pixels} in all, not {width} x {height}."
        )
        raise bad_fields([("upscale", text, "TOO_MANY_PIXELS")])
    return SecondPass(network, scale, strength, height, width)
