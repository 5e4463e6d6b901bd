"""Whether this ledger remembers everything it has sent: its generation, its last sending, and what a restore forgot."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Integer,
    bindparam,
    delete,
    func,
    insert,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy import literal as bound

from tidings.ledger import bulk
from tidings.ledger.bulk import upsert
from tidings.ledger.prepared import Prepared
from tidings.ledger.schema import PENDING, contact_slots, messages, sendings, settings
from tidings.model.message import Space, Status

GENERATION, RESTORED = "generation", "restored"
# Sendings so far back say nothing any more; the last one always stays.
KEPT_SENDINGS = 100_000

m = messages.c


@dataclass(frozen=True, slots=True)
class Sending:
    """One commit that made messages `sending`: its number, and the job's time of it."""

    number: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a restore forgot: everything of a generation up to a number, sent until a moment.

    ``spared`` campaigns deliver at least once and are not doubted; ``exempt`` are the (campaign, step) pairs that
    take no room under caps.
    """

    generation: str
    number: int
    until: datetime
    spared: tuple[str, ...] = ()
    exempt: tuple[tuple[str, str], ...] = ()


def generation(conn: Connection) -> str:
    """Return the ledger's generation, made when it is first asked for: a new one after every restore."""
    found: str | None = conn.scalar(select(settings.c.value).where(settings.c.name == GENERATION))
    if found is None:
        first = {"name": GENERATION, "value": uuid.uuid4().hex}
        conn.execute(upsert(conn, settings).values(**first).on_conflict_do_nothing())
        found = conn.scalar(select(settings.c.value).where(settings.c.name == GENERATION))
    assert found is not None
    return found


def is_generation(conn: Connection, name: str) -> bool:
    """Return whether the ledger is of this generation; one that has none yet is of no other."""
    found = conn.scalar(select(settings.c.value).where(settings.c.name == GENERATION))
    return found == name


def last_sending(conn: Connection) -> Sending | None:
    """Return the last sending that this ledger remembers."""
    found = conn.execute(select(sendings.c.number, sendings.c.at).order_by(sendings.c.number.desc()).limit(1)).first()
    return None if found is None else Sending(found.number, found.at)


def note_sending(conn: Connection, *, at: datetime, count: int) -> int:
    """Number a commit that makes so many messages `sending`; return the number."""
    written = insert(sendings).values(at=at, messages=count).returning(sendings.c.number)
    number: int = conn.execute(written).scalar_one()
    return number


def _note_sending(_: str) -> Executable:
    given = {"at": bindparam("at", type_=sendings.c.at.type), "messages": bindparam("messages", type_=Integer())}
    return insert(sendings).values(given).returning(sendings.c.number)


# The same, for a transaction that says more than this at once.
NOTE_SENDING = Prepared(_note_sending)


def prune_sendings(conn: Connection) -> int:
    """Drop the oldest sendings; return how many."""
    last = select(func.max(sendings.c.number)).scalar_subquery()
    return bulk.changed(conn, delete(sendings).where(sendings.c.number < last - KEPT_SENDINGS))


def stretches(conn: Connection) -> tuple[Stretch, ...]:
    """Return what earlier restores forgot and a reconciliation has settled since, oldest first."""
    found: str | None = conn.scalar(select(settings.c.value).where(settings.c.name == RESTORED))
    return tuple(_stretch(one) for one in orjson.loads(found)) if found else ()


def _stretch(told: dict[str, Any]) -> Stretch:
    until = datetime.fromisoformat(told["until"])
    exempt = tuple((campaign, step) for campaign, step in told["exempt"])
    return Stretch(told["generation"], told["number"], until, tuple(told["spared"]), exempt)


def renew(conn: Connection, forgotten: Sequence[Stretch]) -> str:
    """Begin a new generation that knows of these stretches; return it."""
    known = [*stretches(conn), *forgotten]
    told = orjson.dumps([
        {"generation": one.generation, "number": one.number, "until": one.until.isoformat(), "spared": one.spared,
         "exempt": one.exempt}
        for one in known
    ]).decode()  # fmt: skip
    fresh = uuid.uuid4().hex
    for name, value in ((GENERATION, fresh), (RESTORED, told)):
        write = upsert(conn, settings).values(name=name, value=value)
        conn.execute(write.on_conflict_do_update(index_elements=["name"], set_={"value": write.excluded.value}))
    return fresh


def doubtful(conn: Connection, stretch: Stretch, channel: str | None = None) -> list[str]:
    """Return the pending messages that may have left in a stretch that was forgotten."""
    only = [m.channel == channel] if channel else []
    return list(conn.scalars(select(m.id).where(*_forgotten(stretch), *only).order_by(m.send_at, m.id)))


def doubt(conn: Connection, stretch: Stretch, now: datetime) -> int:
    """End as presumed_lost what was due in a stretch that was forgotten, and may have left in it; return how many.

    Both arms alike, so that they stay comparable. It counts as a contact at the end of the stretch; proof still
    makes it sent.
    """
    wanted = _forgotten(stretch)
    chosen = list(conn.scalars(select(m.id).where(*wanted).order_by(m.id).with_for_update()))
    return _presume(conn, chosen, stretch, now)


def doubt_new(conn: Connection, entry_ids: Collection[str], first_send_at: datetime, now: datetime) -> int:
    """Do so for entries just planned: found (again) after a restore, they may have been written to before it.

    ``first_send_at`` is the earliest of theirs, so that planning costs nothing once restores lie behind.
    """
    return sum(_doubt_new(conn, entry_ids, one, now) for one in stretches(conn) if first_send_at <= one.until)


def _doubt_new(conn: Connection, entry_ids: Collection[str], stretch: Stretch, now: datetime) -> int:
    new = m.entry_id.in_(select(bulk.ids(conn, entry_ids).c.id))
    chosen = list(conn.scalars(select(m.id).where(new, *_forgotten(stretch)).order_by(m.id).with_for_update()))
    return _presume(conn, chosen, stretch, now)


def _forgotten(stretch: Stretch) -> list[ColumnElement[bool]]:
    due = [PENDING, m.space == Space.LIVE.value, m.send_at <= stretch.until]
    return [*due, m.campaign.not_in(stretch.spared)] if stretch.spared else due


def _presume(conn: Connection, chosen: Sequence[str], stretch: Stretch, now: datetime) -> int:
    if not chosen:
        return 0
    mine = bulk.ids(conn, chosen)
    lost = {"status": Status.PRESUMED_LOST, "reason": "restored", "sending_at": m.send_at, "ended_at": now}
    counted = bulk.changed(
        conn, update(messages).where(m.id == mine.c.id, PENDING).values(**lost, token=None, lease_until=None)
    )
    _take_slots(conn, chosen, stretch)
    return counted


def _take_slots(conn: Connection, chosen: Sequence[str], stretch: Stretch) -> None:
    """Count them as contacts, of the person and of the address, at the end of the stretch."""
    mine = bulk.ids(conn, chosen)
    at = bulk.literal(stretch.until, contact_slots.c.at.type)
    counts: list[ColumnElement[bool]] = [true()]
    if stretch.exempt:
        counts = [tuple_(m.campaign, m.step).not_in(stretch.exempt)]
    person, address = bound("p:") + m.customer_id, bound("a:") + m.address_hash
    for name, told in ((person, true()), (address, m.address_hash.is_not(None))):
        rows = select(name, at, m.id, m.channel, m.space).join(mine, mine.c.id == m.id).where(told, *counts)
        columns = ["contact", "at", "message_id", "channel", "space"]
        conn.execute(upsert(conn, contact_slots).from_select(columns, rows).on_conflict_do_nothing())
