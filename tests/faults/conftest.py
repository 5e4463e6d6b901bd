"""Shops with short leases on both databases, a sandbox that counts the faults it met, and a crew of workers."""

from __future__ import annotations

import json
import os
import random
import sys
import zlib
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
import witness_book
from counted import CountedFaults
from crew import Crew, Worker, until
from schedule import free_port
from small_shop import CART, NOON, SmallShop, lay_out
from sqlalchemy import update

from tidings.jobs import dispatch, plan
from tidings.jobs.opening import Opened
from tidings.ledger import schema
from tidings.ledger.store import clock
from tidings.sandbox.server import Sandbox

KNOWN = ("customers", "consents", "product_events", "products", "orders")
SETTINGS = """\
caps: [{channel: email, at_most: 1, per: 16h}, {at_most: 4, per: 7d}]
dispatch: {shards: 8, lanes: 4, batch: 8, lease: 1m, connect_timeout: 5s, timeout: 5s, margin: 5s,
           halt_after: 1000, budget: 30s}
"""


def with_door(shop: SmallShop, sandbox: Sandbox) -> str:
    """Give a shop a public address of its own and the sandbox's keys; return the address."""
    public_url = f"http://127.0.0.1:{free_port()}"
    told = shop.folder / "tidings.yaml"
    told.write_text(told.read_text().replace("http://127.0.0.1:8090", public_url))
    known = {
        "conn_type": "tidings_sendgrid",
        "password": "SG.small",
        "extra": {"webhook_public_key": sandbox.public_key},
    }
    shop.environ["AIRFLOW_CONN_SENDGRID"] = json.dumps(known)
    texts = json.loads(shop.environ["AIRFLOW_CONN_TWILIO"])
    texts["extra"] = {"webhook_auth_token": texts["password"]}
    shop.environ["AIRFLOW_CONN_TWILIO"] = json.dumps(texts)
    return public_url


@dataclass
class Post:
    """A shop on one database, opened, with what the sandbox has accepted for it.

    ``settled_at`` is the job's time of the last `finish`. ``broken``: a guard was taken away; nothing need hold.
    """

    shop: SmallShop
    opened: Opened
    sandbox: Sandbox
    seed: int
    public_url: str = ""
    planned: int = 0
    settled_at: datetime | None = None
    broken: bool = False

    def plan(self, *campaigns: str, now: datetime = NOON) -> int:
        """Plan campaigns in this process; return how many messages there are by now."""
        for campaign in campaigns or tuple(self.opened.project.campaigns):
            told = plan.run(self.opened, campaign, now=now, as_of=now)
            self.planned += told.new * told.steps
        return self.planned

    def check(self, *, settled: bool = True, everybody: oracle.Person | None = None) -> oracle.History:
        """Ask the oracle about I1 to I9; only what was accepted for this ledger is its business."""
        with self.opened.ledger.reading() as conn:
            mine = set(conn.scalars(schema.messages.select().with_only_columns(schema.messages.c.id)))
        accepted = [one for one in list(self.sandbox.store.messages) if one.message in mine]
        facts: dict[str, Any] = {
            "told": self.shop.told,
            "planned": self.planned or None,
            "settled": settled,
            "everybody": everybody,
        }
        try:
            return oracle.check_all(self.opened, accepted, **facts)
        except oracle.Broken as broken:
            raise oracle.Broken(f"{broken} [TIDINGS_SEED={self.seed}]") from None

    def check_at_the_end(self) -> None:
        """Ask once more, as after every test; where all was settled, run everything again: nothing may change (I10)."""
        if self.broken:
            return
        before = self.check(settled=self.settled_at is not None)
        if self.settled_at is None:
            return
        self.sandbox.faults.clear()
        for campaign in self.opened.project.campaigns:
            plan.run(self.opened, campaign, now=self.settled_at, as_of=self.settled_at)
        dispatch.run(self.opened, now=self.settled_at)
        oracle.assert_nothing_new(before, self.check())

    def forget(self) -> None:
        """Let go of what a long run cannot keep for every life it has seen."""
        self.opened.close()
        self.broken = True

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
        found = self.check()
        self.settled_at = now
        return found


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of this test's chances: `TIDINGS_SEED`, or always the same for the same test."""
    return int(os.environ.get("TIDINGS_SEED") or zlib.crc32(request.node.name.encode()) % 100_000)


@pytest.fixture
def chance(seed: int) -> random.Random:
    """Chances that can be had again."""
    return random.Random(seed)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    """Say with a failure how to have it again."""
    outcome: Any = yield
    report = outcome.get_result()
    found = getattr(item, "funcargs", {}).get("seed")
    if report.failed and found is not None:
        report.sections.append(("again", f"TIDINGS_SEED={found} pytest '{item.nodeid}'"))


@pytest.fixture(scope="session")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Workers to order."""
    found = Crew(tmp_path_factory.mktemp("crew"))
    yield found
    found.close()
    oracle.names_nobody(found.logs(), {"@post.example", "+35850"})


@pytest.fixture
def sandbox(tmp_path: Path, seed: int) -> Iterator[Sandbox]:
    """A running sandbox; the chances of its faults are the test's."""
    running = Sandbox(tmp_path / "sandbox", seed=seed)
    running.faults = running.providers.faults = CountedFaults(seed)
    with running:
        yield running


@pytest.fixture
def new_post(
    tmp_path: Path, sandbox: Sandbox, new_postgres: Callable[[], str], seed: int
) -> Iterator[Callable[..., Post]]:
    """Call it with a database's name for a shop whose customers c0, c1, ... left a cart each.

    After the test every such shop is held against the invariants once more, whatever the test has asked itself.
    """
    made: list[Post] = []
    with ExitStack() as stack:

        def make(database: str, customers: int = 64, **given: Any) -> Post:
            folder = tmp_path / f"{database}-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            number, providers = given.pop("seed", seed), given.pop("sandbox", sandbox)
            url = f"sqlite:///{folder}/ledger.db" if database == "sqlite" else new_postgres()
            values: dict[str, Any] = {
                "ledger_url": url, "sandbox_url": providers.url, "settings": SETTINGS, "connections": 2,
                "campaigns": {"cart": CART.format(id="cart")}, "known": KNOWN, **given,
            }  # fmt: skip
            shop = lay_out(folder / "shop", **values)
            public_url = with_door(shop, providers)
            shop.product()
            for n in range(customers):
                shop.customer(f"c{n}")
                shop.cart(f"c{n}", at=NOON - timedelta(minutes=90))  # within what a rerun looks at again
            shop.load()
            post = Post(shop, stack.enter_context(shop.opened()), providers, number, public_url)
            witness_book.open_in(post.opened.ledger)
            made.append(post)
            return post

        yield make
        for post in made:
            post.check_at_the_end()
