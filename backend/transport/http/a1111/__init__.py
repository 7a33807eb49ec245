"""AUTOMATIC1111's API under /sdapi/v1/, for programs written for its web UI.

Formats and names follow modules/api/ of https://github.com/AUTOMATIC1111/stable-diffusion-webui.
"""

from backend.transport.http.a1111.problem import response
from backend.transport.http.a1111.routes import PREFIX, routes

__all__ = ["PREFIX", "response", "routes"]
