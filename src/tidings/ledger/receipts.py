"""What messages left with, kept so that it can be proved later: versions by content, receipts in a chain of days.

A receipt's digest covers what may never change: neither the status, which proof may settle later, nor who and where
the person is, which an erasure takes out. Each link of the chain hashes the one before it together with a digest, so
that a receipt altered, taken out or put in between shows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Column, Connection, Row, Select, and_, delete, func, select, text, true, tuple_

from tidings.ledger import bulk
from tidings.ledger.bulk import TEXT, upsert
from tidings.ledger.schema import messages, receipt_chain, receipts, settings, versions
from tidings.model.message import Space, Status

# What a message's receipt is final in: a message under way or in doubt may still be offered again with other words.
FINAL = (Status.SENT, Status.HELD_OUT, Status.FAILED, Status.PRESUMED_LOST)
GENESIS = hashlib.sha256(b"tidings receipts 1").hexdigest()
_ANCHOR = "receipt_chain_anchor"
_REF = 24  # hex digits: nobody finds another content for 96 bits
_PORTION = 5_000
_DAY = timedelta(days=1)

m, r, k = messages.c, receipts.c, receipt_chain.c


@dataclass(frozen=True, slots=True)
class Version:
    """One content that messages were made from. ``ref`` is its name: a digest of kind, name and content."""

    ref: str
    kind: str
    name: str
    content: str
    git_commit: str | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """One sealed receipt's place in the chain."""

    day: datetime
    position: int
    message_id: str
    digest: str
    chain: str


@dataclass(frozen=True, slots=True)
class Sealed:
    """What one transaction sealed: how many, the last of them, and where the next goes on (None: nothing is left)."""

    count: int
    head: Link | None
    after: tuple[datetime, str] | None


def ref(kind: str, name: str, content: str) -> str:
    """Return the name of a version: what it is kept under, and what evidence refers to."""
    return hashlib.sha256(f"{kind}\0{name}\0{content}".encode()).hexdigest()[:_REF]


def keep(conn: Connection, some: Sequence[Version], now: datetime) -> None:
    """Keep versions; one that is there already is left alone, as its content cannot be another."""
    if not some:
        return
    names = ("hash", "kind", "name", "content", "git_commit")
    rows = sorted((one.ref, one.kind, one.name, one.content, one.git_commit) for one in some)
    new = bulk.given(conn, dict.fromkeys(names, TEXT), rows)
    given = [new.c[name] for name in names]
    chosen = select(*given, bulk.literal(now, versions.c.first_at.type)).where(true()).order_by(new.c.hash)
    conn.execute(upsert(conn, versions).from_select([*names, "first_at"], chosen).on_conflict_do_nothing())


def versions_of(conn: Connection, refs: Sequence[str]) -> dict[str, Version]:
    """Return those of the versions that are kept, by name."""
    v, wanted = versions.c, bulk.ids(conn, refs)
    return {row.hash: _version(row) for row in conn.execute(select(versions).join(wanted, wanted.c.id == v.hash))}


def every_version(conn: Connection) -> Iterator[Version]:
    """Yield all versions."""
    for row in conn.execute(select(versions).order_by(versions.c.hash).execution_options(yield_per=500)):
        yield _version(row)


def _version(row: Row[Any]) -> Version:
    return Version(row.hash, row.kind, row.name, row.content, row.git_commit)


def canonical(value: object) -> str:
    """Return a value as the only JSON that says it: keys in order, no spaces."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def moment(at: datetime) -> str:
    """Return an instant as evidence writes it: UTC, ending in Z."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def digest(row: Any) -> str:
    """Return the digest of a receipt with what was sent: everything about it that may never change."""
    said = (
        1, row.id, row.entry_id, row.space, row.campaign, row.step, row.channel, bool(row.held_out),
        moment(row.sending_at), row.template_hash, row.segments, row.provider, row.urls, bool(row.tracked),
        row.evidence,
    )  # fmt: skip
    return hashlib.sha256(orjson.dumps(said)).hexdigest()


def linked(before: str, digest: str) -> str:
    """Return the link that follows ``before`` for a receipt with this digest."""
    return hashlib.sha256(f"{before}|{digest}".encode()).hexdigest()


_FACTS: tuple[Column[Any], ...] = (
    m.id, m.entry_id, m.space, m.campaign, m.step, m.channel, m.held_out, m.status, m.sending_at, m.template_hash,
    m.segments, m.provider, m.address_hash, m.customer_id, r.urls, r.tracked, r.evidence,
)  # fmt: skip


# What belongs into the chain and is in none; a dry run is dropped one day, so it is never sealed.
_FINAL = (k.message_id.is_(None), m.sending_at.is_not(None), m.status.in_(FINAL), m.space == Space.LIVE)


def receipt(conn: Connection, message_id: str) -> Row[Any] | None:
    """Return a message with its receipt, whose columns are empty when there is none; None without the message."""
    whole = select(*_FACTS, m.step_no, m.reason, m.provider_id, m.sent_at)
    found: Any = conn.execute(whole.outerjoin(receipts, r.message_id == m.id).where(m.id == message_id)).one_or_none()
    kept: Row[Any] | None = found
    return kept


def evidence_of(conn: Connection, message_ids: Sequence[str]) -> dict[str, str]:
    """Return the evidence of those of the messages that have some, by id."""
    wanted = bulk.ids(conn, message_ids)
    rows = conn.execute(select(r.message_id, r.evidence).join(wanted, wanted.c.id == r.message_id))
    return {row.message_id: row.evidence for row in rows if row.evidence}


def head(conn: Connection) -> Link | None:
    """Return the last link of the chain; None before anything was sealed."""
    return _link(conn.execute(select(receipt_chain).order_by(k.day.desc(), k.position.desc()).limit(1)).one_or_none())


def heads(conn: Connection, *, most: int = 31) -> list[Link]:
    """Return the last link of each of the latest days, oldest first: what is worth keeping elsewhere."""
    last = select(k.day, func.max(k.position).label("position")).group_by(k.day).order_by(k.day.desc()).limit(most)
    days = last.subquery("days")
    rows = conn.execute(
        select(receipt_chain).join(days, and_(days.c.day == k.day, days.c.position == k.position)).order_by(k.day)
    )
    return [_known(row) for row in rows]


def link_of(conn: Connection, message_id: str) -> tuple[Link, str] | None:
    """Return a receipt's link with the link before it (its ``chain``), or None while it is not sealed."""
    found = _link(conn.execute(select(receipt_chain).where(k.message_id == message_id)).one_or_none())
    if found is None:
        return None
    earlier = tuple_(k.day, k.position) < tuple_(
        bulk.literal(found.day, k.day.type), bulk.literal(found.position, k.position.type)
    )
    latest = select(k.chain).where(earlier).order_by(k.day.desc(), k.position.desc()).limit(1)
    before: str = conn.scalar(latest) or beginning(conn)
    return found, before


def beginning(conn: Connection) -> str:
    """Return what the first kept link hangs on: the same for every shop, until a retention has taken days away."""
    anchor = _anchor(conn)
    return GENESIS if anchor is None else anchor[1]


def kept_since(conn: Connection) -> datetime | None:
    """Return the day (UTC) before which a retention has taken all receipts away; None when it never did."""
    anchor = _anchor(conn)
    return None if anchor is None else anchor[0]


def _anchor(conn: Connection) -> tuple[datetime, str] | None:
    said = conn.scalar(select(settings.c.value).where(settings.c.name == _ANCHOR))
    if said is None:
        return None
    day, _, chain = str(said).partition(" ")
    return datetime.fromisoformat(day), chain


def _link(row: Row[Any] | None) -> Link | None:
    return None if row is None else _known(row)


def _known(row: Row[Any]) -> Link:
    return Link(row.day, row.position, row.message_id, row.digest, row.chain)


def seal_some(
    conn: Connection,
    *,
    first_day: datetime | None,
    until: datetime,
    since: datetime | None,
    after: tuple[datetime, str] | None = None,
    limit: int = _PORTION,
) -> Sealed:
    """Append the next receipts of messages that left before ``until`` to the chain, oldest first.

    What left in a day that is sealed already (a message in doubt that was settled, a lane whose clock was behind)
    goes to ``first_day``. ``since`` bounds how far back is looked, ``after`` is where the part before ended.
    """
    if conn.dialect.name == "postgresql":
        conn.execute(text("LOCK TABLE receipt_chain IN SHARE ROW EXCLUSIVE MODE"))
    last = head(conn)
    day = max((one for one in (first_day, last.day if last else None) if one is not None), default=None)
    rows = conn.execute(_unsealed(until, since, after).limit(limit)).all()
    chain, position = (last.chain, last.position) if last else (beginning(conn), -1)
    at, links = last.day if last else None, []
    for row in rows:
        own = row.sending_at.replace(hour=0, minute=0, second=0, microsecond=0)
        own = own if day is None else max(own, day)
        position = position + 1 if own == at else 0
        said = digest(row)
        chain, at = linked(chain, said), own
        links.append((own, position, row.id, said, chain))
    bulk.append(conn, receipt_chain, ("day", "position", "message_id", "digest", "chain"), links)
    ahead = (rows[-1].sending_at, rows[-1].id) if len(rows) == limit else None
    return Sealed(len(links), Link(*links[-1]) if links else last, ahead)


def _unsealed(until: datetime, since: datetime | None, after: tuple[datetime, str] | None) -> Select[Any]:
    query = (
        select(*_FACTS)
        .join(receipts, r.message_id == m.id)
        .outerjoin(receipt_chain, k.message_id == m.id)
        .where(*_FINAL, m.sending_at < until)
        .order_by(m.sending_at, m.id)
    )
    if since is not None:
        query = query.where(m.sending_at >= since)
    if after is not None:
        here = (bulk.literal(after[0], m.sending_at.type), bulk.literal(after[1], m.id.type))
        query = query.where(tuple_(m.sending_at, m.id) > tuple_(*here))
    return query


def chained(conn: Connection, day: datetime | None = None) -> Iterator[Row[Any]]:
    """Yield the links of a day (or all) in order, each with its message and receipt as they are now."""
    query = (
        select(receipt_chain.c.day, k.position, k.message_id.label("sealed_id"), k.digest, k.chain, *_FACTS)
        .outerjoin(messages, m.id == k.message_id)
        .outerjoin(receipts, r.message_id == k.message_id)
        .order_by(k.day, k.position)
    )
    if day is not None:
        query = query.where(k.day == day)
    yield from conn.execute(query.execution_options(yield_per=_PORTION))


def before_day(conn: Connection, day: datetime) -> str:
    """Return the link that a day's first one hangs on."""
    last = select(k.chain).where(k.day < day).order_by(k.day.desc(), k.position.desc()).limit(1)
    return conn.scalar(last) or beginning(conn)


def loose(conn: Connection, *, since: datetime | None = None) -> Iterator[Row[Any]]:
    """Yield the messages that have left (since a moment) and are in no chain; their receipt may be gone."""
    query = (
        select(*_FACTS)
        .outerjoin(receipts, r.message_id == m.id)
        .outerjoin(receipt_chain, k.message_id == m.id)
        .where(*_FINAL)
        .order_by(m.sending_at, m.id)
    )
    if since is not None:
        query = query.where(m.sending_at >= since)
    yield from conn.execute(query.execution_options(yield_per=_PORTION))


def drop_before(conn: Connection, day: datetime) -> int:
    """Take whole sealed days off the old end of the chain, with their receipts; return how many receipts that were.

    The link that the rest hangs on is remembered, so that what is kept can still be checked.
    """
    anchor = before_day(conn, day)
    old = select(k.message_id).where(k.day < day)
    count = bulk.changed(conn, delete(receipts).where(r.message_id.in_(old)))
    conn.execute(delete(receipt_chain).where(k.day < day))
    write = upsert(conn, settings).values(name=_ANCHOR, value=f"{moment(day)} {anchor}")
    conn.execute(write.on_conflict_do_update(index_elements=["name"], set_={"value": write.excluded.value}))
    return count
