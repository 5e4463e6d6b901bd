"""What a recipient did with a message, as the provider or our own redirect saw it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class EngagementKind(StrEnum):
    """One word per thing a recipient, or the provider on the way to them, can do."""

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    OPENED = "opened"
    CLICKED = "clicked"
    BOUNCED = "bounced"
    BLOCKED = "blocked"
    DROPPED = "dropped"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Engagement:
    """One thing that happened to one message.

    ``id`` is the provider's event id (or one derived from the event), so that a repeated webhook changes
    nothing. ``machine`` marks scanners and privacy proxies: kept, never counted. ``suppress`` names why the
    address must not be used again (``hard_bounce``, ``complaint``, ``unsubscribed``, ``stop``...).
    ``provider_id`` is the provider's own id for the message, when the event tells it.
    """

    id: str
    message_id: str
    kind: EngagementKind
    at: datetime
    machine: bool = False
    link: int | None = None
    detail: str | None = None
    suppress: str | None = None
    provider_id: str | None = None
