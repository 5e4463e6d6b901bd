"""What faces the internet: provider webhooks, the click redirect, and the pages on which people say stop."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidings.errors import LedgerError
from tidings.jobs.opening import Opened
from tidings.web.public_doors import Doors, TooLarge, TooOften
from tidings.web.public_intake import Intake
from tidings.web.public_page import FOLDER, Pages

log = logging.getLogger(__name__)

_LOOK, _ANSWER = ["GET", "HEAD"], ["GET", "HEAD", "POST"]


def public_app(opened: Opened, intake: Intake | None = None) -> ASGIApp:
    """Return the public web service of a project: it writes to the ledger and shows nobody's data.

    ``intake`` is another way to write what providers report. Raises DefinitionError when the shop's own pages do not
    render.
    """
    base = urlsplit(opened.settings.public_url).path.rstrip("/")
    pages = Pages(opened.brand, opened.project.folder / FOLDER, base)
    doors = Doors(opened, pages, intake or Intake(opened))
    routes = [
        Route("/healthz", doors.healthz, methods=_LOOK),
        Route("/public.css", doors.style, methods=_LOOK),
        Route("/webhooks/sendgrid", doors.sendgrid, methods=["POST"]),
        Route("/webhooks/twilio/status", doors.twilio_status, methods=["POST"]),
        Route("/webhooks/twilio/inbound", doors.twilio_inbound, methods=["POST"]),
        Route("/c/{token}", doors.click, methods=_LOOK),
        Route("/u/{token}", doors.unsubscribe, methods=_ANSWER),
        Route("/p/{token}", doors.preferences, methods=_ANSWER),
    ]
    errors = _Errors(pages, doors)
    app = Starlette(
        routes=routes,
        exception_handlers={
            404: errors.missing, HTTPException: errors.refused, TooLarge: errors.too_large, TooOften: errors.too_often,
            LedgerError: errors.unavailable, 500: errors.broken,
        },
    )  # fmt: skip
    # Outside everything else, so that the answer to a failure carries them too.
    return _Headers(app, secure=opened.settings.public_url.startswith("https://"))


class _Headers:
    """Security headers on every answer, whatever answered."""

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        self._app = app
        given = {
            "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
            "frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            # The token in the address must not reach the shop, or anybody else.
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
            "Cross-Origin-Opener-Policy": "same-origin",
            "X-Robots-Tag": "noindex, nofollow",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        }
        if secure:
            given["Strict-Transport-Security"] = "max-age=31536000"
        self._given = [(name.lower().encode(), value.encode()) for name, value in given.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._given]
            await send(message)

        await self._app(scope, receive, with_headers)


class _Errors:
    """What a person, or a provider, is told when something does not work: a page for the one, a line for the other."""

    def __init__(self, pages: Pages, doors: Doors) -> None:
        self._pages = pages
        self._doors = doors

    def _said(self, request: Request, status: int, line: str, after: int | None = None) -> Response:
        if request.url.path.startswith("/webhooks/"):
            headers = {} if after is None else {"Retry-After": str(after)}
            return PlainTextResponse(f"{line}\n", status, headers=headers)
        return self._pages.trouble(status, after=after)

    async def missing(self, request: Request, _: Exception) -> Response:
        self._doors.noted_wrong(request)
        return self._pages.missing()

    async def refused(self, request: Request, refusal: Exception) -> Response:
        status = refusal.status_code if isinstance(refusal, HTTPException) else 400
        answer = self._said(request, status, "this is not how it is asked")
        if isinstance(refusal, HTTPException) and refusal.headers:
            answer.headers.update(refusal.headers)
        return answer

    async def too_large(self, request: Request, _: Exception) -> Response:
        return self._said(request, 413, "the body is too large")

    async def too_often(self, request: Request, refusal: Exception) -> Response:
        assert isinstance(refusal, TooOften)
        return self._said(request, 429, "too many requests", refusal.after)

    async def unavailable(self, request: Request, _: Exception) -> Response:
        # Providers deliver again; people are asked to.
        log.exception("the ledger could not be used path=%s", request.url.path.split("/")[1][:20])
        return self._said(request, 503, "please try again in a minute", 60)

    async def broken(self, request: Request, _: Exception) -> Response:
        return self._said(request, 500, "please try again in a minute")
