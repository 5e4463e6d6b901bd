"""Where a click leads: only to a target that was stored when the message left; a click is written as an event is."""

from __future__ import annotations

from datetime import datetime

from tidings.content.links import TokenKind
from tidings.jobs.opening import Opened
from tidings.jobs.way_back import Report
from tidings.ledger import engagements
from tidings.model.engagement import Engagement, EngagementKind


def follow(opened: Opened, token: str, at: datetime, *, machine: bool) -> tuple[str, Report] | None:
    """Return where a click leads and what to write about it; None when we did not sign it or never sent the link."""
    told = opened.signer.read(token)
    if told is None or told.kind is not TokenKind.CLICK:
        return None
    with opened.ledger.reading() as conn:
        links = engagements.links_of(conn, told.message_id)
    if links is None or told.n >= len(links.urls):
        return None
    # A double click within a second is one click; a machine's never hides a person's.
    name = f"{told.message_id}-{told.n}-{int(at.timestamp())}-{'machine' if machine else 'person'}"
    click = Engagement(f"c-{name}", told.message_id, EngagementKind.CLICKED, at, machine=machine, link=told.n)
    return links.urls[told.n], Report("redirect", (click,))
