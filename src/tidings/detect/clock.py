"""When something counts as having happened, and how an instant is written in a key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

# A device clock is believed when its event arrived at most this long after, or this little before, it says.
OFFLINE = timedelta(days=7)
AHEAD = timedelta(minutes=5)
# No shop has data before this; it keeps the subtraction of a look-back from an early instant in range.
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def effective_at(occurred_at: datetime, received_at: datetime | None) -> datetime:
    """Return the moment an event counts for: the client's clock when plausible, else the collector's (§1.1)."""
    if received_at is None or received_at - OFFLINE <= occurred_at <= received_at + AHEAD:
        return occurred_at
    return received_at


def before(at: datetime, length: timedelta) -> datetime:
    """Return ``at - length``, but nothing earlier than the beginning of time."""
    return max(at - length, BEGINNING) if at - BEGINNING > length else BEGINNING


def stamp(at: datetime) -> str:
    """Return an instant as it stands in an entry key, the same for every zone it may be written in."""
    return at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
