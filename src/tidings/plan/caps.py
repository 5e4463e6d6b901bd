"""Frequency caps: how many messages a person may get in any stretch of a given length, and when the next is free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidings.model.people import Channel


@dataclass(frozen=True, slots=True)
class Cap:
    """At most ``at_most`` messages in any stretch of length ``per``; on one channel, or on all when None.

    The stretch is rolling and measured in real time, so a day is 24 hours also when the clocks change
    (timing rules 2.4). A use exactly ``per`` ago no longer counts.
    """

    at_most: int
    per: timedelta
    channel: Channel | None = None

    def __post_init__(self) -> None:
        if self.at_most < 1:
            raise ValueError(f"at_most: must be at least 1; found {self.at_most}")
        if self.per <= timedelta(0):
            raise ValueError(f"per: must be longer than zero; found {self.per}")

    def covers(self, channel: Channel) -> bool:
        """Return whether messages on this channel use up the cap."""
        return self.channel is None or self.channel == channel


def free_at(cap: Cap, used: Sequence[datetime], now: datetime) -> datetime | None:
    """Return when the cap next has room, or None when it has room now.

    ``used`` are the moments of earlier messages that the cap covers, in any order; held-out and unknown ones
    are among them. Uses later than ``now`` (another dispatcher's reservations) count as well, so that no
    stretch that contains the new message can hold more than the cap.
    """
    since = now - cap.per
    counting = [at for at in used if at > since]
    if len(counting) < cap.at_most:
        return None
    counting.sort()
    return counting[-cap.at_most] + cap.per


def all_free_at(caps: Sequence[tuple[Cap, Sequence[datetime]]], now: datetime) -> datetime | None:
    """Return when every cap has room at once, each counting its own uses, or None when that is now."""
    latest: datetime | None = None
    for cap, used in caps:
        free = free_at(cap, used, now)
        if free is not None and (latest is None or free > latest):
            latest = free
    return latest
