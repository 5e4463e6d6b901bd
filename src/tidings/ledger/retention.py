"""What is taken out of the ledger when it has served: a batch a commit, and never anything that a report counts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, delete, func, or_, select, tuple_, update

from tidings.ledger import bulk, receipts
from tidings.ledger.schema import (
    PENDING,
    UNDER_WAY,
    contact_slots,
    cooldowns,
    engagements,
    entries,
    messages,
    raw_events,
    receipt_chain,
    runs,
    unmatched_events,
)
from tidings.ledger.transitions import ENDS

BATCH = 5_000
# Each takes out (or, counting, only counts) what is older than a moment and says how many rows of at most a batch.
Step = Callable[[Connection, datetime, bool], int]


def steps(category: str) -> tuple[Step, ...]:
    """Return what a category of the settings comes to, each to be repeated until it finds less than a batch."""
    return _STEPS[category]


def _older(table: Table, old: Callable[[datetime], ColumnElement[bool]]) -> Step:
    """Return a step that deletes the rows for which ``old`` holds."""
    key: list[Column[Any]] = list(table.primary_key.columns)

    def step(conn: Connection, before: datetime, counting: bool) -> int:
        if counting:
            return conn.scalar(select(func.count()).select_from(table).where(old(before))) or 0
        chosen = select(*key).where(old(before)).order_by(*key).limit(BATCH)
        named = key[0].in_(chosen) if len(key) == 1 else tuple_(*key).in_(chosen)
        return bulk.changed(conn, delete(table).where(named))

    return step


def _emptied(table: Table, old: Callable[[datetime], ColumnElement[bool]], values: dict[str, Any]) -> Step:
    """Return a step that takes the values out of the rows for which ``old`` holds, and leaves the rows."""

    def step(conn: Connection, before: datetime, counting: bool) -> int:
        if counting:
            return conn.scalar(select(func.count()).select_from(table).where(old(before))) or 0
        chosen = select(table.c.id).where(old(before)).order_by(table.c.id).limit(BATCH)
        return bulk.changed(conn, update(table).where(table.c.id.in_(chosen)).values(values))

    return step


def _ended(before: datetime) -> ColumnElement[bool]:
    m = messages.c
    said = or_(m.detail.is_not(None), m.provider_id.is_not(None), m.address_hash.is_not(None))
    return (m.ended_at < before) & m.status.in_(ENDS) & said


def _seen(before: datetime) -> ColumnElement[bool]:
    alive = select(messages.c.entry_id).where(or_(PENDING, UNDER_WAY))
    return (entries.c.planned_at < before) & (entries.c.seen != "{}") & entries.c.id.not_in(alive)


def _sealed(conn: Connection, before: datetime, counting: bool) -> int:
    """Take whole days off the old end of the chain of receipts, with the receipts, a day at a time."""
    day = before.replace(hour=0, minute=0, second=0, microsecond=0)
    c = receipt_chain.c
    if counting:
        return conn.scalar(select(func.count()).select_from(receipt_chain).where(c.day < day)) or 0
    first: datetime | None = conn.scalar(select(func.min(c.day, type_=bulk.TIME)))
    if first is None or first >= day:
        return 0
    return receipts.drop_before(conn, min(day, first + timedelta(days=1)))


_STEPS: dict[str, tuple[Step, ...]] = {
    "raw_events": (_older(raw_events, lambda before: raw_events.c.received_at < before),),
    "unmatched_events": (_older(unmatched_events, lambda before: unmatched_events.c.received_at < before),),
    "runs": (_older(runs, lambda before: (runs.c.job == "dispatch") & (runs.c.started_at < before)),),
    "contacts": (
        _older(contact_slots, lambda before: contact_slots.c.at < before),
        _older(cooldowns, lambda before: cooldowns.c.until < before),
    ),
    "message_detail": (
        _emptied(messages, _ended, {"detail": None, "provider_id": None, "address_hash": None}),
        _emptied(entries, _seen, {"seen": "{}"}),
        _emptied(
            engagements, lambda before: (engagements.c.at < before) & engagements.c.detail.is_not(None),
            {"detail": None},
        ),
    ),
    "receipts": (_sealed,),
}  # fmt: skip
