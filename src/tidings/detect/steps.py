"""How a price or a count went over time, as steps; the value holds from one step to the next."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidings.warehouse.catalogue import SEAM


@dataclass(frozen=True, slots=True)
class Steps:
    """Values by the instant from which they hold, in order; None where nothing is known to hold."""

    times: tuple[datetime, ...]
    values: tuple[int | None, ...]

    def at(self, moment: datetime) -> int | None:
        """Return the value that held at ``moment``; None before the first step."""
        place = bisect_right(self.times, moment)
        return self.values[place - 1] if place else None

    def between(self, start: datetime, end: datetime) -> list[int | None]:
        """Return every value that held at some time from ``start`` to ``end``, both included."""
        first = bisect_right(self.times, start)
        held = [value for time, value in zip(self.times[first:], self.values[first:], strict=True) if time <= end]
        return [self.at(start), *held]

    def __iter__(self) -> Iterator[tuple[datetime, int | None]]:
        return iter(zip(self.times, self.values, strict=True))


def _steps(changes: dict[datetime, int | None]) -> Steps:
    times: list[datetime] = []
    values: list[int | None] = []
    for time in sorted(changes):
        if not values or changes[time] != values[-1]:
            times.append(time)
            values.append(changes[time])
    return Steps(tuple(times), tuple(values))


@dataclass(frozen=True, slots=True)
class Price:
    """One row of the price book: an amount of one kind, from an instant, and until one where it says so."""

    kind: str
    amount: int | None
    since: datetime
    until: datetime | None


def public_price(rows: Iterable[Price], until: datetime) -> Steps:
    """Return the price anybody had to pay: the lowest of the kinds in force. Zero is no price.

    A row is in force until it says, or until the next of its kind; between two rows a ``SEAM`` is no gap. Nothing
    later than ``until`` is looked at.
    """
    changes: list[tuple[datetime, str, int | None]] = []
    for _, kind_rows in _by_kind(rows, until):
        for row, following in zip(kind_rows, [*kind_rows[1:], None], strict=True):
            changes.append((row.since, row.kind, row.amount))
            ended = row.until is not None and row.until <= until
            if row.until is not None and ended and (following is None or row.until < following.since - SEAM):
                changes.append((row.until, row.kind, None))
    in_force: dict[str, int] = {}
    steps: dict[datetime, int | None] = {}
    for time, kind, amount in sorted(changes, key=lambda change: change[0]):
        if amount is None:
            in_force.pop(kind, None)
        else:
            in_force[kind] = amount
        steps[time] = min(in_force.values(), default=None)
    return _steps(steps)


def _by_kind(rows: Iterable[Price], until: datetime) -> Iterator[tuple[str, list[Price]]]:
    kinds: dict[str, dict[datetime, Price]] = {}
    for row in rows:
        if row.amount is None or row.amount <= 0 or row.since > until or (row.until and row.until <= row.since):
            continue
        same = kinds.setdefault(row.kind, {})
        known = same.get(row.since)
        # Two prices from the same instant: the dearer one, so that no drop is invented.
        if known is None or known.amount is None or row.amount > known.amount:
            same[row.since] = row
    for kind in sorted(kinds):
        yield kind, [kinds[kind][since] for since in sorted(kinds[kind])]


@dataclass(frozen=True, slots=True)
class Count:
    """One count of what lies in one place."""

    place: tuple[str, ...]
    quantity: int
    at: datetime


def on_hand(counts: Iterable[Count], until: datetime) -> Steps:
    """Return the sum of every place's last count, as it went; a place that owes goods counts as empty."""
    latest: dict[tuple[datetime, tuple[str, ...]], int] = {}
    for count in counts:
        key = (count.at, count.place)
        # Two counts of one place at one instant: the lower, so that no goods are promised that are not there.
        if count.at <= until and (key not in latest or count.quantity < latest[key]):
            latest[key] = count.quantity
    places: dict[tuple[str, ...], int] = {}
    steps: dict[datetime, int | None] = {}
    for (at, place), quantity in sorted(latest.items()):
        places[place] = max(0, quantity)
        steps[at] = sum(places.values())
    return _steps(steps)


@dataclass(frozen=True, slots=True)
class Restock:
    """Goods came back at ``at`` after the shelf had been empty since ``out_since``."""

    out_since: datetime
    at: datetime


def restocks(shelf: Steps, *, out_for: timedelta, settle: timedelta, minimum: int, until: datetime) -> list[Restock]:
    """Return every restock: empty for at least ``out_for``, then at least ``minimum`` for at least ``settle``."""
    found: list[Restock] = []
    empty_since: datetime | None = None
    out_since: datetime | None = None
    for at, quantity in shelf:
        if empty_since is not None and at - empty_since >= out_for and out_since is None:
            out_since = empty_since
        if quantity is not None and quantity <= 0:
            empty_since = empty_since or at
            continue
        empty_since = None
        if out_since is None or quantity is None or quantity < minimum or at + settle > until:
            continue
        if all(held is not None and held >= minimum for held in shelf.between(at, at + settle)):
            found.append(Restock(out_since, at))
            out_since = None
    return found
