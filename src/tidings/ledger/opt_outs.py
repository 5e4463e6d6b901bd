"""What people decided, in the order in which it was written: for the shop's other tools to follow."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, update

from tidings.ledger.schema import opt_outs

o = opt_outs.c


@dataclass(frozen=True, slots=True)
class Decision:
    """One person's word about one channel; an empty ``purpose`` is all of them, an empty ``channel`` every one."""

    channel: str
    opted_out: bool
    reason: str
    at: datetime
    source: str
    purpose: str = ""
    customer_id: str | None = None
    address_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Told(Decision):
    """A decision with the number under which it is told; a receiver that saw the number before may leave it."""

    number: int = 0


_FIELDS = ("channel", "opted_out", "reason", "at", "source", "purpose", "customer_id", "address_hash")


def note(conn: Connection, decisions: Sequence[Decision]) -> None:
    """Write decisions down, in the transaction that also obeys them."""
    if decisions:
        conn.execute(insert(opt_outs), [{name: getattr(one, name) for name in _FIELDS} for one in decisions])


def untold(conn: Connection, *, most: int = 500) -> list[Told]:
    """Return the oldest decisions that nobody was told yet."""
    query = select(*(o[name] for name in _FIELDS), o.number).where(o.told_at.is_(None)).order_by(o.number).limit(most)
    return [Told(**row) for row in conn.execute(query).mappings()]


def told(conn: Connection, numbers: Collection[int], at: datetime) -> None:
    """Note that these were taken by the receiver."""
    conn.execute(update(opt_outs).where(o.number.in_(sorted(numbers)), o.told_at.is_(None)).values(told_at=at))


def waiting(conn: Connection) -> tuple[int, datetime | None]:
    """Return how many decisions wait to be told, and the oldest one's moment."""
    row = conn.execute(select(func.count(), func.min(o.at)).where(o.told_at.is_(None))).one()
    return int(row[0]), row[1]
