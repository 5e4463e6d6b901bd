"""Few goods are promised to few people."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tidings.plan.release import purchase_rate, room


def test_five_pieces_are_told_to_fifty_people_when_nothing_is_known() -> None:
    assert room(5, purchase_rate(0, 0)) == 50


def test_nothing_on_the_shelf_is_told_to_nobody() -> None:
    assert room(0, purchase_rate(0, 0)) == 0
    assert room(-3, purchase_rate(0, 0)) == 0


@given(sellable=st.integers(1, 10_000), told=st.integers(0, 100_000), share=st.fractions(0, 1))
def test_as_many_are_told_as_will_buy_what_is_there_and_no_more(sellable: int, told: int, share: Fraction) -> None:
    rate = purchase_rate(told, int(told * share))
    people = room(sellable, rate)

    assert people >= 1
    assert people * rate <= sellable < (people + 1) * rate


@given(told=st.integers(0, 100_000), share=st.fractions(0, 1))
def test_the_rate_learned_is_never_zero_and_never_above_one(told: int, share: Fraction) -> None:
    assert 0 < purchase_rate(told, int(told * share)) <= 1
