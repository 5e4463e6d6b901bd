"""The shop's own days: where each begins, in a year with two days that are not 24 hours long."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)


def midnight(day: date, zone: str) -> datetime:
    """Return the instant at which a day begins in the zone, UTC."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def day_of(at: datetime, zone: str) -> date:
    """Return the day an instant lies in."""
    return at.astimezone(ZoneInfo(zone)).date()


def day_start(at: datetime, zone: str) -> datetime:
    """Return the beginning of the day an instant lies in."""
    return midnight(day_of(at, zone), zone)


def day_end(at: datetime, zone: str) -> datetime:
    """Return the instant itself where a day begins, else the beginning of the next day."""
    start = day_start(at, zone)
    return start if start == at else midnight(day_of(at, zone) + DAY, zone)
