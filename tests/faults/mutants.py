"""Guards taken away, one at a time, in a worker's own process: a suite that does not notice is worthless."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from tidings.jobs import gates
from tidings.ledger import dispatching, outcomes, planning, room, sending
from tidings.ledger.schema import messages
from tidings.model.message import Status
from tidings.plan.recheck import Pass

m = messages.c


def without_token() -> None:
    """Send whatever was claimed once, whoever holds it by now."""

    def ours(conn: Connection, ids: Iterable[str], held: sending.Held) -> dict[str, str | None]:
        return {row.id: row.address_hash for row in conn.execute(select(m.id, m.address_hash).where(m.id.in_(ids)))}

    sending._ours = ours


def without_lease() -> None:
    """Send what is still ours, although nobody can tell for how long."""

    def ours(conn: Connection, ids: Iterable[str], held: sending.Held) -> dict[str, str | None]:
        claimed = select(m.id, m.address_hash).where(m.id.in_(ids), m.status == Status.CLAIMED, m.token == held.token)
        return {row.id: row.address_hash for row in conn.execute(claimed)}

    sending._ours = ours


def reaper_plans_again() -> None:
    """Take a message that was in flight for one that was not sent."""
    reap = dispatching.reap

    def careless(conn: Connection, *, margin: timedelta) -> Any:
        found = reap(conn, margin=margin)
        lost = (m.status == Status.UNKNOWN, m.reason == "lease_lost")
        conn.execute(update(messages).where(*lost).values(status=Status.PLANNED, token=None))
        return found

    dispatching.reap = careless


def unknown_is_retried() -> None:
    """Take a lost answer for a refusal."""
    outcomes._WRITERS["unknown"] = outcomes._retry


def late_proof_is_refused() -> None:
    """Believe only who still holds the message."""
    outcomes.PROVABLE = (Status.SENDING,)


def without_caps() -> None:
    """Find room under every cap."""
    room.Room.free_at = lambda *_: None  # type: ignore[method-assign]


def without_lock() -> None:
    """Count a person's messages while another lane counts them."""
    sending.holds = lambda *_: []


def without_last_opt_out() -> None:
    """Believe what the gates saw about opt-outs, minutes ago."""
    sending._opted_out = lambda *_: frozenset()


def without_recheck() -> None:
    """Send what was true when it was planned."""
    gates.decide = lambda _: Pass()


def without_conflict_clause() -> None:
    """Insert what has been found as if it had never been found before."""
    planning._existing = lambda *_: set()


MUTANTS: dict[str, Callable[[], None]] = {
    one.__name__: one
    for one in (
        without_token,
        without_lease,
        reaper_plans_again,
        unknown_is_retried,
        late_proof_is_refused,
        without_caps,
        without_lock,
        without_last_opt_out,
        without_recheck,
        without_conflict_clause,
    )
}
