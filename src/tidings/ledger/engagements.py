"""What came back from recipients and providers: each event counts once, and the order of arrival changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, func, or_, select, true, update
from sqlalchemy.types import TypeEngine

from tidings.ledger import bulk, machines
from tidings.ledger.bulk import TEXT, TIME, TRUTH, WHOLE, upsert
from tidings.ledger.schema import DOUBTED, engagements, messages, receipts, unmatched_events
from tidings.ledger.transitions import PROVABLE
from tidings.model.engagement import Engagement, EngagementKind
from tidings.model.message import Status

# A click sooner than this after sending is a scanner's, not a person's.
HUMAN_AFTER = timedelta(seconds=10)
# Kinds after which it may show that a machine clicked.
_TELLING = frozenset({EngagementKind.CLICKED, EngagementKind.DELIVERED})

m = messages.c


@dataclass(frozen=True, slots=True)
class Taken:
    """What a batch of events came to: ``new + repeated + unmatched`` is its size.

    ``matched`` is the message of each event by its id; ``named`` are provider ids that were not known before.
    """

    new: int
    repeated: int
    unmatched: int
    matched: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    named: frozenset[str] = field(default=frozenset(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Contact:
    """Whom a message was for, without saying where they are reached."""

    message_id: str
    customer_id: str
    address_hash: str | None
    channel: str
    campaign: str
    space: str
    sending_at: datetime | None


@dataclass(frozen=True, slots=True)
class Links:
    """Where a message's links lead, by number, and when it began to be sent."""

    urls: tuple[str, ...]
    tracked: bool
    sending_at: datetime | None


def take(conn: Connection, events: Sequence[Engagement], now: datetime, *, provider: str = "") -> Taken:
    """Keep a batch of events. A repeated id changes nothing; one that names no message of ours is set aside.

    Any event about a message proves that the provider took it: ``sending``, ``unknown`` and ``presumed_lost``
    become ``sent``, as of the moment it left. Clicks within seconds of sending are marked as a machine's.
    """
    distinct = {key_of(event.id): event for event in reversed(events)}
    known = _lock_messages(conn, distinct.values())
    matched: list[tuple[Any, ...]] = []
    unmatched: list[tuple[Any, ...]] = []
    for key in sorted(distinct):
        event = distinct[key]
        row = known.get(event.message_id) or known.get(event.provider_id or "")
        if row is None:
            unmatched.append((key, provider[:20], event.kind[:30], now, bulk.fit(event.detail, 200)))
        else:
            machine = event.machine or _too_soon(event, row.sending_at)
            detail = bulk.fit(event.detail, 200)
            matched.append((key, row.id, event.kind, event.at, now, machine, event.link, detail))
    new = _keep(conn, matched, unmatched)
    machines.mark(conn, {row[1] for row in matched if row[2] in _TELLING})
    named = _settle(
        conn, [(known.get(one.message_id) or known.get(one.provider_id or ""), one) for one in distinct.values()]
    )
    return Taken(new, len(events) - new - len(unmatched), len(unmatched), {row[0]: row[1] for row in matched}, named)


def key_of(event_id: str) -> str:
    """Return the key under which an event is kept."""
    plain = event_id.replace("\0", "")
    return plain if len(plain) <= 120 else hashlib.sha256(plain.encode()).hexdigest()


def _too_soon(event: Engagement, sending_at: datetime | None) -> bool:
    return event.kind == EngagementKind.CLICKED and sending_at is not None and event.at < sending_at + HUMAN_AFTER


def _lock_messages(conn: Connection, events: Collection[Engagement]) -> Mapping[str, Any]:
    """Return the messages these events are about, by our id and by the provider's, locked in sorted order."""
    ours = bulk.ids(conn, (one.message_id.replace("\0", "") for one in events if one.message_id))
    theirs = bulk.ids(conn, (one.provider_id.replace("\0", "") for one in events if one.provider_id), name="theirs")
    columns = (m.id, m.status, m.sending_at, m.provider_id)
    rows = conn.execute(
        select(*columns)
        .where(or_(m.id.in_(select(ours.c.id)), m.provider_id.in_(select(theirs.c.id))))
        .order_by(m.id)
        .with_for_update()
    ).all()
    found: dict[str, Any] = {row.provider_id: row for row in rows if row.provider_id}
    found.update({row.id: row for row in rows})
    return found


def _keep(conn: Connection, matched: Sequence[tuple[Any, ...]], unmatched: Sequence[tuple[Any, ...]]) -> int:
    new = 0
    columns: dict[str, TypeEngine[Any]]
    if matched:
        columns = {
            "id": TEXT, "message_id": TEXT, "kind": TEXT, "at": TIME, "received_at": TIME, "machine": TRUTH,
            "link": WHOLE, "detail": TEXT,
        }  # fmt: skip
        rows = bulk.given(conn, columns, matched)
        write = upsert(conn, engagements).from_select(list(columns), select(rows).where(true()).order_by(rows.c.id))
        new = len(conn.scalars(write.on_conflict_do_nothing().returning(engagements.c.id)).all())
    if unmatched:
        columns = {"id": TEXT, "provider": TEXT, "kind": TEXT, "received_at": TIME, "detail": TEXT}
        rows = bulk.given(conn, columns, unmatched)
        write = upsert(conn, unmatched_events).from_select(
            list(columns), select(rows).where(true()).order_by(rows.c.id)
        )
        conn.execute(write.on_conflict_do_nothing())
    return new


def _settle(conn: Connection, events: Sequence[tuple[Any, Engagement]]) -> frozenset[str]:
    proven: dict[str, str | None] = {}
    for row, event in events:
        if row is not None and (_provable(row) or (event.provider_id and not row.provider_id)):
            proven[row.id] = max(proven.get(row.id) or "", event.provider_id or "") or None
    if not proven:
        return frozenset()
    proof = bulk.given(conn, {"id": TEXT, "provider_id": TEXT}, [(k, bulk.fit(v, 120)) for k, v in proven.items()])
    conn.execute(
        update(messages)
        .where(m.id == proof.c.id, or_(m.status.in_(PROVABLE), DOUBTED))
        .values(
            status=Status.SENT,
            sent_at=func.coalesce(m.sending_at, m.send_at),
            ended_at=func.coalesce(m.sending_at, m.send_at),
            reason=None,
            detail=None,
            lease_until=None,
        )
    )
    newly = (
        update(messages)
        .where(m.id == proof.c.id, m.provider_id.is_(None), proof.c.provider_id.is_not(None))
        .values(provider_id=proof.c.provider_id)
        .returning(m.provider_id)
    )
    return frozenset(conn.scalars(newly))


def _provable(row: Any) -> bool:
    offered_again = row.status in (Status.PLANNED, Status.CLAIMED) and row.sending_at is not None
    return row.status in PROVABLE or offered_again


def message_of(conn: Connection, provider: str, provider_id: str) -> str | None:
    """Return our id of the message that a provider knows under its own."""
    known = select(m.id).where(m.provider_id == provider_id, or_(m.provider == provider, m.provider.is_(None)))
    found: str | None = conn.scalar(known.limit(1))
    return found


def links_of(conn: Connection, message_id: str) -> Links | None:
    """Return the targets of a message's links; None when it was never sent."""
    row = conn.execute(
        select(receipts.c.urls, receipts.c.tracked, m.sending_at)
        .join(messages, m.id == receipts.c.message_id)
        .where(receipts.c.message_id == message_id)
    ).one_or_none()
    return None if row is None else Links(tuple(orjson.loads(row.urls)), row.tracked, row.sending_at)


def contact_of(conn: Connection, message_id: str) -> Contact | None:
    """Return whom a message was for."""
    return contacts_of(conn, [message_id]).get(message_id)


def contacts_of(conn: Connection, message_ids: Collection[str]) -> dict[str, Contact]:
    """Return whom each of these messages was for; unknown ids are left out."""
    if not message_ids:
        return {}
    wanted = bulk.ids(conn, message_ids)
    rows = conn.execute(
        select(m.id, m.customer_id, m.address_hash, m.channel, m.campaign, m.space, m.sending_at).join(
            wanted, wanted.c.id == m.id
        )
    )
    return {row.id: Contact(*row) for row in rows}
