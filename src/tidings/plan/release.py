"""How many people may be told of goods that are few: about as many as will buy them, and nobody twice over."""

from __future__ import annotations

from fractions import Fraction

# Before anything is known, one in ten who are told buys: worth ten people's evidence (spec of triggers, T4).
_PRIOR_BOUGHT, _PRIOR_TOLD = 1, 10


def purchase_rate(told: int, bought: int) -> Fraction:
    """Return the share of those told who buy, learned from ``told`` people of whom ``bought`` ordered.

    The mean of a Beta distribution whose prior is one in ten; never zero.
    """
    if told < 0 or not 0 <= bought <= told:
        raise ValueError(f"told and bought: must be 0 <= bought <= told; found {told} and {bought}")
    return Fraction(_PRIOR_BOUGHT + bought, _PRIOR_TOLD + told)


def room(sellable: int, rate: Fraction) -> int:
    """Return how many people may have been told within the hold, those about to be told included.

    With 5 pieces and one in ten buying, 50 people, not 10,000.
    """
    return int(sellable / rate) if sellable > 0 else 0
