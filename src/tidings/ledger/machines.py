"""Which clicks a machine made, told from all of a message's clicks together: kept, never counted, in any order."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import orjson
from sqlalchemy import Connection, select, update

from tidings.ledger import bulk
from tidings.ledger.schema import engagements, messages, receipts
from tidings.model.engagement import EngagementKind
from tidings.model.people import Channel

# A click sooner than this after a mail server took the e-mail is its scanner's (measurement rules 4.2).
AFTER_DELIVERY = timedelta(seconds=10)
# So many different links within so long are nobody's fingers; of a message with fewer, all of them.
MANY_LINKS = 3
AT_ONCE = timedelta(seconds=2)

e, m = engagements.c, messages.c


@dataclass(slots=True)
class _Seen:
    links: int
    delivered_at: datetime | None = None
    clicks: list[tuple[datetime, int, str]] = field(default_factory=list)  # when, which link, event id
    human: set[str] = field(default_factory=set)


def mark(conn: Connection, message_ids: Collection[str]) -> int:
    """Mark the clicks of these messages that only a machine can have made; return how many were newly marked.

    What is marked stays so: more events can only mark more, so their order does not matter. The caller holds the
    messages' rows.
    """
    seen = _read(conn, message_ids)
    found = sorted(one for each in seen.values() for one in _machines(each) & each.human)
    if found:
        chosen = bulk.ids(conn, found)
        conn.execute(update(engagements).where(e.id.in_(select(chosen.c.id))).values(machine=True))
    return len(found)


def _read(conn: Connection, message_ids: Collection[str]) -> dict[str, _Seen]:
    if not message_ids:
        return {}
    wanted = bulk.ids(conn, message_ids)
    rows = conn.execute(
        select(e.id, e.message_id, e.kind, e.at, e.link, e.machine, m.channel, receipts.c.urls)
        .join(wanted, wanted.c.id == e.message_id)
        .join(messages, m.id == e.message_id)
        .outerjoin(receipts, receipts.c.message_id == e.message_id)
        .where(e.kind.in_((EngagementKind.CLICKED.value, EngagementKind.DELIVERED.value)))
    )
    found: dict[str, _Seen] = {}
    for row in rows:
        one = found.get(row.message_id)
        if one is None:
            one = found[row.message_id] = _Seen(len(orjson.loads(row.urls)) if row.urls else MANY_LINKS)
        if row.kind == EngagementKind.CLICKED:
            one.clicks.append((row.at, -1 if row.link is None else row.link, row.id))
            if not row.machine:
                one.human.add(row.id)
        elif row.channel == Channel.EMAIL:
            # A text's callback carries no time of its own, and may come after the person's click.
            one.delivered_at = row.at if one.delivered_at is None else min(one.delivered_at, row.at)
    return found


def _machines(seen: _Seen) -> set[str]:
    found = set()
    if seen.delivered_at is not None:
        found = {name for at, _, name in seen.clicks if at < seen.delivered_at + AFTER_DELIVERY}
    return found | _bursts(sorted(seen.clicks), max(2, min(MANY_LINKS, seen.links)))


def _bursts(clicks: Sequence[tuple[datetime, int, str]], many: int) -> set[str]:
    """Return the clicks that lie in some stretch of AT_ONCE with ``many`` different links."""
    found: set[str] = set()
    times = [at for at, _, _ in clicks]
    for last, (at, _, _) in enumerate(clicks):
        first = bisect_left(times, at - AT_ONCE)
        within = clicks[first : last + 1]
        links: dict[int, int] = defaultdict(int)
        for _, link, _ in within:
            links[link] += 1
        if len(links) >= many:
            found.update(name for _, _, name in within)
    return found
