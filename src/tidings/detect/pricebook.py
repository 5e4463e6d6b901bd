"""The price book a customer of one market sees: public prices only, as steps per market and currency."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Row, or_

from tidings.detect.steps import Price, Steps, public_price
from tidings.warehouse.catalogue import LIST
from tidings.warehouse.tables import Tables

# A member's price is not a public one: to be shown it is no drop.
PUBLIC = (LIST, "promo")
Market = tuple[str | None, str]


def is_public(tables: Tables, prices: FromClause) -> list[ColumnElement[bool]]:
    """Return the conditions under which a price is for everybody; a price without a kind is."""
    if not tables.has("prices", "kind"):
        return []
    return [or_(prices.c.kind.is_(None), prices.c.kind.in_(PUBLIC))]


def book_columns(tables: Tables, prices: FromClause) -> dict[str, ColumnElement[Any]]:
    """Return the price book's columns under the stream's names."""
    optional = {"market": "market", "kind": "kind", "until": "valid_to"}
    given = {name: prices.c[theirs] for name, theirs in optional.items() if tables.has("prices", theirs)}
    return {"sku": prices.c.sku, "currency": prices.c.currency, "amount": prices.c.amount,
            "since": prices.c.valid_from, **given}  # fmt: skip


def price_book(rows: Iterable[Row[Any]], until: datetime) -> dict[Market, Steps]:
    """Return one sku's public price over time, per market and currency.

    A price that names no market holds in every market that has none of its kind of its own.
    """
    found: dict[Market, dict[str, list[Price]]] = {}
    for row in rows:
        price = Price(row.kind or LIST, row.amount, row.since, row.until)
        found.setdefault((row.market, row.currency), {}).setdefault(price.kind, []).append(price)
    book = {}
    for (market, currency), own in found.items():
        kinds = {**found.get((None, currency), {}), **own}
        book[market, currency] = public_price((price for prices in kinds.values() for price in prices), until)
    return book


def market_of(book: Mapping[Market, Steps], market: str | None, currency: str | None) -> Market | None:
    """Return the one price list that applies to a look; None when none does, or nobody can tell which."""
    for markets in ((market,), (None,)) if market is not None else ((None,), tuple({name for name, _ in book})):
        fitting = [key for key in book if key[0] in markets and currency in (None, key[1])]
        if fitting:
            return fitting[0] if len(fitting) == 1 else None
    return None
