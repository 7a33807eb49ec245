"""What the pages of a session are answered: pages, errors, QR codes."""

from __future__ import annotations

import io

import segno
from starlette.responses import JSONResponse, Response

from ui.sessions import static_files
from ui.sessions.asking import Refused

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
STATUS = {"limit": 429, "queue": 429, "used": 409, "removed": 403, "ended": 410}


def html_page(name: str, status: int = 200, notice: str = "") -> Response:
    """One of our own pages, with a strict content security policy."""
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return Response(static_files.page(name, notice), status, headers, "text/html")


def problem(status: int, code: str, text: str, **extra: object) -> Response:
    """An error for our own pages."""
    told = {"code": code, "text": text, **extra}
    return JSONResponse(told, status, headers={"Cache-Control": "no-store"})


def refused(refusal: Refused) -> Response:
    status = STATUS.get(refusal.code, 400)
    return problem(status, refusal.code, str(refusal), until=refusal.until)


def qr_svg(text: str) -> bytes:
    """A QR code as SVG, black on white in every theme, which some readers need."""
    file = io.BytesIO()
    code = segno.make(text, error="m", micro=False)
    code.save(file, kind="svg", scale=8, border=2, dark="#14142a", light="#ffffff", xmldecl=False)
    return file.getvalue()
