"""Products to suggest beside what a customer did: what others bought lately, in stock, never what they have."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, select

from tidings.content.context import ProductFacts
from tidings.jobs.compose import product_facts
from tidings.jobs.opening import Opened
from tidings.model.entry import Entry
from tidings.warehouse import catalogue
from tidings.warehouse.catalogue import Product
from tidings.warehouse.tables import Tables

SHOWN = 3
CONSIDERED = 200
LATELY = timedelta(days=28)


class Suggestions:
    """Suggestions as of one moment for a batch of entries; each market is asked about once.

    An entry without a currency of its own is shown prices in that of the order it stands on.
    """

    def __init__(self, opened: Opened, now: datetime, entries: Sequence[Entry] = ()) -> None:
        self._opened, self._now = opened, now
        self._by_market: dict[tuple[str | None, str | None], list[Product]] = {}
        orders = {entry.facts["order"] for entry in entries if entry.currency is None and "order" in entry.facts}
        self._paid_in = self._currencies(orders)

    def look_up(self, entries: Sequence[Entry]) -> None:
        """Ask about every market of these entries now, so that nothing is asked when they are written about."""
        for entry in entries:
            self._popular(entry.market, self._currency(entry))

    def for_entry(self, entry: Entry) -> tuple[ProductFacts, ...]:
        """Return up to three products of different parents that the entry does not mention; empty when unknown."""
        had = {item.sku for item in entry.items} | {item.product_id for item in entry.items if item.product_id}
        chosen: list[Product] = []
        parents: set[str] = set()
        for product in self._popular(entry.market, self._currency(entry)):
            parent = product.product_id or product.sku
            if product.sku in had or parent in had or parent in parents:
                continue
            parents.add(parent)
            chosen.append(product)
            if len(chosen) == SHOWN:
                break
        return tuple(product_facts(product) for product in chosen)

    def _currency(self, entry: Entry) -> str:
        paid_in = self._paid_in.get(entry.facts.get("order", ""))
        return entry.currency or paid_in or self._opened.settings.brand.currency

    def _currencies(self, orders: Collection[str]) -> dict[str, str]:
        if not orders or not self._opened.shop.tables.has("orders", "currency"):
            return {}
        table = self._opened.shop.tables["orders"]
        query = select(table.c.order_id, table.c.currency).where(table.c.order_id.in_(sorted(orders)))
        return {row.order_id: row.currency for row in self._opened.shop.stream(query) if row.currency}

    def _popular(self, market: str | None, currency: str | None) -> list[Product]:
        tables = self._opened.shop.tables
        needed = tables.has("order_items") and tables.has("orders") and tables.has("products")
        if not needed:
            return []
        key = (market, currency)
        if key not in self._by_market:
            skus = [row.sku for row in self._opened.shop.stream(bought_lately(tables, self._now))]
            known = catalogue.products(self._opened.shop, skus, market, self._now, currency=currency)
            popular = [known[sku] for sku in skus if sku in known]
            self._by_market[key] = [one for one in popular if one.active and one.price and one.stock != 0]
        return self._by_market[key]


def bought_lately(tables: Tables, as_of: datetime) -> Select[Any]:
    """Return the skus bought most in the last four weeks, the most bought first, ties by sku."""
    orders, items = tables["orders"], tables["order_items"]
    bought = func.count().label("bought")
    return (
        select(items.c.sku, bought)
        .join(orders, orders.c.order_id == items.c.order_id)
        .where(orders.c.ordered_at > as_of - LATELY, orders.c.ordered_at <= as_of)
        .group_by(items.c.sku)
        .order_by(bought.desc(), items.c.sku)
        .limit(CONSIDERED)
    )
