"""Who bought, when: every live order of a person, whatever id or address they used at the till."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CTE, ColumnElement, DateTime, Subquery, and_, func, null, or_, select, union

from tidings.detect.identity import Identities
from tidings.errors import WarehouseError
from tidings.warehouse.contract import DEAD_ORDERS
from tidings.warehouse.tables import Tables


def is_live(tables: Tables, orders: Any) -> list[ColumnElement[bool]]:
    """Return the conditions under which an order counts: not cancelled, not failed; no status is fine."""
    if not tables.has("orders", "status"):
        return []
    return [or_(orders.c.status.is_(None), orders.c.status.not_in(DEAD_ORDERS))]


def live_orders(
    tables: Tables, people: Identities, since: datetime, until: datetime, *,
    extra: Iterable[str] = (), of: Sequence[str] | None = None,
) -> Subquery:  # fmt: skip
    """Return ``customer_id, order_id, ordered_at`` (and ``extra`` columns) of live orders in ``(since, until]``.

    An order belongs to the customer it names, under their canonical id, and to whoever has its e-mail address:
    a guest's order closes the cart of the account. ``of`` asks about these canonical customers only: then nobody
    else's address is compared with every order's.
    """
    orders = tables["orders"]
    wanted = [orders.c.order_id, orders.c.ordered_at, *(orders.c[name] for name in extra)]
    bounds = [orders.c.ordered_at > since, orders.c.ordered_at <= until, *is_live(tables, orders)]
    named = by_address = None
    if tables.has("orders", "customer_id"):
        joined, owner = people.canonical(orders, orders.c.customer_id, "buyer")
        named = (
            select(owner.label("customer_id"), *wanted)
            .select_from(joined)
            .where(orders.c.customer_id.is_not(None), *bounds, *_theirs(owner, of))
        )
    if tables.has("orders", "email") and tables.has("customers", "email"):
        holders = _holders(tables, people, of)
        guests = orders.join(holders, _address(orders.c.email) == holders.c.address)
        by_address = (
            select(holders.c.customer_id, *wanted).select_from(guests).where(orders.c.email.is_not(None), *bounds)
        )
    if named is not None and by_address is not None:
        return union(named, by_address).subquery("live_orders")
    found = named if named is not None else by_address
    if found is None:
        raise WarehouseError("warehouse.yaml: tables.orders: needs customer_id, or email with customers.email")
    return found.subquery("live_orders")


def _holders(tables: Tables, people: Identities, of: Sequence[str] | None) -> Subquery:
    """Return who has which e-mail address, under their canonical ids; an empty one is nobody's."""
    customers = tables["customers"]
    joined, owner = people.canonical(customers, customers.c.customer_id, "guest")
    held = select(owner.label("customer_id"), _address(customers.c.email).label("address")).select_from(joined)
    return held.where(_address(customers.c.email) != "", *_theirs(owner, of)).subquery("holders")


def _theirs(owner: ColumnElement[Any], of: Sequence[str] | None) -> list[ColumnElement[bool]]:
    return [] if of is None else [owner.in_(of)]


def _address(email: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.lower(func.trim(email))


def last_orders(orders: Subquery) -> CTE:
    """Return the time of every customer's last live order."""
    return (
        select(orders.c.customer_id, func.max(orders.c.ordered_at).label("last_order"))
        .group_by(orders.c.customer_id)
        .cte("last_orders")
    )


def with_purchases(
    tables: Tables, people: Identities, rows: Any, *,
    who: tuple[ColumnElement[Any], ColumnElement[Any]], skus: Any, bounds: tuple[datetime, datetime],
) -> tuple[Any, ColumnElement[Any]]:  # fmt: skip
    """Return ``rows`` joined with when the customer last bought the sku (``who`` = both columns), and that column.

    Without order lines any order counts for any sku; without orders nothing is known.
    """
    customer, sku = who
    if not tables.has("orders", "order_id", "ordered_at"):
        return rows, null().cast(DateTime(timezone=True))
    orders = live_orders(tables, people, *bounds)
    if not tables.has("order_items", "order_id", "sku"):
        last = last_orders(orders)
        return rows.outerjoin(last, last.c.customer_id == customer), last.c.last_order
    items = tables["order_items"]
    bought = (
        select(orders.c.customer_id, items.c.sku, func.max(orders.c.ordered_at).label("bought_at"))
        .join_from(orders, items, items.c.order_id == orders.c.order_id)
        .where(items.c.sku.in_(skus))
        .group_by(orders.c.customer_id, items.c.sku)
        .cte("bought")
    )
    return rows.outerjoin(bought, and_(bought.c.customer_id == customer, bought.c.sku == sku)), bought.c.bought_at
