"""The past, lived again through the real jobs, with a clock that is told and not read."""

from __future__ import annotations

import heapq
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from croniter import croniter

from tidings.definitions import Campaign
from tidings.demo.letters import left
from tidings.demo.mailroom import Mailroom
from tidings.demo.shoppers import Deed, Shoppers
from tidings.demo.till import Till
from tidings.jobs import dispatch, plan
from tidings.jobs.opening import Opened

HOUR = timedelta(hours=1)
# Every hour where the machine is quick enough for the demo to be over within its four minutes, else less often: to
# look with all five campaigns, to ask whether it is still true and to send costs about as much in every look, whatever
# little it finds. The first looks, by which a machine is judged, are three hours apart.
PACES = tuple(timedelta(hours=hours) for hours in (1, 2, 3, 4, 6))
PACE, _FIRST_LOOKS = PACES[2], 5
_LONG = timedelta(minutes=10)


def pace_for(left: timedelta, looks: int, spent: float, seconds: float) -> timedelta:
    """Return the shortest pace at which what is left of the past fits into what is left of so many seconds.

    So many looks have taken ``spent`` seconds until now; after a few only, nobody can tell.
    """
    if looks < _FIRST_LOOKS:
        return PACE
    most = (seconds - spent) / (spent / looks)
    return next((pace for pace in PACES if left / pace <= most), PACES[-1])


@dataclass(slots=True)
class Replayed:
    """What the replay came to. A tick without anything to do is skipped."""

    ticks: int = 0
    skipped_ticks: int = 0
    plans: int = 0
    sent: Counter[str] = field(default_factory=Counter)
    deeds: int = 0
    orders: int = 0


@dataclass(slots=True)
class Past:
    """Everything a replay needs, opened by the caller. ``stop`` ends it early.

    ``pace`` is how far the clock jumps; None: as little as ``seconds`` for all of it allow.
    """

    opened: Opened
    shoppers: Shoppers
    mailroom: Mailroom
    till: Till
    pace: timedelta | None = None
    seconds: float = 165.0
    stop: threading.Event = field(default_factory=threading.Event)
    _deeds: list[tuple[int, int, Deed]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)
    _planned: dict[str, datetime] = field(default_factory=dict)

    def live_through(
        self, start: datetime, end: datetime, *, told: Callable[[datetime, Replayed], None] | None = None
    ) -> Replayed:
        """Replay from ``start`` until ``end``, both among the ticks; what is still to come stays with the till."""
        done = Replayed()
        began, at = time.monotonic(), start
        # Two campaigns are looked at side by side: the warehouse's work is done outside Python. What people did since
        # the last look is told meanwhile, as it is in real life; before anything is sent, all of it has arrived.
        with ThreadPoolExecutor(2, "plan") as planners, ThreadPoolExecutor(1, "deeds") as shoppers:
            while True:
                self._tick(at, done, planners, shoppers)
                if told is not None:
                    told(at, done)
                if at >= end:
                    break
                looks = done.ticks + done.skipped_ticks
                at = min(end, at + (self.pace or pace_for(end - at, looks, time.monotonic() - began, self.seconds)))
        self.mailroom.set_clock(None)
        return done

    def _tick(self, at: datetime, done: Replayed, planners: ThreadPoolExecutor, shoppers: ThreadPoolExecutor) -> None:
        moment = int(at.timestamp())
        done.orders += self.till.ring(moment)
        told = shoppers.submit(self._deeds_until, moment, done)
        due = self._campaigns_due(at)
        for _ in planners.map(lambda campaign: plan.run(self.opened, campaign.id, now=at, as_of=at), due):
            done.plans += 1
        worked = told.result()
        if dispatch.due(self.opened, now=at):
            self.mailroom.set_clock(at)
            dispatch.run(self.opened, now=at, budget=_LONG, stop=self.stop)
            if self.stop.is_set():  # a TERM signal that came while the lane was listening for it
                raise KeyboardInterrupt
            self._answer(done)
            worked = True
        if worked or due:
            done.ticks += 1
        else:
            done.skipped_ticks += 1

    def _campaigns_due(self, at: datetime) -> Sequence[Campaign]:
        """Return the campaigns whose schedule has come round since they were planned last."""
        due = []
        for campaign in self.opened.project.campaigns.values():
            last = self._planned.get(campaign.id)
            latest: datetime = croniter(campaign.schedule, at + timedelta(seconds=1)).get_prev(datetime)
            if latest > (last or at - PACE):
                self._planned[campaign.id] = at
                due.append(campaign)
        return due

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
