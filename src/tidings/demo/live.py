"""The shop in real time: its loader, its shoppers and its pages, for as long as somebody watches."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import json
import logging
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import duckdb
from aiohttp import web

from tidings.demo.files import write
from tidings.demo.folder import Ports
from tidings.demo.front import Front
from tidings.demo.letters import left
from tidings.demo.mailroom import Mailroom
from tidings.demo.shop import PENDING, WAREHOUSE, DemoShop, Plan, imagine
from tidings.demo.shoppers import Deed, Shoppers
from tidings.demo.till import Till
from tidings.jobs.opening import open_project
from tidings.ledger.store import Ledger

log = logging.getLogger(__name__)

STORY = "demo.json"
COMING = "coming.json"
# Somebody who watches for ten minutes should see people click and buy, so a live shopper's hours pass as minutes.
HURRY = 60.0
_EVERY = 3.0
_RELEASED = "live.parquet"
_READY = """
SELECT * EXCLUDE (_known) FROM (
    SELECT * FROM pending WHERE _known <= (SELECT now FROM moment) ORDER BY ALL
)
"""
_LOADED = """
SELECT source, make_timestamptz((SELECT now FROM moment) * 1000000) AS finished_at FROM sources
"""


@dataclass(frozen=True, slots=True)
class Story:
    """What a process that joins later must know of a demo: which shop, until when it was replayed, and the ports."""

    now: datetime
    plan: Plan
    ports: Ports

    def save(self, folder: Path) -> None:
        """Write it down in the demo's folder."""
        told = {"now": self.now.isoformat(), "seed": self.plan.seed, "customers": self.plan.customers,
                "ports": asdict(self.ports)}  # fmt: skip
        (folder / STORY).write_text(json.dumps(told), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Story:
        """Return what was written down."""
        told = json.loads((folder / STORY).read_text(encoding="utf-8"))
        ports = Ports(**told["ports"])
        plan = Plan(seed=told["seed"], customers=told["customers"], front=ports.front_url)
        return cls(datetime.fromisoformat(told["now"]), plan, ports)


class Releases:
    """Loads what was held back when its moment comes: one file a table, replaced as it grows, and the load log."""

    def __init__(self, folder: Path) -> None:
        self._warehouse, self._pending = folder / WAREHOUSE, folder / PENDING
        self._released: dict[str, int] = {}

    def until(self, moment: int) -> int:
        """Load everything known by a moment; return how many rows are new since the last time."""
        fresh = 0
        con = duckdb.connect(config={"threads": 1})
        try:
            con.execute("SET timezone = 'UTC'")
            con.execute("CREATE TABLE moment AS SELECT ?::BIGINT AS now", [moment])
            for path in sorted(self._pending.glob("*.parquet")):
                con.read_parquet(str(path)).create_view("pending", replace=True)
                ready = con.execute("SELECT count(*) FROM pending WHERE _known <= ?", [moment]).fetchone()
                rows = int(ready[0]) if ready else 0
                if rows > self._released.get(path.stem, 0):
                    write(con.sql(_READY), self._warehouse / path.stem / _RELEASED)
                    fresh += rows - self._released.get(path.stem, 0)
                    self._released[path.stem] = rows
            # What is loaded last says that all of it was loaded.
            con.read_parquet(str(self._warehouse / "load_log" / "history.parquet")).create_view("log", replace=True)
            con.execute("CREATE TABLE sources AS SELECT DISTINCT source FROM log ORDER BY source")
            write(con.sql(_LOADED), self._warehouse / "load_log" / _RELEASED)
        finally:
            con.close()
        return fresh


@dataclass(slots=True)
class LiveShop:
    """One step after the other: load what is new, let shoppers answer what they were sent, ring up what they buy."""

    releases: Releases
    shoppers: Shoppers
    mailroom: Mailroom
    till: Till
    ledger: Ledger
    _deeds: list[tuple[int, int, Deed]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    def step(self, moment: int) -> None:
        """Bring the shop up to a moment."""
        loaded, rung = self.releases.until(moment), self.till.ring(moment)
        with self.ledger.reading() as conn:
            letters = left(conn, self.mailroom.fresh())
        deeds, orders = self.shoppers.react(letters)
        self.till.expect(orders)
        for deed in deeds:
            heapq.heappush(self._deeds, (deed.at, next(self._numbers), deed))
        due: list[Deed] = []
        while self._deeds and self._deeds[0][0] <= moment:
            due.append(heapq.heappop(self._deeds)[2])
        self.mailroom.do(due)
        if loaded or rung or due:
            log.info("loaded rows=%d orders=%d letters=%d deeds=%d", loaded, rung, len(letters), len(due))


async def _serve(folder: Path, story: Story, shop: DemoShop) -> None:
    told = asyncio.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(one, told.set)
    runner = web.AppRunner(Front(shop.book.goods).app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", story.ports.front).start()
    # The pages are open from the start; the rest begins when the replay hands over.
    while not told.is_set() and not (folder / PENDING / COMING).exists():
        await _rest(told, 0.2)
    if not told.is_set():
        await _go_on(folder, story, shop, told)
    await runner.cleanup()


async def _go_on(folder: Path, story: Story, shop: DemoShop, told: asyncio.Event) -> None:
    till = Till(shop, "live-orders")
    till.take_over(folder / PENDING / COMING)
    mailroom = Mailroom(story.ports.sandbox_url)
    mailroom.skip()
    with open_project(folder) as opened:
        live = LiveShop(Releases(folder), Shoppers(shop, hurry=HURRY), mailroom, till, opened.ledger)
        while not told.is_set():
            try:
                await asyncio.to_thread(live.step, int(time.time()))
            except Exception:  # a busy ledger or sandbox is no reason to close the shop
                log.exception("a step failed")
            await _rest(told, _EVERY)


async def _rest(told: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(told.wait(), seconds)


def main(arguments: list[str]) -> None:
    """Run the live shop of a demo's folder until a TERM signal comes."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    folder = Path(arguments[0])
    story = Story.read(folder)
    shop = imagine(folder, now=story.now.astimezone(UTC), plan=story.plan).shop
    asyncio.run(_serve(folder, story, shop))


if __name__ == "__main__":
    main(sys.argv[1:])
