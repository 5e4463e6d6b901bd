"""What recipients and carriers do with accepted messages: told by a test or the demo, posted back as real ones are."""

from __future__ import annotations

import asyncio
import html
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
import orjson

from tidings.sandbox.signing import Signer
from tidings.sandbox.store import Accepted, Store
from tidings.sandbox.twilio_rules import incoming

_HREF = re.compile(r"""<a\b[^>]*?\bhref\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE | re.DOTALL)
_URL = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;:!?)]")
_ONE_CLICK = re.compile(r"<(https?://[^>\s]+)>")
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)"')
_SCANNER = "Mozilla/5.0 (compatible; link-scanner/1.0)"
# SendGrid posts at most 768 KB; an event is about 400 bytes.
_EVENTS_A_POST = 500
_AT_ONCE = 32
# Which simulated moment an act happens at; the public web service believes it outside production only.
TIME_HEADER = "X-Sandbox-Time"

# action -> (SendGrid event and its extra fields), (Twilio status and error code)
_EMAIL: dict[str, tuple[str, dict[str, Any]]] = {
    "accept": ("processed", {}),
    "defer": ("deferred", {"response": "451 try again later", "attempt": "1"}),
    "deliver": ("delivered", {"response": "250 OK"}),
    "open": ("open", {"useragent": "Mozilla/5.0", "ip": "127.0.0.1", "sg_machine_open": False}),
    "machine_open": ("open", {"useragent": "Mozilla/5.0", "ip": "127.0.0.1", "sg_machine_open": True}),
    "bounce": ("bounce", {"type": "bounce", "status": "5.1.1", "reason": "550 5.1.1 unknown recipient"}),
    "block": ("bounce", {"type": "blocked", "status": "4.7.1", "reason": "421 4.7.1 try later"}),
    "drop": ("dropped", {"reason": "Bounced Address", "status": "5.0.0"}),
    "complain": ("spamreport", {}),
}
_SMS: dict[str, tuple[str, str | None]] = {
    "accept": ("sent", None),
    "deliver": ("delivered", None),
    "bounce": ("undelivered", "30005"),
    "block": ("undelivered", "30003"),
    "filter": ("undelivered", "30007"),
    "drop": ("failed", "30008"),
}
_REPLIES = {"stop": "STOP", "start": "START", "help": "HELP"}
ACTIONS = tuple(sorted({*_EMAIL, *_SMS, "click", "scan", "fetch", "unsubscribe", "choose", "reply", *_REPLIES}))


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that happens to one message. ``message`` is our id or the provider's.

    ``link`` counts from 0 among the message's links (the first tracked one when None); ``text`` is a reply's.
    ``scan`` is a HEAD request on every link, as mail scanners make them; ``fetch`` gets every link, the unsubscribe
    address included, as the more thorough ones do. ``choose`` opens the preference page and unticks every box.
    """

    message: str
    action: str
    at: datetime | None = None
    link: int | None = None
    text: str = ""


@dataclass(slots=True)
class Posted:
    """How a batch of acts went: requests answered with 2xx or 3xx, and one line for each that was not."""

    acts: int = 0
    requests: int = 0
    failed: list[str] = field(default_factory=list)


def links(words: dict[str, Any]) -> list[str]:
    """Return a message's links in reading order."""
    if words.get("html"):
        return [html.unescape(a or b) for a, b in _HREF.findall(words["html"]) if (a or b).startswith("http")]
    return _URL.findall(words.get("text", ""))


class Recipients:
    """Turns acts into signed webhooks, clicks and one-click unsubscribes.

    ``events_url`` and ``inbound_url`` are what one would enter at SendGrid and Twilio; without them those acts are
    counted as failed.
    """

    def __init__(
        self,
        store: Store,
        signer: Signer,
        *,
        account: str,
        clock: Callable[[], float],
        events_url: str | None,
        inbound_url: str | None,
    ) -> None:
        self.store = store
        self.events_url = events_url
        self.inbound_url = inbound_url
        self.opted_out: set[tuple[str, str]] = set()
        self.suppressed: dict[str, dict[str, float]] = {
            "bounces": {}, "spam_reports": {}, "unsubscribes": {}, "blocks": {}, "invalid_emails": {},
        }  # fmt: skip
        # What Twilio remembers besides what it accepted: texts that came in, and why a text was not delivered.
        self.inbound: list[dict[str, Any]] = []
        self.errors: dict[str, str] = {}
        self._signer = signer
        self._account = account
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def perform(self, acts: Sequence[Act]) -> Posted:
        """Do all of it; SendGrid's events go out in batches, everything else as single requests, many at once."""
        posted = Posted(acts=len(acts))
        events: list[bytes] = []
        singles: list[Callable[[], Awaitable[None]]] = []
        for act in acts:
            message = self.store.find(act.message)
            if message is None:
                posted.failed.append(f"{act.message}: was never accepted")
                continue
            at = self._clock() if act.at is None else act.at.timestamp()
            if message.provider == "sendgrid" and act.action in _EMAIL:
                events.append(self._event(message, act.action, at))
            else:
                singles.append(partial(self._single, act, message, at, posted))
        batches = [events[start : start + _EVENTS_A_POST] for start in range(0, len(events), _EVENTS_A_POST)]
        await self._all([*[partial(self._events, some, posted) for some in batches], *singles])
        return posted

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _all(self, work: Sequence[Callable[[], Awaitable[None]]]) -> None:
        waiting = iter(work)

        async def worker() -> None:
            for one in waiting:
                await one()

        await asyncio.gather(*(worker() for _ in range(min(_AT_ONCE, len(work)))))

    def _event(self, message: Accepted, action: str, at: float) -> bytes:
        name, more = _EMAIL[action]
        if action == "bounce":
            self.suppressed["bounces"][message.to.lower()] = at
        elif action == "complain":
            self.suppressed["spam_reports"][message.to.lower()] = at
        elif action == "block":
            self.suppressed["blocks"][message.to.lower()] = at
        message.seen.append(name)
        return orjson.dumps({
            "email": message.to, "timestamp": int(at), "event": name, "sg_event_id": secrets.token_urlsafe(24),
            "sg_message_id": f"{message.id}.recvd-sandbox-1-{message.no:X}.0", "smtp-id": f"<{message.id}@sandbox>",
            **({"d": message.message} if message.message else {}), **more,
        })  # fmt: skip

    async def _events(self, events: Sequence[bytes], posted: Posted) -> None:
        if self.events_url is None:
            posted.failed.append(f"{len(events)} events: no webhook address is set for SendGrid")
            return
        # A real body ends with CR LF, which is signed as well.
        body = b"[" + b",\r\n".join(events) + b"]\r\n"
        await self._request("POST", self.events_url, posted, body, self._signer.sendgrid(body, str(int(time.time()))))

    async def _single(self, act: Act, message: Accepted, at: float, posted: Posted) -> None:
        match act.action:
            case "click" | "scan" | "fetch":
                await self._visit(act, message, at, posted)
            case "choose" if message.provider == "sendgrid":
                await self._choose(message, at, posted)
            case "unsubscribe" if message.provider == "sendgrid":
                await self._unsubscribe(message, at, posted)
            case "stop" | "start" | "help" | "reply" if message.provider == "twilio":
                await self._reply(message, act.text or _REPLIES.get(act.action, ""), at, posted)
            case action if message.provider == "twilio" and action in _SMS:
                await self._status(message, *_SMS[action], at, posted)
            case action:
                posted.failed.append(f"{act.message}: {message.provider} knows no {action}")

    async def _visit(self, act: Act, message: Accepted, at: float, posted: Posted) -> None:
        found = links(self.store.words(message))
        if act.action == "scan":
            for url in found:
                await self._request("HEAD", url, posted, headers=_moment(at))
            return
        if act.action == "fetch":
            headers = self.store.words(message).get("headers") or {}
            for url in [*found, *_ONE_CLICK.findall(headers.get("List-Unsubscribe", ""))]:
                await self._request("GET", url, posted, headers={"User-Agent": _SCANNER, **_moment(at)})
            return
        tracked = [url for url in found if "/c/" in urlsplit(url).path]
        at_all = tracked[:1] if act.link is None else found[act.link : act.link + 1]
        if not at_all:
            posted.failed.append(f"{act.message}: has no such link to click")
            return
        message.seen.append("click")
        await self._request("GET", at_all[0], posted, headers={"User-Agent": "Mozilla/5.0", **_moment(at)})

    async def _unsubscribe(self, message: Accepted, at: float, posted: Posted) -> None:
        headers = self.store.words(message).get("headers", {})
        url = _ONE_CLICK.search(headers.get("List-Unsubscribe", ""))
        if url is None:
            posted.failed.append(f"{message.message}: offers no one-click unsubscribe")
            return
        message.seen.append("unsubscribe")
        form = {"Content-Type": "application/x-www-form-urlencoded", **_moment(at)}
        await self._request("POST", url[1], posted, b"List-Unsubscribe=One-Click", form)

    async def _choose(self, message: Accepted, at: float, posted: Posted) -> None:
        """Say no to everything on the preference page, as a browser without JavaScript does."""
        page = next((url for url in links(self.store.words(message)) if "/p/" in urlsplit(url).path), None)
        if page is None:
            posted.failed.append(f"{message.message}: has no link to choose")
            return
        message.seen.append("choose")
        form = {"Content-Type": "application/x-www-form-urlencoded", **_moment(at)}
        shown = await self._request("POST", page, posted, b"", form)
        fields = [
            (html.unescape(name), html.unescape(value))
            for name, value in _HIDDEN.findall(shown.decode("utf-8", "replace"))
        ]
        if fields:
            await self._request("POST", page, posted, urlencode(fields).encode(), form)
        else:
            posted.failed.append(f"{message.message}: its preference page shows no form")

    async def _reply(self, message: Accepted, text: str, at: float, posted: Posted) -> None:
        word = text.strip().upper()
        line = (message.to, message.sender)
        if word in ("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"):
            self.opted_out.add(line)
        elif word in ("START", "YES", "UNSTOP"):
            self.opted_out.discard(line)
        message.seen.append(f"reply: {text}"[:80])
        sid = "SM" + secrets.token_hex(16)
        answer = {"From": message.to, "To": message.sender, "Body": text}
        self.inbound.append(incoming(sid, self._account, answer, datetime.fromtimestamp(at, UTC)))
        if self.inbound_url is None:
            posted.failed.append(f"{message.message}: no address is set for incoming texts")
            return
        form = {"MessageSid": sid, "SmsSid": sid, "AccountSid": self._account, "From": message.to,
                "To": message.sender, "Body": text, "NumMedia": "0", "NumSegments": "1"}  # fmt: skip
        await self._signed(self.inbound_url, form, at, posted)

    async def _status(self, message: Accepted, status: str, code: str | None, at: float, posted: Posted) -> None:
        message.seen.append(status)
        if code is not None:
            self.errors[message.id] = code
        if message.callback is None:
            posted.failed.append(f"{message.message}: no status callback was asked for")
            return
        form = {"MessageSid": message.id, "SmsSid": message.id, "MessageStatus": status, "SmsStatus": status,
                "AccountSid": self._account, "To": message.to, "From": message.sender, "ApiVersion": "2010-04-01",
                **({"ErrorCode": code} if code else {})}  # fmt: skip
        await self._signed(message.callback, form, at, posted)

    async def _signed(self, url: str, form: dict[str, str], at: float, posted: Posted) -> None:
        headers = {**self._signer.twilio(url, form), **_moment(at)}
        await self._request("POST", url, posted, urlencode(form).encode(), headers)

    async def _request(
        self, method: str, url: str, posted: Posted, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_AT_ONCE), timeout=aiohttp.ClientTimeout(total=30),
                cookie_jar=aiohttp.DummyCookieJar(),
            )  # fmt: skip
        try:
            status, said = await self._asked(method, url, body, headers)
        except (aiohttp.ClientError, OSError, TimeoutError) as lost:
            posted.failed.append(f"{method} {urlsplit(url).path[:20]}: {type(lost).__name__}")
            return b""
        posted.requests += 1
        if status >= 400:
            posted.failed.append(f"{method} {urlsplit(url).path[:20]}: answered {status}")
        return said

    async def _asked(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str] | None
    ) -> tuple[int, bytes]:
        """Return status and body of an answer; whoever hangs up before answering is asked once more."""
        try:
            return await self._answered(method, url, body, headers)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # A server gives up an idle connection at the very moment at which it is used again. Providers repeat, too.
            return await self._answered(method, url, body, headers)

    async def _answered(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str] | None
    ) -> tuple[int, bytes]:
        assert self._session is not None
        async with self._session.request(method, url, data=body, headers=headers, allow_redirects=False) as answer:
            return answer.status, await answer.read()


def _moment(at: float) -> dict[str, str]:
    return {TIME_HEADER: datetime.fromtimestamp(at, UTC).isoformat()}
