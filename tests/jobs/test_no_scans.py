"""Nothing that planning or a lane asks SQLite reads a whole table of messages: it would cost more every day."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from small_shop import CART, HOUR, MINUTE, NOON, Day, SmallShop
from sqlalchemy import Engine, event

from tidings.sandbox.server import Sandbox

GROWS = {
    "messages", "entries", "engagements", "receipts", "contact_slots", "contacts", "cooldowns", "raw_events",
    "consents", "suppressions", "versions",
}  # fmt: skip


@pytest.fixture
def asked() -> Iterator[dict[str, str]]:
    """The statements that SQLite was given, by what they look like without their values."""
    found: dict[str, str] = {}

    def note(statement: str) -> None:
        if statement.split(" ", 1)[0] in {"SELECT", "UPDATE", "INSERT", "DELETE", "WITH"}:
            found.setdefault(re.sub(r"'(?:[^']|'')*'|\d+", "?", statement), statement)

    def listen(connection: Any, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.set_trace_callback(note)

    event.listen(Engine, "connect", listen)
    yield found
    event.remove(Engine, "connect", listen)


def scans(connection: sqlite3.Connection, statement: str) -> list[str]:
    """Return the tables that grow and that this statement reads as a whole."""
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    read = [found[1] for step in steps if (found := re.match(r"SCAN (\w+)", step))]
    names = {name: table for table, name in re.findall(r"(?:FROM|JOIN|,) (\w+) AS (\w+)", statement)}
    return [one for one in read if names.get(one, one) in GROWS]


def test_a_lane_and_a_planner_read_no_table_as_a_whole(
    asked: dict[str, str], new_shop: Callable[..., SmallShop], open_day: Callable[[SmallShop], Day], sandbox: Sandbox
) -> None:
    shop = new_shop(campaigns={"cart": CART.format(id="cart"), "more": CART.format(id="more")})
    shop.product("lamp")
    for number in range(12):
        shop.customer(f"n{number}")
        shop.cart(f"n{number}", at=NOON - 90 * MINUTE)
    shop.order("n3", NOON - 10 * MINUTE)
    shop.consent("n4", "email", "withdrawn", at=NOON - HOUR)
    shop.load()
    day = open_day(shop)

    for hours in (0, 1, 24):
        for campaign in ("cart", "more"):
            day.plan(NOON + timedelta(hours=hours), campaign)
        day.dispatch(NOON + timedelta(hours=hours))

    assert len(sandbox.store.messages) >= 8
    assert len(asked) > 40, "too little was listened to"
    with sqlite3.connect(shop.folder.parent / "ledger.db") as connection:
        found = {statement[:300]: tables for statement in asked.values() if (tables := scans(connection, statement))}
    assert found == {}


def test_the_listener_hears_a_scan(tmp_path: Any) -> None:
    with sqlite3.connect(tmp_path / "one.db") as connection:
        connection.execute("CREATE TABLE messages (id TEXT PRIMARY KEY, lease_until TEXT)")
        assert scans(connection, "SELECT id FROM messages WHERE lease_until < 'x' ORDER BY id") == ["messages"]
        assert scans(connection, "SELECT m.id FROM messages AS m WHERE m.lease_until < 'x'") == ["m"]
        assert scans(connection, "SELECT id FROM messages WHERE id = 'x'") == []
