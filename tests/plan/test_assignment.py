"""Arms are uniform, independent between campaigns, and stay what they were."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tidings.plan.assignment import HELD_OUT, TREATED, assign, draw, share_of

PEOPLE = [f"customer-{number}" for number in range(20_000)]
TENTH, HALF = Fraction(1, 10), Fraction(1, 2)


def test_a_draw_is_the_hash_that_the_measurement_rules_name():
    # printf 'cart|ann' | sha256sum, the first sixteen digits
    assert f"{draw('cart', 'ann'):016x}" == "43e252f1e82caf31"


def test_draws_are_uniform():
    assert stats.kstest([share_of("cart", person) for person in PEOPLE], "uniform").pvalue > 0.001


def test_draws_of_two_campaigns_are_independent():
    table = [[0] * 4 for _ in range(4)]
    for person in PEOPLE:
        table[int(share_of("cart", person) * 4)][int(share_of("browse", person) * 4)] += 1

    assert stats.chi2_contingency(table).pvalue > 0.001


def test_the_variant_is_independent_of_the_arm():
    table = {(arm, variant): 0 for arm in (TREATED, HELD_OUT) for variant in "ab"}
    for person in PEOPLE:
        assigned = assign("cart", person, Fraction(1, 3), {"a": HALF, "b": HALF})
        table[assigned.arm, assigned.variant] += 1

    rows = [[table[arm, variant] for variant in "ab"] for arm in (TREATED, HELD_OUT)]
    assert stats.chi2_contingency(rows).pvalue > 0.001


@pytest.mark.parametrize("share", [TENTH, Fraction(1, 3), HALF])
def test_the_held_out_share_is_the_one_asked_for(share):
    held_out = sum(assign("cart", person, share, {}).arm == HELD_OUT for person in PEOPLE)

    assert stats.binomtest(held_out, len(PEOPLE), float(share)).pvalue > 0.001


@given(person=st.text(), small=st.fractions(0, 1), large=st.fractions(0, 1))
def test_a_larger_holdout_keeps_whom_a_smaller_one_held_out(person, small, large):
    small, large = sorted((small, large))

    if assign("cart", person, small, {}).arm == HELD_OUT:
        assert assign("cart", person, large, {}).arm == HELD_OUT


@given(person=st.text())
def test_no_holdout_treats_everybody_and_variants_do_not_depend_on_the_files_order(person):
    assert assign("cart", person, Fraction(0), {}) == assign("cart", person, Fraction(0), {})
    assert assign("cart", person, Fraction(0), {}).arm == TREATED
    assert assign("s", person, TENTH, {"a": HALF, "b": TENTH}) == assign("s", person, TENTH, {"b": TENTH, "a": HALF})
    assert assign("s", person, TENTH, {"a": HALF, "b": HALF}).variant in ("a", "b")


def test_whoever_is_left_over_by_the_variants_has_none():
    names = [assign("s", person, Fraction(0), {"a": HALF, "b": TENTH}).variant for person in PEOPLE]

    assert stats.binomtest(names.count(""), len(PEOPLE), 0.4).pvalue > 0.001
