"""The last look at a claimed batch: what passes may be written, the rest waits or ends with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tidings.definitions import Campaign, Step
from tidings.jobs import campaigns as words
from tidings.jobs import releases
from tidings.jobs.curbs import HALTED, Deferral, Ending, scopes_of
from tidings.jobs.facts import Facts, Open, Shelf, deepened, gather, owners, with_products
from tidings.jobs.opening import Opened
from tidings.jobs.sending import Halts, Ready
from tidings.ledger.dispatching import Begun, Claim, Due, upcoming
from tidings.model.message import SkipReason, Space, Status
from tidings.model.people import Channel, Customer
from tidings.plan.arbitration import Candidate, Lost, winners
from tidings.plan.eligibility import Address, allow_listed, consented_since
from tidings.plan.mailboxes import mailbox
from tidings.plan.recheck import (
    Cancel,
    Decision,
    Defer,
    DueFacts,
    Expire,
    Pass,
    Previous,
    Skip,
    decide,
)
from tidings.plan.rules import hours_for
from tidings.plan.timing import Hours, open_hours
from tidings.plan.zones import Zones, candidate_zones

_TOO_SOON = timedelta(seconds=30)
_PASSED = Pass()
_REASONS = {str(one): one for one in SkipReason}


@dataclass(slots=True)
class Batch:
    """A claim after the gates: what ``passed``, with the facts about it; and what becomes of the others."""

    token: str
    facts: Facts
    passed: list[Due] = field(default_factory=list)
    deferred: list[Deferral] = field(default_factory=list)
    ended: list[Ending] = field(default_factory=list)

    def settle(self, due: Due, decision: Decision, now: datetime) -> None:
        """Note what becomes of a message that does not leave now."""
        match decision:
            case Defer(until, reason):
                self.deferred.append((due.id, max(until, now + _TOO_SOON), reason))
            case Skip(reason):
                self.ended.append((due.id, Status.SKIPPED, reason, None))
            case Cancel(reason):
                self.ended.append((due.id, Status.CANCELLED, reason, None))
            case Expire(reason):
                self.ended.append((due.id, Status.EXPIRED, reason, None))
            case Pass():
                raise AssertionError("a message that passed is not settled here")


def pass_gates(
    opened: Opened,
    claim: Claim,
    campaigns: Mapping[str, Campaign],
    space: Space,
    now: datetime,
    halts: Halts,
    shelf: Shelf | None = None,
) -> Batch:
    """Ask everything once about a claim, and sort it; writes nothing. ``shelf`` has the products just looked up."""
    facts = gather(opened, claim.due, now)
    batch = Batch(claim.token, facts)
    asked_before: dict[str, DueFacts] = {}

    def passing(asked: Sequence[Due]) -> list[Due]:
        passed = []
        for due in asked:
            decision = _decision(opened, due, campaigns.get(due.campaign), facts, space, halts, asked_before)
            if isinstance(decision, Pass):
                passed.append(due)
            else:
                batch.settle(due, decision, now)
        return passed

    # The dear questions are asked only about what the cheap ones let through; the order of the gates is the same,
    # because what is not known yet holds nothing back.
    passed = passing(claim.due)
    facts = deepened(opened, facts, passed, campaigns)
    batch.passed = _arbitrated(opened, passing(passed), campaigns, facts, space, batch)
    batch.facts = with_products(opened, facts, batch.passed, shelf)
    return batch


def _decision(
    opened: Opened,
    due: Due,
    campaign: Campaign | None,
    facts: Facts,
    space: Space,
    halts: Halts,
    before: dict[str, DueFacts],
) -> Decision:
    customer = facts.customers.get(due.customer_id)
    address = facts.addresses.get((due.customer_id, due.channel))
    if due.customer_id in facts.forgotten:
        return Skip(SkipReason.ERASED)
    if customer is None:
        return Skip(SkipReason.UNKNOWN_CUSTOMER)
    if isinstance(address, SkipReason):
        return Skip(address)
    if Channel(due.channel) in halts.reasons:
        return Defer(facts.now + HALTED, SkipReason.PAUSED)
    assert address is not None
    known = before.get(due.id)
    if known is None:
        known = before[due.id] = due_facts(opened, due, campaign, customer, address, facts, space)
        return decide(known)
    untrue, stale = facts.untrue.get(due.entry_id), facts.stale.get(due.campaign)
    if untrue is None and stale is None:
        return _PASSED  # it passed without these, and nothing else has changed
    return decide(replace(known, untrue=untrue, stale=stale))


def due_facts(
    opened: Opened,
    due: Due,
    campaign: Campaign | None,
    customer: Customer,
    address: Address,
    facts: Facts,
    space: Space = Space.LIVE,
) -> DueFacts:
    """Return what the gates ask about one message."""
    channel = Channel(due.channel)
    step = campaign.step(due.step) if campaign else None
    transactional = step is not None and step.transactional
    purposes = step.purposes if step else ()
    where = hours_of(opened, due, campaign, customer, facts)
    return DueFacts(
        facts.now,
        due.expires_at,
        where.zones,
        where.hours,
        consented_since=consented_since(facts.consents.get(due.customer_id, ()), channel, purposes, facts.now),
        consent_exempt=transactional,
        paused=step is None or _paused(campaign, space),
        brake=_brake(opened, due, facts, space, None if transactional else address),
        not_allowed=_not_allowed(opened, channel, address, space),
        suppressed=_suppression(due, customer, address, facts, transactional),
        first_step=due.step_no == 0,
        previous=_previous(due),
        min_gap=_gap(campaign, step),
        purchased_at=_purchase(due, campaign, facts),
        untrue=facts.untrue.get(due.entry_id),
        stale=facts.stale.get(due.campaign),
        waited_for=_reason(due.defer_reason),
    )


def hours_of(opened: Opened, due: Due, campaign: Campaign | None, customer: Customer, facts: Facts) -> Open:
    """Return the zones the customer may be in, and the hours that are open to this message there."""
    brand = opened.settings.brand
    zones = candidate_zones(customer, brand.zone, brand.country)
    same = (due.campaign, due.step, due.channel, zones.zones, zones.country, zones.states)
    known = facts.hours.get(same)
    if known is None:
        hours = _open_to(opened, due, campaign, zones)
        known = facts.hours[same] = Open(zones.zones, hours, open_hours(zones.zones, hours))
    return known


def _open_to(opened: Opened, due: Due, campaign: Campaign | None, zones: Zones) -> Hours:
    if _transactional(campaign, due.step):
        return Hours()
    channel = Channel(due.channel)
    window = words.send_window(campaign) if campaign else None
    quiet = words.quiet_hours(opened.settings).get(channel)
    return hours_for(channel, zones.country, zones.states, quiet, window)


def _paused(campaign: Campaign | None, space: Space) -> bool:
    return campaign is None or campaign.mode == "paused" or (space is Space.LIVE and campaign.mode != "live")


def provider_name(opened: Opened, channel: str, space: Space) -> str:
    """Return what a message on this channel leaves by; a dry run knows only the outbox."""
    return "outbox" if space is Space.DRY_RUN else str(getattr(opened.settings.providers, channel).name)


def _brake(opened: Opened, due: Due, facts: Facts, space: Space, marketed: Address | None) -> str | None:
    if not facts.brakes and provider_name(opened, due.channel, space) != "outbox":
        return None
    scopes = scopes_of(
        campaign=due.campaign, channel=due.channel, provider=provider_name(opened, due.channel, space),
        mailbox=mailbox_of(due.channel, marketed), transactional=marketed is None,
    )  # fmt: skip
    # The outbox sends nothing, so nothing may be called sent because of it: live messages wait for a provider.
    held = {*facts.brakes, "provider:outbox"} if space is Space.LIVE else facts.brakes
    return next((scope for scope in scopes if scope in held), None)


def mailbox_of(channel: str, address: Address | None) -> str | None:
    """Return who receives an e-mail, as brakes and rates name them; None for a text, or where nobody asks."""
    return mailbox(address.value) if address is not None and channel == Channel.EMAIL else None


def _not_allowed(opened: Opened, channel: Channel, address: Address, space: Space) -> bool:
    if opened.settings.production or space is Space.DRY_RUN or not opened.reaches_strangers(channel):
        return False
    return not allow_listed(address.value, opened.settings.allow_list)


def _suppression(due: Due, customer: Customer, address: Address, facts: Facts, transactional: bool) -> str | None:
    if not facts.suppressed:
        return None
    subjects = (
        f"a:{address.hash}",
        f"p:{due.customer_id}",
        f"p:{customer.id}",
        *(f"p:{one}" for one in customer.aliases),
    )
    for subject in subjects:
        if due.channel in facts.suppressed.get(subject, ()):
            return "suppressed by the address" if subject.startswith("a:") else "suppressed by the person"
    return None


def _previous(due: Due) -> Previous | None:
    if due.previous is None:
        return None
    return Previous(due.previous.status, _reason(due.previous.reason), due.previous.sent_at)


def _reason(told: str | None) -> SkipReason | None:
    return None if told is None else _REASONS.get(told)


def _gap(campaign: Campaign | None, step: Step | None) -> timedelta:
    if campaign is None or step is None:
        return timedelta(0)
    return campaign.min_gap if step.min_gap is None else step.min_gap


def _purchase(due: Due, campaign: Campaign | None, facts: Facts) -> datetime | None:
    """Return the person's first order after the entry's anchor, when the campaign ends on an order."""
    if campaign is not None and "order" not in campaign.exit_on:
        return None
    orders = facts.orders.get(due.customer_id, ())
    return next((order.ordered_at for order in orders if order.ordered_at > due.entry.anchor_at), None)


def _arbitrated(
    opened: Opened,
    passed: Sequence[Due],
    campaigns: Mapping[str, Campaign],
    facts: Facts,
    space: Space,
    batch: Batch,
) -> list[Due]:
    """Return the messages that go now: of several to one person the best; the others wait or give way."""
    if not passed:
        return []
    window = opened.settings.arbitration_window
    person = owners({due.customer_id: facts.customers[due.customer_id] for due in passed})
    with opened.ledger.reading() as conn:
        soon = upcoming(conn, space=space, customers=person.keys(), now=facts.now, until=facts.now + window)
    rivals = [
        Candidate(
            one.id, person[one.customer_id], f"?{one.id}", Channel(one.channel), one.priority, one.send_at, one.send_at,
            exempt=_transactional(campaigns.get(one.campaign), one.step),
        )
        for one in soon
    ]  # fmt: skip
    verdicts = winners((_candidate(due, campaigns, facts) for due in passed), rivals, facts.now, window)
    going = []
    for due in passed:
        verdict = verdicts[due.id]
        if not isinstance(verdict, Lost):
            going.append(due)
        elif verdict.until is None:
            batch.settle(due, Skip(verdict.reason), facts.now)
        else:
            batch.settle(due, Defer(verdict.until, verdict.reason), facts.now)
    return going


def _candidate(due: Due, campaigns: Mapping[str, Campaign], facts: Facts) -> Candidate:
    address = facts.addresses[due.customer_id, due.channel]
    assert isinstance(address, Address)
    exempt = _transactional(campaigns[due.campaign], due.step)
    return Candidate(
        due.id, facts.customers[due.customer_id].id, address.hash, Channel(due.channel), due.priority, due.send_at,
        due.expires_at, due.held_out, exempt,
    )  # fmt: skip


def _transactional(campaign: Campaign | None, step_name: str) -> bool:
    step = campaign.step(step_name) if campaign else None
    return step is not None and step.transactional


def refused(some: Sequence[Ready], begun: Begun, now: datetime) -> tuple[list[Deferral], list[Ending]]:
    """Return what becomes of messages that the step to ``sending`` refused.

    A capped message waits for room until it would expire; then it ends as skipped(capped). One about goods that are
    too few waits for the next wave, which reads the stock again.
    """
    deferred: list[Deferral] = []
    ended: list[Ending] = []
    for one in some:
        free = begun.capped.get(one.intent.id)
        if one.intent.id in begun.suppressed:
            ended.append((one.intent.id, Status.SKIPPED, SkipReason.SUPPRESSED, None))
        elif one.intent.id in begun.waiting and now + releases.WAVE < one.expires_at:
            deferred.append((one.intent.id, now + releases.WAVE, SkipReason.TOO_FEW))
        elif one.intent.id in begun.waiting:
            ended.append((one.intent.id, Status.SKIPPED, SkipReason.TOO_FEW, None))
        elif free is not None and free < one.expires_at:
            deferred.append((one.intent.id, max(free, now + timedelta(minutes=1)), SkipReason.CAPPED))
        elif free is not None:
            ended.append((one.intent.id, Status.SKIPPED, SkipReason.CAPPED, None))
    return deferred, ended
