"""What people do in the shop: visits that look, come back, fill a cart, and sometimes buy without being asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidings.demo.catalogue import Catalogue
from tidings.demo.people import People
from tidings.demo.price_book import PriceBook
from tidings.demo.streams import DAY, HOUR, MINUTE, Flags, Floats, Frame, Ints, stream

VIEWED, ADDED, REMOVED, CHECKOUT = range(4)
_GLANCE, _LOOK, _CART = range(3)
_VISITS_PER_CUSTOMER_AND_DAY = 0.027
_STEPS = 10
# Local hours at which people shop, as weights from midnight on.
_HOURS = np.array([2, 1, 1, 1, 1, 2, 4, 7, 8, 8, 9, 10, 12, 11, 9, 9, 10, 12, 14, 17, 19, 18, 12, 6], dtype=float)


@dataclass(frozen=True, slots=True)
class Events:
    """Product events as columns, in no order. ``cart`` and ``customer`` are -1 where there is none or it is unknown."""

    visit: Ints
    customer: Ints
    cart: Ints
    kind: Ints
    sku: Ints
    at: Ints
    price: Ints


@dataclass(frozen=True, slots=True)
class Intents:
    """What somebody buys without being asked: who, when, what, out of which cart (-1: none)."""

    customer: Ints
    at: Ints
    sku: Ints
    cart: Ints

    @classmethod
    def of(cls, *parts: Intents) -> Intents:
        """Return all of these together."""
        return cls(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ("customer", "at", "sku", "cart"))
        )


@dataclass(frozen=True, slots=True)
class Bases:
    """How many buy without a message within days of what makes them qualify."""

    cart: float = 0.13
    look: float = 0.07
    lapse: float = 0.09
    request: float = 0.22
    sale: float = 0.09


def pick(weights: Floats, count: int, random: np.random.Generator) -> Ints:
    """Return products drawn by weight."""
    found: Ints = np.searchsorted(np.cumsum(weights), random.random(count) * weights.sum()).clip(0, len(weights) - 1)
    return found


def one_sku(goods: Catalogue, product: Ints, random: np.random.Generator) -> Ints:
    """Return one sku of each product."""
    return goods.first_sku[product] + (random.random(len(product)) * goods.sku_count[product]).astype(np.int64)


def _starts(people: People, frame: Frame, random: np.random.Generator, count: int) -> tuple[Ints, Ints]:
    who = pick(people.activity, count, random)
    days = int(np.ceil((frame.end - frame.start) / DAY)) + 1
    hour = np.searchsorted(np.cumsum(_HOURS) / _HOURS.sum(), random.random(count))
    local = random.integers(0, days, count) * DAY + hour * HOUR + random.integers(0, HOUR, count)
    # The clock of the wall: midnight somewhere in the frame's first day, then each in their own zone.
    at = frame.start - frame.start % DAY + local - people.offset[who]
    # A last rush, so that somebody qualifies in every minute in which the live shop is watched.
    rush = min(count // 100, 240)
    at[:rush] = frame.now - 66 * MINUTE + random.integers(0, 30 * MINUTE, rush)
    inside = (at >= frame.start) & (at < frame.end)
    return who[inside], at[inside]


def _shapes(kind: Ints, looks: Ints, carted: Ints) -> tuple[Ints, Ints]:
    """Return, visit by step, what is done (-1: nothing) and with which of the visit's up to four products."""
    step = np.arange(_STEPS)[None, :]
    act = np.full((len(kind), _STEPS), -1)
    which = np.zeros((len(kind), _STEPS), dtype=np.int64)
    glance, look, cart = (kind == k for k in (_GLANCE, _LOOK, _CART))
    act[glance] = np.where(step < looks[glance, None], VIEWED, -1)
    which[glance] = np.minimum(step, 3)
    act[look] = np.where(step < looks[look, None] + 1, VIEWED, -1)
    which[look] = np.where(step == 0, 1, 0)
    act[cart] = np.where(step < 2 * carted[cart, None], np.where(step % 2 == 0, VIEWED, ADDED), -1)
    which[cart] = step // 2 % 4
    return act, which


def visits(people: People, book: PriceBook, frame: Frame, seed: int, bases: Bases) -> tuple[Events, Intents]:
    """Return every event of the frame, and what is bought in or after the visits without any message."""
    random = stream(seed, "visits")
    goods = book.goods
    days = (frame.end - frame.start) / DAY + 1
    who, start = _starts(people, frame, random, int(len(people) * _VISITS_PER_CUSTOMER_AND_DAY * days))
    count = len(who)
    kind = random.choice(3, size=count, p=[0.66, 0.16, 0.18])
    kind[: count // 300] = _CART
    kind[count // 300 : count // 150] = _LOOK
    looks, carted = random.integers(2, 5, count), random.choice([1, 2, 3], size=count, p=[0.6, 0.28, 0.12])
    products = np.stack([pick(goods.weight, count, random) for _ in range(4)], axis=1)
    skus = np.stack([one_sku(goods, products[:, column], random) for column in range(4)], axis=1)
    act, which = _shapes(kind, looks, carted)
    ends = _endings(kind, carted, act, which, random)
    pauses = random.integers(12, 150, act.shape)
    at = start[:, None] + np.cumsum(pauses, axis=1)
    visit, step = np.nonzero(act >= 0)
    sku, when = skus[visit, which[visit, step]], at[visit, step]
    cart_number = np.where(kind == _CART, np.arange(count), -1)
    doing = act[visit, step]
    events = Events(
        visit, who[visit], np.where(doing == VIEWED, -1, cart_number[visit]), doing, sku, when,
        book.at(sku, people.market[who[visit]], when),
    )  # fmt: skip
    last = np.where(act >= 0, at, 0).max(axis=1)
    return events, _bought(who, kind, ends, last, skus, cart_number, random, bases)


def _endings(kind: Ints, carted: Ints, act: Ints, which: Ints, random: np.random.Generator) -> Flags:
    """Let carts end at the checkout, or with a thing taken out again; return which visits buy at once."""
    count = len(kind)
    cart = kind == _CART
    buys: Flags = cart & (random.random(count) < 0.30)
    checks = buys | (cart & (random.random(count) < 0.20))
    empties = cart & ~checks & (random.random(count) < 0.12)
    for flags, doing in ((checks, CHECKOUT), (empties, REMOVED)):
        rows = np.flatnonzero(flags)
        act[rows, 2 * carted[rows]] = doing
        which[rows, 2 * carted[rows]] = 0
    return buys


def _bought(
    who: Ints, kind: Ints, at_once: Flags, last: Ints, skus: Ints, cart: Ints, random: np.random.Generator, bases: Bases
) -> Intents:
    count = len(who)
    chance = np.select([kind == _CART, kind == _LOOK], [bases.cart, bases.look], 0.004)
    later = ~at_once & (random.random(count) < chance)
    pause = (3 * HOUR + random.lognormal(np.log(26 * HOUR), 0.7, count)).clip(max=5 * DAY).astype(np.int64)
    when = np.where(at_once, last + random.integers(60, 9 * MINUTE, count), last + pause)
    buys = at_once | later
    # Three of ten orders carry no cart id: only the customer tells that the cart is closed.
    known = np.where(random.random(count) < 0.7, cart, -1)
    return Intents(who[buys], when[buys], skus[buys, 0], known[buys])
