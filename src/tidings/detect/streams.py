"""One stream, sku by sku: first what happened to the sku, then everybody who wants it, one customer after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, groupby
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Integer,
    Row,
    Select,
    String,
    literal,
    null,
    select,
    union_all,
)

_TIME = DateTime(timezone=True)
# ``since`` and ``until`` are when a price holds, a count was made, or a request was made and ends.
LAYOUT: Mapping[str, Any] = {
    "sku": String(), "customer_id": String(), "request_id": String(), "market": String(), "currency": String(),
    "kind": String(), "location": String(), "amount": BigInteger(), "since": _TIME, "until": _TIME,
    "cancelled_at": _TIME, "occurred_at": _TIME, "received_at": _TIME, "claimed_at": _TIME, "bought_at": _TIME,
    "active": Integer(), "on_hand": BigInteger(),
}  # fmt: skip
HAPPENED, WANTED = 0, 1


def laid_out(part: int, **given: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """Return the columns of the stream in their one order; what is not given is NULL."""
    columns = [given.get(name, null().cast(kind)).label(name) for name, kind in LAYOUT.items()]
    return [*columns, literal(part).label("part")]


def one_stream(*parts: Select[Any]) -> Select[Any]:
    """Return the parts as one SELECT in the order ``by_sku`` needs."""
    rows = union_all(*parts).subquery("by_sku")
    return select(rows).order_by(rows.c.sku, rows.c.part, rows.c.customer_id)


def by_sku(rows: Iterable[Row[Any]]) -> Iterator[tuple[str, list[Row[Any]], Iterator[Row[Any]]]]:
    """Yield each sku with what happened to it, held, and who wants it, streamed."""
    for sku, group in groupby(rows, key=lambda row: row.sku):
        happened: list[Row[Any]] = []
        wanted: Iterator[Row[Any]] = iter(())
        rest = iter(group)
        for row in rest:
            if row.part == WANTED:
                wanted = chain([row], rest)
                break
            happened.append(row)
        yield sku, happened, wanted
