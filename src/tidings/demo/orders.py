"""A year of orders, what was sent back, and when parcels arrived: the same lines for history and for the frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidings.demo.people import People
from tidings.demo.price_book import PriceBook
from tidings.demo.streams import DAY, HOUR, MINUTE, Flags, Frame, Ints, stream
from tidings.demo.visits import Intents, one_sku, pick

COMPLETED, PLACED, CANCELLED, FAILED = range(4)


@dataclass(frozen=True, slots=True)
class Orders:
    """Orders as columns, oldest first; ``line_*`` are their lines, ``line_order`` the place of the order.
    Amounts are minor units of the customer's market; ``cart`` is -1 without one; ``changed`` is 0 if never."""

    customer: Ints
    at: Ints
    cart: Ints
    total: Ints
    status: Ints
    changed: Ints
    line_order: Ints
    line_sku: Ints
    line_quantity: Ints
    line_amount: Ints


@dataclass(frozen=True, slots=True)
class Refunds:
    """Lines sent back, by the place of the line."""

    line: Ints
    quantity: Ints
    amount: Ints
    at: Ints


def history(people: People, book: PriceBook, frame: Frame, seed: int) -> Intents:
    """Return everybody's last order at their age, and the ones before it."""
    random = stream(seed, "history")
    buyers = np.flatnonzero(people.age >= 0)
    last = frame.now - (people.age[buyers] * DAY).astype(np.int64)
    earlier = random.poisson(0.5, len(buyers)) + (random.random(len(buyers)) < 0.06) * random.integers(
        3, 9, len(buyers)
    )
    gaps = random.lognormal(np.log(48), 0.6, (len(buyers), 12)) * DAY
    when = last[:, None] - np.cumsum(gaps, axis=1).astype(np.int64)
    row, turn = np.nonzero((np.arange(12)[None, :] < earlier[:, None]) & (when > frame.now - 365 * DAY))
    customer = np.concatenate([buyers, buyers[row]])
    at = np.concatenate([last, when[row, turn]])
    return _anything(customer, at, book, random)


def come_back(people: People, book: PriceBook, frame: Frame, share: float, seed: int) -> Intents:
    """Return who of those that lapsed buys by themselves during the frame; ``share`` is per fortnight."""
    random = stream(seed, "come back")
    lapsed = np.flatnonzero(people.age > 60)
    days = (frame.end - frame.start) / DAY
    chosen = lapsed[random.random(len(lapsed)) < share * days / 14]
    at = frame.start + (random.random(len(chosen)) * (frame.end - frame.start)).astype(np.int64)
    return _anything(chosen, at, book, random)


def _anything(customer: Ints, at: Ints, book: PriceBook, random: np.random.Generator) -> Intents:
    sku = one_sku(book.goods, pick(book.goods.weight, len(customer), random), random)
    return Intents(customer, at, sku, np.full(len(customer), -1))


def orders(intents: Intents, people: People, book: PriceBook, until: int, seed: int) -> Orders:
    """Return the orders that these intents become, with further lines, prices as they stood, and what went wrong."""
    random = stream(seed, "orders")
    oldest_first = np.argsort(intents.at, kind="stable")
    customer, at = intents.customer[oldest_first], intents.at[oldest_first]
    count = len(customer)
    lines = random.choice([1, 2, 3], size=count, p=[0.8, 0.15, 0.05])
    line_order = np.repeat(np.arange(count), lines)
    line_sku = one_sku(book.goods, pick(book.goods.weight, len(line_order), random), random)
    first = np.concatenate([[0], np.cumsum(lines)[:-1]]) if count else np.zeros(0, dtype=np.int64)
    line_sku[first] = intents.sku[oldest_first]
    quantity = random.choice([1, 2, 4], size=len(line_order), p=[0.92, 0.07, 0.01])
    amount = book.at(line_sku, people.market[customer[line_order]], at[line_order]) * quantity
    status = random.choice([COMPLETED, CANCELLED, FAILED], size=count, p=[0.955, 0.03, 0.015])
    # What was ordered in the last days is still on its way.
    status[(status == COMPLETED) & (at > until - 3 * DAY)] = PLACED
    changed = np.where(status == CANCELLED, at + random.integers(HOUR, 3 * DAY, count), 0)
    return Orders(
        customer, at, intents.cart[oldest_first],
        np.bincount(line_order, weights=amount, minlength=count).astype(np.int64), status, changed,
        line_order, line_sku, quantity, amount,
    )  # fmt: skip


def refunds(found: Orders, until: int, seed: int) -> Refunds:
    """Return what was sent back until a moment: one line in fourteen of the completed orders."""
    random = stream(seed, "refunds")
    back: Flags = (random.random(len(found.line_sku)) < 0.07) & (found.status[found.line_order] == COMPLETED)
    line = np.flatnonzero(back)
    at = found.at[found.line_order[line]] + random.integers(5 * DAY, 21 * DAY, len(line))
    some = random.random(len(line)) < 0.3
    quantity = np.where(some, 1, found.line_quantity[line])
    amount = found.line_amount[line] // found.line_quantity[line] * quantity
    known = at <= until
    return Refunds(line[known], quantity[known], amount[known], at[known])


def delivered(found: Orders, until: int, seed: int) -> tuple[Ints, Ints]:
    """Return the places of the orders that arrived, and when."""
    random = stream(seed, "deliveries")
    at = found.at + random.integers(26 * HOUR, 6 * DAY, len(found.at)) // MINUTE * MINUTE
    arrived = np.flatnonzero((found.status == COMPLETED) & (at <= until))
    return arrived, at[arrived]
