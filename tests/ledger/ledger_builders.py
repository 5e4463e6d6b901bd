"""Builders that give everything a ledger rule does not mention."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from tidings.ledger import dispatching, planning
from tidings.model.entry import Entry

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)

_numbers = itertools.count(1)


def message_row(**given: Any) -> planning.MessageRow:
    send_at = given.pop("send_at", NOON)
    values: dict[str, Any] = {
        "id": f"m{next(_numbers):08d}", "step": "reminder", "step_no": 0, "channel": "email", "address_hash": "h",
        "shard": 0, "priority": 30, "status": "planned", "reason": None, "send_at": send_at, "first_send_at": send_at,
        "expires_at": send_at + DAY, "template": "cart/reminder",
    }  # fmt: skip
    return planning.MessageRow(**{**values, **given})


def entry_row(key: str = "k", **given: Any) -> planning.EntryRow:
    customer = given.pop("customer", "ann")
    at = given.pop("entered_at", NOON)
    entry = Entry(key, customer, at, at, given.pop("sku", ""))
    values: dict[str, Any] = {
        "id": f"e{next(_numbers):08d}", "entry": entry, "customer_id": customer, "arm": "treated", "variant": "",
        "cooldown_until": at + 7 * DAY, "messages": (message_row(address_hash=f"h-{customer}"),),
    }  # fmt: skip
    return planning.EntryRow(**{**values, **given})


def intent(due: dispatching.Due, **given: Any) -> dispatching.Intent:
    values: dict[str, Any] = {
        "id": due.id, "person": due.customer_id, "address_hash": due.address_hash, "channel": due.channel,
        "held_out": due.held_out, "urls": ["https://shop.example/"], "provider": "sendgrid",
    }  # fmt: skip
    return dispatching.Intent(**{**values, **given})
