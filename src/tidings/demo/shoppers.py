"""How shoppers take a message: what each would do with and without one is fixed by fate, so the true effect is known.

Everybody's own orders are made with the shop and happen whether or not anybody writes. A message adds one order of
those whom it persuades and who would not have bought by themselves within days. Fate is a hash of seed, campaign,
customer and entry: neither the order of events nor the arm changes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tidings.demo.orders import CANCELLED, FAILED
from tidings.demo.shop import DemoShop
from tidings.demo.streams import DAY, HOUR, MINUTE, fate

# Who would have bought within so long anyway is not moved by a message.
_ANYWAY = 5 * DAY


@dataclass(frozen=True, slots=True)
class Effect:
    """What a campaign's message does: the share it persuades of those who would not buy, and the usual pause."""

    persuades: float
    pause: int = 6 * HOUR


EFFECTS: Mapping[str, Effect] = {
    "cart_abandonment": Effect(0.32, 4 * HOUR),
    "browse_abandonment": Effect(0.22, 9 * HOUR),
    "price_drop": Effect(0.38, 6 * HOUR),
    "back_in_stock": Effect(0.40, 5 * HOUR),
    "win_back": Effect(0.24, 12 * HOUR),
}


@dataclass(frozen=True, slots=True)
class Written:
    """A message that left, or that a held-out person would have got; ``first`` of its entry; ``skus`` it is about."""

    message_id: str
    campaign: str
    channel: str
    customer_id: str
    entry_key: str
    at: int
    first: bool
    tracked: bool
    skus: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deed:
    """Something a recipient, or the carrier on the way to them, does with a message."""

    at: int
    message_id: str
    action: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Purchase:
    """An order that a message caused; amounts in minor units of the customer's market."""

    at: int
    number: str
    customer: int
    skus: tuple[int, ...]
    amounts: tuple[int, ...]

    @property
    def total(self) -> int:
        """What it comes to."""
        return sum(self.amounts)


class Shoppers:
    """The recipients of one demo shop. ``hurry`` divides their pauses, for a live shop that somebody watches."""

    def __init__(self, shop: DemoShop, effects: Mapping[str, Effect] = EFFECTS, *, hurry: float = 1.0) -> None:
        self.shop = shop
        self.effects = effects
        self.hurry = hurry
        counted = ~np.isin(shop.orders.status, (CANCELLED, FAILED))
        # One sorted column answers "the next order of this customer after that moment".
        self._own = np.sort((shop.orders.customer[counted] << 34) | shop.orders.at[counted])
        self._sku = {sku: number for number, sku in enumerate(shop.book.goods.sku.tolist())}

    def market(self, customer_id: str) -> int:
        """Return the market the customer buys in."""
        return int(self.shop.people.market[number_of(customer_id)])

    def next_own_order(self, customer_id: str, after: int) -> int | None:
        """Return when the customer next orders by themselves, or None."""
        who = number_of(customer_id)
        place = int(np.searchsorted(self._own, (who << 34) | after, side="right"))
        if place == len(self._own) or int(self._own[place]) >> 34 != who:
            return None
        return int(self._own[place]) & ((1 << 34) - 1)

    def buys_anyway(self, written: Written) -> bool:
        """Return whether the customer orders soon by themselves."""
        own = self.next_own_order(written.customer_id, written.at)
        return own is not None and own <= written.at + _ANYWAY

    def arrives(self, written: Written) -> str:
        """Return what the carrier does: deliver, or block or bounce for an address that is no good."""
        luck = fate(self.shop.seed, "address", written.channel, written.customer_id)
        if luck < (0.008 if written.channel == "email" else 0.012):
            return "bounce"
        return "block" if luck < 0.03 and self._luck(written, "block") < 0.4 else "deliver"

    def persuaded(self, written: Written) -> Purchase | None:
        """Return the order that this message would cause were it sent: the same answer in both arms."""
        effect = self.effects.get(written.campaign)
        if effect is None or not written.first or self.arrives(written) != "deliver" or self.buys_anyway(written):
            return None
        if self._luck(written, "persuaded") >= effect.persuades:
            return None
        pause = effect.pause * math.exp(0.7 * _bell(self._luck(written, "pause"), self._luck(written, "pause 2")))
        at = written.at + int(max(20 * MINUTE, min(pause, 60 * HOUR)) / self.hurry)
        skus = self._basket(written)
        market = np.full(len(skus), self.market(written.customer_id))
        amounts = self.shop.book.at(np.array(skus), market, np.full(len(skus), at))
        number = f"M{int(fate(self.shop.seed, 'number', written.campaign, written.entry_key) * 10**12):012d}"
        return Purchase(at, number, number_of(written.customer_id), skus, tuple(int(amount) for amount in amounts))

    def react(self, sent: Sequence[Written]) -> tuple[list[Deed], list[Purchase]]:
        """Return what follows from messages that left: deeds and orders, each at its moment."""
        deeds: list[Deed] = []
        orders: list[Purchase] = []
        for written in sent:
            order = self.persuaded(written)
            if order is not None:
                orders.append(order)
            deeds.extend(self._deeds(written, order))
        return deeds, orders

    def _deeds(self, written: Written, order: Purchase | None) -> Iterator[Deed]:
        arrival = self.arrives(written)
        yield Deed(written.at + 5 + int(40 * self._luck(written, "minute")), written.message_id, arrival)
        if arrival != "deliver":
            return
        luck = self._luck(written, "mood")
        if written.channel == "email":
            yield from self._machines(written)
            if self._luck(written, "open") < (0.9 if order else 0.35):
                yield Deed(
                    written.at + int((50 + 5 * HOUR * self._luck(written, "opened")) / self.hurry),
                    written.message_id, "open",
                )  # fmt: skip
        own = self.next_own_order(written.customer_id, written.at)
        buys_at = order.at if order else own if own and own <= written.at + _ANYWAY else None
        chance = 0.85 if order else 0.4 if buys_at else 0.05
        if written.tracked and self._luck(written, "click") < chance:
            until = min(buys_at or written.at + DAY, written.at + 3 * DAY)
            after = 60 + (until - written.at - 60) * (0.9 if buys_at else self._luck(written, "hour"))
            yield Deed(written.at + int(max(after, 30) if buys_at else after / self.hurry), written.message_id, "click")
        if order is None:
            yield from self._leaving(written, luck)

    def _machines(self, written: Written) -> Iterator[Deed]:
        """Yield what programs do with an e-mail before anybody has seen it; it must count for nothing."""
        luck = self._luck(written, "machine")
        if luck < 0.03:
            yield Deed(written.at + 4, written.message_id, "scan")
        elif luck < 0.06:
            yield Deed(written.at + 6, written.message_id, "fetch")
        elif luck < 0.2:
            yield Deed(written.at + 20, written.message_id, "machine_open")

    def _leaving(self, written: Written, luck: float) -> Iterator[Deed]:
        """Yield how people say no: by a word, a button, a page or a complaint; and how some come back."""
        at = written.at + int((10 * MINUTE + 6 * HOUR * luck) / self.hurry)
        if written.channel == "sms":
            said = next((word for most, word in _REPLIES if luck < most), None)
            if said is not None:
                yield Deed(at, written.message_id, "reply", said)
            if said == "STOP" and self._luck(written, "back") < 0.2:
                yield Deed(at + int(26 * HOUR / self.hurry), written.message_id, "start")
            return
        done = next((action for most, action in _GOODBYES if luck < most), None)
        if done is not None:
            yield Deed(at, written.message_id, done)

    def _basket(self, written: Written) -> tuple[int, ...]:
        wanted = tuple(self._sku[sku] for sku in written.skus if sku in self._sku)
        if written.campaign == "cart_abandonment":
            return wanted[:3] or self._something(written)
        # Who comes for one thing leaves with two.
        return (*(wanted[:1] or self._something(written)), *self._something(written, " 2"))

    def _something(self, written: Written, which: str = "") -> tuple[int, ...]:
        goods = self.shop.book.goods
        product = int(np.searchsorted(np.cumsum(goods.weight), self._luck(written, "product" + which)))
        product = min(product, len(goods.product) - 1)
        return (int(goods.first_sku[product] + self._luck(written, "sku" + which) * goods.sku_count[product]),)

    def _luck(self, written: Written, about: str) -> float:
        # A step of its own for what happens to one message, the entry alone for what the whole series does.
        of = written.entry_key if about in _ONCE_PER_ENTRY else f"{written.entry_key}|{written.channel}|{written.at}"
        return fate(self.shop.seed, about, written.campaign, written.customer_id, of)


# Up to which luck somebody answers a text so, or takes leave of e-mails so. Two complaints in a thousand would
# rightly stop the marketing.
_REPLIES = ((0.008, "STOP"), (0.011, "stop."), (0.014, "Please stop texting me"), (0.019, "HELP"))
_GOODBYES = ((0.0005, "complain"), (0.006, "unsubscribe"), (0.009, "choose"))
_ONCE_PER_ENTRY = ("persuaded", "pause", "pause 2", "product", "sku", "product 2", "sku 2")


def number_of(customer_id: str) -> int:
    """Return the customer's number from their id."""
    return int(customer_id[1:])


def _bell(one: float, two: float) -> float:
    """Return a normal deviate from two numbers in [0, 1) (Box and Muller)."""
    return math.sqrt(-2 * math.log(1 - one)) * math.cos(2 * math.pi * two)
