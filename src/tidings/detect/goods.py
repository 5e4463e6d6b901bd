"""What can be sold: the catalogue and the shelf as they stood at a moment; what nobody tells us is not held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import CTE, ColumnElement, Integer, Select, String, and_, case, false, func, literal, null, or_, select

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


def last_counts(tables: Tables, skus: Select[Any] | Sequence[str], as_of: datetime, *, about: str = "") -> CTE | None:
    """Return ``sku, market, quantity``: the last count of every place at ``as_of``; None when no stock is mapped.

    Two counts of one place at one instant: the lower, so that no goods are promised that are not there. ``about``
    stands before its names where one question counts twice.
    """
    if not tables.has("stock", "sku"):
        return None
    stock = tables["stock"]
    # Aggregated and joined back: warehouses do this much faster than they number rows.
    given = [name for name in ("market", "location") if tables.has("stock", name)]
    places = {name: func.coalesce(stock.c[name], literal("", String)).label(name) for name in given}
    counts = (
        select(stock.c.sku, *places.values(), stock.c.observed_at, stock.c.quantity)
        .where(stock.c.observed_at <= as_of, stock.c.sku.in_(skus))
        .cte(f"{about}counts")
    )
    keys = ["sku", *places]
    newest = (
        select(*(counts.c[key] for key in keys), func.max(counts.c.observed_at).label("observed_at"))
        .group_by(*(counts.c[key] for key in keys))
        .subquery(f"newest_{about}counts")
    )
    same = and_(*(newest.c[key] == counts.c[key] for key in [*keys, "observed_at"]))
    market = counts.c.market if "market" in places else null().cast(String).label("market")
    return (
        select(counts.c.sku, market, func.min(counts.c.quantity).label("quantity"))
        .join_from(counts, newest, same)
        .group_by(*(counts.c[key] for key in keys))
        .cte(f"last_{about}counts")
    )


def stock_at(tables: Tables, skus: Select[Any], as_of: datetime, *, about: str = "") -> CTE | None:
    """Return ``sku, on_hand``: the sum over all places at ``as_of``; None when no stock is mapped."""
    counts = last_counts(tables, skus, as_of, about=about)
    if counts is None:
        return None
    on_hand = func.sum(case((counts.c.quantity > 0, counts.c.quantity), else_=0))
    return select(counts.c.sku, on_hand.label("on_hand")).group_by(counts.c.sku).cte(f"{about}on_hand")


@dataclass(frozen=True, slots=True)
class Goods:
    """The catalogue and the shelf joined to rows that name a sku.

    ``active`` is NULL for a sku that is not in the catalogue, ``on_hand`` for one that was never counted.
    """

    parent: ColumnElement[Any]
    active: ColumnElement[Any]
    on_hand: ColumnElement[Any]

    def columns(self) -> list[ColumnElement[Any]]:
        """Return ``parent, active, on_hand`` for a SELECT."""
        return [self.parent.label("parent"), self.active.label("active"), self.on_hand.label("on_hand")]


def with_goods(
    tables: Tables, rows: Any, sku: ColumnElement[Any], skus: Select[Any] | None, as_of: datetime
) -> tuple[Any, Goods]:
    """Return ``rows`` joined with what is known of each row's sku at ``as_of``; without ``skus`` no shelf is asked."""
    products, shelf = catalogue(tables), stock_at(tables, skus, as_of) if skus is not None else None
    parent: ColumnElement[Any] = null().cast(String)
    active: ColumnElement[Any] = literal(1)
    on_hand: ColumnElement[Any] = null().cast(Integer)
    if products is not None:
        rows = rows.outerjoin(products, products.c.sku == sku)
        parent, active = products.c.product_id, products.c.active
    if shelf is not None:
        rows = rows.outerjoin(shelf, shelf.c.sku == sku)
        on_hand = shelf.c.on_hand
    return rows, Goods(parent, active, on_hand)


def sellable(row: Any) -> bool:
    """Return whether a row's sku is in the catalogue, active, and not known to be sold out."""
    return bool(row.active and (row.on_hand is None or row.on_hand > 0))


def any_sku_of(tables: Tables, views: CTE, as_of: datetime) -> CTE | None:
    """Return ``product_id, sku``: an active variant for each product in ``views`` of which none was chosen.

    Any that is there will do (the first by sku); where none is, or nobody counts, the first of all stands for them.
    """
    if not tables.has("products", "sku", "product_id") or not tables.has("product_events", "product_id"):
        return None
    products = tables["products"]
    bare = select(views.c.product_id).where(views.c.sku.is_(None))
    ours = select(products.c.sku, products.c.product_id).where(products.c.product_id.in_(bare))
    if tables.has("products", "active"):
        ours = ours.where(or_(products.c.active.is_(None), products.c.active != false()))
    variants = ours.cte("variants")
    first: ColumnElement[Any] = func.min(variants.c.sku)
    rows: Any = variants
    shelf = stock_at(tables, select(variants.c.sku), as_of, about="variant_")
    if shelf is not None:
        rows = variants.outerjoin(shelf, shelf.c.sku == variants.c.sku)
        there = or_(shelf.c.on_hand.is_(None), shelf.c.on_hand > 0)
        first = func.coalesce(func.min(case((there, variants.c.sku))), first)
    chosen = select(variants.c.product_id, first.label("sku")).select_from(rows)
    return chosen.group_by(variants.c.product_id).cte("any_sku")
