"""Dispatch: what is due and still true leaves, once; one lane leases free shards until nothing is due or time is up."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from tidings.channels.base import Provider
from tidings.definitions import Campaign
from tidings.jobs import campaigns as words
from tidings.jobs import preflight, rates
from tidings.jobs.curbs import Curbs, Deferral, Ending, window_for
from tidings.jobs.facts import Shelf
from tidings.jobs.gates import pass_gates, provider_name, refused
from tidings.jobs.opening import Opened
from tidings.jobs.process import runner, sharing, stopping
from tidings.jobs.sending import Exchange, Halts, Ready
from tidings.jobs.versions import Versions
from tidings.jobs.writing import Prepared, Writer, Written
from tidings.ledger import dispatching, planning, receipts
from tidings.ledger.dispatching import Begun, Claim, Due, Outcome
from tidings.ledger.store import BRIEF_SECONDS
from tidings.model.message import Space, Status
from tidings.model.people import Channel

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]
# For so many seconds a lane tries to write down what providers answered.
_RECORDING = 30.0


@dataclass(frozen=True, slots=True)
class DispatchCounts:
    """One lane's run. ``claimed = sent + held_out + retried + failed + unknown + deferred + ended + let_go + lost``."""

    space: str
    claimed: int = 0
    sent: int = 0
    held_out: int = 0
    retried: int = 0
    failed: int = 0
    unknown: int = 0
    deferred: int = 0
    let_go: int = 0
    lost: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    cancelled: Mapping[str, int] = field(default_factory=dict)
    expired: int = 0
    returned: int = 0
    doubtful: int = 0
    offered_again: int = 0
    halted: Mapping[str, str] = field(default_factory=dict)


def due(opened: Opened, *, now: datetime | None = None, dry_run: bool = False) -> bool:
    """Return whether a dispatcher would find work; asks the ledger only."""
    with opened.ledger.reading() as conn:
        return dispatching.anything_due(conn, _space(dry_run), now or opened.ledger.now())


def run(
    opened: Opened,
    *,
    now: datetime | None = None,
    budget: timedelta | None = None,
    dry_run: bool = False,
    stop: threading.Event | None = None,
    limit: int | None = None,
) -> DispatchCounts:
    """Work as one lane until nothing is due, the budget is used up, or a TERM signal comes.

    ``now`` fixes the job's clock (a simulation); otherwise it is read from the ledger's database per batch.
    ``dry_run`` works in the dry-run space with the outbox; nothing leaves. ``limit`` stops after so many claims.
    """
    if not dry_run:
        preflight.require(opened)
    clock: Clock = (lambda: now) if now is not None else opened.ledger.now
    stop = stop or threading.Event()
    until = budget or opened.settings.dispatch.budget
    lane = Lane(opened, clock, _space(dry_run), stop, until, limit, fixed=now is not None)
    with stopping(stop), sharing():
        counts = runner().run(lane.work())
    log.info(
        "dispatched space=%s claimed=%d sent=%d held_out=%d deferred=%d skipped=%d cancelled=%d expired=%d "
        "retried=%d failed=%d unknown=%d let_go=%d lost=%d",
        counts.space, counts.claimed, counts.sent, counts.held_out, counts.deferred,
        sum(counts.skipped.values()), sum(counts.cancelled.values()), counts.expired,
        counts.retried, counts.failed, counts.unknown, counts.let_go, counts.lost,
    )  # fmt: skip
    return counts


def _space(dry_run: bool) -> Space:
    return Space.DRY_RUN if dry_run else Space.LIVE


class Lane:
    """One worker over shards. While a batch is written and in flight the next one is claimed and checked."""

    def __init__(
        self,
        opened: Opened,
        clock: Clock,
        space: Space,
        stop: threading.Event,
        budget: timedelta,
        limit: int | None,
        *,
        fixed: bool = False,
    ) -> None:
        self.opened, self.clock, self.space, self.stop, self.limit = opened, clock, space, stop, limit
        self.settings = opened.settings.dispatch
        self.campaigns: Mapping[str, Campaign] = {one.id: one for one in opened.project.campaigns.values()}
        self.caps = words.caps(opened.settings)
        self.owner = uuid.uuid4().hex
        self.until = time.monotonic() + budget.total_seconds()
        self.halts = Halts.none(self.settings.halt_after)
        self.curbs = Curbs(opened, space)
        self.versions = Versions(opened)
        self.counts: Counter[str] = Counter()
        # A batch is prepared in one thread while another is recorded in a second.
        self._counting = threading.Lock()
        self.skipped: Counter[str] = Counter()
        self.cancelled: Counter[str] = Counter()
        self.providers: dict[Channel, Provider] = {}
        self.shelf = Shelf()
        self.fixed = fixed
        self._began = (datetime.fromtimestamp(0, UTC), 0.0)

    @property
    def over(self) -> bool:
        """Whether the lane should claim nothing more."""
        spent = self.limit is not None and self.counts["claimed"] >= self.limit
        return spent or self.stop.is_set() or time.monotonic() >= self.until

    async def work(self) -> DispatchCounts:
        """Reap, then lease shard after shard; every provider is closed at the end."""
        started = self.clock()
        await asyncio.to_thread(self._open_up, started)
        try:
            await asyncio.to_thread(self._tidy)
            done: set[int] = set()
            while not self.over:
                shards = await asyncio.to_thread(self._lease, done)
                if not shards:
                    break
                try:
                    await self._drain(shards)
                finally:
                    done.update(shards)
                    await asyncio.to_thread(self._release)
        finally:
            for provider in self.providers.values():
                await provider.close()
        await asyncio.to_thread(self._close_up)
        told = self._told()
        if told.claimed or told.returned or told.doubtful or told.offered_again:
            await asyncio.to_thread(self._record_run, told, started)
        return told

    def _open_up(self, now: datetime) -> None:
        """Refuse to work on a ledger that was restored and not reconciled. Raises LedgerError."""
        if self.space is Space.LIVE:
            until = now + timedelta(seconds=max(0.0, self.until - time.monotonic())) + self.settings.lease
            self.opened.witnesses.begin(self.opened.ledger, now, until)

    def _close_up(self) -> None:
        if self.space is Space.LIVE:
            self.opened.witnesses.end(self.opened.ledger, self.clock())

    async def _drain(self, shards: Sequence[int]) -> None:
        ahead: asyncio.Task[Prepared | None] | None = asyncio.create_task(asyncio.to_thread(self._prepare, shards))
        try:
            while ahead is not None:
                batch, ahead = await ahead, None
                if batch is None:
                    return
                if not self.over:
                    ahead = asyncio.create_task(asyncio.to_thread(self._prepare, shards))
                await self._carry(batch)
        finally:
            left = None if ahead is None else await ahead
            if left is not None:
                await asyncio.to_thread(self._let_go, left.token, [one.id for one in left.passed])

    def _prepare(self, shards: Sequence[int]) -> Prepared | None:
        """Claim a batch, ask what is true about it, end or defer what must not leave; the rest may be written."""
        now = self.clock()
        with self._writing() as conn:
            found: Claim = dispatching.claim(
                conn, space=self.space, shard=shards, now=now, limit=self.settings.batch, lease=self.settings.lease
            )
            dispatching.extend_shards(conn, space=self.space, owner=self.owner, lease=self.settings.lease)
        if not found.due:
            return None
        self._count(claimed=len(found.due))
        try:
            batch = pass_gates(self.opened, found, self.campaigns, self.space, now, self.halts, self.shelf)
            writer = Writer(self.opened, batch.facts, self.campaigns, self.space, self.versions)
            passed = writer.prepare(batch.passed)
        except BaseException:
            self._let_go(found.token, [one.id for one in found.due])
            raise
        with self._writing() as conn:
            self._settle(conn, batch.token, batch.deferred, batch.ended, now)
            passed = self.curbs.ranked(conn, passed, now)
        return Prepared(batch.token, writer, passed)

    def _writing(self) -> AbstractContextManager[Connection]:
        """A transaction that other lanes may wait for."""
        return self.opened.ledger.writing(seconds=BRIEF_SECONDS)

    def _settle(
        self, conn: Connection, token: str, deferred: Sequence[Deferral], ended: Sequence[Ending], now: datetime
    ) -> None:
        waiting = dispatching.defer(conn, token, deferred)
        dispatching.end(conn, token, ended, now)
        self._count(deferred=waiting, lost=len(deferred) - waiting)
        self._count_ends(ended)

    def _count(self, **more: int) -> None:
        with self._counting:
            self.counts.update(more)

    def _count_ends(self, ended: Sequence[Ending]) -> None:
        with self._counting:
            for _, status, reason, _ in ended:
                match status:
                    case Status.SKIPPED:
                        self.skipped[reason or "?"] += 1
                    case Status.CANCELLED:
                        self.cancelled[reason or "?"] += 1
                    case Status.EXPIRED:
                        self.counts["expired"] += 1
                    case _:
                        self.counts["failed"] += 1

    def _moment(self) -> datetime:
        """Return the job's time without asking for it, as the loop needs it: that of the last commit, gone on since."""
        at, then = self._began
        return at if self.fixed else at + timedelta(seconds=time.monotonic() - then)

    async def _carry(self, batch: Prepared) -> None:
        async def write(some: Sequence[Due]) -> Sequence[Ready]:
            written = await batch.writer.write(some)
            if written.versions or written.ended:
                await asyncio.to_thread(self._keep, batch.token, written)
            return written.ready

        async def begin(some: Sequence[Ready]) -> Begun:
            return await asyncio.to_thread(self._begin, batch, some)

        async def record(outcomes: Sequence[Outcome]) -> None:
            await asyncio.to_thread(self._record, outcomes)

        window = window_for(self.opened, batch.passed)
        limit = self.settings.lease.total_seconds() / 2
        grace = (self.settings.timeout + self.settings.margin).total_seconds()
        abreast = self.opened.ledger.dialect != "sqlite"
        exchange = Exchange(self.providers, write, begin, record, self.halts, window, limit, grace, abreast)
        try:
            self._connect(batch)
            left = await exchange.carry(batch.passed, batch.token, self._moment, self.stop.is_set)
        except BaseException:
            # Only what is still claimed goes back; what was begun is settled by its own outcome, or by the reaper.
            await asyncio.to_thread(self._let_go, batch.token, [one.id for one in batch.passed])
            raise
        if left:
            await asyncio.to_thread(self._let_go, batch.token, left)

    def _connect(self, batch: Prepared) -> None:
        for channel in {Channel(one.channel) for one in batch.passed if not one.held_out}:
            if channel not in self.providers:
                self.providers[channel] = self.opened.provider(channel, outbox=self.space is Space.DRY_RUN)

    def _keep(self, token: str, written: Written) -> None:
        """Keep what messages are made of before they leave, and end those that cannot be written."""
        now = self.clock()
        with self._writing() as conn:
            receipts.keep(conn, written.versions, now)
            self._settle(conn, token, (), written.ended, now)

    def _begin(self, batch: Prepared, some: Sequence[Ready]) -> Begun:
        """Commit ``sending`` for what may still leave at this very moment; the rest waits or ends."""
        now = self.clock()
        self._began = (now, time.monotonic())
        with self._writing() as conn:
            going, waiting, over = self.curbs.look(conn, some, now)
            begun = dispatching.begin_sending(
                conn,
                space=self.space,
                token=batch.token,
                intents=[one.intent for one in going],
                caps=self.caps,
                now=now,
                ahead=self.settings.timeout + self.settings.margin,
            )
            self.curbs.begun(conn, going, begun, now)
            deferred, ended = refused(going, begun, now)
            self._settle(conn, batch.token, [*waiting, *deferred], [*over, *ended], now)
        if begun.number is not None:
            self.opened.witnesses.note(begun.number, now)
        self._count(held_out=len(begun.held_out), lost=len(begun.lost))
        return begun

    def _record(self, outcomes: Sequence[Outcome]) -> None:
        halted = self.halts.news()
        # Whatever was taken must reach the ledger: a lost connection is tried again, for as long as a database takes
        # to start, before it is given up to the reaper, which calls it unknown.
        ends, pause = time.monotonic() + min(_RECORDING, self.settings.lease.total_seconds() / 3), 0.2
        while True:
            try:
                self._write_outcomes(outcomes, halted)
                break
            except Exception:
                if time.monotonic() >= ends:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, 3.0)
        self.curbs.settle(outcomes)
        self._count(**Counter(_COUNTED[outcome.kind] for outcome in outcomes))

    def _write_outcomes(self, outcomes: Sequence[Outcome], halted: Sequence[tuple[Channel, str]]) -> None:
        now = self.clock()
        with self._writing() as conn:
            dispatching.record_outcomes(conn, outcomes, now)
            self.curbs.record(conn, outcomes, now)
            for channel, reason in halted:
                self.curbs.pull(conn, provider_name(self.opened, channel, self.space), reason, now)

    def _lease(self, done: set[int]) -> list[int]:
        # Every batch asks the warehouse the same few questions, so a lane takes its whole part of the shards at
        # once; another lane that starts a moment later finds the rest.
        most = max(1, self.settings.shards // self.settings.lanes)
        with self._writing() as conn:
            return dispatching.lease_shards(
                conn,
                space=self.space,
                owner=self.owner,
                now=self.clock(),
                lease=self.settings.lease,
                most=most,
                skip=done,
            )

    def _release(self) -> None:
        with self._writing() as conn:
            dispatching.release_shards(conn, space=self.space, owner=self.owner)

    def _let_go(self, token: str, ids: Sequence[str]) -> None:
        if not ids:
            return
        with self._writing() as conn:
            back = dispatching.let_go(conn, token, ids)
        self._count(let_go=back, lost=len(ids) - back)

    def _tidy(self) -> None:
        now = self.clock()
        with self._writing() as conn:
            reaped = dispatching.reap(conn, margin=self.settings.timeout + self.settings.margin)
            quarantined = now - self.settings.presume_lost_after
            again = dispatching.offer_again(conn, campaigns=self._at_least_once(), before=quarantined, now=now)
            dispatching.presume_lost(conn, before=quarantined, now=now)
        if self.space is Space.LIVE:
            rates.run(self.opened, now=now, every=self.opened.settings.brakes.look_every)
        self._count(returned=reaped.returned, doubtful=reaped.unknown, offered_again=again)

    def _at_least_once(self) -> list[str]:
        live = self.space is Space.LIVE
        chosen = (one for one in self.campaigns.values() if one.delivery_semantics == "at_least_once")
        return [one.id for one in chosen if live and one.mode == "live"]

    def _told(self) -> DispatchCounts:
        halted = {channel.value: reason for channel, reason in self.halts.reasons.items()}
        # Plain dictionaries: dataclasses.asdict makes nonsense of a Counter.
        skipped, cancelled = dict(self.skipped), dict(self.cancelled)
        told = DispatchCounts(self.space, skipped=skipped, cancelled=cancelled, halted=halted)
        numbers: dict[str, Any] = {name: self.counts[name] for name in _NUMBERS}
        return replace(told, **numbers)

    def _record_run(self, told: DispatchCounts, started: datetime) -> None:
        counters = {name: value for name, value in asdict(told).items() if name != "space"}
        for name in ("skipped", "cancelled"):
            counters[name] = {str(reason): number for reason, number in counters[name].items()}
        with self._writing() as conn:
            run_id = planning.start_run(conn, None, "dispatch", "", self.space, as_of=started, now=started)
            planning.end_run(conn, run_id, counters, now=self.clock())


_NUMBERS = (
    "claimed", "sent", "held_out", "retried", "failed", "unknown", "deferred", "let_go", "lost", "expired",
    "returned", "doubtful", "offered_again",
)  # fmt: skip
_COUNTED = {one: one for one in ("sent", "failed", "unknown")} | dict.fromkeys(("retry", "wait", "halt"), "retried")
