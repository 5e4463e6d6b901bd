"""The past, lived again through the real jobs: an hour at a time, with a clock that is told and not read."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from croniter import croniter

from tidings.demo.letters import left
from tidings.demo.mailroom import Mailroom
from tidings.demo.shoppers import Deed, Shoppers
from tidings.demo.till import Till
from tidings.jobs import dispatch, measure, plan
from tidings.jobs.opening import Opened

HOUR = timedelta(hours=1)
_LONG = timedelta(minutes=10)


@dataclass(slots=True)
class Replayed:
    """What the replay came to; ``seconds`` per part of the work."""

    ticks: int = 0
    skipped_ticks: int = 0
    plans: int = 0
    sent: Counter[str] = field(default_factory=Counter)
    deeds: int = 0
    orders: int = 0


@dataclass(slots=True)
class Past:
    """Everything a replay needs, opened by the caller."""

    opened: Opened
    shoppers: Shoppers
    mailroom: Mailroom
    till: Till
    _deeds: list[tuple[int, int, Deed]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    def live_through(
        self, start: datetime, end: datetime, *, told: Callable[[datetime, Replayed], None] | None = None
    ) -> Replayed:
        """Replay from ``start`` to ``end`` in hourly ticks, then measure. Ticks without anything to do are skipped."""
        done = Replayed()
        at = start
        while at <= end:
            self._tick(at - HOUR, at, done)
            if told is not None:
                told(at, done)
            at += HOUR
        self.mailroom.set_clock(None)
        measure.run(self.opened, now=end)
        return done

    def _tick(self, before: datetime, at: datetime, done: Replayed) -> None:
        moment = int(at.timestamp())
        done.orders += self.till.ring(moment)
        worked = self._deeds_until(moment, done)
        for campaign in self.opened.project.campaigns.values():
            if _is_due(campaign.schedule, before, at):
                plan.run(self.opened, campaign.id, now=at, as_of=at)
                done.plans += 1
                worked = True
        if dispatch.due(self.opened, now=at):
            self.mailroom.set_clock(at)
            dispatch.run(self.opened, now=at, budget=_LONG)
            self._answer(done)
            worked = True
        done.ticks += worked
        done.skipped_ticks += not worked

    def _answer(self, done: Replayed) -> None:
        """Let those whom a provider took a message for react to it."""
        with self.opened.ledger.reading() as conn:
            letters = left(conn, self.mailroom.fresh())
        done.sent.update(letter.campaign for letter in letters)
        deeds, orders = self.shoppers.react(letters)
        self.till.expect(orders)
        for deed in deeds:
            heapq.heappush(self._deeds, (deed.at, next(self._numbers), deed))

    def _deeds_until(self, moment: int, done: Replayed) -> bool:
        due: list[Deed] = []
        while self._deeds and self._deeds[0][0] <= moment:
            due.append(heapq.heappop(self._deeds)[2])
        if due:
            self.mailroom.set_clock(datetime.fromtimestamp(moment, UTC))
            self.mailroom.do(due)
        done.deeds += len(due)
        return bool(due)


def _is_due(schedule: str, before: datetime, at: datetime) -> bool:
    """Return whether a schedule names a moment after ``before`` and not after ``at``."""
    latest: datetime = croniter(schedule, at + timedelta(seconds=1)).get_prev(datetime)
    return before < latest <= at
