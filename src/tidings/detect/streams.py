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
Layout = Mapping[str, Any]
_BOTH: Layout = {
    "sku": String(), "customer_id": String(), "market": String(), "amount": BigInteger(), "since": _TIME,
    "until": _TIME, "occurred_at": _TIME, "received_at": _TIME, "claimed_at": _TIME, "bought_at": _TIME,
    "active": Integer(),
}  # fmt: skip
# ``since`` and ``until`` are when a price holds, or a count or a request was made and ends. A column more is paid
# for with every row, so each trigger has only its own.
PRICES: Layout = {**_BOTH, "currency": String(), "kind": String(), "on_hand": BigInteger()}
COUNTS: Layout = {**_BOTH, "request_id": String(), "location": String()}
HAPPENED, WANTED = 0, 1


def laid_out(layout: Layout, part: int, **given: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """Return the columns of a stream in their one order; what is not given is NULL, what is not in it is left out."""
    columns = [given.get(name, null().cast(kind)).label(name) for name, kind in layout.items()]
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
