"""Price drop: something a customer wanted has become cheaper than the price they saw, and stays so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any, ClassVar, Literal

from pydantic import Field
from sqlalchemy import CTE, ColumnElement, Row, Select, and_, func, or_, select

from tidings.detect.base import Trigger
from tidings.detect.clock import before, effective_at, stamp
from tidings.detect.goods import sellable, with_goods
from tidings.detect.identity import CLAIMED_PAST, Identities, identities, without_internal
from tidings.detect.interest import last_looks
from tidings.detect.lookups import in_chunks, skus_now
from tidings.detect.pricebook import Market, book_columns, is_public, market_of, price_book
from tidings.detect.purchases import with_purchases
from tidings.detect.steps import Steps
from tidings.detect.streams import HAPPENED, PRICES, WANTED, by_sku, laid_out, one_stream
from tidings.fields import Amounts, Duration, PositiveDuration, Share
from tidings.model.entry import Entry, Item, Window
from tidings.model.message import SkipReason
from tidings.warehouse.tables import Shop, Tables


@dataclass(frozen=True, slots=True)
class Drop:
    """A price that fell at ``at`` to ``price``; ``flapped_until`` is when an equal price last ended, if lately."""

    at: datetime
    price: int
    flapped_until: datetime | None


class PriceDrop(Trigger):
    """The public price of a sku fell below what this customer saw, by enough, and has not gone back."""

    type_name: ClassVar[str] = "price_drop"
    requires: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "product_events": ("customer_id", "kind", "sku", "occurred_at"),
        "prices": ("sku", "currency", "amount", "valid_from"),
    }
    uses: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "product_events": ("price", "currency", "market", "received_at"),
        "prices": ("market", "kind", "valid_to"),
        "wishlist": ("customer_id", "sku", "price", "currency", "added_at", "removed_at"),
        "orders": ("order_id", "customer_id", "email", "status", "ordered_at"),
        "order_items": ("order_id", "sku"),
        "products": ("sku", "active"),
        "stock": ("sku", "quantity", "observed_at"),
        "identities": ("alias", "customer_id", "kind", "valid_from", "valid_to"),
        "customers": ("email", "is_internal"),
    }
    about_one_sku: ClassVar[bool] = True

    type: Literal["price_drop"] = "price_drop"
    look_back: PositiveDuration = Field(
        timedelta(days=30), description="How long before the drop the customer may have shown interest."
    )
    interest: tuple[Literal["viewed", "added", "wished"], ...] = Field(
        ("viewed", "added", "wished"), min_length=1, description="What counts as interest."
    )
    minimum_percent: Share = Field(Fraction(1, 10), description="The least fall, as a share of the price they saw.")
    minimum_amount: Amounts = Field(
        default_factory=dict, description="The least fall per currency; none: the share alone decides."
    )
    persists: Duration = Field(
        timedelta(minutes=60), description="How long the lower price must have stood; exactly this long counts."
    )
    at_most: Share = Field(
        Fraction(8, 10), description="A greater fall than this is taken for a mistake in the price book."
    )
    rearm: Duration = Field(
        timedelta(days=7), description="A price this low within so long before is the same drop, not a new one."
    )

    @property
    def wait(self) -> timedelta:
        """Return how long a lower price must have stood."""
        return self.persists

    def found(self, tables: Tables, window: Window) -> Select[Any]:
        """Return, sku by sku, the price book of what fell, then everybody's last look at it before."""
        since, last = before(window.start, self.persists), before(window.end, self.persists)
        people = identities(tables, window.end)
        fallen = self._fallen(tables, since, last)
        prices = tables["prices"]
        book = select(*laid_out(PRICES, HAPPENED, **book_columns(tables, prices))).where(
            prices.c.sku.in_(select(fallen.c.sku)), prices.c.valid_from <= window.end, *is_public(tables, prices)
        )
        return one_stream(book, self._interested(tables, people, fallen, (since, window.end)))

    def probe(self, tables: Tables, window: Window) -> Select[Any]:
        """Return a sku whose price fell in the window."""
        fallen = self._fallen(tables, before(window.start, self.persists), before(window.end, self.persists))
        return select(fallen.c.sku).limit(1)

    def entries(self, shop: Shop, window: Window) -> Iterator[Entry]:
        """Yield one entry per customer, sku and drop."""
        since, last = before(window.start, self.persists), before(window.end, self.persists)
        for sku, book_rows, looks in by_sku(shop.stream(self.found(shop.tables, window))):
            book = price_book(book_rows, window.end)
            drops = {key: self._drops(steps, (since, last), window.end) for key, steps in book.items()}
            if not any(drops.values()):
                continue
            for look in looks:
                key = market_of(book, look.market, look.currency)
                if key is not None and sellable(look):
                    yield from self._entries(sku, look, key, drops[key], book[key], window.end)

    def untrue(self, shop: Shop, entries: Sequence[Entry], as_of: datetime) -> dict[str, SkipReason]:
        """Return what has been bought, sold out or gone back up since."""
        found: dict[str, SkipReason] = {}
        for chunk in in_chunks(entries):
            now = skus_now(shop, chunk, min(entry.anchor_at for entry in chunk) - self.look_back, as_of)
            prices = shop.tables["prices"]
            rows = select(*laid_out(PRICES, HAPPENED, **book_columns(shop.tables, prices))).where(
                prices.c.sku.in_(sorted({entry.sku for entry in chunk})), prices.c.valid_from <= as_of,
                *is_public(shop.tables, prices),
            )  # fmt: skip
            books: dict[str, list[Row[Any]]] = {}
            for row in shop.stream(rows):
                books.setdefault(row.sku, []).append(row)
            for entry in chunk:
                seen_at = datetime.fromisoformat(entry.facts["seen_at"])
                reason = self._gone(entry, books.get(entry.sku, []), as_of) or now.reason(entry, seen_at)
                if reason is not None:
                    found[entry.key] = reason
        return found

    def _gone(self, entry: Entry, rows: list[Row[Any]], as_of: datetime) -> SkipReason | None:
        if self.minimum_amount and entry.currency not in self.minimum_amount:
            return SkipReason.NO_CURRENCY
        steps = price_book(rows, as_of).get((entry.facts.get("market"), entry.currency or ""))
        price = steps.at(as_of) if steps is not None else None
        seen = int(entry.facts["seen_price"])
        still = price is not None and self._enough(seen, price, entry.currency or "")
        return None if still else SkipReason.PRICE_RETURNED

    def _fallen(self, tables: Tables, since: datetime, last: datetime) -> CTE:
        """Return the skus that got a price in the slice while another, higher one was in force just before."""
        new, old = tables["prices"].alias("new_prices"), tables["prices"].alias("old_prices")
        same = [new.c.sku == old.c.sku, new.c.currency == old.c.currency, *is_public(tables, old)]
        same.append(old.c.valid_from < new.c.valid_from)
        if tables.has("prices", "valid_to"):
            same.append(or_(old.c.valid_to.is_(None), old.c.valid_to >= since))
        return (
            select(new.c.sku, func.max(new.c.valid_from).label("started"))
            .join_from(new, old, and_(*same))
            .where(new.c.valid_from > since, new.c.valid_from <= last, *is_public(tables, new))
            .where(new.c.amount > 0, new.c.amount < old.c.amount)
            .group_by(new.c.sku)
            .cte("fallen")
        )

    def _interested(
        self, tables: Tables, people: Identities, fallen: CTE, bounds: tuple[datetime, datetime]
    ) -> Select[Any]:
        since, until = before(bounds[0], self.look_back), bounds[1]
        kinds = [kind for kind in self.interest if kind != "wished"]
        looks = last_looks(tables, people, fallen, (since, until), kinds, wishes="wished" in self.interest)
        rows, bought_at = with_purchases(
            tables, people, looks, who=(looks.c.customer_id, looks.c.sku), skus=select(fallen.c.sku),
            bounds=(since, until),
        )  # fmt: skip
        rows, goods = with_goods(tables, rows, looks.c.sku, select(fallen.c.sku), until)
        look: dict[str, ColumnElement[Any]] = {c.name: c for c in looks.c if c.name != "price"}
        look |= {"amount": looks.c.price, "active": goods.active, "on_hand": goods.on_hand, "bought_at": bought_at}
        query = select(*laid_out(PRICES, WANTED, **look)).select_from(rows)
        query = query.where(or_(bought_at.is_(None), bought_at < looks.c.occurred_at))
        return without_internal(tables, people, query, looks.c.customer_id)

    def _drops(self, steps: Steps, slice_: tuple[datetime, datetime], until: datetime) -> list[Drop]:
        """Return the falls in the slice that have stood ever since; a first price is not a fall."""
        found = []
        earlier: int | None = None
        for at, price in steps:
            fell = price is not None and earlier is not None and price < earlier
            if fell and price is not None and slice_[0] < at <= slice_[1]:
                held = steps.between(at, until)
                if all(value is not None and value <= price for value in held):
                    found.append(Drop(at, price, self._flapped_until(steps, at, price)))
            earlier = price
        return found

    def _flapped_until(self, steps: Steps, at: datetime, price: int) -> datetime | None:
        """Return when a price no higher than this one last ended before ``at``, if it stood and ended lately."""
        low_since: datetime | None = None
        ended: datetime | None = None
        for time, value in steps:
            if time >= at:
                break
            low = value is not None and value <= price
            if low and low_since is None:
                low_since = time
            if not low and low_since is not None:
                ended = time if time - low_since >= self.persists else ended
                low_since = None
        return ended if ended is not None and at - ended < self.rearm else None

    def _enough(self, seen: int, price: int, currency: str) -> bool:
        least = max(Fraction(self.minimum_amount.get(currency, 0)), self.minimum_percent * seen)
        fall = seen - price
        return fall > 0 and least <= fall <= self.at_most * seen

    def _entries(
        self, sku: str, look: Row[Any], key: Market, drops: list[Drop], steps: Steps, until: datetime
    ) -> Iterator[Entry]:
        seen_at = effective_at(look.occurred_at, look.received_at)
        if look.claimed_at is not None and look.claimed_at - seen_at > CLAIMED_PAST:
            return
        if look.bought_at is not None and look.bought_at >= seen_at:
            return
        seen = look.amount if look.amount is not None and look.amount > 0 else steps.at(seen_at)
        now = steps.at(until)
        for drop in drops:
            if seen is None or now is None or not before(drop.at, self.look_back) <= seen_at < drop.at:
                continue
            if drop.flapped_until is not None and seen_at < drop.flapped_until:
                continue
            if self._enough(seen, drop.price, key[1]) and self._enough(seen, now, key[1]):
                yield self._entry(sku, look.customer_id, key, drop, (seen_at, seen, now))

    def _entry(self, sku: str, customer: str, key: Market, drop: Drop, seen: tuple[datetime, int, int]) -> Entry:
        seen_at, seen_price, now = seen
        market, currency = key
        facts = {"seen_price": str(seen_price), "price_now": str(now), "saving": str(seen_price - now),
                 "seen_at": seen_at.isoformat(), "dropped_at": drop.at.isoformat()}  # fmt: skip
        return Entry(
            key=f"{customer}|{sku}|{stamp(drop.at)}", customer_id=customer, anchor_at=drop.at,
            entered_at=drop.at + self.persists, sku=sku, items=(Item(sku, None, 1, now, currency, seen_at),),
            value=now, currency=currency, market=market, facts={**facts, **({"market": market} if market else {})},
        )  # fmt: skip
