"""What can be sold: the catalogue and the shelf as they stood at a moment; what nobody tells us is not held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import CTE, ColumnElement, Integer, Select, String, case, false, func, literal, null, or_, select

from tidings.warehouse.tables import Tables


def catalogue(tables: Tables) -> CTE | None:
    """Return every sku once: ``sku, product_id, active`` (1 or 0); None when no catalogue is mapped."""
    if not tables.has("products", "sku"):
        return None
    products = tables["products"]
    product_id = func.max(products.c.product_id) if tables.has("products", "product_id") else null().cast(String)
    active: ColumnElement[Any] = literal(1)
    if tables.has("products", "active"):
        active = func.max(case((products.c.active == false(), 0), else_=1))
    return (
        select(products.c.sku, product_id.label("product_id"), active.label("active"))
        .group_by(products.c.sku)
        .cte("catalogue")
    )


def last_counts(tables: Tables, skus: Select[Any] | Sequence[str], as_of: datetime) -> CTE | None:
    """Return ``sku, market, quantity``: the last count of every place at ``as_of``; None when no stock is mapped.

    Two counts of one place at one instant: the lower, so that no goods are promised that are not there.
    """
    if not tables.has("stock", "sku"):
        return None
    stock = tables["stock"]
    places = [stock.c[name] for name in ("market", "location") if tables.has("stock", name)]
    latest = func.row_number().over(
        partition_by=(stock.c.sku, *places), order_by=(stock.c.observed_at.desc(), stock.c.quantity)
    )
    market = stock.c.market if tables.has("stock", "market") else null().cast(String).label("market")
    counts = (
        select(stock.c.sku, market, stock.c.quantity, latest.label("nth"))
        .where(stock.c.observed_at <= as_of, stock.c.sku.in_(skus))
        .cte("counts")
    )
    return select(counts.c.sku, counts.c.market, counts.c.quantity).where(counts.c.nth == 1).cte("last_counts")


def stock_at(tables: Tables, skus: Select[Any], as_of: datetime) -> CTE | None:
    """Return ``sku, on_hand``: the sum over all places at ``as_of``; None when no stock is mapped."""
    counts = last_counts(tables, skus, as_of)
    if counts is None:
        return None
    on_hand = func.sum(case((counts.c.quantity > 0, counts.c.quantity), else_=0))
    return select(counts.c.sku, on_hand.label("on_hand")).group_by(counts.c.sku).cte("on_hand")


@dataclass(frozen=True, slots=True)
class Goods:
    """The catalogue and the shelf joined to rows that name a sku; NULL means known to nobody."""

    known: ColumnElement[Any]
    parent: ColumnElement[Any]
    active: ColumnElement[Any]
    on_hand: ColumnElement[Any]

    def columns(self) -> list[ColumnElement[Any]]:
        """Return ``known, parent, active, on_hand`` for a SELECT."""
        return [
            self.known.label("known"), self.parent.label("parent"), self.active.label("active"),
            self.on_hand.label("on_hand"),
        ]  # fmt: skip


def with_goods(
    tables: Tables, rows: Any, sku: ColumnElement[Any], skus: Select[Any] | None, as_of: datetime
) -> tuple[Any, Goods]:
    """Return ``rows`` joined with what is known of each row's sku at ``as_of``; without ``skus`` no shelf is asked."""
    products, shelf = catalogue(tables), stock_at(tables, skus, as_of) if skus is not None else None
    known: ColumnElement[Any] = literal(1)
    parent: ColumnElement[Any] = null().cast(String)
    active: ColumnElement[Any] = literal(1)
    on_hand: ColumnElement[Any] = null().cast(Integer)
    if products is not None:
        rows = rows.outerjoin(products, products.c.sku == sku)
        known = case((products.c.sku.is_(None), 0), else_=1)
        parent, active = products.c.product_id, products.c.active
    if shelf is not None:
        rows = rows.outerjoin(shelf, shelf.c.sku == sku)
        on_hand = shelf.c.on_hand
    return rows, Goods(known, parent, active, on_hand)


def sellable(row: Any) -> bool:
    """Return whether a row's sku is in the catalogue, active, and not known to be sold out."""
    return bool(row.known and row.active and (row.on_hand is None or row.on_hand > 0))


def any_sku_of(tables: Tables) -> CTE | None:
    """Return one active sku for every parent product, for views of a product without a variant chosen."""
    if not tables.has("products", "sku", "product_id") or not tables.has("product_events", "product_id"):
        return None
    products = tables["products"]
    rows = select(products.c.product_id, func.min(products.c.sku).label("sku")).group_by(products.c.product_id)
    if tables.has("products", "active"):
        rows = rows.where(or_(products.c.active.is_(None), products.c.active != false()))
    return rows.cte("any_sku")
