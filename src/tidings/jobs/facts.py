"""What is true about a batch of due messages right now: a few questions a batch, none per message."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import Connection

from tidings.content.context import ProductFacts
from tidings.definitions import Campaign
from tidings.jobs.curbs import holding
from tidings.jobs.opening import Opened
from tidings.ledger import brakes, erasing
from tidings.ledger import people as ledger_people
from tidings.ledger.dispatching import Due
from tidings.model.entry import Entry
from tidings.model.message import SkipReason
from tidings.model.people import Channel, Consent, Customer
from tidings.plan import erased
from tidings.plan.eligibility import Address, address
from tidings.plan.timing import Hours, OpenHours
from tidings.warehouse import catalogue, freshness, people
from tidings.warehouse.catalogue import Product
from tidings.warehouse.people import PlacedOrder

# How long what a shop says of its products is good for; a message waits about as long between pen and post.
SHELF_LIFE = timedelta(seconds=15)

_Shelved = tuple[str | None, str | None, str]  # market, currency, sku
_Fact = TypeVar("_Fact", Consent, PlacedOrder)


@dataclass(frozen=True, slots=True)
class Open:
    """The zones a customer may be in, the hours open to a message there, and those hours as moments."""

    zones: tuple[str, ...]
    hours: Hours
    moments: OpenHours


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a re-check may ask, by customer, by entry or by sku."""

    now: datetime
    customers: Mapping[str, Customer] = field(default_factory=dict)
    addresses: Mapping[tuple[str, str], Address | SkipReason] = field(default_factory=dict)  # (customer, channel)
    consents: Mapping[str, Sequence[Consent]] = field(default_factory=dict)
    suppressed: Mapping[str, Collection[str]] = field(default_factory=dict)
    orders: Mapping[str, Sequence[PlacedOrder]] = field(default_factory=dict)
    untrue: Mapping[str, SkipReason] = field(default_factory=dict)  # by entry id
    stale: Mapping[str, str] = field(default_factory=dict)  # campaign id -> source
    sources: Mapping[str, datetime | None] = field(default_factory=dict)  # table -> up to when it is loaded
    products: Mapping[tuple[str | None, str | None, str], Product] = field(default_factory=dict)
    brakes: Mapping[str, brakes.Brake] = field(default_factory=dict)
    forgotten: Collection[str] = ()  # customer ids
    # Filled as it is asked for: few places and few steps make up a batch.
    hours: dict[tuple[object, ...], Open] = field(default_factory=dict)
    shown: dict[int, ProductFacts] = field(default_factory=dict)

    def product(self, due: Due, sku: str) -> Product | None:
        """Return a product as this message's market sees it."""
        return self.products.get((due.entry.market, due.entry.currency, sku))


def gather(opened: Opened, due: Sequence[Due], now: datetime) -> Facts:
    """Ask about the people of a batch: one query per table, whatever the batch's size."""
    ids = {one.customer_id for one in due}
    under = people.known_by(opened.shop, ids)
    known = people.customers(opened.shop, ids, known=under)
    addresses = _addresses(opened, due, known)
    subjects = {f"a:{one.hash}" for one in addresses.values() if isinstance(one, Address)}
    subjects |= {f"p:{one}" for person in ids for one in ids_of(person, known)}
    with opened.ledger.reading() as conn:
        suppressed = ledger_people.suppressed(conn, subjects)
        said_to_us = ledger_people.consents_of(conn, {one for person in ids for one in ids_of(person, known)})
        pulled = brakes.pulled(conn)
        held = holding(opened, conn, pulled, now) if pulled else pulled
        forgotten = _forgotten(opened, conn, ids, known)
    since = min(one.entry.anchor_at for one in due)
    return Facts(
        now,
        known,
        addresses,
        _of_person((*people.consents(opened.shop, ids, known=under), *said_to_us), known),
        suppressed,
        _of_person(people.orders_since(opened.shop, ids, since, until=now, known=under), known),
        brakes=held,
        forgotten=forgotten,
    )


def deepened(opened: Opened, facts: Facts, due: Sequence[Due], campaigns: Mapping[str, Campaign]) -> Facts:
    """Add whether the triggers are still true, and their sources fresh, for what passed the cheaper gates."""
    if not due:
        return facts
    stale, sources = _stale(opened, {one.campaign for one in due}, campaigns, facts.now)
    return replace(facts, untrue=_untrue(opened, due, campaigns, facts), stale=stale, sources=sources)


class Shelf:
    """Products and how templates see them, kept for a lane's next batches: words and prices may be seconds old.

    What a person said, bought or may be sent is asked anew for every batch, and never kept here.
    """

    def __init__(self, kept: timedelta = SHELF_LIFE) -> None:
        self._kept = kept.total_seconds()
        self._until = 0.0
        self._asked: set[_Shelved] = set()
        self.products: dict[_Shelved, Product] = {}
        self.shown: dict[int, ProductFacts] = {}

    def missing(self, wanted: Iterable[_Shelved]) -> set[_Shelved]:
        """Return which of these must be asked about; what is too old is thrown away."""
        if time.monotonic() >= self._until:
            # New ones, because messages being written may still look at the old.
            self._asked, self.products, self.shown = set(), {}, {}
            self._until = time.monotonic() + self._kept
        return set(wanted) - self._asked

    def keep(self, asked: Iterable[_Shelved], found: Mapping[_Shelved, Product]) -> None:
        """Put the answer on the shelf; what was asked and not found is known not to be there."""
        self.products.update(found)
        self._asked.update(asked)


def with_products(opened: Opened, facts: Facts, due: Sequence[Due], shelf: Shelf | None = None) -> Facts:
    """Add the products of the messages that are about to be written."""
    if not due or not opened.shop.tables.has("products"):
        return facts
    shelf = shelf or Shelf()
    _stock_up(opened, due, facts.now, shelf)
    return replace(facts, products=shelf.products, shown=shelf.shown)


def owners(known: Mapping[str, Customer]) -> dict[str, str]:
    """Return the canonical id behind every id of these people."""
    return {one: known[asked].id for asked in known for one in ids_of(asked, known)}


def _of_person(facts: Iterable[_Fact], known: Mapping[str, Customer]) -> dict[str, list[_Fact]]:
    """Return the facts of each person under every id that a message of theirs may have been planned for."""
    owner = owners(known)
    gathered: dict[str, list[_Fact]] = defaultdict(list)
    for fact in facts:
        gathered[owner.get(fact.customer_id, fact.customer_id)].append(fact)
    return gathered | {one: gathered[now] for one, now in owner.items() if now in gathered}


def _forgotten(opened: Opened, conn: Connection, ids: Collection[str], known: Mapping[str, Customer]) -> set[str]:
    """Return which of these were forgotten under any of their ids or addresses, also before they had this one."""
    if not erasing.anybody(conn):
        return set()
    pepper, country = opened.secrets.pepper, opened.settings.brand.country
    names = {one: erased.subjects(one, known.get(one), country, pepper) for one in ids}
    gone = erasing.erased(conn, {name for theirs in names.values() for name in theirs})
    return {one for one, theirs in names.items() if not gone.isdisjoint(theirs)}


def ids_of(person: str, known: Mapping[str, Customer]) -> tuple[str, ...]:
    """Return every id of the person behind this one."""
    customer = known.get(person)
    return (person,) if customer is None else (person, customer.id, *customer.aliases)


def _addresses(
    opened: Opened, due: Sequence[Due], known: Mapping[str, Customer]
) -> dict[tuple[str, str], Address | SkipReason]:
    found: dict[tuple[str, str], Address | SkipReason] = {}
    for one in due:
        key = (one.customer_id, one.channel)
        customer = known.get(one.customer_id)
        if key not in found and customer is not None:
            found[key] = address(customer, Channel(one.channel), opened.secrets.pepper)
    return found


def _untrue(
    opened: Opened, due: Sequence[Due], campaigns: Mapping[str, Campaign], facts: Facts
) -> dict[str, SkipReason]:
    """Ask each trigger about its entries, under the id that the warehouse knows the person by now."""
    by_campaign: dict[str, dict[str, Due]] = defaultdict(dict)
    for one in due:
        by_campaign[one.campaign][one.entry.key] = one
    found: dict[str, SkipReason] = {}
    for campaign, asked in by_campaign.items():
        if campaign not in campaigns:
            continue
        entries = [_under(one.entry, facts.customers[one.customer_id].id) for one in asked.values()]
        reasons = campaigns[campaign].detect.untrue(opened.shop, entries, facts.now)
        found.update({asked[key].entry_id: reason for key, reason in reasons.items()})
    return found


def _under(entry: Entry, customer_id: str) -> Entry:
    return entry if entry.customer_id == customer_id else replace(entry, customer_id=customer_id)


def _stale(
    opened: Opened, wanted: Collection[str], campaigns: Mapping[str, Campaign], now: datetime
) -> tuple[dict[str, str], dict[str, datetime | None]]:
    """Return, per campaign, the first of its sources that is too old to trust; and up to when each is loaded."""
    tables = {
        name
        for campaign in wanted
        if campaign in campaigns
        for name in (*campaigns[campaign].detect.requires, *campaigns[campaign].detect.uses)
        if opened.shop.tables.has(name)
    }
    mapping = opened.project.mapping
    marks = freshness.bounded(opened.shop, mapping, sorted(tables), now)
    old = freshness.too_old(mapping, marks, now)
    stale = {
        campaign: name
        for campaign in wanted
        if campaign in campaigns
        for name in (*campaigns[campaign].detect.requires, *campaigns[campaign].detect.uses)
        if name in old
    }
    return stale, marks


def _stock_up(opened: Opened, due: Sequence[Due], now: datetime, shelf: Shelf) -> None:
    """Put what these messages show on the shelf, one question per market and currency."""
    wanted = {(one.entry.market, one.entry.currency, sku) for one in due for sku in _skus(one.entry)}
    by_market: dict[tuple[str | None, str | None], set[str]] = defaultdict(set)
    missing = shelf.missing(wanted)
    for market, currency, sku in missing:
        by_market[market, currency].add(sku)
    found: dict[_Shelved, Product] = {}
    for (market, currency), skus in by_market.items():
        for sku, product in catalogue.products(opened.shop, skus, market, now, currency=currency).items():
            found[market, currency, sku] = product
    shelf.keep(missing, found)


def _skus(entry: Entry) -> Iterator[str]:
    for item in entry.items:
        yield item.sku
    if entry.sku:
        yield entry.sku
