"""What forgetting a person changes in the ledger: their ids become tombstones one for one, so every count holds."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Table, case, delete, false, or_, select, text, true, update
from sqlalchemy.sql.dml import Update

from tidings.ledger import bulk
from tidings.ledger.bulk import TEXT, TIME, upsert
from tidings.ledger.dispatching import cancel_for
from tidings.ledger.schema import (
    consents,
    contact_slots,
    contacts,
    cooldowns,
    credits,
    engagements,
    entries,
    erasures,
    messages,
    opt_ins,
    opt_outs,
    outcomes,
    raw_events,
    receipts,
    suppressions,
    unmatched_events,
)
from tidings.model.message import SkipReason, Status
from tidings.plan.erased import ERASED, entry_key, keyed

REASON = "erased"
# What stands in the place of a receipt's evidence: it was there, and the person whose it was has been forgotten.
EMPTIED = '{"erased":true}'
# On PostgreSQL planners share this lock while they write people's ids, and forgetting takes it alone: who was being
# planned for at that moment is found. SQLite has one writer.
_LOCK = 7310420261

# Where a person's id stands on its own.
_IDS: tuple[tuple[Table, Column[Any]], ...] = tuple(
    (table, table.c.customer_id) for table in (entries, messages, consents, opt_ins, opt_outs, outcomes)
)
# Where it stands behind "p:".
_SUBJECTS: tuple[tuple[Table, Column[Any]], ...] = (
    (contact_slots, contact_slots.c.contact),
    (contacts, contacts.c.contact),
    (suppressions, suppressions.c.subject),
)


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger holds of a person: keyed hashes of where they were written to, and providers' ids of it.

    ``texts`` and ``mails`` are providers' ids; nothing here says who it was.
    """

    address_hashes: frozenset[str]
    mails: tuple[str, ...]
    texts: tuple[str, ...]
    message_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Changed:
    """How many rows were about the person: entries, messages, and others of which something was taken out."""

    entries: int = 0
    messages: int = 0
    others: int = 0


def hold(conn: Connection, *, alone: bool = False) -> None:
    """Wait until nobody is being forgotten (or, ``alone``, planned for) at this moment, until the commit."""
    if conn.dialect.name == "postgresql":
        kind = "" if alone else "_shared"
        conn.execute(text(f"SELECT pg_advisory_xact_lock{kind}({_LOCK})"))


def anybody(conn: Connection) -> bool:
    """Return whether anybody was ever forgotten: where nobody was, no hashes need to be made."""
    return conn.scalar(select(erasures.c.subject).limit(1)) is not None


def erased(conn: Connection, subjects: Iterable[str]) -> set[str]:
    """Return those of the keyed hashes under which somebody was forgotten."""
    wanted = bulk.ids(conn, subjects)
    return set(conn.scalars(select(erasures.c.subject).join(wanted, wanted.c.id == erasures.c.subject)))


def known(conn: Connection, ids: Collection[str]) -> Known:
    """Return what the ledger holds of the person behind these ids, before it is taken out."""
    m, wanted = messages.c, bulk.ids(conn, ids)
    rows = conn.execute(
        select(m.id, m.address_hash, m.channel, m.provider_id).join(wanted, wanted.c.id == m.customer_id)
    ).all()
    hashes = {row.address_hash for row in rows if row.address_hash}
    for table in (opt_ins, opt_outs):
        found = select(table.c.address_hash).join(wanted, wanted.c.id == table.c.customer_id)
        hashes.update(one for one in conn.scalars(found) if one)
    by_channel: dict[str, set[str]] = {"email": set(), "sms": set()}
    for row in rows:
        if row.provider_id:
            by_channel.setdefault(row.channel, set()).add(row.provider_id)
    asked = select(opt_ins.c.channel, opt_ins.c.provider_id).join(wanted, wanted.c.id == opt_ins.c.customer_id)
    for channel, provider_id in conn.execute(asked.where(opt_ins.c.provider_id.is_not(None))):
        by_channel.setdefault(channel, set()).add(provider_id)
    return Known(
        frozenset(hashes), tuple(sorted(by_channel["email"])), tuple(sorted(by_channel["sms"])),
        frozenset(row.id for row in rows),
    )  # fmt: skip


def close(
    conn: Connection,
    *,
    ids: Collection[str],
    subjects: Collection[str],
    address_hashes: Collection[str],
    reason: str,
    now: datetime,
) -> int:
    """Never write to this person again, from the commit on; return how many pending messages that cancelled."""
    hold(conn, alone=True)
    rows = bulk.given(
        conn,
        {"subject": TEXT, "at": TIME, "reason": TEXT},
        [(one, now, bulk.fit(reason, 60) or REASON) for one in sorted(set(subjects))],
    )
    write = upsert(conn, erasures).from_select(["subject", "at", "reason"], select(rows).where(true()))
    conn.execute(write.on_conflict_do_nothing())
    shut = bulk.given(
        conn,
        {"subject": TEXT, "channel": TEXT, "reason": TEXT, "at": TIME, "source": TEXT},
        [(f"a:{one}", "", REASON, now, "forget") for one in sorted(set(address_hashes))],
    )
    names = ["subject", "channel", "reason", "at", "source"]
    again = upsert(conn, suppressions).from_select(names, select(shut).where(true()))
    conn.execute(again.on_conflict_do_nothing())
    return cancel_for(
        conn, customers=sorted(ids), address_hashes=sorted(address_hashes), reason=SkipReason.FORGOTTEN, now=now
    )  # fmt: skip


def erase(conn: Connection, ids: Collection[str], address_hashes: Collection[str], pepper: bytes) -> Changed:
    """Put a random tombstone in the place of each id, and empty what could tell who it was. Twice changes nothing.

    One tombstone for one id: whatever counts distinct people counts the same before and after.
    """
    hold(conn, alone=True)
    stones = {one: ERASED + uuid.uuid4().hex for one in sorted(set(ids)) if not one.startswith(ERASED)}
    mine = _message_ids(conn, stones)
    others = _empty_messages(conn, mine) + _empty_events(conn, mine, address_hashes)
    others += _hide_orders(conn, mine, pepper)
    _rekey(conn, stones, pepper)
    _drop_address_slots(conn, mine)
    changed = {table.name: _rename(conn, table, column, stones) for table, column in _IDS}
    for table, column in _SUBJECTS:
        others += _rename(conn, table, column, {f"p:{one}": f"p:{stone}" for one, stone in stones.items()})
    others += sum(count for name, count in changed.items() if name not in ("entries", "messages"))
    return Changed(changed["entries"], changed["messages"], others)


def leftovers(conn: Connection, pepper: bytes) -> list[str]:
    """Return ids of forgotten people that were written after all, by a process that had read them just before."""
    if not anybody(conn):
        return []
    found: set[str] = set()
    for table, column in _IDS:
        found.update(one for one in conn.scalars(select(column).distinct().select_from(table)) if one)
    found.update(conn.scalars(select(cooldowns.c.customer_id).distinct()))
    for table, column in _SUBJECTS:
        stored = conn.scalars(select(column).distinct().select_from(table).where(column.like("p:%")))
        found.update(one[2:] for one in stored)
    hashes = {keyed("id", one, pepper): one for one in found if not one.startswith(ERASED)}
    return sorted(hashes[one] for one in erased(conn, hashes))


def frozen_orders(conn: Connection, order_ids: Iterable[str], pepper: bytes) -> set[str]:
    """Return those of the orders whose credits were a forgotten person's: they stay as they were measured."""
    if not anybody(conn):
        return set()
    hidden = {_order(one, pepper): one for one in order_ids}
    wanted = bulk.ids(conn, hidden)
    stored = conn.scalars(select(credits.c.order_id).distinct().join(wanted, wanted.c.id == credits.c.order_id))
    return {hidden[one] for one in stored}


def tidy(conn: Connection) -> None:
    """Overwrite what SQLite deletes from here on in this transaction, not only mark its place as free."""
    if conn.dialect.name == "sqlite":
        conn.exec_driver_sql("PRAGMA secure_delete = ON")


def _message_ids(conn: Connection, stones: Mapping[str, str]) -> list[str]:
    wanted = bulk.ids(conn, stones)
    return sorted(conn.scalars(select(messages.c.id).join(wanted, wanted.c.id == messages.c.customer_id)))


def _empty_messages(conn: Connection, mine: Sequence[str]) -> int:
    """Take out where each message went and what was said about it; the provider's id goes once it is settled."""
    chosen = select(bulk.ids(conn, mine).c.id)
    m = messages.c
    settled = m.status.not_in((Status.SENDING, Status.UNKNOWN, Status.PRESUMED_LOST))
    conn.execute(
        update(messages)
        .where(m.id.in_(chosen))
        .values(address_hash=None, detail=None, provider_id=case((settled, None), else_=m.provider_id))
    )
    conn.execute(
        update(entries)
        .where(entries.c.id.in_(select(m.entry_id).where(m.id.in_(chosen))))
        .values(seen="{}", sku="", anchor_at=entries.c.entered_at)
    )
    emptied = update(receipts).where(receipts.c.message_id.in_(chosen)).values(urls="[]", evidence=EMPTIED)
    return bulk.changed(conn, emptied)


def _empty_events(conn: Connection, mine: Sequence[str], address_hashes: Collection[str]) -> int:
    """Keep that events came, and when; nothing else of them."""
    chosen = select(bulk.ids(conn, mine).c.id)
    g, raw, lost, out, shut = engagements.c, raw_events.c, unmatched_events.c, opt_outs.c, suppressions.c
    hashes = sorted(address_hashes)
    subjects = [f"a:{one}" for one in hashes]
    told = or_(raw.message_id.in_(chosen), *(raw.body.contains(one) for one in hashes))
    strange = or_(false(), *(lost.detail.contains(one) for one in hashes))
    quiet: list[Update] = [
        update(engagements).where(g.message_id.in_(chosen), g.detail.is_not(None)).values(detail=None),
        update(raw_events).where(told, raw.body != "{}").values(body="{}"),
        update(unmatched_events).where(strange, lost.detail.is_not(None)).values(detail=None),
        update(opt_outs).where(out.address_hash.in_(hashes)).values(address_hash=None),
        update(suppressions).where(shut.subject.in_(subjects), shut.message_id.is_not(None)).values(message_id=None),
    ]
    count = 0
    for statement in quiet:
        count += bulk.changed(conn, statement)
    return count


def _hide_orders(conn: Connection, mine: Sequence[str], pepper: bytes) -> int:
    """Give the orders of their credits a keyed name: the money stays, the way to the order goes."""
    chosen = select(bulk.ids(conn, mine).c.id)
    orders = conn.scalars(
        select(credits.c.order_id).distinct()
        .where(credits.c.message_id.in_(chosen), credits.c.order_id.not_like(f"{ERASED}%"))
    ).all()  # fmt: skip
    if not orders:
        return 0
    named = bulk.given(conn, {"id": TEXT, "hidden": TEXT}, [(one, _order(one, pepper)) for one in sorted(orders)])
    return bulk.changed(
        conn, update(credits).where(credits.c.order_id == named.c.id).values(order_id=named.c.hidden)
    )  # fmt: skip


def _order(order_id: str, pepper: bytes) -> str:
    return ERASED + keyed("order", order_id, pepper)


def _rekey(conn: Connection, stones: Mapping[str, str], pepper: bytes) -> None:
    """Give entries a key that planning finds again and nobody else can read."""
    wanted = bulk.ids(conn, stones)
    e = entries.c
    rows = conn.execute(select(e.id, e.entry_key).join(wanted, wanted.c.id == e.customer_id)).all()
    if rows:
        new = bulk.given(conn, {"id": TEXT, "key": TEXT}, [(row.id, entry_key(row.entry_key, pepper)) for row in rows])
        conn.execute(update(entries).where(e.id == new.c.id).values(entry_key=new.c.key))
    # Nobody enters under this id again, so there is no re-entry to guard.
    conn.execute(delete(cooldowns).where(cooldowns.c.customer_id.in_(select(wanted.c.id))))


def _drop_address_slots(conn: Connection, mine: Sequence[str]) -> None:
    """Take their messages off the caps of their addresses, which nobody is written to any more."""
    chosen = select(bulk.ids(conn, mine).c.id)
    s = contact_slots.c
    conn.execute(delete(contact_slots).where(s.message_id.in_(chosen), s.contact.like("a:%")))


def _rename(conn: Connection, table: Table, column: Column[Any], stones: Mapping[str, str]) -> int:
    if not stones:
        return 0
    named = bulk.given(conn, {"id": TEXT, "stone": TEXT}, sorted(stones.items()))
    values: dict[str, Any] = {column.name: named.c.stone}
    if table is opt_ins:  # that they were asked once stays, without the number it went to
        values |= {"address_hash": "", "provider_id": None}
    return bulk.changed(conn, update(table).where(column == named.c.id).values(values))


__all__ = [
    "EMPTIED",
    "Changed",
    "Known",
    "anybody",
    "close",
    "erase",
    "erased",
    "frozen_orders",
    "hold",
    "known",
    "leftovers",
    "tidy",
]
