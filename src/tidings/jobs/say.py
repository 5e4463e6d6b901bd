"""The person's say: what they closed and opened, with the words they were shown and the message that brought them."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from tidings.content.links import TokenKind
from tidings.errors import TidingsError
from tidings.jobs.bearer import Person, bearer, person, widened
from tidings.jobs.compose import tracked
from tidings.jobs.opening import Opened
from tidings.jobs.way_back import cancel, still_open
from tidings.ledger import dispatching, engagements, opt_ins, opt_outs, people
from tidings.ledger.engagements import Contact
from tidings.ledger.opt_ins import OptIn
from tidings.ledger.opt_outs import Decision
from tidings.ledger.store import BRIEF_SECONDS, clock
from tidings.model.engagement import Engagement, EngagementKind
from tidings.model.message import SkipReason
from tidings.model.people import Channel, Consent, Purpose
from tidings.plan.eligibility import may_contact, refused

log = logging.getLogger(__name__)

# A question by text that nobody answered so long is no longer open.
QUESTION_HOLDS = timedelta(days=7)
# What a page shows may be saved so long after it was shown.
PAGE_HOLDS = timedelta(hours=1)
Key = tuple[Channel, str]


@dataclass(frozen=True, slots=True)
class Line:
    """One choice: whether it is open, and if it cannot be opened here, why (``bounced``, ``complained``, ``stopped``).

    ``waits``: they chose it, and their telephone has not said yes yet.
    """

    channel: Channel
    purpose: str
    open: bool
    blocked: str | None = None
    waits: bool = False

    @property
    def key(self) -> Key:
        """What the line is about."""
        return self.channel, self.purpose


@dataclass(frozen=True, slots=True)
class Choices:
    """Everything a person may choose, as their page shows it; ``stamp`` lets them save what they were shown."""

    channel: Channel
    lines: tuple[Line, ...]
    stamp: str


@dataclass(frozen=True, slots=True)
class Saved:
    """What saving came to. ``asked``: a text was or will be sent to ask their telephone."""

    choices: Choices
    fresh: bool
    asked: bool = False


def unsubscribe(opened: Opened, token: str, at: datetime) -> bool:
    """Never write to the bearer on this message's channel again; say whether the token is one of ours.

    Running it twice changes nothing. It holds before the shop's warehouse is asked for the person's other ids and
    address, and if the warehouse does not answer.
    """
    contact = bearer(opened, token, TokenKind.UNSUBSCRIBE)
    if contact is None:
        return False
    known = Person(contact, (contact.customer_id,))
    channel = Channel(contact.channel)
    with opened.ledger.writing(seconds=BRIEF_SECONDS) as conn:
        # The message before its person, as webhooks do: two that come at once then never wait for each other.
        engagements.take(conn, [_unsubscribed(contact, at)], at, provider="redirect")
        _close(conn, known, channel, at, source="one_click")
    try:
        more = person(opened, contact)
        if widened(known, more, channel):
            with opened.ledger.writing(seconds=BRIEF_SECONDS) as conn:
                _close(conn, more, channel, at, source="one_click")
    except TidingsError:
        log.exception("the warehouse was not asked for other ids message=%s", contact.message_id)
    return True


def _unsubscribed(contact: Contact, at: datetime) -> Engagement:
    event_id = "u-" + hashlib.sha256(contact.message_id.encode()).hexdigest()[:32]
    return Engagement(event_id, contact.message_id, EngagementKind.UNSUBSCRIBED, at)


def choices(opened: Opened, token: str, at: datetime) -> Choices | None:
    """Return what the bearer of a preference link has chosen so far, or None for any other token.

    It is for the answer to a confirmation, never to a mere visit: mails are forwarded.
    """
    contact = bearer(opened, token, TokenKind.PREFERENCES)
    return None if contact is None else _choices(opened, person(opened, contact), at)


def choose(
    opened: Opened, token: str, wanted: Mapping[Key, bool], at: datetime, *, stamp: str, wording: Mapping[Key, str]
) -> Saved | None:
    """Close and open what the bearer chose; None for a token that is not ours.

    Only lines in ``wanted`` change, and only when the page was shown lately (``stamp``): ``fresh`` tells. Opening
    takes back what they closed themselves and is proven by ``wording``; it lifts no bounce and no complaint. Texts
    open when their telephone says yes, not here.
    """
    contact = bearer(opened, token, TokenKind.PREFERENCES)
    if contact is None:
        return None
    who = person(opened, contact)
    now = _choices(opened, who, at)
    if not opened.signer.stamped(stamp, contact.message_id, at, PAGE_HOLDS):
        return Saved(now, fresh=False)
    asked = False
    for channel in Channel:
        lines = [line for line in now.lines if line.channel == channel]
        if any(wanted.get(line.key, line.open) != line.open for line in lines):
            asked |= _save(opened, who, channel, lines, _Said(wanted, wording, at))
    return Saved(_choices(opened, who, at), fresh=True, asked=asked)


def purposes(opened: Opened, channel: Channel) -> tuple[str, ...]:
    """Return what the shop asks permission for on a channel: its own list, and what campaigns name for their steps."""
    named = [*getattr(opened.settings.consent, channel.value)]
    for _, campaign in sorted(opened.project.campaigns.items()):
        named += [one for step in campaign.steps if step.channel == channel for one in step.purposes]
    return tuple(dict.fromkeys(named))


def _choices(opened: Opened, who: Person, at: datetime) -> Choices:
    with opened.ledger.reading() as conn:
        said = [*who.consents, *people.consents_of(conn, who.ids)]
        why = {channel: people.reasons(conn, who.subjects(channel), channel) for channel in Channel}
        waiting = opt_ins.waits(conn, who.ids, since=at - QUESTION_HOLDS)
    lines = []
    for channel in Channel:
        if not who.reached_by(channel):
            continue
        blocked = _blocked(why[channel])
        for purpose in (*purposes(opened, channel), Purpose.CLICK_TRACKING.value):
            tracking = purpose == Purpose.CLICK_TRACKING
            allowed = (
                _tracked(opened, who, said, channel, at)
                if tracking
                else (not why[channel] and _allowed(who, said, channel, purpose, at))
            )
            waits = channel == Channel.SMS and purpose in waiting and not allowed
            lines.append(Line(channel, purpose, allowed, None if tracking else blocked, waits))
    stamp = opened.signer.stamp(who.contact.message_id, at)
    return Choices(Channel(who.contact.channel), tuple(lines), stamp)


def _allowed(who: Person, said: Sequence[Consent], channel: Channel, purpose: str, at: datetime) -> bool:
    """Return whether a purpose is open. When nobody can be asked it counts as open, so that it can be closed."""
    granted = may_contact(said, channel, (purpose,), at)
    return granted or (who.silent and not refused(said, channel, purpose, at))


def _tracked(opened: Opened, who: Person, said: Sequence[Consent], channel: Channel, at: datetime) -> bool:
    if who.customer is None:
        return not refused(said, channel, Purpose.CLICK_TRACKING, at)
    return tracked(opened, who.customer, said, channel, at)


def _blocked(why: Collection[str]) -> str | None:
    """Return what keeps a channel closed whatever is chosen here; what they closed here themselves does not."""
    for reasons, word in (
        (("complaint",), "complained"),
        (("hard_bounce", "bad_address", "bad_number"), "bounced"),
        (("stop",), "stopped"),
    ):
        if any(one in why for one in reasons):
            return word
    return "other" if set(why) - {"unsubscribed"} else None


@dataclass(frozen=True, slots=True)
class _Said:
    """What was chosen, in which words, and when."""

    wanted: Mapping[Key, bool]
    wording: Mapping[Key, str]
    at: datetime

    def open(self, line: Line) -> bool:
        return self.wanted.get(line.key, line.open)


def _save(opened: Opened, who: Person, channel: Channel, lines: Sequence[Line], said: _Said) -> bool:
    """Write one channel's changes in one transaction; return whether a question by text was written down."""
    offers = [line for line in lines if line.purpose != Purpose.CLICK_TRACKING]
    opening = [line for line in offers if said.open(line) and not line.open and line.blocked is None]
    closing = [line for line in offers if line.open and not said.open(line)]
    tracking = [one for one in lines if one not in offers and said.open(one) != one.open]
    asked = False
    with opened.ledger.writing(seconds=BRIEF_SECONDS) as conn:
        now = clock(conn)
        for line in tracking:
            _state(conn, who, line, said, granted=not line.open)
        if closing and not any(line.open and said.open(line) for line in offers) and not opening:
            engagement = [_unsubscribed(who.contact, said.at)] if channel == who.contact.channel else []
            engagements.take(conn, engagement, now, provider="redirect")
            _close(conn, who, channel, said.at, source="preferences")
        for line in closing:
            _state(conn, who, line, said, granted=False)
        if closing:
            _cancel_without(opened, conn, who, closing, said.at)
        if opening and channel == Channel.SMS:
            asked = _ask(conn, who, opening, said)
        elif opening:
            people.lift(conn, who.own_subjects(channel), channel=channel, at=said.at, reasons=("unsubscribed",),
                        source="preferences")  # fmt: skip
            for line in offers:
                # What was granted long ago and is not chosen now must not come back with what is.
                if line in opening or not (line.open or said.open(line)):
                    _state(conn, who, line, said, granted=line in opening)
    return asked


def _state(conn: Connection, who: Person, line: Line, said: _Said, *, granted: bool) -> None:
    """Write what a person said about one line. A "no" holds for everybody at the mailbox, a "yes" for them alone."""
    whom = [who.ids[0]] if granted else [*who.ids, *sorted(who.sharing(line.channel))]
    for customer_id in whom:
        people.add_consent(
            conn, Consent(customer_id, line.channel, line.purpose, granted, said.at), source="preferences",
            wording=said.wording.get(line.key), message_id=who.contact.message_id,
        )  # fmt: skip
    opt_outs.note(conn, [
        Decision(line.channel, not granted, "preferences", said.at, "preferences", line.purpose, who.ids[0],
                 who.address(line.channel))
    ])  # fmt: skip


def _cancel_without(opened: Opened, conn: Connection, who: Person, closed: Sequence[Line], at: datetime) -> None:
    """Cancel what waits for a permission that was just taken back, where no other of its step's is left.

    What the warehouse has of the others at the mailbox is not known here: for them only what needs nothing else goes.
    """
    channel, gone = closed[0].channel, {line.purpose for line in closed}
    said = [*who.consents, *people.consents_of(conn, who.ids)]
    theirs, others = set[tuple[str, str]](), set[tuple[str, str]]()
    for campaign in opened.project.campaigns.values():
        for step in campaign.steps:
            if step.channel != channel or gone.isdisjoint(step.purposes):
                continue
            left = [one for one in step.purposes if one not in gone]
            if not any(_allowed(who, said, channel, one, at) for one in left):
                theirs.add((campaign.id, step.name))
            if not left:
                others.add((campaign.id, step.name))
    for whom, steps in ((who.ids, theirs), (who.sharing(channel), others)):
        dispatching.cancel_for(
            conn, customers=sorted(whom), channel=channel, steps=steps, reason=SkipReason.NO_CONSENT, now=clock(conn)
        )  # fmt: skip


def _ask(conn: Connection, who: Person, opening: Sequence[Line], said: _Said) -> bool:
    address = who.address(Channel.SMS)
    if address is None:
        return False
    since = said.at - QUESTION_HOLDS
    for line in opening:
        words = said.wording.get(line.key, line.purpose)
        wish = OptIn(uuid.uuid4().hex, who.ids[0], address, line.channel, line.purpose, words, said.at)
        opt_ins.ask(conn, wish, since=since)
    return True


def _close(conn: Connection, who: Person, channel: Channel, at: datetime, *, source: str) -> None:
    subjects = who.subjects(channel)
    news = still_open(conn, subjects, channel)
    people.suppress(
        conn, sorted(subjects), channel=channel, reason="unsubscribed", at=at, source=source,
        message_id=who.contact.message_id,
    )  # fmt: skip
    if channel == Channel.SMS:
        opt_ins.withdraw(conn, who.hashes(channel), at)
    if news:
        opt_outs.note(conn, [
            Decision(channel, True, "unsubscribed", at, source, customer_id=who.ids[0],
                     address_hash=who.address(channel))
        ])  # fmt: skip
    cancel(conn, {(channel, one) for one in subjects}, clock(conn))
