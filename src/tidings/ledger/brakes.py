"""Why sending is stopped: a brake holds from its commit until a person releases it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select

from tidings.ledger.bulk import changed, upsert
from tidings.ledger.schema import brakes


@dataclass(frozen=True, slots=True)
class Brake:
    """One stop: why, since when, and who pulled it."""

    reason: str
    at: datetime
    by: str


def pull(conn: Connection, scope: str, *, reason: str, at: datetime, by: str) -> None:
    """Stop ``all``, ``campaign:x``, ``channel:sms`` or ``provider:twilio``; the first reason stays until released."""
    values = {"scope": scope, "reason": reason[:200], "at": at, "by": by[:60]}
    conn.execute(upsert(conn, brakes).values(**values).on_conflict_do_nothing())


def release(conn: Connection, scope: str) -> bool:
    """Let go of a brake; return whether it was on."""
    return changed(conn, delete(brakes).where(brakes.c.scope == scope)) == 1


def pulled(conn: Connection) -> dict[str, Brake]:
    """Return every brake that is on, by scope."""
    rows = conn.execute(select(brakes.c.scope, brakes.c.reason, brakes.c.at, brakes.c.by).order_by(brakes.c.scope))
    return {row.scope: Brake(row.reason, row.at, row.by) for row in rows}
