"""What left, and what held-out people would have got, for the demo's shoppers: read from the ledger, never written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Row, Select, and_, func, select

from tidings.demo.shoppers import Written
from tidings.ledger.schema import entries, messages, receipts
from tidings.model.message import Space

_CHUNK = 500


def left(conn: Connection, ids: Sequence[str]) -> list[Written]:
    """Return messages that a provider took, by their ids, in that order."""
    found: dict[str, Written] = {}
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        found |= {one.message_id: one for one in _written(conn.execute(_query().where(messages.c.id.in_(chunk))))}
    return [found[one] for one in ids if one in found]


def exposed(conn: Connection, campaign: str) -> Iterator[Written]:
    """Yield the messages of both arms: those that left and those that would have."""
    yield from _written(
        conn.execute(_query().where(messages.c.campaign == campaign, messages.c.sending_at.is_not(None)))
    )


def _query() -> Select[Any]:
    m = messages.c
    earlier = messages.alias("earlier")
    before = (
        select(func.count())
        .where(and_(earlier.c.entry_id == m.entry_id, earlier.c.sending_at.is_not(None), earlier.c.step_no < m.step_no))
        .correlate(messages)
        .scalar_subquery()
    )
    return (
        select(
            m.id, m.campaign, m.channel, m.customer_id, m.sending_at, entries.c.entry_key, entries.c.sku,
            entries.c.seen, receipts.c.tracked, before.label("before"),
        )
        .join_from(messages, entries, entries.c.id == m.entry_id)
        .outerjoin(receipts, receipts.c.message_id == m.id)
        .where(m.space == Space.LIVE)
    )  # fmt: skip


def _written(rows: Iterable[Row[Any]]) -> Iterator[Written]:
    for row in rows:
        items = orjson.loads(row.seen).get("items", ())
        skus = [row.sku] if row.sku else []
        yield Written(
            row.id, row.campaign, row.channel, row.customer_id, row.entry_key, int(row.sending_at.timestamp()),
            row.before == 0, bool(row.tracked), (*skus, *(item["sku"] for item in items)),
        )  # fmt: skip
