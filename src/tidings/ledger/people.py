"""What people told us about being written to: a later word wins, whatever order the words arrive in."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, or_, select, true

from tidings.ledger import bulk
from tidings.ledger.bulk import upsert
from tidings.ledger.schema import consents, suppressions
from tidings.model.people import Channel, Consent

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
EVERY_CHANNEL = ""


def suppress(
    conn: Connection,
    subjects: Collection[str],
    *,
    channel: str | None,
    reason: str,
    at: datetime,
    source: str,
    message_id: str | None = None,
) -> None:
    """Never write to these subjects ("a:<address hash>", "p:<customer id>") again; None is every channel."""
    _say(conn, subjects, channel, reason, {"at": at, "source": source, "message_id": message_id})


def lift(
    conn: Connection,
    subjects: Collection[str],
    *,
    channel: str | None,
    at: datetime,
    reasons: Collection[str] = ("stop", "unsubscribed"),
    source: str = "person",
) -> None:
    """Take back, as of ``at``, suppressions for these reasons; a bounce or a complaint is not a person's to lift."""
    for reason in sorted(reasons):
        _say(conn, subjects, channel, reason, {"at": _NEVER, "lifted_at": at, "source": source})


def _say(
    conn: Connection, subjects: Collection[str], channel: str | None, reason: str, said: dict[str, object]
) -> None:
    if not subjects:
        return
    names = bulk.ids(conn, subjects)
    key = {"channel": channel or EVERY_CHANNEL, "reason": reason[:30]}
    column = "lifted_at" if "lifted_at" in said else "at"
    fixed = {name: bulk.literal(value, suppressions.c[name].type) for name, value in {**key, **said}.items()}
    rows = select(names.c.id, *fixed.values()).where(true()).order_by(names.c.id)
    write = upsert(conn, suppressions).from_select(["subject", *fixed], rows)
    changed = {name: write.excluded[name] for name in said if column == "at" or name == "lifted_at"}
    stored = suppressions.c[column]
    conn.execute(
        write.on_conflict_do_update(
            index_elements=["subject", "channel", "reason"],
            set_=changed,
            where=or_(stored.is_(None), stored < write.excluded[column]),
        )
    )


def suppressed(conn: Connection, subjects: Collection[str]) -> dict[str, set[str]]:
    """Return, for those of the subjects that must not be written to, the channels this holds for.

    A suppression of every channel is given as each channel by name. Of an opt-out and an opt-in at the same
    moment the opt-out holds.
    """
    if not subjects:
        return {}
    s, wanted = suppressions.c, bulk.ids(conn, subjects)
    in_force = or_(s.lifted_at.is_(None), s.lifted_at <= s.at)
    found: dict[str, set[str]] = defaultdict(set)
    for subject, channel in conn.execute(
        select(s.subject, s.channel).join(wanted, wanted.c.id == s.subject).where(in_force)
    ):
        found[subject].update([channel] if channel else [str(one) for one in Channel])
    return dict(found)


def add_consent(conn: Connection, consent: Consent, *, source: str) -> None:
    """Keep what a person told us directly; it is folded with the warehouse's consents, the latest wins."""
    conn.execute(
        insert(consents).values(
            id=uuid.uuid4().hex,
            customer_id=consent.customer_id,
            channel=consent.channel,
            purpose=consent.purpose,
            granted=consent.granted,
            at=consent.at,
            source=source,
        )
    )


def consents_of(conn: Connection, customer_ids: Collection[str]) -> list[Consent]:
    """Return everything these customers told us directly, oldest first."""
    if not customer_ids:
        return []
    c, wanted = consents.c, bulk.ids(conn, customer_ids)
    rows = conn.execute(
        select(c.customer_id, c.channel, c.purpose, c.granted, c.at, c.basis, c.wording)
        .join(wanted, wanted.c.id == c.customer_id)
        .order_by(c.at, c.id)
    )
    return [
        Consent(
            row.customer_id, Channel(row.channel), row.purpose, row.granted, row.at,
            source="ledger", basis=row.basis, wording=row.wording,
        )
        for row in rows
    ]  # fmt: skip
