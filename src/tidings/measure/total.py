"""What all campaigns caused together: the sum of what each caused, only as sure as its parts allow.

Arms are drawn independently per campaign, so the estimates are uncorrelated and the distances from the estimate to
each end of the interval add as squares. Every campaign's effect is the one it has beside the others as they run. A
campaign whose comparison says nothing (too few buyers, arms that do not fit) cannot be in the sum and is named.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from tidings.measure.figures import Arm, Incremental, Verdict


def total(found: Mapping[str, Incremental]) -> Incremental:
    """Return the sum of the campaigns' comparisons, by campaign id. A person counts once per campaign."""
    held = {campaign: one for campaign, one in found.items() if one.verdict is not Verdict.NOT_MEASURED}
    summed = {campaign: one for campaign, one in held.items() if _has_interval(one) and not one.suspect}
    left_out = tuple(sorted(held.keys() - summed.keys()))
    parts = list((summed or held).values())
    arms = _sum(one.treated for one in parts), _sum(one.held_out for one in parts)
    maturing = any(one.maturing for one in parts)
    if not summed:
        verdict = Verdict.NOT_ENOUGH if held else Verdict.NOT_MEASURED
        suspect = any(one.suspect for one in held.values())
        return Incremental(*arms, verdict, maturing=maturing, suspect=suspect, left_out=left_out)
    amount = sum(one.total or 0 for one in parts)
    low = amount - _apart((one.total or 0) - (one.total_low or 0) for one in parts)
    high = amount + _apart((one.total_high or 0) - (one.total or 0) for one in parts)
    persons = arms[0].persons
    detectable = _apart((one.smallest_effect or 0.0) * one.treated.persons for one in parts)
    return Incremental(
        *arms,
        Verdict.PROVEN if low > 0 else Verdict.HARMFUL if high < 0 else Verdict.INCONCLUSIVE,
        method="sum",
        difference=amount / persons,
        low=low / persons,
        high=high / persons,
        total=amount,
        total_low=math.floor(low),
        total_high=math.ceil(high),
        maturing=maturing,
        smallest_effect=detectable / persons,
        left_out=left_out,
    )


def _has_interval(one: Incremental) -> bool:
    return one.total is not None and one.total_low is not None and one.total_high is not None


def _sum(arms: Iterable[Arm]) -> Arm:
    parts = list(arms)
    return Arm(sum(one.persons for one in parts), sum(one.buyers for one in parts), sum(one.revenue for one in parts))


def _apart(distances: Iterable[float]) -> float:
    return math.sqrt(sum(distance**2 for distance in distances))
