"""What the studio serves besides Streamlit: picture files, the proto file, a cookie, headers.

Pictures have permanent URLs, so that browsers cache them; each URL contains a key that only works
in one browser.
"""

from __future__ import annotations

from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.identity import COOKIE, COOKIE_MAX_AGE_S, Signer
from ui.storage.files import MIME_TYPES, PictureFiles, is_picture_id

PROTO = Path(__file__).parent.parent / "proto" / "text2image.proto"
FOR_EVER = "private, max-age=31536000, immutable"
# Streamlit's page uses inline styles, and its components import scripts from blob URLs.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' ws: wss: data: blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
POLICY = "Content-Security-Policy"
SECURITY_HEADERS = {
    POLICY: CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def base_path(configured: str) -> str:
    """The prefix of every URL path: for example "/app" if served below a path, else ""."""
    path = configured.strip("/")
    return f"/{path}" if path else ""


def picture_address(
    signer: Signer, browser: str, picture_id: str, kind: str, base: str = ""
) -> str:
    """Where this browser finds a picture; `kind` is thumb or full, `base` as of `base_path`."""
    return f"{base}/img/{picture_id}/{kind}?k={signer.picture_key(browser, picture_id)}"


def routes(files: PictureFiles, signer: Signer, base: str = "") -> list[Route]:
    """The studio's own routes, below `base`."""

    def picture(request: Request) -> Response:
        return _picture_response(request, files, signer)

    return [
        Route(f"{base}/img/{{id}}/{{kind}}", picture),
        Route(f"{base}/text2image.proto", _proto),
    ]


def _picture_response(request: Request, files: PictureFiles, signer: Signer) -> Response:
    picture_id, kind = request.path_params["id"], request.path_params["kind"]
    browser = signer.browser_of(request.cookies.get(COOKIE))
    if not is_picture_id(picture_id) or not signer.may_see(
        browser, picture_id, request.query_params.get("k", "")
    ):
        return _not_found()
    path = files.thumbnail(picture_id) if kind == "thumb" else files.original(picture_id)
    if path is None:
        return _not_found()
    mime_type = MIME_TYPES.get("".join(path.suffixes), "image/webp")
    return FileResponse(path, media_type=mime_type, headers={"Cache-Control": FOR_EVER})


def _proto(_request: Request) -> Response:
    return FileResponse(PROTO, media_type="text/plain", filename=PROTO.name)


def _not_found() -> Response:
    return PlainTextResponse("Not found", 404, headers={"Cache-Control": "no-store"})


class IdentityCookie:
    """Gives each browser an id with the first page that it loads."""

    def __init__(self, app: ASGIApp, signer: Signer) -> None:
        self._app = app
        self._signer = signer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_known(scope):
            await self._app(scope, receive, send)
            return
        secure = "; Secure" if scope.get("scheme") == "https" else ""

        async def send_with_cookie(message: Message) -> None:
            if _is_page(message):
                MutableHeaders(scope=message).append(
                    "Set-Cookie",
                    f"{COOKIE}={self._signer.new_cookie()}; Path=/; Max-Age={COOKIE_MAX_AGE_S}; "
                    f"HttpOnly; SameSite=Lax{secure}",
                )
            await send(message)

        await self._app(scope, receive, send_with_cookie)

    def _is_known(self, scope: Scope) -> bool:
        return self._signer.browser_of(HTTPConnection(scope).cookies.get(COOKIE)) is not None


class SecurityHeaders:
    """Adds headers that keep other sites out and our pages from calling other servers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                policy = headers.get(POLICY)  # of a page with a stricter one
                headers.update(SECURITY_HEADERS)
                if policy is not None:
                    headers[POLICY] = policy
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _is_page(message: Message) -> bool:
    """Whether it is a page of the studio: those of demo sessions bring a policy of their own."""
    if message["type"] != "http.response.start":
        return False
    headers = MutableHeaders(scope=message)
    is_html = headers.get("content-type", "").startswith("text/html")
    return is_html and "content-security-policy" not in headers
