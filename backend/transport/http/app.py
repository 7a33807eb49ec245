"""Builds the HTTP app: routes, errors, and access from other origins."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

import grpc
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

from backend.transport.http import a1111, connect, mcp, openapi, probes
from backend.transport.http.a1111.sessions import Sessions
from backend.transport.http.body import ClientDisconnected
from backend.transport.http.gate import KeyGuard, RefusalLog
from backend.transport.http.lingering import Lingering
from backend.transport.http.openai import edits, images, models, shelf
from backend.transport.http.openai import errors as openai_errors
from backend.transport.http.openai.aliases import Aliases
from backend.transport.http.origin import OriginGuard
from backend.transport.http.problem import Problem, connect_error
from backend.transport.http.upstream import SERVICE, Upstream, path_of
from backend.transport.metrics import Metrics
from backend.transport.rpc.identity import Identifier

EXPOSED_HEADERS = [
    "Connect-Content-Encoding",
    "Mcp-Session-Id",
    "Retry-After",
    "X-Ignored-Parameters",
    "X-Request-Id",
    "X-Seed",
    "X-Should-Retry",
]


def create_app(
    target: str,
    *,
    cors_origins: Sequence[str] = (),
    allowed_hosts: Sequence[str] = (),
    identifier: Identifier | None = None,
    metrics: Metrics | None = None,
    openai_aliases: Sequence[str] = (),
    result_ttl_s: float = 300.0,
    secret: str = "",
) -> Starlette:
    """The HTTP app in front of the gRPC server at `target`, for example 127.0.0.1:50051.

    Args:
        cors_origins: allowed origins of web pages, such as https://example.org; "*": all.
        allowed_hosts: names of this server; see OriginGuard.
        identifier: the gRPC server's, to refuse unknown callers before reading their body.
        metrics: the gRPC server's.
        openai_aliases: names of the default model under /v1/; see Aliases.
        result_ttl_s: how long images requested by URL are stored.
        secret: what the gRPC server wants to see of this front, where it does.
    """

    metrics = metrics or Metrics()

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.upstream = Upstream(target, secret)
        app.state.metrics = metrics
        app.state.aliases = Aliases(openai_aliases)
        app.state.shelf = shelf.Shelf(result_ttl_s)
        app.state.lingering = Lingering()
        app.state.a1111 = Sessions()
        app.state.mcp = mcp.Mcp()
        try:
            yield
        finally:
            await app.state.lingering.stop()
            await app.state.mcp.stop()
            await app.state.upstream.close()

    return Starlette(
        routes=_routes(),
        middleware=[
            Middleware(RefusalLog, metrics=metrics),
            *_middleware(cors_origins, allowed_hosts),
            Middleware(KeyGuard, identifier=identifier or Identifier(), render=render),
        ],
        exception_handlers={
            Problem: _answer_problem,
            HTTPException: _answer_http_exception,
            ClientDisconnected: _answer_nobody,
            Exception: _answer_unexpected,
        },
        lifespan=lifespan,
    )


def _routes() -> list[Route]:
    return [
        *(_rpc_route(name) for name in SERVICE.methods_by_name),
        Route("/v1/images/generations", images.generate, methods=["POST"]),
        Route("/v1/images/edits", edits.edit, methods=["POST"]),
        Route("/v1/images/variations", edits.vary, methods=["POST"]),
        Route(f"{shelf.PATH}{{name}}", shelf.serve, methods=["GET"]),
        Route("/v1/models", models.list_all, methods=["GET"]),
        Route("/v1/models/capabilities", models.capabilities, methods=["GET"]),
        Route("/v1/models/{model:path}", models.retrieve, methods=["GET"]),
        *a1111.routes(),
        Route("/mcp", mcp.Endpoint(), methods=["GET", "POST", "DELETE"]),
        Route("/health", probes.healthz, methods=["GET"]),
        Route("/healthz", probes.healthz, methods=["GET"]),
        Route("/readyz", probes.readyz, methods=["GET"]),
        Route("/metrics", probes.metrics, methods=["GET"]),
        Route("/openapi.json", openapi.document, methods=["GET"]),
    ]


def _rpc_route(name: str) -> Route:
    method = SERVICE.methods_by_name[name]
    methods = ["POST", "GET"] if method.server_streaming else ["POST"]
    return Route(path_of(method), connect.endpoint(method), methods=methods)


def _middleware(cors_origins: Sequence[str], allowed_hosts: Sequence[str]) -> list[Middleware]:
    guard = Middleware(
        OriginGuard, render=render, origins=tuple(cors_origins), hosts=tuple(allowed_hosts)
    )
    if not cors_origins:
        return [guard]
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(cors_origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],  # SDKs send their own: x-stainless-lang, connect-timeout-ms
        expose_headers=EXPOSED_HEADERS,
    )
    return [cors, guard]


def render(request: Request, problem: Problem) -> Response:
    """A problem in the error format of the path's API."""
    if connect.is_enveloped(request):
        return connect.refusal(request, problem)
    if request.url.path.startswith(a1111.PREFIX):
        return a1111.response(problem)
    body, headers = connect_error(problem), problem.headers
    if request.url.path.startswith("/v1/"):
        body, headers = openai_errors.body(problem), openai_errors.headers(problem)
    return JSONResponse(body, status_code=problem.http_status, headers=headers)


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return render(request, error)


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=headers)
    is_missing = error.status_code == 404
    text = "No such path; see /openapi.json." if is_missing else error.detail
    code = grpc.StatusCode.UNIMPLEMENTED if is_missing else grpc.StatusCode.UNKNOWN
    return render(request, Problem(code, text, http_status=error.status_code, headers=headers))


def _methods(request: Request) -> list[str]:
    """What the path takes, of all its routes: Starlette names those of the first."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in matching for method in route.methods or ()})


async def _answer_nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=499)


async def _answer_unexpected(request: Request, error: Exception) -> Response:
    # Starlette raises it again after this answer, and uvicorn logs it.
    return render(request, Problem(grpc.StatusCode.INTERNAL, "internal error"))
