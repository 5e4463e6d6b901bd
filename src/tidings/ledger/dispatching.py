"""What dispatch claims and gives back: due messages leave ``planned`` under a token and a lease, never without."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    FromClause,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    update,
)

from tidings.ledger import bulk, prepared
from tidings.ledger.bulk import TEXT, TIME
from tidings.ledger.cancelling import cancel_for
from tidings.ledger.planning import entry_of, release_cooldowns
from tidings.ledger.prepared import Prepared
from tidings.ledger.quarantine import offer_again, presume_lost
from tidings.ledger.schema import PLANNED, UNDER_WAY, entries, messages, shard_leases
from tidings.ledger.sending import Begun, Intent, Outcome, begin_sending, record_outcomes
from tidings.ledger.store import clock
from tidings.ledger.transitions import ENDS
from tidings.model.entry import Entry
from tidings.model.message import SkipReason, Status

__all__ = [
    "Begun", "Claim", "Due", "Intent", "Outcome", "Previous", "Reaped", "Soon", "anything_due", "begin_sending",
    "cancel_for", "claim", "defer", "end", "extend_shard", "extend_shards", "lease_shard", "lease_shards", "let_go",
    "offer_again", "presume_lost", "reap",
    "record_outcomes", "release_shard", "release_shards",
    "upcoming",
]  # fmt: skip

m = messages.c
# Put off until somebody has looked, a source was loaded, or goods suffice: the new time is only when to ask again.
UNSURE = (SkipReason.PAUSED, SkipReason.STALE, SkipReason.TOO_FEW)


@dataclass(frozen=True, slots=True)
class Previous:
    """The step before in the same entry: where it ended, and when it left (``sending_at``)."""

    status: Status
    sent_at: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Due:
    """One claimed message with the entry it stands for."""

    id: str
    entry_id: str
    campaign: str
    step: str
    step_no: int
    channel: str
    customer_id: str
    priority: int
    held_out: bool
    send_at: datetime
    first_send_at: datetime
    expires_at: datetime
    attempt: int
    deferrals: int
    address_hash: str | None
    template: str | None
    variant: str
    entry: Entry
    previous: Previous | None
    defer_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What one lane holds until ``lease_until`` (the database's clock), under its token."""

    token: str
    lease_until: datetime
    due: tuple[Due, ...]


@dataclass(frozen=True, slots=True)
class Soon:
    """A message of a customer that will be due shortly: a rival in arbitration."""

    id: str
    customer_id: str
    channel: str
    priority: int
    send_at: datetime
    campaign: str
    step: str
    held_out: bool


@dataclass(frozen=True, slots=True)
class Reaped:
    """How many claimed messages came back, and how many were in flight when their sender vanished."""

    returned: int
    unknown: int


def _due(space: str, now: datetime, shard: ColumnElement[int] | int | Collection[int]) -> ColumnElement[bool]:
    inside = m.shard.in_(sorted(shard)) if isinstance(shard, Collection) else m.shard == shard
    return and_(PLANNED, m.space == space, inside, m.send_at <= now)


def anything_due(conn: Connection, space: str, now: datetime) -> bool:
    """Return whether a dispatcher has work: something due, or a lease that ran out and needs the reaper."""
    due = exists().where(_due(space, now, shard_leases.c.shard))
    waiting = select(shard_leases.c.shard).where(shard_leases.c.space == space, due).limit(1)
    if conn.execute(waiting).first() is not None:
        return True
    overdue = select(m.id).where(UNDER_WAY, m.lease_until < clock(conn)).limit(1)
    return conn.execute(overdue).first() is not None


def lease_shard(
    conn: Connection, *, space: str, owner: str, now: datetime, lease: timedelta, skip: Collection[int] = ()
) -> int | None:
    """Lease a free shard that has due work, the longest untouched first; None when there is none."""
    at = clock(conn)
    s = shard_leases.c
    free = or_(s.owner.is_(None), s.lease_until <= at)
    chosen = (
        select(s.shard)
        .where(s.space == space, free, s.shard.not_in(sorted(skip)), exists().where(_due(space, now, s.shard)))
        .order_by(s.lease_until.asc().nulls_first(), s.shard)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    shard: int | None = conn.scalar(chosen)
    if shard is not None:
        conn.execute(
            update(shard_leases).where(s.space == space, s.shard == shard).values(owner=owner, lease_until=at + lease)
        )
    return shard


def lease_shards(
    conn: Connection,
    *,
    space: str,
    owner: str,
    now: datetime,
    lease: timedelta,
    most: int,
    skip: Collection[int] = (),
) -> list[int]:
    """Lease up to ``most`` free shards that have due work, the longest untouched first."""
    at = clock(conn)
    s = shard_leases.c
    free = or_(s.owner.is_(None), s.lease_until <= at)
    chosen = (
        select(s.shard)
        .where(s.space == space, free, s.shard.not_in(sorted(skip)), exists().where(_due(space, now, s.shard)))
        .order_by(s.lease_until.asc().nulls_first(), s.shard)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    shards = list(conn.scalars(chosen))
    if shards:
        mine = update(shard_leases).where(s.space == space, s.shard.in_(shards))
        conn.execute(mine.values(owner=owner, lease_until=at + lease))
    return shards


def extend_shards(conn: Connection, *, space: str, owner: str, lease: timedelta) -> int:
    """Hold everything an owner has leased for longer; return how many shards are still theirs."""
    s = shard_leases.c
    mine = update(shard_leases).where(s.space == space, s.owner == owner)
    return conn.execute(mine.values(lease_until=clock(conn) + lease)).rowcount


def release_shards(conn: Connection, *, space: str, owner: str) -> None:
    """Give back everything an owner has leased; what was lost meanwhile stays with whoever has it."""
    s = shard_leases.c
    mine = update(shard_leases).where(s.space == space, s.owner == owner)
    conn.execute(mine.values(owner=None, lease_until=clock(conn)))


def extend_shard(conn: Connection, *, space: str, shard: int, owner: str, lease: timedelta) -> bool:
    """Hold a leased shard for longer; return whether it was still ours."""
    s = shard_leases.c
    mine = update(shard_leases).where(s.space == space, s.shard == shard, s.owner == owner)
    return bulk.changed(conn, mine.values(lease_until=clock(conn) + lease)) == 1


def release_shard(conn: Connection, *, space: str, shard: int, owner: str) -> None:
    """Give a shard back; one that was lost meanwhile stays with whoever has it."""
    s = shard_leases.c
    mine = update(shard_leases).where(s.space == space, s.shard == shard, s.owner == owner)
    conn.execute(mine.values(owner=None, lease_until=clock(conn)))


def claim(
    conn: Connection, *, space: str, shard: int | Collection[int], now: datetime, limit: int, lease: timedelta
) -> Claim:
    """Claim up to ``limit`` due messages of a shard (or several), oldest first, and every other of their customers.

    What is due is decided by the job's ``now``; the lease runs on the database's clock. Rows that another
    transaction holds are passed over. A customer's messages come together, so that arbitration sees them all. After
    an outage the more important go first, whenever they were due.
    """
    first = conn.execute(
        select(m.id, m.customer_id)
        .where(_due(space, now, shard))
        .order_by(m.priority, m.send_at, m.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    token = uuid.uuid4().hex
    if not first:
        return Claim(token, clock(conn), ())
    people = bulk.ids(conn, (row.customer_id for row in first))
    # The coalesce keeps planners without fresh statistics from walking everything due instead of these people.
    due_too = (PLANNED, func.coalesce(m.space, "") == space, func.coalesce(m.send_at, m.first_send_at) <= now)
    others = conn.scalars(
        select(m.id)
        .join(people, people.c.id == m.customer_id)
        .where(*due_too)
        .with_for_update(of=messages, skip_locked=True)
    )
    mine = prepared.ids({*others, *(row.id for row in first)})
    until = clock(conn) + lease
    held = {"body": mine, "token": token, "until": prepared.instant(conn, until)}
    _, rows = prepared.together(conn, (_CLAIM, held), (_READ, {"body": mine}))
    return Claim(token, until, tuple(_due_from(row) for row in rows))


def _claimed(dialect: str) -> Executable:
    wanted = prepared.ids_given(dialect)
    new = {"token": bindparam("token"), "lease_until": bindparam("until", type_=TIME)}
    return update(messages).where(m.id == wanted.c.id).values(status=Status.CLAIMED, **new)


def _reading(dialect: str) -> Executable:
    wanted, before, e = prepared.ids_given(dialect), messages.alias("before"), entries.c
    return (
        select(
            m.id, m.entry_id, m.campaign, m.step, m.step_no, m.channel, m.priority, m.held_out, m.send_at,
            m.first_send_at, m.expires_at, m.attempt, m.deferrals, m.address_hash, m.template,
            e.variant, before.c.status, before.c.sending_at, before.c.reason, m.defer_reason,
            e.entry_key, e.customer_id, e.anchor_at, e.entered_at, e.sku, e.value, e.currency, e.seen,
        )
        .join(wanted, wanted.c.id == m.id)
        .join(entries, e.id == m.entry_id)
        .outerjoin(before, and_(before.c.entry_id == m.entry_id, before.c.step_no == m.step_no - 1))
        .order_by(m.priority, m.send_at, m.id)
    )  # fmt: skip


_CLAIM, _READ = Prepared(_claimed), Prepared(_reading)


def _due_from(row: Sequence[Any]) -> Due:
    """Return a message as the driver gave it."""
    (
        mid, entry_id, campaign, step, step_no, channel, priority, held_out, send_at, first_send_at, expires_at,
        attempt, deferrals, address_hash, template, variant, status, left_at, reason, defer_reason,
        key, customer, anchor_at, entered_at, *seen,
    ) = row  # fmt: skip
    at = prepared.told_instant
    previous = Previous(Status(status), None if left_at is None else at(left_at), reason) if status else None
    return Due(
        mid, entry_id, campaign, step, step_no, channel, customer, priority, bool(held_out), at(send_at),
        at(first_send_at), at(expires_at), attempt, deferrals, address_hash, template, variant,
        entry_of(key, customer, at(anchor_at), at(entered_at), *seen), previous, defer_reason,
    )  # fmt: skip


def upcoming(conn: Connection, *, space: str, customers: Collection[str], now: datetime, until: datetime) -> list[Soon]:
    """Return the planned messages of these customers that become due after ``now`` and up to ``until``.

    Not those that wait for something else than their time: whether they will leave then, nobody knows.
    """
    if not customers:
        return []
    people = bulk.ids(conn, customers)
    rows = conn.execute(
        select(m.id, m.customer_id, m.channel, m.priority, m.send_at, m.campaign, m.step, m.held_out)
        .join(people, people.c.id == m.customer_id)
        .where(PLANNED, func.coalesce(m.space, "") == space, m.send_at > now, m.send_at <= until)
        .where(or_(m.defer_reason.is_(None), m.defer_reason.not_in(UNSURE)))
        .order_by(m.send_at, m.id)
    )
    return [Soon(*row) for row in rows]


def _mine(conn: Connection, token: str, chosen: Iterable[str]) -> FromClause:
    """Lock the messages in the order of their ids, and return them as a table: two writers then never deadlock."""
    wanted = bulk.ids(conn, chosen)
    locked = select(m.id).join(wanted, wanted.c.id == m.id).order_by(m.id).with_for_update(of=messages)
    if conn.dialect.name == "postgresql":
        conn.execute(locked)
    return wanted


_UNCLAIMED: dict[str, Any] = {"status": Status.PLANNED, "token": None, "lease_until": None}


def let_go(conn: Connection, token: str, ids: Collection[str] | None = None) -> int:
    """Give claimed messages back untouched (all of the token's when ``ids`` is None); return how many."""
    if ids is None:
        ids = list(conn.scalars(select(m.id).where(UNDER_WAY, m.token == token)))
    mine = _mine(conn, token, ids)
    held = (m.id == mine.c.id, m.status == Status.CLAIMED, m.token == token)
    return bulk.changed(conn, update(messages).where(*held).values(_UNCLAIMED))


def defer(conn: Connection, token: str, items: Sequence[tuple[str, datetime, str | None]]) -> int:
    """Move claimed messages back to planned with a later ``send_at`` and why; return how many were ours."""
    if not items:
        return 0
    _mine(conn, token, (item[0] for item in items))
    later = bulk.given(conn, {"id": TEXT, "until": TIME, "reason": TEXT}, items)
    held = (m.id == later.c.id, m.status == Status.CLAIMED, m.token == token)
    changed = {"send_at": later.c.until, "deferrals": m.deferrals + 1, "defer_reason": later.c.reason}
    return bulk.changed(conn, update(messages).where(*held).values(**_UNCLAIMED, **changed))


def end(
    conn: Connection, token: str, items: Sequence[tuple[str, Status, str | None, str | None]], now: datetime
) -> int:
    """End claimed messages as skipped, cancelled, expired or failed; return how many were ours.

    ``items`` are (id, status, reason, detail); the detail never holds an address. An entry of which nothing
    was or will be exposed gives its cooldown back.
    """
    if not items:
        return 0
    if not {item[1] for item in items} <= ENDS - {Status.SENT, Status.HELD_OUT}:
        raise ValueError("a claimed message ends as skipped, cancelled, expired or failed")
    _mine(conn, token, (item[0] for item in items))
    rows = [(mid, status, reason, bulk.fit(detail, 400)) for mid, status, reason, detail in items]
    ended = bulk.given(conn, {"id": TEXT, "status": TEXT, "reason": TEXT, "detail": TEXT}, rows)
    held = (m.id == ended.c.id, m.status == Status.CLAIMED, m.token == token)
    # What was offered again may have been taken the first time: that it waits no longer does not settle it.
    status = case((m.sending_at.is_not(None), Status.PRESUMED_LOST), else_=ended.c.status)
    changed = {"status": status, "reason": ended.c.reason, "detail": ended.c.detail, "ended_at": now}
    written = update(messages).where(*held).values(**changed, lease_until=None).returning(m.entry_id)
    touched = list(conn.scalars(written))
    release_cooldowns(conn, set(touched))
    return len(touched)


def reap(conn: Connection, *, margin: timedelta) -> Reaped:
    """Take back what vanished dispatchers held, by the database's clock.

    Claimed messages return to planned: no HTTP had begun. Those in ``sending`` for longer than their lease
    and ``margin`` become unknown and never planned again: their sender may only be asleep.
    """
    at = clock(conn)
    late = or_(m.status == Status.CLAIMED, m.lease_until < at - margin)
    held = select(m.id, m.status).where(UNDER_WAY, m.lease_until < at, late)
    lost = conn.execute(bulk.locked(conn, held, m.id)).all()
    returned = [row.id for row in lost if row.status == Status.CLAIMED]
    unknown = [row.id for row in lost if row.status == Status.SENDING]
    if returned:
        conn.execute(update(messages).where(m.id == bulk.ids(conn, returned).c.id).values(_UNCLAIMED))
    if unknown:
        doubt = {"status": Status.UNKNOWN, "reason": "lease_lost", "lease_until": None}
        conn.execute(update(messages).where(m.id == bulk.ids(conn, unknown).c.id).values(doubt))
    return Reaped(len(returned), len(unknown))
