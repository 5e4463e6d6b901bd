"""Guards taken away, one at a time, in a worker's own process: a suite that does not notice is worthless."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Executable, select, update

from tidings.jobs import gates
from tidings.ledger import dispatching, outcomes, planning, prepared, room, sending
from tidings.ledger.prepared import Prepared
from tidings.ledger.schema import messages
from tidings.model.message import Status
from tidings.plan.recheck import Pass

m = messages.c


def without_token() -> None:
    """Send whatever was claimed once, whoever holds it by now."""

    def whatever(dialect: str) -> Executable:
        wanted = prepared.ids_given(dialect)
        return select(m.id, m.lease_until, m.address_hash).join(wanted, wanted.c.id == m.id)

    sending._MINE = Prepared(whatever)
    without_lease()


def without_lease() -> None:
    """Send what is still ours, although nobody can tell for how long."""
    sending._ours = lambda claimed, _: {mid: address for mid, _, address in claimed}


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
