"""Which of several messages to one person goes first: one marketing message a person and a moment, the best one.

The lower priority number wins; then the one due first; then the smaller id, so that the answer does not depend on
the order in which messages are looked at. The usual order of campaigns is transactional, back in stock, price drop,
cart, browse, replenishment, win-back (timing rules 2.5). All channels compete with each other: a text does not
follow on the heels of an e-mail. Held-out messages compete as if they were sent, or the arms would differ in more
than the message. Two people who share an address count as one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidings.model.message import SkipReason
from tidings.model.people import Channel


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message that passed every other gate, or one that will be due within the arbitration window.

    ``exempt`` messages (transactional) always go, and stand in nobody's way.
    """

    id: str
    person: str
    address_hash: str
    channel: Channel
    priority: int
    send_at: datetime
    expires_at: datetime
    held_out: bool = False
    exempt: bool = False


@dataclass(frozen=True, slots=True)
class Won:
    """The message goes now."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The message gives way to ``to``: it waits until ``until``, or is skipped when that is after its expiry."""

    to: str
    until: datetime | None
    reason: SkipReason = SkipReason.OUTRANKED


Verdict = Won | Lost


def rank(candidate: Candidate) -> tuple[int, datetime, str]:
    """Return what candidates are sorted by; the smallest goes first."""
    return candidate.priority, candidate.send_at, candidate.id


def winners(
    due: Iterable[Candidate], upcoming: Iterable[Candidate], now: datetime, window: timedelta
) -> dict[str, Verdict]:
    """Return for each of the ``due`` candidates, by id, whether it goes now.

    ``upcoming`` are other planned messages of the same people with ``send_at < now + window``, in whatever hands;
    they can win but are not decided here. A loser may try again one window after the winner's moment.
    """
    deciding = {candidate.id: candidate for candidate in due}
    others = {candidate.id: candidate for candidate in upcoming if candidate.id not in deciding}
    if not others and _apart(deciding.values()):
        return dict.fromkeys(deciding, Won())
    taken: dict[tuple[str, str], Candidate] = {}
    verdicts: dict[str, Verdict] = {}
    for candidate in sorted((*deciding.values(), *others.values()), key=rank):
        places = [("person", candidate.person)]
        if candidate.address_hash:
            places.append(("address", candidate.address_hash))
        ahead = None if candidate.exempt else next((taken[place] for place in places if place in taken), None)
        if ahead is None:
            verdict: Verdict = Won()
            if not candidate.exempt:
                taken.update(dict.fromkeys(places, candidate))
        else:
            until = max(ahead.send_at, now) + window
            verdict = Lost(ahead.id, until if until <= candidate.expires_at else None)
        if candidate.id in deciding:
            verdicts[candidate.id] = verdict
    return verdicts


def _apart(candidates: Collection[Candidate]) -> bool:
    """Return whether every candidate is to another person at another address, as nearly all are: nobody competes."""
    addresses = [one.address_hash for one in candidates if one.address_hash]
    return len({one.person for one in candidates}) == len(candidates) and len(set(addresses)) == len(addresses)
