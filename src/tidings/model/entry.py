"""An entry: one occasion on which one customer met a campaign's condition, with what they saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, half-open: ``start`` included, ``end`` not. Both aware, UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Item:
    """One product the customer looked at, carted or asked for; prices in minor units of ``currency``."""

    sku: str
    product_id: str | None = None
    quantity: int = 1
    price: int | None = None
    currency: str | None = None
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One customer qualified once. ``key`` is deterministic, so that finding it again changes nothing.

    ``anchor_at`` is the moment in the shop's data that the key stands on; ``entered_at`` is the anchor plus
    the trigger's own wait, never the clock. ``sku`` is set only by triggers that are about one sku; it is
    part of the cooldown's key. ``value`` is in minor units of ``currency``. ``facts`` are small strings a
    template or a re-check needs (a cart id, the price now, the earlier price).
    """

    key: str
    customer_id: str
    anchor_at: datetime
    entered_at: datetime
    sku: str = ""
    items: tuple[Item, ...] = ()
    value: int | None = None
    currency: str | None = None
    market: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
