"""The demo shop: a year of trade and 28 days of traces, the same for the same seed and moment, as Parquet files."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from tidings.demo import orders as trade
from tidings.demo import shelves, tables, traces
from tidings.demo.catalogue import catalogue
from tidings.demo.files import Loader
from tidings.demo.orders import Orders
from tidings.demo.people import People, people
from tidings.demo.price_book import PriceBook, price_book
from tidings.demo.streams import Frame
from tidings.demo.visits import Bases, Events, Intents, visits

WAREHOUSE = "warehouse"
PENDING = "pending"


@dataclass(frozen=True, slots=True)
class DemoShop:
    """The shop as its maker knows it: everybody, every price, and every order placed without any message."""

    seed: int
    frame: Frame
    people: People
    book: PriceBook
    orders: Orders
    warehouse: Path


@dataclass(frozen=True, slots=True)
class Plan:
    """What shop to make: its chance, its size, how many buy unasked, and the address of its pages."""

    seed: int = 7
    customers: int = 20_000
    bases: Bases = field(default_factory=Bases)
    front: str = "http://127.0.0.1:8096"


@dataclass(frozen=True, slots=True)
class Imagined:
    """A shop with all that its tables will say."""

    shop: DemoShop
    events: Events
    out: shelves.Outages
    asked: shelves.Wishes


def imagine(folder: Path, *, now: datetime, plan: Plan) -> Imagined:
    """Return the shop, the same for the same plan and moment, without writing anything."""
    seed, bases = plan.seed, plan.bases
    frame = Frame.until(now)
    who = people(frame, seed, plan.customers)
    book = price_book(catalogue(seed), frame, seed)
    out = shelves.outages(book, frame, seed)
    asked = shelves.requests(who, out, frame, seed)
    events, at_visits = visits(who, book, frame, seed, bases)
    gazes = shelves.looks_while_out(who, out, frame, book, seed, int(events.visit.max()) + 1)
    intents = Intents.of(
        at_visits,
        shelves.bought_after(asked, out, bases.request, seed),
        shelves.bought_on_sale(events, book, bases.sale, seed),
        trade.history(who, book, frame, seed),
        trade.come_back(who, book, frame, bases.lapse, seed),
    )
    sold = trade.orders(_until(intents, frame.end), who, book, frame.now, seed)
    shop = DemoShop(seed, frame, who, book, sold, folder / WAREHOUSE)
    return Imagined(shop, _together(events, gazes, frame.end), out, asked)


def create(folder: Path, *, now: datetime, plan: Plan | None = None) -> DemoShop:
    """Write the shop's tables below ``folder`` and return the shop. The frame ends at ``now`` (aware)."""
    plan = plan or Plan()
    seed, made = plan.seed, imagine(folder, now=now, plan=plan)
    shop, who, book, frame = made.shop, made.shop.people, made.shop.book, made.shop.frame
    loader = Loader(shop.warehouse, folder / PENDING, frame)
    try:
        tables.lookups(loader, who, book)
        tables.load_people(loader, who)
        tables.load_goods(loader, book, plan.front)
        tables.load_shelves(
            loader, who, shelves.counts(book, made.out, frame, seed), made.asked,
            shelves.wishlist(who, book, frame, seed),
        )  # fmt: skip
        sold = shop.orders
        back, arrived = trade.refunds(sold, frame.end, seed), trade.delivered(sold, frame.end, seed)
        tables.load_sales(loader, sold, back, arrived, frame)
        traces.load_events(loader, made.events, seed)
        traces.load_identities(loader, who, seed)
        traces.load_permissions(loader, who, made.asked, frame, seed)
        traces.load_club(loader, who, frame, seed)
        traces.load_log(loader, frame)
    finally:
        loader.close()
    return shop


def _until(intents: Intents, end: int) -> Intents:
    kept = intents.at < end
    return Intents(intents.customer[kept], intents.at[kept], intents.sku[kept], intents.cart[kept])


def _together(events: Events, more: Events, end: int) -> Events:
    names = ("visit", "customer", "cart", "kind", "sku", "at", "price")
    both = [np.concatenate([getattr(events, name), getattr(more, name)]) for name in names]
    kept = both[5] < end
    return Events(*(column[kept] for column in both))
