"""What planning writes: each entry once, its messages with it, and the cooldown that guards re-entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import (
    Connection,
    and_,
    column,
    delete,
    exists,
    or_,
    select,
    table,
    text,
    true,
    tuple_,
)
from sqlalchemy.dialects import postgresql

from tidings.ledger import bulk, restoring
from tidings.ledger.bulk import TEXT, TIME, WHOLE, upsert
from tidings.ledger.progress import CampaignState, campaign_state, drop_dry_run, end_run, save_state, start_run
from tidings.ledger.schema import (
    cooldowns,
    entries,
    messages,
    shard_leases,
)
from tidings.model.entry import Entry, Item
from tidings.model.message import SkipReason, Space, Status

__all__ = [
    "CampaignState", "EntryRow", "MessageRow", "Recorded", "campaign_state", "drop_dry_run", "end_run", "entry_from",
    "entry_of", "items_from", "record", "release_cooldowns", "save_state", "seen_json", "start_run",
]  # fmt: skip

# While a message of an entry is in one of these, the entry was exposed or still may be, and keeps its cooldown.
EXPOSED_OR_MAY_BE = (
    Status.PLANNED,
    Status.CLAIMED,
    Status.SENDING,
    Status.SENT,
    Status.HELD_OUT,
    Status.UNKNOWN,
    Status.PRESUMED_LOST,
)


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One step of a planned entry. ``status`` is planned, skipped or expired; ``id`` is random."""

    id: str
    step: str
    step_no: int
    channel: str
    address_hash: str | None
    shard: int
    priority: int
    status: str
    reason: str | None
    send_at: datetime
    first_send_at: datetime
    expires_at: datetime
    template: str


@dataclass(frozen=True, slots=True)
class EntryRow:
    """A planned entry with its arm (treated or held_out) and its messages, one per step."""

    id: str
    entry: Entry
    customer_id: str
    arm: str
    variant: str
    cooldown_until: datetime
    messages: tuple[MessageRow, ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What one batch came to: ``new + known`` distinct entries; messages of new ones = planned + skipped + expired.

    ``planned`` counts the held-out arm's messages too; ``held_out`` is that part of it.
    """

    new: int
    known: int
    planned: int
    held_out: int
    skipped: dict[str, int]
    expired: int


def record(
    conn: Connection, rows: Sequence[EntryRow], *, space: str, campaign: str, run_id: str, now: datetime
) -> Recorded:
    """Write a batch of planned entries in the caller's transaction; what is there already is left alone.

    The batch is deduplicated by key and sorted, so that two planners wait for each other instead of
    deadlocking; commit it before recording the next one for the same reason. Of two entries of one customer
    (and sku) within the cooldown the second becomes ``skipped(cooldown)``.
    """
    batch = {row.entry.key: row for row in reversed(rows)}
    ordered = [batch[key] for key in sorted(batch)]
    if not ordered:
        return Recorded(0, 0, 0, 0, {}, 0)
    inserted = _insert_entries(conn, ordered, (space, campaign, run_id), now)
    new = [row for row in ordered if row.id in inserted]
    losers = _lose_cooldown(conn, new, space, campaign)
    counts, skipped, lines = _messages_of(new, losers, (space, campaign), now)
    bulk.append(conn, messages, _MESSAGE_COLUMNS, lines)
    _know_shards(conn, space, {message.shard for row in new for message in row.messages})
    if new and space == Space.LIVE:
        earliest = min(message.first_send_at for row in new for message in row.messages)
        restoring.doubt_new(conn, [row.id for row in new], earliest, now)
    return Recorded(
        len(new),
        len(ordered) - len(new),
        counts[Status.PLANNED],
        counts["held_out"],
        dict(skipped),
        counts[Status.EXPIRED],
    )


_ENTRY_COLUMNS = (
    "id", "space", "campaign", "entry_key", "customer_id", "sku", "anchor_at", "entered_at", "planned_at", "arm",
    "variant", "value", "currency", "seen", "run_id",
)  # fmt: skip
_MESSAGE_COLUMNS = (
    "id", "entry_id", "space", "campaign", "step", "step_no", "channel", "customer_id", "address_hash", "shard",
    "priority", "held_out", "status", "reason", "send_at", "first_send_at", "expires_at", "attempt", "deferrals",
    "ended_at", "template",
)  # fmt: skip

_arriving_entries = table("arriving_entries", *(column(name, entries.c[name].type) for name in _ENTRY_COLUMNS))


def _insert_entries(
    conn: Connection, ordered: Sequence[EntryRow], place: tuple[str, str, str], now: datetime
) -> set[str]:
    """Insert the entries that are not there; return the ids of those that were inserted."""
    space, campaign, run_id = place
    lines = [
        (
            row.id, space, campaign, row.entry.key, row.customer_id, row.entry.sku, row.entry.anchor_at,
            row.entry.entered_at, now, row.arm, row.variant, row.entry.value, row.entry.currency,
            seen_json(row.entry), run_id,
        )
        for row in ordered
    ]  # fmt: skip
    if conn.dialect.name == "postgresql":
        return _insert_by_copy(conn, lines)
    before = _existing(conn, [row.entry.key for row in ordered], space, campaign)
    fresh = [line for line in lines if line[3] not in before]
    # SQLite has one writer, and this is its transaction: nothing can come between the look and the insert.
    bulk.append(conn, entries, _ENTRY_COLUMNS, fresh)
    return {line[0] for line in fresh}


def _existing(conn: Connection, keys: Sequence[str], space: str, campaign: str) -> set[str]:
    wanted = bulk.ids(conn, keys)
    return set(
        conn.scalars(
            select(entries.c.entry_key).where(
                entries.c.space == space, entries.c.campaign == campaign, entries.c.entry_key == wanted.c.id
            )
        )
    )


def _insert_by_copy(conn: Connection, lines: Sequence[tuple[Any, ...]]) -> set[str]:
    conn.execute(
        text(
            "CREATE TEMPORARY TABLE IF NOT EXISTS arriving_entries"
            " (LIKE entries INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
        )
    )
    conn.execute(text("TRUNCATE arriving_entries"))
    bulk.copy(conn, "arriving_entries", [entries.c[name] for name in _ENTRY_COLUMNS], lines)
    sorted_rows = select(_arriving_entries).order_by(_arriving_entries.c.entry_key)
    write = postgresql.insert(entries).from_select(list(_ENTRY_COLUMNS), sorted_rows)
    return set(conn.scalars(write.on_conflict_do_nothing().returning(entries.c.id)))


def _lose_cooldown(conn: Connection, new: Sequence[EntryRow], space: str, campaign: str) -> set[str]:
    """Take the cooldown for each entry with something planned; return the ids of those that came too soon."""
    waiting: dict[tuple[str, str], list[EntryRow]] = {}
    for row in new:
        if any(message.status == Status.PLANNED for message in row.messages):
            waiting.setdefault((row.customer_id, row.entry.sku), []).append(row)
    for rivals in waiting.values():
        rivals.sort(key=lambda row: (row.entry.entered_at, row.entry.key))
    losers: set[str] = set()
    # One statement must not meet a row twice (PostgreSQL refuses, SQLite takes both), so rivals go in turns.
    while waiting:
        turn = [waiting[key].pop(0) for key in sorted(waiting)]
        won = _take_cooldown(conn, turn, space, campaign)
        losers.update(row.id for row in turn if row.entry.key not in won)
        waiting = {key: rivals for key, rivals in waiting.items() if rivals}
    return losers


def _take_cooldown(conn: Connection, turn: Sequence[EntryRow], space: str, campaign: str) -> set[str]:
    arriving = bulk.given(
        conn,
        {"customer_id": TEXT, "sku": TEXT, "entered_at": TIME, "until": TIME, "entry_key": TEXT},
        [(row.customer_id, row.entry.sku, row.entry.entered_at, row.cooldown_until, row.entry.key) for row in turn],
        name="arriving",
    )
    new = arriving.c
    chosen = (
        select(
            bulk.literal(space),
            bulk.literal(campaign),
            new.customer_id,
            new.sku,
            new.entered_at,
            new.until,
            new.entry_key,
        )
        .where(true())
        .order_by(new.customer_id, new.sku)
    )
    columns = ["space", "campaign", "customer_id", "sku", "entered_at", "until", "entry_key"]
    write = upsert(conn, cooldowns).from_select(columns, chosen)
    taken = write.on_conflict_do_update(
        index_elements=["space", "campaign", "customer_id", "sku"],
        set_={name: write.excluded[name] for name in ("entered_at", "until", "entry_key")},
        where=or_(cooldowns.c.until <= write.excluded.entered_at, cooldowns.c.entry_key == write.excluded.entry_key),
    )
    return set(conn.scalars(taken.returning(cooldowns.c.entry_key)))


def _messages_of(
    new: Sequence[EntryRow], losers: Collection[str], place: tuple[str, str], now: datetime
) -> tuple[Counter[str], Counter[str], list[tuple[Any, ...]]]:
    counts: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    lines: list[tuple[Any, ...]] = []
    space, campaign = place
    for row in new:
        held_out = row.arm == "held_out"
        lost = row.id in losers
        for one in row.messages:
            status, reason = one.status, one.reason
            if lost and status == Status.PLANNED:
                status, reason = Status.SKIPPED, SkipReason.COOLDOWN
            counts[status] += 1
            if status == Status.SKIPPED:
                skipped[str(reason)] += 1
            elif status == Status.PLANNED and held_out:
                counts["held_out"] += 1
            lines.append(
                (
                    one.id, row.id, space, campaign, one.step, one.step_no, one.channel, row.customer_id,
                    one.address_hash, one.shard, one.priority, held_out, status, reason, one.send_at,
                    one.first_send_at, one.expires_at, 0, 0, None if status == Status.PLANNED else now, one.template,
                )
            )  # fmt: skip
    return counts, skipped, lines


def _know_shards(conn: Connection, space: str, shards: Iterable[int]) -> None:
    arriving = bulk.given(conn, {"shard": WHOLE}, [(shard,) for shard in sorted(set(shards))], name="arriving")
    rows = select(bulk.literal(space), arriving.c.shard).where(true()).order_by(arriving.c.shard)
    write = upsert(conn, shard_leases).from_select(["space", "shard"], rows)
    conn.execute(write.on_conflict_do_nothing())


def release_cooldowns(conn: Connection, entry_ids: Collection[str]) -> int:
    """Give back the cooldowns of those entries of which nothing was or will be exposed; return how many."""
    if not entry_ids:
        return 0
    chosen = bulk.ids(conn, entry_ids)
    same = and_(
        cooldowns.c.space == entries.c.space,
        cooldowns.c.campaign == entries.c.campaign,
        cooldowns.c.customer_id == entries.c.customer_id,
        cooldowns.c.sku == entries.c.sku,
        cooldowns.c.entry_key == entries.c.entry_key,
    )
    key = (cooldowns.c.space, cooldowns.c.campaign, cooldowns.c.customer_id, cooldowns.c.sku)
    # Locked first, judged after: two lanes that end two steps of one entry then see each other's end.
    locked = conn.execute(
        select(*key).join(entries, same).join(chosen, chosen.c.id == entries.c.id).order_by(*key)
        .with_for_update(of=cooldowns)
    ).all()  # fmt: skip
    if not locked:
        return 0
    alive = exists().where(messages.c.entry_id == entries.c.id, messages.c.status.in_(EXPOSED_OR_MAY_BE))
    names = ("space", "campaign", "customer_id", "sku", "entry_key")
    unexposed = select(*(entries.c[name] for name in names)).join(chosen, chosen.c.id == entries.c.id).where(~alive)
    # As rows among rows: to a condition on each row SQLite would put every cooldown there is.
    theirs = tuple_(*(cooldowns.c[name] for name in names)).in_(unexposed)
    return bulk.changed(conn, delete(cooldowns).where(theirs))


def seen_json(entry: Entry) -> str:
    """Return what the customer saw (items, facts, market) as the JSON kept with the entry."""
    return orjson.dumps({"items": entry.items, "facts": dict(entry.facts), "market": entry.market}).decode()


def entry_from(row: Any) -> Entry:
    """Return the entry that a row of ``entries`` keeps (any object with its columns as attributes)."""
    return entry_of(
        row.entry_key, row.customer_id, row.anchor_at, row.entered_at, row.sku, row.value, row.currency, row.seen
    )


def entry_of(
    key: str,
    customer_id: str,
    anchor_at: datetime,
    entered_at: datetime,
    sku: str,
    value: int | None,
    currency: str | None,
    seen: str,
) -> Entry:
    """Return the entry that these columns of ``entries`` keep."""
    told = orjson.loads(seen)
    items = tuple(items_from(told))
    return Entry(
        key, customer_id, anchor_at, entered_at, sku, items, value, currency, told.get("market"), told.get("facts", {})
    )


def items_from(seen: Mapping[str, Any]) -> list[Item]:
    """Return the products in an entry's ``seen``."""
    items = seen.get("items", ())
    for item in items:
        if at := item.get("seen_at"):
            item["seen_at"] = datetime.fromisoformat(at)
    return [Item(**item) for item in items]
