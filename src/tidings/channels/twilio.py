"""Twilio in both directions: an envelope becomes a Message, callbacks and replies become engagements and wishes."""

from __future__ import annotations

import hashlib
import logging
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout
from twilio.http import AsyncHttpClient  # type: ignore[import-untyped]
from twilio.http.response import Response  # type: ignore[import-untyped]
from twilio.request_validator import (  # type: ignore[import-untyped]
    HMAC_SHA1,
    HMAC_SHA256,
    RequestValidator,
    get_signature_algorithm,
)
from twilio.rest import Client  # type: ignore[import-untyped]

from tidings.channels.base import Envelope
from tidings.channels.http import Answer, Pool, TimeLimits, scrubbed
from tidings.channels.rate import Pace
from tidings.channels.replies import Wish, answered_by_twilio, wish
from tidings.errors import Halt, Reject, Retry, Unknown
from tidings.model.engagement import Engagement, EngagementKind
from tidings.model.people import Channel

API = "https://api.twilio.com"
_HASHES = (HMAC_SHA1, HMAC_SHA256)
LONGEST_VALIDITY = 36_000  # seconds; also Twilio's default

# Codes from https://www.twilio.com/docs/api/errors/CODE, sorted by what they say about the message.
_BAD_NUMBER = frozenset({21211, 21214, 21217, 21265, 21614, 21635})
_NOT_NOW = frozenset({20429, 21611, 30001})
# The account, the sender or the messaging service is wrong: the next message would be refused as well.
_ACCOUNT = frozenset({20003, 20005, 20403, 20404, 21212, 21601, 21603, 21606, 21659, 21660, 21661, 21701, 21703})


class Twilio:
    """A way out by text message, through the official client over pooled connections.

    ``login`` and ``secret`` are an API key and its secret, or the account itself and its token. ``callback`` gives the
    address that Twilio reports a message's status to; it carries our message id, for Twilio keeps no arguments.
    A sender that begins with MG is a Messaging Service.
    """

    name = "twilio"
    channel = Channel.SMS

    def __init__(
        self,
        account_sid: str,
        secret: str,
        *,
        login: str | None = None,
        callback: Callable[[str], str] | None = None,
        base_url: str = API,
        connections: int = 100,
        limits: TimeLimits | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.pool = Pool(base_url, connections=connections, limits=limits)
        self.pace = pace or Pace()
        self._callback = callback
        # An empty environment: the client would otherwise read credentials and regions from the process's own.
        client = Client(
            login or account_sid, secret, account_sid, http_client=_Transport(self.pool), environment={"TIDINGS": "1"}
        )
        self._messages = client.messages
        self._account = f"{base_url.rstrip('/')}/2010-04-01/Accounts/{account_sid}"
        self._login = "Basic " + b64encode(f"{login or account_sid}:{secret}".encode()).decode()

    async def send(self, envelope: Envelope) -> str:
        """Hand the text over and return its SID."""
        await self.pace.turn(envelope.sender)
        try:
            message = await self._messages.create_async(**arguments(envelope, self._callback))
        except Retry as refusal:
            if refusal.throttled:
                self.pace.throttled(refusal.after)
            raise
        except (Reject, Unknown, Halt):
            raise
        except Exception as unreadable:  # a 201 whose body is not what the client expects: it may have been taken
            raise Unknown(f"unreadable answer: {type(unreadable).__name__}") from None
        if not isinstance(message.sid, str) or not message.sid:
            raise Unknown("an answer without a SID")
        self.pace.went_well()
        return message.sid

    async def forget(self, addresses: Sequence[str], provider_ids: Sequence[str]) -> list[str]:
        """Delete the records of these messages, body and number with them; one that is gone already is well."""
        left: list[str] = []
        patience = ClientTimeout(total=self.pool.limits.whole)
        async with ClientSession(headers={"Authorization": self._login}, timeout=patience) as session:
            for sid in provider_ids:
                try:
                    async with session.delete(f"{self._account}/Messages/{quote(sid, safe='')}.json") as answer:
                        gone = answer.status in (204, 404)
                except (ClientError, TimeoutError, OSError):
                    gone = False
                left += [] if gone else [sid]
        # Every one of them: nobody knows afterwards which they were.
        return [f"Twilio: delete these message records by hand: {', '.join(left)}"] if left else []

    async def close(self) -> None:
        """Give the connections back."""
        await self.pool.close()


def arguments(envelope: Envelope, callback: Callable[[str], str] | None = None) -> dict[str, Any]:
    """Return what the official client's ``messages.create`` is called with."""
    service = len(envelope.sender) == 34 and envelope.sender.startswith("MG")
    given: dict[str, Any] = {
        "to": envelope.to,
        "body": envelope.text,
        "messaging_service_sid" if service else "from_": envelope.sender,
    }
    if envelope.validity_seconds is not None:
        given["validity_period"] = min(max(1, envelope.validity_seconds), LONGEST_VALIDITY)
    if callback is not None:
        given["status_callback"] = callback(envelope.message_id)
    return given


class _Transport(AsyncHttpClient):  # type: ignore[misc]
    """The official client's requests over our pool: it logs none of them, and other hosts can stand in for Twilio."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(logging.getLogger(__name__), True, None)
        self._pool = pool

    async def request(
        self,
        method: str,
        url: str,
        params: Mapping[str, object] | None = None,
        data: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        if method.upper() != "POST" or params:
            raise Halt("only the creation of messages is expected here")
        sent = dict(headers or {})
        if auth is not None:
            sent["Authorization"] = "Basic " + b64encode(":".join(auth).encode()).decode()
        try:
            body = urlencode(data or {}, doseq=True).encode()
        except UnicodeEncodeError:
            raise Reject("the message is not valid Unicode") from None
        answer = await self._pool.post(urlsplit(url).path, body, sent)
        if answer.status not in (200, 201):
            raise _refusal(answer)
        return Response(answer.status, answer.body.decode("utf-8", "replace"), dict(answer.headers))


def _refusal(answer: Answer) -> Retry | Reject | Unknown | Halt:
    code, said = _code(answer.body)
    words = f"{answer.status} {code or ''} {said}".replace("  ", " ").strip()
    if answer.status == 429 or code in _NOT_NOW:
        return Retry(words, after=answer.retry_after(), throttled=True)
    if answer.status >= 500 or answer.status < 400 or answer.status == 408:
        return Unknown(words)
    if code in _ACCOUNT or answer.status in (401, 402, 403, 404, 405):
        return Halt(words)
    if code == 21610:
        return Reject(words, suppress="stop")
    return Reject(words, suppress="bad_number" if code in _BAD_NUMBER else None)


def _code(body: bytes) -> tuple[int | None, str]:
    try:
        told = orjson.loads(body)
        return int(told["code"]), scrubbed(str(told.get("message", "")))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None, ""


# Callbacks may arrive out of order; the ledger keeps each as a fact, and the highest rank tells where a message stands.
RANK = {"accepted": 0, "scheduled": 0, "queued": 1, "sending": 2, "sent": 3, "delivered": 5, "read": 6,
        "undelivered": 5, "failed": 5, "canceled": 5}  # fmt: skip
_KINDS = {
    "sent": EngagementKind.ACCEPTED,
    "delivered": EngagementKind.DELIVERED,
    "read": EngagementKind.OPENED,
    "undelivered": EngagementKind.FAILED,
    "failed": EngagementKind.FAILED,
    "canceled": EngagementKind.FAILED,
}
# 30005 unknown handset, 30006 landline or unreachable carrier. 30003 (unreachable) is often temporary.
_DEAD = {"30005": "bad_number", "30006": "bad_number", "21610": "stop"}


def events(form: Mapping[str, str], message_id: str, at: datetime) -> list[Engagement]:
    """Return what a status callback says; at most one engagement. Steps that prove nothing (queued) give none.

    Callbacks carry no time of their own, so ``at`` is when it arrived; the id is made of the SID and the status, so
    that a repeated one changes nothing. Unknown fields are ignored: Twilio adds some without notice.
    """
    status = (form.get("MessageStatus") or form.get("SmsStatus") or "").lower()
    kind = _KINDS.get(status)
    sid = form.get("MessageSid") or form.get("SmsSid") or ""
    if kind is None:
        return []
    code = form.get("ErrorCode") or None
    return [
        Engagement(
            id=_callback_id(sid or message_id, status),
            message_id=message_id,
            kind=kind,
            at=at,
            detail=scrubbed(code) if code else None,
            suppress=_DEAD.get(code or ""),
            provider_id=sid or None,
        )
    ]


def _callback_id(sid: str, status: str) -> str:
    return f"tw-{sid}-{status}" if len(sid) <= 40 else f"tw-{hashlib.sha256(sid.encode()).hexdigest()[:40]}-{status}"


@dataclass(frozen=True, slots=True)
class Inbound:
    """A text somebody sent to us: who, to which of our senders, and what they want.

    ``answered``: Twilio answers it itself. The words are kept only when nobody knows what they ask for.
    """

    id: str
    sender: str
    to: str
    wish: Wish
    answered: bool = False
    words: str = field(default="", repr=False)


def inbound(form: Mapping[str, str]) -> Inbound | None:
    """Return what an incoming text asks for, or None when it names no sender."""
    sender = form.get("From", "").strip()
    if not sender:
        return None
    # Twilio names the kind itself where its own opt-out handling is on.
    body, told = form.get("Body", ""), form.get("OptOutType", "")
    asked = wish(body, told)
    return Inbound(
        id=form.get("MessageSid") or form.get("SmsSid") or "",
        # RCS and WhatsApp put their own name before the number.
        sender=sender.rpartition(":")[2],
        to=form.get("To", "").strip(),
        wish=asked,
        answered=answered_by_twilio(body, told),
        words=body if asked is Wish.OTHER else "",
    )


def verified(
    auth_token: str,
    signature: str | None,
    url: str,
    params: Mapping[str, str | list[str]] | str,
    settings: str | None = None,
) -> bool:
    """Say whether Twilio signed this request: an HMAC over the exact public address and the sorted parameters.

    ``params`` is the form (a repeated field as a list), or the raw body of a JSON request. Only the account's primary
    token signs, with SHA-1, or a shared key, with the hash that ``settings`` (the header
    X-Twilio-Webhooks-Signature-Settings) names; an API key does not. Never an exception, whatever the headers say.
    """
    if not signature or not signature.isascii():
        return False
    given = params if isinstance(params, str) else _Form(params)
    if isinstance(given, str) and "bodySHA256=" not in url:
        return False
    algorithm = get_signature_algorithm(settings).upper()
    try:
        return algorithm in _HASHES and bool(RequestValidator(auth_token).validate(url, given, signature, algorithm))
    except (TypeError, ValueError, LookupError):
        return False


class _Form(dict[str, Any]):
    """A form as the official validator reads it, repeated fields included."""

    def getall(self, name: str) -> list[str]:
        value = self[name]
        return list(value) if isinstance(value, list) else [value]
