"""What people told us about being written to: a later word wins, whatever order the words arrive in."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Executable, and_, func, insert, or_, select, true

from tidings.ledger import bulk, prepared
from tidings.ledger.bulk import upsert
from tidings.ledger.holding import hold
from tidings.ledger.prepared import Asked, Prepared
from tidings.ledger.schema import consents, messages, suppressions
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
) -> set[str]:
    """Never write to these subjects ("a:<address hash>", "p:<customer id>") again; None is every channel.

    Returns those for whom this is news: the same word again, or an older one, changes nothing. A message to them that
    is on its way to `sending` is waited for, or waits.
    """
    hold(conn, subjects)
    return _say(conn, subjects, channel, reason, {"at": at, "source": source, "message_id": message_id})


def lift(
    conn: Connection,
    subjects: Collection[str],
    *,
    channel: str | None,
    at: datetime,
    reasons: Collection[str] = ("stop", "unsubscribed"),
    source: str = "person",
) -> None:
    """Take back, as of ``at``, suppressions for these reasons; a bounce or a complaint is not a person's to lift.

    What an erasure closed nobody can open: whoever asks may not be whom it was about.
    """
    for reason in sorted({*reasons} - {"erased"}):
        _say(conn, subjects, channel, reason, {"at": _NEVER, "lifted_at": at, "source": source})


def _say(
    conn: Connection, subjects: Collection[str], channel: str | None, reason: str, said: dict[str, object]
) -> set[str]:
    if not subjects:
        return set()
    names = bulk.ids(conn, subjects)
    key = {"channel": channel or EVERY_CHANNEL, "reason": reason[:30]}
    column = "lifted_at" if "lifted_at" in said else "at"
    fixed = {name: bulk.literal(value, suppressions.c[name].type) for name, value in {**key, **said}.items()}
    rows = select(names.c.id, *fixed.values()).where(true()).order_by(names.c.id)
    write = upsert(conn, suppressions).from_select(["subject", *fixed], rows)
    changed = {name: write.excluded[name] for name in said if column == "at" or name == "lifted_at"}
    stored, later = suppressions.c[column], write.excluded[column]
    newer = [stored.is_(None), stored < later]
    if column == "at":
        # Two words of the same moment: the same proof is kept, whichever came first.
        proofs = [func.coalesce(one.message_id, "") for one in (suppressions.c, write.excluded)]
        newer.append(and_(stored == later, proofs[0] < proofs[1]))
    kept = write.on_conflict_do_update(
        index_elements=["subject", "channel", "reason"], set_=changed, where=or_(*newer)
    ).returning(suppressions.c.subject)
    return set(conn.scalars(kept))


def suppressed(conn: Connection, subjects: Collection[str]) -> dict[str, set[str]]:
    """Return, for those of the subjects that must not be written to, the channels this holds for.

    A suppression of every channel is given as each channel by name. Of an opt-out and an opt-in at the same
    moment the opt-out holds.
    """
    return told_suppressed(prepared.together(conn, asked_suppressed(subjects))[0]) if subjects else {}


def asked_suppressed(subjects: Collection[str]) -> Asked:
    """Return what ``suppressed`` runs, for a transaction that asks more in the same trip."""
    return _SUPPRESSED, {"body": prepared.ids(set(subjects))}


def told_suppressed(rows: Iterable[Sequence[Any]]) -> dict[str, set[str]]:
    """Return what the answer to ``asked_suppressed`` says."""
    found: dict[str, set[str]] = defaultdict(set)
    for subject, channel in rows:
        found[subject].update([channel] if channel else [str(one) for one in Channel])
    return dict(found)


def _suppressed(dialect: str) -> Executable:
    s, wanted = suppressions.c, prepared.ids_given(dialect)
    in_force = or_(s.lifted_at.is_(None), s.lifted_at <= s.at, s.reason == "erased")
    return select(s.subject, s.channel).join(wanted, wanted.c.id == s.subject).where(in_force)


_SUPPRESSED = Prepared(_suppressed)


def add_consent(
    conn: Connection,
    consent: Consent,
    *,
    source: str,
    basis: str = "express",
    wording: str | None = None,
    message_id: str | None = None,
) -> None:
    """Keep what a person told us directly; it is folded with the warehouse's consents, the latest wins.

    ``wording`` is what they were shown when they said it, ``message_id`` the message whose link brought them.
    """
    conn.execute(
        insert(consents).values(
            id=uuid.uuid4().hex,
            customer_id=consent.customer_id,
            channel=consent.channel,
            purpose=consent.purpose,
            granted=consent.granted,
            at=consent.at,
            source=source[:30],
            basis=basis[:30],
            wording=bulk.fit(wording, 400),
            message_id=message_id,
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


def reasons(conn: Connection, subjects: Collection[str], channel: str) -> set[str]:
    """Return why these subjects must not be written to on the channel, as far as it still holds."""
    if not subjects:
        return set()
    s, wanted = suppressions.c, bulk.ids(conn, subjects)
    in_force = or_(s.lifted_at.is_(None), s.lifted_at <= s.at, s.reason == "erased")
    query = select(s.reason).join(wanted, wanted.c.id == s.subject)
    return set(conn.scalars(query.where(in_force, s.channel.in_((channel, EVERY_CHANNEL)))))


def sharing(conn: Connection, address_hashes: Collection[str]) -> set[str]:
    """Return the customers to whom messages for these addresses were planned: the people behind one mailbox."""
    if not address_hashes:
        return set()
    wanted = bulk.ids(conn, address_hashes)
    query = select(messages.c.customer_id).join(wanted, wanted.c.id == messages.c.address_hash).distinct()
    return set(conn.scalars(query))


def addresses_of(conn: Connection, customer_ids: Collection[str], channel: str) -> set[str]:
    """Return the keyed hashes of the addresses at which these customers were written to on a channel."""
    if not customer_ids:
        return set()
    wanted = bulk.ids(conn, customer_ids)
    query = (
        select(messages.c.address_hash)
        .join(wanted, wanted.c.id == messages.c.customer_id)
        .where(messages.c.channel == channel, messages.c.address_hash.is_not(None))
    )
    return set(conn.scalars(query.distinct()))
