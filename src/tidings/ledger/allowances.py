"""How many messages of a sender a day has seen: one row a day, locked while a commit takes from it, so it is exact."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime

from sqlalchemy import Connection, select, update

from tidings.ledger import bulk
from tidings.ledger.bulk import upsert
from tidings.ledger.schema import engagements, messages, settings
from tidings.model.engagement import EngagementKind


def taken(conn: Connection, sender: str, day: date) -> int:
    """Return how many a day has seen, and hold the row until the commit: two lanes then count one after the other."""
    name = _name(sender, day)
    conn.execute(upsert(conn, settings).values(name=name, value="", number=0).on_conflict_do_nothing())
    held = select(settings.c.number).where(settings.c.name == name).with_for_update()
    return int(conn.scalar(held) or 0)


def take(conn: Connection, sender: str, day: date, more: int) -> None:
    """Count so many more; fewer when negative: what certainly did not leave is given back."""
    if more:
        row = settings.c.name == _name(sender, day)
        conn.execute(update(settings).where(row).values(number=settings.c.number + more))


def _name(sender: str, day: date) -> str:
    return f"warm_up:{sender}:{day.isoformat()}"


def engaged(conn: Connection, message_ids: Collection[str], *, since: datetime) -> frozenset[str]:
    """Return those of the messages whose customer has clicked, as a person, on anything of ours since a moment."""
    if not message_ids:
        return frozenset()
    wanted, earlier = bulk.ids(conn, message_ids), messages.alias("earlier")
    found = (
        select(messages.c.id)
        .distinct()
        .join(wanted, wanted.c.id == messages.c.id)
        .join(earlier, earlier.c.customer_id == messages.c.customer_id)
        .join(engagements, engagements.c.message_id == earlier.c.id)
        .where(
            engagements.c.kind == EngagementKind.CLICKED, engagements.c.machine.is_(False), engagements.c.at >= since
        )
    )
    return frozenset(conn.scalars(found))
