"""What the demo's messages truly do, computed from fate and not from what happened: the yardstick of the report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidings.demo.places import CURRENCIES
from tidings.demo.shoppers import Shoppers, Written


@dataclass(frozen=True, slots=True)
class TrueEffect:
    """What a message to everybody would add per exposed person, both arms counted.

    ``revenue`` in minor units of the asked currency; ``persuaded`` is the share that would buy and would not have,
    ``anyway`` the share that buys within days by itself, whatever the currency.
    """

    persons: int
    revenue: float
    persuaded: float
    anyway: float


def true_effect(
    shoppers: Shoppers, exposed: Iterable[Written], *, window: timedelta, until: datetime, currency: str
) -> TrueEffect:
    """Return the true effect over the people of one campaign, treated and held out alike.

    ``exposed`` are the messages that left and those that would have; a person's time starts with the first, and what
    they would order within ``window`` of it, and not after ``until``, counts.
    """
    by_person: dict[str, list[Written]] = defaultdict(list)
    for written in exposed:
        by_person[written.customer_id].append(written)
    market = CURRENCIES.index(currency)
    last = int(until.timestamp())
    revenue = persuaded = anyway = 0
    for customer, letters in by_person.items():
        first = min(letters, key=lambda letter: letter.at)
        end = min(first.at + int(window.total_seconds()), last)
        orders = [order for letter in letters if (order := shoppers.persuaded(letter)) and order.at < end]
        revenue += sum(order.total for order in orders) if shoppers.market(customer) == market else 0
        persuaded += bool(orders)
        anyway += shoppers.buys_anyway(first)
    persons = max(len(by_person), 1)
    return TrueEffect(len(by_person), revenue / persons, persuaded / persons, anyway / persons)
