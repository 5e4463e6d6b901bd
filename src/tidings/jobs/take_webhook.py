"""What comes back from recipients and providers, written down: engagements, opt-outs, and what they cancel."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tidings.channels import sendgrid, twilio
from tidings.content.links import TokenKind
from tidings.errors import LedgerError
from tidings.jobs.opening import Opened
from tidings.ledger import dispatching, engagements, people
from tidings.ledger.engagements import Contact, Taken
from tidings.model.engagement import Engagement, EngagementKind
from tidings.model.message import SkipReason
from tidings.model.people import Channel
from tidings.plan.eligibility import address_hash

log = logging.getLogger(__name__)

# Reasons that are the person's own words hold for the person too, at whatever address; a bounce only for the address.
_PERSONAL = frozenset({"unsubscribed", "stop", "complaint"})
# (channel, reason, moment) -> subjects: one statement each.
Closing = Mapping[tuple[str, str, datetime], set[str]]


def take_sendgrid(opened: Opened, body: bytes, now: datetime) -> Taken:
    """Take a verified Event Webhook. Raises ValueError when the body is not JSON."""
    taken = take(opened, sendgrid.events(body, now), now, provider="sendgrid")
    log.info("took webhook provider=sendgrid new=%d repeated=%d unmatched=%d", *_counts(taken))
    return taken


def take_status(opened: Opened, form: Mapping[str, str], named: str, at: datetime) -> Taken:
    """Take a verified status callback about the message that its address names."""
    token = opened.signer.read(named)
    message_id = token.message_id if token is not None else named[:32]
    return take(opened, twilio.events(form, message_id, at), opened.ledger.now(), provider="twilio")


def take(opened: Opened, events: Sequence[Engagement], now: datetime, *, provider: str) -> Taken:
    """Write engagements and the suppressions they prove, then cancel what is pending for those people.

    Everything may be taken twice: a repeated event changes nothing, and a failure between the two transactions is
    mended by the provider's redelivery.
    """
    proving = [event for event in events if event.suppress is not None]
    with opened.ledger.writing() as conn:
        taken = engagements.take(conn, events, now, provider=provider)
        unnamed = [event.provider_id for event in proving if not event.message_id and event.provider_id]
        ours = {theirs: engagements.message_of(conn, provider, theirs) for theirs in unnamed}
        names = {event.id: event.message_id or ours.get(event.provider_id or "") or "" for event in proving}
        contacts = engagements.contacts_of(conn, {name for name in names.values() if name})
        grouped: dict[tuple[str, str, datetime], set[str]] = defaultdict(set)
        for event in proving:
            contact = contacts.get(names[event.id])
            if contact is not None and event.suppress is not None:
                grouped[contact.channel, event.suppress, event.at] |= _subjects(contact, event.suppress)
        for (channel, reason, at), subjects in sorted(grouped.items()):
            people.suppress(conn, sorted(subjects), channel=channel, reason=reason, at=at, source=provider)
    if grouped:
        _cancel(opened, grouped, now)
    return taken


def _subjects(contact: Contact, reason: str) -> set[str]:
    found = {f"a:{contact.address_hash}"} if contact.address_hash else set()
    return found | ({f"p:{contact.customer_id}"} if reason in _PERSONAL else set())


def _cancel(opened: Opened, grouped: Closing, now: datetime) -> None:
    by_channel: dict[str, set[str]] = defaultdict(set)
    for (channel, _, _), subjects in grouped.items():
        by_channel[channel] |= subjects
    with opened.ledger.writing() as conn:
        for channel, subjects in sorted(by_channel.items()):
            dispatching.cancel_for(
                conn,
                customers=sorted(one[2:] for one in subjects if one.startswith("p:")),
                address_hashes=sorted(one[2:] for one in subjects if one.startswith("a:")),
                channel=channel,
                reason=SkipReason.SUPPRESSED,
                now=now,
            )


def take_inbound(opened: Opened, text: twilio.Inbound, at: datetime) -> None:
    """Obey an incoming text: STOP closes texts from all our senders, START opens them again; nothing else is kept."""
    subject = f"a:{address_hash(text.sender, opened.secrets.pepper)}"
    if text.wish is twilio.Wish.STOP:
        with opened.ledger.writing() as conn:
            people.suppress(conn, [subject], channel=Channel.SMS, reason="stop", at=at, source="twilio")
        _cancel(opened, {(Channel.SMS, "stop", at): {subject}}, opened.ledger.now())
    elif text.wish is twilio.Wish.START:
        with opened.ledger.writing() as conn:
            people.lift(conn, [subject], channel=Channel.SMS, at=at, reasons=("stop",), source="twilio")


def follow(opened: Opened, token: str, at: datetime, *, machine: bool) -> str | None:
    """Return where a click leads and note it, or None for a token we did not sign or a link that was never sent.

    The person gets to the shop even when the ledger cannot be written at this moment: that click is lost, and logged.
    """
    told = opened.signer.read(token)
    if told is None or told.kind is not TokenKind.CLICK:
        return None
    with opened.ledger.reading() as conn:
        links = engagements.links_of(conn, told.message_id)
    if links is None or told.n >= len(links.urls):
        return None
    # A double click within a second is one click; a machine's never hides a person's.
    name = f"{told.message_id}-{told.n}-{int(at.timestamp())}-{'machine' if machine else 'person'}"
    click = Engagement(f"c-{name}", told.message_id, EngagementKind.CLICKED, at, machine=machine, link=told.n)
    try:
        with opened.ledger.writing() as conn:
            engagements.take(conn, [click], at, provider="redirect")
    except LedgerError:
        log.exception("a click was not recorded message=%s", told.message_id)
    return links.urls[told.n]


@dataclass(frozen=True, slots=True)
class Choices:
    """Which channels a person still gets, as their page shows it; ``channel`` is that of the message they came from."""

    channel: Channel
    open: Mapping[Channel, bool]


def choices(opened: Opened, token: str) -> Choices | None:
    """Return what the bearer of an unsubscribe or preference link has chosen so far, or None for any other token."""
    contact = _bearer(opened, token)
    if contact is None:
        return None
    with opened.ledger.reading() as conn:
        closed = people.suppressed(conn, [one for channel in Channel for one in _own(contact, channel)])
    found = {channel: not any(channel in closed.get(one, ()) for one in _own(contact, channel)) for channel in Channel}
    return Choices(Channel(contact.channel), found)


def unsubscribe(opened: Opened, token: str, at: datetime) -> bool:
    """Never write to the bearer on this message's channel again; say whether the token is one of ours.

    Running it twice changes nothing.
    """
    contact = _bearer(opened, token, only=TokenKind.UNSUBSCRIBE)
    if contact is None:
        return False
    _close(opened, contact, Channel(contact.channel), at, source="one_click")
    event_id = "u-" + hashlib.sha256(contact.message_id.encode()).hexdigest()[:32]
    event = Engagement(event_id, contact.message_id, EngagementKind.UNSUBSCRIBED, at)
    with opened.ledger.writing() as conn:
        engagements.take(conn, [event], at, provider="redirect")
    return True


def choose(opened: Opened, token: str, wanted: Mapping[Channel, bool], at: datetime) -> bool:
    """Close and open channels as the bearer chose; say whether the token is one of ours.

    Opening takes back what they closed themselves. It gives no consent that was not there, and lifts no bounce.
    """
    contact = _bearer(opened, token, only=TokenKind.PREFERENCES)
    now = choices(opened, token)
    if contact is None or now is None:
        return False
    for channel, wants in wanted.items():
        if wants and not now.open[channel]:
            with opened.ledger.writing() as conn:
                people.lift(conn, _own(contact, channel), channel=channel, at=at, source="preferences")
        elif not wants and now.open[channel]:
            _close(opened, contact, channel, at, source="preferences")
    return True


def _bearer(opened: Opened, token: str, only: TokenKind | None = None) -> Contact | None:
    told = opened.signer.read(token)
    if told is None or told.kind is TokenKind.CLICK or (only is not None and told.kind is not only):
        return None
    with opened.ledger.reading() as conn:
        return engagements.contact_of(conn, told.message_id)


def _own(contact: Contact, channel: Channel) -> list[str]:
    """Return the subjects of a person on a channel: the address is known only for the channel they were reached on."""
    address = [f"a:{contact.address_hash}"] if contact.address_hash and contact.channel == channel else []
    return [*address, f"p:{contact.customer_id}"]


def _close(opened: Opened, contact: Contact, channel: Channel, at: datetime, *, source: str) -> None:
    subjects = _own(contact, channel)
    with opened.ledger.writing() as conn:
        people.suppress(
            conn, subjects, channel=channel, reason="unsubscribed", at=at, source=source, message_id=contact.message_id
        )
    _cancel(opened, {(channel, "unsubscribed", at): set(subjects)}, opened.ledger.now())


def _counts(taken: Taken) -> tuple[int, int, int]:
    return taken.new, taken.repeated, taken.unmatched
