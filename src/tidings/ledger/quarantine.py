"""What stayed unknown long enough: offered once more where a campaign delivers at least once, else presumed lost."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, select, update

from tidings.ledger import bulk
from tidings.ledger.schema import IN_DOUBT, messages
from tidings.ledger.transitions import MOST_ATTEMPTS
from tidings.model.message import Status

m = messages.c


def offer_again(conn: Connection, *, campaigns: Collection[str], before: datetime, now: datetime) -> int:
    """Plan again, once, what has been unknown since before a moment in campaigns that deliver at least once.

    Their first attempt may have been taken: a duplicate is possible, and the number returned says of how many.
    They keep ``sending_at``, so that a late proof still settles them before they leave again. What has expired is
    not offered again.
    """
    if not campaigns:
        return 0
    wanted = (
        IN_DOUBT, m.sending_at < before, m.campaign.in_(sorted(campaigns)), m.attempt < MOST_ATTEMPTS,
        m.expires_at > now,
    )  # fmt: skip
    chosen = _locked(conn, wanted)
    if not chosen:
        return 0
    again = {
        "status": Status.PLANNED,
        "token": None,
        "lease_until": None,
        "send_at": now,
        "reason": None,
        "detail": None,
        "defer_reason": "no_answer",
    }
    return bulk.changed(conn, update(messages).where(m.id == bulk.ids(conn, chosen).c.id, *wanted).values(again))


def presume_lost(conn: Connection, *, before: datetime, now: datetime) -> int:
    """End as presumed_lost what has been unknown since before a moment; it keeps its slots in the caps."""
    old = (IN_DOUBT, m.sending_at < before)
    chosen = _locked(conn, old)
    if not chosen:
        return 0
    lost = {"status": Status.PRESUMED_LOST, "ended_at": now}
    return bulk.changed(conn, update(messages).where(m.id == bulk.ids(conn, chosen).c.id, *old).values(lost))


def _locked(conn: Connection, wanted: Iterable[ColumnElement[bool]]) -> Sequence[str]:
    """Return the messages in doubt of which this holds, locked in the order in which all take them."""
    return conn.scalars(bulk.locked(conn, select(m.id).where(*wanted), m.id)).all()
