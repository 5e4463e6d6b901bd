"""Who wanted which sku: the last time each customer looked at it, put it in a cart or on a wish list."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CTE, BigInteger, DateTime, Select, String, func, null, or_, select, union_all

from tidings.detect.events import events
from tidings.detect.identity import Identities
from tidings.warehouse.tables import Tables


def last_looks(
    tables: Tables, people: Identities, skus: CTE, bounds: tuple[datetime, datetime], kinds: Sequence[str],
    *, wishes: bool = False,
) -> CTE:  # fmt: skip
    """Return each customer's last look at each of ``skus`` (``sku, started``) before it ``started``.

    One row per customer and sku: ``occurred_at, received_at, claimed_at, price, currency, market``.
    """
    since, until = bounds
    # No kind asked for is no event; to ``events`` it would be every kind.
    looks = events(tables, people, since, until, kinds=kinds or ["nothing"]).subquery("looks")
    names = ("customer_id", "sku", "occurred_at", "received_at", "claimed_at", "price", "currency", "market")
    found: list[Select[Any]] = [
        select(*(looks.c[name] for name in names))
        .join_from(looks, skus, skus.c.sku == looks.c.sku)
        .where(looks.c.occurred_at < skus.c.started)
    ]
    if wishes and tables.has("wishlist", "customer_id", "sku", "added_at"):
        found.append(_wishes(tables, people, skus, since, until))
    wanted = union_all(*found).subquery("wanted")
    order = (
        wanted.c.occurred_at.desc(), func.coalesce(wanted.c.price, -1).desc(),
        func.coalesce(wanted.c.currency, ""), func.coalesce(wanted.c.market, ""),
    )  # fmt: skip
    nth = func.row_number().over(partition_by=(wanted.c.customer_id, wanted.c.sku), order_by=order)
    ranked = select(*wanted.c, nth.label("nth")).subquery("ranked_looks")
    return select(*(ranked.c[name] for name in names)).where(ranked.c.nth == 1).cte("last_looks")


def _wishes(tables: Tables, people: Identities, skus: CTE, since: datetime, until: datetime) -> Select[Any]:
    wishlist = tables["wishlist"]

    def given(name: str, kind: Any) -> Any:
        return wishlist.c[name] if tables.has("wishlist", name) else null().cast(kind).label(name)

    joined, owner = people.canonical(wishlist, wishlist.c.customer_id, "wisher")
    wishes = (
        select(
            owner.label("customer_id"), wishlist.c.sku, wishlist.c.added_at.label("occurred_at"),
            wishlist.c.added_at.label("received_at"), null().cast(DateTime(timezone=True)).label("claimed_at"),
            given("price", BigInteger), given("currency", String), given("market", String),
        )
        .select_from(joined.join(skus, skus.c.sku == wishlist.c.sku))
        .where(wishlist.c.added_at > since, wishlist.c.added_at < skus.c.started)
    )  # fmt: skip
    if tables.has("wishlist", "removed_at"):
        wishes = wishes.where(or_(wishlist.c.removed_at.is_(None), wishlist.c.removed_at > until))
    return wishes
