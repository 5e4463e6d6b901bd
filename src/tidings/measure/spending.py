"""What a person spent after a campaign first reached them, or would have: all of it, whatever led to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidings.ledger.results import Exposure, PersonOutcome


@dataclass(frozen=True, slots=True)
class Purchase:
    """One order of a person: what is left of it, in minor units of ``currency``."""

    ordered_at: datetime
    currency: str
    net: int


def outcomes(
    person: str, exposures: Iterable[Exposure], bought: Sequence[Purchase], window: timedelta, currency: str
) -> Iterator[PersonOutcome]:
    """Yield a person's outcome in every campaign and currency; ``currency`` also when they spent none of it.

    A person counts once a campaign, from their first exposure and in the arm it had (if ids that were merged
    later disagree, the earliest wins). Orders count after it and up to exactly ``window`` later.
    """
    first: dict[str, Exposure] = {}
    for exposure in sorted(exposures, key=lambda one: one.exposed_at):
        first.setdefault(exposure.campaign, exposure)
    for campaign, exposure in sorted(first.items()):
        ends = exposure.exposed_at + window
        sums = {currency: [0, 0]}
        for purchase in bought:
            if purchase.net > 0 and exposure.exposed_at < purchase.ordered_at <= ends:
                spent = sums.setdefault(purchase.currency, [0, 0])
                spent[0] += 1
                spent[1] += purchase.net
        for code, (orders, revenue) in sorted(sums.items()):
            yield PersonOutcome(
                campaign, person, code, exposure.arm, exposure.variant, exposure.exposed_at, ends, orders, revenue
            )
