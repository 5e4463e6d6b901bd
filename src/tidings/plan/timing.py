"""When a message may leave: the customer's own clock decides, and nothing is ever sent early.

Every instant is compared as UTC; a wall clock is only ever read, never added to. The open hours of a UTC day are
worked out piece by piece between the moments at which an offset changes, so a gap moves a message to the first
instant after it, and of a repeated hour the first occurrence is taken (timing rules 2.4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

Span = tuple[int, int]  # seconds of a wall-clock day, half-open
Week = tuple[tuple[Span, ...], ...]  # Monday first

DAY = 86_400
EVERY_DAY = frozenset(range(7))
# Longest wait for an open moment: a weekly window that falls on public holidays may have to wait for weeks.
HORIZON_DAYS = 60
_REMEMBERED_DAYS = 4_000


def seconds(at: time) -> int:
    """Return the whole seconds since midnight."""
    return at.hour * 3600 + at.minute * 60 + at.second


@dataclass(frozen=True, slots=True)
class QuietHours:
    """The part of every local day in which nothing is sent, half-open; may span midnight; empty if both are equal."""

    start: time
    end: time

    def cover(self, local: time) -> bool:
        """Return whether a wall-clock time lies in the quiet hours."""
        if self.start <= self.end:
            return self.start <= local < self.end
        return local >= self.start or local < self.end

    def week(self) -> Week:
        """Return what the quiet hours leave open."""
        start, end = seconds(self.start), seconds(self.end)
        open_spans = ((0, start), (end, DAY)) if start <= end else ((end, start),)
        if start == end:
            open_spans = ((0, DAY),)
        return (tuple(span for span in open_spans if span[0] < span[1]),) * 7


@dataclass(frozen=True, slots=True)
class SendWindow:
    """A campaign's own hours, half-open, on the weekdays (Monday is 0) on which they begin.

    A window whose end is not after its start runs past midnight; equal ends mean the whole day.
    """

    start: time
    end: time
    days: frozenset[int] = EVERY_DAY

    def week(self) -> Week:
        """Return the open spans of each weekday."""
        start, end = seconds(self.start), seconds(self.end)
        spans: list[list[Span]] = [[] for _ in range(7)]
        for day in sorted(self.days):
            spans[day].append((start, end if start < end else DAY))
            if start > end:
                spans[(day + 1) % 7].append((0, end))
            elif start == end:
                spans[day][-1] = (0, DAY)
        return tuple(tuple(sorted(span for span in day if span[0] < span[1])) for day in spans)


@dataclass(frozen=True, slots=True)
class Opening:
    """Weekly open hours, read in every candidate zone, or in ``zone`` alone where the rule names one.

    Holds from the local day ``since`` up to, not including, ``until``; on the days for which ``closed`` is true
    nothing is open.
    """

    week: Week
    zone: str | None = None
    since: date | None = None
    until: date | None = None
    closed: Callable[[date], bool] | None = None

    def spans(self, day: date) -> tuple[Span, ...]:
        """Return the open spans of one local day."""
        if (self.since and day < self.since) or (self.until and day >= self.until):
            return ((0, DAY),)
        if self.closed is not None and self.closed(day):
            return ()
        return self.week[day.weekday()]


@dataclass(frozen=True, slots=True)
class Hours:
    """The hours in which a message may leave: all of the openings at once. Without any, every hour is open."""

    openings: tuple[Opening, ...] = ()
    _hash: int = field(init=False, repr=False, compare=False)  # the weeks are long, and looked up for every message

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash(self.openings))

    def __hash__(self) -> int:
        return self._hash


def allowed(at: datetime, zones: Iterable[str], hours: Hours) -> bool:
    """Return whether every opening is open at this instant in every zone it is read in.

    This is the rule itself, one wall clock after the other; ``send_at`` gives the same answers in bulk.
    """
    places = tuple(zones)
    for opening in hours.openings:
        for zone in (opening.zone,) if opening.zone else places:
            local = at.astimezone(ZoneInfo(zone))
            now = seconds(local.time())
            if not any(start <= now < end for start, end in opening.spans(local.date())):
                return False
    return True


def send_at(due: datetime, zones: tuple[str, ...], hours: Hours, limit: datetime | None = None) -> datetime | None:
    """Return the earliest allowed instant at or after ``due``, in UTC.

    None when there is none up to and including ``limit``, or within HORIZON_DAYS.
    """
    return open_hours(zones, hours).first(due, limit)


@lru_cache(maxsize=4096)
def open_hours(zones: tuple[str, ...], hours: Hours) -> OpenHours:
    """Return the (remembered) calendar of these zones and hours."""
    return OpenHours(zones, hours)


class OpenHours:
    """A calendar of the instants at which all openings are open; remembers the days it has worked out."""

    def __init__(self, zones: tuple[str, ...], hours: Hours) -> None:
        self._read = [
            (opening, ZoneInfo(zone))
            for opening in hours.openings
            for zone in ((opening.zone,) if opening.zone else zones)
        ]
        self._days: dict[int, tuple[tuple[datetime, datetime], ...]] = {}

    def first(self, due: datetime, limit: datetime | None = None) -> datetime | None:
        """Return the earliest open instant at or after ``due``, in UTC; None as in ``send_at``."""
        if due.tzinfo is not UTC:
            due = _utc(due)
        if not self._read:
            return due if limit is None or due <= limit else None
        today = due.toordinal()
        for day in range(today, today + HORIZON_DAYS):
            for start, end in self._days.get(day) or self._open(day):
                if due < end:
                    found = due if due >= start else start
                    return found if limit is None or found <= limit else None
            if limit is not None and limit.toordinal() < day:
                return None
        return None

    def covers(self, at: datetime) -> bool:
        """Return whether ``at`` is open."""
        return self.first(at, at) is not None

    def _open(self, ordinal: int) -> tuple[tuple[datetime, datetime], ...]:
        if ordinal not in self._days:
            if len(self._days) >= _REMEMBERED_DAYS:
                self._days.clear()
            midnight = datetime.fromordinal(ordinal).replace(tzinfo=UTC)
            spans: list[Span] = [(0, DAY)]
            for opening, zone in self._read:
                spans = _both(spans, _joined(_open_seconds(opening, zone, midnight)))
            self._days[ordinal] = tuple(
                (midnight + timedelta(seconds=start), midnight + timedelta(seconds=end)) for start, end in spans
            )
        return self._days[ordinal]


def _utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("a naive time has no place on a customer's clock")
    return at.astimezone(UTC)


def _open_seconds(opening: Opening, zone: ZoneInfo, midnight: datetime) -> Iterator[Span]:
    """Yield the open spans of one UTC day, in seconds after its midnight, in order."""
    for start, end, offset in _offsets(zone, midnight):
        first = (midnight + timedelta(seconds=start + offset)).date()
        last = (midnight + timedelta(seconds=end - 1 + offset)).date()
        for day in range(first.toordinal(), last.toordinal() + 1):
            wall_midnight = (day - midnight.toordinal()) * DAY - offset
            for opens, closes in opening.spans(date.fromordinal(day)):
                span = max(start, wall_midnight + opens), min(end, wall_midnight + closes)
                if span[0] < span[1]:
                    yield span


def _offsets(zone: ZoneInfo, midnight: datetime) -> list[tuple[int, int, int]]:
    """Return the pieces of a UTC day in which the zone's offset (in seconds) stands still."""

    def offset(second: int) -> int:
        away = (midnight + timedelta(seconds=second)).astimezone(zone).utcoffset()
        assert away is not None
        return int(away.total_seconds())

    pieces: list[tuple[int, int, int]] = []
    start, current = 0, offset(0)
    for hour in range(3600, DAY + 1, 3600):
        if offset(hour - 1) == current:
            continue
        before, after = max(hour - 3601, 0), hour - 1  # the first still has the old offset, the second the new
        while after - before > 1:
            middle = (before + after) // 2
            before, after = (middle, after) if offset(middle) == current else (before, middle)
        if start < after:
            pieces.append((start, after, current))
        start, current = after, offset(hour - 1)
    pieces.append((start, DAY, current))
    return pieces


def _joined(spans: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end in spans:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _both(left: list[Span], right: list[Span]) -> list[Span]:
    both: list[Span] = []
    for start, end in left:
        for opens, closes in right:
            span = max(start, opens), min(end, closes)
            if span[0] < span[1]:
                both.append(span)
    return both
