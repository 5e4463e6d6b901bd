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
    """The difference that messages make per exposed person of one currency, money in minor units.

    ``revenue`` is what a message to everybody would add per person, counting both arms; ``persuaded`` the share it
    would make buy who would not have; ``anyway`` the share that buys within days by itself.
    """

    currency: str
    persons: int
    revenue: float
    persuaded: float
    anyway: float


def true_effects(
    shoppers: Shoppers, exposed: Iterable[Written], window: timedelta, until: datetime
) -> dict[str, TrueEffect]:
    """Return the true effect per currency over the people of one campaign, treated and held out alike.

    ``exposed`` are the messages that left and those that would have; a person's time starts with the first, and what
    they would order within ``window`` of it, and not after ``until``, counts.
    """
    by_person: dict[str, list[Written]] = defaultdict(list)
    for written in exposed:
        by_person[written.customer_id].append(written)
    last = int(until.timestamp())
    sums: dict[int, list[float]] = defaultdict(lambda: [0, 0.0, 0, 0])
    for customer, letters in by_person.items():
        start = min(letter.at for letter in letters)
        end = min(start + int(window.total_seconds()), last)
        orders = [order for letter in letters if (order := shoppers.persuaded(letter)) and order.at < end]
        first = min(letters, key=lambda letter: letter.at)
        total = sums[shoppers.market(customer)]
        total[0] += 1
        total[1] += sum(order.total for order in orders)
        total[2] += bool(orders)
        total[3] += shoppers.buys_anyway(first)
    return {
        CURRENCIES[market]: TrueEffect(CURRENCIES[market], int(n), revenue / n, persuaded / n, anyway / n)
        for market, (n, revenue, persuaded, anyway) in sums.items()
    }
