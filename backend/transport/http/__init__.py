"""The JSON and HTTP front: a small app that forwards to the gRPC port.

Validation, authorization, queue and errors therefore apply once, behind the contract.
"""

from backend.transport.http.app import create_app
from backend.transport.http.serve import HttpServer, serve_http

__all__ = ["HttpServer", "create_app", "serve_http"]
