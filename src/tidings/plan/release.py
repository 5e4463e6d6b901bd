"""How many people may be told of goods that are few: about as many as will buy them, and nobody twice over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction

# Before anything is known, one in ten who are told buys: worth ten people's evidence (spec of triggers, T4).
_PRIOR_BOUGHT, _PRIOR_TOLD = 1, 10


@dataclass(frozen=True, slots=True)
class Release:
    """A trigger's rule: those told within ``hold`` may still buy, so they count against what is there.

    ``cautious`` (0 to 1) is the share of the goods that may be promised at all.
    """

    hold: timedelta
    cautious: Fraction = Fraction(1)


def purchase_rate(told: int, bought: int) -> Fraction:
    """Return the share of those told who buy, learned from ``told`` people of whom ``bought`` ordered.

    The mean of a Beta distribution whose prior is one in ten; never zero.
    """
    if told < 0 or not 0 <= bought <= told:
        raise ValueError(f"told and bought: must be 0 <= bought <= told; found {told} and {bought}")
    return Fraction(_PRIOR_BOUGHT + bought, _PRIOR_TOLD + told)


def room(sellable: int, rate: Fraction, cautious: Fraction = Fraction(1)) -> int:
    """Return how many people may have been told within the hold, those about to be told included.

    With 5 pieces and one in ten buying, 50 people, not 10,000. A piece on the shelf is worth telling one person,
    whatever the rate.
    """
    if sellable <= 0:
        return 0
    return max(1, int(cautious * sellable / rate))
