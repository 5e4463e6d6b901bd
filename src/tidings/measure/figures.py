"""The one read model of results: what the command line, JSON and every page print, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum


class Verdict(StrEnum):
    """What the comparison of treated and held-out people allows one to say."""

    PROVEN = "proven"  # the 95 % interval lies above zero
    HARMFUL = "harmful"  # the 95 % interval lies below zero
    INCONCLUSIVE = "inconclusive"  # the interval contains zero
    NOT_ENOUGH = "not_enough"  # fewer than 25 buyers in an arm
    NOT_MEASURED = "not_measured"  # no holdout


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of the comparison: persons exposed, buyers among them, all their revenue (minor units)."""

    persons: int
    buyers: int
    revenue: int

    @property
    def per_person(self) -> float:
        """Revenue per person in minor units; 0 when there is nobody."""
        return self.revenue / self.persons if self.persons else 0.0


@dataclass(frozen=True, slots=True)
class Incremental:
    """Treated against held out, as assigned, among those who were or would have been sent to.

    ``difference``, ``low`` and ``high`` are minor units per person; ``total*`` are those times the treated
    persons. ``method`` is "permutation" or "welch"; ``suspect`` says that the arms' sizes do not fit the
    planned split (SRM, p < .001): then nothing should be concluded. ``maturing`` says that some people's window has
    not closed yet. In the whole shop's line ``left_out`` names campaigns with a holdout that the sum cannot contain,
    and the arms count a person once per campaign. ``smallest_effect`` is the smallest
    difference per person that this data could have shown (80 % power), in minor units.
    """

    treated: Arm
    held_out: Arm
    verdict: Verdict
    method: str | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    total: int | None = None
    total_low: int | None = None
    total_high: int | None = None
    suspect: bool = False
    maturing: bool = False
    smallest_effect: float | None = None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Figures:
    """One campaign's (or the whole shop's) figures over the period; money in minor units of the report's currency.

    ``found`` are new entries; a message is planned for each of their steps or ``refused`` at once, by reason.
    ``planned = sent + held_out + not_sent + open`` (``open``: still waiting or in flight). ``skipped`` and
    ``cancelled`` are planned messages by reason. ``delivered`` to ``unsubscribed`` are messages, machines' clicks
    left out. ``orders`` and ``revenue`` are attributed. ``recipients`` are distinct persons sent to.
    """

    campaign: str
    title: str
    mode: str
    found: int = 0
    planned: int = 0
    sent: int = 0
    held_out: int = 0
    open: int = 0
    unknown: int = 0
    failed: int = 0
    expired: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    cancelled: Mapping[str, int] = field(default_factory=dict)
    sent_by_channel: Mapping[str, int] = field(default_factory=dict)
    delivered: int = 0
    clicked: int = 0
    bounced: int = 0
    complained: int = 0
    unsubscribed: int = 0
    recipients: int = 0
    orders: int = 0
    revenue: int = 0
    revenue_before: int | None = None
    orders_before: int | None = None
    recipients_before: int | None = None
    incremental: Incremental | None = None

    @property
    def not_sent(self) -> int:
        """Messages that ended without being sent, apart from the held out."""
        return sum(self.skipped.values()) + sum(self.cancelled.values()) + self.expired + self.failed + self.unknown

    @property
    def revenue_per_recipient(self) -> float | None:
        """Attributed revenue per person sent to, minor units."""
        return self.revenue / self.recipients if self.recipients else None


@dataclass(frozen=True, slots=True)
class DayRevenue:
    """Attributed net revenue of one campaign on one day of the shop's own calendar, minor units."""

    day: date
    campaign: str
    revenue: int
    orders: int


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a door prints about a period. ``start`` to ``end`` half-open; ``as_of`` is when it was measured."""

    shop: str
    zone: str
    currency: str
    currencies: tuple[str, ...]
    start: datetime
    end: datetime
    before_start: datetime
    as_of: datetime | None
    model: str
    holdouts: Mapping[str, float]
    campaigns: tuple[Figures, ...]
    totals: Figures
    days: tuple[DayRevenue, ...]
    total_revenue: int
    total_orders: int
    alerts: tuple[str, ...] = ()
