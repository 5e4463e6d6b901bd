"""Why sending is stopped: a brake holds from its commit until it is released, and every change of one is an event."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from sqlalchemy import Connection, delete, func, select, update

from tidings.ledger import bulk
from tidings.ledger.bulk import changed, upsert
from tidings.ledger.schema import brake_events, brakes, settings
from tidings.ledger.store import clock

e = brake_events.c
DISPATCH = "dispatch"


@dataclass(frozen=True, slots=True)
class Brake:
    """One stop: why, since when, and who pulled it."""

    reason: str
    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class BrakeEvent:
    """One brake that was pulled or released, or a rate that came near one. ``remedy`` says what to do."""

    id: str
    scope: str
    action: str
    reason: str
    remedy: str
    at: datetime
    by: str
    told_at: datetime | None = None


def pull(conn: Connection, scope: str, *, reason: str, at: datetime, by: str, remedy: str = "") -> bool:
    """Stop ``all``, ``campaign:x``, ``channel:sms``, ``provider:twilio``, ``marketing:email`` or ``mailbox:gmail``.

    The first reason stays until released. Returns whether this pulled it; only then is there an event.
    """
    values = {"scope": scope, "reason": reason[:200], "at": at, "by": by[:60]}
    write = upsert(conn, brakes).values(**values).on_conflict_do_nothing().returning(brakes.c.scope)
    if conn.execute(write).first() is None:
        return False
    _note(conn, scope, "pulled", reason, remedy, at, by)
    return True


def release(
    conn: Connection, scope: str, *, at: datetime | None = None, by: str = "", reason: str = "released"
) -> bool:
    """Let go of a brake; return whether it was on. ``at`` is the database's clock when left out."""
    if changed(conn, delete(brakes).where(brakes.c.scope == scope)) != 1:
        return False
    conn.execute(delete(settings).where(settings.c.name == _probe(scope)))
    _note(conn, scope, "released", reason, "", at or clock(conn), by)
    return True


def warn(conn: Connection, scope: str, *, reason: str, remedy: str, at: datetime, by: str) -> bool:
    """Note that a rate came near its brake, once a day and scope; return whether it was noted now."""
    name = hashlib.sha256(f"{scope}|warned|{at.astimezone(UTC):%Y-%m-%d}".encode()).hexdigest()[:32]
    return _note(conn, scope, "warned", reason, remedy, at, by, name)


def _note(
    conn: Connection, scope: str, action: str, reason: str, remedy: str, at: datetime, by: str, name: str | None = None
) -> bool:
    row = {
        "id": name or uuid.uuid4().hex, "scope": scope, "action": action, "reason": reason[:200],
        "remedy": remedy[:400], "at": at, "by": by[:60],
    }  # fmt: skip
    write = upsert(conn, brake_events).values(**row).on_conflict_do_nothing().returning(e.id)
    return conn.execute(write).first() is not None


def pulled(conn: Connection) -> dict[str, Brake]:
    """Return every brake that is on, by scope."""
    rows = conn.execute(select(brakes.c.scope, brakes.c.reason, brakes.c.at, brakes.c.by).order_by(brakes.c.scope))
    return {row.scope: Brake(row.reason, row.at, row.by) for row in rows}


def remedies(conn: Connection) -> dict[str, str]:
    """Return what to do about each brake that is on, by scope."""
    latest = (
        select(e.scope, func.max(e.at).label("at"))
        .join(brakes, brakes.c.scope == e.scope)
        .where(e.action == "pulled")
        .group_by(e.scope)
        .subquery()
    )
    rows = conn.execute(
        select(e.scope, e.remedy)
        .join(latest, (latest.c.scope == e.scope) & (latest.c.at == e.at))
        .where(e.action == "pulled")
    )
    return {row.scope: row.remedy for row in rows}


def released_since(conn: Connection, since: datetime) -> dict[str, datetime]:
    """Return when each scope was last released, of those released since a moment."""
    last = select(e.scope, func.max(e.at)).where(e.action == "released", e.at >= since).group_by(e.scope)
    return {row[0]: row[1] for row in conn.execute(last)}


def events(conn: Connection, *, since: datetime | None = None, untold: bool = False) -> list[BrakeEvent]:
    """Return what happened to brakes, oldest first; ``untold``: only what nobody was told about yet."""
    wanted = select(e.id, e.scope, e.action, e.reason, e.remedy, e.at, e.by, e.told_at)
    if since is not None:
        wanted = wanted.where(e.at >= since)
    if untold:
        wanted = wanted.where(e.told_at.is_(None))
    return [BrakeEvent(*row) for row in conn.execute(wanted.order_by(e.at, e.id))]


def warnings(conn: Connection, *, since: datetime) -> list[BrakeEvent]:
    """Return the newest warning of each scope since then that was not stopped or let go after it, by scope."""
    latest = {one.scope: one for one in events(conn, since=since)}
    return [one for _, one in sorted(latest.items()) if one.action == "warned"]


def told(conn: Connection, ids: Sequence[str], at: datetime) -> set[str]:
    """Note that these events are being told; return those that nobody had told before. Each is told once."""
    if not ids:
        return set()
    chosen = bulk.ids(conn, ids)
    mark = update(brake_events).where(e.id.in_(select(chosen.c.id)), e.told_at.is_(None)).values(told_at=at)
    return set(conn.scalars(mark.returning(e.id)))


@dataclass(frozen=True, slots=True)
class Probe:
    """When a half-open brake let its last message through, and with which key (a keyed hash) the account refused."""

    at: datetime
    key: str = ""


def probe(conn: Connection, scope: str) -> Probe | None:
    """Return the last probe of a brake, or the moment it was pulled with the key of then."""
    text = conn.scalar(select(settings.c.value).where(settings.c.name == _probe(scope)))
    if text is None:
        return None
    said = orjson.loads(text)
    return Probe(datetime.fromisoformat(said["at"]), str(said.get("key", "")))


def note_probe(conn: Connection, scope: str, new: Probe, *, before: Probe | None) -> bool:
    """Take the turn to probe: True for one caller only, whoever else saw the same ``before``."""
    name, value = _probe(scope), _written(new)
    if before is None:
        write = upsert(conn, settings).values(name=name, value=value).on_conflict_do_nothing()
        return conn.execute(write.returning(settings.c.name)).first() is not None
    held = (settings.c.name == name, settings.c.value == _written(before))
    return changed(conn, update(settings).where(*held).values(value=value)) == 1


def _probe(scope: str) -> str:
    return f"probe:{scope}"[:60]


def _written(one: Probe) -> str:
    return orjson.dumps({"at": one.at.astimezone(UTC).isoformat(), "key": one.key}).decode()
