"""Messages in flight: `sending` is committed before HTTP, and nothing is ever offered twice."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidings.channels.base import Envelope, Provider
from tidings.errors import Halt, Reject, Retry, Unknown
from tidings.ledger.dispatching import Begun, Due, Intent, Outcome
from tidings.model.people import Channel
from tidings.plan.timing import OpenHours

log = logging.getLogger(__name__)

FIRST_RETRY = timedelta(seconds=90)
LAST_RETRY = timedelta(hours=1)
_LATE = "no answer in time"


@dataclass(frozen=True, slots=True)
class Ready:
    """A message that passed every gate. ``envelope`` is None for the held-out arm: nothing leaves.

    ``hours`` are those in which it may leave, asked once more when it does; None: at any.
    """

    intent: Intent
    envelope: Envelope | None
    campaign: str
    attempt: int
    expires_at: datetime
    hours: OpenHours | None = None
    priority: int = 50
    transactional: bool = False


@dataclass(slots=True)
class Halts:
    """Which channels stopped in this lane, and why; ``after`` ambiguous answers in a row stop one."""

    after: int
    reasons: dict[Channel, str]
    ambiguous: dict[Channel, int]
    _untold: list[tuple[Channel, str]]

    @classmethod
    def none(cls, after: int) -> Halts:
        """Return a clean slate."""
        return cls(after, {}, {}, [])

    def saw(self, channel: Channel, outcome: Outcome) -> None:
        """Note an answer; a refusal of the account, or a run of ambiguous answers, stops the channel."""
        if outcome.kind == "halt":
            self._stop(channel, f"the provider refused the account: {outcome.reason or 'no reason given'}"[:200])
        if outcome.kind != "unknown":
            self.ambiguous[channel] = 0
            return
        self.ambiguous[channel] = self.ambiguous.get(channel, 0) + 1
        if self.ambiguous[channel] >= self.after:
            self._stop(channel, f"{self.after} ambiguous answers in a row")

    def news(self) -> list[tuple[Channel, str]]:
        """Return what stopped since the last time this was asked."""
        told, self._untold = self._untold, []
        return told

    def _stop(self, channel: Channel, reason: str) -> None:
        if channel not in self.reasons:
            self.reasons[channel] = reason
            self._untold.append((channel, reason))


def next_try(now: datetime, attempt: int, asked: float | None) -> datetime:
    """Return when a message that was certainly not taken may be offered again."""
    # SendGrid counts a 429 against the whole account, so the first wait is longer than its window.
    backoff = min(FIRST_RETRY * 2 ** min(attempt, 10), LAST_RETRY)
    return now + max(backoff if asked is None else timedelta(seconds=asked), timedelta(seconds=1))


async def offer(provider: Provider, ready: Ready, token: str, now: datetime) -> Outcome:
    """Hand one message to the provider and sort the answer; whatever happens, there is an outcome."""
    assert ready.envelope is not None
    mid = ready.intent.id
    try:
        provider_id = await provider.send(ready.envelope)
    except Retry as no:
        later = next_try(now, ready.attempt, no.after)
        return Outcome(mid, token, "wait" if no.throttled else "retry", reason=no.reason, retry_at=later)
    except Reject as no:
        return Outcome(mid, token, "failed", reason="rejected", detail=no.reason, suppress=no.suppress)
    except Halt as no:
        return Outcome(mid, token, "halt", reason=no.reason, retry_at=now + timedelta(minutes=1))
    except Unknown as lost:
        return Outcome(mid, token, "unknown", detail=lost.reason)
    except TimeoutError:
        return Outcome(mid, token, "unknown", detail=_LATE)
    except Exception as bug:  # an answer that cannot be read may still mean "taken"
        log.error("provider %s broke with %s", provider.name, type(bug).__name__)
        return Outcome(mid, token, "unknown", detail=type(bug).__name__)
    return Outcome(mid, token, "sent", provider_id=provider_id)


@dataclass(frozen=True, slots=True)
class Exchange:
    """The steps around HTTP, given by the lane: write the words, commit `sending`, send, commit the outcomes.

    ``limit`` bounds one message in seconds (a provider's own time-outs end first; this is for one that has none), and
    is looked at eight times as often; ``grace`` is how long after the commit its sending may still start.
    ``abreast``: write the next messages while these are committed, which pays where a server does that work.
    """

    providers: Mapping[Channel, Provider]
    write: Callable[[Sequence[Due]], Awaitable[Sequence[Ready]]]
    begin: Callable[[Sequence[Ready]], Awaitable[Begun]]
    record: Callable[[Sequence[Outcome]], Awaitable[None]]
    halts: Halts
    window: int
    limit: float
    grace: float
    abreast: bool = True

    async def carry(
        self, passed: Sequence[Due], token: str, clock: Callable[[], datetime], stop: Callable[[], bool]
    ) -> list[str]:
        """Move a batch through; return the ids that were not begun (a stop, or a halted channel).

        Half a window is written while the one before is committed and in flight, and begun whenever there is room for
        it. At most one window is in flight, and two are unrecorded.
        """
        flight = _Flight(self, token, clock)
        left: list[str] = []
        half = max(1, self.window // 2)
        begun: asyncio.Future[None] | None = None
        try:
            for at in range(0, len(passed), half):
                some = passed[at : at + half]
                wanted = [] if stop() else [one for one in some if self._open(one.channel)]
                ready = await self.write(wanted) if wanted else []
                if begun is not None:
                    await begun
                await flight.room_for(half)
                going = [] if stop() else [one for one in ready if self._open(one.intent.channel)]
                kept = {one.id for one in wanted} - {one.intent.id for one in ready} | {one.intent.id for one in going}
                left.extend(one.id for one in some if one.id not in kept)
                begun = asyncio.ensure_future(flight.begin(going)) if going else None
                if begun is not None and not self.abreast:
                    await begun
            if begun is not None:
                await begun
        finally:
            # What was begun is seen to its end, whatever has gone wrong meanwhile.
            if begun is not None:
                await asyncio.wait([begun])
            await flight.land()
        return left

    def _open(self, channel: str) -> bool:
        return channel not in self.halts.reasons


class _Flight:
    """The messages of one batch between the commit of `sending` and the commit of what became of them."""

    def __init__(self, exchange: Exchange, token: str, clock: Callable[[], datetime]) -> None:
        self._exchange, self._token, self._clock = exchange, token, clock
        self._flying: dict[asyncio.Task[None], float] = {}  # and when it must have landed, once it has begun
        self._late: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._landed: list[Outcome] = []
        self._recording: asyncio.Task[None] | None = None
        self._came = asyncio.Event()

    async def room_for(self, more: int) -> None:
        """Wait until so many more fit into the window; meanwhile record what has come back."""
        window = self._exchange.window
        while True:
            if len(self._landed) >= more or (self._landed and not self._flying):
                await self._record()
            if not self._flying or len(self._flying) + more <= window:
                return
            self._came.clear()
            await self._came.wait()

    async def begin(self, some: Sequence[Ready]) -> None:
        """Commit `sending` for these, and set off those that were granted."""
        latest = time.monotonic() + self._exchange.grace
        granted = await self._exchange.begin(some)
        now = self._clock()
        asleep = time.monotonic() > latest
        for one in some:
            if one.intent.id not in granted.sending:
                continue
            if asleep:
                # Nothing has left yet, and the lease that covered it may be over: this process was asleep.
                self._landed.append(Outcome(one.intent.id, self._token, "retry", reason="asleep", retry_at=now))
                continue
            task = asyncio.create_task(self._fly(one, now))
            self._flying[task] = math.inf
            task.add_done_callback(self._came_back)
        if self._sweep is None:
            self._look_later()

    async def land(self) -> None:
        """Wait for every answer and for the commit of every outcome, whatever has gone wrong meanwhile."""
        while self._flying:
            await asyncio.wait(list(self._flying))
        if self._sweep is not None:
            self._sweep.cancel()
        try:
            if self._landed:
                await self._record()
        finally:
            if self._recording is not None:
                await self._recording

    async def _fly(self, one: Ready, now: datetime) -> None:
        exchange, channel = self._exchange, Channel(one.intent.channel)
        task = asyncio.current_task()
        assert task is not None
        self._flying[task] = asyncio.get_running_loop().time() + exchange.limit
        try:
            outcome = await offer(exchange.providers[channel], one, self._token, now)
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            outcome = Outcome(one.intent.id, self._token, "unknown", detail=_LATE)
        exchange.halts.saw(channel, outcome)
        self._landed.append(outcome)

    def _came_back(self, task: asyncio.Task[None]) -> None:
        self._flying.pop(task, None)
        self._late.discard(task)
        self._came.set()

    def _look_later(self) -> None:
        self._sweep = asyncio.get_running_loop().call_later(self._exchange.limit / 8, self._end_late)

    def _end_late(self) -> None:
        """End what should have landed: one look at all of them costs less than a timer for each."""
        at = asyncio.get_running_loop().time()
        for task in [task for task, landed in self._flying.items() if landed <= at]:
            self._late.add(task)
            task.cancel()
        self._look_later()

    async def _record(self) -> None:
        """Have what has landed recorded in the background; these also when those before them could not be."""
        outcomes, self._landed = self._landed, []
        before, self._recording = self._recording, asyncio.ensure_future(self._exchange.record(outcomes))
        if before is not None:
            await before
