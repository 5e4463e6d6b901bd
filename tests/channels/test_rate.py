"""Rates: never more than allowed in any stretch of time, and nobody waits longer than the patience."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.channels.rate import Bucket, Pace
from tidings.errors import Retry


@given(
    rate=st.floats(0.1, 1000), burst=st.floats(1, 50),
    gaps=st.lists(st.floats(0, 5), min_size=1, max_size=60),
)  # fmt: skip
@settings(deadline=None)
def test_no_stretch_of_time_carries_more_than_its_rate_and_one_burst(
    rate: float, burst: float, gaps: list[float]
) -> None:
    bucket, now, left = Bucket(rate, burst), 0.0, []
    for gap in gaps:
        now += gap
        left.append(now + bucket.wait(now))
        bucket.take(now)

    for first in range(len(left)):
        for last in range(first, len(left)):
            assert last - first + 1 <= rate * (left[last] - left[first]) + burst + 1e-6


def test_an_idle_bucket_saves_no_more_than_its_burst() -> None:
    bucket = Bucket(1.0, 3)
    waits = []
    for _ in range(4):
        waits.append(bucket.wait(1000.0))
        bucket.take(1000.0)

    assert waits == [0.0, 0.0, 0.0, pytest.approx(1.0)]


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0.5)])
def test_an_impossible_rate_is_refused(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        Bucket(rate, burst)


def test_each_sender_has_its_own_rate() -> None:
    pace = Pace(per_sender={"+15550001": 0.1}, patience=1.0, clock=lambda: 100.0)

    async def run() -> None:
        await pace.turn("+15550001")
        with pytest.raises(Retry):
            await pace.turn("+15550001")
        await pace.turn("+15550002")

    asyncio.run(run())


def test_a_pause_holds_every_sender_back() -> None:
    pace = Pace(patience=1.0, clock=lambda: 100.0)
    pace.pause(30)

    with pytest.raises(Retry) as waiting:
        asyncio.run(pace.turn("anyone"))

    assert waiting.value.after == pytest.approx(30)


def test_a_message_that_was_turned_away_used_up_no_turn() -> None:
    now = [100.0]
    pace = Pace(0.5, patience=0.5, clock=lambda: now[0])

    async def run() -> None:
        await pace.turn("a")
        for _ in range(20):
            with pytest.raises(Retry):
                await pace.turn("a")
        now[0] += 2.0
        await pace.turn("a")

    asyncio.run(run())
