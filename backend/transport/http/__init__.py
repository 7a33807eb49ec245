"""The HTTP server: a small app that forwards to the gRPC port.

So validation, authorization, queueing and errors are implemented only once, behind gRPC.
"""

from backend.transport.http.app import create_app
from backend.transport.http.serve import HttpServer, serve_http

__all__ = ["HttpServer", "create_app", "serve_http"]
