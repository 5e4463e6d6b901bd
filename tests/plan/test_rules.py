"""The law's hours are dated rows, and the most restrictive of law, shop and campaign holds."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from tidings.model.people import Channel
from tidings.plan.places import STATE_ZONES
from tidings.plan.rules import LEGAL_HOURS, easter, french_holidays, hours_for, rules_for
from tidings.plan.timing import QuietHours, SendWindow, allowed, send_at

HALF_HOUR = timedelta(minutes=30)
CONTIGUOUS = [state for state in STATE_ZONES if state[:2] == "US" and state not in ("US-AK", "US-HI")]


def local(zone: str, *when: int) -> datetime:
    return datetime(*when, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def sms(country: str, *states: str):
    return hours_for(Channel.SMS, country, states)


@pytest.mark.parametrize(
    ("states", "zone", "when", "ok"),
    [
        (("US-NY",), "America/New_York", (2026, 3, 2, 20, 59), True),
        (("US-NY",), "America/New_York", (2026, 3, 2, 21, 0), False),
        (("US-FL",), "America/New_York", (2026, 3, 2, 20, 0), False),
        (("US-FL",), "America/New_York", (2026, 3, 2, 19, 59), True),
        (("US-CT",), "America/New_York", (2026, 3, 2, 8, 30), False),
        (("US-RI",), "America/New_York", (2026, 3, 7, 9, 30), False),
        (("US-RI",), "America/New_York", (2026, 3, 6, 9, 30), True),
        (("US-TX",), "America/Chicago", (2026, 3, 8, 11, 59), False),
        (("US-TX",), "America/Chicago", (2026, 3, 8, 12, 0), True),
        (("US-TX",), "America/Chicago", (2025, 8, 31, 9, 0), True),
        (("US-NY", "US-FL"), "America/New_York", (2026, 3, 2, 20, 30), False),
    ],
    ids=[
        "federal evening", "federal end", "florida end", "florida evening", "connecticut morning",
        "rhode island weekend", "rhode island friday", "texan sunday morning", "texan sunday noon",
        "texas before its law", "two states",
    ],
)  # fmt: skip
def test_a_text_keeps_the_hours_of_the_nation_and_of_every_candidate_state(states, zone, when, ok):
    assert allowed(local(zone, *when), (zone,), sms("US", *states)) is ok


def test_the_default_for_an_unknown_state_satisfies_every_contiguous_state():
    unknown = sms("US")
    start = datetime(2026, 3, 1, tzinfo=UTC)

    for at in (start + n * HALF_HOUR for n in range(14 * 48)):  # over the clock change of 8 March
        if allowed(at, ("America/New_York",), unknown):
            for state in CONTIGUOUS:
                assert allowed(at, STATE_ZONES[state], sms("US", state)), (at, state)


def test_an_unknown_state_may_be_hawaii_so_the_shops_quiet_hours_hold_there_too():
    hours = hours_for(Channel.SMS, "US", (), QuietHours(time(21), time(8)))

    at = send_at(local("America/New_York", 2026, 7, 1, 9), ("America/New_York", "Pacific/Honolulu"), hours)

    assert at == local("America/New_York", 2026, 7, 1, 14)


def test_nothing_is_texted_in_france_on_any_sunday_or_public_holiday_of_ten_years():
    hours = sms("FR")
    day = date(2024, 1, 1)

    while day.year < 2034:
        noon = local("Europe/Paris", day.year, day.month, day.day, 12)
        closed = day.weekday() == 6 or day in french_holidays(day.year)
        assert allowed(noon, ("Europe/Paris",), hours) is not closed
        day += timedelta(days=1)


def test_the_french_holidays_of_2026_are_the_eleven_of_the_labour_code():
    days = [(1, 1), (4, 6), (5, 1), (5, 8), (5, 14), (5, 25), (7, 14), (8, 15), (11, 1), (11, 11), (12, 25)]

    assert sorted(french_holidays(2026)) == [date(2026, *day) for day in days]


@pytest.mark.parametrize(
    ("year", "day"),
    [
        (1961, (4, 2)),
        (2000, (4, 23)),
        (2008, (3, 23)),
        (2019, (4, 21)),
        (2024, (3, 31)),
        (2025, (4, 20)),
        (2038, (4, 25)),
    ],
)
def test_easter_falls_as_in_the_church_tables(year, day):
    assert easter(year) == date(year, *day)


def test_french_texts_wait_over_a_long_weekend():
    due = local("Europe/Paris", 2026, 5, 23, 22, 30)  # the Saturday evening before Whit Monday

    assert send_at(due, ("Europe/Paris",), sms("FR")) == local("Europe/Paris", 2026, 5, 26, 8)


def test_a_country_without_a_row_gets_the_default_and_e_mail_has_no_legal_hours():
    assert [rule.rule_id for rule in rules_for(Channel.SMS, "BR", ())] == ["default"]
    assert [rule.rule_id for rule in rules_for(Channel.SMS, "", ())] == ["default"]
    assert rules_for(Channel.EMAIL, "FR", ()) == ()


def test_a_foreigner_with_an_american_number_has_both_laws():
    assert [rule.rule_id for rule in rules_for(Channel.SMS, "GB", ("US-FL",))] == ["us-federal", "us-fl", "gb-default"]


def test_law_shop_and_campaign_all_hold():
    hours = hours_for(
        Channel.SMS, "US", ("US-FL",), QuietHours(time(19), time(10)), SendWindow(time(9), time(18), frozenset({0, 1}))
    )

    at = send_at(local("America/New_York", 2026, 3, 3, 18), ("America/New_York", "America/Chicago"), hours)

    assert at == local("America/New_York", 2026, 3, 9, 11)  # Monday, 10:00 in Pensacola


def test_every_rule_is_a_row_with_an_id_a_source_and_hours():
    ids = [rule.rule_id for rule in LEGAL_HOURS]

    assert len(set(ids)) == len(ids)
    assert all(rule.source and len(rule.week) == 7 and any(rule.week) for rule in LEGAL_HOURS)
