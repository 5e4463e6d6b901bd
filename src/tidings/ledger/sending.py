"""The step to ``sending``: token, lease, opt-outs and caps are checked in the commit before HTTP."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, Executable, Text, bindparam, case, insert, select, true, update
from sqlalchemy.types import TypeEngine

from tidings.ledger import prepared
from tidings.ledger.bulk import TEXT, TIME, TRUTH, WHOLE, upsert_for
from tidings.ledger.holding import holds
from tidings.ledger.outcomes import Outcome, record_outcomes
from tidings.ledger.people import asked_suppressed, told_suppressed
from tidings.ledger.prepared import Asked, Prepared
from tidings.ledger.restoring import NOTE_SENDING
from tidings.ledger.room import Intent, Pool, Room, asked_used, contacts_of
from tidings.ledger.schema import contact_slots, messages, receipts
from tidings.ledger.store import CLOCK
from tidings.model.message import Space, Status
from tidings.plan.caps import Cap

__all__ = ["Begun", "Intent", "Outcome", "Pool", "begin_sending", "contacts_of", "record_outcomes"]

m = messages.c


@dataclass(frozen=True, slots=True)
class Begun:
    """What the commit decided: send exactly ``sending``; ``capped`` says when there is room again; ``lost``
    messages are no longer ours (lease, token or status) and must not be sent; ``suppressed`` were still ours when
    their person or address was found to have opted out. ``number`` is this sending's; None when nothing leaves.
    ``waiting`` are those for whom too few pieces are there."""

    sending: frozenset[str]
    held_out: frozenset[str]
    capped: Mapping[str, datetime]
    lost: frozenset[str]
    suppressed: frozenset[str] = frozenset()
    number: int | None = None
    waiting: frozenset[str] = frozenset()


def begin_sending(
    conn: Connection,
    *,
    space: str,
    token: str,
    intents: Sequence[Intent],
    caps: Sequence[Cap],
    now: datetime,
    ahead: timedelta,
) -> Begun:
    """Move claimed messages to ``sending`` (or ``held_out``), reserving their caps in the same commit.

    Earlier intents take the room under a cap first. A message is ours only while its token holds and its
    lease outlasts the database's clock by ``ahead`` (time-out and margin), read after all locks were won.
    """
    people = {name for one in intents for name in contacts_of(one.person, one.address_hash)}
    goods = {one.pool.name for one in intents if one.pool is not None}
    # One trip: the rows behind which these messages queue first, then whose they are, and what has been said since.
    *_, held, [[at]], used, opted_out = prepared.together(
        conn,
        *holds(conn, people | goods),
        (_MINE, {"body": prepared.ids({one.id for one in intents}), "token": token}),
        (CLOCK, {}),
        asked_used(conn, space, intents, caps, now),
        asked_suppressed(people),
    )
    ours = _ours(held, prepared.told_instant(at) + ahead)
    room = Room(used, caps, now)
    closed = _opted_out([one for one in intents if one.id in ours], told_suppressed(opted_out))
    going: list[Intent] = []
    capped: dict[str, datetime] = {}
    waiting: set[str] = set()
    said: dict[str, str] = {}
    for intent in intents:
        if intent.id not in ours or intent.id in closed:
            continue
        if intent.pool is not None and room.drained(intent.pool):
            waiting.add(intent.id)
            continue
        free = None if intent.exempt else room.free_at(intent)
        if free is not None:
            capped[intent.id] = free
            continue
        going.append(intent)
        if not intent.exempt and intent.evidence is not None:
            said[intent.id] = room.told(intent)
        room.take(intent)
    leaving = frozenset(one.id for one in going if not one.held_out)
    numbered = len(leaving) if space == Space.LIVE else 0
    moved = [(one.id, one.address_hash) for one in going if one.address_hash and one.address_hash != ours[one.id]]
    number = _write(conn, _Commit(space, going, moved, said, room.taken, numbered, now)) if going else None
    return Begun(
        leaving,
        frozenset(one.id for one in going if one.held_out),
        capped,
        frozenset(one.id for one in intents if one.id not in ours),
        closed,
        number,
        frozenset(waiting),
    )


def _opted_out(intents: Sequence[Intent], closed: Mapping[str, Collection[str]]) -> frozenset[str]:
    """Return the messages whose person or address has opted out, also since the gates asked."""
    if not closed:
        return frozenset()
    return frozenset(
        one.id
        for one in intents
        if any(one.channel in closed.get(name, ()) for name in contacts_of(one.person, one.address_hash))
    )


def _ours(claimed: Iterable[Sequence[Any]], latest: datetime) -> dict[str, str | None]:
    """Return the claimed messages whose lease goes beyond ``latest``, with the addresses they were planned for."""
    return {mid: address for mid, until, address in claimed if prepared.told_instant(until) > latest}


def _mine(dialect: str) -> Executable:
    wanted = prepared.ids_given(dialect)
    return (
        select(m.id, m.lease_until, m.address_hash)
        .join(wanted, wanted.c.id == m.id)
        .where(m.status == Status.CLAIMED, m.token == bindparam("token"))
        .order_by(m.id)
        .with_for_update(of=messages)
    )


_MINE = Prepared(_mine)


@dataclass(frozen=True, slots=True)
class _Commit:
    """What one commit to `sending` writes. ``said`` is, per message, how full its caps were; ``moved`` are those that
    leave for another address than they were planned for."""

    space: str
    going: Sequence[Intent]
    moved: Sequence[tuple[str, str]]
    said: Mapping[str, str]
    taken: Sequence[tuple[str, str, str]]
    numbered: int
    now: datetime


def _write(conn: Connection, one: _Commit) -> int | None:
    """Mark what goes, with its receipts and the room it takes; return the number of this sending, if it has one."""
    now = prepared.instant(conn, one.now)
    asked: list[Asked] = [(_MARK, {"body": prepared.rows(conn, tuple(_MARKED), _marked(one.going)), "now": now})]
    if one.moved:
        asked.append((_MOVE, {"body": prepared.rows(conn, tuple(_MOVED), one.moved)}))
    kept = _receipts(one.going, one.said)
    slots = {"at": now, "space": str(one.space)}
    if conn.dialect.name == "postgresql":
        if kept:
            asked.append((_KEEP, {"body": prepared.rows(conn, tuple(_KEPT), kept)}))
        if one.taken:
            asked.append((_TAKE, {"body": prepared.rows(conn, tuple(_TAKEN), sorted(one.taken)), **slots}))
    else:
        prepared.each(conn, _KEEP_ONE, tuple(_KEPT), kept)
        taken = [(contact, now, mid, channel, slots["space"]) for contact, mid, channel in sorted(one.taken)]
        prepared.each(conn, _TAKE_ONE, _SLOT, taken)
    if one.numbered:
        asked.append((NOTE_SENDING, {"at": now, "messages": one.numbered}))
    answers = prepared.together(conn, *asked)
    return int(answers[-1][0][0]) if one.numbered else None


def _marked(going: Sequence[Intent]) -> list[tuple[Any, ...]]:
    return [
        (
            one.id, "held_out" if one.held_out else "sending", one.template_hash, one.segments, one.provider,
            one.mailbox,
        )
        for one in going
    ]  # fmt: skip


def _receipts(going: Sequence[Intent], said: Mapping[str, str]) -> list[tuple[Any, ...]]:
    """Return where a message's links lead, and what it was allowed on: of the held-out arm only the latter."""
    return [
        (
            one.id, "[]" if one.held_out else orjson.dumps(list(one.urls)).decode(), one.tracked and not one.held_out,
            None if one.evidence is None else f'{{"caps":[{said.get(one.id, "")}],{one.evidence[1:]}',
        )
        for one in going
        if not one.held_out or one.evidence is not None
    ]  # fmt: skip


_MARKED: dict[str, TypeEngine[Any]] = {
    "id": TEXT, "status": TEXT, "template_hash": TEXT, "segments": WHOLE, "provider": TEXT, "mailbox": TEXT,
}  # fmt: skip
_MOVED: dict[str, TypeEngine[Any]] = {"id": TEXT, "address_hash": TEXT}
_KEPT: dict[str, TypeEngine[Any]] = {"message_id": TEXT, "urls": TEXT, "tracked": TRUTH, "evidence": TEXT}
_SLOT = ("contact", "at", "message_id", "channel", "space")
_TAKEN: dict[str, TypeEngine[Any]] = {"contact": TEXT, "message_id": TEXT, "channel": TEXT}


def _mark(dialect: str) -> Executable:
    new, now = prepared.given(dialect, _MARKED).c, bindparam("now", type_=TIME)
    return (
        update(messages)
        .where(m.id == new.id)
        .values(
            status=new.status,
            attempt=m.attempt + 1,
            sending_at=now,
            ended_at=case((new.status == Status.HELD_OUT, now), else_=None),
            template_hash=new.template_hash,
            segments=new.segments,
            provider=new.provider,
            mailbox=new.mailbox,
        )
    )


def _move(dialect: str) -> Executable:
    # A statement of its own: to SQLite a column that is named has changed, and with it its index.
    new = prepared.given(dialect, _MOVED).c
    return update(messages).where(m.id == new.id).values(address_hash=new.address_hash)


def _replacing(written: Any) -> Executable:
    # A message offered again after a certain refusal has a row already; its new text may have other targets.
    new = {name: written.excluded[name] for name in ("urls", "tracked", "evidence")}
    replaced: Executable = written.on_conflict_do_update(index_elements=["message_id"], set_=new)
    return replaced


def _keep(dialect: str) -> Executable:
    new = prepared.given(dialect, _KEPT)
    chosen = select(*new.c).where(true())
    return _replacing(upsert_for(dialect, receipts).from_select(list(_KEPT), chosen))


def _keep_one(dialect: str) -> Executable:
    values: dict[str, Any] = {name: bindparam(name, type_=kind) for name, kind in _KEPT.items()}
    return _replacing(upsert_for(dialect, receipts).values(values))


def _take(dialect: str) -> Executable:
    new = prepared.given(dialect, _TAKEN).c
    chosen = select(
        new.contact, bindparam("at", type_=TIME), new.message_id, new.channel, bindparam("space", type_=Text())
    )
    return insert(contact_slots).from_select(list(_SLOT), chosen)


def _take_one(_: str) -> Executable:
    values: dict[str, Any] = {name: bindparam(name) for name in _SLOT}
    return insert(contact_slots).values(values)


_MARK, _MOVE = Prepared(_mark), Prepared(_move)
_KEEP, _KEEP_ONE = Prepared(_keep), Prepared(_keep_one)
_TAKE, _TAKE_ONE = Prepared(_take), Prepared(_take_one)
