"""What we know about one person, for them to read and to take elsewhere (GDPR Art. 15 and 20); nobody else's data."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Select, func, select

from tidings.errors import DefinitionError
from tidings.jobs import forget
from tidings.jobs.opening import Opened
from tidings.ledger import erasing, told_people
from tidings.model.message import SENTENCES, SkipReason
from tidings.plan.eligibility import address_hash
from tidings.warehouse.people import MOST_IDS

VERSION = 1
# What a spreadsheet would take for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
# Which of the shop's tables hold rows about a person by their id; `orders` may name them by e-mail as well.
_SOURCES = ("customers", "consents", "product_events", "stock_requests", "wishlist", "orders", "loyalty")
_PURPOSES = {
    "entries": "an occasion on which a campaign's condition was met, and what was looked at",
    "messages": "what was written or not, when, and why not",
    "engagements": "what was done with a message",
    "receipts": "where a message's links led, and whether clicks were seen",
    "credits": "purchases that a message is credited with",
    "outcomes": "what was spent after a campaign wrote, or would have written",
    "consents": "permissions told to us directly",
    "suppressions": "why nobody writes any more",
    "opt_ins": "questions whether texts are wanted",
    "opt_outs": "decisions handed on to the shop's other tools",
}


def run(opened: Opened, customer_id: str, *, now: datetime | None = None) -> dict[str, Any]:
    """Return everything known about a customer. Raises DefinitionError when nobody is known by that id."""
    now = now or opened.ledger.now()
    person = forget.find(opened, customer_id)
    hashes = {address_hash(one, opened.secrets.pepper) for one in person.addresses}
    with opened.ledger.reading() as conn:
        ours = told_people.everything(conn, person.ids, hashes | erasing.known(conn, person.ids).address_hashes)
    theirs = {name: list(_source(opened, name, person)) for name in _SOURCES if opened.shop.tables.has(name)}
    if not any(ours[name] for name in ("entries", "consents", "opt_ins", "opt_outs")) and not any(theirs.values()):
        raise DefinitionError("customer: must be known to the warehouse or the ledger; found nobody under this id")
    for message in ours["messages"]:
        reason = message["reason"]
        message["in_words"] = SENTENCES[SkipReason(reason)] if reason in list(SkipReason) else None
    return {
        "version": VERSION,
        "made_at": now.astimezone(UTC).isoformat(),
        "customer": customer_id,
        "ids": sorted(person.ids),
        "who_writes": opened.settings.brand.legal_name,
        "what_each_part_is": _PURPOSES,
        "written_by_us": ours,
        "read_from_the_shop": theirs,
    }


def _source(opened: Opened, name: str, person: forget.Person) -> Iterator[dict[str, Any]]:
    """Yield the shop's rows about a person, under every id of theirs; guest orders under their own address too."""
    table = opened.shop.tables[name]
    columns = [column for column in table.c if column.name != "loaded_at" and opened.shop.tables.has(name, column.name)]
    whose: Any = table.c.customer_id.in_(sorted(person.ids)[:MOST_IDS])
    yield from _rows(opened, select(*columns).where(whose))
    if name == "orders" and opened.shop.tables.has("orders", "email") and person.emails:
        mine = func.lower(func.trim(table.c.email)).in_(sorted(one.lower() for one in person.emails))
        # An order that names another customer is theirs, whoever shares the mailbox.
        yield from _rows(opened, select(*columns).where(mine, table.c.customer_id.is_(None)))


def _rows(opened: Opened, query: Select[Any]) -> Iterator[dict[str, Any]]:
    for row in opened.shop.stream(query):
        yield {str(name): value for name, value in row._asdict().items() if value is not None}


def as_json(told: Mapping[str, Any]) -> bytes:
    """Return an export as JSON, as people read it."""
    return orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str)


def write_csv(told: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write one CSV file for each part into a new folder, readable by its owner only; return them.

    A cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    written = []
    for part in ("written_by_us", "read_from_the_shop"):
        for name, rows in told[part].items():
            if rows:
                path = folder / f"{part}-{name}.csv"
                with os.fdopen(_private(path), "w", encoding="utf-8", newline="") as file:
                    _write_rows(file, rows)
                written.append(path)
    return written


def write_private(told: Mapping[str, Any], path: Path) -> None:
    """Write an export as a JSON file that only its owner can read."""
    with os.fdopen(_private(path), "wb") as file:
        file.write(as_json(told))


def _private(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)


def _write_rows(file: Any, rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = csv.writer(file)
    lines.writerow([cell(name) for name in columns])
    lines.writerows([[cell(row.get(name)) for name in columns] for row in rows])


def cell(value: Any) -> str:
    """Return a value as a CSV cell that no spreadsheet runs."""
    if isinstance(value, datetime):
        return value.isoformat()
    text = (
        ""
        if value is None
        else orjson.dumps(value, default=str).decode()
        if isinstance(value, dict | list)
        else str(value)
    )
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return f"'{text}" if text.startswith(_FORMULA) and not plain else text
