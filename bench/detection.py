"""Detection: the generated question against the same one written by hand for DuckDB, in turn, in one run.

``python bench/detection.py`` (1M and 10M events; ``LARGE=1`` adds 100M; ``--small`` 50k for a smoke test).
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from events import END, shop
from handwritten import QUESTIONS
from sqlalchemy import Engine, Row, Select
from table import Result, keep

from tidings.detect.walk import trigger_types
from tidings.model.entry import Window
from tidings.warehouse.contract import contract
from tidings.warehouse.tables import Tables

COLUMNS = {
    "product_events": "event_id customer_id kind sku product_id quantity price currency occurred_at",
    "orders": "order_id customer_id status total currency ordered_at", "order_items": "order_id sku quantity amount",
    "products": "sku product_id active", "prices": "sku currency kind amount valid_from",
    "stock": "sku location quantity observed_at", "stock_requests": "request_id customer_id sku requested_at",
}  # fmt: skip
TICK, DAY = timedelta(minutes=15), timedelta(days=1)


class Bench:
    """The generated shop, read as a trigger reads any shop."""

    tables = Tables(
        {name: contract.tables[name] for name in COLUMNS},
        {name: frozenset(columns.split()) for name, columns in COLUMNS.items()},
    )

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def stream(self, query: Select[Any], batch: int = 10_000) -> Iterator[Row[Any]]:
        with self.engine.connect() as conn:
            for part in conn.execution_options(stream_results=True, yield_per=batch).execute(query).partitions(batch):
                yield from part


def raw(conn: Any, sql: str, values: Any) -> int:
    """Run one statement with DuckDB itself and fetch everything; return the number of rows."""
    return len(conn.execute(sql, values).fetchall())


def compare(engine: Engine, name: str, length: timedelta, rounds: int) -> dict[str, Any]:
    """Return both medians in milliseconds, their ratio, rows and entries of one trigger type over one window."""
    window = Window(END - length, END)
    trigger = trigger_types()[name](type=name)
    compiled = trigger.found(Bench.tables, window).compile(engine, compile_kwargs={"render_postcompile": True})
    values = [compiled.params[key] for key in compiled.positiontup] if compiled.positiontup else compiled.params
    hand, given = QUESTIONS[name]
    ours: list[float] = []
    theirs: list[float] = []
    with engine.connect() as conn:
        duck = conn.connection.driver_connection
        for turn in range(rounds + 1):
            for sql, bound, spent in ((str(compiled), values, ours), (hand, given(window), theirs)):
                began = time.perf_counter()
                rows = raw(duck, sql, bound)
                if turn:
                    spent.append((time.perf_counter() - began) * 1000)
                if spent is ours:
                    our_rows = rows
    began = time.perf_counter()
    entries = sum(1 for _ in trigger.entries(Bench(engine), window))
    whole = (time.perf_counter() - began) * 1000
    ratio = statistics.median(mine / yours for mine, yours in zip(ours, theirs, strict=True))
    return {"ours": statistics.median(ours), "hand": statistics.median(theirs), "ratio": ratio, "rows": our_rows,
            "hand_rows": rows, "entries": entries, "whole": whole}  # fmt: skip


def main() -> None:
    """Print a table: a tick of 15 minutes and a day, per trigger type and table size, and the growth of the tick."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="50,000 events, for a smoke test")
    parser.add_argument("--events", type=int, help="one table of this size only")
    parser.add_argument("--rounds", type=int, help="how often each question is asked; else enough for a median")
    given = parser.parse_args()
    small = given.small
    large = [100_000_000] if os.environ.get("LARGE") else []
    sizes = [50_000] if small else [1_000_000, 10_000_000, *large]
    sizes = [given.events] if given.events else sizes
    ticks: dict[str, list[float]] = {}
    kept: list[Result] = []
    print(f"{'events':>12} {'window':>6} {'trigger':<20} {'ours ms':>9} {'hand ms':>9} {'ratio':>6} "
          f"{'rows':>8} {'by hand':>8} {'entries':>8} {'whole ms':>9}")  # fmt: skip
    for events in sizes:
        engine = shop(events)
        for label, length in (("tick", TICK), ("day", DAY)):
            for name in sorted(QUESTIONS):
                one = compare(engine, name, length, given.rounds or (1 if small else 15 if length == TICK else 7))
                print(f"{events:>12,} {label:>6} {name:<20} {one['ours']:>9.1f} {one['hand']:>9.1f} "
                      f"{one['ratio']:>6.2f} {one['rows']:>8,} {one['hand_rows']:>8,} {one['entries']:>8,} "
                      f"{one['whole']:>9.1f}", flush=True)  # fmt: skip
                seen = f"{one['ours']:,.1f} ms, {one['hand']:,.1f} ms"
                window = "15 minutes" if label == "tick" else "a day"
                kept.append(Result(f"{name}, {window} of {events:,} events", one["ratio"], 1.25, 1.5, seen, most=True))
                if label == "tick":
                    ticks.setdefault(name, []).append(one["ours"])
        engine.dispose()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{events:>12,} peak memory, the generated table included: {peak:,.0f} MB", flush=True)
    if len(sizes) > 1:
        for name, spent in sorted(ticks.items()):
            print(f"growth of a tick from {sizes[0]:,} to {sizes[-1]:,} events: {name:<20} {spent[-1] / spent[0]:.2f}x")
            # Cart and browse read their slice only; the others also ask for prices, stock and orders of all time.
            flat = 1.5 if name in ("cart_abandonment", "browse_abandonment") else None
            kept.append(
                Result(f"{name}, 15 minutes, {sizes[-1]:,} events against {sizes[0]:,}", spent[-1] / spent[0],
                       flat, flat, f"{spent[0]:,.1f} ms, {spent[-1]:,.1f} ms", most=True)
            )  # fmt: skip
    keep(kept)


if __name__ == "__main__":
    main()
