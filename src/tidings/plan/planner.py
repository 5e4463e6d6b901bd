"""What an entry becomes: its arm and one message per step, planned, or refused for what cannot change.

Nothing here depends on the clock but one thing: what was found after its time is stored as expired, not lost.
Consent, suppression, caps and purchases can change until the last moment, so dispatch asks about them.
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import NamedTuple

from tidings.model.entry import Entry
from tidings.model.message import SkipReason, Space, Status
from tidings.model.people import Channel, Customer
from tidings.plan.assignment import Split
from tidings.plan.eligibility import Address, address
from tidings.plan.rules import hours_for
from tidings.plan.timing import Hours, OpenHours, QuietHours, SendWindow, open_hours
from tidings.plan.zones import Zones, candidate_zones, dialled

_REMEMBERED_PLACES = 10_000


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One message of a series. ``after`` counts from the entry, ``expires_after`` from the step's first moment.

    ``min_gap`` is the least wait after the step before; ``templates`` names another template for a variant. A
    transactional step is part of an order: hours do not hold it back.
    """

    name: str
    no: int
    after: timedelta
    channel: Channel
    template: str
    expires_after: timedelta
    min_gap: timedelta = timedelta(0)
    templates: Mapping[str, str] = field(default_factory=dict)
    transactional: bool = False


@dataclass(frozen=True, slots=True)
class CampaignPlan:
    """A campaign as the planner sees it: its file with the shop's defaults. ``salt`` never changes."""

    campaign: str
    steps: tuple[PlanStep, ...]
    cooldown: timedelta
    salt: str
    pepper: bytes
    brand_zone: str
    brand_country: str = ""
    holdout: Fraction = Fraction(0)
    variants: Mapping[str, Fraction] = field(default_factory=dict)
    priority: int = 0
    quiet: Mapping[Channel, QuietHours] = field(default_factory=dict)
    window: SendWindow | None = None
    shards: int = 64
    space: Space = Space.LIVE
    split: Split = field(init=False, repr=False, compare=False)
    _calendars: dict[tuple[str | None, ...], tuple[OpenHours, ...]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "split", Split(self.salt, self.holdout, self.variants))


class PlannedMessage(NamedTuple):  # a tuple is made three times as fast as a frozen dataclass of so many fields
    """One step for one entry. ``status`` is planned, skipped (with why) or expired (backfill)."""

    id: str
    step: str
    step_no: int
    channel: Channel
    address_hash: str | None
    shard: int
    priority: int
    status: Status
    reason: SkipReason | None
    send_at: datetime
    first_send_at: datetime
    expires_at: datetime
    template: str


class PlannedEntry(NamedTuple):
    """An entry with its arm, the end of its cooldown, and a message for every step."""

    id: str
    entry: Entry
    customer_id: str
    arm: str
    variant: str
    cooldown_until: datetime
    messages: tuple[PlannedMessage, ...]


def random_id() -> str:
    """Return an id that tells nothing: 32 hex digits."""
    return uuid.uuid4().hex


def plan(
    entry: Entry,
    customer: Customer | None,
    campaign: CampaignPlan,
    now: datetime,
    *,
    new_id: Callable[[], str] = random_id,
) -> PlannedEntry:
    """Return what this entry becomes. ``customer`` is None when the customer table does not know them."""
    assigned = campaign.split.of(entry.customer_id)
    shard = zlib.crc32(entry.customer_id.encode()) % campaign.shards
    messages: list[PlannedMessage] = []
    before: datetime | None = None
    calendars = None if customer is None else calendars_of(customer, campaign)
    for number, step in enumerate(campaign.steps):
        due = entry.entered_at + step.after
        if before is not None:
            due = max(due, before + step.min_gap)
        to = _address(customer, step.channel, campaign)
        first = due if calendars is None else calendars[number].first(due)
        expires_at = (first or due) + step.expires_after
        status, reason = _standing(to, first, expires_at, now)
        if status is Status.PLANNED:
            before = first
        messages.append(
            PlannedMessage(
                new_id(),
                step.name,
                step.no,
                step.channel,
                to.hash if isinstance(to, Address) else None,
                shard,
                campaign.priority,
                status,
                reason,
                first or due,
                first or due,
                expires_at,
                step.templates.get(assigned.variant, step.template),
            )
        )
    cooldown_until = entry.entered_at + campaign.cooldown
    return PlannedEntry(
        new_id(), entry, entry.customer_id, assigned.arm, assigned.variant, cooldown_until, tuple(messages)
    )


def whereabouts(customer: Customer, campaign: CampaignPlan) -> Zones:
    """Return where the customer may be, with the brand's own place for those who tell nothing."""
    return candidate_zones(customer, campaign.brand_zone, campaign.brand_country)


def hours_of(where: Zones, step: PlanStep, campaign: CampaignPlan) -> Hours:
    """Return the hours in which this step may leave to people who may be there."""
    if step.transactional:
        return Hours()
    return hours_for(step.channel, where.country, where.states, campaign.quiet.get(step.channel), campaign.window)


def calendars_of(customer: Customer, campaign: CampaignPlan) -> tuple[OpenHours, ...]:
    """Return, for every step, the instants at which it may leave to this customer."""
    known = (customer.zone, customer.country, customer.region, dialled(customer))
    found = campaign._calendars.get(known)
    if found is None:
        where = whereabouts(customer, campaign)
        found = tuple(open_hours(where.zones, hours_of(where, step, campaign)) for step in campaign.steps)
        if len(campaign._calendars) < _REMEMBERED_PLACES:
            campaign._calendars[known] = found
    return found


def _address(customer: Customer | None, channel: Channel, campaign: CampaignPlan) -> Address | SkipReason:
    if customer is None:
        return SkipReason.UNKNOWN_CUSTOMER
    return address(customer, channel, campaign.pepper, campaign.brand_country)


def _standing(
    to: Address | SkipReason, first: datetime | None, expires_at: datetime, now: datetime
) -> tuple[Status, SkipReason | None]:
    if isinstance(to, SkipReason):
        return Status.SKIPPED, to
    if first is None:
        return Status.SKIPPED, SkipReason.QUIET
    if now > expires_at:
        return Status.EXPIRED, SkipReason.BACKFILL
    return Status.PLANNED, None
