"""AUTOMATIC1111's API, as the programs built for its web UI call it: /sdapi/v1/.

Shapes and names follow modules/api/ of https://github.com/AUTOMATIC1111/stable-diffusion-webui.
"""

from backend.transport.http.a1111.problem import response
from backend.transport.http.a1111.routes import PREFIX, routes

__all__ = ["PREFIX", "response", "routes"]
