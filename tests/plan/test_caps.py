"""A cap of n per period means that no stretch of that length, wherever it starts, holds more than n messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.model.people import Channel
from tidings.plan.caps import Cap, all_free_at, free_at

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def test_a_cap_with_room_is_free_now():
    assert free_at(Cap(2, DAY), [NOON - timedelta(hours=1)], NOON) is None


def test_a_full_cap_is_free_when_the_use_that_makes_room_has_aged_out():
    used = [NOON - timedelta(hours=2), NOON - timedelta(hours=20), NOON - timedelta(hours=5)]

    assert free_at(Cap(2, DAY), used, NOON) == datetime(2026, 3, 3, 7, tzinfo=UTC)


def test_a_use_exactly_one_period_ago_no_longer_counts():
    assert free_at(Cap(1, DAY), [NOON - DAY], NOON) is None


def test_a_use_one_microsecond_younger_than_the_period_still_counts():
    used = [NOON - DAY + timedelta(microseconds=1)]

    assert free_at(Cap(1, DAY), used, NOON) == NOON + timedelta(microseconds=1)


def test_a_reservation_in_the_future_counts():
    assert free_at(Cap(1, DAY), [NOON + timedelta(minutes=1)], NOON) == NOON + DAY + timedelta(minutes=1)


def test_several_caps_are_free_when_the_last_of_them_is():
    caps = [(Cap(1, DAY), [NOON - timedelta(hours=1)]), (Cap(1, 2 * DAY), [NOON - timedelta(hours=2)])]

    assert all_free_at(caps, NOON) == NOON + timedelta(hours=46)


def test_a_cap_without_a_channel_covers_both():
    assert Cap(1, DAY).covers(Channel.SMS)
    assert not Cap(1, DAY, Channel.EMAIL).covers(Channel.SMS)


@pytest.mark.parametrize(("at_most", "per"), [(0, DAY), (1, timedelta(0))], ids=["no message", "no period"])
def test_a_cap_that_could_never_open_is_refused(at_most, per):
    with pytest.raises(ValueError, match="must be"):
        Cap(at_most, per)


@given(
    at_most=st.integers(1, 4),
    wishes=st.lists(st.integers(0, 72 * 4), min_size=1, max_size=60),
)
def test_messages_sent_only_when_free_never_exceed_the_cap_in_any_stretch(at_most, wishes):
    cap = Cap(at_most, DAY)
    sent: list[datetime] = []

    for quarter in wishes:  # in any order: dispatchers overlap
        now = NOON + timedelta(minutes=15 * quarter)
        if free_at(cap, sent, now) is None:
            sent.append(now)

    assert all(sum(start <= at < start + DAY for at in sent) <= at_most for start in sent)
