"""The step to ``sending`` and what came of it: token, lease and caps are checked in the commit before HTTP."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, case, delete, func, or_, select, true, update

from tidings.ledger import bulk
from tidings.ledger.bulk import TEXT, TIME, WHOLE, upsert
from tidings.ledger.people import suppress, suppressed
from tidings.ledger.planning import release_cooldowns
from tidings.ledger.restoring import note_sending
from tidings.ledger.schema import DOUBTED, contact_slots, contacts, messages, receipts
from tidings.ledger.store import clock
from tidings.ledger.transitions import PROVABLE
from tidings.model.message import Space, Status
from tidings.model.people import Channel
from tidings.plan.caps import Cap, free_at

m = messages.c


@dataclass(frozen=True, slots=True)
class Pool:
    """Goods that are few: at most ``at_most`` people are told of them within any stretch of length ``per``.

    ``name`` is a contact of its own, locked and counted as a person's are; the held-out arm takes its places too,
    or the arms would wait differently.
    """

    name: str
    at_most: int
    per: timedelta


@dataclass(frozen=True, slots=True)
class Intent:
    """A claimed, rendered message about to leave. ``person`` is the canonical customer id.

    ``exempt`` (transactional) messages neither obey the caps nor use them up. ``urls`` are the targets of its
    links by number; ``tracked`` says whether they go through our redirect.
    ``evidence`` is what it is allowed on, as JSON without the caps; it goes into the message's receipt.
    """

    id: str
    person: str
    address_hash: str | None
    channel: str
    held_out: bool = False
    exempt: bool = False
    urls: Sequence[str] = ()
    tracked: bool = True
    template_hash: str | None = None
    segments: int | None = None
    provider: str | None = None
    mailbox: str | None = None
    evidence: str | None = None
    pool: Pool | None = None


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the provider answered for one message.

    ``halt`` and ``wait`` are retries that burn no attempt. ``suppress`` names why the address must not be used again.
    """

    id: str
    token: str
    kind: Literal["sent", "retry", "wait", "failed", "unknown", "halt"]
    provider_id: str | None = None
    reason: str | None = None
    detail: str | None = None
    retry_at: datetime | None = None
    suppress: str | None = None


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
    _lock_contacts(conn, intents)
    ours = _ours(conn, token, [intent.id for intent in intents], ahead)
    room = _Room(conn, space, [one for one in intents if one.id in ours], caps, now)
    closed = _opted_out(conn, [one for one in intents if one.id in ours])
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
    _mark(conn, going, now)
    _write_receipts(conn, going, said)
    _readdress(conn, [one for one in going if one.address_hash and one.address_hash != ours[one.id]])
    bulk.append(conn, contact_slots, ("contact", "at", "message_id", "channel", "space"), sorted(room.taken))
    leaving = frozenset(one.id for one in going if not one.held_out)
    return Begun(
        leaving,
        frozenset(one.id for one in going if one.held_out),
        capped,
        frozenset(one.id for one in intents if one.id not in ours),
        closed,
        note_sending(conn, at=now, count=len(leaving)) if leaving and space == Space.LIVE else None,
        frozenset(waiting),
    )


def _opted_out(conn: Connection, intents: Sequence[Intent]) -> frozenset[str]:
    """Return the messages whose person or address has opted out, also since the gates asked."""
    closed = suppressed(conn, {name for one in intents for name in contacts_of(one.person, one.address_hash)})
    return frozenset(
        one.id
        for one in intents
        if any(one.channel in closed.get(name, ()) for name in contacts_of(one.person, one.address_hash))
    )


def contacts_of(person: str, address_hash: str | None) -> tuple[str, ...]:
    """Return the names under which a message counts against caps: its person, and its address if it has one."""
    return (f"p:{person}", f"a:{address_hash}") if address_hash else (f"p:{person}",)


def _lock_contacts(conn: Connection, intents: Sequence[Intent]) -> None:
    """Hold the contacts of a batch, in sorted order, until the commit: two lanes then count one after the other."""
    if conn.dialect.name == "sqlite":
        return  # one writer at a time, and this transaction is it
    wanted = {name for one in intents if not one.exempt for name in contacts_of(one.person, one.address_hash)}
    wanted |= {one.pool.name for one in intents if one.pool is not None}
    names = bulk.ids(conn, wanted)
    conn.execute(
        upsert(conn, contacts)
        .from_select(["contact"], select(names.c.id).where(true()).order_by(names.c.id))
        .on_conflict_do_nothing()
    )
    held = select(contacts.c.contact).join(names, names.c.id == contacts.c.contact)
    conn.execute(held.order_by(contacts.c.contact).with_for_update(of=contacts))


def _ours(conn: Connection, token: str, ids: Iterable[str], ahead: timedelta) -> dict[str, str | None]:
    """Return those of the messages that we may send, each with the address it was planned for."""
    wanted = bulk.ids(conn, ids)
    held = conn.execute(
        select(m.id, m.lease_until, m.address_hash)
        .join(wanted, wanted.c.id == m.id)
        .where(m.status == Status.CLAIMED, m.token == token)
        .order_by(m.id)
        .with_for_update(of=messages)
    ).all()
    latest = clock(conn) + ahead
    return {row.id: row.address_hash for row in held if row.lease_until > latest}


class _Room:
    """How much of each cap is used by whom; counts what this batch takes as it goes."""

    def __init__(
        self, conn: Connection, space: str, intents: Sequence[Intent], caps: Sequence[Cap], now: datetime
    ) -> None:
        self._space, self._caps, self._now = space, caps, now
        self._used: dict[str, list[tuple[str, datetime]]] = defaultdict(list)
        self.taken: list[tuple[Any, ...]] = []
        names = {name for one in intents if not one.exempt for name in contacts_of(one.person, one.address_hash)}
        pools = {one.pool.name: one.pool.per for one in intents if one.pool is not None}
        stretches = [*(cap.per for cap in caps), *pools.values()]
        if not names | pools.keys() or not stretches:
            return
        names |= pools.keys()
        slots, wanted = contact_slots.c, bulk.ids(conn, names)
        rows = conn.execute(
            select(slots.contact, slots.channel, slots.at)
            .join(wanted, wanted.c.id == slots.contact)
            .where(slots.space == space, slots.at > now - max(stretches))
        )
        for contact, channel, at in rows:
            self._used[contact].append((channel, at))

    def free_at(self, intent: Intent) -> datetime | None:
        latest: datetime | None = None
        for contact in contacts_of(intent.person, intent.address_hash):
            used = self._used.get(contact)
            if not used:
                continue
            for cap in self._caps:
                if not cap.covers(Channel(intent.channel)):
                    continue
                counting = [at for channel, at in used if cap.covers(Channel(channel))]
                free = free_at(cap, counting, self._now)
                if free is not None and (latest is None or free > latest):
                    latest = free
        return latest

    def drained(self, pool: Pool) -> bool:
        """Return whether as many people were told lately as may be."""
        return sum(1 for _, at in self._used.get(pool.name, ()) if at > self._now - pool.per) >= pool.at_most

    def told(self, intent: Intent) -> str:
        """Return how full each cap of the channel is before this message, as evidence writes it: "0/1","2/4"."""
        of_channel = [cap for cap in self._caps if cap.covers(Channel(intent.channel))]
        used = [0] * len(of_channel)
        for contact in contacts_of(intent.person, intent.address_hash):
            times = self._used.get(contact)
            if times:
                used = [max(most, self._within(cap, times)) for most, cap in zip(used, of_channel, strict=True)]
        return ",".join(f'"{many}/{cap.at_most}"' for many, cap in zip(used, of_channel, strict=True))

    def _within(self, cap: Cap, times: Sequence[tuple[str, datetime]]) -> int:
        since = self._now - cap.per
        return sum(1 for channel, at in times if at > since and cap.covers(Channel(channel)))

    def take(self, intent: Intent) -> None:
        contacts = () if intent.exempt else contacts_of(intent.person, intent.address_hash)
        for contact in (*contacts, intent.pool.name) if intent.pool is not None else contacts:
            self._used[contact].append((intent.channel, self._now))
            self.taken.append((contact, self._now, intent.id, intent.channel, self._space))


def _mark(conn: Connection, going: Sequence[Intent], now: datetime) -> None:
    if not going:
        return
    marked = bulk.given(
        conn,
        {"id": TEXT, "status": TEXT, "template_hash": TEXT, "segments": WHOLE, "provider": TEXT, "mailbox": TEXT},
        [
            (
                one.id, Status.HELD_OUT if one.held_out else Status.SENDING, one.template_hash, one.segments,
                one.provider, one.mailbox,
            )
            for one in going
        ],
    )  # fmt: skip
    new, ends = marked.c, marked.c.status == Status.HELD_OUT
    conn.execute(
        update(messages)
        .where(m.id == new.id)
        .values(
            status=new.status,
            attempt=m.attempt + 1,
            sending_at=now,
            ended_at=case((ends, now), else_=None),
            template_hash=new.template_hash,
            segments=new.segments,
            provider=new.provider,
            mailbox=new.mailbox,
        )
    )


def _readdress(conn: Connection, moved: Sequence[Intent]) -> None:
    """Note that these leave for another address than they were planned for: the person has changed it since."""
    if moved:
        new = bulk.given(conn, {"id": TEXT, "address_hash": TEXT}, [(one.id, one.address_hash) for one in moved])
        conn.execute(update(messages).where(m.id == new.c.id).values(address_hash=new.c.address_hash))


def _write_receipts(conn: Connection, going: Sequence[Intent], room: Mapping[str, str]) -> None:
    """Keep where a message's links lead, and what it was allowed on: of the held-out arm only the latter."""
    left = [one for one in going if not one.held_out or one.evidence is not None]
    if not left:
        return
    rows = [
        (
            one.id, "[]" if one.held_out else orjson.dumps(list(one.urls)).decode(), one.tracked and not one.held_out,
            None if one.evidence is None else f'{{"caps":[{room.get(one.id, "")}],{one.evidence[1:]}',
        )
        for one in left
    ]  # fmt: skip
    # A message offered again after a certain refusal has a row already; its new text may have other targets.
    wanted = bulk.ids(conn, (one.id for one in left))
    conn.execute(delete(receipts).where(receipts.c.message_id.in_(select(wanted.c.id))))
    bulk.append(conn, receipts, ("message_id", "urls", "tracked", "evidence"), rows)


def record_outcomes(conn: Connection, outcomes: Sequence[Outcome], now: datetime) -> dict[str, int]:
    """Write what the provider answered; return how many of each kind were accepted.

    Proof of sending is accepted from any token and after the reaper; every other answer only while the
    message is still in ``sending`` under its own token. A certain refusal gives its slots back, unknown keeps
    them.
    """
    if not outcomes:
        return {}
    wanted = bulk.ids(conn, (one.id for one in outcomes))
    if conn.dialect.name == "postgresql":
        conn.execute(select(m.id).join(wanted, wanted.c.id == m.id).order_by(m.id).with_for_update(of=messages))
    counts: dict[str, int] = {}
    for kind, write in _WRITERS.items():
        some = [one for one in outcomes if one.kind == kind]
        if some:
            counts[kind] = write(conn, some, now)
    return counts


def _sent(conn: Connection, some: Sequence[Outcome], now: datetime) -> int:
    proof = bulk.given(
        conn, {"id": TEXT, "provider_id": TEXT}, [(one.id, bulk.fit(one.provider_id, 120)) for one in some]
    )
    written = (
        update(messages)
        .where(m.id == proof.c.id, or_(m.status.in_((*PROVABLE, Status.SENT)), DOUBTED))
        .values(
            status=Status.SENT,
            sent_at=func.coalesce(m.sent_at, now),
            ended_at=func.coalesce(m.ended_at, now),
            provider_id=func.coalesce(proof.c.provider_id, m.provider_id),
            reason=None,
            detail=None,
            lease_until=None,
        )
    )
    return bulk.changed(conn, written)


def _held(conn: Connection, some: Sequence[Outcome]) -> tuple[Any, tuple[Any, ...]]:
    rows = [(one.id, one.token, bulk.fit(one.reason, 40), bulk.fit(one.detail, 400), one.retry_at) for one in some]
    said = bulk.given(conn, {"id": TEXT, "token": TEXT, "reason": TEXT, "detail": TEXT, "retry_at": TIME}, rows)
    return said.c, (m.id == said.c.id, m.token == said.c.token, m.status == Status.SENDING)


def _retry(conn: Connection, some: Sequence[Outcome], now: datetime, *, burned: int = 0) -> int:
    said, held = _held(conn, some)
    written = update(messages).where(*held).values(
        status=Status.PLANNED,
        send_at=func.coalesce(said.retry_at, bulk.literal(now, TIME)),
        defer_reason=func.coalesce(said.reason, "retry"),
        attempt=m.attempt - burned,
        token=None,
        lease_until=None,
        sending_at=None,
    )  # fmt: skip
    returned = list(conn.scalars(written.returning(m.id)))
    _free_slots(conn, returned)
    return len(returned)


def _halt(conn: Connection, some: Sequence[Outcome], now: datetime) -> int:
    return _retry(conn, some, now, burned=1)


def _failed(conn: Connection, some: Sequence[Outcome], now: datetime) -> int:
    said, held = _held(conn, some)
    written = update(messages).where(*held).values(
        status=Status.FAILED,
        reason=func.coalesce(said.reason, "rejected"),
        detail=said.detail,
        ended_at=now,
        lease_until=None,
    )  # fmt: skip
    failed = conn.execute(written.returning(m.id, m.entry_id, m.channel, m.address_hash)).all()
    _free_slots(conn, [row.id for row in failed])
    release_cooldowns(conn, {row.entry_id for row in failed})
    why = {one.id: one.suppress for one in some if one.suppress}
    for row in failed:
        if row.id in why and row.address_hash:
            subject = [f"a:{row.address_hash}"]
            suppress(
                conn, subject, channel=row.channel, reason=why[row.id], at=now, source="provider", message_id=row.id
            )
    return len(failed)


def _unknown(conn: Connection, some: Sequence[Outcome], now: datetime) -> int:
    said, held = _held(conn, some)
    doubt = {"reason": func.coalesce(said.reason, "no_answer"), "detail": said.detail, "lease_until": None}
    return bulk.changed(conn, update(messages).where(*held).values(status=Status.UNKNOWN, **doubt))


_WRITERS: dict[str, Callable[[Connection, Sequence[Outcome], datetime], int]] = {
    "sent": _sent,
    "retry": _retry,
    "wait": _halt,
    "halt": _halt,
    "failed": _failed,
    "unknown": _unknown,
}


def _free_slots(conn: Connection, ids: Sequence[str]) -> None:
    if ids:
        chosen = bulk.ids(conn, ids)
        conn.execute(delete(contact_slots).where(contact_slots.c.message_id.in_(select(chosen.c.id))))
