"""The last look before a message leaves: every gate in order, and the first that is shut decides.

The order is that of triggers 1.5: cheapest and most severe first, so that a person without permission is never
asked about in the warehouse's name, and no cap is spent on a message that is no longer true. A gate that may open
again defers the message; when it would open only after the message's time is over, the message ends there, with
that gate as its reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from tidings.model.message import SkipReason, Status
from tidings.plan.timing import Hours, open_hours


@dataclass(frozen=True, slots=True)
class Pass:
    """Every gate is open: render it and commit `sending`."""


@dataclass(frozen=True, slots=True)
class Skip:
    """It will not be sent."""

    reason: SkipReason


@dataclass(frozen=True, slots=True)
class Defer:
    """Not now: look again at ``until``, which is never after the message's expiry."""

    until: datetime
    reason: SkipReason


@dataclass(frozen=True, slots=True)
class Cancel:
    """The series is over for this entry: later steps are not sent either."""

    reason: SkipReason


@dataclass(frozen=True, slots=True)
class Expire:
    """Its time is over, and no gate was to blame."""

    reason: SkipReason = SkipReason.TOO_LATE


Decision = Pass | Skip | Defer | Cancel | Expire

# After these an entry has no more to say, so neither have its later steps.
OVER = frozenset(
    {
        SkipReason.PURCHASED, SkipReason.NOT_TRUE, SkipReason.CART_EMPTY, SkipReason.CART_CHANGED,
        SkipReason.OUT_OF_STOCK, SkipReason.PRICE_RETURNED, SkipReason.NO_CLAIM, SkipReason.UNKNOWN_PRODUCT,
    }
)  # fmt: skip
_UNDER_WAY = frozenset({Status.PLANNED, Status.CLAIMED, Status.SENDING})
# An unknown message counts as sent for the gap, and a held-out one stands where a sent one would.
_SENT = frozenset({Status.SENT, Status.HELD_OUT, Status.UNKNOWN, Status.PRESUMED_LOST})
# The step before was refused for a reason of its own, which says nothing about this one.
_PASSABLE = frozenset(SkipReason) - OVER - {SkipReason.TOO_LATE, SkipReason.BACKFILL, SkipReason.TEMPLATE,
                                           SkipReason.REJECTED}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CapState:
    """How full the binding cap is, and when it has room again (None: now)."""

    used: int
    at_most: int
    free_at: datetime | None


@dataclass(frozen=True, slots=True)
class Previous:
    """The step before: its status, why it ended, and when it was (or would have been) sent."""

    status: Status
    reason: SkipReason | None = None
    sent_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DueFacts:
    """All that the gates ask about one due message. What is left out does not hold it back, except consent.

    ``paused`` and ``brake`` say why sending is stopped (the campaign's mode; the brake's scope). ``not_allowed``:
    the shop is not in production and the address not on its list. ``consented_since`` is None without permission;
    ``consent_exempt`` and ``cap_exempt`` are for transactional messages. ``outranked_by`` with ``outranked_until``
    come from arbitration. ``purchased_at`` is an order by the person since the entry's anchor; ``untrue`` the
    trigger's own answer; ``stale`` the source that is too old to trust it. ``waited_for`` is the reason of the
    last deferral. ``retry`` is the wait before a gate without a time of its own is tried again.
    """

    now: datetime
    expires_at: datetime
    zones: tuple[str, ...]
    hours: Hours
    consented_since: datetime | None = None
    consent_exempt: bool = False
    paused: bool = False
    brake: str | None = None
    not_allowed: bool = False
    suppressed: str | None = None
    caps: CapState | None = None
    cap_exempt: bool = False
    outranked_by: str | None = None
    outranked_until: datetime | None = None
    first_step: bool = True
    previous: Previous | None = None
    min_gap: timedelta = timedelta(0)
    purchased_at: datetime | None = None
    untrue: SkipReason | None = None
    stale: str | None = None
    waited_for: SkipReason | None = None
    retry: timedelta = timedelta(minutes=15)

    def wait(self, until: datetime | None, reason: SkipReason) -> Decision:
        """Return the deferral, or the end when the gate opens only after the message's time."""
        return Skip(reason) if until is None or until > self.expires_at else Defer(until, reason)


Answer = Literal["yes", "no", "-"]


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate as `tidings explain` prints it: passed, shut, or not reached, with the fact behind it."""

    name: str
    answer: Answer
    fact: str


def decide(facts: DueFacts) -> Decision:
    """Return what becomes of the message: the first gate that is shut, or Pass."""
    for _, shut, _ in GATES:
        decision = shut(facts)
        if decision is not None:
            return decision
    return Pass()


def gates(facts: DueFacts) -> tuple[Gate, ...]:
    """Return every gate in order; those behind the first that is shut were not reached."""
    told: list[Gate] = []
    reached = True
    for name, shut, fact in GATES:
        if not reached:
            told.append(Gate(name, "-", "not reached"))
            continue
        reached = shut(facts) is None
        told.append(Gate(name, "yes" if reached else "no", fact(facts)))
    return tuple(told)


def _stopped(facts: DueFacts) -> Decision | None:
    if not facts.paused and facts.brake is None:
        return None
    return facts.wait(facts.now + facts.retry, SkipReason.PAUSED)


def _not_allowed(facts: DueFacts) -> Decision | None:
    return Skip(SkipReason.NOT_ALLOWED) if facts.not_allowed else None


def _expired(facts: DueFacts) -> Decision | None:
    if facts.now <= facts.expires_at:
        return None
    return Expire() if facts.waited_for is None else Skip(facts.waited_for)


def _suppressed(facts: DueFacts) -> Decision | None:
    return Skip(SkipReason.SUPPRESSED) if facts.suppressed is not None else None


def _no_consent(facts: DueFacts) -> Decision | None:
    return None if facts.consent_exempt or facts.consented_since is not None else Skip(SkipReason.NO_CONSENT)


def _quiet(facts: DueFacts) -> Decision | None:
    opens = open_hours(facts.zones, facts.hours).first(facts.now)
    return None if opens == facts.now else facts.wait(opens, SkipReason.QUIET)


def _before(facts: DueFacts) -> Decision | None:
    if facts.first_step or facts.previous is None:
        return None
    status, reason = facts.previous.status, facts.previous.reason
    if status in _UNDER_WAY:
        return facts.wait(facts.now + facts.retry, SkipReason.PREVIOUS_STEP)
    if status in _SENT:
        free = facts.now if facts.previous.sent_at is None else facts.previous.sent_at + facts.min_gap
        return None if free <= facts.now else facts.wait(free, SkipReason.PREVIOUS_STEP)
    if reason is not None and (status == Status.CANCELLED or reason in OVER):
        return Cancel(reason)
    if status == Status.SKIPPED and reason in _PASSABLE:
        return None
    return Skip(SkipReason.PREVIOUS_STEP)


def _capped(facts: DueFacts) -> Decision | None:
    if facts.cap_exempt or facts.caps is None or facts.caps.free_at is None:
        return None
    return facts.wait(facts.caps.free_at, SkipReason.CAPPED)


def _outranked(facts: DueFacts) -> Decision | None:
    return None if facts.outranked_by is None else facts.wait(facts.outranked_until, SkipReason.OUTRANKED)


def _purchased(facts: DueFacts) -> Decision | None:
    if facts.purchased_at is None:
        return None
    return Skip(SkipReason.PURCHASED) if facts.first_step else Cancel(SkipReason.PURCHASED)


def _stale(facts: DueFacts) -> Decision | None:
    # The shop's feed usually catches up, so the message waits for it and is skipped only if it never does.
    return None if facts.stale is None else facts.wait(facts.now + facts.retry, SkipReason.STALE)


def _untrue(facts: DueFacts) -> Decision | None:
    if facts.untrue is None:
        return None
    return Skip(facts.untrue) if facts.first_step or facts.untrue not in OVER else Cancel(facts.untrue)


def _moment(at: datetime, facts: DueFacts) -> str:
    local = at.astimezone(ZoneInfo(facts.zones[0])) if facts.zones else at
    return f"{local.day} {local:%b %H:%M %Z}"


def _consent_fact(facts: DueFacts) -> str:
    if facts.consent_exempt:
        return "not needed: part of an order"
    if facts.consented_since is None:
        return "none found"
    return f"since {facts.consented_since.day} {facts.consented_since:%b %Y}"


def _quiet_fact(facts: DueFacts) -> str:
    opens = open_hours(facts.zones, facts.hours).first(facts.now)
    where = ", ".join(facts.zones)
    if opens == facts.now:
        return f"open in {where}"
    return f"shut in {where}; " + ("no open moment ahead" if opens is None else f"open {_moment(opens, facts)}")


def _cap_fact(facts: DueFacts) -> str:
    if facts.cap_exempt:
        return "not counted: part of an order"
    if facts.caps is None:
        return "no cap"
    free = "" if facts.caps.free_at is None else f"; free {_moment(facts.caps.free_at, facts)}"
    return f"{facts.caps.used} of {facts.caps.at_most}{free}"


def _before_fact(facts: DueFacts) -> str:
    if facts.first_step or facts.previous is None:
        return "first of the series"
    status, reason, at = facts.previous.status, facts.previous.reason, facts.previous.sent_at
    if at is not None and status in _SENT:
        return f"{status} {_moment(at, facts)}"
    return f"{status}: {reason}" if reason else str(status)


_Shut = Callable[[DueFacts], Decision | None]
_Fact = Callable[[DueFacts], str]

GATES: tuple[tuple[str, _Shut, _Fact], ...] = (
    ("sending is on", _stopped, lambda f: f.brake or ("the campaign is paused" if f.paused else "no brake")),
    ("allow-list", _not_allowed, lambda f: "not on it" if f.not_allowed else "in production, or on it"),
    ("in time", _expired, lambda f: f"until {_moment(f.expires_at, f)}"),
    ("suppression", _suppressed, lambda f: f.suppressed or "none"),
    ("consent", _no_consent, _consent_fact),
    ("quiet hours", _quiet, _quiet_fact),
    ("step before", _before, _before_fact),
    ("frequency cap", _capped, _cap_fact),
    ("priority", _outranked, lambda f: f"gave way to {f.outranked_by}" if f.outranked_by else "nothing ahead"),
    ("not bought", _purchased, lambda f: f"ordered {_moment(f.purchased_at, f)}" if f.purchased_at else "no order"),
    ("fresh sources", _stale, lambda f: f"{f.stale} is too old" if f.stale else "all fresh"),
    ("still true", _untrue, lambda f: str(f.untrue) if f.untrue else "yes"),
)
