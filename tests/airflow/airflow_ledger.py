"""A ledger filled by hand, as large as wanted, with everything the pages show."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, create_engine, insert

from tidings.ledger import schema
from tidings.ledger.store import migrate

CAMPAIGNS = ("cart_abandonment", "browse_abandonment", "price_drop", "back_in_stock", "win_back")
DAY = timedelta(days=1)


def fill(url: str, *, now: datetime, people: int = 400) -> None:
    """Migrate a ledger and give each campaign so many entries over 28 days, two fifths of them held out."""
    migrate(url)
    engine = create_engine(url)
    chance = random.Random(7)
    with engine.begin() as conn:
        for campaign in CAMPAIGNS:
            _campaign(conn, campaign, now, people, chance)
        days = [
            {"day": now - DAY * n, "currency": "EUR", "orders": 20, "gross": 150_000, "net": 140_000} for n in range(28)
        ]
        _insert(conn, schema.revenue_days, days)
        for job in ("measure", "plan"):
            at = now - timedelta(minutes=10)
            run = {"id": f"run-{job}", "job": job, "campaign": "", "space": "live",
                   "as_of": at, "started_at": at, "ended_at": at, "counters": "{}"}  # fmt: skip
            _insert(conn, schema.runs, [run])
    engine.dispose()


def _insert(conn: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    for start in range(0, len(rows), 5_000):
        conn.execute(insert(table), rows[start : start + 5_000])


def _campaign(conn: Connection, campaign: str, now: datetime, people: int, chance: random.Random) -> None:
    entries, messages, engagements, credited, spent = [], [], [], [], []
    for number in range(people):
        at = now - DAY * 28 * chance.random()
        arm = "held_out" if number % 5 < 2 else "treated"
        customer = f"c{number}"
        entry = f"{campaign[:4]}-{number}"
        entries.append(
            {"id": entry, "space": "live", "campaign": campaign, "entry_key": entry, "customer_id": customer,
             "anchor_at": at, "entered_at": at, "planned_at": at, "arm": arm, "run_id": "run-plan"}
        )  # fmt: skip
        status, reason = _fate(arm, chance)
        message = f"m-{entry}"
        messages.append(_message(message, entry, campaign, customer, at, status, reason))
        if status == "sent":
            engagements += _deeds(message, at, chance)
        bought = status in ("sent", "held_out") and chance.random() < (0.4 if arm == "treated" else 0.2)
        amount = int(chance.expovariate(1 / 6_000)) + 1_000 if bought else 0
        if status in ("sent", "held_out"):
            spent.append(
                {"campaign": campaign, "customer_id": customer, "currency": "EUR", "arm": arm, "exposed_at": at,
                 "window_ends_at": at + DAY * 14, "orders": int(bought), "revenue": amount, "computed_at": now}
            )  # fmt: skip
        if bought and status == "sent":
            when = min(at + timedelta(hours=5), now - timedelta(minutes=11))
            credited.append(
                {"order_id": f"o-{entry}", "message_id": message, "campaign": campaign, "currency": "EUR",
                 "gross": amount, "net": amount, "ordered_at": when, "touch_at": at,
                 "touch_kind": "click", "computed_at": now}
            )  # fmt: skip
    tables = (schema.entries, schema.messages, schema.engagements, schema.credits, schema.outcomes)
    for table, rows in zip(tables, (entries, messages, engagements, credited, spent), strict=True):
        _insert(conn, table, rows)


def _fate(arm: str, chance: random.Random) -> tuple[str, str | None]:
    lot = chance.random()
    if lot < 0.08:
        return "skipped", "no_consent"
    if lot < 0.13:
        return "skipped", "capped"
    if lot < 0.16:
        return "cancelled", "purchased"
    if lot < 0.18:
        return "expired", None
    return ("held_out" if arm == "held_out" else "sent"), None


def _message(
    name: str, entry: str, campaign: str, customer: str, at: datetime, status: str, reason: str | None
) -> dict[str, Any]:
    left = status in ("sent", "held_out")
    return {
        "id": name, "entry_id": entry, "space": "live", "campaign": campaign, "step": "one", "step_no": 0,
        "channel": "sms" if zlib.crc32(name.encode()) % 4 == 0 else "email", "customer_id": customer, "shard": 0,
        "priority": 1, "held_out": entry.startswith("x"), "status": status, "reason": reason, "send_at": at,
        "first_send_at": at, "expires_at": at + DAY, "sending_at": at if left else None,
        "sent_at": at if status == "sent" else None, "ended_at": at,
    }  # fmt: skip


def _deeds(message: str, at: datetime, chance: random.Random) -> Iterable[dict[str, Any]]:
    def deed(kind: str) -> dict[str, Any]:
        return {
            "id": f"{message}-{kind}",
            "message_id": message,
            "kind": kind,
            "at": at,
            "received_at": at,
            "machine": False,
        }

    def all_of_them() -> Iterator[dict[str, Any]]:
        yield deed("delivered")
        if chance.random() < 0.3:
            yield deed("clicked")
        if chance.random() < 0.01:
            yield deed("unsubscribed")

    return list(all_of_them())
