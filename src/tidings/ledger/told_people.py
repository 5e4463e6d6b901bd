"""Everything the ledger holds about one person, as rows to hand over; never a row that is about somebody else."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Column, Connection, Table, select

from tidings.ledger import bulk
from tidings.ledger.schema import (
    consents,
    credits,
    engagements,
    entries,
    messages,
    opt_ins,
    opt_outs,
    outcomes,
    receipts,
    suppressions,
)

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A table's columns that say something about the person; ours (shards, leases, hashes) say nothing."""

    table: Table
    columns: tuple[str, ...]
    by: str


_OF_CUSTOMER = (
    _Wanted(
        entries,
        ("id", "space", "campaign", "sku", "anchor_at", "entered_at", "planned_at", "arm", "variant", "value",
         "currency", "seen"),
        "customer_id",
    ),
    _Wanted(
        messages,
        ("id", "entry_id", "space", "campaign", "step", "channel", "status", "reason", "detail", "first_send_at",
         "send_at", "expires_at", "sending_at", "sent_at", "ended_at", "provider", "provider_id", "mailbox", "held_out",
         "template", "segments", "defer_reason"),
        "customer_id",
    ),
    _Wanted(
        consents, ("channel", "purpose", "granted", "at", "source", "basis", "wording", "message_id"), "customer_id"
    ),
    _Wanted(
        opt_ins, ("channel", "purpose", "wording", "asked_at", "sent_at", "answered_at", "granted"), "customer_id"
    ),
    _Wanted(opt_outs, ("channel", "purpose", "opted_out", "reason", "at", "source", "told_at"), "customer_id"),
    _Wanted(
        outcomes,
        ("campaign", "arm", "variant", "currency", "exposed_at", "window_ends_at", "orders", "revenue"),
        "customer_id",
    ),
)  # fmt: skip
_OF_MESSAGE = (
    _Wanted(engagements, ("message_id", "kind", "at", "machine", "link", "detail"), "message_id"),
    _Wanted(receipts, ("message_id", "urls", "tracked"), "message_id"),
    _Wanted(
        credits, ("message_id", "order_id", "campaign", "currency", "gross", "net", "ordered_at", "touch_at"),
        "message_id",
    ),
)  # fmt: skip


def everything(conn: Connection, ids: Collection[str], address_hashes: Collection[str]) -> Mapping[str, Rows]:
    """Return all rows about the person behind these ids, by table; suppressions also of their own addresses.

    A message, an opening or a purchase is a person's by their id: another customer who shares the mailbox has theirs.
    """
    found = {str(one.table.name): _rows(conn, one, ids) for one in _OF_CUSTOMER}
    mine = [row["id"] for row in found["messages"]]
    found |= {str(one.table.name): _rows(conn, one, mine) for one in _OF_MESSAGE}
    subjects = {f"p:{one}" for one in ids} | {f"a:{one}" for one in address_hashes}
    shut = _Wanted(suppressions, ("subject", "channel", "reason", "at", "lifted_at", "source"), "subject")
    found["suppressions"] = _rows(conn, shut, subjects)
    for row in found["suppressions"]:
        row["about"] = "the person" if row.pop("subject").startswith("p:") else "an address of theirs"
    for row in found["entries"]:
        row["seen"] = orjson.loads(row["seen"])
    for row in found["receipts"]:
        row["urls"] = orjson.loads(row["urls"])
    return found


def _rows(conn: Connection, wanted: _Wanted, values: Collection[str]) -> Rows:
    if not values:
        return []
    chosen = bulk.ids(conn, values)
    columns: list[Column[Any]] = [wanted.table.c[name] for name in wanted.columns]
    by = wanted.table.c[wanted.by]
    query = select(*columns).join(chosen, chosen.c.id == by).order_by(*wanted.table.primary_key.columns)
    return [{str(name): value for name, value in row.items()} for row in conn.execute(query).mappings()]
