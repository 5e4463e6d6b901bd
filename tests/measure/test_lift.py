"""What a campaign caused is said with its interval, and not said when the data cannot tell."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tidings.measure.figures import Arm, Verdict
from tidings.measure.lift import Spending, compare, dealt, ratio_is_off, welch


def spending(persons, buyers, seed, scale=1.0):
    dice = np.random.default_rng(seed)
    return Spending(persons, [int(scale * amount) + 1 for amount in dice.lognormal(8, 1, buyers)])


def test_the_hillstrom_visits_come_out_as_published():
    visits = compare(Spending(21_307, [10_000] * 3_894), Spending(21_306, [10_000] * 2_262))

    # 10.62 % and 18.28 %: +7.66 percentage points [6.99, 8.32], p 1e-112 (measurement 4.4)
    assert visits.method == "welch"
    assert [round(value / 100, 2) for value in (visits.difference, visits.low, visits.high)] == [7.66, 7.0, 8.32]
    assert 1e-113 < visits.p < 1e-111


def test_the_hillstrom_conversions_come_out_as_published_by_dealing():
    orders = compare(Spending(21_307, [1_000_000] * 267), Spending(21_306, [1_000_000] * 122))

    # 0.573 % and 1.253 %: +0.68 percentage points [.50, .86]
    assert orders.method == "permutation"
    assert [round(value / 10_000, 2) for value in (orders.difference, orders.low, orders.high)] == [0.68, 0.5, 0.86]
    assert orders.verdict is Verdict.PROVEN


def test_welch_is_scipys_with_the_zeros_written_out():
    one, other = spending(900, 450, 1), spending(700, 420, 2)
    theirs = stats.ttest_ind(
        [*one.amounts, *[0] * 450], [*other.amounts, *[0] * 280], equal_var=False
    )  # fmt: skip
    interval = theirs.confidence_interval()

    ours = welch(one, other)

    assert ours.p == pytest.approx(theirs.pvalue)
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high))


def test_dealing_gives_the_p_value_of_all_deals():
    treated, held_out = Spending(6, [5, 9, 30]), Spending(5, [2])
    values = [5, 9, 30, 2, *[0] * 7]
    observed = sum(treated.amounts) / 6 - sum(held_out.amounts) / 5
    every = [sum(values[i] for i in arm) for arm in combinations(range(11), 6)]
    differences = [inside / 6 - (46 - inside) / 5 for inside in every]
    above = sum(found >= observed - 1e-9 for found in differences) / len(differences)
    below = sum(found <= observed + 1e-9 for found in differences) / len(differences)

    assert dealt(treated, held_out).p == pytest.approx(min(1, 2 * min(above, below)), abs=0.02)


@pytest.mark.parametrize(
    ("treated", "held_out", "method"),
    [(500, 24, None), (500, 25, "permutation"), (500, 399, "permutation"), (500, 400, "welch"), (24, 500, None)],
    ids=["too few", "enough", "nearly many", "many", "too few treated"],
)
def test_the_buyers_of_the_smaller_arm_choose_the_method(treated, held_out, method):
    found = compare(spending(9_000, treated, 1), spending(9_000, held_out, 2), deals=499)

    assert found.method == method
    assert (found.verdict is Verdict.NOT_ENOUGH) is (method is None)


def test_without_a_holdout_nothing_was_measured():
    found = compare(spending(100, 50, 1), Spending(0, []))

    assert (found.verdict, found.difference, found.held_out) == (Verdict.NOT_MEASURED, None, Arm(0, 0, 0))


def test_people_whose_purchases_were_undone_are_no_buyers():
    assert compare(Spending(900, [0] * 100), Spending(900, [5] * 100)).verdict is Verdict.NOT_ENOUGH


def test_the_total_is_the_difference_times_the_treated_people():
    found = compare(Spending(2_000, [1_000] * 900), Spending(1_000, [1_000] * 400))

    assert (found.difference, found.total) == (50.0, 100_000)
    assert found.total_low == round(found.low * 2_000)
    assert found.verdict is Verdict.PROVEN


def test_harm_is_called_harm():
    assert compare(Spending(1_000, [1_000] * 400), Spending(1_000, [1_000] * 600)).verdict is Verdict.HARMFUL


def test_the_same_data_always_give_the_same_answer():
    one, other = spending(3_000, 90, 1), spending(3_000, 60, 2)

    assert compare(one, other) == compare(one, other)
    shuffled = Spending(3_000, list(reversed(one.amounts)))
    assert compare(shuffled, other).difference == pytest.approx(compare(one, other).difference)


@settings(max_examples=40, deadline=None)
@given(
    treated=st.integers(25, 120), held_out=st.integers(25, 120), seed=st.integers(0, 10**6),
    effect=st.sampled_from([0.5, 1.0, 1.5, 3.0]),
    people=st.sampled_from([(1_000, 1_000), (9_000, 1_000), (400, 4_000)]),
)  # fmt: skip
def test_the_interval_the_verdict_and_the_p_value_never_contradict_each_other(treated, held_out, seed, effect, people):
    found = compare(
        spending(people[0], treated, seed, effect), spending(people[1], held_out, seed + 1), deals=499
    )  # fmt: skip

    assert found.low < found.difference < found.high
    assert (found.verdict is Verdict.INCONCLUSIVE) is (found.low <= 0 <= found.high)
    assert (found.p < 0.05) is (found.verdict is not Verdict.INCONCLUSIVE)


def false_lifts(judge, runs=400):
    """Count how often a campaign without effect is called a lift: 95 % treated, skewed amounts, few buyers."""
    dice = np.random.default_rng(3)
    found = 0
    for _ in range(runs):
        in_held_out = dice.random(900) < 0.05
        amounts = dice.lognormal(3, 1.6, 900)
        held_out = Spending(1_000, list(amounts[in_held_out].astype(int) + 1))
        treated = Spending(19_000, list(amounts[~in_held_out].astype(int) + 1))
        found += judge(treated, held_out).low > 0
    return found / runs


def test_dealing_does_not_find_lifts_where_there_are_none():
    assert false_lifts(lambda treated, held_out: dealt(treated, held_out, 199), runs=200) < 0.05


def test_the_walk_catches_welch_with_a_small_holdout():
    assert false_lifts(welch) > 0.05  # nominal: 2.5 %


@pytest.mark.parametrize(
    ("treated", "held_out", "share", "off"),
    [(9_000, 1_000, Fraction(1, 10), False), (9_000, 1_200, Fraction(1, 10), True), (50, 40, 0.5, False),
     (10, 0, 0, False), (10, 1, 0, True), (0, 0, 0.1, False), (9_000, 1_300, None, False)],
    ids=["as planned", "too many held out", "small arms", "none planned", "one held out unplanned", "nobody",
         "no plan"],
)  # fmt: skip
def test_arms_that_do_not_fit_the_planned_split_are_suspect(treated, held_out, share, off):
    assert ratio_is_off(treated, held_out, share) is off


def test_the_smallest_effect_that_could_be_shown_shrinks_with_more_people():
    small = compare(spending(1_000, 500, 1), spending(1_000, 500, 2)).smallest_effect
    large = compare(spending(4_000, 2_000, 1), spending(4_000, 2_000, 2)).smallest_effect

    assert large == pytest.approx(small / 2, rel=0.15)


def test_more_amounts_than_people_are_a_mistake():
    with pytest.raises(ValueError, match="at most one a person"):
        Spending(1, [1, 2])
