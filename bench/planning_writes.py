"""What planning writes against a server-side INSERT..SELECT of the same rows, on PostgreSQL, in one run.

``python bench/planning_writes.py [--entries 100000] [--rounds 3]``. The yardstick has the rows in a staging table of
the same server and copies them into the same three tables with the same indexes, a statement each a batch: no cooldown
is weighed, no answer is read, nothing travels. Planning what is known already is timed too.
"""

from __future__ import annotations

import argparse
import secrets
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import servers
from sqlalchemy import text
from table import Result, printed

from tidings.ledger import planning, store
from tidings.ledger.planning import EntryRow, MessageRow
from tidings.ledger.store import Ledger
from tidings.model.entry import Entry, Item

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
BATCH = 2_000
WRITTEN = ("entries", "messages", "cooldowns")


def rows(entries: int) -> list[EntryRow]:
    """Return so many planned entries of so many customers, with one message each."""
    found = []
    for number in range(entries):
        person, key = f"c{number}", f"c{number}/2026-03-02"
        at = NOW - timedelta(seconds=number % 7200)
        message = MessageRow(
            secrets.token_urlsafe(12), "reminder", 0, "email", secrets.token_hex(32), number % 64, 30, "planned", None,
            at, at, at + timedelta(days=1), "cart_abandonment/reminder",
        )  # fmt: skip
        items = (Item(f"s{number % 997}", f"p{number % 250}", 1, 4900, "EUR"),)
        entry = Entry(key, person, at, at, "", items, 4900, "EUR", None, {})
        arm = "held_out" if number % 10 == 0 else "treated"
        found.append(EntryRow(secrets.token_urlsafe(12), entry, person, arm, "", at + timedelta(days=7), (message,)))
    return found


def record(ledger: Ledger, batches: Sequence[Sequence[EntryRow]]) -> tuple[float, int]:
    """Record every batch in a transaction of its own; return the seconds and how many entries were new."""
    new, began = 0, time.perf_counter()
    for batch in batches:
        with ledger.writing() as conn:
            done = planning.record(conn, batch, space="live", campaign="cart", run_id="bench", now=NOW)
        new += done.new
    return time.perf_counter() - began, new


def stage(ledger: Ledger) -> None:
    """Keep what was recorded as staging tables, numbered by batch, and empty the ledger."""
    with ledger.writing() as conn:
        for name in WRITTEN:
            conn.execute(text(f"CREATE TABLE staged_{name} AS SELECT * FROM {name}"))  # noqa: S608
        conn.execute(text("ALTER TABLE staged_entries ADD COLUMN batch int"))
        conn.execute(
            text(
                "UPDATE staged_entries SET batch = numbered.batch FROM (SELECT id, (row_number() OVER"
                " (ORDER BY entry_key) - 1) / :size AS batch FROM staged_entries) numbered"
                " WHERE numbered.id = staged_entries.id"
            ),
            {"size": BATCH},
        )
        for name, key in (("messages", "e.id = s.entry_id"), ("cooldowns", "e.entry_key = s.entry_key")):
            conn.execute(text(f"ALTER TABLE staged_{name} ADD COLUMN batch int"))
            conn.execute(text(f"UPDATE staged_{name} s SET batch = e.batch FROM staged_entries e WHERE {key}"))  # noqa: S608
        for name in WRITTEN:
            conn.execute(text(f"CREATE INDEX ON staged_{name} (batch)"))
    empty(ledger)


def empty(ledger: Ledger) -> None:
    """Empty the ledger and let the server tidy up, so that every round begins alike."""
    with ledger.writing() as conn:
        conn.execute(text(f"TRUNCATE {', '.join(WRITTEN)} CASCADE"))
    with ledger.writing() as conn:
        conn.execute(text("ANALYZE"))


def insert_select(ledger: Ledger, batches: int, columns: dict[str, str]) -> float:
    """Copy the staged rows batch by batch, a transaction each; return the seconds."""
    began = time.perf_counter()
    for number in range(batches):
        with ledger.writing() as conn:
            for name in WRITTEN:
                conn.execute(
                    text(
                        f"INSERT INTO {name} ({columns[name]}) SELECT {columns[name]} FROM staged_{name}"  # noqa: S608
                        " WHERE batch = :number ON CONFLICT DO NOTHING"
                    ),
                    {"number": number},
                )
    return time.perf_counter() - began


def columns_of(ledger: Ledger, name: str) -> str:
    """Return the columns of a table, as an INSERT names them."""
    with ledger.reading() as conn:
        found = conn.scalars(
            text(
                "SELECT column_name FROM information_schema.columns WHERE table_name = :name ORDER BY ordinal_position"
            ),
            {"name": name},
        )
        return ", ".join(found)


def compare(url: str, entries: int, rounds: int) -> list[Result]:
    """Record, record again and INSERT..SELECT, in turn."""
    store.migrate(url)
    ledger = Ledger.open(url)
    planned = rows(entries)
    batches = [planned[at : at + BATCH] for at in range(0, entries, BATCH)]
    record(ledger, batches)
    columns = {name: columns_of(ledger, name) for name in WRITTEN}
    stage(ledger)
    ours: list[float] = []
    again: list[float] = []
    server: list[float] = []
    for _ in range(rounds):
        empty(ledger)
        server.append(insert_select(ledger, len(batches), columns))
        empty(ledger)
        spent, new = record(ledger, batches)
        assert new == entries
        ours.append(spent)
        spent, new = record(ledger, batches)
        assert new == 0
        again.append(spent)
    ledger.close()
    ratio = statistics.median(theirs / mine for mine, theirs in zip(ours, server, strict=True))
    known = statistics.median(first / second for first, second in zip(ours, again, strict=True))
    mine, theirs = entries / statistics.median(ours), entries / statistics.median(server)
    seen = f"{mine:,.0f} entries/s, {theirs:,.0f}/s"
    return [
        Result(f"planning writes, {entries:,} entries, against INSERT..SELECT", ratio, 0.5, None, seen),
        Result("planning what is known already, against planning it", known, 1.5, None,
               f"{entries / statistics.median(again):,.0f} entries/s"),
    ]  # fmt: skip


def main() -> None:
    """Start a PostgreSQL server from pip and print both ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a smoke test of seconds")
    given = parser.parse_args()
    if given.quick:
        given.entries, given.rounds = 10_000, 1
    with servers.postgresql() as (_, url):
        printed(compare(url, given.entries, given.rounds))


if __name__ == "__main__":
    main()
