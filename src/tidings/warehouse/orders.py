"""What was ordered and what was undone: one line an order, whatever its rows say twice, read as of a moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import CTE, ColumnElement, Select, Subquery, case, func, null, or_, select

from tidings.warehouse.contract import DEAD_ORDERS
from tidings.warehouse.people import MOST_IDS
from tidings.warehouse.tables import Shop

REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class Sale:
    """One order with its money in minor units: ``total`` as placed, ``refunded`` since; ``undone`` when cancelled.

    ``email`` is trimmed and in lower case; None, like ``customer_id``, when the order does not say.
    """

    order_id: str
    customer_id: str | None
    email: str | None
    ordered_at: datetime
    currency: str | None
    total: int
    refunded: int
    undone: bool


def sales(shop: Shop, since: datetime, until: datetime) -> Iterator[Sale]:
    """Stream every order placed from ``since`` up to ``until`` (inclusive), cancelled ones too.

    Of several rows of one order the one updated last counts. Refunds after ``until``, or in another currency
    than the order's, are not looked at. Raises WarehouseError without a table of orders.
    """
    return _sales(shop, since, until)


def sales_of(shop: Shop, ids: Collection[str], since: datetime, until: datetime) -> Iterator[Sale]:
    """Stream the orders under any of these ids or under these customers' e-mail addresses; some may come twice."""
    orders = shop.tables["orders"]
    by_id, by_address = shop.tables.has("orders", "customer_id"), _addressed(shop)
    for some in _portions(ids):
        if by_id:
            yield from _sales(shop, since, until, orders.c.customer_id.in_(some))
        if by_address:
            # A subquery becomes a hash join; thousands of addresses in the statement would be compared one by one.
            customers = shop.tables["customers"]
            theirs = select(_plain(customers.c.email)).where(customers.c.customer_id.in_(some))
            yield from _sales(shop, since, until, _plain(orders.c.email).in_(theirs))


def holders(shop: Shop, order_ids: Iterable[str]) -> dict[str, set[str]]:
    """Return which customers have the (lower-case) e-mail addresses of these orders; several may share one."""
    found: dict[str, set[str]] = defaultdict(set)
    if _addressed(shop):
        customers, orders = shop.tables["customers"], shop.tables["orders"]
        address = _plain(customers.c.email)
        for some in _portions(order_ids):
            given = select(_plain(orders.c.email)).where(orders.c.order_id.in_(some))
            query = select(customers.c.customer_id, address.label("address")).where(address.in_(given))
            for row in shop.stream(query):
                if row.address:
                    found[row.address].add(row.customer_id)
    return dict(found)


def _addressed(shop: Shop) -> bool:
    return shop.tables.has("customers", "email") and shop.tables.has("orders", "email")


def addresses(shop: Shop, ids: Iterable[str]) -> dict[str, set[str]]:
    """Return the e-mail addresses of these customers, in lower case, with who has them."""
    found: dict[str, set[str]] = defaultdict(set)
    if _addressed(shop):
        customers = shop.tables["customers"]
        for some in _portions(ids):
            query = select(customers.c.customer_id, _plain(customers.c.email).label("address"))
            for row in shop.stream(query.where(customers.c.customer_id.in_(some))):
                if row.address:
                    found[row.address].add(row.customer_id)
    return dict(found)


def _sales(shop: Shop, since: datetime, until: datetime, *whose: ColumnElement[bool]) -> Iterator[Sale]:
    placed = _placed(shop, since, until, whose)
    total = placed.c.total
    query: Select[Any] = select(placed)
    if not shop.tables.has("orders", "total") and shop.tables.has("order_items", "amount"):
        lines = _worth(shop, placed)
        query, total = query.outerjoin(lines, lines.c.order_id == placed.c.order_id), lines.c.amount
    refunded: ColumnElement[Any] = null()
    if shop.tables.has("refunds", "amount"):
        back = _given_back(shop, placed, until)
        query, refunded = query.outerjoin(back, back.c.order_id == placed.c.order_id), back.c.amount
    for row in shop.stream(query.add_columns(total.label("worth"), refunded.label("given_back"))):
        back_again = max(0, int(row.given_back or 0))
        yield Sale(
            row.order_id,
            row.customer_id or None,
            row.email or None,
            row.ordered_at,
            row.currency,
            int(row.worth or 0),
            back_again,
            row.status in DEAD_ORDERS or (row.status == REFUNDED and not back_again),
        )


def _placed(shop: Shop, since: datetime, until: datetime, whose: Iterable[ColumnElement[bool]]) -> CTE:
    """Return the orders of the period, one row each: the one that was updated last."""
    o = shop.tables["orders"].c
    newest = (case((o.updated_at.is_(None), 1), else_=0), o.updated_at.desc(), o.ordered_at, o.total, o.status)
    turn = func.row_number().over(partition_by=o.order_id, order_by=newest)
    names = ("order_id", "customer_id", "ordered_at", "total", "currency", "status")
    rows: Subquery = (
        select(*(o[name] for name in names), _plain(o.email).label("email"), turn.label("turn"))
        .where(o.ordered_at >= since, o.ordered_at <= until, *whose)
        .subquery("order_rows")
    )
    kept = select(*(rows.c[name] for name in (*names, "email")))
    return kept.where(rows.c.turn == 1).cte("placed")


def _worth(shop: Shop, placed: CTE) -> Subquery:
    """Return what the lines of each order add up to, for a shop whose orders have no total."""
    items = shop.tables["order_items"].c
    lines = select(items.order_id, func.sum(items.amount).label("amount"))
    return lines.join(placed, placed.c.order_id == items.order_id).group_by(items.order_id).subquery("worth")


def _given_back(shop: Shop, placed: CTE, until: datetime) -> Subquery:
    refunds = shop.tables["refunds"].c
    lines = select(refunds.order_id, func.sum(refunds.amount).label("amount")).join(
        placed, placed.c.order_id == refunds.order_id
    )
    same_money = or_(refunds.currency.is_(None), placed.c.currency.is_(None), refunds.currency == placed.c.currency)
    return lines.where(refunds.refunded_at <= until, same_money).group_by(refunds.order_id).subquery("given_back")


def _plain(email: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.lower(func.trim(email))


def _portions(ids: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(sorted({one for one in ids if one}))
    while some := list(islice(rest, MOST_IDS)):
        yield some
