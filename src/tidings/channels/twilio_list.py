"""What Twilio remembers: every text of the account, ours and those sent to us, by the day they were sent."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tidings.channels.lookup import Lookup
from tidings.channels.twilio import API, Inbound, events, inbound
from tidings.errors import DefinitionError
from tidings.model.engagement import Engagement

PAGE = 1000
# Statuses that say only that Twilio has it; the callback `sent` says as much.
_TAKEN = frozenset({"accepted", "scheduled", "queued", "sending", "sent"})


@dataclass(frozen=True, slots=True)
class Text:
    """One text: who it went to (or came from, when ``incoming``), when, and where it stands."""

    sid: str
    incoming: bool
    to: str = field(repr=False)
    sender: str = field(repr=False)
    body: str = field(repr=False)
    at: datetime
    status: str
    error: str | None

    def engagements(self, message_id: str) -> list[Engagement]:
        """Return what this says about a message of ours, under the same ids as the callbacks that were lost."""
        status = "sent" if self.status in _TAKEN else self.status
        form = {"MessageSid": self.sid, "MessageStatus": status, **({"ErrorCode": self.error} if self.error else {})}
        return events(form, message_id, self.at)

    def wish(self) -> Inbound | None:
        """Return what an incoming text asks for."""
        form = {"MessageSid": self.sid, "From": self.sender, "To": self.to, "Body": self.body}
        return inbound(form) if self.incoming else None


class TwilioList:
    """Reads with the account's own login, or an API key."""

    def __init__(
        self, account_sid: str, secret: str, *, login: str | None = None, base_url: str | None = None, wait: float = 2.0
    ) -> None:
        basic = b64encode(f"{login or account_sid}:{secret}".encode()).decode()
        self._path = f"/2010-04-01/Accounts/{account_sid}/Messages.json"
        self._lookup = Lookup(base_url or API, {"Authorization": f"Basic {basic}"}, wait=wait)

    async def __aenter__(self) -> TwilioList:
        await self._lookup.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._lookup.__aexit__(*error)

    async def texts(self, since: datetime) -> AsyncIterator[Text]:
        """Yield every text since a moment. Raises NotAvailable or DefinitionError.

        Twilio filters by whole days in GMT; those of the first day before the moment are left out here.
        """
        query: dict[str, str | int] = {"DateSent>": since.astimezone(UTC).date().isoformat(), "PageSize": PAGE}
        path = self._path
        while True:
            page = await self._lookup.get(path, query)
            if not isinstance(page, dict) or not isinstance(page.get("messages"), list):
                raise DefinitionError("Messages.json: must be answered with a page; found something else")
            for row in page["messages"]:
                found = _text(row)
                if found is not None and found.at >= since:
                    yield found
            following = page.get("next_page_uri")
            if not following:
                return
            parts = urlsplit(str(following))
            path, query = parts.path, dict(parse_qsl(parts.query))


def _text(row: Any) -> Text | None:
    try:
        at = parsedate_to_datetime(row.get("date_sent") or row["date_created"]).astimezone(UTC)
        code = row.get("error_code")
        incoming = str(row.get("direction", "")) == "inbound"
        return Text(
            str(row["sid"]), incoming, str(row.get("to") or ""), str(row.get("from") or ""),
            str(row.get("body") or ""), at, str(row.get("status") or "").lower(), None if code is None else str(code),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
