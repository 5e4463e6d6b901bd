"""One customer's messages with the gates each passed, was stopped by or did not reach; ids and times, never people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tidings.definitions import Campaign
from tidings.jobs import campaigns as words
from tidings.jobs import recorded
from tidings.jobs.facts import Facts, deepened, gather
from tidings.jobs.gates import due_facts
from tidings.jobs.opening import Opened
from tidings.jobs.standing import Standing, standings
from tidings.ledger import receipts
from tidings.ledger.dispatching import Due, Previous
from tidings.ledger.stories import EntryStory, MessageStory, history
from tidings.model.message import SENTENCES, SkipReason, Space, Status
from tidings.model.people import Channel
from tidings.plan.caps import free_at
from tidings.plan.eligibility import Address
from tidings.plan.recheck import GATES, CapState, Gate, gates
from tidings.plan.zones import candidate_zones
from tidings.warehouse import people

_WAITING = frozenset({Status.PLANNED, Status.CLAIMED})
_TAKES_A_SLOT = frozenset({Status.SENDING, Status.SENT, Status.HELD_OUT, Status.UNKNOWN, Status.PRESUMED_LOST})
# Which gate a message stopped at, by the reason it ended with; other reasons are no gate's.
_GATE_OF = {
    SkipReason.PAUSED: "sending is on",
    SkipReason.NOT_ALLOWED: "allow-list",
    SkipReason.TOO_LATE: "in time",
    SkipReason.SUPPRESSED: "suppression",
    SkipReason.NO_CONSENT: "consent",
    SkipReason.QUIET: "quiet hours",
    SkipReason.PREVIOUS_STEP: "step before",
    SkipReason.CAPPED: "frequency cap",
    SkipReason.OUTRANKED: "priority",
    SkipReason.PURCHASED: "not bought",
    SkipReason.STALE: "fresh sources",
    SkipReason.NOT_TRUE: "still true",
    SkipReason.CART_EMPTY: "still true",
    SkipReason.CART_CHANGED: "still true",
    SkipReason.OUT_OF_STOCK: "still true",
    SkipReason.PRICE_RETURNED: "still true",
    SkipReason.NO_CLAIM: "still true",
    SkipReason.UNKNOWN_PRODUCT: "still true",
}


@dataclass(frozen=True, slots=True)
class MessageTold:
    """One message: when it was due and left, where it stands and why, its gates, and what the recipient did."""

    id: str
    step: str
    channel: str
    send_at: datetime
    sending_at: datetime | None
    status: str
    reason: str | None
    sentence: str | None
    gates: tuple[Gate, ...]
    did: tuple[tuple[str, datetime], ...]


@dataclass(frozen=True, slots=True)
class EntryTold:
    """One occasion, with its arm. ``again_at`` is when the same campaign may find the customer once more."""

    campaign: str
    title: str
    space: str
    entered_at: datetime
    arm: str
    variant: str
    again_at: datetime | None
    messages: tuple[MessageTold, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """Everything about one person, newest first, in the zone whose clock decides for them.

    ``others`` are the campaigns that have no entry of theirs.
    """

    customer_id: str
    known: bool
    zone: str
    zone_source: str
    entries: tuple[EntryTold, ...]
    others: tuple[Standing, ...] = ()


def run(opened: Opened, customer_id: str, *, now: datetime | None = None) -> Told:
    """Tell what a customer (any of their ids) got or not, and why. Raises WarehouseError or LedgerError."""
    now = now or datetime.now(UTC)
    customer = people.customers(opened.shop, [customer_id]).get(customer_id)
    ids = {customer_id} if customer is None else {customer_id, customer.id, *customer.aliases}
    with opened.ledger.reading() as conn:
        stories = history(conn, ids)
        left = receipts.evidence_of(conn, [one.id for story in stories for one in story.messages])
    by_id = {campaign.id: campaign for campaign in opened.project.campaigns.values()}
    facts = _facts(opened, stories, by_id, now) if customer is not None else None
    brand = opened.settings.brand
    zones = candidate_zones(customer, brand.zone, brand.country) if customer is not None else None
    zone = zones.zones[0] if zones is not None and zones.zones else brand.zone
    told = [_entry(opened, story, stories, by_id, facts, (left, zone)) for story in reversed(stories)]
    others: tuple[Standing, ...] = ()
    if customer is not None:
        caps = {one.value: _cap_state(opened, one, stories, now) for one in Channel}
        others = standings(opened, customer, {one.campaign for one in stories}, caps, now=now, zone=zone)
    return Told(
        customer_id,
        customer is not None,
        zone,
        str(zones.source) if zones is not None else "the shop's, as the customer is not known",
        tuple(told),
        others,
    )


def _facts(opened: Opened, stories: Sequence[EntryStory], by_id: Mapping[str, Campaign], now: datetime) -> Facts | None:
    waiting = [_due(story, message) for story in stories for message in story.messages if message.status in _WAITING]
    return deepened(opened, gather(opened, waiting, now), waiting, by_id) if waiting else None


def _due(story: EntryStory, message: MessageStory) -> Due:
    number = story.messages.index(message)
    before = story.messages[number - 1] if number else None
    return Due(
        id=message.id,
        entry_id=story.id,
        campaign=story.campaign,
        step=message.step,
        step_no=number,
        channel=message.channel,
        customer_id=story.entry.customer_id,
        priority=0,
        held_out=story.arm == "held_out",
        send_at=message.send_at,
        first_send_at=message.first_send_at,
        expires_at=message.expires_at,
        attempt=message.attempt,
        deferrals=message.deferrals,
        address_hash=None,
        template=None,
        variant=story.variant,
        entry=story.entry,
        previous=Previous(before.status, before.sending_at, before.reason) if before else None,
    )


def _entry(
    opened: Opened,
    story: EntryStory,
    stories: Sequence[EntryStory],
    by_id: Mapping[str, Campaign],
    facts: Facts | None,
    recorded_in: tuple[Mapping[str, str], str],
) -> EntryTold:
    campaign = by_id.get(story.campaign)
    messages = []
    for message in story.messages:
        reason = message.reason or (message.defer_reason if message.status in _WAITING else None)
        known = SkipReason(reason) if reason in list(SkipReason) else None
        answers = recorded.gates(message, recorded_in[0].get(message.id), recorded_in[1])
        if message.status in _WAITING or not answers:
            answers = _gates(opened, story, message, stories, campaign, facts)
        messages.append(
            MessageTold(
                message.id,
                message.step,
                message.channel,
                message.send_at,
                message.sending_at,
                message.status.value,
                reason,
                SENTENCES.get(known) if known is not None else None,
                answers,
                tuple((one.kind, one.at) for one in message.engagements if not one.machine),
            )
        )
    title = campaign.title if campaign is not None else story.campaign
    again = None if campaign is None else story.entry.entered_at + campaign.cooldown
    return EntryTold(
        story.campaign, title, story.space, story.entry.entered_at, story.arm, story.variant, again, tuple(messages)
    )


def _gates(
    opened: Opened,
    story: EntryStory,
    message: MessageStory,
    stories: Sequence[EntryStory],
    campaign: Campaign | None,
    facts: Facts | None,
) -> tuple[Gate, ...]:
    if message.status not in _WAITING:
        return _remembered(message)
    customer = facts.customers.get(story.entry.customer_id) if facts is not None else None
    address = facts.addresses.get((story.entry.customer_id, message.channel)) if facts is not None else None
    if facts is None or customer is None or not isinstance(address, Address):
        return ()
    asked = due_facts(opened, _due(story, message), campaign, customer, address, facts, Space(story.space))
    return gates(replace(asked, caps=_cap_state(opened, Channel(message.channel), stories, facts.now)))


def _remembered(message: MessageStory) -> tuple[Gate, ...]:
    """Return the gates of a message that has ended, as far as its reason tells: facts of that moment are gone."""
    if message.reason is None or message.reason not in list(SkipReason):
        return ()
    reason = SkipReason(message.reason)
    shut = _GATE_OF.get(reason)
    if shut is None:
        return ()
    names = [name for name, _, _ in GATES]
    at = names.index(shut)
    passed = tuple(Gate(name, "yes", "") for name in names[:at])
    behind = tuple(Gate(name, "-", "not reached") for name in names[at + 1 :])
    return (*passed, Gate(shut, "no", SENTENCES[reason]), *behind)


def _cap_state(opened: Opened, channel: Channel, stories: Sequence[EntryStory], now: datetime) -> CapState | None:
    """Return how full the fullest cap of a channel is, counting this person's messages over all campaigns."""
    used = [
        (Channel(one.channel), one.sending_at)
        for story in stories
        for one in story.messages
        if one.status in _TAKES_A_SLOT and one.sending_at is not None and story.space == Space.LIVE
    ]
    states = []
    for cap in words.caps(opened.settings):
        if cap.covers(channel):
            times = [at for theirs, at in used if cap.covers(theirs)]
            counting = sum(1 for at in times if at > now - cap.per)
            states.append(CapState(counting, cap.at_most, free_at(cap, times, now)))
    return max(states, key=lambda one: (one.free_at is not None, one.used / one.at_most), default=None)
