"""What a campaign caused: treated people's spending minus held-out people's, with how sure that is.

The rule is measurement 4.4. Below 25 buyers in an arm nothing is said. Below 400 in the smaller arm the non-zero
amounts are dealt anew to the people of both arms, thousands of times: that is what chance alone does to the
difference, skew and unequal arms included, where Welch's interval is too narrow in the direction marketers like.
From 400 on Welch's t serves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from scipy import stats

from tidings.measure.figures import Arm, Incremental, Verdict

FEWEST_BUYERS = 25
BUYERS_FOR_WELCH = 400
CONFIDENCE = 0.95
POWER = 0.8
SRM_LEVEL = 0.001
_DEALS = 9_999
# More amounts than this a deal make fewer deals enough: their sum is nearly normal by then.
_MOST_DEALT = 20_000_000
_FEWEST_DEALS = 1_999
_AT_ONCE = 2_000_000
_SEED = 20_240_229


@dataclass(frozen=True, slots=True)
class Spending:
    """What the people of one arm spent: how many they are, and the amounts that are not zero (minor units)."""

    persons: int
    amounts: Sequence[int]

    def __post_init__(self) -> None:
        if len(self.amounts) > self.persons:
            raise ValueError(f"amounts: must be at most one a person; found {len(self.amounts)} for {self.persons}")

    def arm(self) -> Arm:
        """Return the arm's totals; a person whose purchases were all undone is no buyer."""
        return Arm(self.persons, sum(1 for amount in self.amounts if amount), sum(self.amounts))


@dataclass(frozen=True, slots=True)
class _Estimate:
    """A difference per person with its interval; ``spread`` is its standard error."""

    difference: float
    low: float
    high: float
    p: float
    spread: float


def compare(
    treated: Spending,
    held_out: Spending,
    *,
    holdout: Fraction | float | None = None,
    maturing: bool = False,
    deals: int = _DEALS,
) -> Incremental:
    """Return the comparison of two arms as assigned, the same for the same data every time.

    ``holdout`` is the planned share held out: when the arms' sizes do not fit it (chi-square, p < .001) the result
    is marked ``suspect``. ``maturing`` is passed on: some people's window has not closed yet.
    """
    arms = treated.arm(), held_out.arm()
    suspect = ratio_is_off(treated.persons, held_out.persons, holdout)
    if not treated.persons or not held_out.persons:
        return Incremental(*arms, Verdict.NOT_MEASURED, suspect=suspect, maturing=maturing)
    fewest = min(arm.buyers for arm in arms)
    if fewest < FEWEST_BUYERS or min(treated.persons, held_out.persons) < 2:
        gap = arms[0].per_person - arms[1].per_person
        return Incremental(*arms, Verdict.NOT_ENOUGH, difference=gap, suspect=suspect, maturing=maturing)
    by_dealing = fewest < BUYERS_FOR_WELCH
    found = dealt(treated, held_out, deals) if by_dealing else welch(treated, held_out)
    return Incremental(
        *arms,
        _verdict(found),
        method="permutation" if by_dealing else "welch",
        difference=found.difference,
        low=found.low,
        high=found.high,
        p=found.p,
        total=round(found.difference * treated.persons),
        total_low=round(found.low * treated.persons),
        total_high=round(found.high * treated.persons),
        suspect=suspect,
        maturing=maturing,
        smallest_effect=found.spread * float(stats.norm.ppf(0.5 + CONFIDENCE / 2) + stats.norm.ppf(POWER)),
    )


def ratio_is_off(treated: int, held_out: int, holdout: Fraction | float | None) -> bool:
    """Return whether the arms' sizes do not fit the planned split (sample ratio mismatch)."""
    people = treated + held_out
    if holdout is None or not people:
        return False
    share = float(holdout)
    if share in (0.0, 1.0):
        return bool(held_out if share == 0 else treated)
    expected = [people * (1 - share), people * share]
    return bool(stats.chisquare([treated, held_out], expected).pvalue < SRM_LEVEL)


def welch(treated: Spending, held_out: Spending) -> _Estimate:
    """Return the difference of means with Welch's interval, everybody who bought nothing counted as zero."""
    (mean, error), (other_mean, other_error) = _moments(treated), _moments(held_out)
    variance = error + other_error
    difference, spread = mean - other_mean, math.sqrt(variance)
    if variance == 0:
        return _Estimate(difference, difference, difference, 1.0 if difference == 0 else 0.0, 0.0)
    freedom = variance**2 / (error**2 / (treated.persons - 1) + other_error**2 / (held_out.persons - 1))
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)) * spread
    p = 2 * float(stats.t.sf(abs(difference) / spread, freedom))
    return _Estimate(difference, difference - reach, difference + reach, p, spread)


def dealt(treated: Spending, held_out: Spending, deals: int = _DEALS) -> _Estimate:
    """Return the difference of means judged by dealing the amounts anew.

    The p-value is twice the smaller tail. The interval holds the effects that, taken off, leave a difference which
    chance alone makes (the test inverted for a constant effect, under the same deals), so it contains zero exactly
    when p is at least .05. It is approximate: an effect that changes the spread is not a constant one.
    """
    amounts = np.array([amount for arm in (treated, held_out) for amount in arm.amounts if amount], dtype=np.float64)
    chance = np.sort(_deals(amounts, treated.persons, held_out.persons, deals))
    difference = sum(treated.amounts) / treated.persons - sum(held_out.amounts) / held_out.persons
    # A deal equal to what was observed must count as such, whatever its sum was rounded to.
    slack = 1e-9 * float(np.abs(amounts).sum()) * (1 / treated.persons + 1 / held_out.persons)
    above = len(chance) - int(np.searchsorted(chance, difference - slack, side="left"))
    below = int(np.searchsorted(chance, difference + slack, side="right"))
    p = min(1.0, 2 * (1 + min(above, below)) / (len(chance) + 1))
    tail = math.ceil((1 - CONFIDENCE) / 2 * (len(chance) + 1)) - 1
    low, high = difference - float(chance[-tail]) - slack, difference - float(chance[tail - 1]) + slack
    return _Estimate(difference, low, high, p, float(chance.std()))


def _deals(amounts: npt.NDArray[np.float64], treated: int, held_out: int, deals: int) -> npt.NDArray[np.float64]:
    """Return differences of means when the amounts fall on people at random, zeros being all alike.

    How many of the amounts fall into the smaller arm is hypergeometric; which of them is a shuffle.
    """
    dice = np.random.default_rng(_SEED)
    deals = min(deals, max(_FEWEST_DEALS, _MOST_DEALT // len(amounts)))
    small = min(treated, held_out)
    total = float(amounts.sum())
    falls = dice.hypergeometric(len(amounts), treated + held_out - len(amounts), small, size=deals)
    sums = np.empty(deals)
    rows = max(1, _AT_ONCE // len(amounts))
    for start in range(0, deals, rows):
        some = falls[start : start + rows]
        shuffled = dice.permuted(np.broadcast_to(amounts, (len(some), len(amounts))), axis=1)[:, : max(some.max(), 1)]
        taken = np.arange(shuffled.shape[1]) < some[:, None]
        sums[start : start + rows] = np.where(taken, shuffled, 0.0).sum(axis=1)
    in_treated = sums if small == treated else total - sums
    differences: npt.NDArray[np.float64] = in_treated / treated - (total - in_treated) / held_out
    return differences


def _moments(arm: Spending) -> tuple[float, float]:
    """Return the mean, and the variance of the mean."""
    amounts = np.asarray(arm.amounts, dtype=np.float64)
    mean = float(amounts.sum()) / arm.persons
    squares = float(((amounts - mean) ** 2).sum()) + (arm.persons - len(amounts)) * mean**2
    return mean, squares / (arm.persons - 1) / arm.persons


def _verdict(found: _Estimate) -> Verdict:
    if found.low > 0:
        return Verdict.PROVEN
    return Verdict.HARMFUL if found.high < 0 else Verdict.INCONCLUSIVE
