"""What re-checks ask again, in batches: a bounded number of questions, however many entries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import func, select

from tidings.detect.goods import catalogue, last_counts
from tidings.detect.identity import identities
from tidings.detect.purchases import live_orders
from tidings.model.entry import Entry
from tidings.model.message import SkipReason
from tidings.warehouse.tables import Shop

# Warehouses take lists of this length in one IN; a dispatch batch is rarely longer.
CHUNK = 2000
T = TypeVar("T")


def in_chunks(values: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Yield the values in stretches of at most ``size``."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


@dataclass(frozen=True, slots=True)
class Now:
    """How a batch of entries about skus stands: what is for sale, what lies where, and who has bought what.

    ``active`` and ``counts`` are None when the shop has no catalogue or no stock to ask.
    """

    active: Mapping[str, bool] | None
    counts: Mapping[str, Mapping[str | None, int]] | None
    bought_at: Mapping[tuple[str, str], datetime]

    def on_hand(self, sku: str, market: str | None) -> int | None:
        """Return how many there are for this market (for all of them when it is None); None when never counted."""
        if self.counts is None or sku not in self.counts:
            return None
        return sum(n for place, n in self.counts[sku].items() if market is None or place in (market, None))

    def reason(self, entry: Entry, wanted_at: datetime, least: int = 1) -> SkipReason | None:
        """Return why an entry about one sku is no longer true, the most binding reason first."""
        # An order without lines may have been for anything; it stands under no sku.
        for sku in (entry.sku, ""):
            bought_at = self.bought_at.get((entry.customer_id, sku))
            if bought_at is not None and bought_at >= wanted_at:
                return SkipReason.PURCHASED
        if self.active is not None and not self.active.get(entry.sku):
            return SkipReason.UNKNOWN_PRODUCT
        on_hand = self.on_hand(entry.sku, entry.market)
        return SkipReason.OUT_OF_STOCK if on_hand is not None and on_hand < least else None


def skus_now(shop: Shop, entries: Sequence[Entry], since: datetime, as_of: datetime) -> Now:
    """Ask once each for the catalogue, the shelf and the purchases since, for entries about one sku each."""
    skus = sorted({entry.sku for entry in entries})
    products = catalogue(shop.tables)
    active = None
    if products is not None:
        rows = shop.stream(select(products.c.sku, products.c.active).where(products.c.sku.in_(skus)))
        active = {row.sku: bool(row.active) for row in rows}
    counts: dict[str, dict[str | None, int]] | None = None
    latest = last_counts(shop.tables, skus, as_of)
    if latest is not None:
        counts = {}
        for row in shop.stream(select(latest)):
            places = counts.setdefault(row.sku, {})
            places[row.market or None] = places.get(row.market or None, 0) + max(0, row.quantity)
    return Now(active, counts, _bought(shop, entries, since, as_of))


def _bought(shop: Shop, entries: Sequence[Entry], since: datetime, as_of: datetime) -> dict[tuple[str, str], datetime]:
    tables = shop.tables
    if not tables.has("orders", "order_id", "ordered_at"):
        return {}
    whose = sorted({entry.customer_id for entry in entries})
    orders = live_orders(tables, identities(tables, as_of), since, as_of, of=whose)
    last = func.max(orders.c.ordered_at).label("bought_at")
    if not tables.has("order_items", "order_id", "sku"):
        query = select(orders.c.customer_id, last).group_by(orders.c.customer_id)
        return {(row.customer_id, ""): row.bought_at for row in shop.stream(query)}
    items = tables["order_items"]
    lines = (
        select(orders.c.customer_id, items.c.sku, last)
        .join_from(orders, items, items.c.order_id == orders.c.order_id)
        .where(items.c.sku.in_(sorted({entry.sku for entry in entries})))
        .group_by(orders.c.customer_id, items.c.sku)
    )
    return {(row.customer_id, row.sku): row.bought_at for row in shop.stream(lines)}
