"""What faces the internet: provider webhooks, the click redirect, and the pages on which people say stop."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidings.channels import sendgrid, twilio
from tidings.errors import LedgerError
from tidings.jobs import take_webhook
from tidings.jobs.opening import Opened
from tidings.model.people import Channel
from tidings.web.public_page import Pages

log = logging.getLogger(__name__)

LARGEST_WEBHOOK = 5 * 1024 * 1024
LARGEST_FORM = 64 * 1024
MOST_FIELDS = 200
_TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response/>'
# The sandbox tells the simulated moment of an act; nobody is believed about the time in production.
_SANDBOX_TIME = "X-Sandbox-Time"


class TooLarge(Exception):
    """A body above its limit; answered with 413 without reading the rest."""


def public_app(opened: Opened) -> ASGIApp:
    """Return the public web service of a project: it writes to the ledger and shows nobody's data."""
    doors = _Doors(opened, Pages(opened.brand))
    routes = [
        Route("/healthz", doors.healthz),
        Route("/public.css", doors.style),
        Route("/webhooks/sendgrid", doors.sendgrid, methods=["POST"]),
        Route("/webhooks/twilio/status", doors.twilio_status, methods=["POST"]),
        Route("/webhooks/twilio/inbound", doors.twilio_inbound, methods=["POST"]),
        Route("/c/{token}", doors.click),
        Route("/u/{token}", doors.confirm, methods=["GET", "HEAD"]),
        Route("/u/{token}", doors.unsubscribe, methods=["POST"]),
        Route("/p/{token}", doors.preferences, methods=["GET", "HEAD"]),
        Route("/p/{token}", doors.choose, methods=["POST"]),
    ]
    secure = opened.settings.public_url.startswith("https://")
    return Starlette(
        routes=routes,
        middleware=[Middleware(_Headers, secure=secure)],
        exception_handlers={404: doors.missing, TooLarge: _too_large, LedgerError: _unavailable},
    )


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


class _Doors:
    """The handlers. Databases are waited for in threads; nothing here decides a rule."""

    def __init__(self, opened: Opened, pages: Pages) -> None:
        self._opened = opened
        self._pages = pages
        self._base = opened.settings.public_url.rstrip("/")
        self._simulated = not opened.settings.production

    async def sendgrid(self, request: Request) -> Response:
        body = await _body(request, LARGEST_WEBHOOK)
        given = request.headers
        signature = given.get("X-Twilio-Email-Event-Webhook-Signature")
        timestamp = given.get("X-Twilio-Email-Event-Webhook-Timestamp")
        key = self._opened.secrets.sendgrid_webhook_key
        if key is None or not sendgrid.verified(key, signature, timestamp, body, datetime.now(UTC)):
            return _forged("sendgrid")
        try:
            await run_in_threadpool(take_webhook.take_sendgrid, self._opened, body, await self._now())
        except ValueError:
            return PlainTextResponse("the body must be a JSON list of events\n", 400)
        return Response(status_code=204)

    async def twilio_status(self, request: Request) -> Response:
        form = await self._twilio(request)
        if form is None:
            return _forged("twilio")
        named, at = request.query_params.get("d", ""), await self._moment(request)
        await run_in_threadpool(take_webhook.take_status, self._opened, form, named, at)
        return Response(status_code=204)

    async def twilio_inbound(self, request: Request) -> Response:
        form = await self._twilio(request)
        if form is None:
            return _forged("twilio")
        text = twilio.inbound(form)
        if text is not None:
            await run_in_threadpool(take_webhook.take_inbound, self._opened, text, await self._moment(request))
        # Twilio itself confirms STOP and HELP; an empty answer sends nothing.
        return Response(_TWIML, media_type="text/xml")

    async def click(self, request: Request) -> Response:
        token, machine = request.path_params["token"], request.method == "HEAD"
        at = await self._moment(request)
        target = await run_in_threadpool(take_webhook.follow, self._opened, token, at, machine=machine)
        return await self.missing(request) if target is None else RedirectResponse(target, 302)

    async def confirm(self, request: Request) -> Response:
        """Ask only: mail scanners open every link, and must unsubscribe nobody."""
        found = await run_in_threadpool(take_webhook.choices, self._opened, request.path_params["token"])
        return await self.missing(request) if found is None else self._pages.confirm(found)

    async def unsubscribe(self, request: Request) -> Response:
        """RFC 8058: no cookie, no session, no redirect; the token in the address is the whole permission."""
        await _body(request, LARGEST_FORM)
        token, at = request.path_params["token"], await self._moment(request)
        if not await run_in_threadpool(take_webhook.unsubscribe, self._opened, token, at):
            return await self.missing(request)
        return self._pages.unsubscribed()

    async def preferences(self, request: Request) -> Response:
        found = await run_in_threadpool(take_webhook.choices, self._opened, request.path_params["token"])
        return await self.missing(request) if found is None else self._pages.preferences(found)

    async def choose(self, request: Request) -> Response:
        form = dict(_fields(await _body(request, LARGEST_FORM)))
        token, at = request.path_params["token"], await self._moment(request)
        wanted = {channel: channel.value in form for channel in Channel}
        if not await run_in_threadpool(take_webhook.choose, self._opened, token, wanted, at):
            return await self.missing(request)
        found = await run_in_threadpool(take_webhook.choices, self._opened, token)
        assert found is not None
        return self._pages.preferences(found, saved=True)

    async def missing(self, request: Request, _: Exception | None = None) -> Response:
        return self._pages.missing()

    async def style(self, request: Request) -> Response:
        return Response(self._pages.style, media_type="text/css")

    async def healthz(self, request: Request) -> Response:
        await self._now()
        return PlainTextResponse("ok\n")

    async def _twilio(self, request: Request) -> Mapping[str, str] | None:
        """Return a verified form, or None. The signed address is the configured one: a proxy may have changed Host."""
        fields = _fields(await _body(request, LARGEST_FORM))
        token = self._opened.secrets.twilio_auth_token
        query = f"?{request.url.query}" if request.url.query else ""
        url = f"{self._base}{request.url.path}{query}"
        listed: dict[str, str | list[str]] = {}
        for name, value in fields:
            before = listed.get(name)
            listed[name] = value if before is None else [*(before if isinstance(before, list) else [before]), value]
        if token is None or not twilio.verified(token, request.headers.get("X-Twilio-Signature"), url, listed):
            return None
        return dict(fields)

    async def _now(self) -> datetime:
        return await run_in_threadpool(self._opened.ledger.now)

    async def _moment(self, request: Request) -> datetime:
        told = request.headers.get(_SANDBOX_TIME) if self._simulated else None
        if told is not None:
            try:
                at = datetime.fromisoformat(told)
            except ValueError:
                at = None
            if at is not None and at.tzinfo is not None:
                return at
        return await self._now()


async def _body(request: Request, limit: int) -> bytes:
    length = request.headers.get("Content-Length", "0")
    if not length.isdigit() or int(length) > limit:
        raise TooLarge
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > limit:
            raise TooLarge
    return bytes(found)


def _fields(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise TooLarge from None


def _forged(provider: str) -> Response:
    log.warning("refused a webhook without a valid signature provider=%s", provider)
    return PlainTextResponse("the signature does not hold\n", 401)


async def _too_large(request: Request, _: Exception) -> Response:
    return PlainTextResponse("the body is too large\n", 413)


async def _unavailable(request: Request, _: Exception) -> Response:
    # Providers deliver again; people are asked to.
    log.exception("the ledger could not be used path=%s", request.url.path.split("/")[1])
    return PlainTextResponse("please try again in a minute\n", 503, headers={"Retry-After": "60"})
