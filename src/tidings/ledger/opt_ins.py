"""Texts that a person asked for on a page, until their own phone has said yes: asked once, answered or expired."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, update

from tidings.ledger import bulk
from tidings.ledger.schema import opt_ins

i = opt_ins.c


@dataclass(frozen=True, slots=True)
class OptIn:
    """One wish for texts, with what the person was shown when they wished it."""

    id: str
    customer_id: str
    address_hash: str
    channel: str
    purpose: str
    wording: str
    asked_at: datetime


_COLUMNS = (i.id, i.customer_id, i.address_hash, i.channel, i.purpose, i.wording, i.asked_at)


def ask(conn: Connection, wish: OptIn, *, since: datetime) -> bool:
    """Keep a wish, unless the same one of after ``since`` still waits for its answer; say whether it was kept."""
    same = [
        i.customer_id == wish.customer_id, i.address_hash == wish.address_hash, i.channel == wish.channel,
        i.purpose == wish.purpose, i.answered_at.is_(None), i.asked_at > since,
    ]  # fmt: skip
    if conn.scalar(select(func.count()).select_from(opt_ins).where(*same)):
        return False
    conn.execute(
        insert(opt_ins).values(
            id=wish.id or uuid.uuid4().hex, customer_id=wish.customer_id, address_hash=wish.address_hash,
            channel=wish.channel, purpose=wish.purpose, wording=wish.wording[:400], asked_at=wish.asked_at,
        )
    )  # fmt: skip
    return True


def waiting(conn: Connection, *, since: datetime, most: int = 500) -> list[OptIn]:
    """Return wishes of after ``since`` whose question has not been begun, oldest first."""
    query = select(*_COLUMNS).where(i.begun_at.is_(None), i.answered_at.is_(None), i.asked_at > since)
    return [OptIn(*row) for row in conn.execute(query.order_by(i.asked_at, i.id).limit(most))]


def begin(conn: Connection, ids: Collection[str], now: datetime) -> set[str]:
    """Take the right to ask these questions, each of which leaves once; return those we got."""
    if not ids:
        return set()
    chosen = bulk.ids(conn, ids)
    write = (
        update(opt_ins)
        .where(i.id.in_(select(chosen.c.id)), i.begun_at.is_(None), i.answered_at.is_(None))
        .values(begun_at=now)
        .returning(i.id)
    )
    return set(conn.scalars(write))


def sent(conn: Connection, ids: Collection[str], provider_id: str, now: datetime) -> None:
    """Note that the question left."""
    chosen = bulk.ids(conn, ids)
    values = {"sent_at": now, "provider_id": provider_id[:120]}
    conn.execute(update(opt_ins).where(i.id.in_(select(chosen.c.id))).values(values))


def let_go(conn: Connection, ids: Collection[str]) -> None:
    """Give the right back: the provider certainly did not take the question, so it may be asked later."""
    chosen = bulk.ids(conn, ids)
    conn.execute(update(opt_ins).where(i.id.in_(select(chosen.c.id)), i.sent_at.is_(None)).values(begun_at=None))


def pending(conn: Connection, address_hash: str, *, since: datetime) -> list[OptIn]:
    """Return what this number was asked after ``since`` and has not answered; rows are locked."""
    query = (
        select(*_COLUMNS)
        .where(i.address_hash == address_hash, i.begun_at.is_not(None), i.answered_at.is_(None), i.asked_at > since)
        .order_by(i.id)
        .with_for_update()
    )
    return [OptIn(*row) for row in conn.execute(query)]


def answer(conn: Connection, ids: Collection[str], *, granted: bool, at: datetime) -> None:
    """Note the answer; the first one stands."""
    chosen = bulk.ids(conn, ids)
    conn.execute(
        update(opt_ins)
        .where(i.id.in_(select(chosen.c.id)), i.answered_at.is_(None))
        .values(answered_at=at, granted=granted)
    )


def withdraw(conn: Connection, address_hashes: Collection[str], at: datetime) -> None:
    """Close every question these numbers have not answered: they said stop."""
    if not address_hashes:
        return
    chosen = bulk.ids(conn, address_hashes)
    conn.execute(
        update(opt_ins)
        .where(i.address_hash.in_(select(chosen.c.id)), i.answered_at.is_(None), i.asked_at <= at)
        .values(answered_at=at, granted=False)
    )


def waits(conn: Connection, customer_ids: Collection[str], *, since: datetime) -> set[str]:
    """Return the purposes for which these people were asked, or will be, and have not answered."""
    if not customer_ids:
        return set()
    chosen = bulk.ids(conn, customer_ids)
    query = select(i.purpose).where(i.customer_id.in_(select(chosen.c.id)), i.answered_at.is_(None), i.asked_at > since)
    return set(conn.scalars(query))
