"""Cancelling what still waits for people who said no, were forgotten, or cannot be reached."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, case, or_, select, tuple_, update

from tidings.ledger import bulk
from tidings.ledger.planning import release_cooldowns
from tidings.ledger.schema import PENDING, messages
from tidings.model.message import SkipReason, Status

m = messages.c


def cancel_for(
    conn: Connection,
    *,
    customers: Collection[str] = (),
    address_hashes: Collection[str] = (),
    channel: str | None = None,
    steps: Collection[tuple[str, str]] | None = None,
    reason: str = SkipReason.SUPPRESSED,
    now: datetime,
) -> int:
    """Cancel what is still pending for these customers or addresses; return how many messages.

    ``steps`` (campaign, step) are those it is about, all when left out. A claimed message is cancelled too: its
    dispatcher finds it gone when it asks to send. What is already in ``sending`` has left.
    """
    subjects = []
    if customers:
        subjects.append(m.customer_id.in_(select(bulk.ids(conn, customers, name="people").c.id)))
    if address_hashes:
        subjects.append(m.address_hash.in_(select(bulk.ids(conn, address_hashes, name="addresses").c.id)))
    if not subjects:
        return 0
    pending = [PENDING, or_(*subjects)]
    if channel:
        pending.append(m.channel == channel)
    if steps is not None:
        pending.append(tuple_(m.campaign, m.step).in_(sorted(steps)))
    chosen = conn.scalars(select(m.id).where(*pending).order_by(m.id).with_for_update()).all()
    if not chosen:
        return 0
    status = case((m.sending_at.is_not(None), Status.PRESUMED_LOST), else_=Status.CANCELLED)
    changed = {"status": status, "reason": reason, "ended_at": now, "lease_until": None}
    still = (m.id == bulk.ids(conn, chosen).c.id, PENDING)
    touched = list(conn.scalars(update(messages).where(*still).values(changed).returning(m.entry_id)))
    release_cooldowns(conn, set(touched))
    return len(touched)
