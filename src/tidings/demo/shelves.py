"""What stands on the shelves: counts of stock with outages, who asked to be told, and what people wish for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidings.demo.people import People
from tidings.demo.price_book import PriceBook
from tidings.demo.streams import DAY, HOUR, MINUTE, Floats, Frame, Ints, stream
from tidings.demo.visits import Events, Intents, one_sku, pick

_OUTAGES = 54
_ASKING_PER_OUTAGE = 12


@dataclass(frozen=True, slots=True)
class Outages:
    """A sku is out from ``start`` until ``end``, when ``refill`` pieces arrive; one outage at a time for a sku."""

    sku: Ints
    start: Ints
    end: Ints
    refill: Ints


@dataclass(frozen=True, slots=True)
class Wishes:
    """Who wants which sku since when."""

    customer: Ints
    sku: Ints
    at: Ints


def outages(book: PriceBook, frame: Frame, seed: int) -> Outages:
    """Return the outages: popular things first, their restocks spread over the frame, a few just before its end."""
    random = stream(seed, "outages")
    goods = book.goods
    ranking = np.argsort(-goods.weight[goods.sku_product] * random.gamma(2, size=len(goods.sku)))
    sku = ranking[:_OUTAGES]
    span = frame.end - frame.start
    end = (
        frame.start + DAY + ((np.arange(_OUTAGES) + random.random(_OUTAGES)) / _OUTAGES * (span - DAY)).astype(np.int64)
    )
    fresh = min(8, _OUTAGES)
    end[:fresh] = frame.now - 14 * MINUTE + np.arange(fresh) * 2 * MINUTE
    start = end - (random.lognormal(np.log(4 * DAY), 0.5, _OUTAGES)).clip(2 * HOUR, 10 * DAY).astype(np.int64)
    refill = np.where(
        random.random(_OUTAGES) < 0.06, random.integers(1, 6, _OUTAGES), random.integers(60, 300, _OUTAGES)
    )
    return Outages(sku[random.permutation(_OUTAGES)], start, end, refill)


def counts(book: PriceBook, out: Outages, frame: Frame, seed: int) -> tuple[Ints, Ints, Ints]:
    """Return sku, moment and quantity of every count: one every third morning, and at each outage and restock."""
    random = stream(seed, "counts")
    skus = len(book.goods.sku)
    mornings = np.arange(frame.start - 3 * DAY, frame.end, 3 * DAY)
    sku, at = (axis.ravel() for axis in np.meshgrid(np.arange(skus), mornings, indexing="ij"))
    quantity = random.integers(8, 240, len(sku))
    start, end = np.full(skus, -1), np.full(skus, -1)
    start[out.sku], end[out.sku] = out.start, out.end
    quantity[(start[sku] <= at) & (at < end[sku])] = 0
    return (
        np.concatenate([sku, out.sku, out.sku]),
        np.concatenate([at, out.start, out.end]),
        np.concatenate([quantity, 0 * out.sku, out.refill]),
    )


def requests(people: People, out: Outages, frame: Frame, seed: int) -> Wishes:
    """Return who asked to be told, while the sku was out."""
    random = stream(seed, "requests")
    number = random.poisson(_ASKING_PER_OUTAGE, len(out.sku))
    which = np.repeat(np.arange(len(out.sku)), number)
    customer = pick(people.activity + 0.2, len(which), random)
    at = out.start[which] + ((out.end - out.start)[which] * random.random(len(which))).astype(np.int64)
    # Nobody asks twice for the same thing.
    _, first = np.unique(customer * 100_000 + out.sku[which], return_index=True)
    inside = first[at[first] < frame.end]
    return Wishes(customer[inside], out.sku[which][inside], at[inside])


def bought_after(asked: Wishes, out: Outages, share: float, seed: int) -> Intents:
    """Return what people who asked buy by themselves once it is back."""
    random = stream(seed, "bought after a restock")
    end = np.zeros(int(out.sku.max()) + 1, dtype=np.int64)
    end[out.sku] = out.end
    buys = np.flatnonzero(random.random(len(asked.customer)) < share)
    pause = (2 * HOUR + random.lognormal(np.log(30 * HOUR), 0.6, len(buys))).clip(max=5 * DAY).astype(np.int64)
    sku = asked.sku[buys]
    return Intents(asked.customer[buys], end[sku] + pause, sku, np.full(len(buys), -1))


def bought_on_sale(events: Events, book: PriceBook, share: float, seed: int) -> Intents:
    """Return what people who had looked at a product buy by themselves when it is reduced."""
    random = stream(seed, "bought on sale")
    product = book.goods.sku_product[events.sku]
    _, first = np.unique(events.customer * 100_000 + product, return_index=True)
    starts = book.starts[product[first]]
    # The next reduction after the look, within the month in which it is remembered.
    waiting = np.where((starts > events.at[first, None]) & (starts < events.at[first, None] + 28 * DAY), starts, 0)
    begins = waiting.max(axis=1)
    buys = (begins > 0) & (random.random(len(first)) < share)
    pause = (2 * HOUR + random.lognormal(np.log(34 * HOUR), 0.6, int(buys.sum()))).clip(max=6 * DAY).astype(np.int64)
    chosen = first[buys]
    return Intents(events.customer[chosen], begins[buys] + pause, events.sku[chosen], np.full(len(chosen), -1))


def wishlist(people: People, book: PriceBook, frame: Frame, seed: int) -> tuple[Wishes, Ints]:
    """Return what people wish for and the price they saw then."""
    random = stream(seed, "wishlist")
    count = int(len(people) * 0.45)
    customer = pick(people.activity + 0.1, count, random)
    sku = one_sku(book.goods, pick(book.goods.weight, count, random), random)
    at = frame.now - (random.random(count) ** 1.5 * 75 * DAY).astype(np.int64)
    _, first = np.unique(customer * 100_000 + sku, return_index=True)
    wishes = Wishes(customer[first], sku[first], at[first])
    return wishes, book.at(wishes.sku, people.market[wishes.customer], wishes.at)


def looks_while_out(people: People, out: Outages, frame: Frame, book: PriceBook, seed: int, visit: int) -> Events:
    """Return views of things that are out, by people who then do not ask; visits are numbered from ``visit`` on."""
    random = stream(seed, "looks while out")
    which = np.repeat(np.arange(len(out.sku)), random.poisson(_ASKING_PER_OUTAGE / 2, len(out.sku)))
    customer = pick(people.activity, len(which), random)
    share: Floats = random.random(len(which))
    at = out.start[which] + ((out.end - out.start)[which] * share).astype(np.int64)
    inside = (at >= frame.start) & (at < frame.end)
    which, customer, at = which[inside], customer[inside], at[inside]
    sku, none = out.sku[which], np.full(len(which), -1)
    price = book.at(sku, people.market[customer], at)
    return Events(visit + np.arange(len(which)), customer, none, 0 * none, sku, at, price)
