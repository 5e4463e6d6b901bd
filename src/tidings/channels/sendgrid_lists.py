"""What SendGrid remembers: its suppression lists, and (a paid add-on) which messages it took."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tidings.channels.lookup import Lookup
from tidings.channels.sendgrid import API
from tidings.errors import DefinitionError

PAGE = 500
# list -> why the address must not be used again; None: told, nothing follows (a block is a server's bad day)
LISTS: dict[str, str | None] = {
    "bounces": "hard_bounce",
    "spam_reports": "complaint",
    "unsubscribes": "unsubscribed",
    "invalid_emails": "bad_address",
    "blocks": None,
}


@dataclass(frozen=True, slots=True)
class Listed:
    """One address on one list."""

    kind: str
    email: str = field(repr=False)
    at: datetime
    suppress: str | None


class SendGridLists:
    """Reads with the account's own key; *Suppressions: read* must be among its permissions."""

    def __init__(self, key: str, *, base_url: str | None = None, wait: float = 2.0) -> None:
        self._lookup = Lookup(base_url or API, {"Authorization": f"Bearer {key}"}, wait=wait)

    async def __aenter__(self) -> SendGridLists:
        await self._lookup.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._lookup.__aexit__(*error)

    async def listed(self, kind: str, since: datetime) -> AsyncIterator[Listed]:
        """Yield the addresses that came onto a list at or after a moment. Raises NotAvailable or DefinitionError."""
        offset = 0
        while True:
            query = {"start_time": int(since.timestamp()), "limit": PAGE, "offset": offset}
            page = await self._lookup.get(f"/v3/suppression/{kind}", query)
            if not isinstance(page, list):
                raise DefinitionError(f"/v3/suppression/{kind}: must be answered with a list; found something else")
            for row in page:
                found = _listed(kind, row)
                if found is not None:
                    yield found
            if len(page) < PAGE:
                return
            offset += PAGE

    async def took(self, message_id: str) -> str | None:
        """Return SendGrid's id of a message by our own, or None when it knows none.

        This is Email Activity, a paid add-on. Raises NotAvailable where it was not bought.
        """
        query: dict[str, str | int] = {"limit": 10, "query": f"(unique_args['d']=\"{message_id}\")"}
        answer = await self._lookup.get("/v3/messages", query)
        found = answer.get("messages") if isinstance(answer, dict) else None
        if not found or not isinstance(found[0], dict):
            return None
        return str(found[0].get("msg_id", "")).split(".")[0] or None


def _listed(kind: str, row: Any) -> Listed | None:
    try:
        return Listed(kind, str(row["email"]), datetime.fromtimestamp(int(row["created"]), UTC), LISTS[kind])
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None
