"""A new sender's days grow as told, never shrink, and end in no limit; an address names its mailbox provider."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.plan.mailboxes import MAILBOXES, mailbox
from tidings.plan.warm_up import Ramp, next_day, opens

START = date(2026, 3, 2)


@pytest.mark.parametrize(
    ("day", "allowed"), [(-1, 0), (0, 500), (1, 750), (2, 1125), (12, 64873), (13, 97309), (14, None), (400, None)]
)
def test_each_day_allows_half_as_many_again_until_there_is_no_limit(day: int, allowed: int | None) -> None:
    ramp = Ramp(START, 500, 1.5, 100_000)

    assert ramp.allowance(START + timedelta(days=day)) == allowed


@given(
    st.integers(1, 10_000), st.floats(1.01, 3), st.integers(1, 10**6), st.integers(0, 200)
)  # fmt: skip
def test_a_day_never_allows_less_than_the_day_before(first: int, growth: float, until: int, day: int) -> None:
    ramp = Ramp(START, first, growth, until)
    today, tomorrow = (ramp.allowance(START + timedelta(days=day + more)) for more in (0, 1))

    assert tomorrow is None or (today is not None and first <= today <= tomorrow < until)


def test_what_does_not_fit_waits_for_the_next_utc_day_or_the_start() -> None:
    evening = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
    ramp = Ramp(START, 500, 1.5, 100_000)

    assert next_day(evening) == datetime(2026, 3, 3, tzinfo=UTC)
    assert opens(ramp, evening) == datetime(2026, 3, 3, tzinfo=UTC)
    assert opens(ramp, evening - timedelta(days=9)) == datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("ann@gmail.com", "gmail"), ("ann@GoogleMail.com", "gmail"), ("a@hotmail.co.uk", "outlook"),
        ("a@live.fr", "outlook"), ("a@outlook.com", "outlook"), ("a@yahoo.co.jp", "yahoo"), ("a@ymail.com", "yahoo"),
        ("a@aol.com", "yahoo"), ("a@icloud.com", "apple"), ("a@me.com", "apple"), ("a@post.example", "other"),
        ("a@live.shop.example", "other"), ("a@gmail.com.example", "other"), ("a@notgmail.com", "other"), ("", "other"),
    ],
)  # fmt: skip
def test_an_address_names_who_receives_it_and_nobody_else(address: str, name: str) -> None:
    assert mailbox(address) == name


@given(st.text(max_size=60))
def test_every_text_has_a_mailbox_provider(text: str) -> None:
    assert mailbox(text) in MAILBOXES
