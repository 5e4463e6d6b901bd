"""Who a message is for: the customer as the warehouse knows them, and what they allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Channel(StrEnum):
    """A way to reach a person."""

    EMAIL = "email"
    SMS = "sms"


class Purpose(StrEnum):
    """What a person allowed us to do. Unknown means no."""

    MARKETING = "marketing"
    CART_REMINDERS = "cart_reminders"
    BACK_IN_STOCK = "back_in_stock"
    CLICK_TRACKING = "click_tracking"
    OPEN_TRACKING = "open_tracking"
    PROFILING = "profiling"


@dataclass(frozen=True, slots=True)
class Customer:
    """One canonical person. ``aliases`` are their other ids (merged accounts, former ids)."""

    id: str
    email: str | None = None
    phone: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    locale: str | None = None
    country: str | None = None
    region: str | None = None
    zone: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Consent:
    """One statement by a person about one channel and purpose; the latest wins, a withdrawal wins ties.

    What proves it is no part of what was said: ``source`` is where the row stands (``warehouse`` or ``ledger``),
    ``basis`` on what ground it counts, ``wording`` what the person was shown.
    """

    customer_id: str
    channel: Channel
    purpose: str
    granted: bool
    at: datetime
    source: str = field(default="warehouse", compare=False)
    basis: str = field(default="express", compare=False)
    wording: str | None = field(default=None, compare=False)
