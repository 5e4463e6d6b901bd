"""Rates: never more than allowed in any stretch of time, and nobody waits longer than the patience."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import example, given, settings
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


class Clockwork(asyncio.SelectorEventLoop):
    """A loop whose time passes only while everybody sleeps: a second of it costs nothing."""

    def __init__(self) -> None:
        self._at = 100.0
        super().__init__()

    def time(self) -> float:
        return self._at

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:
            self._at = max(self._at, self._scheduled[0].when())
        super()._run_once()


@given(
    rate=st.floats(0.5, 200),
    sleeps=st.lists(st.floats(0, 2), min_size=1, max_size=40),
    pauses=st.lists(st.tuples(st.floats(0, 10), st.floats(0, 8)), max_size=4),
)
@example(rate=10.0, sleeps=[0.0] * 30, pauses=[(0.0, 3.0)])
@example(rate=10.0, sleeps=[0.0] * 30, pauses=[(0.45, 3.0)])
@settings(deadline=None, max_examples=60)
def test_a_storm_lets_nobody_through_and_no_crowd_after_it(
    rate: float, sleeps: list[float], pauses: list[tuple[float, float]]
) -> None:
    loop = Clockwork()
    pace, left, turned_away = Pace(rate, patience=5.0, clock=loop.time), list[float](), list[float]()
    storms: list[tuple[float, float]] = []

    async def message(at: float) -> None:
        await asyncio.sleep(at)
        began = loop.time()
        try:
            await pace.turn("a")
            left.append(loop.time())
        except Retry:
            turned_away.append(loop.time() - began)

    async def storm(at: float, seconds: float) -> None:
        await asyncio.sleep(at)
        pace.pause(seconds)
        storms.append((loop.time(), loop.time() + seconds))

    async def run() -> None:
        await asyncio.gather(*(message(one) for one in sleeps), *(storm(*one) for one in pauses))

    loop.run_until_complete(run())
    loop.close()

    assert len(left) + len(turned_away) == len(sleeps)
    assert not [waited for waited in turned_away if waited > 5.0 + 1e-6]
    for began, ended in storms:
        assert not [at for at in left if began + 1e-6 < at < ended - 1e-6]
    left.sort()
    burst = max(1.0, rate / 10)
    for first in range(len(left)):
        for last in range(first, len(left)):
            assert last - first + 1 <= rate * (left[last] - left[first]) + burst + 1e-6
