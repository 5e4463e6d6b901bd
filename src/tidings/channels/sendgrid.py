"""SendGrid in both directions: an envelope becomes `/v3/mail/send`, an Event Webhook becomes engagements."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tidings.channels.base import Envelope
from tidings.channels.http import Answer, Pool, TimeLimits, scrubbed
from tidings.channels.rate import Pace
from tidings.channels.scanners import is_scanner
from tidings.errors import Halt, Reject, Retry, Unknown
from tidings.model.engagement import Engagement, EngagementKind
from tidings.model.people import Channel

API = "https://api.sendgrid.com"
# SendGrid redelivers for a rolling 24 hours; whether the timestamp is renewed is not documented.
OLDEST_WEBHOOK = timedelta(hours=25)
# What our own redirect and preference page do, SendGrid must not do a second time; opens are not tracked at all.
_TRACKING = {
    "click_tracking": {"enable": False, "enable_text": False},
    "open_tracking": {"enable": False},
    "subscription_tracking": {"enable": False},
}


def payload(envelope: Envelope) -> dict[str, Any]:
    """Return the request body: one recipient, and our random message id as the only argument.

    The argument is set per personalization: there the official contract and the real service agree that it is an
    object (the contract calls the request-level one a string).
    """
    sender = {"email": envelope.sender}
    if envelope.sender_name:
        sender["name"] = envelope.sender_name
    content = [{"type": "text/plain", "value": envelope.text}] if envelope.text else []
    if envelope.html:
        content.append({"type": "text/html", "value": envelope.html})
    body: dict[str, Any] = {
        "personalizations": [{"to": [{"email": envelope.to}], "custom_args": {"d": envelope.message_id}}],
        "from": sender,
        "subject": envelope.subject,
        "content": content,
        "tracking_settings": _TRACKING,
    }
    if envelope.reply_to:
        body["reply_to"] = {"email": envelope.reply_to}
    headers = dict(envelope.headers)
    if "<https://" in headers.get("List-Unsubscribe", ""):
        headers.setdefault("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")  # RFC 8058, exactly these words
    if headers:
        body["headers"] = headers
    return body


class SendGrid:
    """A way out by e-mail. ``per_second`` limits the account, ``per_sender`` single From addresses, in this process.

    A message is bounded by ``pace.patience`` plus ``pool.limits.whole`` seconds once it has a free connection.
    """

    name = "sendgrid"
    channel = Channel.EMAIL

    def __init__(
        self,
        key: str,
        *,
        base_url: str = API,
        connections: int = 100,
        limits: TimeLimits | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.pool = Pool(base_url, connections=connections, limits=limits)
        self.pace = pace or Pace()
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    async def send(self, envelope: Envelope) -> str:
        """Hand the e-mail over and return its X-Message-Id.

        A 202 without that header counts as unknown: only SendGrid itself is known to answer so, a proxy in between
        is not; the custom argument in the first webhook settles it.
        """
        try:
            body = orjson.dumps(payload(envelope))
        except TypeError:
            raise Reject("the message is not valid Unicode") from None
        await self.pace.turn(envelope.sender)
        answer = await self.pool.post("/v3/mail/send", body, self._headers)
        taken = answer.headers.get("X-Message-Id") if answer.status == 202 else None
        if taken:
            self.pace.went_well()
            return taken
        refusal = _refusal(answer)
        if isinstance(refusal, Retry) and refusal.throttled:
            self.pace.throttled(refusal.after)
        raise refusal

    async def forget(self, addresses: Sequence[str], provider_ids: Sequence[str]) -> list[str]:
        """Ask for the erasure of these recipients (the Recipients' Data Erasure API, a job on SendGrid's side)."""
        if not addresses:
            return [f"SendGrid: {len(provider_ids)} messages went to addresses unknown by now; erase them by hand"]
        body = orjson.dumps({"email_addresses": list(addresses)})
        try:
            answer = await self.pool.post("/v3/recipients/erasejob", body, self._headers)
        except (Retry, Unknown) as lost:
            return [f"SendGrid: {lost.reason}; ask for erasure again, or by hand (POST /v3/recipients/erasejob)"]
        if answer.status == 202:
            return []
        why = "the key lacks recipients.erasejob.create" if answer.status in (401, 403) else f"answered {answer.status}"
        return [f"SendGrid: {why}; ask for erasure by hand (POST /v3/recipients/erasejob)"]

    async def close(self) -> None:
        """Give the connections back."""
        await self.pool.close()


def _refusal(answer: Answer) -> Retry | Reject | Unknown | Halt:
    words = f"{answer.status} {_words(answer.body)}".strip()
    match answer.status:
        case 429:
            return Retry(words, after=answer.retry_after(), throttled=True)
        case 401 | 402 | 403 | 404 | 405:
            return Halt(words)
        case status if 400 <= status < 500 and status != 408:
            return Reject(words)
        case _:
            return Unknown(words)


def _words(body: bytes) -> str:
    try:
        first = orjson.loads(body)["errors"][0]
        field = first.get("field")
        return scrubbed(f"{field}: {first['message']}" if field else str(first["message"]))
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""


# A pair of surrogates, or one that lost the other; an escaped backslash before is not one.
_SURROGATE = re.compile(
    r"(?<!\\)(?:\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_KINDS = {
    "processed": EngagementKind.ACCEPTED,
    "deferred": EngagementKind.DEFERRED,
    "delivered": EngagementKind.DELIVERED,
    "open": EngagementKind.OPENED,
    "click": EngagementKind.CLICKED,
    "bounce": EngagementKind.BOUNCED,
    "blocked": EngagementKind.BLOCKED,
    "dropped": EngagementKind.DROPPED,
    "spamreport": EngagementKind.COMPLAINED,
    "unsubscribe": EngagementKind.UNSUBSCRIBED,
    "group_unsubscribe": EngagementKind.UNSUBSCRIBED,
    # group_resubscribe is left out on purpose: only a confirmed wish on our own page lifts a suppression.
}
# Why SendGrid dropped a message says what it already knows about the address.
_DROPPED = {
    "bounced address": "hard_bounce",
    "spam reporting address": "complaint",
    "unsubscribed address": "unsubscribed",
    "invalid": "bad_address",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it came: ``engagement`` is None for a kind we do not know, which is kept all the same."""

    id: str
    kind: str
    raw: Mapping[str, Any] = field(repr=False)
    engagement: Engagement | None = None


def events(body: bytes, received_at: datetime) -> list[Engagement]:
    """Return the engagements of one Event Webhook body; events of kinds we do not know are left out.

    ``received_at`` stands in for a timestamp that is missing or not a number. Raises ValueError when the body is not
    JSON. An event without our argument has an empty ``message_id`` and may be joined by ``provider_id``.
    """
    return [one.engagement for one in listed(body, received_at) if one.engagement is not None]


def listed(body: bytes, received_at: datetime) -> list[Event]:
    """Return every event of a body that is an object at all: a bad one takes none of the others with it.

    Raises ValueError when the body is not JSON, or nested deeper than any event is.
    """
    given = _parsed(body)
    return [
        _event(one, received_at) for one in (given if isinstance(given, list) else [given]) if isinstance(one, dict)
    ]


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except ValueError:
        pass
    # Bytes that are not UTF-8 and lone surrogates are somebody's name or subject: the events around them count.
    try:
        return json.loads(_whole(body.decode("utf-8", "replace")), parse_constant=lambda _: None)
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None


def _whole(text: str) -> str:
    return _SURROGATE.sub(lambda found: found[0] if len(found[0]) == 12 else "\\ufffd", text)


def _event(given: Mapping[str, Any], received_at: datetime) -> Event:
    kind = given.get("event")
    return Event(
        _event_id(given), kind.lower() if isinstance(kind, str) else "", given, _engagement(given, received_at)
    )


def _engagement(event: Mapping[str, Any], received_at: datetime) -> Engagement | None:
    kind = _KINDS.get(str(event.get("event")).lower())
    if kind is None:
        return None
    if kind is EngagementKind.BOUNCED and event.get("type") == "blocked":
        kind = EngagementKind.BLOCKED
    ours, theirs = event.get("d"), event.get("sg_message_id")
    reason = event.get("reason")
    return Engagement(
        id=_event_id(event),
        message_id=ours if isinstance(ours, str) and len(ours) <= 32 else "",
        kind=kind,
        at=_instant(event.get("timestamp"), received_at),
        machine=_machine(kind, event),
        detail=scrubbed(reason) if isinstance(reason, str) else None,
        suppress=_suppress(kind, event),
        # The event's id goes on after the first dot with the name of the server that filtered it.
        provider_id=theirs.split(".")[0] if isinstance(theirs, str) else None,
    )


def _machine(kind: EngagementKind, event: Mapping[str, Any]) -> bool:
    agent = event.get("useragent")
    clicked = kind is EngagementKind.CLICKED and isinstance(agent, str)
    return event.get("sg_machine_open") is True or (clicked and is_scanner(str(agent)))


def _event_id(event: Mapping[str, Any]) -> str:
    given = event.get("sg_event_id")
    if isinstance(given, str) and 0 < len(given) <= 100:
        return given
    facts = [str(event.get(name)) for name in ("d", "sg_message_id", "event", "timestamp", "email", "url", "attempt")]
    return "sg-" + hashlib.sha256("\0".join(facts).encode()).hexdigest()[:40]


def _instant(timestamp: object, otherwise: datetime) -> datetime:
    try:
        seconds = float(timestamp)  # type: ignore[arg-type]
        # Single Sends report milliseconds.
        return datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return otherwise


def _suppress(kind: EngagementKind, event: Mapping[str, Any]) -> str | None:
    match kind:
        case EngagementKind.COMPLAINED:
            return "complaint"
        case EngagementKind.UNSUBSCRIBED:
            return "unsubscribed"
        case EngagementKind.BOUNCED:
            # Without a type, only a permanent status (5.x) proves that the address is dead.
            permanent = event.get("type") == "bounce" or str(event.get("status", "")).startswith("5")
            return "hard_bounce" if permanent else None
        case EngagementKind.DROPPED:
            return _DROPPED.get(str(event.get("reason", "")).strip().lower())
        case _:
            return None


def verified(
    public_key: str, signature: str | None, timestamp: str | None, body: bytes, now: datetime | None = None
) -> bool:
    """Say whether SendGrid signed these very bytes (ECDSA P-256 over timestamp + body), and within 25 hours of ``now``.

    ``public_key`` is what SendGrid's settings page shows: base64 of the DER key, or PEM.
    """
    if not signature or not timestamp:
        return False
    try:
        age = None if now is None else now - datetime.fromtimestamp(int(timestamp), UTC)
        if not timestamp.isascii():
            return False
        _key(public_key).verify(
            base64.b64decode(signature, validate=True), timestamp.encode() + body, ec.ECDSA(hashes.SHA256())
        )
    except (InvalidSignature, ValueError, TypeError, OverflowError, OSError, binascii.Error):
        return False
    return age is None or abs(age) <= OLDEST_WEBHOOK


@lru_cache(maxsize=8)
def _key(public_key: str) -> ec.EllipticCurvePublicKey:
    bare = "".join(line for line in public_key.splitlines() if not line.startswith("-----"))
    try:
        key = load_der_public_key(base64.b64decode(bare))
    except UnsupportedAlgorithm:
        raise ValueError("the webhook key is of a kind that is not supported") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("the webhook key must be an elliptic curve key")
    return key
