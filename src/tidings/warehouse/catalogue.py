"""What a product is, costs and still is in stock of, at a moment; and what may honestly be said of its price."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Mapping as Marks
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import Row, case, func, or_, select

from tidings.warehouse.tables import Shop

# Directive 98/6/EC, article 6a: the prior price is the lowest of the 30 days before the reduction.
PRIOR = timedelta(days=30)
# What a price without a kind is.
LIST = "list"
# Many price books end a price with the last second, or minute, before the next one: nothing was off sale meanwhile.
SEAM = timedelta(minutes=1)
_PORTION = 5_000
_WORDS = ("product_id", "name", "url", "image", "category", "brand", "size", "colour", "options")


@dataclass(frozen=True, slots=True)
class Product:
    """One sku at one moment in one market; amounts are in minor units of ``currency``.

    ``price`` is None when the shop gives none, or several currencies and none was asked for. ``previous_price``
    is what it cost just before the current reduction began at ``reduced_at``; ``lowest_30d`` the lowest price of
    the 30 days before that, or None when the history has a gap there: without it no reduction may be announced.
    ``stock`` is the sum over the places that serve the market, None when the shop does not count.
    """

    sku: str
    product_id: str | None = None
    name: str | None = None
    url: str | None = None
    image: str | None = None
    category: str | None = None
    brand: str | None = None
    size: str | None = None
    colour: str | None = None
    options: str | None = None
    active: bool = True
    cost: int | None = None
    price: int | None = None
    currency: str | None = None
    previous_price: int | None = None
    reduced_at: datetime | None = None
    lowest_30d: int | None = None
    stock: int | None = None

    @property
    def option(self) -> str | None:
        """What the customer chose of it, in words: "Blue, M"."""
        return ", ".join(one for one in (self.colour, self.size) if one) or self.options


@dataclass(frozen=True, slots=True)
class Span:
    """One price over one stretch of time, half-open; ``until`` is None while it lasts."""

    amount: int
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class PriceNow:
    """The price at a moment, and the reduction that led to it, if one did."""

    amount: int
    previous: int | None = None
    reduced_at: datetime | None = None
    lowest_30d: int | None = None


def products(
    shop: Shop, skus: Iterable[str], market: str | None, as_of: datetime, *, currency: str | None = None
) -> dict[str, Product]:
    """Return the products by sku as they stood at ``as_of``; a sku that the catalogue does not have is left out.

    ``market`` None is nobody's in particular: several markets' prices are not guessed from. Prices and stock that name
    no market serve every market, a price as long as the market has none of its kind of its own.
    """
    if not shop.tables.has("products"):
        return {}
    found: dict[str, Product] = {}
    for some in _portions(skus):
        known = _described(shop, some)
        costs = _prices(shop, some, market, currency, as_of)
        counts = _counts(shop, some, market, as_of)
        for sku, words in known.items():
            found[sku] = Product(sku, **words, **_priced(costs.get(sku, {})), stock=counts.get(sku))
    return found


def _described(shop: Shop, skus: Sequence[str]) -> dict[str, dict[str, Any]]:
    table = shop.tables["products"]
    given = [name for name in (*_WORDS, "active", "cost") if shop.tables.has("products", name)]
    query = select(table.c.sku, *(table.c[name] for name in given)).where(table.c.sku.in_(skus))
    found = {}
    for row in shop.stream(query):
        values = {name: getattr(row, name) for name in given}
        if values.get("active") is None:
            values["active"] = True
        found[row.sku] = values
    return found


def _priced(costs: Marks[str, PriceNow]) -> dict[str, Any]:
    if len(costs) != 1:
        return {}
    ((currency, now),) = costs.items()
    return {
        "price": now.amount, "currency": currency, "previous_price": now.previous, "reduced_at": now.reduced_at,
        "lowest_30d": now.lowest_30d,
    }  # fmt: skip


def _prices(
    shop: Shop, skus: Sequence[str], market: str | None, currency: str | None, as_of: datetime
) -> dict[str, dict[str, PriceNow]]:
    """Return the price of every sku by currency. Member prices are for members and are left out."""
    if not shop.tables.has("prices"):
        return {}
    table = shop.tables["prices"]
    names = ("sku", "market", "currency", "kind", "amount", "valid_from", "valid_to")
    query = select(*(table.c[name] for name in names)).where(
        table.c.sku.in_(skus),
        table.c.valid_from <= as_of,
        table.c.amount > 0,  # a price of zero is a mistake in the book, and none to be shown
        *_serves(shop, "prices", market),
    )
    if currency is not None:
        query = query.where(table.c.currency == currency)
    lists: dict[tuple[str, str], dict[tuple[str | None, str | None], list[Row[Any]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in shop.stream(query):
        if row.kind != "member":
            lists[row.sku, row.currency][row.market, row.kind].append(row)
    found: dict[str, dict[str, PriceNow]] = defaultdict(dict)
    for (sku, code), by_list in lists.items():
        now = price_now([spans(rows) for rows in _own(by_list, market)], as_of)
        if now is not None:
            found[sku][code] = now
    return found


def _own(by_list: Marks[tuple[str | None, str | None], list[Row[Any]]], market: str | None) -> list[list[Row[Any]]]:
    """Return the price lists of a market: its own, and those of all markets in whose place it has none.

    Of somebody whose market is unknown only what holds in all of them, or in the only one there is.
    """
    markets = {of for of, _ in by_list}
    if market is None and (None in markets or len(markets) > 1):
        return [rows for (of, _), rows in by_list.items() if of is None]
    theirs = {kind or LIST for of, kind in by_list if of is not None}
    return [rows for (of, kind), rows in by_list.items() if of is not None or (kind or LIST) not in theirs]


def _serves(shop: Shop, name: str, market: str | None) -> list[Any]:
    if market is None or not shop.tables.has(name, "market"):
        return []
    asked = shop.tables[name].c.market
    return [or_(asked.is_(None), asked == market)]


def spans(rows: Iterable[Row[Any]]) -> list[Span]:
    """Return one price list of one sku as spans in order; a later line ends the one before it, a ``SEAM`` is no gap."""
    ordered = sorted(rows, key=lambda row: (row.valid_from, row.amount))
    found: list[Span] = []
    for row, following in zip(ordered, [*ordered[1:], None], strict=True):
        until = row.valid_to
        if following is not None and (until is None or following.valid_from <= until + SEAM):
            until = following.valid_from
        if until is None or until > row.valid_from:
            found.append(Span(int(row.amount), row.valid_from, until))
    return found


def price_now(lists: Sequence[Sequence[Span]], as_of: datetime) -> PriceNow | None:
    """Return the lowest price on offer at ``as_of`` over several price lists, and its last reduction.

    The reduction is the last change of the offered price, if that was downwards. Its prior price needs a history
    without a gap over the 30 days before it.
    """
    turns = sorted({at for one in lists for span in one for at in (span.since, span.until) if at and at <= as_of})
    history: list[tuple[datetime, int | None]] = []
    for at in turns:
        offered = _offered(lists, at)
        if not history or history[-1][1] != offered:
            history.append((at, offered))
    if not history or history[-1][1] is None:
        return None
    since, amount = history[-1]
    before = history[-2][1] if len(history) > 1 else None
    if amount is None or before is None or before <= amount:
        return None if amount is None else PriceNow(amount)
    return PriceNow(amount, before, since, _lowest(history[:-1], since))


def _offered(lists: Sequence[Sequence[Span]], at: datetime) -> int | None:
    valid = [
        span.amount for one in lists for span in one if span.since <= at and (span.until is None or at < span.until)
    ]
    return min(valid, default=None)


def _lowest(history: Sequence[tuple[datetime, int | None]], reduced_at: datetime) -> int | None:
    start = reduced_at - PRIOR
    if history[0][0] > start:
        return None
    within = [
        amount
        for (_, amount), ends in zip(history, [*(at for at, _ in history[1:]), reduced_at], strict=True)
        if ends > start
    ]
    return None if None in within else min(amount for amount in within if amount is not None)


def _counts(shop: Shop, skus: Sequence[str], market: str | None, as_of: datetime) -> dict[str, int]:
    """Return the sum, per sku, of the last count of every place that serves the market."""
    if not shop.tables.has("stock"):
        return {}
    table = shop.tables["stock"]
    last = func.row_number().over(
        partition_by=(table.c.sku, table.c.market, table.c.location), order_by=table.c.observed_at.desc()
    )
    counted = (
        select(table.c.sku, table.c.quantity, last.label("nth"))
        .where(table.c.sku.in_(skus), table.c.observed_at <= as_of, *_serves(shop, "stock", market))
        .subquery("counted")
    )
    # A place that owes goods counts as empty, as it does to the triggers.
    there = case((counted.c.quantity < 0, 0), else_=counted.c.quantity)
    query = select(counted.c.sku, func.sum(there).label("stock")).where(counted.c.nth == 1)
    return {row.sku: int(row.stock) for row in shop.stream(query.group_by(counted.c.sku)) if row.stock is not None}


def _portions(skus: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(sorted(set(skus)))
    while some := list(islice(rest, _PORTION)):
        yield some
