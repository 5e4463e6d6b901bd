"""Where a customer stands with the campaigns that have not found them: what is missing, and what else would hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tidings.definitions import Campaign, Step
from tidings.jobs.facts import Facts, gather
from tidings.jobs.gates import due_facts
from tidings.jobs.opening import Opened
from tidings.jobs.recorded import told
from tidings.ledger import progress
from tidings.ledger.dispatching import Due
from tidings.ledger.progress import CampaignState
from tidings.model.entry import Entry
from tidings.model.message import SENTENCES, SkipReason, Space
from tidings.model.people import Customer
from tidings.plan.eligibility import Address
from tidings.plan.recheck import CapState, Gate, gates
from tidings.plan.timing import Hours

# What can be told before there is a message: the others ask about the entry, which there is none of.
_KNOWN = ("sending is on", "allow-list", "suppression", "consent", "frequency cap")


@dataclass(frozen=True, slots=True)
class Reachable:
    """What would hold a message on one channel back, gate by gate, were the condition met now."""

    channel: str
    gates: tuple[Gate, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """One campaign without an entry of this customer: its condition, then what each channel's gates would say."""

    campaign: str
    title: str
    mode: str
    condition: Gate
    channels: tuple[Reachable, ...]


def standings(
    opened: Opened,
    customer: Customer,
    found_by: Collection[str],
    caps: Mapping[str, CapState | None],
    *,
    now: datetime,
    zone: str,
) -> tuple[Standing, ...]:
    """Return the campaigns, by title, that have no entry of this customer. ``caps`` are how full theirs are."""
    others = [one for one in opened.project.campaigns.values() if one.id not in found_by]
    asked = [_due(one, step, customer, now) for one in others for step in _first_steps(one)]
    if not asked:
        return ()
    facts = gather(opened, asked, now)
    with opened.ledger.reading() as conn:
        states = {one.id: progress.campaign_state(conn, _space(one), one.id) for one in others}
    by_campaign = {one.id: [due for due in asked if due.campaign == one.id] for one in others}
    return tuple(
        Standing(
            one.id, one.title, one.mode.replace("_", " "), _condition(states[one.id], zone),
            tuple(_reachable(opened, one, due, facts, caps) for due in by_campaign[one.id]),
        )
        for one in sorted(others, key=lambda one: one.title)
    )  # fmt: skip


def _space(campaign: Campaign) -> Space:
    return Space.DRY_RUN if campaign.mode == "dry_run" else Space.LIVE


def _first_steps(campaign: Campaign) -> list[Step]:
    """Return the first step of each channel."""
    first: dict[str, Step] = {}
    for step in campaign.steps:
        first.setdefault(step.channel.value, step)
    return list(first.values())


def _condition(state: CampaignState | None, zone: str) -> Gate:
    """Return whether the campaign has found the customer; it has not, or they would have an entry."""
    if state is None or (state.watermark is None and state.waiting_count is None):
        return Gate("condition", "-", "the campaign has not looked yet")
    if state.waiting_count is not None:
        return Gate("condition", "-", f"{state.waiting_count:,} wait for `tidings approve`")
    assert state.watermark is not None
    return Gate("condition", "no", f"not met in what was looked at, up to {told(state.watermark, zone)}")


def _reachable(
    opened: Opened, campaign: Campaign, due: Due, facts: Facts, caps: Mapping[str, CapState | None]
) -> Reachable:
    """Return what else would hold a message back, were there one now."""
    customer, address = facts.customers[due.customer_id], facts.addresses.get((due.customer_id, due.channel))
    reason = address if isinstance(address, SkipReason) else SkipReason.NO_ADDRESS if address is None else None
    reason = SkipReason.ERASED if due.customer_id in facts.forgotten else reason
    if reason is not None or not isinstance(address, Address):
        shut = Gate("address", "no", SENTENCES[reason or SkipReason.NO_ADDRESS].lower())
        return Reachable(due.channel, (shut, *(Gate(name, "-", "not reached") for name in _KNOWN)))
    known = due_facts(opened, due, campaign, customer, address, facts, _space(campaign))
    answers = {gate.name: gate for gate in gates(replace(known, caps=caps.get(due.channel), hours=Hours()))}
    return Reachable(due.channel, (Gate("address", "yes", "has one"), *(answers[name] for name in _KNOWN)))


def _due(campaign: Campaign, step: Step, customer: Customer, now: datetime) -> Due:
    """Return a message as it would be if the customer entered now."""
    return Due(
        id=f"{campaign.id} {step.name}",
        entry_id=campaign.id,
        campaign=campaign.id,
        step=step.name,
        step_no=0,
        channel=step.channel.value,
        customer_id=customer.id,
        priority=0,
        held_out=False,
        send_at=now,
        first_send_at=now,
        expires_at=now + timedelta(days=30),
        attempt=0,
        deferrals=0,
        address_hash=None,
        template=None,
        variant="",
        entry=Entry("", customer.id, now, now),
        previous=None,
    )
