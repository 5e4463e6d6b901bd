"""A new sender's first days: how many messages a day may see, growing until nobody counts any more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta


@dataclass(frozen=True, slots=True)
class Ramp:
    """At most ``first_day`` messages on ``start``, ``growth`` times as many each day after; from ``until`` no limit.

    Days are UTC days: every lane and every provider agree on them.
    """

    start: date
    first_day: int
    growth: float
    until: int

    def allowance(self, day: date) -> int | None:
        """Return how many messages a day may see: none before the start, None when there is no limit any more."""
        passed = (day - self.start).days
        if passed < 0:
            return 0
        allowed = float(self.first_day)
        for _ in range(passed):
            if allowed >= self.until:
                return None
            allowed *= self.growth
        return None if allowed >= self.until else int(allowed)


def next_day(now: datetime) -> datetime:
    """Return when the next day's allowance begins."""
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), tzinfo=UTC)


def opens(ramp: Ramp, now: datetime) -> datetime:
    """Return when there may be room again: the ramp's own start, or the next day."""
    return max(next_day(now), datetime.combine(ramp.start, time(), tzinfo=UTC))
