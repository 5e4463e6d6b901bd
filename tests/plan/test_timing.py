"""Nothing leaves early or in the night, also when the clocks change, and never later than it must."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise, product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.plan.timing import Hours, Opening, QuietHours, SendWindow, allowed, open_hours, send_at

ZONES = (
    "America/New_York", "Europe/London", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Cairo", "America/Santiago",
    "Asia/Tehran", "Pacific/Chatham",
)  # fmt: skip
STEP = timedelta(minutes=15)
# Quarters and halves around the hours at which clocks change, and two ordinary ones.
EDGES = [time(hour, minute) for hour in (23, 0, 1, 2, 3) for minute in (0, 30)] + [time(2, 45), time(8), time(21)]
Sending = Callable[[datetime, str, QuietHours], datetime | None]


def clock_changes(zone: str, year: int = 2026) -> Iterator[datetime]:
    """Yield the quarter hours of a year at which the zone's offset changes."""
    place = ZoneInfo(zone)
    at = datetime(year, 1, 1, tzinfo=UTC)
    before = at.astimezone(place).utcoffset()
    while at.year == year:
        at += STEP
        now = at.astimezone(place).utcoffset()
        if now != before:
            yield at
        before = now


def ours(due: datetime, zone: str, quiet: QuietHours) -> datetime | None:
    return send_at(due, (zone,), Hours((Opening(quiet.week()),)))


def naive(due: datetime, zone: str, quiet: QuietHours) -> datetime | None:
    """What everybody writes first: put the end of the night on the local date, and convert back."""
    local = due.astimezone(ZoneInfo(zone))
    if not quiet.cover(local.time()):
        return due
    end = datetime.combine(local.date(), quiet.end, ZoneInfo(zone))
    if end.replace(tzinfo=None) <= local.replace(tzinfo=None):
        end += timedelta(days=1)
    return end.astimezone(UTC)


def faults(sending: Sending, zone: str, change: datetime) -> list[str]:
    """Walk six hours around a clock change and name every answer that is early, in the night, or later than it must."""
    place = ZoneInfo(zone)
    grid = [change + STEP * n for n in range(-12, 4 * 60)]
    walls = [at.astimezone(place).time() for at in grid]
    found = []
    for start, end in product(EDGES, EDGES):
        quiet = QuietHours(start, end)
        awake = [at for at, wall in zip(grid, walls, strict=True) if not quiet.cover(wall)]
        for due in grid[:24]:
            at = sending(due, zone, quiet)
            earliest = next(moment for moment in awake if moment >= due)
            if at != earliest:
                found.append(f"{zone} {quiet} due {due}: {at}, not {earliest}")
    return found


@pytest.mark.parametrize("zone", ZONES[:6])
def test_the_year_2026_has_two_clock_changes_in_each_zone(zone):
    assert len(list(clock_changes(zone))) == 2


@pytest.mark.parametrize("zone", ZONES)
def test_quiet_hours_hold_and_cost_no_minute_more_when_the_clocks_change(zone):
    for change in clock_changes(zone):
        assert faults(ours, zone, change) == []


@pytest.mark.parametrize("zone", ZONES[:6])
def test_the_walk_catches_the_naive_version(zone):
    caught = [fault for change in clock_changes(zone) for fault in faults(naive, zone, change)]

    assert caught


def test_the_naive_version_even_sends_before_it_is_due():
    due = datetime(2026, 11, 1, 6, 10, tzinfo=UTC)  # 01:10 in New York, the second time that night
    quiet = QuietHours(time(21), time(1, 30))

    assert naive(due, "America/New_York", quiet) == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    assert ours(due, "America/New_York", quiet) == datetime(2026, 11, 1, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "due", "end", "sent"),
    [
        ("America/New_York", "2026-03-08T06:00", time(2, 30), "2026-03-08T07:00"),
        ("Australia/Lord_Howe", "2026-10-03T14:00", time(2, 15), "2026-10-03T15:30"),
        ("Africa/Cairo", "2026-04-23T20:30", time(0, 30), "2026-04-23T22:00"),
        ("America/Santiago", "2026-09-06T02:00", time(0), "2026-09-06T04:00"),
        ("America/New_York", "2026-11-01T04:30", time(1, 30), "2026-11-01T05:30"),
    ],
    ids=["an hour is missing", "half an hour is missing", "midnight is missing", "midnight itself", "an hour repeats"],
)
def test_a_gap_moves_to_the_first_instant_after_it_and_a_repeated_hour_counts_once(zone, due, end, sent):
    at = ours(datetime.fromisoformat(due).replace(tzinfo=UTC), zone, QuietHours(time(21), end))

    assert at == datetime.fromisoformat(sent).replace(tzinfo=UTC)


@given(
    start=st.sampled_from([time(hour, minute) for hour in range(24) for minute in (0, 30)]),
    length=st.integers(1, 47),
    days=st.frozensets(st.integers(0, 6), min_size=1),
    zone=st.sampled_from(ZONES),
    minutes=st.integers(0, 365 * 24 * 60),
)
def test_bulk_and_rule_agree_on_every_window_and_zone(start, length, days, zone, minutes):
    end_minute = (start.hour * 60 + start.minute + 30 * length) % 1440
    window = SendWindow(start, time(end_minute // 60, end_minute % 60), days)
    hours = Hours((Opening(window.week()), Opening(QuietHours(time(22), time(6)).week(), "Europe/Berlin")))
    due = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)

    at = send_at(due, (zone, "Europe/London"), hours)

    if at is None:  # the window, the other zone and the night leave nothing in common
        assert not any(allowed(due + STEP * n, (zone, "Europe/London"), hours) for n in range(4 * 24 * 8))
    else:
        assert at >= due
        assert allowed(at, (zone, "Europe/London"), hours)
        assert at == due or not allowed(at - timedelta(seconds=1), (zone, "Europe/London"), hours)
        assert not any(allowed(due + STEP * n, (zone, "Europe/London"), hours) for n in range((at - due) // STEP))


@pytest.mark.parametrize("zone", ZONES)
def test_a_daily_window_opens_exactly_once_on_each_local_day_of_a_year(zone):
    nine = open_hours((zone,), Hours((Opening(SendWindow(time(9), time(10)).week()),)))
    at, days = datetime(2026, 1, 1, tzinfo=UTC), []

    while at < datetime(2027, 1, 1, tzinfo=UTC):
        found = nine.first(at)
        days.append(found.astimezone(ZoneInfo(zone)).date())
        at = found + timedelta(hours=1)

    assert all(later - day == timedelta(days=1) for day, later in pairwise(days))


@pytest.mark.parametrize(
    ("local", "quiet"),
    [(time(20, 59, 59), False), (time(21), True), (time(0), True), (time(7, 59, 59), True), (time(8), False)],
    ids=["just before", "first minute", "midnight", "last minute", "just after"],
)
def test_quiet_hours_span_midnight(local, quiet):
    assert QuietHours(time(21), time(8)).cover(local) is quiet


def test_equal_ends_mean_no_quiet_hours_and_a_whole_day_of_window():
    assert not QuietHours(time(9), time(9)).cover(time(9))
    assert QuietHours(time(9), time(9)).week() == SendWindow(time(9), time(9)).week()


def test_a_window_past_midnight_belongs_to_the_day_on_which_it_begins():
    saturday_night = Hours((Opening(SendWindow(time(22), time(2), frozenset({5})).week()),))

    assert allowed(datetime(2026, 3, 8, 1, 59, tzinfo=UTC), ("UTC",), saturday_night)
    assert not allowed(datetime(2026, 3, 7, 1, 59, tzinfo=UTC), ("UTC",), saturday_night)


def test_the_limit_itself_is_still_in_time_and_a_second_later_is_not():
    night, due = QuietHours(time(21), time(8)), datetime(2026, 3, 2, 3, tzinfo=UTC)
    hours, eight = Hours((Opening(night.week()),)), datetime(2026, 3, 2, 8, tzinfo=UTC)

    assert send_at(due, ("UTC",), hours, limit=eight) == eight
    assert send_at(due, ("UTC",), hours, limit=eight - timedelta(seconds=1)) is None


def test_all_zones_have_to_be_awake():
    quiet = Hours((Opening(QuietHours(time(21), time(8)).week()),))

    at = send_at(datetime(2026, 6, 1, 12, tzinfo=UTC), ("America/New_York", "America/Chicago"), quiet)

    assert at == datetime(2026, 6, 1, 13, tzinfo=UTC)  # 09:00 in New York, 08:00 in Chicago


def test_a_rule_holds_from_its_first_day():
    noon = Opening(SendWindow(time(12), time(13)).week(), since=date(2026, 3, 3), until=date(2026, 3, 4))

    assert allowed(datetime(2026, 3, 2, 23, 59, tzinfo=UTC), ("UTC",), Hours((noon,)))
    assert send_at(datetime(2026, 3, 3, tzinfo=UTC), ("UTC",), Hours((noon,))).hour == 12
    assert allowed(datetime(2026, 3, 4, tzinfo=UTC), ("UTC",), Hours((noon,)))


def test_hours_that_never_open_are_answered_with_none():
    never = Hours((Opening(SendWindow(time(9), time(10)).week()), Opening(SendWindow(time(11), time(12)).week())))

    assert send_at(datetime(2026, 3, 2, tzinfo=UTC), ("UTC",), never) is None


def test_a_naive_time_is_refused():
    with pytest.raises(ValueError, match="naive"):
        send_at(datetime(2026, 3, 2), ("UTC",), Hours())  # noqa: DTZ001


def test_any_zone_of_the_due_time_gives_the_same_instant():
    due = datetime(2026, 3, 2, 3, tzinfo=UTC)
    quiet = Hours((Opening(QuietHours(time(21), time(8)).week()),))

    assert send_at(due.astimezone(ZoneInfo("Asia/Tokyo")), ("UTC",), quiet) == send_at(due, ("UTC",), quiet)
