"""What the two providers remember and tell when asked: SendGrid's lists, Twilio's texts, page by page as they do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

from tidings.sandbox.acts import Recipients
from tidings.sandbox.sendgrid_rules import Problem
from tidings.sandbox.store import Accepted, Store

LARGEST_SENDGRID, LARGEST_TWILIO = 500, 1000
_DAYS = {"DateSent", "DateSent>", "DateSent<"}
_REACHED = ("sent", "delivered", "undelivered", "failed", "read")
_REASONS = {
    "bounces": {"reason": "550 5.1.1 unknown recipient", "status": "5.1.1"},
    "blocks": {"reason": "421 4.7.1 try later", "status": "4.0.0"},
    "spam_reports": {"ip": "127.0.0.1"},
    "invalid_emails": {"reason": "Mail domain mentioned in email address is unknown"},
    "unsubscribes": {},
}


@dataclass(frozen=True, slots=True)
class Wrong(Exception):
    """A question that the real service would not take."""

    field: str
    message: str

    @property
    def problem(self) -> Problem:
        return self.field, self.message


def suppressions(recipients: Recipients, kind: str, query: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """Return one page of a list, the newest first; None for a list that SendGrid does not have. Raises Wrong."""
    if kind not in _REASONS:
        return None
    unknown = set(query) - {"start_time", "end_time", "limit", "offset", "email"}
    if unknown:
        raise Wrong(sorted(unknown)[0], "unknown parameter")
    start, end = _whole(query, "start_time", 0, None), _whole(query, "end_time", 0, None)
    limit, offset = _whole(query, "limit", 1, LARGEST_SENDGRID), _whole(query, "offset", 0, None)
    listed = recipients.suppressed.get(kind, {})
    rows = [
        {"created": int(at), "email": email, **_REASONS[kind]}
        for email, at in sorted(listed.items(), key=lambda one: (-one[1], one[0]))
        if (start is None or int(at) >= start) and (end is None or int(at) <= end)
        and email.startswith(query.get("email", "").lower())
    ]  # fmt: skip
    begin = offset or 0
    return rows[begin : begin + (limit or LARGEST_SENDGRID)]


def _whole(query: Mapping[str, str], name: str, least: int, most: int | None) -> int | None:
    said = query.get(name)
    if said is None:
        return None
    if not said.isdigit() or int(said) < least or (most is not None and int(said) > most):
        raise Wrong(name, f"{name} must be a whole number{f' from {least} to {most}' if most else ''}")
    return int(said)


def activity(store: Store, query: Mapping[str, str]) -> dict[str, Any]:
    """Return what Email Activity says for a question about one message by our own argument."""
    asked = query.get("query", "")
    name = asked.rpartition('="')[2].rstrip('")')
    if "unique_args['d']=" not in asked or not name:
        raise Wrong("query", "the sandbox answers only (unique_args['d']=\"...\")")
    found = [one for one in store.messages if one.provider == "sendgrid" and one.message == name]
    limit = _whole(query, "limit", 1, 1000) or 10
    return {
        "messages": [
            {
                "from_email": one.sender, "msg_id": f"{one.id}.recvd-sandbox-1-{one.no:X}.0", "subject": one.title,
                "to_email": one.to, "status": "delivered" if "delivered" in one.seen else "processed",
                "opens_count": one.seen.count("open"), "clicks_count": one.seen.count("click"),
                "last_event_time": datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
            for one in found[:limit]
        ]
    }  # fmt: skip


class Texts:
    """Twilio's list: what was sent and what came in, the newest first, in pages with a token."""

    def __init__(self, store: Store, recipients: Recipients) -> None:
        self._store = store
        self._recipients = recipients

    def page(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Return one page. Raises Wrong for a page size or a day that Twilio does not take."""
        size = _size(query.get("PageSize", "50"))
        for name in _DAYS & set(query):
            _day(query[name])
        chosen = [one for one in self._newest() if _wanted(one, query)]
        token = query.get("PageToken", "")
        at = next((place + 1 for place, one in enumerate(chosen) if token == f"PA{one['sid']}"), 0)
        some, number = chosen[at : at + size], int(query.get("Page", "0") or 0)
        following = None
        if at + size < len(chosen):
            told = {**query, "PageSize": size, "Page": number + 1, "PageToken": f"PA{some[-1]['sid']}"}
            following = f"{path}?{urlencode(told)}"
        first = f"{path}?{urlencode({**{k: v for k, v in query.items() if k != 'PageToken'}, 'Page': 0})}"
        return {
            "messages": some, "page": number, "page_size": size, "start": at, "end": max(at, at + len(some) - 1),
            "uri": f"{path}?{urlencode(query)}" if query else path, "first_page_uri": first,
            "next_page_uri": following, "previous_page_uri": None,
        }  # fmt: skip

    def document(self, message: Accepted) -> dict[str, Any]:
        """Return one text as it stands now."""
        document: dict[str, Any] = self._store.words(message)["document"]
        known = [seen for seen in message.seen if seen in _REACHED]
        if not known:
            return document
        sent = format_datetime(datetime.fromtimestamp(message.at, UTC))
        code = self._recipients.errors.get(message.id)
        return {**document, "status": known[-1], "date_sent": sent, "error_code": code and int(code)}

    def _newest(self) -> Iterator[dict[str, Any]]:
        sent = [self.document(one) for one in self._store.messages if one.provider == "twilio"]
        both: list[dict[str, Any]] = [*sent, *self._recipients.inbound]
        both.reverse()  # so that of one second the later comes first: sorting keeps their order
        yield from sorted(both, key=_at, reverse=True)


def _at(document: Mapping[str, Any]) -> datetime:
    return parsedate_to_datetime(document["date_sent"] or document["date_created"])


def _size(said: str) -> int:
    if not said.isdigit() or not 1 <= int(said) <= LARGEST_TWILIO:
        raise Wrong("PageSize", f"Page size must be from 1 to {LARGEST_TWILIO}")
    return int(said)


def _wanted(one: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    if query.get("To") not in (None, one["to"]) or query.get("From") not in (None, one["from"]):
        return False
    day = _at(one).astimezone(UTC).date()
    for name, holds in (("DateSent", day.__eq__), ("DateSent>", day.__ge__), ("DateSent<", day.__le__)):
        said = query.get(name)
        if said is not None and not holds(_day(said)):
            return False
    return True


def _day(said: str) -> date:
    try:
        return date.fromisoformat(said[:10])
    except ValueError:
        raise Wrong("DateSent", "must be a day such as 2026-11-22") from None
