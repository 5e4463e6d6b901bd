"""What holds a lane back in the very commit to `sending`: a night, brakes, half-open providers, a sender's warm-up."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection

from tidings.errors import TidingsError
from tidings.jobs.opening import Opened
from tidings.jobs.sending import Ready
from tidings.ledger import allowances, brakes
from tidings.ledger.brakes import Brake, Probe
from tidings.ledger.dispatching import Due
from tidings.ledger.sending import Begun, Outcome
from tidings.model.message import SkipReason, Space, Status
from tidings.model.people import Channel
from tidings.plan.warm_up import Ramp, opens

Deferral = tuple[str, datetime, str | None]
Ending = tuple[str, Status, str | None, str | None]
Look = tuple[list[Ready], list[Deferral], list[Ending]]

HALTED = timedelta(minutes=5)
# Who clicked within this time goes first while a new sender's reputation is made.
ENGAGED = timedelta(days=90)
# What certainly did not leave does not count against a warm-up.
_NOT_SENT = ("retry", "wait", "halt", "failed")


def last_look(some: Sequence[Ready], pulled: Mapping[str, Brake], now: datetime) -> Look:
    """Sort what is about to be begun once more: minutes may have passed since the gates, and a night has fallen."""
    going: list[Ready] = []
    deferred: list[Deferral] = []
    ended: list[Ending] = []
    for one in some:
        opens_at = now if one.hours is None else one.hours.first(now, one.expires_at)
        if _stopped(one, pulled):
            deferred.append((one.intent.id, now + HALTED, SkipReason.PAUSED))
        elif opens_at is None:
            ended.append((one.intent.id, Status.SKIPPED, SkipReason.QUIET, None))
        elif opens_at > now:
            deferred.append((one.intent.id, opens_at, SkipReason.QUIET))
        else:
            going.append(one)
    return going, deferred, ended


def scopes_of(
    *, campaign: str, channel: str, provider: str | None, mailbox: str | None, transactional: bool
) -> tuple[str, ...]:
    """Return every brake that would stop a message; those of marketing do not stop a transactional one."""
    every = ("all", f"campaign:{campaign}", f"channel:{channel}", f"provider:{provider}")
    return every if transactional else (*every, f"marketing:{channel}", f"mailbox:{mailbox}")


def _stopped(one: Ready, pulled: Mapping[str, Brake]) -> bool:
    if not pulled:
        return False
    intent = one.intent
    scopes = scopes_of(
        campaign=one.campaign, channel=intent.channel, provider=intent.provider, mailbox=intent.mailbox,
        transactional=one.transactional,
    )  # fmt: skip
    return any(scope in pulled for scope in scopes)


def holding(opened: Opened, conn: Connection, pulled: Mapping[str, Brake], now: datetime) -> dict[str, Brake]:
    """Return the brakes that hold everything back: a provider's own one lets a message through when its time comes."""
    return {scope: one for scope, one in pulled.items() if _turn(opened, conn, scope, one, now) is None}


def _turn(
    opened: Opened, conn: Connection, scope: str, brake: Brake, now: datetime
) -> tuple[Probe | None, Probe] | None:
    """Return (the last probe, the next) when a provider that stopped by itself may be tried with one message."""
    kind, _, provider = scope.partition(":")
    if kind != "provider" or brake.by != brakes.DISPATCH:
        return None
    last, key = brakes.probe(conn, scope), key_mark(opened, provider)
    since, was = (brake.at, "") if last is None else (last.at, last.key)
    if now < since + opened.settings.brakes.probe_after and (not was or key == was):
        return None
    return last, Probe(now, key)


def key_mark(opened: Opened, provider: str) -> str:
    """Return a keyed hash that changes when the account's key does, and tells nothing of it; empty without a key."""
    for channel in Channel:
        choice = getattr(opened.settings.providers, channel.value)
        if choice.name == provider and provider != "outbox":
            try:
                known = opened.connections.get(choice.connection_name)
            except TidingsError:
                return ""
            secret = f"{known.login or ''}|{known.password or ''}".encode()
            return hmac.new(opened.secrets.pepper, b"key mark|" + secret, hashlib.sha256).hexdigest()[:16]
    return ""


class Curbs:
    """One lane's side of it: which messages are probes, and what a warm-up still allows. Shared by its threads."""

    def __init__(self, opened: Opened, space: Space) -> None:
        self._opened, self._space = opened, space
        self._ramps = ramps(opened) if space is Space.LIVE else {}
        self._lock = threading.Lock()
        self._probes: dict[str, str] = {}
        self._counted: dict[str, tuple[Channel, date]] = {}

    def ranked(self, conn: Connection, passed: Sequence[Due], now: datetime) -> list[Due]:
        """Return a batch in the order it should leave: while a sender is new, who clicked lately, then by priority."""
        if all(ramp.allowance(_day(now)) is None for ramp in self._ramps.values()):
            return list(passed)
        engaged = allowances.engaged(conn, [one.id for one in passed], since=now - ENGAGED)
        return sorted(passed, key=lambda one: (one.id not in engaged, one.priority))

    def look(self, conn: Connection, some: Sequence[Ready], now: datetime) -> Look:
        """Return what may go at this very moment, what waits, and what is over.

        Holds the rows of the days' allowances until the commit, so that all lanes together keep to them.
        """
        pulled = brakes.pulled(conn)
        held = holding(self._opened, conn, pulled, now) if pulled else pulled
        going, deferred, ended = last_look(some, held, now)
        for scope in sorted(pulled.keys() - held.keys()):
            going = self._probe(conn, scope, pulled[scope], going, deferred, now)
        for channel in sorted(self._ramps):
            going = self._allowed(conn, channel, going, deferred, ended, now)
        return going, deferred, ended

    def _probe(
        self,
        conn: Connection,
        scope: str,
        brake: Brake,
        going: Sequence[Ready],
        deferred: list[Deferral],
        now: datetime,
    ) -> list[Ready]:
        """Let one message through to the provider; the others wait for what becomes of it."""
        asked = [one for one in going if f"provider:{one.intent.provider}" == scope]
        first = next((one for one in asked if one.envelope is not None), None)
        turn = _turn(self._opened, conn, scope, brake, now)
        if first is not None and (turn is None or not brakes.note_probe(conn, scope, turn[1], before=turn[0])):
            first = None
        if first is not None:
            with self._lock:
                self._probes[first.intent.id] = scope
        waiting = {one.intent.id for one in asked if one is not first}
        deferred.extend((one, now + HALTED, SkipReason.PAUSED) for one in sorted(waiting))
        return [one for one in going if one.intent.id not in waiting]

    def _allowed(
        self,
        conn: Connection,
        channel: Channel,
        going: Sequence[Ready],
        deferred: list[Deferral],
        ended: list[Ending],
        now: datetime,
    ) -> list[Ready]:
        """Return what the day still allows a new sender, the first come first."""
        ramp = self._ramps[channel]
        asked = [one for one in going if one.intent.channel == channel and one.envelope is not None]
        allowance = ramp.allowance(_day(now))
        if not asked or allowance is None:
            return list(going)
        room = max(0, allowance - allowances.taken(conn, channel, _day(now)))
        if len(asked) <= room:
            return list(going)
        later, waiting = opens(ramp, now), {one.intent.id for one in asked[room:]}
        for one in asked[room:]:
            if later < one.expires_at:
                deferred.append((one.intent.id, later, SkipReason.WARM_UP))
            else:
                ended.append((one.intent.id, Status.SKIPPED, SkipReason.WARM_UP, None))
        return [one for one in going if one.intent.id not in waiting]

    def begun(self, conn: Connection, going: Sequence[Ready], begun: Begun, now: datetime) -> None:
        """Count what was granted, in the same commit."""
        for channel in sorted(self._ramps):
            if self._ramps[channel].allowance(_day(now)) is None:
                continue
            ids = [one.intent.id for one in going if one.intent.channel == channel and one.intent.id in begun.sending]
            allowances.take(conn, channel, _day(now), len(ids))
            with self._lock:
                self._counted.update(dict.fromkeys(ids, (channel, _day(now))))

    def record(self, conn: Connection, outcomes: Sequence[Outcome], now: datetime) -> None:
        """Give back what did not leave; let go of a provider that took its probe.

        Runs in the transaction of the outcomes, which may be tried again: only ``settle`` forgets anything.
        """
        with self._lock:
            back = Counter(
                self._counted[one.id] for one in outcomes if one.kind in _NOT_SENT and one.id in self._counted
            )
            tried = {self._probes[one.id]: one for one in outcomes if one.id in self._probes}
        for (channel, day), many in sorted(back.items()):
            allowances.take(conn, channel, day, -many)
        for scope, one in sorted(tried.items()):
            # A refusal of this one message is an answer of a provider that works, too.
            if one.kind in ("sent", "failed"):
                brakes.release(conn, scope, at=now, by=brakes.DISPATCH, reason="one message was tried, and answered")

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Forget what is recorded."""
        with self._lock:
            for one in outcomes:
                self._counted.pop(one.id, None)
                self._probes.pop(one.id, None)

    def pull(self, conn: Connection, provider: str, reason: str, now: datetime) -> None:
        """Stop a provider that refused the account or answered ambiguously again and again."""
        scope = f"provider:{provider}"
        remedy = _remedy(self._opened, provider, refused="refused" in reason)
        if brakes.pull(conn, scope, reason=reason, at=now, by=brakes.DISPATCH, remedy=remedy):
            brakes.note_probe(conn, scope, Probe(now, key_mark(self._opened, provider)), before=None)


def window_for(opened: Opened, passed: Sequence[Due]) -> int:
    """Return how many of these may be in flight: each finds a connection, and its turn within two seconds.

    What is begun leaves or fails within one HTTP time-out then, so that a brake acts no later.
    """
    used = {one.channel for one in passed if not one.held_out}
    choices = [getattr(opened.settings.providers, channel) for channel in sorted(used)]
    narrow = [one.connections for one in choices]
    narrow += [max(2, int(2 * one.rate)) for one in choices if one.rate is not None]
    return min(narrow, default=100)


def _remedy(opened: Opened, provider: str, *, refused: bool) -> str:
    every = f"{opened.settings.brakes.probe_after.total_seconds() / 60:g} minutes"
    tried = f"one message is tried every {every}; or run `tidings resume provider:{provider}`."
    if refused:
        return f"Look at the account and the key of {provider}. Nothing is lost. With a new key at once, else {tried}"
    return f"Look at the status page of {provider}; what is in doubt is never sent again by itself. Meanwhile {tried}"


def ramps(opened: Opened) -> dict[Channel, Ramp]:
    """Return the warm-up of each channel's sender that has one."""
    senders = opened.settings.senders
    said = {Channel.EMAIL: senders.email, Channel.SMS: senders.sms}
    return {
        channel: Ramp(one.warm_up.start, one.warm_up.first_day, one.warm_up.growth, one.warm_up.until)
        for channel, one in said.items()
        if one is not None and one.warm_up is not None
    }


def _day(now: datetime) -> date:
    return now.astimezone(UTC).date()
