"""The long run: hundreds of lives drawn from seeds, and a day's work by workers that die every half minute.

`SOAK_SEEDS`, `SOAK_FIRST_SEED`, `SOAK_MESSAGES` and `SOAK_DIES_AFTER` (seconds) make it smaller or larger.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import oracle
import pytest
from counted import CountedFaults
from crew import Crew, Worker
from herd import herd_of
from oracle import Person
from schedule import CAMPAIGNS, SETTINGS, Life
from small_shop import CART, NOON, TABLES
from sqlalchemy import func, select

from tidings.ledger import schema
from tidings.sandbox.server import Sandbox

pytestmark = pytest.mark.soak
SEEDS = int(os.environ.get("SOAK_SEEDS", "200"))
FIRST = int(os.environ.get("TIDINGS_SEED") or os.environ.get("SOAK_FIRST_SEED", "0"))
MESSAGES = int(os.environ.get("SOAK_MESSAGES", "200000"))
DIES_AFTER = float(os.environ.get("SOAK_DIES_AFTER", "30"))
LANES = 2
IN_FLIGHT = 3 * 10  # a window of connections, and two may be unrecorded
HELSINKI = Person(ZoneInfo("Europe/Helsinki"), (("email", True, NOON - timedelta(days=30)),))
LONG = """\
caps: [{channel: email, at_most: 1, per: 16h}]
dispatch: {shards: 64, lanes: 2, batch: 500, lease: 15s, connect_timeout: 2s, timeout: 2s, margin: 2s,
           halt_after: 1000, budget: 10s}
"""


def test_hundreds_of_lives_full_of_faults_break_no_invariant(new_post: Callable[..., Any], tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as both:
        # Even seeds live on SQLite, odd ones on PostgreSQL; `TIDINGS_SEED` lives on both.
        again = "TIDINGS_SEED" in os.environ
        ledgers = {"sqlite": range(FIRST, FIRST + SEEDS, 2), "postgresql": range(FIRST + 1, FIRST + SEEDS, 2)}
        running = {
            name: both.submit(_lives, name, [FIRST] if again else seeds, new_post, tmp_path / f"crew-{name}")
            for name, seeds in ledgers.items()
        }
    for name, told in running.items():
        total = told.result()
        names = ("lives", "workers", "killed", "faults", "events", "messages", "accepted", "doubled", "unknown", "lost")
        _table(f"lives under faults, {name}", {name: total[name] for name in (*names, "seconds")})


def _lives(database: str, seeds: Sequence[int], new_post: Callable[..., Any], folder: Path) -> Counter[str]:
    """Live through all of these on one ledger, with a sandbox and a crew of its own; return what has happened."""
    folder.mkdir()
    known = [one for one in TABLES if one != "identities"]
    total: Counter[str] = Counter()
    began = time.monotonic()
    crew = Crew(folder)
    try:
        for seed in seeds:
            with Sandbox(folder / f"sandbox-{seed}", seed=seed) as sandbox:
                sandbox.faults = sandbox.providers.faults = CountedFaults(seed)
                given = {"settings": SETTINGS, "known": known, "seed": seed, "sandbox": sandbox}
                post = new_post(database, customers=0, campaigns=CAMPAIGNS, **given)
                try:
                    total.update(Life(post, crew, seed).play().counts)
                except BaseException as broken:
                    again = f"seed {seed} on {database}; to live it again: TIDINGS_SEED={seed} make soak"
                    broken.add_note(again)
                    print(f"\n{again}\n{broken!r}", flush=True)
                    raise
                total.update(lives=1, faults=sandbox.faults.met)
                post.forget()
    finally:
        crew.close()
    total["seconds"] = round(time.monotonic() - began)
    oracle.names_nobody(crew.logs(), {"@post.example", "+35850"})
    return total


@pytest.mark.parametrize(("database", "share"), [("sqlite", 0.25), ("postgresql", 0.75)])
def test_a_days_messages_leave_once_although_workers_die_every_half_minute(
    new_post: Callable[..., Any], crew: Crew, database: str, share: float
) -> None:
    many = round(MESSAGES * share)
    campaigns = {"cart": CART.format(id="cart") + "max_initial_audience: 1000000\n"}
    post = herd_of(new_post, database, many, settings=LONG, campaigns=campaigns, connections=10)
    began = time.monotonic()
    assert crew.run(post.shop, "plan", NOON, campaigns=["cart"], patience=900).told["new"] == many
    planned_in = time.monotonic() - began
    churn = Churn(post, crew)

    churn.work_until_done()
    took = time.monotonic() - began - planned_in
    post.outlive_leases()
    crew.run(post.shop, "dispatch", NOON + timedelta(minutes=5), patience=600)

    found = post.check(everybody=HELSINKI)
    unknown = found.counted["unknown"]
    assert found.counted["sent"] + unknown == many == len(found.messages)
    assert unknown <= churn.kills * IN_FLIGHT, "more in doubt than can have been in flight"
    assert found.repeated == 0
    _table(
        f"workers die every {DIES_AFTER:.0f} s, {database}",
        {
            "messages": many, "sent": found.counted["sent"], "unknown": unknown, "doubled": found.repeated,
            "kills": churn.kills, "planned a second": round(many / planned_in), "sent a second": round(many / took),
            **churn.growth(),
        },
    )  # fmt: skip
    assert churn.grows_at_most(1.5), "memory is not bounded"


class Churn:
    """Two lanes, of which one is killed and replaced every so often, until nothing is due."""

    def __init__(self, post: Any, crew: Crew) -> None:
        self.post, self.crew, self.kills = post, crew, 0
        self.seen: list[tuple[float, int, int]] = []  # (seconds, sent so far, largest worker in kB)

    def work_until_done(self) -> None:
        """Kill and replace until everything has left."""
        began = time.monotonic()
        workers = [self._hire() for _ in range(LANES)]
        while not self._wait(workers, began):
            victim = workers.pop(0)
            victim.kill()
            self.crew.wait(victim)
            self.kills += 1
            workers.append(self._hire())
        for worker in workers:
            worker.terminate()
            self.crew.wait(worker)

    def _hire(self) -> Worker:
        return self.crew.start(self.post.shop, "dispatch", NOON, seconds=3600, patience=3600)

    def _wait(self, workers: list[Worker], began: float) -> bool:
        """Wait until it is time for the next to die; say whether everything has left before."""
        ends = time.monotonic() + DIES_AFTER / LANES
        while time.monotonic() < ends:
            time.sleep(1.0)
            with self.post.opened.ledger.reading() as conn:
                m = schema.messages.c
                sent = int(conn.scalar(select(func.count()).where(m.status == "sent")) or 0)
                left = conn.scalar(select(func.count()).where(m.status.in_(("planned", "claimed", "sending"))))
            largest = max((worker.memory for worker in workers), default=0)
            self.seen.append((time.monotonic() - began, sent, largest))
            if not left:
                return True
        return False

    def growth(self) -> dict[str, Any]:
        """Return what tells whether time and memory grow with the work done."""
        last = self.seen[-1]
        half = next(one for one in self.seen if one[1] >= last[1] / 2)
        second = (last[1] - half[1]) / max(0.1, last[0] - half[0])
        first = half[1] / max(0.1, half[0])
        return {
            "second half / first": round(second / max(0.1, first), 2),
            "max RSS MB": max(s[2] for s in self.seen) // 1024,
        }

    def grows_at_most(self, factor: float) -> bool:
        """Whether the largest worker of the last third is no larger than that of the first by more than a factor."""
        third = max(1, len(self.seen) // 3)
        return max(s[2] for s in self.seen[-third:]) <= factor * max(s[2] for s in self.seen[:third])


def _table(title: str, figures: dict[str, Any]) -> None:
    """Print one row that can be pasted into docs/reliability.md."""
    print(
        f"\n{title}\n| {' | '.join(figures)} |\n|{'---:|' * len(figures)}\n| {' | '.join(map(str, figures.values()))} |"
    )
