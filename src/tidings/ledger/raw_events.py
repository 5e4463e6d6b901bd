"""Every event as it came, each once, without addresses: the evidence behind engagements, and what is named later."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, true, update

from tidings.ledger import bulk
from tidings.ledger.bulk import TEXT, TIME, upsert
from tidings.ledger.schema import messages, raw_events, unmatched_events

r = raw_events.c


@dataclass(frozen=True, slots=True)
class Raw:
    """One event. ``body`` is JSON in which addresses are keyed hashes; ``message_id`` is None while unknown."""

    id: str
    provider: str
    kind: str
    body: str
    message_id: str | None = None
    provider_id: str | None = None


def keep(conn: Connection, some: Sequence[Raw], now: datetime) -> None:
    """Keep events. One that is there already stays as it is, but for the message it is now known to be about."""
    if not some:
        return
    columns: dict[str, Any] = {
        "id": TEXT, "provider": TEXT, "kind": TEXT, "message_id": TEXT, "provider_id": TEXT, "received_at": TIME,
        "body": TEXT,
    }  # fmt: skip
    lines = {
        one.id: (
            one.id, one.provider[:20], one.kind[:30], one.message_id,
            None if one.message_id else bulk.fit(one.provider_id, 120), now, one.body.replace("\0", ""),
        )
        for one in reversed(some)
    }  # fmt: skip
    rows = bulk.given(conn, columns, [lines[key] for key in sorted(lines)])
    write = upsert(conn, raw_events).from_select(list(columns), select(rows).where(true()).order_by(rows.c.id))
    conn.execute(
        write.on_conflict_do_update(
            index_elements=["id"],
            set_={"message_id": write.excluded.message_id, "provider_id": None},
            where=r.message_id.is_(None) & write.excluded.message_id.is_not(None),
        )
    )


def first(conn: Connection, one: Raw, now: datetime) -> bool:
    """Keep an event that must be obeyed once; return whether it came for the first time."""
    fresh = (
        upsert(conn, raw_events)
        .values(
            id=one.id, provider=one.provider[:20], kind=one.kind[:30], message_id=one.message_id, received_at=now,
            body=one.body.replace("\0", ""),
        )
        .on_conflict_do_nothing()
        .returning(r.id)
    )  # fmt: skip
    return conn.scalar(fresh) is not None


def nameless(conn: Connection, provider_ids: Collection[str] | None = None, *, most: int = 10_000) -> list[Raw]:
    """Return kept events of messages that have a name by now: those with these provider ids, or all there are."""
    query = (
        select(r.id, r.provider, r.kind, r.body, messages.c.id.label("message_id"), r.provider_id)
        .join(messages, messages.c.provider_id == r.provider_id)
        .where(r.message_id.is_(None), messages.c.provider_id.is_not(None))
        .order_by(r.id)
        .limit(most)
    )
    if provider_ids is not None:
        if not provider_ids:
            return []
        wanted = bulk.ids(conn, provider_ids, name="named")
        query = query.where(r.provider_id.in_(select(wanted.c.id)))
    return [Raw(*row) for row in conn.execute(query)]


def name(conn: Connection, event_id: str, message_id: str) -> None:
    """Note which message a kept event is about; it is no longer among the unmatched."""
    conn.execute(update(raw_events).where(r.id == event_id).values(message_id=message_id, provider_id=None))
    conn.execute(delete(unmatched_events).where(unmatched_events.c.id == event_id))


def waiting(conn: Connection, provider: str, kind: str, *, most: int = 200) -> list[tuple[str, datetime, str]]:
    """Return (id, when it came, body) of kept events of a kind, oldest first: texts that a person should read."""
    query = select(r.id, r.received_at, r.body).where(r.provider == provider, r.kind == kind)
    return [
        (row.id, row.received_at, row.body) for row in conn.execute(query.order_by(r.received_at, r.id).limit(most))
    ]


def settle(conn: Connection, event_id: str, kind: str) -> bool:
    """Note under another kind that a person has read a kept text; return whether there was one."""
    return bulk.changed(conn, update(raw_events).where(r.id == event_id).values(kind=kind[:30])) > 0
