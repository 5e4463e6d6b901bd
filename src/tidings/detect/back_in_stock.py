"""Back in stock: a sku somebody asked for, or looked at while it was out, can be bought again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, ClassVar, Literal

from pydantic import Field
from sqlalchemy import CTE, ColumnElement, Row, Select, and_, case, func, or_, select, union_all

from tidings.detect.base import Trigger
from tidings.detect.clock import before, effective_at, stamp
from tidings.detect.goods import with_goods
from tidings.detect.identity import CLAIMED_PAST, Identities, identities, without_internal
from tidings.detect.interest import last_looks
from tidings.detect.lookups import in_chunks, skus_now
from tidings.detect.purchases import with_purchases
from tidings.detect.steps import Count, Restock, Steps, on_hand, restocks
from tidings.detect.streams import COUNTS, HAPPENED, WANTED, by_sku, laid_out, one_stream
from tidings.fields import Duration, PositiveDuration
from tidings.model.entry import Entry, Item, Window
from tidings.model.message import SkipReason
from tidings.warehouse.tables import Shop, Tables


class BackInStock(Trigger):
    """The very sku was out for a while, is back in a number worth telling of, and this customer waits for it."""

    type_name: ClassVar[str] = "back_in_stock"
    requires: ClassVar[Mapping[str, tuple[str, ...]]] = {"stock": ("sku", "quantity", "observed_at")}
    uses: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "stock": ("market", "location"),
        "stock_requests": ("request_id", "customer_id", "sku", "market", "requested_at", "expires_at", "cancelled_at"),
        "product_events": ("customer_id", "kind", "sku", "occurred_at", "market", "received_at"),
        "orders": ("order_id", "customer_id", "email", "status", "ordered_at"),
        "order_items": ("order_id", "sku"),
        "products": ("sku", "active"),
        "identities": ("alias", "customer_id", "kind", "valid_from", "valid_to"),
        "customers": ("email", "is_internal"),
    }
    about_one_sku: ClassVar[bool] = True

    type: Literal["back_in_stock"] = "back_in_stock"
    out_for: Duration = Field(
        timedelta(minutes=60), description="How long the shelf must have been empty; exactly this long counts."
    )
    minimum_quantity: int = Field(1, ge=1, description="How many there must be, in all places that serve the market.")
    settled: Duration = Field(
        timedelta(minutes=10), description="How long they must have been there; exactly this long counts."
    )
    viewers: bool = Field(
        True, description="Whether customers who viewed or carted the sku while it was out count as waiting."
    )
    look_back: PositiveDuration = Field(
        timedelta(days=30), description="How long before the restock such a view may lie."
    )
    request_life: PositiveDuration = Field(
        timedelta(days=90), description="How long a request waits when it names no end of its own."
    )

    hold: PositiveDuration | None = Field(
        timedelta(hours=24),
        description="How long somebody who was told may still come and buy: until then they count against the pieces "
        "that are back, and no more people are told than will probably buy them; null tells everybody at once.",
    )

    @property
    def holds(self) -> timedelta | None:
        """Return how long a person who was told counts against the pieces."""
        return self.hold

    @property
    def wait(self) -> timedelta:
        """Return how long the goods must have been back."""
        return self.settled

    def found(self, tables: Tables, window: Window) -> Select[Any]:
        """Return, sku by sku, the counts of what may be back, then everybody who waits for it."""
        since, last = before(window.start, self.settled), before(window.end, self.settled)
        people = identities(tables, window.end)
        history = before(since, self.request_life)
        back = self._back(tables, (since, last))
        counts = self._counts(tables, back, history, window.end)
        bounds = (history, window.end)
        wants: list[Select[Any]] = []
        if tables.has("stock_requests", "customer_id", "sku", "requested_at"):
            wants.append(self._requests(tables, people, back, bounds))
        if self.viewers and tables.has("product_events", "customer_id", "sku"):
            viewed = (before(since, self.look_back), last)
            looks = last_looks(tables, people, back, viewed, ["viewed", "added"])
            wants.append(select(*laid_out(COUNTS, WANTED, **{c.name: c for c in looks.c if c.name != "price"})))
        if not wants:
            return one_stream(counts)
        return one_stream(counts, self._waiting(tables, people, back, union_all(*wants).cte("wants"), bounds))

    def probe(self, tables: Tables, window: Window) -> Select[Any]:
        """Return a sku that came back in the window."""
        since, last = before(window.start, self.settled), before(window.end, self.settled)
        return select(self._back(tables, (since, last)).c.sku).limit(1)

    def entries(self, shop: Shop, window: Window) -> Iterator[Entry]:
        """Yield one entry per sku and customer, of the latest restock, for the request if there is one."""
        since, last = before(window.start, self.settled), before(window.end, self.settled)
        for sku, counts, waiting in by_sku(shop.stream(self.found(shop.tables, window))):
            found: dict[str | None, list[Restock]] = {}
            for customer, rows in groupby(waiting, key=lambda row: row.customer_id):
                wants = sorted(rows, key=_request_first)
                for want in wants:
                    if want.market not in found:
                        shelf = _shelf(counts, want.market, window.end)
                        found[want.market] = self._restocks(shelf, (since, last), window.end)
                    entry = self._entry(sku, customer, want, found[want.market])
                    if entry is not None:
                        yield entry
                        break

    def untrue(self, shop: Shop, entries: Sequence[Entry], as_of: datetime) -> dict[str, SkipReason]:
        """Return what has sold out again, been bought, or is no longer asked for."""
        found: dict[str, SkipReason] = {}
        for chunk in in_chunks(entries):
            oldest = min(datetime.fromisoformat(entry.facts["wanted_at"]) for entry in chunk)
            now = skus_now(shop, chunk, before(oldest, timedelta(seconds=1)), as_of)
            withdrawn = self._withdrawn(shop, chunk, as_of)
            for entry in chunk:
                wanted_at = datetime.fromisoformat(entry.facts["wanted_at"])
                reason = now.reason(entry, wanted_at, self.minimum_quantity)
                if reason is None and (entry.customer_id, entry.sku, entry.facts.get("request")) in withdrawn:
                    reason = SkipReason.NOT_TRUE
                if reason is not None:
                    found[entry.key] = reason
        return found

    def _back(self, tables: Tables, slice_: tuple[datetime, datetime]) -> CTE:
        """Return the skus counted above zero in the slice, and at or below zero before, however long ago."""
        since, last = slice_
        stock = tables["stock"]
        there = (
            select(stock.c.sku, func.max(stock.c.observed_at).label("started"))
            .where(stock.c.quantity > 0, stock.c.observed_at > since, stock.c.observed_at <= last)
            .group_by(stock.c.sku)
            .cte("there")
        )
        out = (
            select(stock.c.sku)
            .where(stock.c.quantity <= 0, stock.c.observed_at <= last)
            .where(stock.c.sku.in_(select(there.c.sku)))
        )
        return select(there.c.sku, there.c.started).where(there.c.sku.in_(out)).cte("back")

    def _counts(self, tables: Tables, back: CTE, history: datetime, until: datetime) -> Select[Any]:
        """Return every count of these skus since ``history``, and the last one before it of every place."""
        stock = tables["stock"]
        places = {name: stock.c[name] for name in ("market", "location") if tables.has("stock", name)}
        old = case((stock.c.observed_at > history, 0), else_=1)
        there = case((stock.c.quantity > 0, 1), else_=0)
        counts = (
            select(stock.c.sku, *places.values(), stock.c.quantity, stock.c.observed_at)
            .add_columns(old.label("old"), there.label("there"))
            .where(stock.c.observed_at <= until, stock.c.sku.in_(select(back.c.sku)))
            .cte("all_counts")
        )
        given = {name: counts.c[name] for name in places}
        nth = func.row_number().over(
            partition_by=(counts.c.sku, *given.values(), counts.c.old), order_by=counts.c.observed_at.desc()
        )
        previous = func.lag(counts.c.there).over(
            partition_by=(counts.c.sku, *given.values()), order_by=counts.c.observed_at
        )
        ranked = select(*counts.c, nth.label("nth"), previous.label("previous")).cte("ranked_counts")
        told = or_(ranked.c.old == 0, ranked.c.nth == 1)
        if self.minimum_quantity == 1:
            # Then only whether there is any matters: a count that says what the last one said is not fetched.
            told = and_(told, or_(ranked.c.previous.is_(None), ranked.c.previous != ranked.c.there, ranked.c.old == 1))
        return select(
            *laid_out(
                COUNTS, HAPPENED, sku=ranked.c.sku, amount=ranked.c.quantity, since=ranked.c.observed_at,
                **{name: ranked.c[name] for name in places},
            )
        ).where(told)  # fmt: skip

    def _requests(
        self, tables: Tables, people: Identities, back: CTE, bounds: tuple[datetime, datetime]
    ) -> Select[Any]:
        requests = tables["stock_requests"]
        joined, owner = people.canonical(requests, requests.c.customer_id, "asker")
        optional = {"request_id": "request_id", "market": "market", "until": "expires_at"}
        given = {name: requests.c[theirs] for name, theirs in optional.items() if tables.has("stock_requests", theirs)}
        asked = {"sku": requests.c.sku, "customer_id": owner, "since": requests.c.requested_at}
        rows = select(*laid_out(COUNTS, WANTED, **asked, **given)).select_from(joined)
        rows = rows.where(
            requests.c.sku.in_(select(back.c.sku)), requests.c.requested_at > bounds[0],
            requests.c.requested_at <= bounds[1],
        )  # fmt: skip
        if tables.has("stock_requests", "cancelled_at"):
            rows = rows.where(or_(requests.c.cancelled_at.is_(None), requests.c.cancelled_at > bounds[1]))
        return rows

    def _waiting(
        self, tables: Tables, people: Identities, back: CTE, wants: CTE, bounds: tuple[datetime, datetime]
    ) -> Select[Any]:
        """Return those who want something, without those who bought it since or the shop's own people."""
        skus = select(back.c.sku)
        who = (wants.c.customer_id, wants.c.sku)
        rows, bought_at = with_purchases(tables, people, wants, who=who, skus=skus, bounds=bounds)
        rows, goods = with_goods(tables, rows, wants.c.sku, None, bounds[1])
        told: dict[str, ColumnElement[Any]] = {c.name: c for c in wants.c if c.name in COUNTS}
        told |= {"bought_at": bought_at, "active": goods.active}
        query = select(*laid_out(COUNTS, WANTED, **told)).select_from(rows)
        return without_internal(tables, people, query, wants.c.customer_id)

    def _restocks(self, shelf: Steps, slice_: tuple[datetime, datetime], until: datetime) -> list[Restock]:
        """Return the restocks in the slice whose goods have not gone again."""
        left = shelf.at(until)
        if left is None or left < self.minimum_quantity:
            return []
        found = restocks(shelf, out_for=self.out_for, settle=self.settled, minimum=self.minimum_quantity, until=until)
        return [restock for restock in found if slice_[0] < restock.at <= slice_[1]]

    def _entry(self, sku: str, customer: str, want: Row[Any], found: list[Restock]) -> Entry | None:
        asked = want.since is not None
        wanted_at = want.since if asked else effective_at(want.occurred_at, want.received_at)
        if not want.active or (want.bought_at is not None and want.bought_at >= wanted_at):
            return None
        if not asked and want.claimed_at is not None and want.claimed_at - wanted_at > CLAIMED_PAST:
            return None
        ends = want.until or wanted_at + self.request_life
        for restock in reversed(found):  # after a pause the latest: an earlier one may be too old to tell of
            waits = wanted_at < restock.at < ends if asked else self._missed(wanted_at, restock)
            if waits:
                request = f"{want.request_id or ''}" if asked else ""
                facts = {"wanted_at": wanted_at.isoformat(), "back_at": restock.at.isoformat(),
                         "waited": "request" if asked else "view"}  # fmt: skip
                return Entry(
                    key=f"{request or f'{customer}|{sku}'}|{stamp(restock.at)}", customer_id=customer,
                    anchor_at=restock.at, entered_at=restock.at + self.settled, sku=sku,
                    items=(Item(sku, seen_at=wanted_at),), market=want.market,
                    facts={**facts, **({"request": request} if request else {})},
                )  # fmt: skip
        return None

    def _missed(self, seen_at: datetime, restock: Restock) -> bool:
        return restock.out_since <= seen_at < restock.at and before(restock.at, self.look_back) <= seen_at

    def _withdrawn(self, shop: Shop, entries: Sequence[Entry], as_of: datetime) -> set[tuple[str, str, str | None]]:
        """Return the requests (customer, sku, request id) that were taken back by ``as_of``."""
        if not shop.tables.has("stock_requests", "customer_id", "sku", "requested_at", "cancelled_at"):
            return set()
        requests = shop.tables["stock_requests"]
        joined, owner = identities(shop.tables, as_of).canonical(requests, requests.c.customer_id, "asker")
        known = shop.tables.has("stock_requests", "request_id")
        columns = [owner.label("customer_id"), requests.c.sku, *([requests.c.request_id] if known else [])]
        query = select(*columns).select_from(joined).where(
            requests.c.sku.in_(sorted({entry.sku for entry in entries})), requests.c.cancelled_at <= as_of,
            owner.in_(sorted({entry.customer_id for entry in entries})),
        )  # fmt: skip
        rows = shop.stream(query)
        return {(row.customer_id, row.sku, row.request_id if known else None) for row in rows}


def _request_first(want: Row[Any]) -> tuple[Any, ...]:
    if want.since is None:
        return (1, want.occurred_at, "")
    return (0, want.since, want.request_id or "")


def _shelf(counts: list[Row[Any]], market: str | None, until: datetime) -> Steps:
    """Return what lies on the shelves that serve a market; of all markets when it is unknown."""
    serving = [row for row in counts if market is None or row.market in (market, None)]
    return on_hand((Count((row.market or "", row.location or ""), row.amount, row.since) for row in serving), until)
