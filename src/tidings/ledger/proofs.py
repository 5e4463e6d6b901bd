"""Which of our messages a provider's own list may be about, asked for many at once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from tidings.ledger import bulk
from tidings.ledger.schema import messages
from tidings.ledger.transitions import PROVABLE
from tidings.model.message import Space

m = messages.c


@dataclass(frozen=True, slots=True)
class Doubt:
    """A message that may have been taken, and when it left or was due to."""

    id: str
    address_hash: str | None
    sending_at: datetime


def known(conn: Connection, message_ids: Collection[str]) -> set[str]:
    """Return those of the ids that are messages of this ledger."""
    if not message_ids:
        return set()
    wanted = bulk.ids(conn, message_ids)
    return set(conn.scalars(select(m.id).join(wanted, wanted.c.id == m.id)))


def named(conn: Connection, provider_ids: Collection[str]) -> dict[str, str]:
    """Return our ids of the messages that a provider knows under its own."""
    if not provider_ids:
        return {}
    wanted = bulk.ids(conn, provider_ids)
    rows = conn.execute(select(m.provider_id, m.id).join(wanted, wanted.c.id == m.provider_id))
    return {row.provider_id: row.id for row in rows}


def in_doubt(conn: Connection, channel: str, since: datetime) -> list[Doubt]:
    """Return the channel's live messages that are in doubt and left, or were due, at or after a moment."""
    rows = conn.execute(
        select(m.id, m.address_hash, m.sending_at)
        .where(m.status.in_(PROVABLE), m.channel == channel, m.space == Space.LIVE, m.sending_at >= since)
        .order_by(m.sending_at, m.id)
    )
    return [Doubt(*row) for row in rows]
