"""Product events with their owners, bounded in time; which of them count, and when, is settled row by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Row,
    Select,
    String,
    and_,
    case,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    union_all,
)

from tidings.detect.clock import effective_at
from tidings.detect.identity import CLAIMED_PAST, Identities, owned
from tidings.warehouse.contract import product_events
from tidings.warehouse.tables import Tables

CART_CHANGES = ("added", "removed", "quantity_set", "cart_cleared")
_OPTIONAL = ("event_id", "cart_id", "sku", "product_id", "quantity", "price", "currency", "market")
# Changes that stand at the same instant without an id are taken in the order a shopper makes them.
_RANK = {"viewed": 0, "cart_cleared": 1, "added": 2, "quantity_set": 3, "removed": 4, "checkout_started": 5}


@dataclass(frozen=True, slots=True)
class Seen:
    """One product event that counts, at its effective time; ``price`` is None unless above zero."""

    at: datetime
    kind: str
    sku: str | None
    product_id: str | None
    quantity: int | None
    price: int | None
    currency: str | None
    market: str | None
    free: bool
    row: Row[Any]


def events(
    tables: Tables, people: Identities, since: datetime, until: datetime, *, kinds: Iterable[str] = ()
) -> Select[Any]:
    """Return the owned events whose client's or collector's time lies in ``(since, until]``; all kinds by default.

    Events written by our own recovery page are left out: restoring a cart is not a change of it.
    """
    source = tables["product_events"]
    joined, owner, claimed_at = owned(tables, people, source)
    received = source.c.received_at if tables.has("product_events", "received_at") else None
    columns = [
        source.c[name] if tables.has("product_events", name) else null().cast(product_events.c[name].type).label(name)
        for name in _OPTIONAL
    ]
    # The shop's cart id, else the one cart of the customer; named here, for a bound value cannot be grouped by.
    given = tables.has("product_events", "cart_id")
    cart = func.coalesce(source.c.cart_id, literal("", String)) if given else literal("", String)
    rows = select(
        owner.label("customer_id"), claimed_at.label("claimed_at"), source.c.kind, source.c.occurred_at,
        (null().cast(DateTime(timezone=True)) if received is None else received).label("received_at"),
        cart.label("cart"), *columns,
    ).select_from(joined).where(owner.is_not(None))  # fmt: skip
    wanted = tuple(kinds)
    if wanted:
        rows = rows.where(source.c.kind.in_(wanted))
    if tables.has("product_events", "source"):
        rows = rows.where(or_(source.c.source.is_(None), source.c.source != "recovery"))
    told = _within(source.c.occurred_at, since, until)
    if received is None:
        return rows.where(told)
    # Two branches instead of one OR, so that either column's index or zone map is used.
    late = rows.where(_within(received, since, until), not_(told))
    return select(union_all(rows.where(told), late).subquery("events_between"))


def _within(column: ColumnElement[Any], since: datetime, until: datetime) -> ColumnElement[bool]:
    return and_(column > since, column <= until)


def silent_since(
    tables: Tables, people: Identities, slice_: tuple[datetime, datetime], until: datetime, *,
    kinds: Iterable[str] = (), per_cart: bool = False,
) -> Select[Any]:  # fmt: skip
    """Return who may have been active last within the slice: active in it, and not surely active after it.

    ``latest`` is never before their last activity. Only events after the slice's start are read.
    """
    since, last = slice_
    recent = events(tables, people, since, until, kinds=kinds).cte("recent")
    told = recent.c.occurred_at
    who = [recent.c.customer_id, *([recent.c.cart] if per_cart else [])]
    if not tables.has("product_events", "received_at"):
        return select(*who, func.max(told).label("latest")).group_by(*who).having(func.max(told) <= last)
    received = func.coalesce(recent.c.received_at, told)
    inside = or_(_within(told, since, last), _within(received, since, last))
    later = and_(told > last, received > last, told <= until, received <= until)
    latest = func.max(case((received > told, received), else_=told))
    return (
        select(*who, latest.label("latest"))
        .group_by(*who)
        .having(func.sum(case((inside, 1), else_=0)) > 0, func.sum(case((later, 1), else_=0)) == 0)
    )


def counted(rows: Iterable[Row[Any]], until: datetime) -> list[Seen]:
    """Return one customer's events in order: each once, at its effective time, none after ``until``."""
    found: dict[object, Seen] = {}
    for row in rows:
        at = effective_at(row.occurred_at, row.received_at)
        if at > until or (row.claimed_at is not None and row.claimed_at - at > CLAIMED_PAST):
            continue
        key: object = row.event_id
        if key is None:
            key = (row.kind, row.cart_id, row.sku, row.product_id, row.quantity, row.price, row.currency, at)
        known = found.get(key)
        if known is None or _order(at, row) < _order(known.at, known.row):
            free = row.price is not None and row.price <= 0
            found[key] = Seen(
                at, row.kind, row.sku, row.product_id, row.quantity, None if free else row.price,
                row.currency, row.market, free, row,
            )  # fmt: skip
    kept = list(found.values())
    if len(kept) < 2:
        return kept
    if len({seen.at for seen in kept}) == len(kept):
        return sorted(kept, key=_at)
    return sorted(kept, key=lambda seen: _order(seen.at, seen.row))


_at = attrgetter("at")


def _order(at: datetime, row: Row[Any]) -> tuple[Any, ...]:
    return (
        at, row.event_id or "", _RANK.get(row.kind, 9), row.sku or "", row.product_id or "",
        row.quantity or 0, row.price or 0, row.currency or "",
    )  # fmt: skip


def grouped(rows: Iterable[Row[Any]], *names: str) -> Iterator[tuple[tuple[Any, ...], list[Row[Any]]]]:
    """Yield the rows of a sorted stream group by group; only one group is ever held."""
    read = attrgetter(*names)
    for key, group in groupby(rows, key=read):
        yield key if len(names) > 1 else (key,), list(group)
