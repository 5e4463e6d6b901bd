"""The Campaigns page, read cold from a year of messages, against one plain scan of the messages, in one run.

``python bench/pages.py [--entries 100000] [--rounds 3] [--quick]``. Four messages an entry, five campaigns, most of
them sent and delivered. The yardstick counts the sent messages of all time: a statement that reads each message once.
Every round opens the ledger anew and compares treated with held out anew; only the database and the system stay warm.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import servers
import shop
from sqlalchemy import create_engine, func, select, text
from table import Result, printed

from tidings.definitions import Project, load
from tidings.ledger import bulk, store
from tidings.ledger.schema import engagements, entries, messages, outcomes
from tidings.ledger.store import Ledger
from tidings.measure import report

CAMPAIGNS = ("back_in_stock", "browse", "cart", "price_drop", "win_back")
YEAR = timedelta(days=365)
BATCH = 2_000
SEEN = '{"items":[["sku-1","product-1",1,4900,"EUR"],["sku-2","product-2",2,900,"EUR"]],"market":"de","facts":{}}'
_ENTRY = (
    "id", "space", "campaign", "entry_key", "customer_id", "sku", "anchor_at", "entered_at", "planned_at", "arm",
    "variant", "value", "currency", "seen", "run_id",
)  # fmt: skip
_MESSAGE = (
    "id", "entry_id", "space", "campaign", "step", "step_no", "channel", "customer_id", "address_hash", "shard",
    "priority", "held_out", "status", "reason", "send_at", "first_send_at", "expires_at", "token", "attempt",
    "deferrals", "sending_at", "sent_at", "ended_at", "provider", "provider_id", "template",
)  # fmt: skip
_ENGAGEMENT = ("id", "message_id", "kind", "at", "received_at", "machine")
_OUTCOME = (
    "campaign", "customer_id", "currency", "arm", "variant", "exposed_at", "window_ends_at", "orders", "revenue",
    "computed_at",
)  # fmt: skip


def story(dice: random.Random, number: int, of: int) -> tuple[tuple[Any, ...], list[Any], list[Any], tuple[Any, ...]]:
    """Return an entry, its messages, what was done with them, and what its person spent."""
    id_, who, campaign = f"{dice.getrandbits(96):024x}", f"c{dice.randrange(of)}", dice.choice(CAMPAIGNS)
    at = shop.NOW - YEAR * (of - number) / of
    held_out, later = dice.random() < 0.1, at + timedelta(hours=1)
    arm = "held_out" if held_out else "treated"
    entry = (id_, "live", campaign, f"{who}/{number}", who, "", at, at, at, arm, "", 4900, "EUR", SEEN, "bench")
    letters, acts = [], []
    for step in range(4):
        message = f"{dice.getrandbits(96):024x}"
        status = "held_out" if held_out else dice.choices(("sent", "skipped", "cancelled"), (70, 20, 10))[0]
        sent = status == "sent"
        reason = None if sent or held_out else "purchased"
        letters.append((
            message, id_, "live", campaign, f"step-{step}", step, "sms" if step == 3 else "email", who, "a" * 64,
            number % 64, 30, held_out, status, reason, at, at, at + YEAR, message, 1, 0,
            later if sent or held_out else None, later if sent else None, later, "sendgrid" if sent else None,
            f"p-{message}" if sent else None, f"{campaign}/step-{step}",
        ))  # fmt: skip
        kinds = [
            kind
            for kind, share in (("delivered", 0.95), ("opened", 0.3), ("clicked", 0.08))
            if sent and dice.random() < share
        ]
        acts += [(f"{kind}-{message}", message, kind, later, later, False) for kind in kinds]
    spent = dice.randrange(2_000, 20_000) if dice.random() < 0.06 else 0
    outcome = (
        campaign,
        f"{who}/{number}",
        "EUR",
        arm,
        "",
        later,
        later + timedelta(days=14),
        int(spent > 0),
        spent,
        later,
    )
    return entry, letters, acts, outcome


def fill(ledger: Ledger, of: int) -> None:
    """Write so many entries of a year, oldest first, with everything that became of them."""
    dice = random.Random(7)
    for start in range(0, of, BATCH):
        found = [story(dice, number, of) for number in range(start, min(start + BATCH, of))]
        with ledger.writing() as conn:
            bulk.append(conn, entries, _ENTRY, [one[0] for one in found])
            bulk.append(conn, messages, _MESSAGE, [letter for one in found for letter in one[1]])
            bulk.append(conn, engagements, _ENGAGEMENT, [act for one in found for act in one[2]])
            bulk.append(conn, outcomes, _OUTCOME, [one[3] for one in found])


def page(url: str, project: Project, days: int) -> float:
    """Return the seconds that a report takes in a process that has just begun."""
    report._comparison.cache_clear()
    began = time.perf_counter()
    ledger = Ledger.open(url)
    found = report.build(ledger, project, start=shop.NOW - timedelta(days=days), end=shop.NOW, now=shop.NOW)
    spent = time.perf_counter() - began
    ledger.close()
    assert found.totals.sent > found.totals.clicked > 0
    return spent


def scan(url: str) -> float:
    """Return the seconds of one plain count over all messages."""
    ledger = Ledger.open(url)
    with ledger.reading() as conn:
        began = time.perf_counter()
        conn.execute(select(func.count()).select_from(messages).where(messages.c.status == "sent")).scalar_one()
        spent = time.perf_counter() - began
    ledger.close()
    return spent


def compare(name: str, url: str, project: Project, of: int, rounds: int) -> Iterator[Result]:
    """Fill a ledger, then read pages and scan in turn."""
    store.migrate(url)
    ledger = Ledger.open(url)
    fill(ledger, of)
    ledger.close()
    if name == "PostgreSQL":
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as conn:
            conn.execute(text("VACUUM ANALYZE"))
        engine.dispose()
    turns = [(scan(url), *(page(url, project, days) for days in (28, 90))) for _ in range(rounds)]
    for at, days in ((1, 28), (2, 90)):
        ratio = statistics.median(turn[at] / turn[0] for turn in turns)
        shown, plain = (statistics.median(turn[n] for turn in turns) for n in (at, 0))
        label = f"campaigns page, {days} days of {of * 4:,} messages of a year, {name}, against a scan"
        yield Result(label, ratio, None, None, f"{shown:.2f} s, {plain:.2f} s", most=True)


def main() -> None:
    """Read pages on both databases and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a smoke test of seconds")
    given = parser.parse_args()
    if given.quick:
        given.entries, given.rounds = 4_000, 1
    with tempfile.TemporaryDirectory(prefix="tidings-bench-pages-") as name:
        folder = Path(name)
        shop.lay_out(folder / "shop", 10, 1)
        project = load(folder / "shop")
        printed(list(compare("SQLite", f"sqlite:///{folder}/ledger.db", project, given.entries, given.rounds)))
        with servers.postgresql() as (_, url):
            printed(list(compare("PostgreSQL", url, project, given.entries, given.rounds)))


if __name__ == "__main__":
    main()
