"""The handlers of the public web service: each checks who asks and how much, and leaves every rule to the jobs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from tidings.channels import sendgrid, twilio
from tidings.channels.scanners import is_scanner
from tidings.content.links import TokenKind
from tidings.errors import LedgerError
from tidings.jobs import clicks, say, texts, way_back
from tidings.jobs.bearer import bearer
from tidings.jobs.opening import Opened
from tidings.jobs.say import Key
from tidings.model.people import Channel
from tidings.web.public_intake import Intake
from tidings.web.public_limits import Buckets, client
from tidings.web.public_page import Pages

log = logging.getLogger(__name__)

LARGEST_WEBHOOK = 5 * 1024 * 1024
LARGEST_FORM = 64 * 1024
MOST_FIELDS = 200
MOST_EVENTS = 100_000
# A body must have come within so long; a bigger one is read and understood beside the others' requests.
PATIENCE, _SMALL = 30.0, 32 * 1024
_CLOCK_HOLDS = 20.0
_TWIML = '<?xml version="1.0" encoding="UTF-8"?>'
# The sandbox tells the simulated moment of an act; nobody is believed about the time in production.
_SANDBOX_TIME = "X-Sandbox-Time"


class TooLarge(Exception):
    """A body above its limit; answered with 413 without reading the rest."""


class TooOften(Exception):
    """A client above its limit; ``after`` is when to come again, in seconds."""

    def __init__(self, after: int) -> None:
        super().__init__("too many requests")
        self.after = after


class Doors:
    """The handlers. Databases are waited for in threads; nothing here decides a rule."""

    def __init__(self, opened: Opened, pages: Pages, intake: Intake) -> None:
        self._opened = opened
        self._pages = pages
        self._base = opened.settings.public_url.rstrip("/")
        self._simulated = not opened.settings.production
        self._intake = intake
        limits = opened.settings.web
        self._header = limits.client_header
        self._bearers = Buckets(limits.per_minute)
        self._clients = Buckets(limits.per_minute * 5)
        self._wrong = Buckets(limits.wrong_per_minute)
        self._clock: tuple[float, datetime] | None = None

    async def sendgrid(self, request: Request) -> Response:
        body = await _body(request, LARGEST_WEBHOOK)
        given = request.headers
        signature = given.get("X-Twilio-Email-Event-Webhook-Signature")
        timestamp = given.get("X-Twilio-Email-Event-Webhook-Timestamp")
        at, keys = datetime.now(UTC), self._opened.secrets.webhook_keys
        if not any(sendgrid.verified(key, signature, timestamp, body, at) for key in keys):
            return self._forged(request, "sendgrid")
        try:
            now = await self._now()
            if len(body) <= _SMALL:
                report = way_back.read_sendgrid(self._opened, body, now)
            else:
                report = await run_in_threadpool(way_back.read_sendgrid, self._opened, body, now)
        except ValueError:
            return PlainTextResponse("the body must be a JSON list of events\n", 400)
        if len(report.raws) > MOST_EVENTS:
            raise TooLarge
        for part in way_back.parts(report):
            await self._intake.take(part)
        return Response(status_code=204)

    async def twilio_status(self, request: Request) -> Response:
        form = await self._twilio(request)
        if form is None:
            return self._forged(request, "twilio")
        named = request.query_params.get("d", "")
        report = way_back.read_status(self._opened, form, named, await self._moment(request))
        await self._intake.take(report)
        return Response(status_code=204)

    async def twilio_inbound(self, request: Request) -> Response:
        form = await self._twilio(request)
        if form is None:
            return self._forged(request, "twilio")
        text, said = twilio.inbound(form), None
        if text is not None:
            at = await self._moment(request)
            said = await run_in_threadpool(texts.take_inbound, self._opened, text, form, at)
        # Twilio itself confirms its own words; an empty answer sends nothing.
        answer = f"<Response><Message>{escape(said)}</Message></Response>" if said else "<Response/>"
        return Response(_TWIML + answer, media_type="text/xml")

    async def click(self, request: Request) -> Response:
        token = request.path_params["token"]
        known = self._let_in(request, token)
        at, machine = await self._moment(request), _machine(request)
        found = await run_in_threadpool(clicks.follow, self._opened, token, at, machine=machine)
        if found is None:
            return self._pages.gone() if known is TokenKind.CLICK else self._pages.missing()
        target, report = found
        try:
            await self._intake.take(report)
        except LedgerError:
            # The person gets to the shop all the same: this click is lost, and logged.
            log.exception("a click was not recorded")
        return RedirectResponse(target, 302)

    async def unsubscribe(self, request: Request) -> Response:
        """RFC 8058: no cookie, no session, no redirect; the token in the address is the whole permission.

        A visit only asks: mail scanners open every link, and must unsubscribe nobody.
        """
        token = request.path_params["token"]
        if self._let_in(request, token) is not TokenKind.UNSUBSCRIBE:
            return self._pages.missing()
        if request.method != "POST":
            found = await run_in_threadpool(bearer, self._opened, token, TokenKind.UNSUBSCRIBE)
            return self._pages.gone() if found is None else self._pages.confirm(Channel(found.channel))
        await _body(request, LARGEST_FORM)
        at = await self._moment(request)
        if not await run_in_threadpool(say.unsubscribe, self._opened, token, at):
            return self._pages.gone()
        return self._pages.unsubscribed()

    async def preferences(self, request: Request) -> Response:
        """Show and save what a person chose, after a word of theirs; a visit shows nothing."""
        token = request.path_params["token"]
        if self._let_in(request, token) is not TokenKind.PREFERENCES:
            return self._pages.missing()
        if request.method != "POST":
            found = await run_in_threadpool(bearer, self._opened, token, TokenKind.PREFERENCES)
            return self._pages.gone() if found is None else self._pages.ask_first()
        fields = _fields(await _body(request, LARGEST_FORM))
        form, shown, at = (
            dict(fields),
            [value for name, value in fields if name == "shown"],
            await self._moment(request),
        )
        choices = await run_in_threadpool(say.choices, self._opened, token, at)
        if choices is None:
            return self._pages.gone()
        if form.get("do") != "save":
            return self._pages.preferences(choices)
        saved = await run_in_threadpool(
            say.choose, self._opened, token, _wanted(shown, form), at,
            stamp=form.get("stamp", ""), wording=self._pages.wording(choices),
        )  # fmt: skip
        return self._pages.gone() if saved is None else self._pages.preferences(saved.choices, saved)

    async def style(self, request: Request) -> Response:
        self._limit(self._clients, self._client(request))
        return Response(self._pages.style, media_type="text/css")

    async def healthz(self, request: Request) -> Response:
        self._limit(self._clients, self._client(request))
        await run_in_threadpool(self._opened.ledger.now)
        return PlainTextResponse("ok\n")

    def noted_wrong(self, request: Request) -> None:
        """Count a request for nothing of ours against its client; raises TooOften."""
        wait = self._wrong.wait(self._client(request))
        if wait:
            raise TooOften(wait)

    def _let_in(self, request: Request, token: str) -> TokenKind | None:
        """Return what a token is for. Wrong ones count against the client, right ones against themselves only:
        many people share an address, and mailbox providers unsubscribe for many."""
        told = self._opened.signer.read(token)
        if told is None:
            self.noted_wrong(request)
            return None
        self._limit(self._bearers, f"{told.kind}:{told.message_id}")
        return told.kind

    def _limit(self, buckets: Buckets, key: str) -> None:
        wait = buckets.wait(key)
        if wait:
            raise TooOften(wait)

    def _client(self, request: Request) -> str:
        return client(request, self._header)

    def _forged(self, request: Request, provider: str) -> Response:
        self.noted_wrong(request)
        log.warning("refused a webhook without a valid signature provider=%s", provider)
        return PlainTextResponse("the signature does not hold\n", 401)

    async def _twilio(self, request: Request) -> Mapping[str, str] | None:
        """Return a verified form, or None. The signed address is the configured one: a proxy may have changed Host."""
        body = await _body(request, LARGEST_FORM)
        # As it was asked for, byte by byte: a decoded address is another one.
        path = request.scope.get("raw_path", request.url.path.encode()).split(b"?")[0].decode("latin-1")
        query = request.scope.get("query_string", b"").decode("latin-1")
        url = f"{self._base}{path}{f'?{query}' if query else ''}"
        params: str | dict[str, str | list[str]]
        if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "application/json":
            params, form = _document(body)
        else:
            params, form = _listed(_fields(body))
        settings = request.headers.get("X-Twilio-Webhooks-Signature-Settings")
        signature = request.headers.get("X-Twilio-Signature")
        tokens = self._opened.secrets.webhook_tokens
        if not any(twilio.verified(token, signature, url, params, settings) for token in tokens):
            return None
        return form

    async def _now(self) -> datetime:
        """Return the ledger's clock, asked now and then and carried on by ours."""
        carried = time.monotonic()
        if self._clock is None or carried - self._clock[0] > _CLOCK_HOLDS:
            told = await run_in_threadpool(self._opened.ledger.now)
            carried = time.monotonic()
            self._clock = (carried, told)
        return self._clock[1] + timedelta(seconds=carried - self._clock[0])

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


def _machine(request: Request) -> bool:
    """Return whether a click is a program's by how it asks: only the head, ahead of time, or under its own name."""
    given = request.headers
    ahead = any("prefetch" in given.get(name, "").lower() for name in ("Sec-Purpose", "Purpose", "X-Moz", "X-Purpose"))
    return request.method == "HEAD" or ahead or is_scanner(given.get("User-Agent", ""))


def _wanted(shown: list[str], form: Mapping[str, str]) -> dict[Key, bool]:
    """Return what was chosen for every line that was shown: an empty box is a "no" only where a box was."""
    known = {channel.value: channel for channel in Channel}
    found: dict[Key, bool] = {}
    for name in shown:
        channel, _, purpose = name.partition(".")
        if channel in known and purpose:
            found[known[channel], purpose] = name in form
    return found


async def _body(request: Request, limit: int) -> bytes:
    length = request.headers.get("Content-Length", "0")
    if not (length.isascii() and length.isdigit()) or int(length) > limit:
        raise TooLarge
    found = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            async for chunk in request.stream():
                found += chunk
                if len(found) > limit:
                    raise TooLarge
    except TimeoutError:
        raise HTTPException(408) from None
    except ClientDisconnect:
        # Nobody is there to read the answer, and it is no failure of ours.
        raise HTTPException(400) from None
    return bytes(found)


def _fields(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise TooLarge from None


def _listed(fields: list[tuple[str, str]]) -> tuple[dict[str, str | list[str]], dict[str, str]]:
    listed: dict[str, str | list[str]] = {}
    for name, value in fields:
        before = listed.get(name)
        listed[name] = value if before is None else [*(before if isinstance(before, list) else [before]), value]
    return listed, dict(fields)


def _document(body: bytes) -> tuple[str, dict[str, str]]:
    """Return a JSON body as it was signed, and its plain values as a form has them."""
    try:
        text = body.decode()
        given = orjson.loads(body)
    except ValueError:
        return "", {}
    return text, {str(name): str(value) for name, value in given.items()} if isinstance(given, dict) else {}
