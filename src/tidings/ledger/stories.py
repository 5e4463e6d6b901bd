"""One customer's whole story in the ledger: why each message was sent, or why not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from tidings.ledger import bulk
from tidings.ledger.planning import entry_from
from tidings.ledger.schema import engagements, entries, messages
from tidings.model.entry import Entry
from tidings.model.message import Status


@dataclass(frozen=True, slots=True)
class EngagementStory:
    """One thing that happened to a message."""

    kind: str
    at: datetime
    machine: bool


@dataclass(frozen=True, slots=True)
class MessageStory:
    """One message, where it stands, and what was done with it."""

    id: str
    step: str
    channel: str
    status: Status
    reason: str | None
    detail: str | None
    defer_reason: str | None
    deferrals: int
    attempt: int
    first_send_at: datetime
    send_at: datetime
    expires_at: datetime
    sending_at: datetime | None
    sent_at: datetime | None
    ended_at: datetime | None
    engagements: tuple[EngagementStory, ...]


@dataclass(frozen=True, slots=True)
class EntryStory:
    """One occasion on which the customer met a campaign's condition."""

    id: str
    space: str
    campaign: str
    arm: str
    variant: str
    planned_at: datetime
    entry: Entry
    messages: tuple[MessageStory, ...]


def history(
    conn: Connection, customer_ids: Collection[str], *, space: str | None = None, campaign: str | None = None
) -> list[EntryStory]:
    """Return everything the ledger knows about these customer ids (one person and their aliases), oldest first."""
    if not customer_ids:
        return []
    e = entries.c
    query = select(entries).where(e.customer_id.in_(sorted(set(customer_ids)))).order_by(e.entered_at, e.id)
    if space is not None:
        query = query.where(e.space == space)
    if campaign is not None:
        query = query.where(e.campaign == campaign)
    found = conn.execute(query).all()
    told = _messages(conn, [row.id for row in found])
    return [
        EntryStory(
            row.id, row.space, row.campaign, row.arm, row.variant, row.planned_at, entry_from(row),
            tuple(told.get(row.id, ())),
        )
        for row in found
    ]  # fmt: skip


def _messages(conn: Connection, entry_ids: Sequence[str]) -> dict[str, list[MessageStory]]:
    m, wanted = messages.c, bulk.ids(conn, entry_ids)
    rows = conn.execute(select(messages).join(wanted, wanted.c.id == m.entry_id).order_by(m.step_no)).all()
    seen = engagements_of(conn, [row.id for row in rows])
    told: dict[str, list[MessageStory]] = defaultdict(list)
    for row in rows:
        told[row.entry_id].append(
            MessageStory(
                row.id, row.step, row.channel, Status(row.status), row.reason, row.detail, row.defer_reason,
                row.deferrals, row.attempt, row.first_send_at, row.send_at, row.expires_at, row.sending_at,
                row.sent_at, row.ended_at, tuple(seen.get(row.id, ())),
            )
        )  # fmt: skip
    return told


def entries_of(conn: Connection, entry_ids: Collection[str]) -> dict[str, tuple[Entry, str]]:
    """Return entries with their variants, by id."""
    e, wanted = entries.c, bulk.ids(conn, entry_ids)
    rows = conn.execute(select(entries).join(wanted, wanted.c.id == e.id))
    return {row.id: (entry_from(row), row.variant) for row in rows}


def engagements_of(conn: Connection, message_ids: Sequence[str]) -> dict[str, list[EngagementStory]]:
    """Return what happened to each of these messages, in order."""
    g, wanted = engagements.c, bulk.ids(conn, message_ids)
    seen: dict[str, list[EngagementStory]] = defaultdict(list)
    for row in conn.execute(
        select(g.message_id, g.kind, g.at, g.machine).join(wanted, wanted.c.id == g.message_id).order_by(g.at, g.id)
    ):
        seen[row.message_id].append(EngagementStory(row.kind, row.at, row.machine))
    return seen
