"""What providers report, written down once: raw events, engagements, proof of sending, and the opt-outs they prove."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import orjson
from sqlalchemy import Connection

from tidings.channels import sendgrid, twilio
from tidings.channels.keeping import SENDGRID, TWILIO, kept
from tidings.jobs.opening import Opened
from tidings.ledger import dispatching, engagements, holding, opt_outs, people, raw_events
from tidings.ledger.engagements import Contact, Taken, key_of
from tidings.ledger.opt_outs import Decision
from tidings.ledger.raw_events import Raw
from tidings.ledger.store import BRIEF_SECONDS, clock
from tidings.model.engagement import Engagement
from tidings.model.message import SkipReason
from tidings.model.people import Channel
from tidings.plan.eligibility import address_hash

log = logging.getLogger(__name__)

# Reasons that are the person's own words hold for the person too, at whatever address; a bounce, and a STOP, which
# is a telephone's, only for the address.
PERSONAL = frozenset({"unsubscribed", "complaint"})
# What the shop's other tools are told: what people said, not what mail servers did.
SAID = frozenset({"unsubscribed", "complaint", "stop"})
# Told about an address that no message of ours went to, these still close it: the list is the brand's.
_FOR_ANY_ADDRESS = frozenset({"hard_bounce", "complaint", "unsubscribed"})
# Somebody left one of the account's groups, which need not be ours.
_A_GROUP = "group_unsubscribe"
# Bigger batches are written in parts: nothing is lost between them, for every part may come again.
_PART = 5000


@dataclass(frozen=True, slots=True)
class Report:
    """What one verified request said: every event of it raw, and what those we understand come to.

    ``addresses`` are keyed hashes by event id, where the provider names whom an event was about.
    """

    provider: str
    events: tuple[Engagement, ...] = ()
    raws: tuple[Raw, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict, repr=False)


def hiding(opened: Opened) -> Callable[[str], str]:
    """Return what stands for an address in everything that is kept: its keyed hash, the same as on a message."""
    pepper = opened.secrets.pepper
    return lambda value: address_hash(value.encode("utf-8", "replace").decode(), pepper)


def read_sendgrid(opened: Opened, body: bytes, now: datetime) -> Report:
    """Return what a verified Event Webhook says. Raises ValueError when the body is not JSON."""
    hide = hiding(opened)
    events, raws, addresses = [], [], {}
    for one in sendgrid.listed(body, now):
        told = one.engagement
        raws.append(_raw("sendgrid", one.id, one.kind, kept(one.raw, SENDGRID, hide), told))
        if told is None:
            continue
        events.append(told)
        whom = one.raw.get("email")
        if told.suppress in _FOR_ANY_ADDRESS and isinstance(whom, str) and "@" in whom and one.kind != _A_GROUP:
            addresses[told.id] = hide(whom.strip())
    return Report("sendgrid", tuple(events), tuple(raws), addresses)


def read_status(opened: Opened, form: Mapping[str, str], named: str, at: datetime) -> Report:
    """Return what a verified status callback says about the message that its address names."""
    token = opened.signer.read(named)
    message_id = token.message_id if token is not None else named[:32]
    events = twilio.events(form, message_id, at)
    status = (form.get("MessageStatus") or form.get("SmsStatus") or "").lower()
    body = kept({**form, "Body": None}, TWILIO, hiding(opened))
    name = events[0].id if events else "tw-" + hashlib.sha256(f"{message_id}\0{body}".encode()).hexdigest()[:40]
    return Report("twilio", tuple(events), (_raw("twilio", name, status, body, events[0] if events else None),))


def _raw(provider: str, name: str, kind: str, body: str, told: Engagement | None) -> Raw:
    theirs = told.provider_id if told is not None else None
    return Raw(key_of(name), provider, _plain(kind), body, provider_id=theirs)


def _plain(kind: str) -> str:
    return "".join(one if one.isalnum() or one in "_-" else "_" for one in kind[:30]) or "unknown"


def take_reports(opened: Opened, reports: Sequence[Report], now: datetime | None = None) -> Taken:
    """Write what some requests said, all of it or nothing: when this returns, it survives the process.

    Everything may be taken twice and in any order: a repeated event changes nothing. ``now`` is when it came;
    the ledger's clock when left out.
    """
    by_provider: dict[str, list[Report]] = defaultdict(list)
    for one in reports:
        by_provider[one.provider].append(one)
    total = Taken(0, 0, 0)
    with opened.ledger.writing(seconds=BRIEF_SECONDS) as conn:
        now = now or clock(conn)
        for provider, some in sorted(by_provider.items()):
            taken = _write(conn, _joined(provider, some), now)
            total = Taken(total.new + taken.new, total.repeated + taken.repeated, total.unmatched + taken.unmatched)
    for provider in sorted(by_provider):
        log.info(
            "took webhook provider=%s new=%d repeated=%d unmatched=%d",
            provider, total.new, total.repeated, total.unmatched,
        )  # fmt: skip
    return total


def take_sendgrid(opened: Opened, body: bytes, now: datetime) -> Taken:
    """Take a verified Event Webhook, in parts when it is big. Raises ValueError when the body is not JSON."""
    total = Taken(0, 0, 0)
    for part in parts(read_sendgrid(opened, body, now)):
        taken = take_reports(opened, [part], now)
        total = Taken(total.new + taken.new, total.repeated + taken.repeated, total.unmatched + taken.unmatched)
    return total


def parts(report: Report) -> list[Report]:
    """Return a report in parts that are each short work for the ledger."""
    if len(report.raws) <= _PART:
        return [report]
    found = []
    for start in range(0, len(report.raws), _PART):
        raws = report.raws[start : start + _PART]
        names = {one.id for one in raws}
        events = tuple(one for one in report.events if key_of(one.id) in names)
        found.append(replace(report, events=events, raws=raws))
    return found


def take(opened: Opened, events: Sequence[Engagement], now: datetime, *, provider: str) -> Taken:
    """Write engagements that did not come by a webhook (a provider was asked), and what they prove."""
    return take_reports(opened, [Report(provider, tuple(events))], now)


def _joined(provider: str, some: Sequence[Report]) -> Report:
    if len(some) == 1:
        return some[0]
    return Report(
        provider,
        tuple(event for one in some for event in one.events),
        tuple(raw for one in some for raw in one.raws),
        {name: address for one in some for name, address in one.addresses.items()},
    )


def _write(conn: Connection, report: Report, now: datetime) -> Taken:
    taken = engagements.take(conn, report.events, now, provider=report.provider)
    raw_events.keep(conn, [replace(one, message_id=taken.matched.get(one.id)) for one in report.raws], now)
    _obey(conn, report, taken.matched, now)
    if taken.named:
        _adopt(conn, raw_events.nameless(conn, taken.named), now)
    return taken


def adopt(opened: Opened) -> int:
    """Take the events that came before anybody knew their message, where the provider's id has a message by now.

    Returns how many. They are found at once when a later event brings the name; this finds the rest.
    """
    with opened.ledger.writing(seconds=BRIEF_SECONDS) as conn:
        return _adopt(conn, raw_events.nameless(conn), clock(conn))


def _adopt(conn: Connection, found: Sequence[Raw], now: datetime) -> int:
    for one in found:
        assert one.message_id is not None
        given = orjson.loads(one.body)
        if one.provider == "sendgrid":
            told = [event for event in sendgrid.events(orjson.dumps([given]), now) if key_of(event.id) == one.id]
        else:
            told = twilio.events(given, one.message_id, now)
        events = tuple(replace(event, message_id=one.message_id) for event in told)
        taken = engagements.take(conn, events, now, provider=one.provider)
        raw_events.name(conn, one.id, one.message_id)
        _obey(conn, Report(one.provider, events), taken.matched, now)
    return len(found)


@dataclass(frozen=True, slots=True, order=True)
class _Closing:
    channel: str
    reason: str
    at: datetime
    message_id: str


def _obey(conn: Connection, report: Report, matched: Mapping[str, str], now: datetime) -> None:
    """Suppress what the events prove, tell it on, and cancel what waits; rows are locked in sorted order."""
    proving = [event for event in report.events if event.suppress is not None]
    if not proving:
        return
    contacts = engagements.contacts_of(conn, {name for one in proving if (name := matched.get(key_of(one.id)))})
    grouped: dict[_Closing, set[str]] = defaultdict(set)
    whose: dict[str, Contact] = {}
    for event in proving:
        assert event.suppress is not None
        contact = contacts.get(matched.get(key_of(event.id), ""))
        # The address the provider saw: the customer's may have changed since, or never have been ours.
        seen = {f"a:{report.addresses[event.id]}"} if event.id in report.addresses else set()
        if contact is not None:
            own = subjects(contact, event.suppress)
            whose |= dict.fromkeys(own, contact)
            grouped[_Closing(contact.channel, event.suppress, event.at, contact.message_id)] |= own | seen
        elif seen:
            grouped[_Closing(Channel.EMAIL, event.suppress, event.at, "")] |= seen
    decisions = []
    holding.hold(conn, {one for who in grouped.values() for one in who})
    for closing, who in sorted(grouped.items()):
        news = still_open(conn, who, closing.channel)
        people.suppress(
            conn, sorted(who), channel=closing.channel, reason=closing.reason, at=closing.at,
            source=report.provider, message_id=closing.message_id or None,
        )  # fmt: skip
        if news and closing.reason in SAID:
            decisions += _decisions(closing, who, whose, report.provider)
    opt_outs.note(conn, decisions)
    cancel(conn, {(one.channel, who) for one, each in grouped.items() for who in each}, now)


def _decisions(closing: _Closing, who: Collection[str], whose: Mapping[str, Contact], source: str) -> list[Decision]:
    known = [whose[one] for one in sorted(who) if one in whose]
    address = next((one[2:] for one in sorted(who) if one.startswith("a:")), None)
    customer = known[0].customer_id if known else None
    return [
        Decision(
            closing.channel, True, closing.reason, closing.at, source, customer_id=customer, address_hash=address
        )
    ]  # fmt: skip


def subjects(contact: Contact, reason: str) -> set[str]:
    """Return the subjects for which a reason holds: the address, and the person where it was their own word."""
    found = {f"a:{contact.address_hash}"} if contact.address_hash else set()
    return found | ({f"p:{contact.customer_id}"} if reason in PERSONAL else set())


def still_open(conn: Connection, who: Collection[str], channel: str) -> set[str]:
    """Return those of the subjects who may still be written to on the channel, as far as suppressions say."""
    closed = people.suppressed(conn, who)
    return {one for one in who if channel not in closed.get(one, ())}


def cancel(conn: Connection, closed: Collection[tuple[str, str]], now: datetime) -> None:
    """Cancel what is pending for (channel, subject) pairs."""
    by_channel: dict[str, set[str]] = defaultdict(set)
    for channel, subject in closed:
        by_channel[channel].add(subject)
    for channel, who in sorted(by_channel.items()):
        dispatching.cancel_for(
            conn,
            customers=sorted(one[2:] for one in who if one.startswith("p:")),
            address_hashes=sorted(one[2:] for one in who if one.startswith("a:")),
            channel=channel,
            reason=SkipReason.SUPPRESSED,
            now=now,
        )
