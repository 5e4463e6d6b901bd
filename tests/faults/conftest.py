"""Shops with short leases on both databases, a sandbox that counts the faults it met, and a crew of workers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))

import oracle
from crew import Crew, Worker, until
from small_shop import CART, NOON, SmallShop, lay_out
from sqlalchemy import update

from tidings.jobs import plan
from tidings.jobs.opening import Opened
from tidings.ledger import schema
from tidings.ledger.store import clock
from tidings.sandbox.faults import Fault, Faults
from tidings.sandbox.server import Sandbox

KNOWN = ("customers", "consents", "product_events", "products", "orders")
SETTINGS = """\
caps: [{channel: email, at_most: 1, per: 16h}, {at_most: 4, per: 7d}]
dispatch: {shards: 8, lanes: 4, batch: 8, lease: 1m, connect_timeout: 5s, timeout: 5s, margin: 5s,
           halt_after: 1000, budget: 30s}
"""


class CountedFaults(Faults):
    """Faults that remember how many requests met one."""

    def __init__(self) -> None:
        super().__init__()
        self.met = 0

    def next(self, provider: str) -> Fault | None:
        found = super().next(provider)
        self.met += found is not None
        return found


@dataclass
class Post:
    """A shop on one database, opened, with what the sandbox has accepted for it."""

    shop: SmallShop
    opened: Opened
    sandbox: Sandbox
    planned: int = 0

    def plan(self, *campaigns: str, now: datetime = NOON) -> int:
        """Plan campaigns in this process; return how many messages there are by now."""
        for campaign in campaigns or tuple(self.opened.project.campaigns):
            told = plan.run(self.opened, campaign, now=now, as_of=now)
            self.planned += told.new * told.steps
        return self.planned

    def check(self, *, settled: bool = True) -> oracle.History:
        """Ask the oracle; only what was accepted for this ledger is its business."""
        with self.opened.ledger.reading() as conn:
            mine = set(conn.scalars(schema.messages.select().with_only_columns(schema.messages.c.id)))
        accepted = [one for one in list(self.sandbox.store.messages) if one.message in mine]
        return oracle.check(self.opened, accepted, planned=self.planned, settled=settled)

    def free_shards(self) -> None:
        """Take the shards' leases away, so that dispatchers overlap: they are for throughput only."""
        with self.opened.ledger.writing() as conn:
            conn.execute(update(schema.shard_leases).values(owner=None, lease_until=None))

    def sleeper(self, crew: Crew, window: str, **told: Any) -> Worker:
        """Start a dispatcher with one batch that falls asleep in a window; return when it does."""
        self.free_shards()
        # One claim, and one message at a time: asleep in a transaction, it would hold SQLite's only lock.
        found = crew.start(self.shop, "dispatch", NOON, window=window, act="stop", limit=1, **told)
        until(lambda: found.asleep, f"the one that stops in {window} sleeps")
        return found

    def outlive_leases(self) -> None:
        """Let every lease run out at once, as waiting would; on a busy machine a lease of seconds proves nothing."""
        m = schema.messages.c
        with self.opened.ledger.writing() as conn:
            long_ago = clock(conn) - timedelta(hours=1)
            conn.execute(update(schema.messages).where(m.lease_until.is_not(None)).values(lease_until=long_ago))
            conn.execute(update(schema.shard_leases).values(lease_until=long_ago))

    def finish(self, crew: Crew, now: datetime) -> oracle.History:
        """Let a healthy dispatcher work past every lease until nothing waits or is under way; then ask the oracle."""
        self.outlive_leases()
        oracle.adds_up(crew.run(self.shop, "dispatch", now).told)
        return self.check()


@pytest.fixture(scope="session")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Workers to order."""
    found = Crew(tmp_path_factory.mktemp("crew"))
    yield found
    found.close()


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A running sandbox."""
    running = Sandbox(tmp_path / "sandbox")
    running.faults = running.providers.faults = CountedFaults()
    with running:
        yield running


@pytest.fixture
def new_post(tmp_path: Path, sandbox: Sandbox, new_postgres: Callable[[], str]) -> Iterator[Callable[..., Post]]:
    """Call it with a database's name for a shop whose customers c0, c1, ... left a cart each."""
    with ExitStack() as stack:

        def make(database: str, customers: int = 64, **given: Any) -> Post:
            folder = tmp_path / f"{database}-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            url = f"sqlite:///{folder}/ledger.db" if database == "sqlite" else new_postgres()
            values: dict[str, Any] = {
                "ledger_url": url, "sandbox_url": sandbox.url, "settings": SETTINGS, "connections": 2,
                "campaigns": {"cart": CART.format(id="cart")}, "known": KNOWN, **given,
            }  # fmt: skip
            shop = lay_out(folder / "shop", **values)
            shop.product()
            for n in range(customers):
                shop.customer(f"c{n}")
                shop.cart(f"c{n}", at=NOON - timedelta(minutes=90))  # within what a rerun looks at again
            shop.load()
            return Post(shop, stack.enter_context(shop.opened()), sandbox)

        yield make
